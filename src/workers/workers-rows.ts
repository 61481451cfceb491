/** Metrics that a server has with `--workers` alone: of its workers, and of their supervisor. */
import type { MetricRow } from '../ops/metric-row.js';
import { familyText } from '../ops/metrics.js';
import type { WorkersReport } from './talk.js';

type Row = Pick<MetricRow, 'help' | 'type'> & {
  /** `answered`: workers whose figures are in this scrape. */
  readonly read: (report: WorkersReport, answered: number) => number;
};

/** Rows by name. */
export const WORKERS_METRICS: Readonly<Record<string, Row>> = {
  holdline_workers: {
    type: 'gauge',
    help: 'processes that serve the port together (--workers)',
    read: ({ workers }) => workers,
  },
  holdline_workers_serving: {
    type: 'gauge',
    help: 'those of them that serve now',
    read: ({ serving }) => serving,
  },
  holdline_workers_answered: {
    type: 'gauge',
    help: 'those whose figures are in this scrape',
    read: (_report, answered) => answered,
  },
  holdline_worker_restarts_total: {
    type: 'counter',
    help: 'workers that were started in the place of one that died',
    read: ({ restarts }) => restarts,
  },
  holdline_supervisor_resident_memory_bytes: {
    type: 'gauge',
    help: 'resident memory of the process that keeps the log for the workers',
    read: ({ supervisorRssBytes }) => supervisorRssBytes,
  },
  holdline_supervisor_cpu_seconds_total: {
    type: 'counter',
    help: 'processor time of that process, user and system',
    read: ({ supervisorCpuSeconds }) => supervisorCpuSeconds,
  },
};

export function workersMetrics(report: WorkersReport, answered: number): string {
  return Object.entries(WORKERS_METRICS)
    .map(([name, row]) => familyText(name, row, [`${name} ${row.read(report, answered)}\n`]))
    .join('\n');
}
