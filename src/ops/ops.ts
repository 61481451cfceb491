/** `/-/stats`: the figures of a running server. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { Counters } from '../counters.js';
import type { Hub } from '../core/hub.js';
import type { SocketReport } from '../native/socket-report.js';
import type { Listener } from '../native/uws.js';
import { VERSION } from '../version.js';
import type { Memory } from './memory/memory.js';
import type { Stats } from './stats.js';

/** Time between two samples of the loop delay, ms; the histogram adds it, so it is subtracted. */
const SAMPLE_MS = 10;

const NS_PER_MS = 1e6;

export class Ops {
  readonly #hub: Pick<Hub<unknown>, 'gauges'>;
  readonly #counters: Counters;
  readonly #memory: Pick<Memory, 'budget'>;
  readonly #caps: { readonly lines: number; readonly sockets: number };
  readonly #startedMs = performance.now();
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  #build: string | null = null;
  #socketReport: SocketReport = { options: {}, problems: [] };

  constructor(
    hub: Pick<Hub<unknown>, 'gauges'>,
    counters: Counters,
    memory: Pick<Memory, 'budget'>,
    caps: { readonly lines: number; readonly sockets: number },
  ) {
    this.#hub = hub;
    this.#counters = counters;
    this.#memory = memory;
    this.#caps = caps;
  }

  start({ build, socketReport }: Pick<Listener, 'build' | 'socketReport'>): void {
    this.#build = build;
    this.#socketReport = socketReport;
    this.#loopDelay.enable();
  }

  stop(): void {
    this.#loopDelay.disable();
  }

  stats(draining: boolean): Stats {
    const gauges = this.#hub.gauges;
    const memory = process.memoryUsage();
    const { budget } = this.#memory;
    const counters = this.#counters;
    return {
      version: VERSION,
      build: this.#build,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      draining,
      head: gauges.head,
      floor: gauges.floor,
      lines: {
        open: gauges.linesOpen,
        stalled: gauges.linesStalled,
        cap: this.#caps.lines,
        byTransport: gauges.linesByTransport,
      },
      sockets: {
        open: counters.sockets_opened_total - counters.sockets_closed_total,
        cap: this.#caps.sockets,
        ...this.#socketReport,
      },
      watchers: gauges.watchers,
      channels: { known: gauges.channels, rings: gauges.rings, ringBytes: gauges.ringBytes },
      queue: {
        events: gauges.queueEvents,
        bytes: gauges.queueBytes,
        waitingPublishers: gauges.waitingPublishers,
        waitingBytes: gauges.waitingBytes,
      },
      memory: {
        rssBytes: memory.rss,
        heapUsedBytes: memory.heapUsed,
        externalBytes: memory.external,
        budgetBytes: budget?.bytes ?? null,
        budgetUsedBytes: budget?.usedBytes ?? null,
      },
      loopDelay: { p50Ms: this.#delay(50), p99Ms: this.#delay(99), maxMs: this.#delay(100) },
      counters: structuredClone(counters),
    };
  }

  #delay(percentile: number): number {
    return Math.max(0, this.#loopDelay.percentile(percentile) / NS_PER_MS - SAMPLE_MS);
  }
}
