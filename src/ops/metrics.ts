/**
 * Metrics in Prometheus' text format, through prom-client. What is counted stays in plain numbers
 * (counters.ts), and is copied when it is asked for.
 */
import { createRequire } from 'node:module';
import type { Counter, Gauge, Registry } from 'prom-client';
import { COUNTER_MEANINGS, type CounterName } from '../counters.js';
import type { MemoryReport } from './memory/report.js';
import type { Stats } from './ops.js';

/** What one answer is made of. */
export interface Figures {
  readonly stats: Stats;
  readonly memory: MemoryReport;
}

/** Value of each label. */
type Labels = Readonly<Record<string, string>>;

/** One gauge: a number, undefined where there is none, or a number for each set of labels. */
interface GaugeRow {
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: (figures: Figures) => number | undefined | readonly (readonly [Labels, number])[];
}

/** Gauges by name. Units are Prometheus' own: bytes and seconds. */
const GAUGES: Readonly<Record<string, GaugeRow>> = {
  holdline_info: {
    help: '1, with the version as a label',
    labels: ['version'],
    read: ({ stats }) => [[{ version: stats.version }, 1]],
  },
  holdline_uptime_seconds: {
    help: 'since the server was made',
    read: ({ stats }) => stats.uptimeMs / 1000,
  },
  holdline_draining: {
    help: '1 while the server ends in order',
    read: ({ stats }) => Number(stats.draining),
  },
  holdline_head_id: {
    help: 'id of the newest event that entered a ring',
    read: ({ stats }) => stats.head,
  },
  holdline_floor_id: {
    help: 'positions at or below it may have lost something that is not known any more',
    read: ({ stats }) => stats.floor,
  },
  holdline_lines: {
    help: 'lines open, by the way they were asked for; polls that wait among them',
    labels: ['transport'],
    read: ({ stats }) =>
      Object.entries(stats.lines.byTransport).map(([transport, count]) => [{ transport }, count]),
  },
  holdline_lines_stalled: {
    help: 'lines that refused bytes and have not drained',
    read: ({ stats }) => stats.lines.stalled,
  },
  holdline_lines_cap: {
    help: 'most lines that are held (--max-connections)',
    read: ({ stats }) => stats.lines.cap,
  },
  holdline_sockets: { help: 'sockets open', read: ({ stats }) => stats.sockets.open },
  holdline_sockets_cap: {
    help: 'most sockets that are accepted',
    read: ({ stats }) => stats.sockets.cap,
  },
  holdline_channels: { help: 'channels known by name', read: ({ stats }) => stats.channels.known },
  holdline_rings: { help: 'channels that hold a ring', read: ({ stats }) => stats.channels.rings },
  holdline_ring_bytes: {
    help: 'memory of all rings (--replay-total)',
    read: ({ stats }) => stats.channels.ringBytes,
  },
  holdline_queue_events: {
    help: 'events that have an id and have not entered their ring',
    read: ({ stats }) => stats.queue.events,
  },
  holdline_queue_bytes: { help: 'bytes of those events', read: ({ stats }) => stats.queue.bytes },
  holdline_publishers_waiting: {
    help: 'publishes that wait for room',
    read: ({ stats }) => stats.queue.waitingPublishers,
  },
  holdline_publishers_waiting_bytes: {
    help: 'bytes of those publishes',
    read: ({ stats }) => stats.queue.waitingBytes,
  },
  holdline_loop_delay_seconds: {
    help: 'delay of the event loop since the start; quantile 1 is the longest',
    labels: ['quantile'],
    read: ({ stats: { loopDelay } }) => [
      [{ quantile: '0.5' }, loopDelay.p50Ms / 1000],
      [{ quantile: '0.99' }, loopDelay.p99Ms / 1000],
      [{ quantile: '1' }, loopDelay.maxMs / 1000],
    ],
  },
  holdline_memory_rss_bytes: {
    help: 'resident memory of the process',
    read: ({ memory }) => memory.rssBytes,
  },
  holdline_memory_bytes: {
    help: 'memory of the process by class; the classes add up to holdline_memory_rss_bytes',
    labels: ['class'],
    read: ({ memory }) =>
      Object.entries(memory.classes).map(([name, { bytes }]) => [{ class: name }, bytes]),
  },
  holdline_memory_heap_used_bytes: {
    help: 'bytes of objects on the heap of V8, garbage among them',
    read: ({ memory }) => memory.classes.v8Heap.usedBytes,
  },
  holdline_memory_rings_held_bytes: {
    help: 'bytes of records and frames held in rings',
    read: ({ memory }) => memory.classes.rings.heldBytes,
  },
  holdline_held_bytes: {
    help: 'bytes held for clients in user space: answers and messages that they have not taken, publishes under way',
    labels: ['kind'],
    read: ({ memory: { classes } }) =>
      (['answers', 'messages', 'publishes'] as const).map((kind) => [{ kind }, classes.held[kind]]),
  },
  holdline_memory_line_bytes: {
    help: 'native memory that one more line takes: measured in this process, or kept from an earlier measurement',
    labels: ['source'],
    read: ({ memory: { classes } }) => [
      [{ source: classes.native.source }, classes.native.bytesPerLine ?? 0],
    ],
  },
  holdline_memory_budget_bytes: {
    help: 'memory past which no line is opened (--memory-budget)',
    read: ({ memory }) => memory.budget?.bytes,
  },
  holdline_memory_budget_used_bytes: {
    help: 'memory of process and sockets that counted against the budget when it was last looked at',
    read: ({ memory }) => memory.budget?.usedBytes,
  },
  holdline_memory_budget_full: {
    help: '1 while no line is opened for the budget',
    read: ({ memory }) => (memory.budget === null ? undefined : Number(memory.budget.full)),
  },
  holdline_kernel_sockets: {
    help: 'sockets on the port of the server that the kernel has',
    read: ({ memory }) => memory.kernel?.port?.sockets,
  },
  holdline_kernel_queue_bytes: {
    help: 'payload in the queues of those sockets: sent and not acknowledged, or received and not read',
    labels: ['direction'],
    read: ({ memory: { kernel } }) => {
      const port = kernel?.port ?? undefined;
      if (port === undefined) return undefined;
      return [
        [{ direction: 'send' }, port.sendQueueBytes],
        [{ direction: 'receive' }, port.receiveQueueBytes],
      ];
    },
  },
  holdline_kernel_tcp_bytes: {
    help: 'buffers of all TCP sockets of the machine, or of the container’s network',
    read: ({ memory }) => memory.kernel?.tcpBytes ?? undefined,
  },
  holdline_kernel_cgroup_socket_bytes: {
    help: 'what the cgroup is charged for sockets',
    read: ({ memory }) => memory.kernel?.cgroup?.socketBytes,
  },
  holdline_kernel_reading_age_seconds: {
    help: 'since the figures of the kernel were read; a new reading begins when they are asked for and old',
    read: ({ memory }) => (memory.kernel === null ? undefined : memory.kernel.ageMs / 1000),
  },
};

