/** Cuts what comes to a process into slices of a second. */

import process from 'node:process';
import type { Histogram } from 'hdr-histogram-js';
import { nowUs } from './clock.js';
import { packHistogram } from './histogram.js';

const SECOND_US = 1e6;

/** A last second that is shorter than this is part of the one before. */
const REST_US = 50_000;

/** What came in one second of a round. */
export interface Slice {
  /** Which one, from 0. */
  readonly second: number;
  readonly delivered: number;
  readonly bytes: number;
  /** Of the latencies, see histogram.ts. */
  readonly packedUs: string;
  /** Share of a core that the process used. */
  readonly busyShare: number;
}

/** What is cut into slices; it only grows. */
export interface Flow {
  readonly delivered: number;
  readonly bytes: number;
  readonly cpuSeconds: number;
}

/** Reports each second of a round when it is over. */
export class Slicer {
  readonly #startUs: number;
  readonly #flow: () => Flow;
  readonly #latencyUs: Histogram;
  readonly #report: (slice: Slice) => void;
  #from: Flow & { readonly atUs: number };
  /** The newest second that was reported. */
  #newest = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Seconds count from `startUs`. `latencyUs` is emptied after each. */
  constructor(
    startUs: number,
    flow: () => Flow,
    latencyUs: Histogram,
    report: (slice: Slice) => void,
  ) {
    this.#startUs = startUs;
    this.#flow = flow;
    this.#latencyUs = latencyUs;
    this.#report = report;
    this.#from = { ...flow(), atUs: startUs };
    this.#schedule();
  }

  /** Reports what there is of the last second, and ends. */
  end(): void {
    clearTimeout(this.#timer);
    const { atUs } = this.#from;
    this.#cut(nowUs() - atUs > REST_US ? this.#secondAt(atUs) : this.#newest);
  }

  #secondAt(us: number): number {
    return Math.floor((us - this.#startUs) / SECOND_US);
  }

  /** Where the loop is held up for longer than a second, one slice covers all of it. */
  #schedule(): void {
    const second = this.#secondAt(this.#from.atUs);
    const endUs = this.#startUs + (second + 1) * SECOND_US;
    this.#timer = setTimeout(
      () => {
        // A timer may be early.
        if (nowUs() >= endUs) this.#cut(second);
        this.#schedule();
      },
      Math.max(1, Math.ceil((endUs - nowUs()) / 1000)),
    );
  }

  #cut(second: number): void {
    const from = this.#from;
    const atUs = nowUs();
    // Before the first event.
    if (atUs <= from.atUs) return;
    const flow = this.#flow();
    this.#from = { ...flow, atUs };
    this.#newest = second;
    this.#report({
      second,
      delivered: flow.delivered - from.delivered,
      bytes: flow.bytes - from.bytes,
      packedUs: packHistogram(this.#latencyUs),
      busyShare: ((flow.cpuSeconds - from.cpuSeconds) * SECOND_US) / (atUs - from.atUs),
    });
    this.#latencyUs.reset();
  }
}

/** Processor time of this process since it began. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
