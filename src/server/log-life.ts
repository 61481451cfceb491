/** The life of a server's log: opened once, by who needs it first; closed in bounded time. */
import type { EventLog } from '../core/event-log.js';
import { HoldlineError } from '../errors.js';
import { closeLog } from '../log/close-log.js';
import { LOG_CLOSE_MS_MAX, LOG_OPENING_CLOSE_MS_MAX } from '../limits.js';

export class LogLife {
  readonly #log: EventLog;
  /** Called once, when it is open. */
  readonly #begin: () => void | Promise<void>;
  readonly #closeMsMax: number;
  #opening: Promise<void> | undefined;
  #isReady: boolean;
  /** Rejects when the server is closed: whoever waits for the log hears it at once. */
  readonly #closed: Promise<never>;
  #markClosed: (error: HoldlineError) => void = ignore;
  #isClosed = false;

  constructor(
    log: EventLog,
    begin: () => void | Promise<void>,
    closeMsMax: number = LOG_CLOSE_MS_MAX,
  ) {
    this.#log = log;
    this.#begin = begin;
    this.#closeMsMax = closeMsMax;
    this.#isReady = log.isOpen;
    this.#closed = new Promise((_resolve, reject) => {
      this.#markClosed = reject;
    });
    this.#closed.catch(ignore);
  }

  /**
   * Opens the log if nobody has; undefined when it is open, so that nothing waits for a log in
   * memory. Rejects as `EventLog.open` does, and then may be called again; with HOLDLINE_DRAINING
   * for a server that is closed.
   */
  opened(): Promise<void> | undefined {
    if (this.#isReady) return undefined;
    if (this.#isClosed) return this.#closed;
    this.#opening ??= this.#open();
    return Promise.race([this.#opening, this.#closed]);
  }

  async #open(): Promise<void> {
    // A log that waits for its next attempt may have nothing else that keeps the process alive.
    const alive = setInterval(ignore, 60_000);
    try {
      await this.#log.open();
      if (this.#isClosed) return;
      await this.#begin();
      this.#isReady = true;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    } finally {
      clearInterval(alive);
    }
  }

  /**
   * Closes the log, also one that is being opened. Resolves when that is done, or after
   * LOG_CLOSE_MS_MAX, or LOG_OPENING_CLOSE_MS_MAX while it is being opened; rejects with what
   * `EventLog.close` rejects with.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#markClosed(new HoldlineError('HOLDLINE_DRAINING', 'the server has been closed'));
    await closeLog(this.#log, this.#log.isOpen ? this.#closeMsMax : LOG_OPENING_CLOSE_MS_MAX);
  }
}

function ignore(): void {}
