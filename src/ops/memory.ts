/**
 * Where the process's memory is, by class; what the kernel holds for its sockets beside that; and the budget that admits lines by
 * both. Learns what a line costs by looking at the process while lines come.
 */
import { getHeapStatistics } from 'node:v8';
import type { Clock } from '../clock.js';
import type { Transport } from '../core/feed.js';
import type { HubMemory } from '../core/hub.js';
import { MEMORY_ADMIT_SHARE, MEMORY_LOOK_MS, MEMORY_TRIM_MS, MEMORY_TRIM_SHARE } from '../limits.js';
import { loadTrim } from '../native/allocator.js';
import { readTcpBytes } from '../proc-net.js';
import type { KernelMemory, KernelReading } from './kernel-memory.js';
import { LineCost, type LineBytes } from './line-cost.js';
import { MemoryBudget } from './memory-budget.js';
import type { BudgetReport, KernelReport, MemoryClass, MemoryReport } from './memory-report.js';

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
  /** V8's heap as far as it is resident: what is committed beyond that comes and goes by megabytes. */
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
}

const OWN_PROCESS: MemorySources = {
  usage() {
    const { rss, heapUsed, external } = process.memoryUsage();
    const heapBytes = getHeapStatistics().total_physical_size;
    return { rssBytes: rss, heapBytes, heapUsedBytes: heapUsed, externalBytes: external };
  },
  tcpBytes: readTcpBytes,
  loadTrim,
};

/** What a line has on V8's heap (callback, table entries) and in tables, bytes. native-notes/memory-per-connection.md, core/lines.ts */
const LINE_HEAP_BYTES = 140 + 49;

export class Memory {
  readonly #hub: MemoryHub;
  readonly #clock: Clock;
  readonly #kernel: KernelMemory;
  readonly #sources: MemorySources;
  readonly #budget: MemoryBudget | undefined;
  readonly #cost = new LineCost();
  #port = 0;
  /** The machine's TCP memory before the first reading of the kernel. */
  #tcpBytesAtStart = 0;
  /** What the first thread that read the kernel has left behind. */
  #threadLeftBytes: number | undefined;
  #trim: (() => void) | undefined;
  #trimmedMs = -Infinity;
  /** What was beyond need and is no freed memory. */
  #untrimmableBytes = 0;
  #cancel: (() => void) | undefined;

  constructor(
    hub: MemoryHub,
    clock: Clock,
    kernel: KernelMemory,
    budgetBytes: number | undefined,
    sources: MemorySources = OWN_PROCESS,
  ) {
    this.#hub = hub;
    this.#clock = clock;
    this.#kernel = kernel;
    this.#sources = sources;
    this.#budget = budgetBytes === undefined ? undefined : new MemoryBudget(budgetBytes);
  }

