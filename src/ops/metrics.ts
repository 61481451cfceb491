/**
 * `/-/metrics`: counters and gauges in the text format of Prometheus, version 0.0.4.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import { COUNTER_MEANINGS, type CounterName } from '../counters.js';
import type { MemoryReport } from './memory/report.js';
import type { Stats } from './stats.js';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** What one answer is made of. */
export interface Figures {
  readonly stats: Stats;
  readonly memory: MemoryReport;
}

/** A number, undefined where there is none, or a number for each set of labels. */
type Samples =
  | number
  | undefined
  | readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];

interface GaugeRow {
  readonly help: string;
  readonly read: (figures: Figures) => Samples;
}

/** Gauges by name. Units are Prometheus' own: bytes and seconds. */
const GAUGES: Readonly<Record<string, GaugeRow>> = {
  holdline_info: {
    help: '1; the version is its label',
    read: ({ stats }) => [[{ version: stats.version }, 1]],
  },
  holdline_uptime_seconds: {
    help: 'time since the server was created',
    read: ({ stats }) => stats.uptimeMs / 1000,
  },
  holdline_draining: {
    help: '1 while the server drains before it ends',
    read: ({ stats }) => Number(stats.draining),
  },
  holdline_head_id: {
    help: 'id of the newest event that entered a ring',
    read: ({ stats }) => stats.head,
  },
  holdline_floor_id: {
    help: 'positions at or below it may have lost events that nobody remembers',
    read: ({ stats }) => stats.floor,
  },
  holdline_lines: {
    help: 'open lines by transport; waiting polls count',
    read: ({ stats }) =>
      Object.entries(stats.lines.byTransport).map(([transport, count]) => [{ transport }, count]),
  },
  holdline_lines_stalled: {
    help: 'lines that refused bytes and have not drained yet',
    read: ({ stats }) => stats.lines.stalled,
  },
  holdline_lines_cap: {
    help: 'most lines held at once (--max-connections)',
    read: ({ stats }) => stats.lines.cap,
  },
  holdline_sockets: { help: 'open sockets', read: ({ stats }) => stats.sockets.open },
  holdline_sockets_cap: {
    help: 'most sockets accepted at once',
    read: ({ stats }) => stats.sockets.cap,
  },
  holdline_watchers: { help: 'open streams of /-/watch', read: ({ stats }) => stats.watchers },
  holdline_channels: { help: 'channels known by name', read: ({ stats }) => stats.channels.known },
  holdline_rings: { help: 'channels that have a ring', read: ({ stats }) => stats.channels.rings },
  holdline_ring_bytes: {
    help: 'memory of all rings',
    read: ({ stats }) => stats.channels.ringBytes,
  },
  holdline_queue_events: {
    help: 'events that have an id and have not entered their ring yet',
    read: ({ stats }) => stats.queue.events,
  },
  holdline_queue_bytes: { help: 'bytes of those events', read: ({ stats }) => stats.queue.bytes },
  holdline_publishers_waiting: {
    help: 'publishes waiting for room',
    read: ({ stats }) => stats.queue.waitingPublishers,
  },
  holdline_publishers_waiting_bytes: {
    help: 'bytes of those publishes',
    read: ({ stats }) => stats.queue.waitingBytes,
  },
  holdline_loop_delay_seconds: {
    help: 'delay of the event loop since the start; quantile 1 is the maximum',
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
    read: ({ memory }) =>
      Object.entries(memory.classes).map(([name, { bytes }]) => [{ class: name }, bytes]),
  },
  holdline_memory_heap_used_bytes: {
    help: 'objects on the heap of V8, garbage included',
    read: ({ memory }) => memory.classes.v8Heap.usedBytes,
  },
  holdline_memory_rings_held_bytes: {
    help: 'records and frames held in rings',
    read: ({ memory }) => memory.classes.rings.heldBytes,
  },
  holdline_held_bytes: {
    help: 'held for clients by the process: unread answers and messages, and publishes in progress',
    read: ({ memory: { classes } }) =>
      (['answers', 'messages', 'publishes'] as const).map((kind) => [{ kind }, classes.held[kind]]),
  },
  holdline_memory_line_bytes: {
    help: 'native memory of one line, measured in this process or in an earlier measurement',
    read: ({ memory: { classes } }) => [
      [{ source: classes.native.source }, classes.native.bytesPerLine ?? 0],
    ],
  },
  holdline_memory_budget_bytes: {
    help: 'memory above which no line is opened (--memory-budget)',
    read: ({ memory }) => memory.budget?.bytes,
  },
  holdline_memory_budget_used_bytes: {
    help: 'memory of process and sockets that counted against the budget at the last check',
    read: ({ memory }) => memory.budget?.usedBytes,
  },
  holdline_memory_budget_full: {
    help: '1 while lines are refused because of the budget',
    read: ({ memory }) => (memory.budget === null ? undefined : Number(memory.budget.full)),
  },
  holdline_kernel_sockets: {
    help: 'sockets of the kernel on the port of the server',
    read: ({ memory }) => memory.kernel?.port?.sockets,
  },
  holdline_kernel_queue_bytes: {
    help: 'payload in the queues of those sockets: not acknowledged yet, or not read yet',
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
    help: 'memory charged to the cgroup for sockets',
    read: ({ memory }) => memory.kernel?.cgroup?.socketBytes,
  },
  holdline_kernel_reading_age_seconds: {
    help: 'age of the figures of the kernel; a scrape that finds them old starts a new reading',
    read: ({ memory }) => (memory.kernel === null ? undefined : memory.kernel.ageMs / 1000),
  },
};

/** All metrics with these figures. */
export function metricsText(figures: Figures): string {
  const { counters } = figures.stats;
  const texts: string[] = [];
  for (const name of Object.keys(COUNTER_MEANINGS) as CounterName[])
    texts.push(metricText(`holdline_${name}`, 'counter', COUNTER_MEANINGS[name], counters[name]));
  const refusals = Object.entries(counters.refused).map(
    ([code, count]) => [{ code }, count] as const,
  );
  const refusalsHelp = 'requests and messages refused, by error code';
  texts.push(metricText('holdline_refusals_total', 'counter', refusalsHelp, refusals));
  const closes = Object.entries(counters.closed).map(
    ([reason, count]) => [{ reason }, count] as const,
  );
  const closesHelp =
    'lines closed, by reason: the code of the end event, or client, stalled, refused or answered';
  texts.push(metricText('holdline_line_closes_total', 'counter', closesHelp, closes));
  for (const [name, { help, read }] of Object.entries(GAUGES))
    texts.push(metricText(name, 'gauge', help, read(figures)));
  return texts.join('\n');
}

function metricText(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: Samples,
): string {
  const labelled = typeof samples === 'number' ? [[{}, samples] as const] : (samples ?? []);
  const rows = labelled.map(([labels, value]) => `${name}${labelsText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${rows.join('')}`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}
