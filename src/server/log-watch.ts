/** Tells an operator when the log goes down, and when it is back. */
import type { Clock } from '../clock.js';
import type { EventLog } from '../core/event-log.js';
import { LOG_WATCH_MS } from '../limits.js';

export class LogWatch {
  readonly #log: Pick<EventLog, 'state'>;
  readonly #clock: Pick<Clock, 'later' | 'nowMs'>;
  readonly #warn: (words: string) => void;
  /** Since when it is down, ms; undefined while it is up. */
  #downSinceMs: number | undefined;
  #stop: (() => void) | undefined;

  constructor(
    log: Pick<EventLog, 'state'>,
    clock: Pick<Clock, 'later' | 'nowMs'>,
    warn: (words: string) => void,
  ) {
    this.#log = log;
    this.#clock = clock;
    this.#warn = warn;
  }

  /** Looks from now on, once in LOG_WATCH_MS. Another call does nothing. */
  start(): void {
    if (this.#stop === undefined) this.#look();
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  #look(): void {
    this.#stop = this.#clock.later(LOG_WATCH_MS, () => this.#look());
    const { isUp, problem } = this.#log.state;
    if (isUp === (this.#downSinceMs === undefined)) return;
    const nowMs = this.#clock.nowMs();
    if (isUp) {
      const seconds = Math.round((nowMs - (this.#downSinceMs as number)) / 1000);
      this.#downSinceMs = undefined;
      this.#warn(`the log takes events again, after ${seconds} s`);
      return;
    }
    this.#downSinceMs = nowMs;
    this.#warn(`the log is down, and publishes are refused with 503: ${problem}`);
  }
}
