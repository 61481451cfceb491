/**
 * What `/-/memory` answers: where the memory of the process is, what the kernel holds beside it,
 * and how the budget stands.
 */
import type { HubMemory } from '../../core/hub.js';
import type { HeldBytes } from '../../core/held-bytes.js';
import type { KernelFigures } from './kernel-memory.js';
import type { LineBytes } from './line-cost.js';

/** A part of the process's memory. */
export interface MemoryClass {
  readonly bytes: number;
  /** Its share of a line: bytes ÷ lines; null without lines. */
  readonly bytesPerLine: number | null;
}

/** The report. The classes add up to `rssBytes`. */
export interface MemoryReport {
  /** Resident memory of the process. */
  readonly rssBytes: number;
  readonly rssBytesPerLine: number | null;
  readonly lines: number;
  readonly classes: {
    /** V8's heap; `usedBytes` of it are objects, some of them garbage. */
    readonly v8Heap: MemoryClass & { readonly usedBytes: number };
    /**
     * Sockets of the lines: `bytesPerLine` is the slope, measured in this process or kept from
     * native-notes.
     */
    readonly native: MemoryClass & {
      readonly source: LineBytes['source'];
      readonly spreadLines: number;
    };
    /** Typed arrays of the lines. */
    readonly tables: MemoryClass & HubMemory['tables'];
    /**
     * Rings of the channels: `bytes` is what of their buffers was ever written to, `heldBytes` the
     * records and frames; small ones are on the heap.
     */
    readonly rings: MemoryClass & {
      readonly recordBytes: number;
      readonly frameBytes: number;
      readonly heldBytes: number;
    };
    /**
     * Written to lines and not gone yet, at most: exact for WebSockets, two corks for a stalled
     * stream.
     */
    readonly backlog: MemoryClass;
    /**
     * Held for clients in user space: answers not taken, messages not taken or not complete,
     * publishes under way.
     */
    readonly held: MemoryClass & Readonly<HeldBytes>;
    /** Other buffers, what waits for the collector among them. */
    readonly buffers: MemoryClass;
    /** The rest: program, libraries, threads, and what the allocator keeps. */
    readonly other: MemoryClass;
  };
  /**
   * Totals, since a line cannot be matched to its socket in the kernel. Null where nothing can be
   * read.
   */
  readonly kernel: KernelReport | null;
  readonly budget: BudgetReport | null;
}

/** What the kernel holds beside the process. */
export interface KernelReport {
  /** Since it was read. */
  readonly ageMs: number;
  /** The server's own sockets, and the payload in their queues. */
  readonly port: KernelFigures['port'] | null;
  /** Buffers of all TCP sockets of the machine, or of the container's network. */
  readonly tcpBytes: number | null;
  /** What the cgroup is charged for sockets. */
  readonly cgroup: KernelFigures['cgroup'] | null;
}

/** How the budget stands. */
export interface BudgetReport {
  readonly bytes: number;
  readonly usedBytes: number;
  /** True while lines are refused. */
  readonly full: boolean;
}
