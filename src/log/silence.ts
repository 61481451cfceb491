/**
 * Notices that the thread or the process that keeps a log says nothing while something waits for
 * it: its disk hangs, it is stopped, or it has ended and cannot be started again.
 */
import type { Clock } from '../clock.js';

const CHECK_MS = 100;

/** Who waits for it. */
interface Waiting {
  readonly isWaiting: () => boolean;
  /** How long it waits for any answer. */
  readonly mostMs: () => number;
  /** There was none. */
  readonly silent: () => void;
}

export class Silence {
  readonly #clock: Clock;
  readonly #waiting: Waiting;
  /** When it answered last, or began to be waited for; later by what this loop was held. */
  #heardMs = 0;
  #cancelCheck: (() => void) | undefined;

  constructor(clock: Clock, waiting: Waiting) {
    this.#clock = clock;
    this.#waiting = waiting;
  }

  /** Something waits from now on. */
  watch(): void {
    if (this.#cancelCheck !== undefined) return;
    this.#heardMs = this.#clock.nowMs();
    this.#check();
  }

  /** It has said something. */
  heard(): void {
    this.#heardMs = this.#clock.nowMs();
  }

  stop(): void {
    this.#cancelCheck?.();
  }

  /** Looks again and again, as long as something waits. */
  #check(): void {
    const dueMs = this.#clock.nowMs() + CHECK_MS;
    this.#cancelCheck = this.#clock.later(CHECK_MS, () => {
      this.#cancelCheck = undefined;
      if (!this.#waiting.isWaiting()) return;
      const nowMs = this.#clock.nowMs();
      // What was answered while the loop was held is read after this.
      this.#heardMs += Math.max(0, nowMs - dueMs);
      if (nowMs - this.#heardMs >= this.#waiting.mostMs()) this.#waiting.silent();
      else this.#check();
    });
  }
}
