/**
 * Where the process's memory is, by class; what the kernel holds for its sockets beside that; and
 * the budget that admits lines by both. Learns what a line costs by looking at the process while
 * lines come, and tells garbage from use by what is left after V8 has collected.
 */
import { getHeapStatistics } from 'node:v8';
import type { Clock } from '../../clock.js';
import type { Transport } from '../../core/ports.js';
import type { HubMemory } from '../../core/hub.js';
import { ROW_BYTES } from '../../core/lines.js';
import type { HeldBytes } from '../../core/held-bytes.js';
import {
  MEMORY_ADMIT_SHARE,
  MEMORY_COLLECT_HEAP_BYTES_MAX,
  MEMORY_COLLECT_MS,
  MEMORY_CHECK_MS,
  MEMORY_SETTLE_MS,
} from '../../limits.js';
import { loadTrim } from '../../native/allocator.js';
import { readTcpBytes } from '../../linux/sockets.js';
import { V8Collector, type Collector } from './collector.js';
import type { KernelMemory, KernelReading } from './kernel-memory.js';
import { LineCost, type LineBytes } from './line-cost.js';
import { LiveMemory } from './live-memory.js';
import { MemoryBudget, type MemoryLook } from './budget.js';
import type { BudgetReport, KernelReport, MemoryClass, MemoryReport } from './report.js';

/** What is asked of the hub. */
export interface MemoryHub {
  readonly lines: { readonly open: number; readonly openedTotal: number };
  readonly gauges: { readonly linesByTransport: Readonly<Record<Transport, number>> };
  readonly memory: HubMemory;
  readonly unsentBytes: number;
}

/** The process as Node and V8 count it, bytes. */
export interface ProcessUsage {
  readonly rssBytes: number;
  /**
   * V8's heap as far as it is resident: what is committed beyond that comes and goes by megabytes.
   */
  readonly heapBytes: number;
  readonly heapUsedBytes: number;
  /** Buffers, resident or not. */
  readonly externalBytes: number;
}

/** What is asked of the process and its machine. */
export interface MemorySources {
  readonly usage: () => ProcessUsage;
  readonly tcpBytes: () => number | undefined;
  /** What gives freed memory back to the system, where there is such a thing. */
  readonly loadTrim: () => Promise<(() => void) | undefined>;
  readonly collector: Collector;
}

function ownProcess(): MemorySources {
  const collector = new V8Collector();
  return {
    usage() {
      const { rss, heapUsed, external } = process.memoryUsage();
      const heapBytes = getHeapStatistics().total_physical_size;
      return {
        rssBytes: rss,
        heapBytes,
        heapUsedBytes: heapUsed,
        externalBytes: external - collector.nudgeBytes,
      };
    },
    tcpBytes: readTcpBytes,
    loadTrim,
    collector,
  };
}

/**
 * What a line has on V8's heap (callback, table entries) and in tables, bytes.
 * native-notes/memory-per-connection.md, core/lines.ts
 */
const LINE_HEAP_BYTES = 140 + ROW_BYTES;

export class Memory {
  readonly #hub: MemoryHub;
  readonly #clock: Clock;
  readonly #kernel: KernelMemory;
  readonly #held: Readonly<HeldBytes>;
  readonly #sources: MemorySources;
  readonly #budget: MemoryBudget | undefined;
  readonly #cost = new LineCost();
  #port = 0;
  /** The machine's TCP memory before the first reading of the kernel. */
  #tcpBytesAtStart = 0;
  /** What the first thread that read the kernel has left behind. */
  #threadLeftBytes: number | undefined;
  #trim: (() => void) | undefined;
  #cancel: (() => void) | undefined;

  readonly #live = new LiveMemory(MEMORY_SETTLE_MS);
  /**
   * When a collection was asked for last, and when freed memory was given back, after how many
   * collections.
   */
  #askedMs = -Infinity;
  #trimmedMs = -Infinity;
  #trimmedCollections = 0;

  constructor(
    hub: MemoryHub,
    clock: Clock,
    kernel: KernelMemory,
    held: Readonly<HeldBytes>,
    budgetBytes: number | undefined,
    sources: MemorySources = ownProcess(),
  ) {
    this.#hub = hub;
    this.#clock = clock;
    this.#kernel = kernel;
    this.#held = held;
    this.#sources = sources;
    this.#budget = budgetBytes === undefined ? undefined : new MemoryBudget(budgetBytes);
  }

