/**
 * Rates of channels: how many events, and bytes of data, entered in this window of time and in the
 * one before it. An event costs a comparison and two additions, a channel without events nothing.
 */
import type { Clock } from '../clock.js';
import { RATE_WINDOW_MS } from '../limits.js';

/** Least time over which a rate is shown, ms: just after the start a second counts as one. */
const RATE_TIME_MS_MIN = 1_000;

/** The windows, which are the same for all channels. */
export class RateWindows {
  /** Number of the current window. */
  current = 0;
  readonly #clock: Clock;
  #beganMs: number;
  /** Length of the window before the current one, ms; 0 where there was none. */
  #lastMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#beganMs = clock.nowMs();
  }

  /** Time of the current window and the one before it, ms. */
  get timeMs(): number {
    const timeMs = this.#clock.nowMs() - this.#beganMs + this.#lastMs;
    return Math.max(RATE_TIME_MS_MIN, timeMs);
  }

  /** Time has passed: begins another window if this one is long enough. */
  passed(): void {
    const nowMs = this.#clock.nowMs();
    const timeMs = nowMs - this.#beganMs;
    if (timeMs < RATE_WINDOW_MS) return;
    this.#lastMs = timeMs;
    this.#beganMs = nowMs;
    this.current++;
  }
}

/** What entered one channel lately. */
export class RecentEvents {
  #window = 0;
  #events = 0;
  #bytes = 0;
  #lastEvents = 0;
  #lastBytes = 0;

  /** An event of so many bytes of data entered in this window. */
  count(window: number, bytes: number): void {
    if (window !== this.#window) this.#turn(window);
    this.#events++;
    this.#bytes += bytes;
  }

  /** Events and bytes in this window and the one before it. */
  in(window: number): { readonly events: number; readonly bytes: number } {
    if (window !== this.#window) this.#turn(window);
    return { events: this.#events + this.#lastEvents, bytes: this.#bytes + this.#lastBytes };
  }

  #turn(window: number): void {
    const isNext = window === this.#window + 1;
    this.#lastEvents = isNext ? this.#events : 0;
    this.#lastBytes = isNext ? this.#bytes : 0;
    this.#window = window;
    this.#events = 0;
    this.#bytes = 0;
  }
}
