/** What every Node server of the bench does for the runner: report usage, collect garbage, stop. */
import {
  type IntervalHistogram,
  PerformanceObserver,
  monitorEventLoopDelay,
} from 'node:perf_hooks';
import { getHeapStatistics, writeHeapSnapshot } from 'node:v8';
import { readStatusBytes } from '../../src/linux/processes.js';
import { loadAllocator } from '../../src/native/allocator.js';
import { answerRunner, notifyRunner } from '../child.js';
import { nowUs } from '../clock.js';
import { type PublishInside, type Series, publishSeries } from '../inside-publisher.js';

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
  /** Publishes from within, where it can. */
  publish?: PublishInside;
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
    gc: async () => {
      if (globalThis.gc === undefined) throw new Error('started without --expose-gc');
      globalThis.gc();
      // What a compiler's thread leaves with the allocator comes and goes by 8 MB otherwise.
      (await loadAllocator())?.trim();
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
    publish: (series: Series) => {
      if (served.publish === undefined) throw new Error('this server publishes over HTTP only');
      return publishSeries(series, served.publish);
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

async function nativeUsage(): Promise<NativeUsage> {
  const malloc = (await loadAllocator())?.usage();
  return {
    heapPhysicalBytes: getHeapStatistics().total_physical_size,
    arrayBufferBytes: process.memoryUsage().arrayBuffers,
    mallocInUseBytes: malloc?.usedBytes ?? null,
    mallocHeldBytes: malloc?.heldBytes ?? null,
  };
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
