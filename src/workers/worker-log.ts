/**
 * The log in a worker: appends, receipts, rows and history travel to the supervisor, which owns the
 * log; what it commits comes back in id order. What has entered the worker's rings is told, so that
 * the supervisor knows how much of each channel is on the way (workers/credit.ts).
 */
import { giveUpAfter, SYSTEM_CLOCK, type Clock } from '../clock.js';
import { HoldlineError } from '../errors.js';
import { ENTERED_CHECK_MS, LOG_SILENT_MS_MAX, WORKER_ANSWER_MS_MAX } from '../limits.js';
import { queuedBytesOf } from '../core/entrance.js';
import type { LoggedEntry, NewEntry } from '../core/event.js';
import type {
  EventLog,
  History,
  HistoryPage,
  HistoryRequest,
  KeptReceipt,
  LogFigures,
  LogRow,
  LogRows,
  LogState,
  RequestKey,
} from '../core/event-log.js';
import { Silence } from '../log/silence.js';
import { appendFrame, enteredFrame, FRAME, readRecords, type Frame } from './frames.js';
import type { Link } from './link.js';

/** What a worker is told of the log when it begins and when it opens it. */
export interface LogFacts extends LogNews {
  readonly floor: number;
  readonly lastId: number;
}

/** What it is told when it changes. */
export interface LogNews {
  readonly state: LogState;
  readonly figures?: LogFigures | undefined;
}

/** Waits for an id to be handed over. */
interface Waiter {
  readonly id: number;
  readonly reached: () => void;
}

const GONE: LogState = { isUp: false, problem: 'the process that keeps the log has ended' };
const SILENT: LogState = {
  isUp: false,
  problem: `the process that keeps the log has said nothing for ${LOG_SILENT_MS_MAX / 1000} s`,
};

export class WorkerLog implements EventLog {
  readonly history: History;
  readonly rows: LogRows;
  figures: LogFigures | undefined;
  /**
   * Entries of the channel that wait in its queue. Set by the server; without it everything counts
   * as entered.
   */
  queueLengthOf: (channel: string) => number = () => 0;

  readonly #link: Link;
  readonly #clock: Clock;
  readonly #floor: number;
  #state: LogState;
  #lastId: number;
  #take: ((entries: readonly LoggedEntry[]) => void) | undefined;
  /** What came before there was somebody to take it: before the answer to `open`. */
  #early: LoggedEntry[] = [];
  /** Costs of the entries by channel that may still be in its queue, oldest first. */
  readonly #queued = new Map<string, number[]>();
  /** Ends the wait for the next look at the queues; undefined when none is due. */
  #cancelLook: (() => void) | undefined;
  #isOpen = false;
  #isClosed = false;
  /** Nobody takes entries any more: what comes, and what is in a queue, counts as entered. */
  #hasStopped = false;
  readonly #waiters = new Set<Waiter>();
  /** The supervisor pings every second: without a ping it stands still. */
  readonly #silence: Silence;
  #isSilent = false;

