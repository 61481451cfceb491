/**
 * What the kernel holds for the server's own sockets, read in a thread at most every
 * KERNEL_READING_INTERVAL_MS. The thread ends after each reading, which it may since it has no
 * sockets (native-notes/worker-exit-aborts.md); kept it would hold 18 MB. The first one leaves 7 MB
 * with the allocator, later ones little more.
 */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../clock.js';
import { KERNEL_READING_INTERVAL_MS, KERNEL_READING_MS_MAX } from '../../limits.js';
import type { PortTotals } from '../../linux/sockets.js';
import type { CgroupSockets } from '../../linux/cgroup.js';

/** What was read; undefined where this machine does not tell. */
export interface KernelFigures {
  /** The server's own sockets, by its port. */
  readonly port: PortTotals | undefined;
  /** Buffers of all TCP sockets of the machine, or of the container's network. */
  readonly tcpBytes: number | undefined;
  readonly cgroup: CgroupSockets | undefined;
}

/** One reading. */
export interface KernelReading extends KernelFigures {
  /** When it was read, ms of the clock. */
  readonly atMs: number;
}

/** Reads the figures of a port in a thread; resolves when that has ended, undefined on failure. */
export type ReadKernel = (port: number) => Promise<KernelFigures | undefined>;

export class KernelMemory {
  readonly #clock: Clock;
  readonly #read: ReadKernel;
  #latest: KernelReading | undefined;
  #reading: Promise<KernelReading | undefined> | undefined;
  #triedMs = -Infinity;

  constructor(clock: Clock, read: ReadKernel = readInThread) {
    this.#clock = clock;
    this.#read = read;
  }

  /** The last successful reading. */
  get latest(): KernelReading | undefined {
    return this.#latest;
  }

  /** True while a thread reads, which enlarges the process. */
  get isReading(): boolean {
    return this.#reading !== undefined;
  }

  /**
   * The last reading, or a new one when that is older than KERNEL_READING_INTERVAL_MS; undefined
   * before the first success.
   */
  read(port: number): Promise<KernelReading | undefined> {
    if (this.#reading !== undefined) return this.#reading;
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#triedMs < KERNEL_READING_INTERVAL_MS) return Promise.resolve(this.#latest);
    this.#triedMs = nowMs;
    // Rejects where the system has no thread for it, which is no reading either.
    const reading = this.#read(port).catch(() => undefined);
    this.#reading = reading.then((figures) => {
      if (figures !== undefined) this.#latest = { ...figures, atMs: nowMs };
      this.#reading = undefined;
      return this.#latest;
    });
    return this.#reading;
  }

  /** Resolves when no thread reads any more. */
  async stop(): Promise<void> {
    await this.#reading;
  }
}

/** The thread reads a few megabytes of text. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 2, stackSizeMb: 1 };

function readInThread(port: number): Promise<KernelFigures | undefined> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./kernel-memory-worker.js', import.meta.url), {
      workerData: port,
      resourceLimits: THREAD_LIMITS,
      execArgv: [],
    });
    let figures: KernelFigures | undefined;
    const deadline = setTimeout(() => void worker.terminate(), KERNEL_READING_MS_MAX).unref();
    worker.on('message', (told: KernelFigures) => {
      figures = told;
    });
    // A thread that fails ends without a message.
    worker.on('error', () => {});
    worker.on('exit', () => {
      clearTimeout(deadline);
      resolve(figures);
    });
  });
}
