/**
 * How much of the process's memory is in use, and not garbage or kept by an allocator. What can be
 * counted is counted elsewhere; of what is beyond that, the least that was seen around a collection
 * is taken. Garbage only adds to what is seen, so the least is never below what was in use then.
 */

/**
 * What the process takes beyond what is counted, bytes, in two ways: as a whole, and in three
 * parts. Garbage moves between the parts when it is collected, and each has its least at another
 * time, so that their sum is the nearer one while garbage comes all the time.
 */
export interface BeyondBytes {
  /** Resident memory. */
  readonly resident: number;
  /** Used of V8's heap. */
  readonly heap: number;
  /** Buffers. */
  readonly buffers: number;
  /** What is resident and neither the heap nor a buffer; Infinity where it cannot be told. */
  readonly native: number;
}

function leastOf(one: BeyondBytes, other: BeyondBytes): BeyondBytes {
  return {
    resident: Math.min(one.resident, other.resident),
    heap: Math.min(one.heap, other.heap),
    buffers: Math.min(one.buffers, other.buffers),
    native: Math.min(one.native, other.native),
  };
}

const UNSEEN: BeyondBytes = {
  resident: Infinity,
  heap: Infinity,
  buffers: Infinity,
  native: Infinity,
};

export class LiveMemory {
  readonly #settleMs: number;
  /** What is taken for use. */
  #settled = UNSEEN;
  /** The least that was seen since `#sinceMs`, when so many collections had ended. */
  #least = UNSEEN;
  #sinceMs = 0;
  #sinceCollections = 0;

  /** Takes the least of so many ms, if a collection has ended in them. */
  constructor(settleMs: number) {
    this.#settleMs = settleMs;
  }

  /** Takes what was seen. More than before counts after the next collection, less at once. */
  see(beyond: BeyondBytes, collections: number, nowMs: number): void {
    this.#least = leastOf(this.#least, beyond);
    if (nowMs - this.#sinceMs >= this.#settleMs) {
      if (collections > this.#sinceCollections) this.#settled = this.#least;
      this.#least = UNSEEN;
      this.#sinceMs = nowMs;
      this.#sinceCollections = collections;
    }
    this.#settled = leastOf(this.#settled, beyond);
  }

  /** Bytes in use beyond what is counted; Infinity before anything was seen. */
  get beyondBytes(): number {
    const { resident, heap, buffers, native } = this.#settled;
    return Math.min(resident, heap + buffers + native);
  }

  /** What of that is on V8's heap. */
  get heapBytes(): number {
    return this.#settled.heap;
  }
}
