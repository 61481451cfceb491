/** The metrics of the server, one row each: name, type, labels, meaning, and where it is read. */
import { Histogram } from '../core/histogram.js';
import { CLOSE_REASONS, REFUSALS } from '../errors.js';
import { COUNTER_MEANINGS, type CounterName } from '../counters.js';
import { LOG_SECONDS_BOUNDS } from '../limits.js';
import type { ChannelCompression } from '../core/channel-compression.js';
import type { Figures, MetricRow, Samples } from './metric-row.js';

/** Counters of the table in counters.ts, under the same meaning. */
const COUNTERS: Readonly<Record<string, MetricRow>> = Object.fromEntries(
  (Object.keys(COUNTER_MEANINGS) as CounterName[]).map((name) => [
    `holdline_${name}`,
    { type: 'counter', help: COUNTER_MEANINGS[name], read: ({ stats }) => stats.counters[name] },
  ]),
);

/** With all of its buckets, so that a rate sees the first that is counted. */
const NOT_TIMED = new Histogram(LOG_SECONDS_BOUNDS);

/** A sample for each of the busiest channels that has, or had, compressed lines. */
function compressionOfEach(read: (compression: ChannelCompression) => number) {
  return ({ channels }: Figures): Samples<number> =>
    channels.flatMap(({ name, compression }) =>
      compression === null ? [] : [[{ channel: name }, read(compression)] as const],
    );
}

