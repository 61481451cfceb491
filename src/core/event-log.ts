/**
 * The port of the log, which gives ids and keeps order. There is one in memory (log/memory-log.ts);
 * others keep what they are given over a restart, or on other machines. Rings are fed only by
 * `tail`, after commit, whichever node published. What the rings no longer hold is read from
 * `history`.
 */
import type { LoggedEntry, LoggedEvent, NewEntry } from './event.js';
import type { Histogram } from './histogram.js';

/** Two publish requests are the same when their keys are; the digest covers all else they asked. */
export interface RequestKey {
  readonly key: string;
  readonly digest: string;
}

/** The publisher's answer. */
export interface Receipt {
  readonly firstId: number;
  readonly lastId: number;
  readonly count: number;
  readonly subscribers: number;
}

/** A receipt that was kept, and the digest of its request. */
export interface KeptReceipt {
  readonly digest: string;
  readonly receipt: Receipt;
}

/** What of a log's past is asked for: of some channels together, in id order. */
export interface HistoryRequest {
  /** Distinct names. */
  readonly channels: readonly string[];
  /** Events above this id … */
  readonly after: number;
  /** … and up to this one. */
  readonly through: number;
  /** At most so many events, and so many bytes of data unless the first event has more. */
  readonly eventsMax: number;
  readonly bytesMax: number;
}

export interface HistoryPage {
  /**
   * In id order, without deletions, and without what they ended, also where the page ends before
   * them. Data may be kept, and is not changed.
   */
  readonly events: readonly LoggedEvent[];
  /**
   * Everything kept up to this id is in the page: the `through` asked for, or the last event's, or
   * where a loss begins that the next page tells of.
   */
  readonly through: number;
  /**
   * Highest id that one of the channels has lost, to retention, a deletion or a crash; `floor` if
   * none has. A position below it has missed something. Of {@link History.newest}, events of the
   * page may be below it.
   */
  readonly lostThrough: number;
  /**
   * Of {@link History.read}: the same of each channel, in the order of the request. May be absent
   * for one channel.
   */
  readonly lostByChannel?: readonly number[] | undefined;
  /**
   * Of {@link History.newest}: true when the channel was deleted and nothing was published to it
   * since, as far as the log still knows; it may come after the `through` asked for.
   */
  readonly isDeleted?: boolean;
}

/** What a log keeps. All reject with HOLDLINE_LOG_UNAVAILABLE; each is a bounded piece of work. */
export interface History {
  read(request: HistoryRequest): Promise<HistoryPage>;
  /**
   * The newest events of one channel up to `through`, as many as fit, in id order. `lostThrough` of
   * the page is the highest id of the channel that is not in it.
   */
  newest(
    channel: string,
    bounds: { readonly through: number; readonly eventsMax: number; readonly bytesMax: number },
  ): Promise<HistoryPage>;
  /** The last id that was given before a time, ms since 1970; `floor` if all were given later. */
  idBefore(wallMs: number): Promise<number>;
}

/** What is kept at most; 0 means no such bound. */
export interface Retention {
  readonly events: number;
  /** Of records, bytes. */
  readonly bytes: number;
  readonly ageMs: number;
}

/** What channels by pattern keep at most, beside the bounds of the whole log. */
export interface KeepPolicy {
  /** A name or a pattern. */
  readonly channels: string;
  readonly keepEvents?: number | undefined;
  readonly keepBytes?: number | undefined;
  /** Milliseconds. */
  readonly keepAge?: number | undefined;
}

/** What a log keeps: all channels together, and some by pattern. */
export interface KeepRules {
  readonly retention: Retention;
  readonly policies: readonly KeepPolicy[];
}

/** Whether a log takes entries now. */
export interface LogState {
  readonly isUp: boolean;
  /**
   * Why not, in words for an operator; empty when it is up. Everyone may see them (`/-/ready`): no
   * path, no address, no secret.
   */
  readonly problem: string;
}

/** How much a log keeps. */
export interface LogFigures {
  readonly events: number;
  /** What they take where they are kept, bytes. */
  readonly bytes: number;
}

