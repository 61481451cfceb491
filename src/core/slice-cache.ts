/**
 * The slices cut last, shared by all lines in step: the first line of a sweep that asks for what
 * follows its cursor pays for the cut, the others get the same view.
 * native-notes/one-view-for-all.md
 *
 * On one channel a slice is a view of the ring of frames, but for one that goes on at its slab's
 * beginning. That, older frames, and several channels' frames merged in id order, are copied.
 */
import { Merge } from './channel-set.js';
import type { Group } from './group.js';
import type { Ring } from './ring.js';

/** Slices kept at a time: enough for a line 16 corks behind that all other lines have passed. */
const ENTRIES = 16;

const EMPTY = Buffer.alloc(0);

export class SliceCache {
  /* What `find` found; valid while the group's `version` stays. */
  bytes: Uint8Array = EMPTY;
  /** The cursor that it follows; NaN when nothing was found. */
  start = Number.NaN;
  /** Id of the slice's last event. */
  end = 0;
  events = 0;

  #group: Group | undefined;
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
   * Slices have at most `maxBytes`. A larger frame is a slice of its own with `oversize`; without,
   * nothing is found from there on.
   */
  constructor(maxBytes: number, oversize: boolean) {
    this.#maxBytes = maxBytes;
    this.#oversize = oversize;
  }

  /** Sets `bytes`, `end` and `events` to the slice after `cursor`; false when there is none. */
  find(group: Group, cursor: number, _row?: number): boolean {
    const { version } = group.set;
    if (group !== this.#group || version !== this.#version) {
      this.#group = group;
      this.#version = version;
      this.#used = 0;
      this.#hint = 0;
    }
    // A line asks for one slice after another, and the next line for the same ones: the slice that
    // follows the last answer is tried first.
    for (let tries = 0, entry = this.#hint; tries < this.#used; tries++) {
      if (entry >= this.#used) entry = 0;
      if (this.#cursors[entry] === cursor) return this.#answer(entry);
      entry++;
    }
    const entry = this.#used < ENTRIES ? this.#used++ : this.#hint % ENTRIES;
    if (!this.#cut(group, cursor, entry)) {
      this.#cursors[entry] = Number.NaN;
      this.start = Number.NaN;
      return false;
    }
    this.#cursors[entry] = cursor;
    return this.#answer(entry);
  }

  /** Does the same for a line that has no row yet. */
  findNew(group: Group, cursor: number, _clean: number): boolean {
    return this.find(group, cursor);
  }

  #answer(entry: number): true {
    this.bytes = this.#slices[entry] as Uint8Array;
    this.start = this.#cursors[entry] as number;
    this.end = this.#ends[entry] as number;
    this.events = this.#events[entry] as number;
    this.#hint = entry + 1;
    return true;
  }

  /**
   * Cuts what follows `cursor` in id order: as many whole frames as fit, or one larger frame alone.
   * False when nothing follows, or only a larger frame that is not allowed.
   */
  #cut(group: Group, cursor: number, entry: number): boolean {
    const { set, encoding } = group;
    const ring = set.readsQueues
      ? undefined
      : group.channels[0]?.rings?.framesAfter(cursor, encoding);
    return ring === undefined
      ? this.#cutMerged(group, cursor, entry)
      : this.#cutRing(ring, cursor, entry);
  }

  #cutRing(ring: Ring, cursor: number, entry: number): boolean {
    const from = ring.seqAfter(cursor);
    if (from === ring.headSeq || (!this.#oversize && ring.sizeAt(from) > this.#maxBytes))
      return false;
    const { bytes, toSeq } = ring.cut(from, ring.headSeq, this.#maxBytes);
    this.#keep(entry, bytes, ring.idAt(toSeq - 1), toSeq - from);
    return true;
  }

  #cutMerged({ set, encoding }: Group, cursor: number, entry: number): boolean {
    const buffer = (this.#buffers[entry] ??= Buffer.allocUnsafeSlow(this.#maxBytes));
    let bytes = 0;
    let events = 0;
    let end = cursor;
    const merge = new Merge(set, cursor);
    while (merge.next()) {
      const frame = merge.channel.frameAt(merge.seq, encoding);
      if (frame === undefined) continue;
      if (bytes + frame.length > this.#maxBytes) {
        if (events > 0) break;
        if (!this.#oversize) return false;
        this.#keep(entry, Buffer.from(frame), merge.id, 1);
        return true;
      }
      buffer.set(frame, bytes);
      bytes += frame.length;
      events++;
      end = merge.id;
    }
    if (events === 0) return false;
    this.#keep(entry, buffer.subarray(0, bytes), end, events);
    return true;
  }

  #keep(entry: number, bytes: Uint8Array, end: number, events: number): void {
    this.#slices[entry] = bytes;
    this.#ends[entry] = end;
    this.#events[entry] = events;
  }
}
