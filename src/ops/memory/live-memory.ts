/**
 * How much of the process's memory is in use, and not garbage or kept by an allocator. Beyond what
 * is counted one by one (account.ts) it is the least that was seen around a collection: garbage
 * only adds to a reading, so the least of several still covers what was in use.
 */
import type { Clock } from '../../clock.js';
import {
  MEMORY_COLLECT_HEAP_BYTES_MAX,
  MEMORY_COLLECT_MS,
  MEMORY_SETTLE_MS,
} from '../../limits.js';
import type { Allocator } from '../../native/allocator.js';
import type { Account, MemoryParts } from './account.js';
import type { Collector } from './collector.js';

/**
 * Use beyond what is counted, bytes, as a whole and in three parts. A collection moves garbage from
 * part to part and each has its least at another time, so their sum is closer while garbage comes
 * all the time. `native` is Infinity while it is not known.
 */
interface BeyondBytes extends MemoryParts {
  readonly resident: number;
}

const UNSEEN: BeyondBytes = {
  resident: Infinity,
  heap: Infinity,
  buffers: Infinity,
  native: Infinity,
};

function leastOf(one: BeyondBytes, other: BeyondBytes): BeyondBytes {
  return {
    resident: Math.min(one.resident, other.resident),
    heap: Math.min(one.heap, other.heap),
    buffers: Math.min(one.buffers, other.buffers),
    native: Math.min(one.native, other.native),
  };
}

export class LiveMemory {
  readonly #account: Account;
  readonly #clock: Clock;
  readonly #collector: Collector;
  readonly #allocator: Pick<Allocator, 'trim'> | undefined;
  /** What counts as use. */
  #settled = UNSEEN;
  /** The least since `#sinceMs`, when `#sinceCollections` had ended. */
  #least = UNSEEN;
  #sinceMs = 0;
  #sinceCollections = 0;
  #askedMs = -Infinity;
  #trimmedMs = -Infinity;
  #trimmedCollections = 0;

  constructor(
    account: Account,
    clock: Clock,
    collector: Collector,
    allocator: Pick<Allocator, 'trim'> | undefined,
  ) {
    this.#account = account;
    this.#clock = clock;
    this.#collector = collector;
    this.#allocator = allocator;
  }

  /**
   * What of the resident memory is in use. Asks for a collection now and then, which shows use that
   * nobody counts, and gives back what collections freed.
   */
  usedBytes(): number {
    const nowMs = this.#clock.nowMs();
    this.#giveBack(nowMs);
    this.see();
    const liveHeapBytes = this.#account.counted.heap + this.#settled.heap;
    if (
      nowMs - this.#askedMs >= MEMORY_COLLECT_MS &&
      liveHeapBytes <= MEMORY_COLLECT_HEAP_BYTES_MAX
    ) {
      this.#askedMs = nowMs;
      this.#collector.collect();
    }
    const { resident, heap, buffers, native } = this.#settled;
    return this.#account.countedBytes + Math.min(resident, heap + buffers + native);
  }

  /** Takes a reading. A higher one counts only after a collection, a lower one at once. */
  see(): void {
    const beyond = this.#beyond();
    const nowMs = this.#clock.nowMs();
    const { collections } = this.#collector;
    this.#least = leastOf(this.#least, beyond);
    if (nowMs - this.#sinceMs >= MEMORY_SETTLE_MS) {
      if (collections > this.#sinceCollections) this.#settled = this.#least;
      this.#least = UNSEEN;
      this.#sinceMs = nowMs;
      this.#sinceCollections = collections;
    }
    this.#settled = leastOf(this.#settled, beyond);
  }

  #beyond(): BeyondBytes {
    const { leftBytes, nativeBytes, countedBytes, counted } = this.#account;
    const { rssBytes, heapUsedBytes, externalBytes } = this.#account.usage();
    return {
      resident: rssBytes - leftBytes - countedBytes,
      heap: heapUsedBytes - counted.heap,
      // The collector's own buffer may be gone before it hears of it: then this would be below 0,
      // and the least of all readings for seconds.
      buffers: Math.max(0, externalBytes - counted.buffers),
      native: this.#collector.buffersAreTrue ? nativeBytes - leftBytes - counted.native : Infinity,
    };
  }

  /** After a collection: the allocator keeps most of it. native-notes/freed-memory-stays.md */
  #giveBack(nowMs: number): void {
    const { collections } = this.#collector;
    if (collections === this.#trimmedCollections || nowMs - this.#trimmedMs < MEMORY_SETTLE_MS)
      return;
    this.#allocator?.trim();
    this.#trimmedCollections = collections;
    this.#trimmedMs = nowMs;
  }
}
