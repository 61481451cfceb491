/**
 * What the kernel holds for the server's own sockets, read in a thread at most every
 * KERNEL_READING_INTERVAL_MS. The thread lives for the reading only, and may end as it has no
 * sockets of its own (native-notes/worker-exit-aborts.md): kept, it would hold 18 MB. What it
 * leaves with the allocator is 7 MB the first time, and little more after that.
 */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../clock.js';
import { KERNEL_READING_INTERVAL_MS, KERNEL_READING_MS_MAX } from '../../limits.js';
import type { PortTotals } from '../../linux/sockets.js';
import type { CgroupSockets } from '../../linux/cgroup.js';

/** What can be read; undefined what cannot be read on this machine. */
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

/**
 * Reads the figures of a port elsewhere, and resolves when nothing of the reading is left;
 * undefined where it failed.
 */
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

  /** The last reading there was. */
  get latest(): KernelReading | undefined {
    return this.#latest;
  }

  /** True while a thread reads: the process is larger by it. */
  get isReading(): boolean {
    return this.#reading !== undefined;
  }

  /**
   * The last reading, or a new one when that is older than KERNEL_READING_INTERVAL_MS; undefined
   * where nothing could be read yet.
   */
  read(port: number): Promise<KernelReading | undefined> {
    if (this.#reading !== undefined) return this.#reading;
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#triedMs < KERNEL_READING_INTERVAL_MS) return Promise.resolve(this.#latest);
    this.#triedMs = nowMs;
    this.#reading = this.#read(port).then((figures) => {
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

/** Bounds of the thread: it reads a few megabytes of text and is gone. */
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
    // A thread that failed has told nothing, which is what its end says.
    worker.on('error', () => {});
    worker.on('exit', () => {
      clearTimeout(deadline);
      resolve(figures);
    });
  });
}
