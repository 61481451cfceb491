/** The memory of the process as Node and V8 count it. */
import { getHeapStatistics } from 'node:v8';

/** Bytes. */
export interface ProcessUsage {
  readonly rssBytes: number;
  /** The resident part of V8's heap; what is committed beyond it changes by megabytes. */
  readonly heapBytes: number;
  /** Objects on it, garbage included. */
  readonly heapUsedBytes: number;
  /** Buffers, resident or not. */
  readonly externalBytes: number;
  /** What V8 has of the allocator for itself; most of it while it compiles. */
  readonly compilerBytes: number;
}

/** Reads it. `nudgeBytes` of the buffers are the collector's own (collector.ts). */
export function readProcessUsage(nudgeBytes: number): ProcessUsage {
  const { rss, heapUsed, external } = process.memoryUsage();
  const { total_physical_size: heapBytes, malloced_memory: compilerBytes } = getHeapStatistics();
  return {
    rssBytes: rss,
    heapBytes,
    heapUsedBytes: heapUsed,
    externalBytes: external - nudgeBytes,
    compilerBytes,
  };
}
