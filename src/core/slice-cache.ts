/** Slices: what a line is written next, cut once for all lines in step. */
import type { Group } from './group.js';

const EMPTY = Buffer.alloc(0);

/**
 * Slices in use at a time: a line that is 16 corks behind in a sweep that all other lines share.
 */
const ENTRIES = 16;

/**
 * The slices cut last, shared by every line in step: the first line of a sweep that asks pays for
 * the cut, the others get the same view. Entries die with their group's version.
 * native-notes/one-view-for-all.md
 */
export class SliceCache<Socket> {
  bytes: Uint8Array = EMPTY;
  end = 0;
  events = 0;

  #group: Group<Socket> | undefined;
  #version = -1;
  #used = 0;
  #hint = 0;
  readonly #cursors = new Float64Array(ENTRIES);
  readonly #ends = new Float64Array(ENTRIES);
  readonly #events = new Uint32Array(ENTRIES);
  readonly #slices: Uint8Array[] = Array.from({ length: ENTRIES }, () => EMPTY);
  readonly #buffers: (Buffer | undefined)[] = Array.from({ length: ENTRIES });
  readonly #maxBytes: number;
  readonly #oversize: boolean;

  /**
   * Slices of at most `maxBytes`; a larger frame is a slice of its own with `oversize`, and ends
   * what can be found without.
   */
  constructor(maxBytes: number, oversize: boolean) {
    this.#maxBytes = maxBytes;
    this.#oversize = oversize;
  }

  /** Sets `bytes`, `end` and `events` to the slice behind `cursor`; false when nothing follows. */
  find(group: Group<Socket>, cursor: number): boolean {
    const version = group.version;
    if (group !== this.#group || version !== this.#version) {
      this.#group = group;
      this.#version = version;
      this.#used = 0;
      this.#hint = 0;
    }
    // A line asks for one slice after the other, the next line for the same ones: look behind the
    // last answer first.
    for (let tries = 0, entry = this.#hint; tries < this.#used; tries++) {
      if (entry >= this.#used) entry = 0;
      if (this.#cursors[entry] === cursor) return this.#answer(entry);
      entry++;
    }
    const entry = this.#used < ENTRIES ? this.#used++ : this.#hint % ENTRIES;
    const buffer = (this.#buffers[entry] ??= Buffer.allocUnsafeSlow(this.#maxBytes));
    if (!group.cut(cursor, this.#maxBytes, buffer, this.#oversize)) {
      this.#cursors[entry] = -1;
      return false;
    }
    this.#cursors[entry] = cursor;
    this.#ends[entry] = group.sliceEnd;
    this.#events[entry] = group.sliceEvents;
    this.#slices[entry] = group.sliceBytes;
    return this.#answer(entry);
  }

  #answer(entry: number): true {
    this.bytes = this.#slices[entry] as Uint8Array;
    this.end = this.#ends[entry] as number;
    this.events = this.#events[entry] as number;
    this.#hint = entry + 1;
    return true;
  }
}
