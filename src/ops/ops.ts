/** `/-/stats`: the figures of a running server. */
import type { Counters } from '../counters.js';
import type { EventLog, LogTimes } from '../core/event-log.js';
import type { HubFigures } from '../core/hub-figures.js';
import type { SocketReport } from '../native/socket-report.js';
import type { Listener } from '../native/uws.js';
import { VERSION } from '../version.js';
import type { Memory } from './memory/memory.js';
import { ProcessFigures } from './process-figures.js';
import type { Stats } from './stats.js';

/** What is shown of a log. */
export interface ShownLog extends Pick<EventLog, 'state' | 'figures' | 'times'> {
  readonly kind: Stats['log']['kind'];
}

export class Ops {
  readonly process = new ProcessFigures();
  readonly #hub: Pick<HubFigures, 'gauges'>;
  readonly #counters: Counters;
  readonly #memory: Pick<Memory, 'budget'>;
  readonly #log: ShownLog;
  readonly #caps: { readonly lines: number; readonly sockets: number };
  readonly #startedMs = performance.now();
  #build: string | null = null;
  #socketReport: SocketReport = { options: {}, problems: [] };

  constructor(
    hub: Pick<HubFigures, 'gauges'>,
    counters: Counters,
    memory: Pick<Memory, 'budget'>,
    log: ShownLog,
    caps: { readonly lines: number; readonly sockets: number },
  ) {
    this.#hub = hub;
    this.#counters = counters;
    this.#memory = memory;
    this.#log = log;
    this.#caps = caps;
  }

  start({ build, socketReport }: Pick<Listener, 'build' | 'socketReport'>): void {
    this.#build = build;
    this.#socketReport = socketReport;
    this.process.start(() => this.#openSockets);
  }

  stop(): void {
    this.process.stop();
  }

  stats(draining: boolean): Stats {
    const gauges = this.#hub.gauges;
    const memory = process.memoryUsage();
    const { budget } = this.#memory;
    const counters = this.#counters;
    const loop = this.process.loopDelay;
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
        reading: gauges.linesReading,
        cap: this.#caps.lines,
        byTransport: gauges.linesByTransport,
      },
      sockets: {
        open: this.#openSockets,
        cap: this.#caps.sockets,
        ...this.#socketReport,
      },
      watchers: gauges.watchers,
      log: this.#logStats,
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
      loopDelay: { p50Ms: loop.p50Ms, p99Ms: loop.p99Ms, maxMs: loop.maxMs },
      counters: structuredClone(counters),
    };
  }

  get #logStats(): Stats['log'] {
    const { kind, state, figures } = this.#log;
    return {
      kind,
      up: state.isUp,
      problem: state.isUp ? null : state.problem,
      events: figures?.events ?? null,
      bytes: figures?.bytes ?? null,
    };
  }

  /** How long the log took; undefined where that is not measured. */
  get logTimes(): LogTimes | undefined {
    return this.#log.times;
  }

  get #openSockets(): number {
    return this.#counters.sockets_opened_total - this.#counters.sockets_closed_total;
  }
}
