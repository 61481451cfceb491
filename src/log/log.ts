/**
 * The log: gives ids and keeps order. Memory today; the port is asynchronous so that a durable or a distributed log fits the
 * same hole. Rings are fed only by `tail`, after commit, whoever published.
 */
import type { LoggedEvent, NewEvent } from '../core/event.js';

export interface EventLog {
  /** Commits a batch, all or nothing; resolves to the events' ids, rising. */
  append(events: readonly NewEvent[]): Promise<readonly number[]>;
  /**
   * Hands every committed event after `from` to `take`, in id order, once. Where `take` answers with a promise the log waits for
   * it before it hands over more. Returns what stops it.
   */
  tail(from: number, take: (events: readonly LoggedEvent[]) => void | Promise<void>): () => void;
  /** Up to `limit` committed events after `from` that are still kept, in id order. */
  read(from: number, limit: number): Promise<readonly LoggedEvent[]>;
  /** The id given last, or first id − 1. */
  lastId(): number;
  /** First id − 1: positions below it are of another log. */
  floor(): number;
  /** Highest id of a channel that `read` no longer gives; 0 when it gives all. */
  lostThrough(channel: string): number;
  close(): Promise<void>;
}
