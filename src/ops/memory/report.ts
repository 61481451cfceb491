/** What `/-/memory` answers: memory of the process by class, of the kernel, and the budget. */
import type { HubMemory } from '../../core/hub-figures.js';
import type { HeldBytes } from '../../core/held-bytes.js';
import type { KernelFigures } from './kernel-memory.js';
import type { LineBytes } from './line-cost.js';

/** A part of the memory of the process. */
export interface MemoryClass {
  readonly bytes: number;
  /** bytes ÷ lines; null without lines. */
  readonly bytesPerLine: number | null;
}

/** The report. The classes add up to `rssBytes`. */
export interface MemoryReport {
  /** Resident memory of the process. */
  readonly rssBytes: number;
  readonly rssBytesPerLine: number | null;
  readonly lines: number;
  readonly classes: {
    /** V8's heap; `usedBytes` are its objects, garbage included. */
    readonly v8Heap: MemoryClass & { readonly usedBytes: number };
    /** Sockets of the lines; `bytesPerLine` is measured here or kept (line-cost.ts). */
    readonly native: MemoryClass & {
      readonly source: LineBytes['source'];
      readonly spreadLines: number;
    };
    /** Typed arrays of the lines. */
    readonly tables: MemoryClass & HubMemory['tables'];
    /**
     * Rings of the channels: `bytes` is the part of their buffers that was ever written to,
     * `heldBytes` the records and frames in them. Small rings are on the heap.
     */
    readonly rings: MemoryClass & {
      readonly recordBytes: number;
      readonly frameBytes: number;
      readonly heldBytes: number;
    };
    /** Slices that compressed lines share, kept while they are written. */
    readonly compressed: MemoryClass;
    /** Upper bound of unsent bytes: exact for WebSockets, two corks for a stalled stream. */
    readonly backlog: MemoryClass;
    /** Held for clients: unread answers, unread or incomplete messages, publishes in progress. */
    readonly held: MemoryClass & Readonly<HeldBytes>;
    /** Other buffers, garbage included. */
    readonly buffers: MemoryClass;
    /** The rest: program, libraries, threads, allocator. */
    readonly other: MemoryClass;
  };
  /** Null where it cannot be read. A line cannot be matched to its socket in the kernel. */
  readonly kernel: KernelReport | null;
  readonly budget: BudgetReport | null;
}

/** What the kernel holds, in total. */
export interface KernelReport {
  /** Age of the reading. */
  readonly ageMs: number;
  /** The server's own sockets, and the payload in their queues. */
  readonly port: KernelFigures['port'] | null;
  /** Buffers of all TCP sockets of the machine, or of the container's network. */
  readonly tcpBytes: number | null;
  /** Charged to the cgroup for sockets. */
  readonly cgroup: KernelFigures['cgroup'] | null;
}

export interface BudgetReport {
  readonly bytes: number;
  readonly usedBytes: number;
  /** True while lines are refused. */
  readonly full: boolean;
}
