/** The table of isolation: a quiet channel beside others that are in trouble. */
import {
  type IsolationFigures,
  type IsolationSummary,
  loadWords,
  natsWords,
} from '../../bench/isolation-figures.js';
import { LOADS, type LoadName } from '../../bench/isolation-orders.js';
import { ISOLATION_SERVERS, ISOLATION_TITLES } from '../../bench/isolation-servers.js';
import type { IsolationParameters } from '../../bench/isolation.js';
import type { Result } from '../../bench/results.js';
import { ms, percent, short } from '../../bench/table.js';
import { discardedNote, enoughRounds, keptRounds } from './kept-rounds.js';
import { caption, table } from './markdown.js';
import type { Drawn } from './rules.js';

export type IsolationResult = Result<IsolationParameters, unknown, IsolationSummary>;

const LOAD_HEADS: Record<LoadName, string> = {
  'stopped lines': 'lines that have stopped reading',
  flood: 'a flood',
  'half a flood': 'half as much of it',
  herd: 'a herd that comes back',
};

export function isolationTable(result: IsolationResult): Drawn {
  const { parameters, summary } = result;
  const { lines, ratePerSecond, stopped, flood, herd } = parameters;
  const { shown, note } = enoughRounds(
    summary.figures,
    ({ server, load }) => `${ISOLATION_TITLES[server]} beside ${LOAD_HEADS[load]}`,
  );
  const rows = ISOLATION_SERVERS.flatMap((server) => {
    const own = shown.filter((one) => one.server === server);
    return LOADS.flatMap((load) => {
      const figures = own.find((one) => one.load === load);
      return figures === undefined ? [] : [rowOf(figures)];
    });
  });
  const head = [
    'server',
    'beside',
    'which did',
    'alone p50',
    'alone p99',
    'beside p50',
    'beside p99',
    'at most',
    'cores busy',
    'NATS itself p99',
    'rounds kept',
  ];
  const notes = [
    `The quiet channel: ${short(lines)} lines, ${ratePerSecond} events/s; latency from the moment an event was due. Beside it, on another channel: ` +
      `${stopped.lines} lines that have stopped reading and ${short(stopped.batchesPerSecond * stopped.batchEvents)} events/s; batches of ${flood.batchEvents} over ${flood.connections} connections as fast as they are answered, with ${flood.lines} lines, and then at half that pace; ` +
      `${herd.lines} lines that come back together to a history of ${short(herd.historyEvents)} events, and again when all have it. Medians.`,
    'NATS itself: how long a client of the same nats-server waited for its answers, without Holdline, alone → beside. Cores busy: both, with all that is measured and all that measures.',
    ...note,
    ...discardedNote(summary.figures),
    ...Object.entries(parameters.absent).map(
      ([server, why]) => `${server} was not measured: ${why}.`,
    ),
    caption(result),
  ];
  return {
    text: `${table(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`,
    figures: shown,
  };
}

function rowOf(figures: IsolationFigures): string[] {
  const { server, load, aloneP50Ms, aloneP99Ms, p50Ms, limitMs, busyShare } = figures;
  return [
    ISOLATION_TITLES[server],
    LOAD_HEADS[load],
    loadWords(figures),
    ms(aloneP50Ms),
    ms(aloneP99Ms),
    ms(p50Ms),
    p99Words(figures),
    ms(limitMs),
    percent(busyShare),
    natsWords(figures),
    keptRounds(figures),
  ];
}

function p99Words({ p99Ms, isKept, isMovedByNats }: IsolationFigures): string {
  if (isKept) return ms(p99Ms);
  return `**${ms(p99Ms)}, ${isMovedByNats ? 'as NATS itself' : 'not kept'}**`;
}
