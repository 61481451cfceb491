/** The tables of the fan-out subject. */
import type { FanOutFigures, FanOutRatio } from '../../bench/fan-out-figures.js';
import { type Figure, fixed, ms, ofRounds, percent, short } from '../../bench/table.js';
import { TARGET_TITLES, type TargetName } from '../../bench/targets.js';
import { ROUNDS_MIN, discardedNote, enoughRounds, keptCell, keptRounds } from './kept-rounds.js';
import type { FanOutResult } from './first-screen.js';
import { caption, cell, table, withCaption } from './markdown.js';
import type { Drawn } from './rules.js';

/** From this rate on more is offered than is taken; latency then says how long it lasted. */
const CEILING_RATE = 1000;

/** What each floor is compared with. */
const FLOORS: ReadonlyMap<TargetName, TargetName> = new Map([
  ['raw-uws', 'holdline'],
  ['slice-loop', 'holdline'],
  ['send-loop', 'holdline'],
  ['raw-uws-ws', 'holdline-ws'],
]);

/** What was measured often enough at a rate, and the words for the rest. */
function shownOf({ summary }: FanOutResult): { shown: FanOutFigures[]; note: string[] } {
  return enoughRounds(
    summary.figures,
    (figures) => `${TARGET_TITLES[figures.target]} at ${figures.ratePerSecond}/s`,
  );
}

