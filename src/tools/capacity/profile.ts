/**
 * What was measured on a machine, as it is kept in a file. It holds measurements only. What follows
 * from them is computed when a plan is made (fit.ts, plan.ts), so a kept profile gains from a
 * better fit.
 */

/** Rises when older profiles can no longer be read. */
export const PROFILE_SCHEMA = 1;

/** The server's process and the kernel, with so many lines and nothing published. */
export interface MemoryStep {
  readonly lines: number;
  /** VmRSS of the server's process. */
  readonly rssBytes: number;
  /** TCP buffers and slabs of the whole machine, so both ends of each line and all the rest. */
  readonly kernelBytes: number;
}

/** Lines that were accepted by an idle server. */
export interface Accept {
  readonly lines: number;
  readonly seconds: number;
  readonly serverCpuSeconds: number;
}

/**
 * Some seconds of publishing at one rate and size. A rate of 0 is a server without events. Shares
 * are of one core.
 */
export interface Window {
  readonly lines: number;
  readonly eventBytes: number;
  /** Events that were due in a second. */
  readonly offeredPerSecond: number;
  readonly seconds: number;
  readonly acceptedPerSecond: number;
  /** As the server counts them (counters.ts). */
  readonly deliveriesPerSecond: number;
  readonly writesPerSecond: number;
  readonly writtenBytesPerSecond: number;
  readonly heartbeatsPerSecond: number;
  readonly sweepsPerSecond: number;
  readonly serverShare: number;
  /** All client processes, as a share of their cores. */
  readonly clientShare: number;
  /** All other processes of the machine. */
  readonly strangerShare: number;
  /** From the moment an event was due; null where no event arrived. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly rssBytes: number;
  /** Deliveries that were doubled, out of order, or missing although a later event came. */
  readonly faults: number;
  /** Deliveries that had not come by the end: late, or lost. Absent in older profiles. */
  readonly undelivered?: number;
  /** The clients or the publisher were at their limit, not the server. */
  readonly isClientLimited: boolean;
}

/** What bounds the lines of a machine; absent is what it does not report or does not bound. */
export interface Limits {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly fileLimit?: number;
  readonly fileCeiling?: number;
  readonly portRange?: readonly [first: number, last: number];
  /** Above the second mark the kernel shrinks all windows, above the third it refuses memory. */
  readonly tcpMemoryBytes?: readonly [low: number, pressure: number, high: number];
  /** What a send buffer grows to when nobody sets it. */
  readonly sendBufferMostBytes?: number;
  /** The slowest network card that has a link and reports its speed. */
  readonly linkBitsPerSecond?: number;
}

/** A window whose lines were compressed, and what the server's compressor did in it. */
export interface CompressedWindow extends Window {
  readonly blocksPerSecond: number;
  readonly compressedPlainBytesPerSecond: number;
  readonly compressedBytesPerSecond: number;
  /** Share of a core that the compressor took. */
  readonly compressorShare: number;
}

/** Blocks that `--compress shared` makes of so many plain bytes, on this machine. */
export interface BlockTime {
  readonly plainBytes: number;
  /** Processor time of a block: the median. */
  readonly us: number;
}

export interface Profile {
  readonly schema: typeof PROFILE_SCHEMA;
  /** ISO 8601. */
  readonly measuredAt: string;
  /** Machine, kernel and versions in one line of text. */
  readonly machine: string;
  readonly limits: Limits;
  readonly transport: 'sse' | 'ndjson' | 'ws';
  /** What the kernel granted a line as send buffer; null where it grows by itself. */
  readonly sendBufferBytes: number | null;
  /** True when server and clients had cores of their own. */
  readonly isPinned: boolean;
  /** An idle server as it grows. */
  readonly memory: readonly MemoryStep[];
  readonly accepts: readonly Accept[];
  readonly windows: readonly Window[];
  /** The compressor's time. Absent in older profiles. */
  readonly blocks?: readonly BlockTime[];
  /** Windows with compressed lines: measured with `--compress shared` only. */
  readonly compressed?: readonly CompressedWindow[];
  /** What a reader should know about the measurement, a sentence each. */
  readonly remarks: string[];
}