/** Rows by name. Units are Prometheus' own: bytes and seconds. */
export const SERVER_METRICS: Readonly<Record<string, MetricRow>> = {
  ...COUNTERS,
  holdline_refusals_total: {
    type: 'counter',
    help: 'requests and messages refused, by error code',
    labels: ['code'],
    // With those that have not come yet: a rate over a series begins at its second value.
    read: ({ stats: { counters } }) =>
      Object.keys(REFUSALS).map((code) => [{ code }, counters.refused[code] ?? 0]),
  },
  holdline_line_closes_total: {
    type: 'counter',
    help: 'lines closed, by reason: the code of the end event, or client, stalled, refused or answered',
    labels: ['reason'],
    read: ({ stats: { counters } }) =>
      CLOSE_REASONS.map((reason) => [{ reason }, counters.closed[reason]]),
  },
  holdline_delivery_seconds: {
    type: 'histogram',
    help: 'time from the acceptance of an event until every healthy line of its channel has been given it; one event a channel is timed at once',
    read: ({ deliveryTimes }) => deliveryTimes,
  },
  holdline_line_lag_events: {
    type: 'histogram',
    help: 'lines open at the scrape, by the events held that they are owed; a state, so without rate()',
    read: ({ lineLag }) => lineLag,
  },
  holdline_channel_lines: {
    type: 'gauge',
    help: 'open lines on each of the 20 channels with most of them; waiting polls count',
    labels: ['channel'],
    read: ({ channels }) => channels.map(({ name, lines }) => [{ channel: name }, lines]),
  },
  holdline_channel_held_events: {
    type: 'gauge',
    help: 'events in the ring and in the queue of each of those channels',
    labels: ['channel'],
    read: ({ channels }) =>
      channels.map(({ name, heldEvents, queuedEvents }) => [
        { channel: name },
        heldEvents + queuedEvents,
      ]),
  },
  holdline_channel_events_total: {
    type: 'counter',
    help: 'events that entered each of those channels; starts again when the server has forgotten it',
    labels: ['channel'],
    read: ({ channels }) => channels.map(({ name, events }) => [{ channel: name }, events]),
  },
  holdline_channel_compress_plain_bytes_total: {
    type: 'counter',
    help: 'bytes of events given to the compressed lines of each of those channels, before gzip; starts again when the server has forgotten it',
    labels: ['channel'],
    read: compressionOfEach(({ plainBytes }) => plainBytes),
  },
  holdline_channel_compress_bytes_total: {
    type: 'counter',
    help: 'the same within gzip, as it was written',
    labels: ['channel'],
    read: compressionOfEach(({ bytes }) => bytes),
  },
  holdline_info: {
    type: 'gauge',
    help: '1; its labels are the versions of server and Node, and the build of uWebSockets.js',
    labels: ['version', 'build', 'node'],
    read: ({ stats }) => [
      [{ version: stats.version, build: stats.build ?? '', node: process.versions.node }, 1],
    ],
  },
  holdline_uptime_seconds: {
    type: 'gauge',
    help: 'time since the server was created',
    read: ({ stats }) => stats.uptimeMs / 1000,
  },
  holdline_draining: {
    type: 'gauge',
    help: '1 while the server drains before it ends',
    read: ({ stats }) => Number(stats.draining),
  },
  holdline_head_id: {
    type: 'gauge',
    help: 'id of the newest event that entered a ring',
    read: ({ stats }) => stats.head,
  },
  holdline_floor_id: {
    type: 'gauge',
    help: 'positions at or below it may have lost events that nobody remembers',
    read: ({ stats }) => stats.floor,
  },
  holdline_lines: {
    type: 'gauge',
    help: 'open lines by transport; waiting polls count',
    labels: ['transport'],
    read: ({ stats }) =>
      Object.entries(stats.lines.byTransport).map(([transport, count]) => [{ transport }, count]),
  },
  holdline_lines_stalled: {
    type: 'gauge',
    help: 'lines that refused bytes and have not drained yet',
    read: ({ stats }) => stats.lines.stalled,
  },
  holdline_lines_reading: {
    type: 'gauge',
    help: 'lines behind their rings that are given what the log keeps',
    read: ({ stats }) => stats.lines.reading,
  },
  holdline_lines_compressed: {
    type: 'gauge',
    help: 'lines that are given gzip blocks (--compress)',
    read: ({ compressedLines }) => compressedLines.lines,
  },
  holdline_lines_in_step: {
    type: 'gauge',
    help: 'those of them that can be given the smallest block at their position, which most lines share',
    read: ({ compressedLines }) => compressedLines.inStep,
  },
  holdline_lines_cap: {
    type: 'gauge',
    help: 'most lines held at once (--max-connections)',
    read: ({ stats }) => stats.lines.cap,
  },
  holdline_sockets: {
    type: 'gauge',
    help: 'open sockets',
    read: ({ stats }) => stats.sockets.open,
  },
  holdline_sockets_cap: {
    type: 'gauge',
    help: 'most sockets accepted at once',
    read: ({ stats }) => stats.sockets.cap,
  },
  holdline_watchers: {
    type: 'gauge',
    help: 'open streams of /-/watch',
    read: ({ stats }) => stats.watchers,
  },
  holdline_log_up: {
    type: 'gauge',
    help: '1 while the log takes events; 0: publishes are refused with 503, and lines are held',
    read: ({ stats }) => Number(stats.log.up),
  },
  holdline_log_events: {
    type: 'gauge',
    help: 'events that the log keeps (--log); none where it is in memory',
    read: ({ stats }) => stats.log.events ?? undefined,
  },
  holdline_log_bytes: {
    type: 'gauge',
    help: 'bytes that they take on the disk or in the stream',
    read: ({ stats }) => stats.log.bytes ?? undefined,
  },
  holdline_log_commit_seconds: {
    type: 'histogram',
    help: 'time from handing a publish to the log until it is committed; none where the log is in memory',
    read: ({ logTimes }) => logTimes?.commit ?? NOT_TIMED,
  },
  holdline_log_read_seconds: {
    type: 'histogram',
    help: 'time of each read of the log, for rings and for lines whose position is older than the rings',
    read: ({ logTimes }) => logTimes?.read ?? NOT_TIMED,
  },
  holdline_channels: {
    type: 'gauge',
    help: 'channels known by name',
    read: ({ stats }) => stats.channels.known,
  },
  holdline_rings: {
    type: 'gauge',
    help: 'channels that have a ring',
    read: ({ stats }) => stats.channels.rings,
  },
  holdline_ring_bytes: {
    type: 'gauge',
    help: 'memory of all rings',
    read: ({ stats }) => stats.channels.ringBytes,
  },
  holdline_queue_events: {
    type: 'gauge',
    help: 'events that have an id and have not entered their ring yet',
    read: ({ stats }) => stats.queue.events,
  },
  holdline_queue_bytes: {
    type: 'gauge',
    help: 'bytes of those events',
    read: ({ stats }) => stats.queue.bytes,
  },
  holdline_publishers_waiting: {
    type: 'gauge',
    help: 'publishes waiting for room',
    read: ({ stats }) => stats.queue.waitingPublishers,
  },
  holdline_publishers_waiting_bytes: {
    type: 'gauge',
    help: 'bytes of those publishes',
    read: ({ stats }) => stats.queue.waitingBytes,
  },
  holdline_memory_rss_bytes: {
    type: 'gauge',
    help: 'resident memory of the process',
    read: ({ memory }) => memory.rssBytes,
  },
  holdline_memory_bytes: {
    type: 'gauge',
    help: 'memory of the process by class; the classes add up to holdline_memory_rss_bytes',
    labels: ['class'],
    read: ({ memory }) =>
      Object.entries(memory.classes).map(([name, { bytes }]) => [{ class: name }, bytes]),
  },
  holdline_memory_heap_used_bytes: {
    type: 'gauge',
    help: 'objects on the heap of V8, garbage included',
    read: ({ memory }) => memory.classes.v8Heap.usedBytes,
  },
  holdline_memory_rings_held_bytes: {
    type: 'gauge',
    help: 'records and frames held in rings',
    read: ({ memory }) => memory.classes.rings.heldBytes,
  },
  holdline_held_bytes: {
    type: 'gauge',
    help: 'held for clients by the process: unread answers and messages, and publishes in progress',
    labels: ['kind'],
    read: ({ memory: { classes } }) =>
      (['answers', 'messages', 'publishes'] as const).map((kind) => [{ kind }, classes.held[kind]]),
  },
  holdline_memory_line_bytes: {
    type: 'gauge',
    help: 'native memory of one line, measured in this process or in an earlier measurement',
    labels: ['source'],
    read: ({ memory: { classes } }) => [
      [{ source: classes.native.source }, classes.native.bytesPerLine ?? 0],
    ],
  },
  holdline_memory_budget_bytes: {
    type: 'gauge',
    help: 'memory above which no line is opened (--memory-budget)',
    read: ({ memory }) => memory.budget?.bytes,
  },
  holdline_memory_budget_used_bytes: {
    type: 'gauge',
    help: 'memory of process and sockets that counted against the budget at the last check',
    read: ({ memory }) => memory.budget?.usedBytes,
  },
  holdline_memory_budget_full: {
    type: 'gauge',
    help: '1 while lines are refused because of the budget',
    read: ({ memory }) => (memory.budget === null ? undefined : Number(memory.budget.full)),
  },
  holdline_kernel_sockets: {
    type: 'gauge',
    help: 'sockets of the kernel on the port of the server',
    read: ({ memory }) => memory.kernel?.port?.sockets,
  },
  holdline_kernel_queue_bytes: {
    type: 'gauge',
    help: 'payload in the queues of those sockets: not acknowledged yet, or not read yet',
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
    type: 'gauge',
    help: 'buffers of all TCP sockets of the machine, or of the container’s network',
    read: ({ memory }) => memory.kernel?.tcpBytes ?? undefined,
  },
  holdline_kernel_cgroup_socket_bytes: {
    type: 'gauge',
    help: 'memory charged to the cgroup for sockets',
    read: ({ memory }) => memory.kernel?.cgroup?.socketBytes,
  },
  holdline_kernel_reading_age_seconds: {
    type: 'gauge',
    help: 'age of the figures of the kernel; a scrape that finds them old starts a new reading',
    read: ({ memory }) => (memory.kernel === null ? undefined : memory.kernel.ageMs / 1000),
  },
};
