/** What the README opens with: two latencies a row, and the ceiling; and the bytes of a line. */
import type { FanOutFigures, FanOutSummary } from '../../bench/fan-out-figures.js';
import type { FanOutParameters } from '../../bench/fan-out.js';
import type { MemoryFigures } from '../../bench/memory.js';
import type { Result } from '../../bench/results.js';
import { fixed, ms, short } from '../../bench/table.js';
import { TARGET_TITLES, type TargetName } from '../../bench/targets.js';
import { keptCell, leastKept } from './kept-rounds.js';
import { NOT_MEASURED, caption, table } from './markdown.js';

export type FanOutResult = Result<FanOutParameters, unknown, FanOutSummary>;

/** The product, its speed of light, and what a reader might use in its place. */
const ROWS: readonly TargetName[] = [
  'holdline',
  'holdline-ws',
  'raw-uws',
  'send-loop',
  'nchan',
  'pushpin',
  'node-http',
  'better-sse',
  'durable-streams',
];
const LATENCY_RATE = 10;
const CEILING_RATE = 1000;

function figuresAt(
  { parameters, summary }: FanOutResult,
  target: TargetName,
  ratePerSecond: number,
): FanOutFigures | undefined {
  return summary.figures.find(
    (figures) =>
      figures.target === target &&
      figures.ratePerSecond === ratePerSecond &&
      figures.lines === parameters.lines,
  );
}

/** Of all connections or, where a server could not serve them, of as many as it could. */
function latencyAt(result: FanOutResult, target: TargetName): FanOutFigures | undefined {
  const { figures, failures } = result.summary;
  const isAtRate = (one: { target: TargetName; ratePerSecond: number }): boolean =>
    one.target === target && one.ratePerSecond === LATENCY_RATE;
  const ofAll = figuresAt(result, target, LATENCY_RATE);
  return ofAll === undefined && failures.some(isAtRate) ? figures.find(isAtRate) : ofAll;
}

/** The figures that {@link latencyTable} shows. */
export function latencyFigures(result: FanOutResult): FanOutFigures[] {
  return ROWS.flatMap((target) => latencyAt(result, target) ?? []);
}

/**
 * A row for each server that is on this machine, also where it was not measured: then the table is
 * refused.
 */
export function latencyTable(result: FanOutResult): string {
  const { parameters } = result;
  const rows = ROWS.filter((target) => parameters.absent[target] === undefined).map((target) => {
    const figures = latencyAt(result, target);
    const title = TARGET_TITLES[target];
    const fewer =
      figures === undefined || figures.lines === parameters.lines
        ? ''
        : `, ${short(figures.lines)} connections`;
    return [
      target === 'holdline' ? `**${title}**` : `${title}${fewer}`,
      keptCell(figures, ({ p50Ms }) => ms(p50Ms)),
      keptCell(figures, ({ p99Ms }) => ms(p99Ms)),
    ];
  });
  const head = [`${LATENCY_RATE} events/s to ${short(parameters.lines)} connections`, 'p50', 'p99'];
  const note =
    `Events of ${parameters.eventBytes} bytes, one server process on one core; latency from the ` +
    `moment an event was due, medians of ${leastKept(latencyFigures(result))} rounds or more. ` +
    caption(result);
  return `${table(head, rows)}\n\n<sub>${note}</sub>`;
}

/** The figures that {@link ceilingSentence} is made of. */
export function ceilingFigures(result: FanOutResult): FanOutFigures[] {
  return [figuresAt(result, 'holdline', CEILING_RATE) ?? []].flat();
}

export function ceilingSentence(result: FanOutResult): string {
  const [figures] = ceilingFigures(result);
  if (figures === undefined) return `${NOT_MEASURED} at ${CEILING_RATE} events/s`;
  const { lines, deliveriesPerSecond, acceptedPerSecond, acceptToDeliverP99Ms } = figures;
  return (
    `**The ceiling:** offered ${short(CEILING_RATE)} events/s for ${short(lines)} connections, one ` +
    `process delivers ${keptCell(figures, () => short(deliveriesPerSecond))} events a second: it ` +
    `accepts ${short(acceptedPerSecond)} events/s, delivers each of them (p99 ` +
    `${ms(acceptToDeliverP99Ms)} after it was accepted), and lets the other publishers wait or try ` +
    'again (503).'
  );
}

/** Bytes of the server's process that a quiet line takes, wherever a document says so. */
export function quietLine({ summary }: Result<unknown, unknown, MemoryFigures[]>): string {
  const figures = summary.find(({ target }) => target === 'holdline');
  return figures === undefined ? NOT_MEASURED : `${fixed(figures.rssBytesPerLine, 0)} B`;
}
