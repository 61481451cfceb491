/**
 * How old the events of a channel are, for channels that replay up to an age. The age is cut into
 * steps, and of each step in which something entered two numbers are kept, so that the memory is
 * bounded whatever the channel holds: at most AGE_STEPS + 2 pairs. An event counts as old as the
 * first of its step, so it goes up to a step early and never late.
 */
import { AGE_STEPS } from '../limits.js';

/** The events that entered in one step of time. */
interface Step {
  readonly sinceMs: number;
  lastId: number;
}

export class EntryAges {
  readonly #ageMs: number;
  readonly #stepMs: number;
  /** The oldest first. */
  readonly #steps: Step[] = [];
  #expiredThrough = 0;

  constructor(ageMs: number) {
    this.#ageMs = ageMs;
    this.#stepMs = ageMs / AGE_STEPS;
  }

  /** An event enters at `nowMs`, a monotonic time; its id is above all before it. */
  entered(id: number, nowMs: number): void {
    const newest = this.#steps.at(-1);
    if (newest !== undefined && nowMs - newest.sinceMs < this.#stepMs) newest.lastId = id;
    else {
      this.expiredThrough(nowMs);
      this.#steps.push({ sinceMs: nowMs, lastId: id });
    }
  }

  /** Id of the newest event that is too old by now, or 0. */
  expiredThrough(nowMs: number): number {
    const steps = this.#steps;
    for (let oldest = steps[0]; oldest !== undefined; oldest = steps[0]) {
      if (nowMs - oldest.sinceMs < this.#ageMs) break;
      this.#expiredThrough = oldest.lastId;
      steps.shift();
    }
    return this.#expiredThrough;
  }
}
