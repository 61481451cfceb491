/** Appends that the thread of a log was given and has not committed. */
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

export class AppendQueue {
  #waiting: WaitingAppend[] = [];
  #bytes = 0;

  get length(): number {
    return this.#waiting.length;
  }

  get bytes(): number {
    return this.#bytes;
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
    return this.take(count);
  }

  take(count: number): readonly WaitingAppend[] {
    const taken = this.#waiting.splice(0, count);
    for (const { request } of taken) this.#bytes -= request.bytes;
    return taken;
  }

  /** Takes those with events out, and leaves those that only delete. */
  takeEvents(): readonly WaitingAppend[] {
    const taken = this.#waiting.filter(({ request }) => !request.onlyDeletes);
    const left = this.#waiting.filter(({ request }) => request.onlyDeletes);
    this.#waiting = [];
    this.#bytes = 0;
    this.add(left);
    return taken;
  }
}
