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
}

/** Reads it. `nudgeBytes` of the buffers are the collector's own (collector.ts). */
export function readProcessUsage(nudgeBytes: number): ProcessUsage {
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    rssBytes: rss,
    heapBytes: getHeapStatistics().total_physical_size,
    heapUsedBytes: heapUsed,
    externalBytes: external - nudgeBytes,
  };
}
