/**
 * The port of the log, which gives ids and keeps order. There is one in memory; the port is
 * asynchronous so that a durable or a distributed log fits it, too. Rings are fed only by `tail`,
 * after commit, whichever node published.
 */
import type { LoggedEntry, NewEntry } from './event.js';

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

export interface EventLog {
  /**
   * Commits a batch, all or nothing; resolves to the entries' ids, rising. With `request` the
   * receipt is committed in the same step, and the same request finds it by {@link EventLog.kept}.
   */
  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]>;
  /** The receipt that was committed under an idempotency key, while it is kept. */
  kept(key: string): Promise<KeptReceipt | undefined>;
  /**
   * Hands every committed entry after `from` to `take`, once and in id order. If `take` returns a
   * promise, the log awaits it before it hands over more. Returns a function that stops it.
   */
  tail(from: number, take: (entries: readonly LoggedEntry[]) => void | Promise<void>): () => void;
  /** Up to `limit` committed entries after `from` that are still kept, in id order. */
  read(from: number, limit: number): Promise<readonly LoggedEntry[]>;
  /** The id given last; first id − 1 before any. */
  lastId(): number;
  /** First id − 1. Positions below it are of another log. */
  floor(): number;
  /**
   * Highest id of a channel that `read` no longer gives, because of retention or a deletion; 0 when
   * it gives all.
   */
  lostThrough(channel: string): number;
  close(): Promise<void>;
}
