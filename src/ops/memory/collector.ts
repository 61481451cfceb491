/**
 * The garbage collector as a memory budget needs it: asked for a collection, and counted. It is
 * asked by a large buffer that nobody keeps and nothing is written to: V8 sees memory outside of
 * its heap grow and collects, mostly beside the loop, without a flag that would be the whole
 * program's. native-notes/nudged-collection.md
 */
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';

/**
 * More than V8 lets memory outside of its heap grow by before it begins a collection. None of it
 * becomes resident.
 */
const NUDGE_BYTES = 65 * 1024 * 1024;

/** What is asked of the collector. */
export interface Collector {
  /** Full collections that have ended since {@link start}. */
  readonly collections: number;
  /**
   * False from a full collection to the next of either kind: until then Node counts buffers that
   * are gone already. native-notes/nudged-collection.md
   */
  readonly buffersAreTrue: boolean;
  /** Bytes of buffers that Node counts and that are the asking alone. */
  readonly nudgeBytes: number;
  start(): void;
  stop(): void;
  /**
   * Asks for a full collection, which ends some 30 to 200 ms later; its last step stops the loop
   * for up to a millisecond a megabyte of heap. Does nothing while one that was asked for has not
   * ended.
   */
  collect(): void;
}

type CollectionEntry = PerformanceEntry & { readonly detail: { readonly kind: number } };

export class V8Collector implements Collector {
  collections = 0;
  buffersAreTrue = true;
  nudgeBytes = 0;
  /** True while the last full collection has freed the buffer and Node counts it still. */
  #nudgeIsGone = false;
  readonly #observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries() as CollectionEntry[]) this.#collected(detail.kind);
  });

  start(): void {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  stop(): void {
    this.#observer.disconnect();
  }

  collect(): void {
    if (this.nudgeBytes > 0) return;
    this.nudgeBytes = NUDGE_BYTES;
    Buffer.allocUnsafeSlow(NUDGE_BYTES);
  }

  #collected(kind: number): void {
    const isFull = kind === constants.NODE_PERFORMANCE_GC_MAJOR;
    if (!isFull && kind !== constants.NODE_PERFORMANCE_GC_MINOR) return;
    // What a full collection freed is out of Node's count when the next one begins.
    if (this.#nudgeIsGone) this.nudgeBytes = 0;
    this.#nudgeIsGone = isFull && this.nudgeBytes > 0;
    this.buffersAreTrue = !isFull;
    if (isFull) this.collections++;
  }
}
