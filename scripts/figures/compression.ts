/** The tables of compression: compressed lines beside plain ones of the same server. */
import {
  type CompressionFigures,
  type CompressionSummary,
  ENCODING_TITLES,
  type EncodingTarget,
  aimsOf,
} from '../../bench/compression-figures.js';
import type { CompressionParameters } from '../../bench/compression.js';
import type { MemoryFigures } from '../../bench/memory.js';
import { type Result, readResult } from '../../bench/results.js';
import { fixed, ms, percent, short } from '../../bench/table.js';
import { discardedNote, keptCell, keptRounds, type KeptRounds } from './kept-rounds.js';
import { NOT_MEASURED, caption, cell, table } from './markdown.js';

type CompressionResult = Result<CompressionParameters, unknown, CompressionSummary>;

/** With the rounds of all its parts. */
export function compressionFiguresOf(result: Result): KeptRounds[] {
  const { summary } = result as CompressionResult;
  return [...summary.figures, ...summary.memory];
}

export function compressionTable(): string {
  const result = readResult('compression') as CompressionResult | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- compression\``;
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
  const memory = table(
    ['memory', 'RSS a line', 'rounds', 'rounds kept'],
    summary.memory.map((figures) => [
      ENCODING_TITLES[figures.target as EncodingTarget],
      keptCell(figures, (one: MemoryFigures) => `${fixed(one.rssBytesPerLine, 0)} B`),
      keptCell(figures, (one: MemoryFigures) =>
        one.rssBytesPerLineOfRounds.map((slope) => fixed(slope, 0)).join(' · '),
      ),
      keptRounds(figures),
    ]),
  );
  const notes = [
    `${parameters.eventBytes['ticks']} bytes an event (random values: ${parameters.eventBytes['random ticks']}); bytes a delivery are those on the wire, with all framing. Medians; ratios are formed round by round.`,
    ...discardedNote(compressionFiguresOf(result)),
    caption(result),
  ];
  return [
    aims,
    table(head, summary.figures.map(rowOf)),
    memory,
    `<sub>${notes.join('<br>\n')}</sub>`,
  ].join('\n\n');
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
