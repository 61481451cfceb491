/** What a log and its thread tell each other. */
import type {
  HistoryRequest,
  KeepRules,
  KeptReceipt,
  LogFigures,
  LogRow,
  LogState,
} from '../../core/event-log.js';
import { asError, HoldlineError, type RefusalCode, type StartCode } from '../../errors.js';

export type Durability = 'sync' | 'async';

/** What the thread is started with. */
export interface ThreadData {
  readonly directory: string;
  readonly durability: Durability;
  /** Of a log that is made now. */
  readonly firstId: number;
  readonly rules: KeepRules;
  /** Size of the file that is given back when the disk is full; 0: none. */
  readonly ballastBytes: number;
  /** Of the thread's {@link EndGate}, shared with who ends the thread. */
  readonly gateWord: Int32Array;
}

/** A receipt to be kept until a time, ms since 1970. */
export interface NewReceipt {
  readonly key: string;
  readonly digest: string;
  readonly subscribers: number;
  readonly untilMs: number;
}

/** One append: all or nothing. */
export interface AppendRequest {
  /** Rises by one from append to append. */
  readonly sequence: number;
  readonly count: number;
  /** Packed entries, see packing.ts. */
  readonly bytes: number;
  /** True if all entries are deletions, which are let through when the disk is full. */
  readonly onlyDeletes: boolean;
  readonly receipt: NewReceipt | undefined;
}

/** What is asked of the history; answered under its number. */
export type Question =
  | { readonly kind: 'read'; readonly request: HistoryRequest }
  | {
      readonly kind: 'newest';
      readonly channel: string;
      readonly through: number;
      readonly eventsMax: number;
      readonly bytesMax: number;
    }
  | { readonly kind: 'id before'; readonly wallMs: number }
  | { readonly kind: 'rows'; readonly rowKind: string }
  | { readonly kind: 'put row'; readonly row: LogRow };

export type ToThread =
  | {
      readonly kind: 'append';
      readonly appends: readonly AppendRequest[];
      /** The entries of all of them, packed. */
      readonly packed: Uint8Array;
    }
  | { readonly kind: 'ask'; readonly number: number; readonly question: Question }
  | { readonly kind: 'rules'; readonly rules: KeepRules }
  | { readonly kind: 'close' };

/** A receipt that was found at the start, and what is left of its time. */
export interface FoundReceipt extends KeptReceipt {
  readonly key: string;
  readonly untilMs: number;
}

export interface Failure {
  readonly code: RefusalCode | StartCode;
  readonly words: string;
}

export type Answer =
  | {
      readonly kind: 'page';
      readonly packed: Uint8Array;
      readonly through: number;
      readonly lostThrough: number;
      readonly lostByChannel?: readonly number[];
      readonly isDeleted: boolean;
    }
  | { readonly kind: 'id'; readonly id: number }
  | { readonly kind: 'rows'; readonly rows: readonly LogRow[] }
  | { readonly kind: 'kept' }
  | { readonly kind: 'failed'; readonly failure: Failure };

export type FromThread =
  | {
      readonly kind: 'open';
      readonly floor: number;
      /** Highest id that is committed. */
      readonly committedId: number;
      /** The same, or the end of a lease: ids go on behind it. */
      readonly newestId: number;
      readonly receipts: readonly FoundReceipt[];
      readonly figures: LogFigures;
    }
  | { readonly kind: 'not open'; readonly failure: Failure }
  | {
      readonly kind: 'committed';
      /** In the order of the appends: each one's sequence and first id. */
      readonly appends: readonly { readonly sequence: number; readonly firstId: number }[];
      readonly figures: LogFigures;
    }
  | {
      readonly kind: 'refused';
      readonly sequences: readonly number[];
      readonly failure: Failure;
    }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: Answer }
  | { readonly kind: 'state'; readonly state: LogState }
  /** Changed by what was forgotten. */
  | { readonly kind: 'figures'; readonly figures: LogFigures }
  /** A fault that nobody waits for. */
  | { readonly kind: 'fault'; readonly words: string }
  /** So many entries that were acknowledged are not kept. */
  | { readonly kind: 'lost'; readonly entries: number; readonly words: string }
  | { readonly kind: 'closed' };

/** The error that a failure in the thread is for who waits. */
export function errorOf({ code, words }: Failure): HoldlineError {
  return new HoldlineError(code, words);
}

/** What was thrown, as another thread can be told it. */
export function failureOf(error: unknown, code: Failure['code']): Failure {
  return error instanceof HoldlineError
    ? { code: error.code, words: error.message }
    : { code, words: asError(error).message };
}
