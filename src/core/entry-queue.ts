/**
 * The queue of one channel: entries, in id order, that are committed and have not entered its ring.
 */
import { EVENT_COST_BYTES } from '../limits.js';
import { isDeletion, type LoggedEntry, type NewEntry } from './event.js';

/** What an entry counts for against its channel's room, bytes. */
export function roomBytesOf(entry: NewEntry): number {
  return isDeletion(entry) ? EVENT_COST_BYTES : entry.data.length + EVENT_COST_BYTES;
}

export class EntryQueue {
  /** Undefined where they were taken out. */
  #entries: (LoggedEntry | undefined)[] = [];
  /** Index of the first entry that is left. */
  #start = 0;
  #deletions = 0;
  #costBytes = 0;

  /** Entries that are left. */
  get length(): number {
    return this.#entries.length - this.#start;
  }

  /** What they count for against the channel's room, bytes. */
  get costBytes(): number {
    return this.#costBytes;
  }

  /** Those entries. */
  get left(): LoggedEntry[] {
    return this.#entries.slice(this.#start) as LoggedEntry[];
  }

  /** The `nth` entry that is left, which must be there. */
  at(nth: number): LoggedEntry {
    return this.#entries[this.#start + nth] as LoggedEntry;
  }

  /** Adds an entry, whose id is above all before it. */
  push(entry: LoggedEntry): void {
    this.#entries.push(entry);
    this.#costBytes += roomBytesOf(entry);
    if (isDeletion(entry)) this.#deletions++;
  }

  /** Takes the first entry out, which must be there. */
  shift(): LoggedEntry {
    const entry = this.#entries[this.#start] as LoggedEntry;
    // Its data is given back now, and not when the array is compacted.
    this.#entries[this.#start++] = undefined;
    this.#costBytes -= roomBytesOf(entry);
    if (isDeletion(entry)) this.#deletions--;
    // Compacted when half of the array is free: O(1) an entry.
    if (this.#start * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
    return entry;
  }

  /** Events among the entries from the `nth` on. */
  eventsFrom(nth: number): number {
    let events = this.length - nth;
    // There are few deletions, and mostly none.
    if (this.#deletions > 0)
      for (let i = nth; i < this.length; i++) if (isDeletion(this.at(i))) events--;
    return events;
  }

  /** Entries with an id of at most `id`. */
  countThrough(id: number): number {
    let low = 0;
    for (let high = this.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (this.at(middle).id <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
