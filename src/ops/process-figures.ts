/**
 * What Node and the kernel say of the process, for the metrics with the standard names: time,
 * memory, files, delay of the event loop and collections of garbage.
 */
import {
  constants,
  monitorEventLoopDelay,
  PerformanceObserver,
  type IntervalHistogram,
  type PerformanceEntry,
} from 'node:perf_hooks';
import { Histogram } from '../core/histogram.js';
import { GC_SECONDS_BOUNDS } from '../limits.js';
import { readFileLimit } from '../linux/file-limit.js';
import { OpenFiles } from '../linux/open-files.js';

/** Time between two samples of the loop delay, ms; the histogram adds it, so it is subtracted. */
const SAMPLE_MS = 10;

const NS_PER_MS = 1e6;

/** Kinds of collections, by the names that prom-client gave them. */
const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

type GcEntry = PerformanceEntry & { readonly detail: { readonly kind: number } };

/** Delay of the event loop, ms. */
export interface LoopDelay {
  readonly minMs: number;
  readonly maxMs: number;
  readonly meanMs: number;
  readonly stddevMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
}

/** At one moment. */
export interface ProcessReport {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapTotalBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  /** Undefined where the kernel does not say. */
  readonly openFiles: number | undefined;
  readonly filesMax: number | undefined;
  /** Seconds since 1970. */
  readonly startSeconds: number;
  /** Since the scrape before. */
  readonly loop: LoopDelay;
  /** Seconds of collections by kind, since the start. */
  readonly gc: ReadonlyMap<string, Histogram>;
}

export class ProcessFigures {
  readonly #gc = new Map(
    Object.values(GC_KINDS).map((kind) => [kind, new Histogram(GC_SECONDS_BOUNDS)]),
  );
  readonly #observer = new PerformanceObserver((list) => {
    for (const { detail, duration } of list.getEntries() as GcEntry[])
      this.#gc.get(GC_KINDS[detail.kind] ?? '')?.observe(duration / 1000);
  });
  readonly #sinceStart = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  readonly #sinceScrape = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  readonly #filesMax = readFileLimit();
  #files: OpenFiles | undefined;

  /** Begins to measure. `openSockets` counts the sockets of clients. */
  start(openSockets: () => number): void {
    this.#files = new OpenFiles(openSockets);
    this.#sinceStart.enable();
    this.#sinceScrape.enable();
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  stop(): void {
    this.#sinceStart.disable();
    this.#sinceScrape.disable();
    this.#observer.disconnect();
  }

  /** Delay of the event loop since the start. */
  get loopDelay(): LoopDelay {
    return delayOf(this.#sinceStart);
  }

  /** The report of a scrape: the next one has the delays from here on. */
  scrape(): ProcessReport {
    const loop = delayOf(this.#sinceScrape);
    this.#sinceScrape.reset();
    const { user, system } = process.cpuUsage();
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    return {
      cpuSeconds: (user + system) / 1e6,
      residentBytes: rss,
      heapTotalBytes: heapTotal,
      heapUsedBytes: heapUsed,
      externalBytes: external,
      openFiles: this.#files?.count,
      filesMax: this.#filesMax,
      startSeconds: performance.timeOrigin / 1000,
      loop,
      gc: this.#gc,
    };
  }
}

function delayOf(histogram: IntervalHistogram): LoopDelay {
  const isEmpty = histogram.count === 0;
  const ms = (ns: number): number => (isEmpty ? 0 : Math.max(0, ns / NS_PER_MS - SAMPLE_MS));
  return {
    minMs: ms(histogram.min),
    maxMs: ms(histogram.max),
    meanMs: ms(histogram.mean),
    stddevMs: isEmpty ? 0 : histogram.stddev / NS_PER_MS,
    p50Ms: ms(histogram.percentile(50)),
    p90Ms: ms(histogram.percentile(90)),
    p99Ms: ms(histogram.percentile(99)),
  };
}