/**
 * Three files of prom-client by themselves, when they are first needed: the package as a whole
 * loads the modules for clusters and push gateways, which are 9 MB and a stop of 25 ms and more;
 * these are 1 MB and 4 ms.
 */
function loadPromClient(): Pick<typeof import('prom-client'), 'Counter' | 'Gauge' | 'Registry'> {
  const load = createRequire(import.meta.url);
  return {
    Counter: load('prom-client/lib/counter.js') as typeof Counter,
    Gauge: load('prom-client/lib/gauge.js') as typeof Gauge,
    Registry: load('prom-client/lib/registry.js') as typeof Registry,
  };
}

export class Metrics {
  #registry: Registry | undefined;
  /** What the answer that is being made is of. */
  #figures!: Figures;

  /** The text of these figures, and its media type. */
  async answer(figures: Figures): Promise<{ readonly contentType: string; readonly body: string }> {
    this.#registry ??= this.#register();
    this.#figures = figures;
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #register(): Registry {
    const { Counter: CounterOf, Gauge: GaugeOf, Registry: RegistryOf } = loadPromClient();
    const figures = (): Figures => this.#figures;
    const registry = new RegistryOf();
    const registers: Registry[] = [];
    for (const name of Object.keys(COUNTER_MEANINGS) as CounterName[]) {
      const collect = function (this: Counter): void {
        this.reset();
        this.inc(figures().stats.counters[name]);
      };
      registry.registerMetric(
        new CounterOf({
          name: `holdline_${name}`,
          help: COUNTER_MEANINGS[name],
          registers,
          collect,
        }),
      );
    }
    const collectRefusals = function (this: Counter): void {
      this.reset();
      for (const [code, count] of Object.entries(figures().stats.counters.refused))
        this.inc({ code }, count);
    };
    const help = 'requests and messages that were refused, by code';
    registry.registerMetric(
      new CounterOf({
        name: 'holdline_refusals_total',
        help,
        labelNames: ['code'],
        registers,
        collect: collectRefusals,
      }),
    );
    for (const [name, row] of Object.entries(GAUGES)) {
      const collect = function (this: Gauge): void {
        setGauge(this, row.read(figures()));
      };
      registry.registerMetric(
        new GaugeOf({
          name,
          help: row.help,
          labelNames: [...(row.labels ?? [])],
          registers,
          collect,
        }),
      );
    }
    return registry;
  }
}

function setGauge(gauge: Gauge, value: ReturnType<GaugeRow['read']>): void {
  gauge.reset();
  if (value === undefined) gauge.remove({});
  else if (typeof value === 'number') gauge.set(value);
  else for (const [labels, one] of value) gauge.set(labels, one);
}
