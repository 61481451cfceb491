/** What every Node server of the bench does for the runner: report usage, collect garbage, stop. */
import {
  type IntervalHistogram,
  PerformanceObserver,
  monitorEventLoopDelay,
} from 'node:perf_hooks';
import { getHeapStatistics, writeHeapSnapshot } from 'node:v8';
import { readStatusBytes } from '../../src/linux/processes.js';
import { answerRunner, notifyRunner } from '../child.js';
import { nowUs } from '../clock.js';

export interface LoopDelay {
  p50: number;
  p99: number;
  max: number;
}

/** Garbage collections since the loop was watched. */
export interface Collections {
  count: number;
  /** Time in which nothing else ran. */
  ms: number;
}

export interface Usage {
  /** When that was. */
  atUs: number;
  cpuSeconds: number;
  /**
   * VmRSS: what the kernel counts for this process in user space, without the kernel's socket
   * buffers.
   */
  rssBytes: number;
  rssAnonBytes: number;
  heapUsedBytes: number;
  externalBytes: number;
  /**
   * The sampling interval is subtracted: 0 = the loop was never late. Null when it is not watched.
   */
  loopDelayMs: LoopDelay | null;
  /** Null when the loop is not watched. */
  collections: Collections | null;
  /** Open lines and waiting requests. */
  held: number;
  /** The server's own counters. */
  counters: Record<string, number>;
}

/** What a server reports when it listens. */
export interface Listening {
  port: number;
  /** Null: the kernel's own. */
  sendBufferBytes: number | null;
}

/** Asked for rarely, since it loads koffi and walks malloc's lists. */
export interface NativeUsage {
  heapPhysicalBytes: number;
  arrayBufferBytes: number;
  /** Null where malloc has no statistics. */
  mallocInUseBytes: number | null;
  mallocHeldBytes: number | null;
}

const LOOP_RESOLUTION_MS = 1;

export interface Served {
  port: number;
  /** The send buffer it has asked for on every connection; left out: the kernel's own. */
  sendBufferBytes?: number | undefined;
  held: () => number;
  counters: () => Record<string, number>;
  /** Begins an orderly end. */
  drain?: () => void;
  stop: () => Promise<void> | void;
}

export function serveRunner(served: Served): void {
  // Watching takes a timer each millisecond, so it is off by default: the idle subject must not
  // measure it.
  let loop: IntervalHistogram | undefined;
  let collections: Collections | null = null;
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      if (collections === null) return;
      collections.count++;
      collections.ms += duration;
    }
  });
  answerRunner({
    gc: () => {
      if (globalThis.gc === undefined) throw new Error('started without --expose-gc');
      globalThis.gc();
    },
    watchLoop: () => {
      loop ??= monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
      loop.enable();
      loop.reset();
      if (collections === null) observer.observe({ entryTypes: ['gc'] });
      collections = { count: 0, ms: 0 };
    },
    usage: (): Usage => ({
      ...processUsage(),
      loopDelayMs: loop === undefined ? null : loopDelay(loop),
      collections,
      held: served.held(),
      counters: served.counters(),
    }),
    nativeUsage,
    writeHeapSnapshot: (path: string) => {
      writeHeapSnapshot(path);
    },
    drain: () => served.drain?.(),
    stop: async () => {
      await served.stop();
      // The process ends after its answer has left.
      setTimeout(() => process.exit(0), 20);
    },
  });
  notifyRunner('listening', {
    port: served.port,
    sendBufferBytes: served.sendBufferBytes ?? null,
  } satisfies Listening);
}

interface MallocInfo {
  /** Of the system, by moving the break and for further arenas. */
  arena: number;
  /** Of the system, block by block. */
  hblkhd: number;
  /** Given out of the arenas. */
  uordblks: number;
}

async function nativeUsage(): Promise<NativeUsage> {
  const malloc = await mallocInfo();
  return {
    heapPhysicalBytes: getHeapStatistics().total_physical_size,
    arrayBufferBytes: process.memoryUsage().arrayBuffers,
    mallocInUseBytes: malloc === null ? null : malloc.uordblks + malloc.hblkhd,
    mallocHeldBytes: malloc === null ? null : malloc.arena + malloc.hblkhd,
  };
}

let askMalloc: (() => MallocInfo) | undefined;

/** mallinfo2(3), glibc 2.33 and later. */
async function mallocInfo(): Promise<MallocInfo | null> {
  try {
    if (askMalloc === undefined) {
      const { default: koffi } = await import('koffi');
      const fields = [
        'arena',
        'ordblks',
        'smblks',
        'hblks',
        'hblkhd',
        'usmblks',
        'fsmblks',
        'uordblks',
        'fordblks',
        'keepcost',
      ];
      koffi.struct('mallinfo2', Object.fromEntries(fields.map((field) => [field, 'size_t'])));
      askMalloc = koffi.load(null).func('mallinfo2 mallinfo2()') as unknown as () => MallocInfo;
    }
    return askMalloc();
  } catch {
    return null;
  }
}

function loopDelay(loop: IntervalHistogram): LoopDelay {
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION_MS);
  return { p50: ms(loop.percentile(50)), p99: ms(loop.percentile(99)), max: ms(loop.max) };
}

function processUsage(): Omit<Usage, 'loopDelayMs' | 'collections' | 'held' | 'counters'> {
  const cpu = process.cpuUsage();
  const memory = process.memoryUsage();
  return {
    atUs: nowUs(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytes: readStatusBytes('self', 'VmRSS'),
    rssAnonBytes: readStatusBytes('self', 'RssAnon'),
    heapUsedBytes: memory.heapUsed,
    externalBytes: memory.external,
  };
}
