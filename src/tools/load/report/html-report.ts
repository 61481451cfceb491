/** The report of a run as one HTML file: what was run, its outcome, and its course. */

import type { Html } from '../../report/html.js';
import { machineWords } from '../../report/machine.js';
import {
  figures,
  htmlDocument,
  note,
  pairs,
  table,
  type Cell,
  type Figure,
  type Section,
  type Tone,
} from '../../report/page.js';
import { plot, type Plot, type Series } from '../../report/plot.js';
import { decimal, duration, percent, rough, size } from '../../report/words.js';
import type { MixFigures, LoadReport } from './report.js';
import { headOf, rowsOf } from './table.js';
import type { Herd } from '../run/round.js';
import type { Moment } from './timeline.js';

/**
 * So many client processes have a curve each in a plot; of more the busiest and the mean are drawn.
 */
const PROCESS_CURVES_MAX = 4;

/** The file's text. It contains nothing that is not in the JSON of the report. */
export function htmlReport(report: LoadReport): string {
  const { url, durationSeconds, startedAt, machine } = report;
  return htmlDocument({
    title: `Load on ${url}`,
    subtitle: `${headOf(report)} for ${decimal(durationSeconds)} s`,
    verdict: verdictOf(report),
    sections: [
      {
        title: 'In short',
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

/** The outcome in words. */
function verdictOf(report: LoadReport): { readonly text: string; readonly tone: Tone } {
  const { flawless, clientLimited, published, connections, mix, latencyMs } = report;
  if (flawless) {
    const whom =
      mix === null || mix.stalled.clients + mix.slow.clients === 0
        ? `all ${decimal(connections)} clients`
        : 'every client that reads';
    const p99 =
      latencyMs.p99 === null
        ? ''
        : `, 99 % of the deliveries within ${duration(latencyMs.p99)} of their time`;
    const but = clientLimited
      ? ' But this client was the bottleneck: the server may be able to do more.'
      : '';
    return {
      text: `All ${decimal(published)} events came to ${whom} once and in order${p99}.${but}`,
      tone: clientLimited ? 'warning' : 'good',
    };
  }
  if (published === 0) return { text: 'The server accepted no event.', tone: 'bad' };
  const faults = [
    ...(report.lost > 0
      ? [`${decimal(report.lost)} were lost (${share(report.lost, report.expected)})`]
      : []),
    ...(report.gapLost > 0 ? [`${decimal(report.gapLost)} were lost, as the server reported`] : []),
    ...(report.doubled > 0 ? [`${decimal(report.doubled)} came twice`] : []),
    ...(report.outOfOrder > 0 ? [`${decimal(report.outOfOrder)} came out of order`] : []),
  ];
  const text =
    faults.length === 0
      ? 'The server was gone before the end; until then every event came once and in order.'
      : `Of ${decimal(report.expected)} deliveries ${faults.join(', ')}.`;
  return { text, tone: 'bad' };
}

/** Two digits, however small the share is: 12 of 45 million are 0.000027 %. */
function share(part: number, whole: number): string {
  return `${((part / whole) * 100).toLocaleString('en-US', { maximumSignificantDigits: 2 })} %`;
}

function figuresOf(report: LoadReport): Figure[] {
  const { latencyMs, delivered, expected, server, timeline } = report;
  const flawed = report.lost + report.gapLost + report.doubled + report.outOfOrder;
  const perSecond = deliveriesPerSecond(report);
  const most = Math.max(0, ...timeline.moments.map(({ deliveriesPerSecond: rate }) => rate ?? 0));
  return [
    {
      label: 'Delivered',
      value: decimal(delivered),
      detail: delivered === expected ? 'everything that was owed' : `of ${decimal(expected)}`,
      tone: delivered === expected ? 'good' : 'bad',
    },
    {
      label: 'Faults',
      value: decimal(flawed),
      detail:
        flawed === 0
          ? 'none lost, doubled or out of order'
          : `${decimal(report.lost + report.gapLost)} lost, ${decimal(report.doubled)} doubled, ${decimal(report.outOfOrder)} out of order`,
      tone: flawed === 0 ? 'good' : 'bad',
    },
    {
      label: 'Deliveries a second',
      value: rough(perSecond),
      detail: `at most ${rough(most)} in one`,
    },
    ...(latencyMs.p50 === null || latencyMs.p99 === null || latencyMs.max === null
      ? []
      : [
          {
            label: 'Latency, p50',
            value: duration(latencyMs.p50),
            detail: 'from when an event was due',
          },
          {
            label: 'Latency, p99',
            value: duration(latencyMs.p99),
            detail: `at most ${duration(latencyMs.max)}`,
          },
        ]),
    ...(server === null
      ? []
      : [
          {
            label: 'Server memory',
            value: size(server.rssBytesMost),
            detail: `${size(server.rssBytesBefore)} before clients came`,
          },
          ...(server.cpuShare === null
            ? []
            : [
                {
                  label: 'Server CPU',
                  value: percent(server.cpuShare),
                  detail: 'of a core, while publishing',
                },
              ]),
        ]),
    {
      label: 'Client CPU',
      value: percent(report.clientBusyShare),
      detail: report.clientLimited ? 'the client was the bottleneck' : 'of a core, busiest process',
      tone: report.clientLimited ? 'warning' : 'plain',
    },
  ];
}

/** Average over the spans in which events were published. */
function deliveriesPerSecond({ timeline, durationSeconds }: LoadReport): number {
  const publishing = timeline.moments.filter(
    ({ atSeconds }) => atSeconds > 0 && atSeconds < durationSeconds,
  );
  return (
    publishing.reduce((sum, moment) => sum + (moment.deliveriesPerSecond ?? 0), 0) /
    Math.max(1, publishing.length)
  );
}

function latencySection(report: LoadReport): Section {
  const { latencyCurve, timeline } = report;
  if (latencyCurve.length === 0)
    return {
      title: 'Latency',
      blocks: [note('Nothing came, so there is no latency.', 'warning')],
    };
  // The maximum has no place on an axis that never reaches 100 %.
  const curve = latencyCurve.slice(0, -1);
  return {
    title: 'Latency',
    intro: 'From the moment an event was due, not from when it was sent, until a client had it.',
    blocks: [
      plot({
        title: 'Latency by percentile',
        caption: 'At 99 % one delivery in a hundred takes longer.',
        x: { label: 'share of the deliveries', quantity: 'count', spread: 'percentile' },
        y: { label: 'latency', quantity: 'ms' },
        xs: curve.map(({ percentile }) => percentile),
        series: [{ label: 'latency', values: curve.map(({ ms }) => ms) }],
      }),
      coursePlot(report, {
        title: 'Latency over time',
        caption:
          timeline.spanSeconds === 1
            ? 'Of what came in each second.'
            : `The worst second of each ${timeline.spanSeconds}.`,
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
      caption: 'Events that came to clients, counted for each client.',
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
      caption: 'Shares of one core.',
      y: { label: 'CPU', quantity: 'share' },
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
      server.pids.length > 1 ? ` of ${server.pids.length} processes that listen together` : '';
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
          caption: 'Of all sockets of this machine, both ends of each connection.',
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
    title: 'How it went',
    intro: 'Left of 0, before the first event, clients connected.',
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
    x: { label: 'after the first event', quantity: 'seconds' },
    xs: xs.slice(from),
    series: parts.series.map((one) => ({ ...one, values: one.values.slice(from) })),
    marks: [
      ...(herd === null ? [] : [{ x: herd.atSeconds, label: 'herd' }]),
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

function mixSection({ mix, herd }: LoadReport): Section[] {
  const apart = mix === null ? [] : unevenRows(mix);
  const blocks = [
    ...(apart.length === 0 ? [] : [unevenTable(apart)]),
    ...(mix === null || mix.reconnects.sharePerMinute === 0
      ? []
      : [reconnectNote(mix, herd !== null)]),
    ...(herd === null ? [] : [herdNote(herd)]),
  ];
  if (blocks.length === 0) return [];
  const intro =
    'Clients that read slowly or nothing are in no other figures but bytes and requests.';
  return [
    {
      title: 'Clients that come, go, or do not read',
      ...(apart.length === 0 ? {} : { intro }),
      blocks,
    },
  ];
}

function unevenRows({ stalled, slow }: MixFigures): (readonly Cell[])[] {
  return [
    ...(stalled.clients === 0
      ? []
      : [['stalled: they read nothing', stalled.clients, stalled.cutOff, '–', '–']]),
    ...(slow.clients === 0
      ? []
      : [
          [
            `slow: they read ${size(slow.bytesPerSecond)}/s`,
            slow.clients,
            slow.cutOff,
            slow.delivered,
            slow.gaps,
          ],
        ]),
  ];
}

function unevenTable(rows: readonly (readonly Cell[])[]): Html {
  const figureColumns = ['how many', 'cut off', 'events', 'gaps reported'].map((right) => ({
    right,
  }));
  return table({ columns: ['Clients', ...figureColumns], rows });
}

function reconnectNote({ reconnects }: MixFigures, hasHerd: boolean): Html {
  const { sharePerMinute, returns, refusedReturns } = reconnects;
  return note(
    `${percent(sharePerMinute)} of the clients that read normally dropped their connection in each minute and came back where they had ` +
      `left off${hasHerd ? ', and so did the herd' : ''}: ${decimal(returns)} times in all, ${decimal(refusedReturns)} further tries.`,
  );
}

function herdNote({ atSeconds, clients, backSeconds, caughtUpSeconds }: Herd): Html {
  const within = (seconds: number | null): string =>
    seconds === null ? 'not by the end' : `in ${duration(seconds * 1000)}`;
  return note(
    `After ${decimal(atSeconds, 1)} s all ${decimal(clients)} clients that read dropped their connections and came back at once: ` +
      `the last was subscribed again ${within(backSeconds)}, and had what it was owed ${within(caughtUpSeconds)}.`,
    caughtUpSeconds === null ? 'bad' : 'plain',
  );
}

function processTable({ clientProcesses, publisher }: LoadReport): Html {
  const late = (ms: number | null): string => (ms === null ? '–' : duration(ms));
  return table({
    caption:
      'The processes of this client while events were published. A share near 100 % or large delays mean that the client was measured',
    columns: [
      'Process',
      { right: 'CPU time' },
      { right: 'share of a core' },
      { right: 'late, p99' },
      { right: 'late, at most' },
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
        `clients, pid ${pid}`,
        duration(cpuSeconds * 1000),
        percent(busyShare),
        duration(lagMs.p99),
        duration(lagMs.max),
      ]),
    ],
  });
}

function sentence(words: string): string {
  return `${words[0]!.toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? '' : '.'}`;
}
