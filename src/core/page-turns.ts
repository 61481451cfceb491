/**
 * Pages that are being given to lines: one slice of time in a turn of the loop for all of them
 * together, in which they take turns line by line. A slice for each would add up: as many shelves
 * as may be read for at a time would hold the loop as often as long.
 */
import type { Clock } from '../clock.js';
import { SWEEP_SLICE_MS } from '../limits.js';

/** How far the lines have been given one page. */
interface Giving {
  /** Handles, visited up to `at`. */
  due: readonly number[];
  at: number;
  /** Those that have not been given all of it. */
  left: number[];
  /** Gives a line some of the page; true when there is more in it for the line. */
  readonly visit: (handle: number) => boolean;
  readonly done: () => void;
}

export class PageTurns {
  readonly #clock: Clock;
  /** The first is the next. */
  readonly #givings: Giving[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Visits the lines of these handles again and again, each until `visit` says false, and begins in
   * the next turn of the loop. Resolves when none is left.
   */
  give(handles: readonly number[], visit: (handle: number) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#givings.push({ due: handles, at: 0, left: [], visit, done: resolve });
      if (this.#givings.length === 1) this.#clock.soon(this.#slice);
    });
  }

  readonly #slice = (): void => {
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    do {
      const giving = this.#givings.shift() as Giving;
      if (visitNext(giving)) this.#givings.push(giving);
      else giving.done();
    } while (this.#givings.length > 0 && this.#clock.nowMs() < untilMs);
    if (this.#givings.length > 0) this.#clock.soon(this.#slice);
  };
}

/** False when no line is left. */
function visitNext(giving: Giving): boolean {
  if (giving.at === giving.due.length) {
    if (giving.left.length === 0) return false;
    [giving.due, giving.left, giving.at] = [giving.left, [], 0];
  }
  const handle = giving.due[giving.at++] as number;
  if (giving.visit(handle)) giving.left.push(handle);
  return true;
}