/** A table for each rate, with a row for each server that was measured at it. */
export function fanOutTable(result: FanOutResult): Drawn {
  const { parameters, summary } = result;
  const { shown, note } = shownOf(result);
  const tables = parameters.rates.map(({ ratePerSecond }) => {
    const isCeiling = ratePerSecond >= CEILING_RATE;
    const head = isCeiling
      ? ['deliveries/s', 'accepted/s', 'accept → deliver p99']
      : ['p50', 'p99', 'deliveries/s'];
    const rows = shown
      .filter((figures) => figures.ratePerSecond === ratePerSecond)
      .map((figures) => {
        const deliveries = short(figures.deliveriesPerSecond);
        return [
          fanOutTitle(figures, result),
          figures.sendBuffer,
          ...(isCeiling
            ? [deliveries, short(figures.acceptedPerSecond), acceptToDeliver(figures)]
            : [ms(figures.p50Ms), ms(figures.p99Ms), deliveries]),
        ];
      });
    return table(
      [`${short(ratePerSecond)} events/s${isCeiling ? ' offered' : ''}`, 'send buffer', ...head],
      rows,
    );
  });
  const notes = [
    `${short(parameters.lines)} connections where no other number is given, ` +
      `${parameters.eventBytes}-byte events, one server process on one core; medians of ` +
      `${parameters.rates.map(({ rounds, ratePerSecond }) => `${rounds} rounds at ${ratePerSecond}/s`).join(', ')}, ` +
      'the servers in turn. Latency counts from the moment an event was due.',
    ...discardedNote(summary.figures),
    ...note,
    ...(summary.failures ?? []).map(
      ({ target, ratePerSecond, lines, why }) =>
        `${TARGET_TITLES[target]} with ${short(lines)} connections at ${ratePerSecond}/s: ` +
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
  return { text: `${tables.join('\n\n')}\n\n<sub>${notes.join('<br>\n')}</sub>`, figures: shown };
}

/** The title, with the number of lines where a rival had fewer than the others. */
function fanOutTitle({ target, lines }: FanOutFigures, { parameters }: FanOutResult): string {
  const title = target === 'holdline' ? `**${TARGET_TITLES[target]}**` : TARGET_TITLES[target];
  return lines < parameters.lines ? `${title}, ${short(lines)} connections` : title;
}

/** Holdline beside each floor, from as many pairs of rounds as a median takes. */
export function fanOutRatioTable(result: FanOutResult): Drawn {
  const head = ['', 'events/s', 'p50', 'p99', 'deliveries', 'rounds (p50)', 'rounds (p99)'];
  const times = (value: number): string => `${fixed(value, 2)} ×`;
  const rows = result.summary.ratios
    .filter(({ of, against, p50 }) => p50.length >= ROUNDS_MIN && FLOORS.get(against) === of)
    .map((ratio) => [
      `${TARGET_TITLES[ratio.of]} ÷ ${TARGET_TITLES[ratio.against]}`,
      short(ratio.ratePerSecond),
      times(ratio.p50Median),
      times(ratio.p99Median),
      times(ratio.deliveriesMedian),
      ofRounds(ratio.p50),
      ofRounds(ratio.p99),
    ]);
  return { text: withCaption(table(head, rows), result), figures: [] };
}

/** The same server with WebSocket and with SSE, and the median ratio over the pairs of rounds. */
export function fanOutWebSocketTable(result: FanOutResult): Drawn {
  const head = ['', 'deliveries/s', 'writes/s', 'MB/s', 'p99', 'CPU µs a delivery'];
  const { shown } = shownOf(result);
  const rates = result.parameters.rates.map(({ ratePerSecond }) => ratePerSecond);
  const rows = rates
    .filter((rate) => rate > 10)
    .flatMap((ratePerSecond) => {
      const ratio = ratioOf(result, 'holdline-ws', 'holdline', ratePerSecond);
      const absolute = (['holdline', 'holdline-ws'] as const).map((target) => {
        const figures = shown.find(
          (one) => one.target === target && one.ratePerSecond === ratePerSecond,
        );
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
  return { text: withCaption(table(head, rows), result), figures: shown };
}

export function fanOutCostTable(result: FanOutResult): Drawn {
  const { shown } = shownOf(result);
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
  const rows = shown.map((figures) => [
    fanOutTitle(figures, result).replaceAll('*', ''),
    String(figures.ratePerSecond),
    keptRounds(figures),
    percent(figures.serverCpuShare),
    fixed(figures.serverCpuUsPerDelivery, 2),
    figures.loopDelayP99Ms === null ? '–' : ms(figures.loopDelayP99Ms),
    percent(figures.clientCoreShare),
    `${figures.lost} · ${figures.doubled} · ${figures.outOfOrder} · ${figures.gapEvents}`,
  ]);
  return { text: withCaption(table(head, rows), result), figures: shown };
}

export function ratioOf(
  result: FanOutResult,
  of: TargetName,
  against: TargetName,
  ratePerSecond: number,
): FanOutRatio | undefined {
  return result.summary.ratios.find(
    (entry) =>
      entry.of === of && entry.against === against && entry.ratePerSecond === ratePerSecond,
  );
}

/** Nothing for a server that accepts an event only when it has delivered it. */
function acceptToDeliver(figures: FanOutFigures): string {
  if (figures.acceptToDeliverP99Ms < 0.01) return '–';
  return ms(figures.acceptToDeliverP99Ms) + (figures.undelivered > 0 ? ' ‡' : '');
}

/** What is delivered while sweeps are short, and what that is of the loop's, or of memory's. */
export function shortSweepsTable(result: FanOutResult): string {
  const shares: Partial<Record<TargetName, readonly [against: TargetName, aim: string]>> = {
    holdline: ['slice-loop', '≥ 0.95 × the loop'],
    'holdline-lmdb': ['holdline', '≥ 0.95 × memory'],
    'holdline-nats': ['holdline', '≥ 0.95 × memory'],
  };
  const rows = result.summary.figures.map((figures) => {
    const kept = (draw: (figures: FanOutFigures) => string): string => keptCell(figures, draw);
    const [against, aim] = shares[figures.target] ?? [undefined, ''];
    const ratio = against && ratioOf(result, figures.target, against, figures.ratePerSecond);
    return [
      TARGET_TITLES[figures.target],
      kept(({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
      aim,
      aim === '' ? '' : cell(ratio, ({ deliveriesMedian }) => `${fixed(deliveriesMedian, 2)} ×`),
      kept(({ acceptToDeliverP99Ms }) => ms(acceptToDeliverP99Ms)),
      kept(({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
      keptRounds(figures),
    ];
  });
  const head = [
    'server',
    'deliveries/s',
    'aim',
    'measured',
    'accept → deliver p99',
    'CPU µs a delivery',
    'rounds kept',
  ];
  return withRatioNotes(table(head, rows), result);
}

/** What the sweep is held to at each rate, beside the loop of slices. */
const SWEEP_AIMS: ReadonlyMap<number, string> = new Map([
  [100, 'p99 ≤ 1.1 ×'],
  [1000, 'deliveries ≥ 0.95 ×'],
]);

/** Holdline beside the loop of slices, each with its publisher inside, at every rate. */
export function sweepTable(result: FanOutResult): string {
  const rows = result.summary.figures.map((figures) => {
    const { ratePerSecond, target } = figures;
    const kept = (draw: (figures: FanOutFigures) => string): string => keptCell(figures, draw);
    const isCeiling = ratePerSecond >= CEILING_RATE;
    const ratio = ratioOf(result, target, 'slice-loop', ratePerSecond);
    return [
      `${TARGET_TITLES[target]}, ${short(ratePerSecond)} events/s`,
      isCeiling ? '' : kept(({ p50Ms }) => ms(p50Ms)),
      isCeiling ? '' : kept(({ p99Ms }) => ms(p99Ms)),
      kept(({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
      ratio === undefined ? '' : (SWEEP_AIMS.get(ratePerSecond) ?? ''),
      ratio === undefined ? '' : shareOfLoop(ratio, isCeiling),
      kept(({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
      keptRounds(figures),
    ];
  });
  const head = [
    'server',
    'p50',
    'p99',
    'deliveries/s',
    'aim',
    'of the loop (rounds)',
    'CPU µs a delivery',
    'rounds kept',
  ];
  return withRatioNotes(table(head, rows), result);
}

/** What is delivered, where the core is full, and else the 99th percentile. */
function shareOfLoop(ratio: FanOutRatio, isCeiling: boolean): string {
  return isCeiling
    ? `${fixed(ratio.deliveriesMedian, 2)} × (${ofRounds(ratio.deliveries ?? [])})`
    : `p99 ${fixed(ratio.p99Median, 2)} × (${ofRounds(ratio.p99)})`;
}

/** A table of the fan-out with ratios in its rows, above what a reader must know of them. */
export function withRatioNotes(
  drawn: string,
  result: FanOutResult,
  more: readonly string[] = [],
): string {
  const { parameters, summary } = result;
  const notes = [
    `${short(parameters.lines)} lines of SSE, ${parameters.eventBytes}-byte events. Ratios are medians of those of each round.`,
    ...discardedNote(summary.figures),
    ...more,
    caption(result),
  ];
  return `${drawn}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}
