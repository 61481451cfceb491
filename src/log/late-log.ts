/**
 * A log that is loaded when it is opened, and whose commits and reads are timed: what a server is
 * given where it keeps its events, since a server is made before any library of a log is loaded.
 */
import type { Clock } from '../clock.js';
import type { LoggedEntry, NewEntry } from '../core/event.js';
import {
  LOG_NOT_OPEN,
  type EventLog,
  type History,
  type KeepRules,
  type KeptReceipt,
  type LogFigures,
  type LogRows,
  type LogState,
  type LogTimes,
  type LoseIds,
  type RequestKey,
} from '../core/event-log.js';
import { Histogram } from '../core/histogram.js';
import type { Counters } from '../counters.js';
import { HoldlineError, statusOf } from '../errors.js';
import { LOG_SECONDS_BOUNDS } from '../limits.js';

/** Gives the log behind it, which is not open yet. */
export type LoadLog = () => Promise<EventLog>;

export class LateLog implements EventLog {
  readonly times: LogTimes = {
    commit: new Histogram(LOG_SECONDS_BOUNDS),
    read: new Histogram(LOG_SECONDS_BOUNDS),
  };
  /** There from the beginning: what is kept is read when the log is open. */
  readonly history: History = {
    read: (request) => this.#read((history) => history.read(request)),
    newest: (channel, bounds) => this.#read((history) => history.newest(channel, bounds)),
    idBefore: (wallMs) => this.#read((history) => history.idBefore(wallMs)),
  };
  readonly #load: LoadLog;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #counters: Pick<Counters, 'log_append_failures_total'>;
  #opening: Promise<void> | undefined;
  #log: EventLog | undefined;
  #rules: KeepRules | undefined;

  constructor(
    load: LoadLog,
    clock: Pick<Clock, 'nowMs'>,
    counters: Pick<Counters, 'log_append_failures_total'>,
  ) {
    this.#load = load;
    this.#clock = clock;
    this.#counters = counters;
  }

  /** As the port says; after a failure it may be called again, and loads another. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<void> {
    try {
      const log = await this.#load();
      await log.open();
      this.#log = log;
      if (this.#rules !== undefined) log.keepTo?.(this.#rules);
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#log !== undefined;
  }

  get state(): LogState {
    return this.#log?.state ?? LOG_NOT_OPEN;
  }

  get rows(): LogRows | undefined {
    return this.#log?.rows;
  }

  get figures(): LogFigures | undefined {
    return this.#log?.figures;
  }

  async append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    const beganMs = this.#clock.nowMs();
    try {
      const ids = await this.#opened().append(entries, request);
      this.times.commit.observe((this.#clock.nowMs() - beganMs) / 1000);
      return ids;
    } catch (error) {
      // What is refused for what it is says nothing of the log.
      if (statusOf(error) >= 500) this.#counters.log_append_failures_total++;
      throw error;
    }
  }

  async #read<Found>(find: (history: History) => Promise<Found>): Promise<Found> {
    const { history } = this.#opened();
    if (history === undefined)
      throw new HoldlineError('HOLDLINE_INTERNAL', 'the log keeps nothing');
    const beganMs = this.#clock.nowMs();
    const found = await find(history);
    this.times.read.observe((this.#clock.nowMs() - beganMs) / 1000);
    return found;
  }

  async kept(key: string): Promise<KeptReceipt | undefined> {
    return this.#opened().kept(key);
  }

  tail(take: (entries: readonly LoggedEntry[]) => void, lose?: LoseIds): () => void {
    return this.#opened().tail(take, lose);
  }

  /** False at once where the log behind it knows of no other servers. */
  reach(id: number): Promise<boolean> {
    const log = this.#opened();
    return log.reach?.(id) ?? Promise.resolve(id <= log.lastId());
  }

  keepTo(rules: KeepRules): void {
    this.#rules = rules;
    this.#log?.keepTo?.(rules);
  }

  lastId(): number {
    return this.#opened().lastId();
  }

  floor(): number {
    return this.#opened().floor();
  }

  async close(): Promise<void> {
    // One that is being opened is there only after that; one that could not be opened is not there.
    await this.#opening?.catch(ignore);
    await this.#log?.close();
  }

  /** Throws HOLDLINE_LOG_UNAVAILABLE. */
  #opened(): EventLog {
    if (this.#log !== undefined) return this.#log;
    throw new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', `${LOG_NOT_OPEN.problem}; try again later`);
  }
}

function ignore(): void {}