/** How long a log took, seconds. */
export interface LogTimes {
  /** From an append until it is committed. */
  readonly commit: Histogram;
  /** Of each read of the history. */
  readonly read: Histogram;
}

/** What is kept beside the events, under a kind and a key, such as a revocation. */
export interface LogRow {
  readonly kind: string;
  readonly key: string;
  readonly value: string;
  /** When it may be forgotten, ms since 1970. */
  readonly untilMs: number;
}

/** The rows of a log. What is put under a kind and a key takes the place of what was there. */
export interface LogRows {
  /** All rows of a kind that are not to be forgotten yet. Rejects with HOLDLINE_LOG_UNAVAILABLE. */
  load(kind: string): Promise<readonly LogRow[]>;
  /** Resolves when the row is kept as an entry is. Rejects as {@link EventLog.append} does. */
  put(kind: string, key: string, value: string, untilMs: number): Promise<void>;
  /** Called with each row that another server has put, where several share a log; maybe again. */
  onChange: ((row: LogRow) => void) | undefined;
}

/**
 * Hears of ids up to `throughId` that are not handed over and were never: the log forgot them
 * first, or they cannot be handed to readers. Of one channel, or of all when it is undefined. What
 * the history has of them it has, and it says what is lost.
 */
export type LoseIds = (throughId: number, channel: string | undefined) => void;

export const LOG_UP: LogState = { isUp: true, problem: '' };
export const LOG_NOT_OPEN: LogState = { isUp: false, problem: 'the log is not open yet' };

export interface EventLog {
  /**
   * Opens it: from then on ids and `floor` are known. Entries are appended, and handed to `tail`,
   * only when it is open. Rejects with HOLDLINE_BAD_LOG for one that cannot be used. Called once.
   */
  open(): Promise<void>;
  /** True from the end of {@link open}. A log in memory is open from the start. */
  readonly isOpen: boolean;
  readonly state: LogState;
  /** What it keeps; undefined when it keeps no entries, and rings are all there is. */
  readonly history: History | undefined;
  /** What is kept beside the events; absent where nothing outlives the process. */
  readonly rows?: LogRows | undefined;
  /** How much it keeps, as it was known last; undefined when it keeps nothing, or is not open. */
  readonly figures?: LogFigures | undefined;
  /** Absent where that is not measured. */
  readonly times?: LogTimes | undefined;
  /**
   * Commits a batch, all or nothing; resolves to the entries' ids, rising. Appends that are given
   * while others are not answered keep their order where each is of one and the same channel.
   * With `request` the receipt is committed in the same step, and the same request finds it by
   * {@link EventLog.kept}; without any ids when another process has published it meanwhile, whose
   * receipt that finds. Rejects with HOLDLINE_LOG_UNAVAILABLE when nothing was committed, and
   * with HOLDLINE_OUTCOME_UNKNOWN when that is not known.
   */
  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]>;
  /** The receipt that was committed under an idempotency key, while it is kept. */
  kept(key: string): Promise<KeptReceipt | undefined>;
  /**
   * Hands every entry that is committed from now on to `take`, once and in id order, before the
   * publisher hears of it. Returns a function that stops it. `lose` is called in the same order; a
   * log that all of its entries pass through on their way never calls it.
   */
  tail(take: (entries: readonly LoggedEntry[]) => void, lose?: LoseIds): () => void;
  /**
   * Where several servers share a log: resolves to true when an id above {@link EventLog.lastId}
   * has been handed over, and to false when the log has given no such id. Rejects with
   * HOLDLINE_LOG_UNAVAILABLE when that cannot be known in time.
   */
  reach?(id: number): Promise<boolean>;
  /** What it keeps from now on; absent where that is not its own to say. */
  keepTo?(rules: KeepRules): void;
  /** The id that was handed over last; before any, the last one given when it was opened. */
  lastId(): number;
  /** First id − 1. Positions below it are of another log. */
  floor(): number;
  /** Ends it, after what was appended is committed. May be called again, also meanwhile. */
  close(): Promise<void>;
}
