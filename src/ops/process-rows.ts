/**
 * The metrics of the process, under the names that the client libraries of Prometheus share and
 * those of prom-client for Node, so that dashboards made for them show this process, too.
 * https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
 */
import type { MetricRow } from './metric-row.js';
import type { LoopDelay, ProcessReport } from './process-figures.js';

function gauge(help: string, read: (report: ProcessReport) => number | undefined): MetricRow {
  return { type: 'gauge', help, read: ({ process }) => read(process) };
}

function loopDelay(what: string, member: keyof LoopDelay): MetricRow {
  const help = `delay of the event loop since the scrape before: ${what}`;
  return gauge(help, ({ loop }) => loop[member] / 1000);
}

/** Rows by name. */
export const PROCESS_METRICS: Readonly<Record<string, MetricRow>> = {
  process_cpu_seconds_total: {
    type: 'counter',
    help: 'processor time of all threads, user and system',
    read: ({ process }) => process.cpuSeconds,
  },
  process_resident_memory_bytes: gauge('resident memory', (report) => report.residentBytes),
  process_open_fds: gauge('open files, sockets among them', (report) => report.openFiles),
  process_max_fds: gauge('most files that may be open', (report) => report.filesMax),
  process_start_time_seconds: gauge(
    'start of the process, seconds since 1970',
    (report) => report.startSeconds,
  ),
  nodejs_heap_size_total_bytes: gauge('heap of V8', (report) => report.heapTotalBytes),
  nodejs_heap_size_used_bytes: gauge(
    'objects on the heap of V8, garbage included',
    (report) => report.heapUsedBytes,
  ),
  nodejs_external_memory_bytes: gauge(
    'memory outside of the heap that V8 knows of',
    (report) => report.externalBytes,
  ),
  nodejs_eventloop_lag_min_seconds: loopDelay('the least', 'minMs'),
  nodejs_eventloop_lag_max_seconds: loopDelay('the most', 'maxMs'),
  nodejs_eventloop_lag_mean_seconds: loopDelay('its mean', 'meanMs'),
  nodejs_eventloop_lag_stddev_seconds: loopDelay('its standard deviation', 'stddevMs'),
  nodejs_eventloop_lag_p50_seconds: loopDelay('its median', 'p50Ms'),
  nodejs_eventloop_lag_p90_seconds: loopDelay('its 90th percentile', 'p90Ms'),
  nodejs_eventloop_lag_p99_seconds: loopDelay('its 99th percentile', 'p99Ms'),
  nodejs_gc_duration_seconds: {
    type: 'histogram',
    help: 'time of collections of garbage, by kind: major, minor, incremental or weakcb',
    labels: ['kind'],
    read: ({ process }) => [...process.gc].map(([kind, histogram]) => [{ kind }, histogram]),
  },
};
