/**
 * What forgotten channels had lost: the highest id lost for each name, so that a client that comes
 * back is told of a gap exactly when there is one.
 *
 *   record r (0 … size−1)   keys  Float64   52 bits of a keyed hash of the name
 *                           ids   Float64   highest id that a channel of that key has lost
 *                           again Uint8     1: remembered again since the hand passed it
 *   slots[]                 Uint32          r + 1 at the key's place, 0: free (open addressing)
 *
 * Bounded by LOST_CHANNELS_MAX records. Past it the oldest one that was not remembered again is
 * forgotten (the clock algorithm: the hand goes round the records), and the floor rises to its id.
 * The floor stands for every name without a record. What all names may have lost is one id more, to
 * which the floor rises, too. So forgetting a record, or two names with the same key, can only
 * cause a false gap; a loss is never silent. The hash is keyed with a random key, so that nobody
 * can choose names that collide.
 */
import { hash, randomBytes } from 'node:crypto';
import type { Counters } from '../counters.js';
import { LOST_CHANNELS_MAX } from '../limits.js';

/** Hexadecimal digits of a hash: 52 bits. */
const HASH_DIGITS = 13;

/** Maps names to whole numbers from 0 to 2^53 − 1. */
export type NameHash = (name: string) => number;

/** Records are allocated in segments of about 1 MiB, so that growing copies nothing. */
const SEGMENT_BITS = 16;
const SEGMENT_RECORDS = 1 << SEGMENT_BITS;

/** Most records that are checked to forget one. */
const RECORDS_CHECKED_MAX = 64;

interface Segment {
  readonly keys: Float64Array;
  readonly ids: Float64Array;
  readonly again: Uint8Array;
}

/**
 * SHA-256 with a random key, about 1 µs a name: when a channel is made, forgotten, or asked for
 * while it is not known.
 */
export function keyedHash(): NameHash {
  const key = randomBytes(16).toString('hex');
  // One call: an object for each hash would cost four times as much, mostly garbage collection.
  return (name) => Number.parseInt(hash('sha256', key + name, 'hex').slice(0, HASH_DIGITS), 16);
}

export class Losses {
  readonly #counters: Counters;
  readonly #recordsMax: number;
  readonly #hash: NameHash;
  readonly #segments: Segment[] = [];
  readonly #slotMask: number;
  #slots: Uint32Array | undefined;
  #size = 0;
  /** The record that is checked next when there is no place for another. */
  #hand = 0;
  #floor: number;
  /** Every name, with or without a record, may have lost everything up to it. */
  #allThrough = 0;

  constructor(
    counters: Counters,
    floor: number,
    recordsMax = LOST_CHANNELS_MAX,
    hashName: NameHash = keyedHash(),
  ) {
    this.#counters = counters;
    this.#floor = floor;
    this.#recordsMax = recordsMax;
    this.#hash = hashName;
    let slots = 2;
    while (slots < 2 * recordsMax) slots *= 2;
    this.#slotMask = slots - 1;
  }

  /** Names without a record may have lost everything up to it. Only grows. */
  get floor(): number {
    return this.#floor;
  }

  /** Every name may have lost everything up to `id`, those with a record, too. O(1). */
  rememberAll(id: number): void {
    this.#floor = Math.max(this.#floor, id);
    this.#allThrough = Math.max(this.#allThrough, id);
  }

  /** Records held. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory, 25 MiB at the bound. The slots are allocated with the first record. */
  get memoryBytes(): number {
    let bytes = this.#slots?.byteLength ?? 0;
    for (const { keys, ids, again } of this.#segments)
      bytes += keys.byteLength + ids.byteLength + again.byteLength;
    return bytes;
  }

  /** Highest id that a channel of that name may have lost; never less than it did lose. */
  lostThrough(name: string): number {
    const slots = this.#slots;
    if (slots === undefined) return this.#floor;
    const record = slots[this.#find(slots, this.#hash(name))] as number;
    return record === 0 ? this.#floor : Math.max(this.#allThrough, this.#idAt(record - 1));
  }

  /** A channel of that name has lost everything up to `id`. Another record may go for it. O(1). */
  remember(name: string, id: number): void {
    const slots = (this.#slots ??= new Uint32Array(this.#slotMask + 1));
    const key = this.#hash(name);
    const known = slots[this.#find(slots, key)] as number;
    if (known !== 0) this.#raise(known - 1, id);
    else if (id > this.#floor) this.#add(slots, key, id);
  }

  #raise(record: number, id: number): void {
    const { ids, again } = this.#segmentOf(record);
    const at = record % SEGMENT_RECORDS;
    ids[at] = Math.max(ids[at] as number, id);
    again[at] = 1;
  }

  #add(slots: Uint32Array, key: number, id: number): void {
    const record = this.#size < this.#recordsMax ? this.#size++ : this.#forgetOne(slots);
    const { keys, ids } = this.#segmentOf(record);
    const at = record % SEGMENT_RECORDS;
    keys[at] = key;
    ids[at] = id;
    slots[this.#find(slots, key)] = record + 1;
  }

  /** Forgets a record, and raises the floor to its id. Returns its number, to be used again. */
  #forgetOne(slots: Uint32Array): number {
    const record = this.#findOldest();
    const id = this.#idAt(record);
    this.#floor = Math.max(this.#floor, id);
    this.#free(slots, this.#find(slots, this.#keyAt(record)));
    this.#counters.losses_forgotten_total++;
    return record;
  }

  /**
   * The next record under the hand that was not remembered again. When RECORDS_CHECKED_MAX all
   * were, the one of them that lost least.
   */
  #findOldest(): number {
    let least = this.#hand;
    for (let checked = 0; checked < RECORDS_CHECKED_MAX; checked++) {
      const record = this.#hand;
      this.#hand = (record + 1) % this.#recordsMax;
      const { again } = this.#segmentOf(record);
      const at = record % SEGMENT_RECORDS;
      if (again[at] === 0) return record;
      again[at] = 0;
      if (this.#idAt(record) < this.#idAt(least)) least = record;
    }
    return least;
  }

  /** The slot of `key`, or the free one for it. */
  #find(slots: Uint32Array, key: number): number {
    let slot = this.#homeOf(key);
    for (let record = slots[slot] as number; record !== 0; record = slots[slot] as number) {
      if (this.#keyAt(record - 1) === key) break;
      slot = (slot + 1) & this.#slotMask;
    }
    return slot;
  }

  /**
   * Empties a slot. Those that follow without a free slot between move up, so that all are found.
   */
  #free(slots: Uint32Array, slot: number): void {
    const mask = this.#slotMask;
    let hole = slot;
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const home = this.#homeOf(this.#keyAt((slots[next] as number) - 1));
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      slots[hole] = slots[next] as number;
      hole = next;
    }
    slots[hole] = 0;
  }

  #homeOf(key: number): number {
    // The low 32 bits: a shift takes a number modulo 2^32.
    return (key >>> 0) & this.#slotMask;
  }

  #keyAt(record: number): number {
    return this.#segmentOf(record).keys[record % SEGMENT_RECORDS] as number;
  }

  #idAt(record: number): number {
    return this.#segmentOf(record).ids[record % SEGMENT_RECORDS] as number;
  }

  #segmentOf(record: number): Segment {
    return (this.#segments[record >>> SEGMENT_BITS] ??= this.#makeSegment());
  }

  #makeSegment(): Segment {
    const records = Math.min(SEGMENT_RECORDS, this.#recordsMax);
    return {
      keys: new Float64Array(records),
      ids: new Float64Array(records),
      again: new Uint8Array(records),
    };
  }
}
