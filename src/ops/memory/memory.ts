/**
 * The memory of the server: reads it at intervals, reports it by class with what the kernel holds
 * beside it, and admits lines by both where there is a budget.
 */
import type { Clock } from '../../clock.js';
import type { HeldBytes } from '../../core/held-bytes.js';
import { ROW_BYTES } from '../../core/lines.js';
import { MEMORY_ADMIT_SHARE, MEMORY_CHECK_MS } from '../../limits.js';
import { readTcpBytes } from '../../linux/sockets.js';
import { loadAllocator, type Allocator } from '../../native/allocator.js';
import { Account, type MemoryHub } from './account.js';
import { MemoryBudget, type MemoryReading } from './budget.js';
import { V8Collector, type Collector } from './collector.js';
import type { KernelMemory, KernelReading } from './kernel-memory.js';
import { LINE_HEAP_BYTES } from './line-cost.js';
import { LiveMemory } from './live-memory.js';
import { readProcessUsage, type ProcessUsage } from './process-usage.js';
import type { BudgetReport, KernelReport, MemoryReport } from './report.js';

/** What is asked of the process and its machine; tests bring their own. */
export interface MemorySources {
  readonly usage: () => ProcessUsage;
  readonly tcpBytes: () => number | undefined;
  readonly loadAllocator: () => Promise<Allocator | undefined>;
  readonly collector: Collector;
}

function ownProcess(): MemorySources {
  const collector = new V8Collector();
  return {
    usage: () => readProcessUsage(collector.nudgeBytes),
    tcpBytes: readTcpBytes,
    loadAllocator,
    collector,
  };
}

export class Memory {
  /** What other processes of this server take of the budget, which is one for all. */
  elsewhereBytes: () => number = () => 0;
  /**
   * Processes that start behind this one and will take as much as it does. Undefined for one that
   * joins others: a budget that is used up must not keep it from taking the place of a dead one.
   */
  startingCount: number | undefined = 0;
  readonly #clock: Clock;
  readonly #kernel: KernelMemory;
  readonly #sources: MemorySources;
  readonly #account: Account;
  readonly #budget: MemoryBudget | undefined;
  /** With a budget, from the start. */
  #live: LiveMemory | undefined;
  #port = 0;
  /** The machine's TCP memory before the first reading of the kernel. */
  #tcpBytesAtStart = 0;
  #hasReadKernel = false;
  #cancel: (() => void) | undefined;

  constructor(
    hub: MemoryHub,
    clock: Clock,
    kernel: KernelMemory,
    held: Readonly<HeldBytes>,
    budgetBytes: number | undefined,
    sources: MemorySources = ownProcess(),
  ) {
    this.#clock = clock;
    this.#kernel = kernel;
    this.#sources = sources;
    this.#account = new Account(hub, held, sources.usage);
    this.#budget = budgetBytes === undefined ? undefined : new MemoryBudget(budgetBytes);
  }

  /**
   * Starts reading; `port` is the server's own. Once it resolves, lines are admitted by what is in
   * use. Rejects with HOLDLINE_BAD_OPTION for a budget that has no room for a line.
   */
  async start(port: number): Promise<void> {
    this.#port = port;
    this.#tcpBytesAtStart = this.#sources.tcpBytes() ?? 0;
    const allocator = await this.#sources.loadAllocator();
    this.#account.allocator = allocator;
    if (this.#budget !== undefined) {
      const { collector } = this.#sources;
      this.#live = new LiveMemory(this.#account, this.#clock, collector, allocator);
      collector.start();
      this.#live.see();
      this.#budget.update({ ...this.#readNow(), reusableBytes: 0 });
      if (this.startingCount !== undefined) this.#budget.checkStart(this.startingCount);
      // What the kernel holds for those that it joins is no growth since now.
      else await this.#readKernel();
    }
    this.#check();
    this.#next();
  }

  /** Stops reading; resolves when no thread reads any more. */
  async stop(): Promise<void> {
    this.#cancel?.();
    if (this.#budget !== undefined) this.#sources.collector.stop();
    await this.#kernel.stop();
  }

  /** Throws HOLDLINE_MEMORY_FULL when one more line would not fit the budget. */
  checkRoom(): void {
    this.#budget?.checkRoom(this.#account.hub.lines.openedTotal);
  }

  /**
   * What of this process counts against the budget, bytes: without what can be reused, which is
   * worked out only where it decides. Without a budget it is what is resident.
   */
  get processBytes(): number {
    return this.#budget?.processBytes ?? this.#sources.usage().rssBytes;
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

  /** The report with the last reading of the kernel; an old one starts a new reading. */
  reportAtOnce(): MemoryReport {
    const report = this.#report();
    void this.#readKernel();
    return report;
  }

  #report(): MemoryReport {
    return { ...this.#account.report, kernel: this.#kernelReport(), budget: this.budget };
  }

  #kernelReport(): KernelReport | null {
    const reading = this.#kernel.latest;
    if (reading === undefined) return null;
    const { atMs, port, tcpBytes, cgroup } = reading;
    return {
      ageMs: Math.round(this.#clock.nowMs() - atMs),
      // A unix socket has no port.
      port: this.#port === 0 ? null : (port ?? null),
      tcpBytes: tcpBytes ?? null,
      cgroup: cgroup ?? null,
    };
  }

  #next(): void {
    this.#cancel = this.#clock.later(MEMORY_CHECK_MS, () => {
      this.#check();
      this.#next();
    });
  }

  #check(): void {
    // The thread that reads takes several megabytes of the process.
    if (this.#kernel.isReading) return;
    this.#account.learn();
    if (this.#budget === undefined) return;
    this.#updateBudget(this.#budget);
    void this.#readKernel();
  }

  #updateBudget(budget: MemoryBudget): void {
    const reading = this.#readNow();
    const { rssBytes, kernelBytes } = reading;
    // Use is worked out only where it decides, since that walks all tables and rings.
    const isTight = rssBytes + kernelBytes >= MEMORY_ADMIT_SHARE * budget.budgetBytes;
    const usedBytes = isTight ? this.#live!.usedBytes() : rssBytes;
    budget.update({ ...reading, reusableBytes: Math.max(0, rssBytes - usedBytes) });
  }

  #readNow(): Omit<MemoryReading, 'reusableBytes'> {
    return {
      rssBytes: this.#sources.usage().rssBytes,
      kernelBytes: this.#kernelBytes() + this.elsewhereBytes(),
      lineBytes: this.#account.lineBytes.bytes + LINE_HEAP_BYTES + ROW_BYTES,
      openedTotal: this.#account.hub.lines.openedTotal,
    };
  }

  /**
   * The queues of the server's own sockets at the last reading, and the growth of the machine's TCP
   * memory since, which may be that of others.
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
    if (this.#hasReadKernel || this.#kernel.isReading) return this.#kernel.read(this.#port);
    const beforeBytes = this.#account.nativeBytes;
    const reading = await this.#kernel.read(this.#port);
    this.#hasReadKernel = true;
    this.#account.threadLeftBytes = Math.max(0, this.#account.nativeBytes - beforeBytes);
    return reading;
  }
}