  /**
   * Begins to look; the port is the server's own. Rejects with HOLDLINE_BAD_OPTION for a budget
   * that no line fits into.
   */
  async start(port: number): Promise<void> {
    this.#port = port;
    this.#tcpBytesAtStart = this.#sources.tcpBytes() ?? 0;
    const budget = this.#budget;
    if (budget !== undefined) {
      this.#trim = await this.#sources.loadTrim();
      this.#sources.collector.start();
      this.#seeUse();
      budget.look({ ...this.#lookNow(), reusableBytes: 0 });
      budget.checkStart();
    }
    this.#look();
    this.#next();
  }

  /** Looks no more; resolves when no thread reads any more. */
  async stop(): Promise<void> {
    this.#cancel?.();
    if (this.#budget !== undefined) this.#sources.collector.stop();
    await this.#kernel.stop();
  }

  /** Throws HOLDLINE_MEMORY_FULL when one more line would not fit the budget. */
  checkRoom(): void {
    this.#budget?.checkRoom(this.#hub.lines.openedTotal);
  }

  get budget(): BudgetReport | null {
    const budget = this.#budget;
    return budget === undefined
      ? null
      : { bytes: budget.budgetBytes, usedBytes: budget.usedBytes, full: budget.isFull };
  }

  /** The report, with a reading of the kernel that is at most KERNEL_READING_INTERVAL_MS old. */
  async report(): Promise<MemoryReport> {
    await this.#readKernel();
    return this.#report();
  }

  /**
   * The report, with the last reading of the kernel there was; when that is old a new one begins.
   */
  reportAtOnce(): MemoryReport {
    const report = this.#report();
    void this.#readKernel();
    return report;
  }

  #report(): MemoryReport {
    const { rssBytes, heapBytes, heapUsedBytes, externalBytes } = this.#sources.usage();
    const { tables, rings } = this.#hub.memory;
    const lines = this.#hub.lines.open;
    const line = this.#lineBytes();
    const share = (bytes: number): MemoryClass => ({
      bytes,
      bytesPerLine: lines === 0 ? null : bytes / lines,
    });
    const tableBytes =
      tables.groupBytes + tables.handleBytes + tables.deadlineBytes + tables.lossBytes;
    const nativeBytes = line.bytes * lines;
    const backlogBytes = this.#hub.unsentBytes;
    const { answers, messages, publishes } = this.#held;
    const clientBytes = answers + messages + publishes;
    // Publishes are buffers, too, and stand in a class of their own.
    const bufferBytes = Math.max(0, externalBytes - tableBytes - rings.bufferBytes - publishes);
    const { recordBytes, frameBytes, heldBytes, touchedBytes } = rings;
    return {
      rssBytes,
      rssBytesPerLine: share(rssBytes).bytesPerLine,
      lines,
      classes: {
        v8Heap: { ...share(heapBytes), usedBytes: heapUsedBytes },
        native: {
          bytes: nativeBytes,
          bytesPerLine: line.bytes,
          source: line.source,
          spreadLines: this.#cost.spreadLines,
        },
        tables: { ...share(tableBytes), ...tables },
        rings: { ...share(touchedBytes), recordBytes, frameBytes, heldBytes },
        backlog: share(backlogBytes),
        held: { ...share(clientBytes), answers, messages, publishes },
        buffers: share(bufferBytes),
        other: share(
          rssBytes -
            heapBytes -
            nativeBytes -
            tableBytes -
            touchedBytes -
            backlogBytes -
            clientBytes -
            bufferBytes,
        ),
      },
      kernel: this.#kernelReport(),
      budget: this.budget,
    };
  }

  #kernelReport(): KernelReport | null {
    const reading = this.#kernel.latest;
    if (reading === undefined) return null;
    const { atMs, port, tcpBytes, cgroup } = reading;
    return {
      ageMs: Math.round(this.#clock.nowMs() - atMs),
      port: port ?? null,
      tcpBytes: tcpBytes ?? null,
      cgroup: cgroup ?? null,
    };
  }

  #next(): void {
    this.#cancel = this.#clock.later(MEMORY_CHECK_MS, () => {
      this.#look();
      this.#next();
    });
  }

  #look(): void {
    // The thread that reads is several megabytes of the process.
    if (this.#kernel.isReading) return;
    const { open } = this.#hub.lines;
    if (this.#cost.wantsLook(open)) this.#cost.look(open, this.#nativeBytes());
    if (this.#budget === undefined) return;
    this.#lookForBudget(this.#budget);
    void this.#readKernel();
  }

  #lookForBudget(budget: MemoryBudget): void {
    const look = this.#lookNow();
    const { rssBytes, kernelBytes } = look;
    // Takes a walk over tables and rings, so it is looked at only where it decides.
    const isTight = rssBytes + kernelBytes >= MEMORY_ADMIT_SHARE * budget.budgetBytes;
    budget.look({
      ...look,
      reusableBytes: isTight ? Math.max(0, rssBytes - this.#usedBytes()) : 0,
    });
  }

  #lookNow(): Omit<MemoryLook, 'reusableBytes'> {
    return {
      rssBytes: this.#sources.usage().rssBytes,
      kernelBytes: this.#kernelBytes(),
      lineBytes: this.#lineBytes().bytes + LINE_HEAP_BYTES,
      openedTotal: this.#hub.lines.openedTotal,
    };
  }

  /**
   * What of the resident memory is in use: what is counted one by one, and beyond that what
   * collections have left. Use that nobody counts, which has grown since, is seen with the next
   * one, which is asked for here.
   */
  #usedBytes(): number {
    const { collector } = this.#sources;
    const { collections } = collector;
    const nowMs = this.#clock.nowMs();
    if (collections > this.#trimmedCollections && nowMs - this.#trimmedMs >= MEMORY_SETTLE_MS) {
      // What was collected the allocator mostly keeps. native-notes/freed-memory-stays.md
      this.#trim?.();
      this.#trimmedCollections = collections;
      this.#trimmedMs = nowMs;
    }
    this.#seeUse();
    const liveHeapBytes = this.#counted().heap + this.#live.heapBytes;
    if (
      nowMs - this.#askedMs >= MEMORY_COLLECT_MS &&
      liveHeapBytes <= MEMORY_COLLECT_HEAP_BYTES_MAX
    ) {
      this.#askedMs = nowMs;
      collector.collect();
    }
    return this.#countedBytes() + this.#live.beyondBytes;
  }

  /** Looks at what the process takes beyond what is counted. */
  #seeUse(): void {
    const { collector } = this.#sources;
    const { rssBytes, heapUsedBytes, externalBytes } = this.#sources.usage();
    const { heap, buffers, native } = this.#counted();
    const leftBytes = Math.min(this.#leftBytes(), this.#unneededBytes());
    const beyond = {
      resident: rssBytes - leftBytes - this.#countedBytes(),
      heap: heapUsedBytes - heap,
      buffers: externalBytes - buffers,
      native: collector.buffersAreTrue ? this.#nativeBytes() - leftBytes - native : Infinity,
    };
    this.#live.see(beyond, collector.collections, this.#clock.nowMs());
  }

  /** What is counted one by one, bytes: lines, tables, rings, and what is held for clients. */
  #counted(): Readonly<Record<'heap' | 'buffers' | 'native', number>> {
    const { tables, rings } = this.#hub.memory;
    const { answers, messages, publishes } = this.#held;
    const { open } = this.#hub.lines;
    return {
      heap:
        open * (LINE_HEAP_BYTES - ROW_BYTES) +
        rings.recordBytes +
        rings.frameBytes -
        rings.bufferBytes,
      buffers:
        tables.groupBytes +
        tables.handleBytes +
        tables.deadlineBytes +
        tables.lossBytes +
        rings.bufferBytes +
        publishes,
      native: open * this.#lineBytes().bytes + this.#hub.unsentBytes + answers + messages,
    };
  }

  /**
   * The same as one sum, as far as it is resident, and what the first thread that read the kernel
   * has left.
   */
  #countedBytes(): number {
    const { heap, buffers, native } = this.#counted();
    const { bufferBytes, touchedBytes } = this.#hub.memory.rings;
    return heap + buffers + native - (bufferBytes - touchedBytes) + (this.#threadLeftBytes ?? 0);
  }

  /**
   * What lines that have closed took: the next ones take it again, whether or not the allocator
   * keeps it.
   */
  #leftBytes(): number {
    return Math.max(0, this.#cost.mostLines - this.#hub.lines.open) * this.#lineBytes().bytes;
  }

  /**
   * Native bytes beyond what the lines that are open need: what the allocator keeps, and whatever
   * came to be beside lines.
   */
  #unneededBytes(): number {
    const neededBytes = this.#cost.neededBytes(this.#hub.lines.open, this.#lineBytes().bytes);
    return Math.max(0, this.#nativeBytes() - neededBytes - this.#hub.unsentBytes);
  }

  #lineBytes(): LineBytes {
    return this.#cost.line(this.#hub.gauges.linesByTransport);
  }

  /**
   * What is resident and neither V8's nor of a buffer: sockets, the program, and what the allocator
   * keeps.
   */
  #nativeBytes(): number {
    const { rssBytes, heapBytes, externalBytes } = this.#sources.usage();
    const { bufferBytes: ringBytes, touchedBytes } = this.#hub.memory.rings;
    const bufferBytes = externalBytes - (ringBytes - touchedBytes);
    return rssBytes - heapBytes - bufferBytes - (this.#threadLeftBytes ?? 0);
  }

  /**
   * The own sockets' queues when the kernel was read last, and by how much TCP memory has grown
   * since: at most, others' is in that.
   */
  #kernelBytes(): number {
    const reading = this.#kernel.latest;
    const queuedBytes =
      reading?.port === undefined
        ? 0
        : reading.port.sendQueueBytes + reading.port.receiveQueueBytes;
    const growthBytes =
      (this.#sources.tcpBytes() ?? 0) - (reading?.tcpBytes ?? this.#tcpBytesAtStart);
    return queuedBytes + Math.max(0, growthBytes);
  }

  async #readKernel(): Promise<KernelReading | undefined> {
    if (this.#threadLeftBytes !== undefined || this.#kernel.isReading)
      return this.#kernel.read(this.#port);
    const beforeBytes = this.#nativeBytes();
    const { openedTotal } = this.#hub.lines;
    const reading = await this.#kernel.read(this.#port);
    const openedBytes = (this.#hub.lines.openedTotal - openedTotal) * this.#lineBytes().bytes;
    this.#threadLeftBytes = Math.max(0, this.#nativeBytes() - beforeBytes - openedBytes);
    return reading;
  }
}
