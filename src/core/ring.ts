/**
 * The ring: byte frames in id order, contiguous in one slab, so that any run of them is one slice
 * of memory.
 *
 *   seq (rising count of frames)        tailSeq … headSeq−1 are held; slot = seq mod slots
 *   table[slot]               id        the frame's event id
 *   table[slots + slot]       start     absolute byte position, only rises; mod slab size its place
 *   table[2 × slots + slot]   size      bytes
 *
 * A frame never straddles the end of the slab: the rest of the lap is left unused instead.
 * Positions count unused bytes, too, so two frames are contiguous exactly when the second starts
 * where the first ends and both are in one lap.
 *
 * Bytes move or are overwritten only in `append` and `evict`, so a view is valid until the next of
 * either (core/channel.ts `version`).
 *
 * A ring of one small frame is two arrays of ≤ ON_HEAP_BYTES, which V8 keeps on its own heap
 * without a buffer. On a server with a hundred thousand channels most hold no more.
 */

/** Slots and bytes of a ring's first arrays, and of the slab that follows the first. */
const FIRST_SLOTS = 2;
const FIRST_SLAB_BYTES = 64;
const SECOND_SLAB_BYTES = 256;

const SLOT_BYTES = 3 * Float64Array.BYTES_PER_ELEMENT;

/**
 * A typed array up to this size has no buffer until somebody asks for it
 * (typed_array_max_size_in_heap).
 */
const ON_HEAP_BYTES = 64;

/**
 * Bytes of a ring beside its two arrays, and of a buffer beside its content. test/bounds.wire.ts
 */
const RING_OBJECT_BYTES = 740;
const BUFFER_OBJECT_BYTES = 240;

export class Ring {
  /** Seq of the oldest frame held; equals {@link headSeq} when none is. */
  tailSeq = 0;
  /** Seq that the next frame will get. */
  headSeq = 0;

  #table = new Float64Array(3 * FIRST_SLOTS);
  #slots = FIRST_SLOTS;
  #slab: Buffer = Buffer.allocUnsafeSlow(FIRST_SLAB_BYTES);
  /** Absolute byte position where the next frame may start. */
  #headByte = 0;
  /** Bytes of the frames held, without unused ends of laps. */
  #heldBytes = 0;

  /** Frames held. */
  get length(): number {
    return this.headSeq - this.tailSeq;
  }

