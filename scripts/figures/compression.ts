/** The tables of compression: compressed lines beside plain ones of the same server. */
import {
  type CompressionFigures,
  type CompressionSummary,
  ENCODING_TITLES,
  aimsOf,
} from '../../bench/compression-figures.js';
import type { CompressionParameters } from '../../bench/compression.js';
import type { Result } from '../../bench/results.js';
import { fixed, ms, percent, short } from '../../bench/table.js';
import { discardedNote, keptCell, keptRounds } from './kept-rounds.js';
import { caption, cell, table } from './markdown.js';
import type { Drawn } from './rules.js';

export type CompressionResult = Result<CompressionParameters, unknown, CompressionSummary>;

export function compressionTable(result: CompressionResult): Drawn {
  const { parameters, summary } = result;
  const head = [
    'events',
    'events/s',
    'lines',
    'lines are',
    'bytes a delivery',
    'p50',
    'p99',
    'deliveries/s',
    'accepted/s',
    'CPU µs a delivery',
    'server process',
    'rounds kept',
  ];
  const aims = table(
    ['', 'aim', 'measured'],
    aimsOf(summary, parameters.lines).map(({ what, aim, measured, isKept }) => [
      what,
      aim,
      cell(measured, (words) => (isKept ? words : `**${words}, not kept**`)),
    ]),
  );
  const notes = [
    `${parameters.eventBytes['ticks']} bytes an event (random values: ${parameters.eventBytes['random ticks']}); bytes a delivery are those on the wire, with all framing. Medians; ratios are formed round by round.`,
    ...discardedNote(summary.figures),
    caption(result),
  ];
  const parts = [
    aims,
    table(head, summary.figures.map(rowOf)),
    `<sub>${notes.join('<br>\n')}</sub>`,
  ];
  return { text: parts.join('\n\n'), figures: summary.figures };
}

function rowOf(figures: CompressionFigures): string[] {
  const kept = (draw: (figures: CompressionFigures) => string): string => keptCell(figures, draw);
  return [
    figures.events,
    short(figures.ratePerSecond),
    short(figures.lines),
    ENCODING_TITLES[figures.target],
    kept(({ wireBytesPerDelivery }) => fixed(wireBytesPerDelivery, 0)),
    kept(({ p50Ms }) => ms(p50Ms)),
    kept(({ p99Ms }) => ms(p99Ms)),
    kept(({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
    kept(({ acceptedPerSecond }) => short(acceptedPerSecond)),
    kept(({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
    kept(({ serverCpuShare }) => percent(serverCpuShare)),
    keptRounds(figures),
  ];
}
