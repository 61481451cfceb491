/** The seconds of a round: what came to all client processes, how late, and how busy they were. */

import type { Histogram } from 'hdr-histogram-js';
import { addPacked, createHistogram, percentileMs } from './histogram.js';
import type { Slice } from './slicer.js';

/**
 * One second of a round, by the time of arrival. Latencies are of checked clients; null where
 * nothing came to them.
 */
export interface Second {
  readonly deliveries: number;
  readonly bytes: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
  /** Share of a core that each process used. */
  readonly busyShares: readonly number[];
}

interface Open {
  deliveries: number;
  bytes: number;
  readonly latencyUs: Histogram;
  readonly busyShares: number[];
  parts: number;
}

const NOTHING: Omit<Second, 'busyShares'> = {
  deliveries: 0,
  bytes: 0,
  p50Ms: null,
  p99Ms: null,
  maxMs: null,
};

/** Puts the slices of the processes together. */
export class Seconds {
  readonly #processes: number;
  readonly #open = new Map<number, Open>();
  readonly #closed: (Second | undefined)[] = [];

  constructor(processes: number) {
    this.#processes = processes;
  }

  /** The newest second that every process has reported. */
  get newest(): Second | undefined {
    return this.#closed.at(-1);
  }

  /** One process reports a second. */
  add(nth: number, slice: Slice): void {
    const open = this.#open.get(slice.second) ?? this.#begin(slice.second);
    open.deliveries += slice.delivered;
    open.bytes += slice.bytes;
    open.busyShares[nth] = slice.busyShare;
    addPacked(open.latencyUs, slice.packedUs);
    open.parts++;
    if (open.parts === this.#processes) this.#close(slice.second, open);
  }

  /**
   * All of them, when the round is over. A second that no process reported, since it was held up,
   * is empty.
   */
  end(): readonly Second[] {
    for (const [second, open] of this.#open) this.#close(second, open);
    const none = { ...NOTHING, busyShares: Array.from({ length: this.#processes }, () => 0) };
    return Array.from(this.#closed, (second) => second ?? none);
  }

  #begin(second: number): Open {
    const busyShares = Array.from({ length: this.#processes }, () => 0);
    const open = { deliveries: 0, bytes: 0, latencyUs: createHistogram(2), busyShares, parts: 0 };
    this.#open.set(second, open);
    return open;
  }

  #close(second: number, { deliveries, bytes, latencyUs, busyShares }: Open): void {
    this.#open.delete(second);
    this.#closed[second] = {
      deliveries,
      bytes,
      p50Ms: percentileMs(latencyUs, 50),
      p99Ms: percentileMs(latencyUs, 99),
      maxMs: percentileMs(latencyUs, 100),
      busyShares,
    };
    latencyUs.destroy();
  }
}