  /** Bytes of the frames held. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Bytes of memory: the slab, the table, and the objects around them. */
  get memoryBytes(): number {
    return RING_OBJECT_BYTES + arrayBytes(this.#slab.length) + arrayBytes(this.#slots * SLOT_BYTES);
  }

  /** The part of {@link memoryBytes} that is in buffers and not on V8's heap. */
  get bufferBytes(): number {
    return offHeapBytes(this.#slab.length) + offHeapBytes(this.#slots * SLOT_BYTES);
  }

  /** The part of {@link bufferBytes} that was ever written to: the rest may not be in memory. */
  get touchedBytes(): number {
    const slabBytes = offHeapBytes(this.#slab.length);
    return Math.min(slabBytes, this.#headByte) + offHeapBytes(this.#slots * SLOT_BYTES);
  }

  /** Id of the newest frame held, or 0. */
  get newestId(): number {
    return this.length === 0 ? 0 : this.idAt(this.headSeq - 1);
  }

  /** Id of a frame held. */
  idAt(seq: number): number {
    return this.#table[seq & (this.#slots - 1)] as number;
  }

  /** Size in bytes of a frame held. */
  sizeAt(seq: number): number {
    const slots = this.#slots;
    // As an integer, so that sums of sizes are not computed as floats: saves a fifth of an append.
    return (this.#table[2 * slots + (seq & (slots - 1))] as number) | 0;
  }

  /** Adds a frame, whose id must be above all before it. Grows the slab when there is no room. */
  append(id: number, frame: Uint8Array): void {
    const { length } = frame;
    if (this.length === this.#slots) this.#growSlots();
    let start = this.#place(length);
    if (start < 0) {
      this.#growSlab(length);
      start = this.#place(length);
    }
    const slots = this.#slots;
    const slot = this.headSeq & (slots - 1);
    this.#table[slot] = id;
    this.#table[slots + slot] = start;
    this.#table[2 * slots + slot] = length;
    this.#slab.set(frame, start % this.#slab.length);
    this.#headByte = start + length;
    this.#heldBytes += length;
    this.headSeq++;
  }

  /**
   * Forgets the oldest frame; there must be one. Its bytes may be overwritten by the next append.
   */
  evict(): void {
    this.#heldBytes -= this.sizeAt(this.tailSeq);
    this.tailSeq++;
  }

  /** Seq of the first frame held with an id above `id`; headSeq when there is none. */
  seqAfter(id: number): number {
    let low = this.tailSeq;
    let high = this.headSeq;
    // Most lines are at the head.
    if (low === high || this.idAt(high - 1) <= id) return high;
    const table = this.#table;
    const mask = this.#slots - 1;
    while (low < high) {
      const middle = low + ((high - low) >>> 1);
      if ((table[middle & mask] as number) <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * End (exclusive seq) of the longest run from `fromSeq` that is contiguous and ≤ `maxBytes`; at
   * least one frame, however large. `fromSeq` must be held.
   */
  runEnd(fromSeq: number, maxBytes: number): number {
    const start = this.#startAt(fromSeq);
    const lapEnd = (Math.floor(start / this.#slab.length) + 1) * this.#slab.length;
    const limit = Math.min(start + maxBytes, lapEnd);
    const table = this.#table;
    const slots = this.#slots;
    let low = fromSeq + 1;
    let high = this.headSeq;
    while (low < high) {
      const middle = low + ((high - low + 1) >>> 1);
      const at = slots + ((middle - 1) & (slots - 1));
      if ((table[at] as number) + (table[at + slots] as number) <= limit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * The bytes of the frames `fromSeq` … `toSeq`−1, which must be one contiguous run. Valid until
   * the next append or evict.
   */
  view(fromSeq: number, toSeq: number): Buffer {
    const start = this.#startAt(fromSeq);
    const at = start % this.#slab.length;
    const end = at + this.#endAt(toSeq - 1) - start;
    // A view would give a slab on V8's heap a buffer for good; a copy of so few bytes is cheaper.
    if (this.#slab.length <= ON_HEAP_BYTES)
      return Uint8Array.prototype.slice.call(this.#slab, at, end) as Buffer;
    return this.#slab.subarray(at, end);
  }

  /**
   * As many whole frames from `fromSeq` to `endSeq`−1 as fit `maxBytes`, or a larger one alone;
   * `fromSeq` must be held. A view, which is valid until the next append or evict, or a copy where
   * they go on at the slab's beginning: a second write would cost every line more.
   */
  cut(
    fromSeq: number,
    endSeq: number,
    maxBytes: number,
  ): { readonly bytes: Buffer; readonly toSeq: number } {
    let toSeq = Math.min(this.runEnd(fromSeq, maxBytes), endSeq);
    let bytes = this.view(fromSeq, toSeq);
    while (toSeq < endSeq && bytes.length + this.sizeAt(toSeq) <= maxBytes) {
      const end = Math.min(this.runEnd(toSeq, maxBytes - bytes.length), endSeq);
      bytes = Buffer.concat([bytes, this.view(toSeq, end)]);
      toSeq = end;
    }
    return { bytes, toSeq };
  }

  /** Bytes held from `seq` on, an upper bound: it counts unused ends of laps. */
  bytesFrom(seq: number): number {
    return seq >= this.headSeq ? 0 : this.#headByte - this.#startAt(seq);
  }

  #startAt(seq: number): number {
    const slots = this.#slots;
    return this.#table[slots + (seq & (slots - 1))] as number;
  }

  #endAt(seq: number): number {
    return this.#startAt(seq) + this.sizeAt(seq);
  }

  /** Absolute position where `length` bytes fit after the head without touching a frame, or −1. */
  #place(length: number): number {
    const size = this.#slab.length;
    const at = this.#headByte % size;
    const start = at + length <= size ? this.#headByte : this.#headByte + size - at;
    const tailByte = this.length === 0 ? start : this.#startAt(this.tailSeq);
    return length <= size && start + length - tailByte <= size ? start : -1;
  }

  /** Moves the frames to a slab at least twice as large, with room for `length` bytes more. */
  #growSlab(length: number): void {
    const needed = this.#heldBytes + length;
    let size = Math.max(SECOND_SLAB_BYTES, this.#slab.length * 2);
    while (size < needed) size *= 2;
    const slab = Buffer.allocUnsafeSlow(size);
    let start = 0;
    for (let seq = this.tailSeq; seq < this.headSeq; seq++) {
      slab.set(this.view(seq, seq + 1), start);
      this.#table[this.#slots + (seq & (this.#slots - 1))] = start;
      start += this.sizeAt(seq);
    }
    this.#slab = slab;
    this.#headByte = start;
  }

  #growSlots(): void {
    const slots = this.#slots * 2;
    const table = new Float64Array(3 * slots);
    for (let seq = this.tailSeq; seq < this.headSeq; seq++) {
      const slot = seq & (slots - 1);
      table[slot] = this.idAt(seq);
      table[slots + slot] = this.#startAt(seq);
      table[2 * slots + slot] = this.sizeAt(seq);
    }
    this.#table = table;
    this.#slots = slots;
  }
}

function offHeapBytes(bytes: number): number {
  return bytes <= ON_HEAP_BYTES ? 0 : bytes;
}

/** Bytes of an array, with its buffer if it has one. */
function arrayBytes(bytes: number): number {
  return bytes <= ON_HEAP_BYTES ? bytes : bytes + BUFFER_OBJECT_BYTES;
}