  constructor(
    link: Link,
    { floor, lastId, state, figures }: LogFacts,
    clock: Clock = SYSTEM_CLOCK,
  ) {
    this.#link = link;
    this.#clock = clock;
    this.#floor = floor;
    this.#lastId = lastId;
    this.#state = state;
    this.figures = figures;
    this.#silence = new Silence(clock, {
      isWaiting: () => link.isOpen && !this.#isClosed,
      mostMs: () => LOG_SILENT_MS_MAX,
      silent: () => {
        this.#isSilent = true;
        // Nobody knows what becomes of the appends.
        link.giveUpWaiting();
      },
    });
    this.rows = {
      load: (kind) => link.ask('rows', kind),
      put: async (kind, key, value, untilMs) => {
        await link.ask('row', { kind, key, value, untilMs } satisfies LogRow);
      },
      onChange: undefined,
    };
    const page = (name: string, value: unknown): Promise<HistoryPage> => link.ask(name, value);
    this.history = {
      read: (request: HistoryRequest) => page('read', request),
      newest: (channel, bounds) => page('newest', { channel, ...bounds }),
      idBefore: (wallMs) => link.ask('idBefore', wallMs),
    };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get state(): LogState {
    if (!this.#link.isOpen) return GONE;
    return this.#isSilent ? SILENT : this.#state;
  }

  /**
   * From here on it is handed what is committed: so the server begins in the same turn, and while a
   * process starts nothing waits until it takes entries.
   */
  async open(): Promise<void> {
    const { lastId, ...news } = await this.#link.ask<LogFacts>('open', undefined);
    this.#lastId = lastId;
    this.changed(news);
    this.#isOpen = true;
    this.#silence.watch();
  }

  async append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    if (!this.#link.isOpen || this.#isClosed || this.#isSilent) throw unavailable();
    try {
      return await this.#link.request<readonly number[]>((number) =>
        appendFrame(number, entries, request),
      );
    } catch (error) {
      if (this.#link.isOpen && !this.#isSilent) throw error;
      const how = this.#link.isOpen ? 'does not answer' : 'ended before it answered';
      throw new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', `the process that keeps the log ${how}`);
    }
  }

  async kept(key: string): Promise<KeptReceipt | undefined> {
    return (await this.#link.ask<KeptReceipt | null>('kept', key)) ?? undefined;
  }

  tail(take: (entries: readonly LoggedEntry[]) => void): () => void {
    this.#take = take;
    const early = this.#early;
    this.#early = [];
    if (early.length > 0) this.#handOver(early);
    return () => this.#stop();
  }

  lastId(): number {
    return this.#lastId;
  }

  floor(): number {
    return this.#floor;
  }

  /** Appends have been answered or are sent; the pipe stays for what else there is to say. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#silence.stop();
    this.#stop();
    this.#link.flush();
    return Promise.resolve();
  }

  /** The supervisor has said something. */
  heard(): void {
    this.#silence.heard();
    if (!this.#isSilent) return;
    this.#isSilent = false;
    this.#silence.watch();
  }

  /** The supervisor tells how the log is. */
  changed({ state, figures }: LogNews): void {
    this.#state = state;
    this.figures = figures;
  }

  /** Takes a frame with entries. */
  records(frame: Frame): void {
    if (frame.kind !== FRAME.records) return;
    const entries = readRecords(frame);
    if (this.#take === undefined && !this.#hasStopped) {
      for (const entry of entries) this.#early.push(entry);
      return;
    }
    this.#handOver(entries);
  }

  /** A client may have been given an event by another worker before this one has it. */
  async reach(id: number): Promise<boolean> {
    if (id <= this.#lastId) return true;
    const lastId = await this.#link.ask<number>('lastId', undefined);
    if (id > lastId) return false;
    if (id <= this.#lastId) return true;
    return new Promise<boolean>((resolve, reject) => {
      const cancel = giveUpAfter(this.#clock, WORKER_ANSWER_MS_MAX, () => {
        this.#waiters.delete(waiter);
        reject(unavailable());
      });
      const waiter: Waiter = {
        id,
        reached: () => {
          cancel();
          resolve(true);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  #stop(): void {
    this.#hasStopped = true;
    this.#take = undefined;
    this.#tellEntered();
  }

  #handOver(entries: readonly LoggedEntry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    // Before they are taken: the hub may ask meanwhile.
    this.#lastId = last.id;
    this.#take?.(entries);
    for (const entry of entries) {
      const costs = this.#queued.get(entry.channel);
      if (costs === undefined) this.#queued.set(entry.channel, [queuedBytesOf(entry)]);
      else costs.push(queuedBytesOf(entry));
    }
    this.#tellEntered();
    for (const waiter of this.#waiters) {
      if (waiter.id > last.id) continue;
      this.#waiters.delete(waiter);
      waiter.reached();
    }
  }

  /** Tells what has left the channels' queues since it was told last. */
  readonly #tellEntered = (): void => {
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    const entered = new Map<string, number>();
    for (const [channel, costs] of this.#queued) {
      const left = this.#hasStopped ? 0 : Math.min(this.queueLengthOf(channel), costs.length);
      if (left === costs.length) continue;
      let bytes = 0;
      for (let i = 0; i < costs.length - left; i++) bytes += costs[i] as number;
      entered.set(channel, bytes);
      if (left === 0) this.#queued.delete(channel);
      else costs.splice(0, costs.length - left);
    }
    if (entered.size > 0) this.#link.send(enteredFrame(entered));
    if (this.#queued.size > 0)
      this.#cancelLook = this.#clock.later(ENTERED_CHECK_MS, this.#tellEntered);
  };
}

function unavailable(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_LOG_UNAVAILABLE',
    'the process that keeps the log is gone or stands still, or this one ends',
  );
}
