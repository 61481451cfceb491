/**
 * The ring: byte frames in id order, contiguous in one slab, so that any run of them is one slice of memory.
 *
 *   seq (rising count of frames)   tailSeq … headSeq−1 are held; slot = seq mod slots
 *   ids[slot]      Float64         the frame's event id
 *   starts[slot]   Float64         absolute, ever-rising byte position; position mod slab size is where it stands
 *   sizes[slot]    Uint32          bytes
 *
 * A frame never straddles the end of the slab: the rest of the lap is left unused instead. Positions rise by what is unused too,
 * so two frames are contiguous exactly when the second starts where the first ends and both stand in one lap.
 *
 * Only `append` and `evict` let bytes move or be overwritten, so a view lives until the next of either (core/channel.ts `version`).
 */

const FIRST_SLOTS = 16;
const FIRST_SLAB_BYTES = 2048;

export class Ring {
  /** Seq of the oldest frame held; equals {@link headSeq} when none is. */
  tailSeq = 0;
  /** Seq that the next frame will get. */
  headSeq = 0;

  #ids = new Float64Array(FIRST_SLOTS);
  #starts = new Float64Array(FIRST_SLOTS);
  #sizes = new Uint32Array(FIRST_SLOTS);
  #slotMask = FIRST_SLOTS - 1;
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

  /** Bytes of memory: the slab and the three arrays. */
  get memoryBytes(): number {
    return this.#slab.length + (this.#slotMask + 1) * 20;
  }

  /** The part of {@link memoryBytes} that was ever written to: what has not been yet may be no page of memory. */
  get touchedBytes(): number {
    return this.memoryBytes - Math.max(0, this.#slab.length - this.#headByte);
  }

  /** Id of the newest frame held, or 0. */
  get newestId(): number {
    return this.length === 0 ? 0 : this.idAt(this.headSeq - 1);
  }

  /** Id of a frame held. */
  idAt(seq: number): number {
    return this.#ids[seq & this.#slotMask] as number;
  }

  /** Size in bytes of a frame held. */
  sizeAt(seq: number): number {
    return this.#sizes[seq & this.#slotMask] as number;
  }

  /** Adds the first `length` bytes of `frame`. `id` must be above every id before it. Grows the slab when there is no room. */
  append(id: number, frame: Uint8Array, length: number): void {
    if (this.length > this.#slotMask) this.#growSlots();
    let start = this.#place(length);
    if (start < 0) {
      this.#growSlab(length);
      start = this.#place(length);
    }
    const slot = this.headSeq & this.#slotMask;
    this.#ids[slot] = id;
    this.#starts[slot] = start;
    this.#sizes[slot] = length;
    this.#slab.set(length === frame.length ? frame : frame.subarray(0, length), start % this.#slab.length);
    this.#headByte = start + length;
    this.#heldBytes += length;
    this.headSeq++;
  }

  /** Forgets the oldest frame; there must be one. Its bytes may be overwritten by the next append. */
  evict(): void {
    this.#heldBytes -= this.sizeAt(this.tailSeq);
    this.tailSeq++;
  }

  /** Seq of the first frame held with an id above `id`; headSeq when there is none. */
  seqAfter(id: number): number {
    let low = this.tailSeq;
    let high = this.headSeq;
    // Most lines ask right behind the head.
    if (low === high || this.idAt(high - 1) <= id) return high;
    while (low < high) {
      const middle = low + ((high - low) >>> 1);
      if (this.idAt(middle) <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * End (exclusive seq) of the longest run from `fromSeq` that is contiguous and ≤ `maxBytes`; at least one frame, however
   * large. `fromSeq` must be held.
   */
  runEnd(fromSeq: number, maxBytes: number): number {
    const start = this.#startAt(fromSeq);
    const lapEnd = (Math.floor(start / this.#slab.length) + 1) * this.#slab.length;
    const limit = Math.min(start + maxBytes, lapEnd);
    let low = fromSeq + 1;
    let high = this.headSeq;
    while (low < high) {
      const middle = low + ((high - low + 1) >>> 1);
      if (this.#endAt(middle - 1) <= limit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The bytes of the frames `fromSeq` … `toSeq`−1, which must be one contiguous run. Valid until the next append or evict. */
  view(fromSeq: number, toSeq: number): Buffer {
    const start = this.#startAt(fromSeq);
    const at = start % this.#slab.length;
    return this.#slab.subarray(at, at + this.#endAt(toSeq - 1) - start);
  }

  /** Bytes held from `seq` on, an upper bound: it counts unused ends of laps. */
  bytesFrom(seq: number): number {
    return seq >= this.headSeq ? 0 : this.#headByte - this.#startAt(seq);
  }

  #startAt(seq: number): number {
    return this.#starts[seq & this.#slotMask] as number;
  }

  #endAt(seq: number): number {
    return this.#startAt(seq) + this.sizeAt(seq);
  }

  /** Absolute position where `length` bytes fit behind the head without touching a frame held, or −1. */
  #place(length: number): number {
    const size = this.#slab.length;
    const at = this.#headByte % size;
    const start = at + length <= size ? this.#headByte : this.#headByte + size - at;
    const tailByte = this.length === 0 ? start : this.#startAt(this.tailSeq);
    return length <= size && start + length - tailByte <= size ? start : -1;
  }

  /** A slab that holds the frames and `length` bytes more, at least twice as large; frames are laid out from its beginning. */
  #growSlab(length: number): void {
    const needed = this.#heldBytes + length;
    let size = this.#slab.length * 2;
    while (size < needed) size *= 2;
    const slab = Buffer.allocUnsafeSlow(size);
    let start = 0;
    for (let seq = this.tailSeq; seq < this.headSeq; seq++) {
      slab.set(this.view(seq, seq + 1), start);
      this.#starts[seq & this.#slotMask] = start;
      start += this.sizeAt(seq);
    }
    this.#slab = slab;
    this.#headByte = start;
  }

  #growSlots(): void {
    const slots = (this.#slotMask + 1) * 2;
    const ids = new Float64Array(slots);
    const starts = new Float64Array(slots);
    const sizes = new Uint32Array(slots);
    for (let seq = this.tailSeq; seq < this.headSeq; seq++) {
      const slot = seq & (slots - 1);
      ids[slot] = this.idAt(seq);
      starts[slot] = this.#startAt(seq);
      sizes[slot] = this.sizeAt(seq);
    }
    this.#ids = ids;
    this.#starts = starts;
    this.#sizes = sizes;
    this.#slotMask = slots - 1;
  }
}
