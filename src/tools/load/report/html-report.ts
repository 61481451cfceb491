/** The report of a run as one HTML file: what was run, its outcome, and its course. */

import type { Html } from '../../report/html.js';
import { machineWords } from '../../report/machine.js';
import { figures, htmlDocument, note, pairs, table, type Section } from '../../report/page.js';
import { plot, type Plot, type Series } from '../../report/plot.js';
import { decimal, duration, percent, sentence } from '../../report/words.js';
import { mixSection } from './html-mix.js';
import { figuresOf, verdictOf } from './html-summary.js';
import type { LoadReport } from './report.js';
import { headOf, rowsOf } from './table.js';
import type { Moment } from './timeline.js';

/**
 * So many client processes have a curve each in a plot; of more the busiest and the mean are drawn.
 */
const PROCESS_CURVES_MAX = 4;

/** The file's text. It contains nothing that is not in the JSON of the report. */
export function htmlReport(report: LoadReport): string {
  const { url, durationSeconds, startedAt, machine } = report;
  return htmlDocument({
    title: `Load test of ${url}`,
    subtitle: `${headOf(report)} for ${decimal(durationSeconds)} s`,
    verdict: verdictOf(report),
    sections: [
      {
        title: 'Summary',
        blocks: [
          figures(figuresOf(report)),
          ...report.remarks.map((remark) => note(sentence(remark), 'warning')),
        ],
      },
      latencySection(report),
      courseSection(report),
      ...mixSection(report),
      { title: 'All figures', blocks: [pairs(rowsOf(report)), processTable(report)] },
    ],
    footer: `${machineWords(machine)}; ${startedAt.replace('T', ' ').replace(/\..*/, ' UTC')}`,
  });
}

function latencySection(report: LoadReport): Section {
  const { latencyCurve, timeline } = report;
  if (latencyCurve.length === 0)
    return {
      title: 'Latency',
      blocks: [note('Nothing was delivered, so there is no latency.', 'warning')],
    };
  // The maximum has no place on an axis that never reaches 100 %.
  const curve = latencyCurve.slice(0, -1);
  return {
    title: 'Latency',
    intro:
      'From the moment an event was due to be published, not from when it was sent, until a client ' +
      'received it.',
    blocks: [
      plot({
        title: 'Latency by percentile',
        caption: 'At 99 %, one delivery in a hundred took longer.',
        x: { label: 'percentile of the deliveries', quantity: 'count', spread: 'percentile' },
        y: { label: 'latency', quantity: 'ms' },
        xs: curve.map(({ percentile }) => percentile),
        series: [{ label: 'latency', values: curve.map(({ ms }) => ms) }],
      }),
      coursePlot(report, {
        title: 'Latency over time',
        caption:
          timeline.spanSeconds === 1
            ? 'Of the deliveries in each second.'
            : `The worst second of every ${timeline.spanSeconds}.`,
        y: { label: 'latency', quantity: 'ms' },
        series: [
          { label: 'p50', values: column(report, ({ p50Ms }) => p50Ms) },
          { label: 'p99', values: column(report, ({ p99Ms }) => p99Ms) },
        ],
      }),
    ],
  };
}

function courseSection(report: LoadReport): Section {
  const { server, serverUnknown } = report;
  const blocks: Html[] = [
    coursePlot(report, {
      title: 'Deliveries',
      caption: 'An event that reaches ten clients counts as ten.',
      y: { label: 'deliveries', quantity: 'per second' },
      series: [
        {
          label: 'deliveries',
          values: column(report, ({ deliveriesPerSecond: rate }) => rate),
          mark: 'area',
        },
      ],
    }),
    coursePlot(report, {
      title: 'CPU',
      y: { label: 'share of one core', quantity: 'share' },
      series: [
        ...(server === null
          ? []
          : [{ label: 'server', values: column(report, ({ serverCpuShare }) => serverCpuShare) }]),
        ...clientSeries(report),
      ],
    }),
  ];
  if (server !== null) {
    const several =
      server.pids.length > 1 ? ` of the ${server.pids.length} processes that share the port` : '';
    blocks.push(
      coursePlot(report, {
        title: 'Server memory',
        caption: `Resident memory${several}: ${server.pids.length > 1 ? 'pids' : 'pid'} ${server.pids.join(', ')}.`,
        y: { label: 'memory', quantity: 'bytes' },
        series: [
          {
            label: 'resident',
            values: column(report, ({ serverRssBytes }) => serverRssBytes),
            mark: 'area',
          },
        ],
      }),
    );
    if (server.tcpBytesMost !== null) {
      blocks.push(
        coursePlot(report, {
          title: 'TCP buffers',
          caption: 'Of all sockets on this machine: server and clients.',
          y: { label: 'buffers', quantity: 'bytes' },
          series: [
            {
              label: 'in buffers',
              values: column(report, ({ tcpBytes }) => tcpBytes),
              mark: 'area',
            },
          ],
        }),
      );
    }
  }
  if (serverUnknown !== null)
    blocks.push(note(`Memory and CPU of the server are not shown: ${serverUnknown}.`));
  return {
    title: 'Over time',
    intro: 'Time 0 is when the first event was due. Clients connected before it.',
    blocks,
  };
}