  /** Begins to look; the port is the server's own. Rejects with HOLDLINE_BAD_OPTION for a budget that no line fits into. */
  async start(port: number): Promise<void> {
    this.#port = port;
    if (this.#budget !== undefined) this.#trim = await this.#sources.loadTrim();
    this.#tcpBytesAtStart = this.#sources.tcpBytes() ?? 0;
    this.#look();
    this.#budget?.checkStart();
    this.#next();
  }

  /** Looks no more; resolves when no thread reads any more. */
  async stop(): Promise<void> {
    this.#cancel?.();
    await this.#kernel.stop();
  }

  /** Throws HOLDLINE_MEMORY_FULL when one more line would not fit the budget. */
  checkRoom(): void {
    this.#budget?.checkRoom(this.#hub.lines.openedTotal);
  }

  get budget(): BudgetReport | null {
    const budget = this.#budget;
    return budget === undefined ? null : { bytes: budget.budgetBytes, usedBytes: budget.usedBytes, full: budget.isFull };
  }

  /** The report, with a reading of the kernel that is at most KERNEL_READING_MS old. */
  async report(): Promise<MemoryReport> {
    await this.#readKernel();
    return this.#report();
  }

  /** The report, with the last reading of the kernel there was; when that is old a new one begins. */
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
    const share = (bytes: number): MemoryClass => ({ bytes, bytesPerLine: lines === 0 ? null : bytes / lines });
    const tableBytes = tables.feedBytes + tables.handleBytes + tables.deadlineBytes + tables.lossBytes;
    const nativeBytes = line.bytes * lines;
    const backlogBytes = this.#hub.unsentBytes;
    const bufferBytes = Math.max(0, externalBytes - tableBytes - rings.recordBytes - rings.frameBytes);
    const { recordBytes, frameBytes, heldBytes, touchedBytes } = rings;
    return {
      rssBytes,
      rssBytesPerLine: share(rssBytes).bytesPerLine,
      lines,
      classes: {
        v8Heap: { ...share(heapBytes), usedBytes: heapUsedBytes },
        native: { bytes: nativeBytes, bytesPerLine: line.bytes, source: line.source, spreadLines: this.#cost.spreadLines },
        tables: { ...share(tableBytes), ...tables },
        rings: { ...share(touchedBytes), recordBytes, frameBytes, heldBytes },
        backlog: share(backlogBytes),
        buffers: share(bufferBytes),
        other: share(rssBytes - heapBytes - nativeBytes - tableBytes - touchedBytes - backlogBytes - bufferBytes),
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
    this.#cancel = this.#clock.later(MEMORY_LOOK_MS, () => {
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
    const { openedTotal } = this.#hub.lines;
    const lineBytes = this.#lineBytes().bytes + LINE_HEAP_BYTES;
    const kernelBytes = this.#kernelBytes();
    let { rssBytes } = this.#sources.usage();
    let reusableBytes = 0;
    // Takes a walk over tables and rings, so it is looked at only where it decides.
    if (rssBytes + kernelBytes >= MEMORY_ADMIT_SHARE * budget.budgetBytes) {
      this.#giveBack(budget.budgetBytes);
      ({ rssBytes } = this.#sources.usage());
      reusableBytes = Math.min(this.#leftBytes(), this.#unneededBytes());
    }
    budget.look({ rssBytes, reusableBytes, kernelBytes, lineBytes, openedTotal });
  }

  /**
   * Gives freed memory back to the system, if there may be much of it beyond what the last time has left.
   * native-notes/freed-memory-stays.md
   */
  #giveBack(budgetBytes: number): void {
    if (this.#trim === undefined) return;
    const unneededBytes = this.#unneededBytes();
    this.#untrimmableBytes = Math.min(this.#untrimmableBytes, unneededBytes);
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#trimmedMs < MEMORY_TRIM_MS) return;
    if (unneededBytes - this.#untrimmableBytes < MEMORY_TRIM_SHARE * budgetBytes) return;
    this.#trimmedMs = nowMs;
    this.#trim();
    this.#untrimmableBytes = this.#unneededBytes();
  }

  /** What lines that have closed took: the next ones take it again, whether or not the allocator keeps it. */
  #leftBytes(): number {
    return Math.max(0, this.#cost.mostLines - this.#hub.lines.open) * this.#lineBytes().bytes;
  }

  /** Native bytes beyond what the lines that are open need: what the allocator keeps, and whatever came to be beside lines. */
  #unneededBytes(): number {
    const neededBytes = this.#cost.neededBytes(this.#hub.lines.open, this.#lineBytes().bytes);
    return Math.max(0, this.#nativeBytes() - neededBytes - this.#hub.unsentBytes);
  }

  #lineBytes(): LineBytes {
    return this.#cost.line(this.#hub.gauges.linesByTransport);
  }

  /** What is resident and neither V8's nor of a buffer: sockets, the program, and what the allocator keeps. */
  #nativeBytes(): number {
    const { rssBytes, heapBytes, externalBytes } = this.#sources.usage();
    const { recordBytes, frameBytes, touchedBytes } = this.#hub.memory.rings;
    const bufferBytes = externalBytes - (recordBytes + frameBytes - touchedBytes);
    return rssBytes - heapBytes - bufferBytes - (this.#threadLeftBytes ?? 0);
  }

  /** The own sockets' queues when the kernel was read last, and by how much TCP memory has grown since: at most, others' is in that. */
  #kernelBytes(): number {
    const reading = this.#kernel.latest;
    const queuedBytes = reading?.port === undefined ? 0 : reading.port.sendQueueBytes + reading.port.receiveQueueBytes;
    const growthBytes = (this.#sources.tcpBytes() ?? 0) - (reading?.tcpBytes ?? this.#tcpBytesAtStart);
    return queuedBytes + Math.max(0, growthBytes);
  }

  async #readKernel(): Promise<KernelReading | undefined> {
    if (this.#threadLeftBytes !== undefined || this.#kernel.isReading) return this.#kernel.read(this.#port);
    const beforeBytes = this.#nativeBytes();
    const { openedTotal } = this.#hub.lines;
    const reading = await this.#kernel.read(this.#port);
    const openedBytes = (this.#hub.lines.openedTotal - openedTotal) * this.#lineBytes().bytes;
    this.#threadLeftBytes = Math.max(0, this.#nativeBytes() - beforeBytes - openedBytes);
    return reading;
  }
}
