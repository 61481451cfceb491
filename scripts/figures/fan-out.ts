/** The tables of the fan-out subject. */
import type {
  FanOutFailure,
  FanOutFigures,
  FanOutRatio,
  FanOutSummary,
} from '../../bench/fan-out-figures.js';
import type { FanOutParameters } from '../../bench/fan-out.js';
import { type Result, readResult } from '../../bench/results.js';
import { type Figure, fixed, ms, percent, short } from '../../bench/table.js';
import { RIVALS, TARGETS, TARGET_TITLES, type TargetName } from '../../bench/targets.js';
import { discardedNote, keptCell, keptRounds } from './kept-rounds.js';
import {
  NOT_MEASURED,
  caption,
  cell,
  groupedTable,
  notMeasured,
  table,
  withCaption,
} from './markdown.js';

/** Tables always have a row for these, for rivals only where they were measured. */
const ALWAYS_SHOWN: ReadonlySet<TargetName> = new Set([
  'holdline',
  'holdline-ws',
  'raw-uws',
  'send-loop',
]);

export function fanOutTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = [
    ['', 'send buffer', '10 events/s', '', '100 events/s', '', '1000 events/s offered', '', ''],
    [
      '',
      '',
      'p50',
      'p99',
      'deliveries/s',
      'p99',
      'deliveries/s',
      'accepted/s',
      'accept → deliver p99',
    ],
  ];
  const rows = targetsShown(result).flatMap((target) => {
    const ofTarget = result?.summary.figures.filter((figures) => figures.target === target) ?? [];
    const counts =
      ofTarget.length === 0 ? [undefined] : [...new Set(ofTarget.map(({ lines }) => lines))];
    return counts.map((lines) => {
      const ofRow = ofTarget.filter((figures) => figures.lines === lines);
      const at = (ratePerSecond: number, draw: (figures: FanOutFigures) => string): string =>
        keptCell(
          ofRow.find((figures) => figures.ratePerSecond === ratePerSecond),
          draw,
          RIVALS.has(target) ? '–' : NOT_MEASURED,
        );
      return [
        fanOutTitle(target, ofRow[0], result),
        cell(ofRow[0]?.sendBuffer, (sendBuffer) => sendBuffer),
        at(10, (figures) => ms(figures.p50Ms)),
        at(10, (figures) => ms(figures.p99Ms)),
        at(100, (figures) => short(figures.deliveriesPerSecond)),
        at(100, (figures) => ms(figures.p99Ms)),
        at(1000, (figures) => short(figures.deliveriesPerSecond)),
        at(1000, (figures) => short(figures.acceptedPerSecond)),
        at(1000, (figures) => acceptToDeliver(figures)),
      ];
    });
  });
  if (result === undefined)
    return `${groupedTable(head, rows)}\n\n${NOT_MEASURED} yet: \`npm run bench -- fan-out\``;
  const { parameters, summary } = result;
  rows.push(...failureRows(summary.failures ?? []));
  const notes = [
    `${short(parameters.lines)} connections where no other number is given, ` +
      `${parameters.eventBytes}-byte events, one server process on ` +
      'one core; medians of ' +
      `${parameters.rates.map(({ rounds, ratePerSecond }) => `${rounds} rounds at ${ratePerSecond}/s`).join(', ')}, ` +
      `the servers in turn, rivals in one. Latency counts from the moment an event was due.`,
    ...discardedNote(summary.figures),
    ...(summary.failures ?? []).map(
      ({ target, ratePerSecond, lines, why }) =>
        `${TARGET_TITLES[target]} with ${short(lines)} lines at ${ratePerSecond}/s: ` +
        `${why.split('\n', 1)[0]}.`,
    ),
  ];
  if (summary.figures.some((figures) => figures.undelivered > 0)) {
    notes.push(
      '‡ accepted faster than delivered: events were still on their way ten seconds after the ' +
        'end, and are not in the percentile.',
    );
  }
  notes.push(caption(result));
  return `${groupedTable(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** A row for each rival that could not be measured with so many lines. A note says why. */
function failureRows(failures: readonly FanOutFailure[]): string[][] {
  const names = new Set(
    failures.map(({ target, lines }) => `${TARGET_TITLES[target]}, ${short(lines)} connections`),
  );
  return [...names].map((name) => {
    const at = (ratePerSecond: number, cells: number): string[] => {
      const hasFailed = failures.some(
        (failure) =>
          failure.ratePerSecond === ratePerSecond &&
          name === `${TARGET_TITLES[failure.target]}, ${short(failure.lines)} connections`,
      );
      return Array.from({ length: cells }, () => (hasFailed ? 'failed' : '–'));
    };
    return [name, '–', ...at(10, 2), ...at(100, 2), ...at(1000, 3)];
  });
}

/** The title, with the number of lines where a rival had fewer than the others. */
function fanOutTitle(
  target: TargetName,
  figures: FanOutFigures | undefined,
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
): string {
  const title = target === 'holdline' ? `**${TARGET_TITLES[target]}**` : TARGET_TITLES[target];
  if (figures === undefined || result === undefined || !(figures.lines < result.parameters.lines))
    return title;
  return `${title}, ${short(figures.lines)} connections`;
}

export function fanOutRatioTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = ['at 10 events/s', 'p50', 'p99', 'rounds (p50)', 'rounds (p99)'];
  const rows = (['raw-uws', 'send-loop', 'raw-uws-ws'] as const).map((against) => {
    const ratio = ratioAgainst(result, against, 10);
    const ours = against === 'raw-uws-ws' ? 'holdline-ws' : 'holdline';
    return [
      `${TARGET_TITLES[ours]} ÷ ${TARGET_TITLES[against]}`,
      cell(ratio, ({ p50Median }) => `${fixed(p50Median, 2)} ×`),
      cell(ratio, ({ p99Median }) => `${fixed(p99Median, 2)} ×`),
      cell(ratio, ({ p50 }) => p50.map((value) => fixed(value, 2)).join(' · ')),
      cell(ratio, ({ p99 }) => p99.map((value) => fixed(value, 2)).join(' · ')),
    ];
  });
  return withCaption(table(head, rows), result);
}

/** The same server with WebSocket and with SSE, and the median ratio over the pairs of rounds. */
export function fanOutWebSocketTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = ['', 'deliveries/s', 'writes/s', 'MB/s', 'p99', 'CPU µs a delivery'];
  const rows = [100, 1000].flatMap((ratePerSecond) => {
    const ratio = ratioAgainst(result, 'holdline', ratePerSecond);
    const absolute = (['holdline', 'holdline-ws'] as const).map((target) => {
      // Older results, without WebSocket, have no writes.
      const figures = result?.summary.ratios.some(({ of }) => of === 'holdline-ws')
        ? figuresAt(result, target, ratePerSecond)
        : undefined;
      return [
        `${target === 'holdline' ? 'SSE' : 'WebSocket'}, ${ratePerSecond} events/s`,
        cell(figures, ({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
        cell(figures, ({ writesPerSecond }) => short(writesPerSecond)),
        cell(figures, ({ wireBytesPerSecond }) => fixed(wireBytesPerSecond / 1e6, 0)),
        cell(figures, ({ p99Ms }) => ms(p99Ms)),
        cell(figures, ({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
      ];
    });
    const times = (pick: (ratio: FanOutRatio) => Figure): string =>
      cell(ratio, (value) => `${fixed(pick(value), 2)} ×`);
    return [
      ...absolute,
      [
        `WebSocket ÷ SSE`,
        times(({ deliveriesMedian }) => deliveriesMedian),
        times(({ writesMedian }) => writesMedian),
        times(({ wireBytesMedian }) => wireBytesMedian),
        times(({ p99Median }) => p99Median),
        '',
      ],
    ];
  });
  return withCaption(table(head, rows), result);
}

export function fanOutCostTable(): string {
  const result = readResult('fan-out') as
    | Result<FanOutParameters, unknown, FanOutSummary>
    | undefined;
  const head = [
    '',
    'events/s',
    'rounds kept',
    'server process',
    'CPU µs a delivery',
    'loop delay p99',
    'client core',
    'lost · doubled · out of order · gaps',
  ];
  const rows = (result?.summary.figures ?? []).map((figures) => [
    fanOutTitle(figures.target, figures, result).replaceAll('*', ''),
    String(figures.ratePerSecond),
    keptRounds(figures),
    percent(figures.serverCpuShare),
    fixed(figures.serverCpuUsPerDelivery, 2),
    figures.loopDelayP99Ms === null ? '–' : ms(figures.loopDelayP99Ms),
    percent(figures.clientCoreShare),
    `${figures.lost} · ${figures.doubled} · ${figures.outOfOrder} · ${figures.gapEvents}`,
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}

function ratioAgainst(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
  against: TargetName,
  ratePerSecond: number,
): FanOutRatio | undefined {
  return result?.summary.ratios.find(
    (entry) => entry.against === against && entry.ratePerSecond === ratePerSecond,
  );
}

function targetsShown(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
): TargetName[] {
  return TARGETS.filter(
    (target) =>
      ALWAYS_SHOWN.has(target) ||
      result?.summary.figures.some((figures) => figures.target === target),
  );
}

function figuresAt(
  result: Result<FanOutParameters, unknown, FanOutSummary> | undefined,
  target: TargetName,
  ratePerSecond: number,
): FanOutFigures | undefined {
  return result?.summary.figures.find(
    (figures) => figures.target === target && figures.ratePerSecond === ratePerSecond,
  );
}

/** Nothing for a server that accepts an event only when it has delivered it. */
function acceptToDeliver(figures: FanOutFigures): string {
  if (figures.acceptToDeliverP99Ms < 0.01) return '–';
  return ms(figures.acceptToDeliverP99Ms) + (figures.undelivered > 0 ? ' ‡' : '');
}
