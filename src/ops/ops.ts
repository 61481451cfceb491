/** `/-/stats`: the figures of a running server. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { Counters } from '../counters.js';
import type { Transport } from '../core/ports.js';
import type { Hub } from '../core/hub.js';
import type { SocketReport } from '../native/socket-options.js';
import type { Listener } from '../native/uws.js';
import { VERSION } from '../version.js';
import type { Memory } from './memory/memory.js';

/** Time between two samples of the loop delay, ms; the histogram adds it, so it is subtracted. */
const SAMPLE_MS = 10;

const NS_PER_MS = 1e6;

/** What `/-/stats` answers. */
export interface Stats {
  readonly version: string;
  /** The loaded build of uWebSockets.js, as npm names it; null before the server listens. */
  readonly build: string | null;
  readonly uptimeMs: number;
  readonly draining: boolean;
  /** Id of the newest event that entered a ring. */
  readonly head: number;
  /** Positions at or below it may have lost events that nobody remembers. */
  readonly floor: number;
  /** Held connections, waiting polls included. */
  readonly lines: {
    readonly open: number;
    readonly stalled: number;
    readonly cap: number;
    readonly byTransport: Readonly<Record<Transport, number>>;
  };
  /** Open sockets, and the socket options that the kernel accepted. */
  readonly sockets: { readonly open: number; readonly cap: number } & SocketReport;
  readonly channels: { readonly known: number; readonly rings: number; readonly ringBytes: number };
  readonly queue: {
    readonly events: number;
    readonly bytes: number;
    readonly waitingPublishers: number;
    readonly waitingBytes: number;
  };
  readonly memory: {
    readonly rssBytes: number;
    readonly heapUsedBytes: number;
    readonly externalBytes: number;
    /** `--memory-budget`, and what counted against it at the last check; null without one. */
    readonly budgetBytes: number | null;
    readonly budgetUsedBytes: number | null;
  };
  /** Since the start. */
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly counters: Readonly<Counters>;
}

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
