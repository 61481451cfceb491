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
    this.#schedule(1);
  }

  /** Reports what there is of the last second, and ends. */
  end(): void {
    clearTimeout(this.#timer);
    if (nowUs() - this.#from.atUs > REST_US) this.#cut();
  }

  #schedule(boundary: number): void {
    const waitMs = (this.#startUs + boundary * SECOND_US - nowUs()) / 1000;
    this.#timer = setTimeout(
      () => {
        this.#cut();
        // Where the loop was held up for longer than a second, one slice covers all of it.
        this.#schedule(Math.floor((nowUs() - this.#startUs) / SECOND_US) + 1);
      },
      Math.max(1, Math.ceil(waitMs)),
    );
  }

  #cut(): void {
    const from = this.#from;
    const atUs = nowUs();
    const flow = this.#flow();
    this.#from = { ...flow, atUs };
    this.#report({
      second: Math.max(0, Math.round((from.atUs - this.#startUs) / SECOND_US)),
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
