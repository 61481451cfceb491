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
}

/** The second that a process has reported last, before it reports any. */
const NONE = -1;

const NOTHING: Omit<Second, 'busyShares'> = {
  deliveries: 0,
  bytes: 0,
  p50Ms: null,
  p99Ms: null,
  maxMs: null,
};

/** Puts the slices of the processes together. */
export class Seconds {
  readonly #open = new Map<number, Open>();
  readonly #closed: (Second | undefined)[] = [];
  /** The second that each process has reported last. */
  readonly #last: number[];

  constructor(processes: number) {
    this.#last = Array.from({ length: processes }, () => NONE);
  }

  /** The newest second that every process has reported, or one after it. */
  get newest(): Second | undefined {
    const open = this.#open.get(Math.min(...this.#last));
    return open === undefined ? undefined : secondOf(open);
  }

  /** One process reports a second, or what is left of the one that it has reported last. */
  add(nth: number, slice: Slice): void {
    const open = this.#open.get(slice.second) ?? this.#begin(slice.second);
    open.deliveries += slice.delivered;
    open.bytes += slice.bytes;
    // What is left is too short to say how busy the process was.
    if (this.#last[nth] !== slice.second) open.busyShares[nth] = slice.busyShare;
    addPacked(open.latencyUs, slice.packedUs);
    this.#last[nth] = slice.second;
    const passed = Math.min(...this.#last);
    for (const [second, one] of this.#open) if (second < passed) this.#close(second, one);
  }

  /**
   * All of them, when the round is over. A second that no process reported, since it was held up,
   * is empty.
   */
  end(): readonly Second[] {
    for (const [second, open] of this.#open) this.#close(second, open);
    const none = { ...NOTHING, busyShares: this.#last.map(() => 0) };
    return Array.from(this.#closed, (second) => second ?? none);
  }

  #begin(second: number): Open {
    const busyShares = this.#last.map(() => 0);
    const open = { deliveries: 0, bytes: 0, latencyUs: createHistogram(2), busyShares };
    this.#open.set(second, open);
    return open;
  }

  #close(second: number, open: Open): void {
    this.#open.delete(second);
    this.#closed[second] = secondOf(open);
    open.latencyUs.destroy();
  }
}

function secondOf({ deliveries, bytes, latencyUs, busyShares }: Open): Second {
  return {
    deliveries,
    bytes,
    p50Ms: percentileMs(latencyUs, 50),
    p99Ms: percentileMs(latencyUs, 99),
    maxMs: percentileMs(latencyUs, 100),
    busyShares,
  };
}