/** A plot over the time of the run. The cursors of all such plots move together. */
function coursePlot(
  report: LoadReport,
  parts: Omit<Plot, 'x' | 'xs' | 'marks' | 'together'>,
): Html {
  const { timeline, herd, durationSeconds } = report;
  const xs = timeline.moments.map(({ atSeconds }) => atSeconds);
  // A plot begins with its first known value: before the first event there are no deliveries, but
  // there is a server.
  const known = timeline.moments.findIndex((_, index) =>
    parts.series.some(({ values }) => values[index] !== null),
  );
  const from = Math.max(0, known);
  return plot({
    ...parts,
    x: { label: 'time after the first event', quantity: 'seconds' },
    xs: xs.slice(from),
    series: parts.series.map((one) => ({ ...one, values: one.values.slice(from) })),
    marks: [
      ...(herd === null ? [] : [{ x: herd.atSeconds, label: 'all reconnect' }]),
      { x: durationSeconds, label: 'last event' },
    ],
    together: 'time',
  });
}

function column(report: LoadReport, of: (moment: Moment) => number | null): (number | null)[] {
  return report.timeline.moments.map(of);
}

function clientSeries(report: LoadReport): Series[] {
  const { clientProcesses } = report;
  const of = (nth: number): (number | null)[] =>
    column(report, ({ clientBusyShares }) => clientBusyShares[nth] ?? null);
  if (clientProcesses.length <= PROCESS_CURVES_MAX) {
    return clientProcesses.map((_, nth) => ({
      label: clientProcesses.length === 1 ? 'client' : `client ${nth + 1}`,
      values: of(nth),
    }));
  }
  const known = ({ clientBusyShares }: Moment): number[] =>
    clientBusyShares.filter((value) => value !== null);
  return [
    {
      label: 'busiest client',
      values: column(report, (moment) =>
        known(moment).length === 0 ? null : Math.max(...known(moment)),
      ),
    },
    {
      label: `mean of ${clientProcesses.length} clients`,
      values: column(report, (moment) =>
        known(moment).length === 0
          ? null
          : known(moment).reduce((a, b) => a + b, 0) / known(moment).length,
      ),
    },
  ];
}

function processTable({ clientProcesses, publisher }: LoadReport): Html {
  const late = (ms: number | null): string => (ms === null ? '–' : duration(ms));
  return table({
    caption:
      'The processes of this load client while events were published. With a CPU share near 100 % ' +
      'or long delays, the figures are those of the client, not of the server.',
    columns: [
      'process',
      { right: 'CPU time' },
      { right: 'share of a core' },
      { right: 'delay p99' },
      { right: 'longest delay' },
    ],
    rows: [
      [
        'publisher',
        duration(publisher.cpuSeconds * 1000),
        percent(publisher.busyShare),
        late(publisher.latenessMs.p99),
        late(publisher.latenessMs.max),
      ],
      ...clientProcesses.map(({ pid, cpuSeconds, busyShare, lagMs }) => [
        `clients (pid ${pid})`,
        duration(cpuSeconds * 1000),
        percent(busyShare),
        duration(lagMs.p99),
        duration(lagMs.max),
      ]),
    ],
  });
}
