/**
 * Appends that the thread of a log was given and has not committed. Those that were answered all
 * the same, with `--durability async`, come first.
 */
import { LOG_COMMIT_BYTES_MAX, LOG_COMMIT_ENTRIES_MAX } from '../../limits.js';
import type { AppendRequest } from './messages.js';
import { unpackEntries, type PackedEntry } from './packing.js';

export interface WaitingAppend {
  readonly request: AppendRequest;
  readonly entries: readonly PackedEntry[];
}

/** Appends of one message; their entries are views of its buffer. */
export function unpackAppends(
  requests: readonly AppendRequest[],
  packed: Uint8Array,
): WaitingAppend[] {
  // A buffer arrives from another thread as a bare Uint8Array.
  const buffer = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  let at = 0;
  return requests.map((request) => {
    const entries = [...unpackEntries(buffer.subarray(at, at + request.bytes))];
    at += request.bytes;
    return { request, entries };
  });
}

/** Entries of all of them. */
export function countOf(appends: readonly WaitingAppend[]): number {
  return appends.reduce((sum, { request }) => sum + request.count, 0);
}

export class AppendQueue {
  readonly #waiting: WaitingAppend[] = [];
  #answered = 0;
  #bytes = 0;

  get length(): number {
    return this.#waiting.length;
  }

  /** How many of the first ones were answered. */
  get answered(): number {
    return this.#answered;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Nothing that waits stands before them unanswered. */
  addAnswered(appends: readonly WaitingAppend[]): void {
    this.#answered += appends.length;
    this.add(appends);
  }

  add(appends: readonly WaitingAppend[]): void {
    for (const append of appends) {
      this.#waiting.push(append);
      this.#bytes += append.request.bytes;
    }
  }

  /** As many as one commit takes, from the first. */
  next(): readonly WaitingAppend[] {
    let count = 0;
    let entries = 0;
    let bytes = 0;
    for (const { request } of this.#waiting) {
      entries += request.count;
      bytes += request.bytes;
      if (count > 0 && (entries > LOG_COMMIT_ENTRIES_MAX || bytes > LOG_COMMIT_BYTES_MAX)) break;
      count++;
    }
    return this.#waiting.slice(0, count);
  }

  /** Takes the first out, each whole, that have no more than so many entries together. */
  takeEntries(entries: number): readonly WaitingAppend[] {
    let count = 0;
    let left = entries;
    for (const { request } of this.#waiting) {
      left -= request.count;
      if (left < 0) break;
      count++;
    }
    this.#answered = Math.max(0, this.#answered - count);
    return this.#take(0, count);
  }

  /** Takes out those that were answered. */
  takeAnswered(): readonly WaitingAppend[] {
    const answered = this.#take(0, this.#answered);
    this.#answered = 0;
    return answered;
  }

  /** Takes out those of the first `most` that were not answered. */
  takeUnanswered(most: number): readonly WaitingAppend[] {
    return this.#take(this.#answered, Math.max(0, most - this.#answered));
  }

  /** Takes out those that were not answered and have events; leaves those that only delete. */
  takeUnansweredEvents(): readonly WaitingAppend[] {
    const unanswered = this.takeUnanswered(this.length);
    this.add(unanswered.filter(({ request }) => request.onlyDeletes));
    return unanswered.filter(({ request }) => !request.onlyDeletes);
  }

  #take(start: number, count: number): readonly WaitingAppend[] {
    const taken = this.#waiting.splice(start, count);
    for (const { request } of taken) this.#bytes -= request.bytes;
    return taken;
  }
}
