/**
 * The garbage collector as a memory budget needs it: its collections are counted, and it can be
 * asked for one. It is asked by a large buffer that is never kept or written to: V8 sees memory
 * outside of its heap grow and collects, mostly beside the loop, without a flag for the whole
 * program. native-notes/nudged-collection.md
 */
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';

/** More than V8 lets memory outside of its heap grow before it collects. It never gets resident. */
const NUDGE_BYTES = 65 * 1024 * 1024;

export interface Collector {
  /** Full collections that have ended since {@link start}. */
  readonly collections: number;
  /**
   * False from a full collection to the next of either kind: until then Node still counts buffers
   * that are gone. native-notes/nudged-collection.md
   */
  readonly buffersAreTrue: boolean;
  /** The part of the buffers that Node counts which is the request for a collection. */
  readonly nudgeBytes: number;
  start(): void;
  stop(): void;
  /**
   * Asks for a full collection, which ends 30 to 200 ms later; its last step stops the loop for up
   * to 1 ms a megabyte of heap. Does nothing while one is on its way.
   */
  collect(): void;
}

type CollectionEntry = PerformanceEntry & { readonly detail: { readonly kind: number } };

export class V8Collector implements Collector {
  collections = 0;
  buffersAreTrue = true;
  nudgeBytes = 0;
  #isOnItsWay = false;
  /** The requests that no collection has freed. */
  #nudges: WeakRef<ArrayBufferLike>[] = [];
  /** Those the last full collection freed, which Node still counts. */
  #freedNudges = 0;
  readonly #observer = new PerformanceObserver((list) => {
    const kinds = (list.getEntries() as CollectionEntry[]).map(({ detail }) => detail.kind);
    const latestFull = kinds.lastIndexOf(constants.NODE_PERFORMANCE_GC_MAJOR);
    kinds.forEach((kind, index) => this.#collected(kind, index === latestFull));
  });

  start(): void {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  stop(): void {
    this.#observer.disconnect();
  }

  collect(): void {
    if (this.#isOnItsWay) return;
    this.#isOnItsWay = true;
    this.nudgeBytes += NUDGE_BYTES;
    this.#nudges.push(new WeakRef(Buffer.allocUnsafeSlow(NUDGE_BYTES).buffer));
  }

  /** `isLatestFull`: of several reported at once, what is gone went at the latest by it. */
  #collected(kind: number, isLatestFull: boolean): void {
    const isFull = kind === constants.NODE_PERFORMANCE_GC_MAJOR;
    if (!isFull && kind !== constants.NODE_PERFORMANCE_GC_MINOR) return;
    // Node no longer counts what a full collection freed when the next collection begins.
    this.nudgeBytes -= this.#freedNudges * NUDGE_BYTES;
    this.#freedNudges = 0;
    this.buffersAreTrue = !isFull;
    if (!isFull) return;
    this.collections++;
    if (!isLatestFull) return;
    // A collection that was at work already when it was asked for does not free the request.
    const kept = this.#nudges.filter((nudge) => nudge.deref() !== undefined);
    this.#freedNudges = this.#nudges.length - kept.length;
    this.#nudges = kept;
    this.#isOnItsWay = false;
  }
}
