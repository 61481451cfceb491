/**
 * The last events in one slab (core/ring.ts), and the newest slice, which all lines with the same
 * cursor share.
 */
import { Ring } from '../../src/core/ring.js';
import { CORK_WRITE_BYTES_MAX } from '../../src/limits.js';
import { EVENTS_HELD } from './mechanism.js';

const NO_CURSOR = -1;

export class SlabHistory {
  /** The result of {@link SlabHistory.cut}, valid until the next append. */
  slice: Uint8Array = new Uint8Array(0);
  sliceEnd = 0;
  readonly #ring = new Ring();
  readonly #eventsMost: number;
  #sliceCursor = NO_CURSOR;

  /** @param eventsMost events in one slice at most */
  constructor(eventsMost: number) {
    this.#eventsMost = eventsMost;
  }

  get newestId(): number {
    return this.#ring.newestId;
  }

  append(id: number, frame: Buffer, length: number): void {
    if (this.#ring.length === EVENTS_HELD) this.#ring.evict();
    this.#ring.append(id, frame.subarray(0, length));
    this.#sliceCursor = NO_CURSOR;
  }

  /** Sets `slice` and `sliceEnd` to what follows the cursor; something must. */
  cut(cursor: number): void {
    if (cursor === this.#sliceCursor) return;
    const from = this.#ring.seqAfter(cursor);
    const to = Math.min(this.#ring.runEnd(from, CORK_WRITE_BYTES_MAX), from + this.#eventsMost);
    this.slice = this.#ring.view(from, to);
    this.sliceEnd = this.#ring.idAt(to - 1);
    this.#sliceCursor = cursor;
  }
}
