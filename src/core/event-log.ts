/**
 * The log: gives ids and keeps order. Memory today; the port is asynchronous so that a durable or a
 * distributed log fits the same hole. Rings are fed only by `tail`, after commit, whoever
 * published.
 */
import type { LoggedEntry, NewEntry } from './event.js';

/**
 * What makes two publish requests the same: an idempotency key within its scope, and a digest of
 * all else that was asked.
 */
export interface RequestKey {
  readonly key: string;
  readonly digest: string;
}

/** What a publisher was told. */
export interface Receipt {
  readonly firstId: number;
  readonly lastId: number;
  readonly count: number;
  readonly subscribers: number;
}

/** A receipt that was kept, and for what. */
export interface KeptReceipt {
  readonly digest: string;
  readonly receipt: Receipt;
}

export interface EventLog {
  /**
   * Commits a batch, all or nothing; resolves to the entries' ids, rising. With `request` the
   * receipt is committed together with it, so that the same request finds it by {@link
   * EventLog.kept}.
   */
  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]>;
  /** The receipt that was committed under an idempotency key, while it is kept. */
  kept(key: string): Promise<KeptReceipt | undefined>;
  /**
   * Hands every committed entry after `from` to `take`, in id order, once. Where `take` answers
   * with a promise the log waits for it before it hands over more. Returns what stops it.
   */
  tail(from: number, take: (entries: readonly LoggedEntry[]) => void | Promise<void>): () => void;
  /** Up to `limit` committed entries after `from` that are still kept, in id order. */
  read(from: number, limit: number): Promise<readonly LoggedEntry[]>;
  /** The id given last, or first id − 1. */
  lastId(): number;
  /** First id − 1: positions below it are of another log. */
  floor(): number;
  /**
   * Highest id of a channel that `read` no longer gives, for retention or a deletion; 0 when it
   * gives all.
   */
  lostThrough(channel: string): number;
  close(): Promise<void>;
}
