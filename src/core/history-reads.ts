/**
 * Reads of what the log keeps, for the whole hub: a bounded number at a time, the rest in turn. A
 * read that gets no answer counts as failed.
 */
import { giveUpAfter, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { HISTORY_READ_MS_MAX, HISTORY_READS_MAX, HISTORY_READS_WAITING_MAX } from '../limits.js';
import type { History, HistoryPage, HistoryRequest } from './event-log.js';

export class HistoryReads {
  readonly #history: History;
  readonly #clock: Clock;
  readonly #counters: Counters;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(history: History, clock: Clock, counters: Counters) {
    this.#history = history;
    this.#clock = clock;
    this.#counters = counters;
  }

  /**
   * Runs `work` in its turn: at most HISTORY_READS_MAX of them have begun and not ended. Rejects as
   * it does. For whoever is bounded elsewhere, as lines are.
   */
  async inTurn<Found>(work: () => Promise<Found>): Promise<Found> {
    if (this.#running < HISTORY_READS_MAX) this.#running++;
    // Whoever ends hands its place over.
    else await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /**
   * The same for a client that can be refused: rejects with HOLDLINE_LOG_UNAVAILABLE when
   * HISTORY_READS_WAITING_MAX wait already.
   */
  inTurnOrRefused<Found>(work: () => Promise<Found>): Promise<Found> {
    if (this.#waiting.length < HISTORY_READS_WAITING_MAX) return this.inTurn(work);
    this.#counters.history_refused_total++;
    return Promise.reject(
      unavailable(`${this.#waiting.length} reads of older events already wait; try again later`),
    );
  }

  /** Reads one page; to be called in turn. Rejects with HOLDLINE_LOG_UNAVAILABLE. */
  async read(request: HistoryRequest): Promise<HistoryPage> {
    const page = await this.#answered(this.#history.read(request));
    this.#counters.history_events_total += page.events.length;
    return page;
  }

  /** See {@link History.newest}; to be called in turn. Rejects with HOLDLINE_LOG_UNAVAILABLE. */
  async newest(channel: string, bounds: Parameters<History['newest']>[1]): Promise<HistoryPage> {
    const page = await this.#answered(this.#history.newest(channel, bounds));
    this.#counters.history_events_total += page.events.length;
    return page;
  }

  /** See {@link History.idBefore}; to be called in turn. Rejects with HOLDLINE_LOG_UNAVAILABLE. */
  idBefore(wallMs: number): Promise<number> {
    return this.#answered(this.#history.idBefore(wallMs));
  }

  #answered<Found>(reading: Promise<Found>): Promise<Found> {
    this.#counters.history_reads_total++;
    return new Promise((resolve, reject) => {
      const cancel = giveUpAfter(this.#clock, HISTORY_READ_MS_MAX, () =>
        reject(unavailable(`the log did not answer a read for ${HISTORY_READ_MS_MAX} ms`)),
      );
      reading.then(resolve, reject).finally(cancel);
    });
  }
}

function unavailable(problem: string): HoldlineError {
  return new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', problem);
}
