/** The tables of logs on a disk and on NATS, and of servers of several processes. */
import type { FanOutFigures, FanOutRatio } from '../../bench/fan-out-figures.js';
import {
  type AwayFigures,
  type FlushFigures,
  type LogFigures,
  type LogName,
  type LogSummary,
  signedMs,
} from '../../bench/log-figures.js';
import type { LogParameters } from '../../bench/log.js';
import { type Result, readResult } from '../../bench/results.js';
import { fixed, ms, ofRounds, percent, short } from '../../bench/table.js';
import {
  type HeldFigures,
  type WorkersParameters,
  type WorkersSummary,
  LIMITS_REMARK,
  nameOfWorkers,
} from '../../bench/workers-figures.js';
import { ratioOf, withRatioNotes } from './fan-out.js';
import type { FanOutResult } from './first-screen.js';
import { type KeptRounds, discardedNote, keptCell, keptRounds } from './kept-rounds.js';
import { NOT_MEASURED, caption, cell, table } from './markdown.js';

type LogResult = Result<LogParameters, unknown, LogSummary>;
type WorkersResult = Result<WorkersParameters, unknown, WorkersSummary>;

const LOG_TITLES: Record<LogName, string> = {
  memory: 'memory',
  'lmdb, sync': '`lmdb:DIR`, `--durability sync`',
  'lmdb, async': '`lmdb:DIR`, `--durability async`',
  nats: '`nats:URL`',
};

/** With the rounds of all its parts. */
export function logFiguresOf({ summary }: LogResult): KeptRounds[] {
  return [...summary.figures, summary.flushes ?? {}, summary.away ?? {}];
}

export function logTable(): string {
  const result = readResult('log') as LogResult | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- log\``;
  const { parameters, summary } = result;
  const rows = summary.figures.map((figures) => {
    const kept = (draw: (figures: LogFigures) => string): string => keptCell(figures, draw);
    return [
      LOG_TITLES[figures.log],
      kept(({ eventsPerSecond }) => short(eventsPerSecond)),
      kept(({ shareOfMemory }) => `${fixed(shareOfMemory, 2)} ×`),
      kept(({ serverCpuShare }) => percent(serverCpuShare)),
      kept(({ answerP50Ms }) => ms(answerP50Ms)),
      kept(({ answerP99Ms }) => ms(answerP99Ms)),
      kept(({ deliverP50Ms }) => ms(deliverP50Ms)),
      kept(({ deliverP99Ms }) => ms(deliverP99Ms)),
      keptRounds(figures),
    ];
  });
  const head = [
    '`--log`',
    `events/s in batches of ${parameters.batchEvents}`,
    '÷ memory',
    'server process',
    'single publish answered, p50',
    'p99',
    'delivered, p50',
    'p99',
    'rounds kept',
  ];
  const notes = [
    `${parameters.connections} connections for the batches; single publishes at ${parameters.ratePerSecond}/s with one line. ` +
      `${parameters.eventBytes}-byte events; medians, the logs in turn. Latency counts from the moment an event was sent (answered) or due (delivered).`,
    ...discardedNote(summary.figures),
    ...Object.entries(parameters.absent).map(
      ([log, why]) => `${LOG_TITLES[log as LogName]} was not measured: ${why}.`,
    ),
    caption(result),
  ];
  return `${table(head, rows)}\n\n${table(['', ''], logDistances(result))}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** What the aims are about: distances from the floors, and the node that was away. */
function logDistances({ parameters, summary }: LogResult): string[][] {
  const { flushes, away, figures } = summary;
  const of = (log: LogName): LogFigures | undefined => figures.find((one) => one.log === log);
  const onDisk = [
    [
      `a bare \`fdatasync\` of 4 KiB at ${parameters.ratePerSecond}/s, p50 · p99`,
      cell(flushes ?? undefined, ({ p50Ms, p99Ms }: FlushFigures) => `${ms(p50Ms)} · ${ms(p99Ms)}`),
    ],
    [
      'a single publish with `--durability sync` over it, p99',
      cell(of('lmdb, sync'), ({ answerOverFlushP99Ms }) => signedMs(answerOverFlushP99Ms)),
    ],
  ];
  const onNats = [
    [
      'publish → delivered with NATS over memory, p50',
      cell(of('nats'), ({ deliverOverMemoryP50Ms }) => signedMs(deliverOverMemoryP50Ms)),
    ],
    [
      `a node cut off from NATS for ${short(parameters.awayEvents)} events: all on its line after`,
      cell(
        away ?? undefined,
        ({ caughtUpMs, caughtUpMsOfRounds }: AwayFigures) =>
          `${ms(caughtUpMs)} (${caughtUpMsOfRounds.map(ms).join(' · ')})`,
      ),
    ],
    [
      'of those events, delivered at least · doubled · gaps',
      cell(
        away ?? undefined,
        ({ delivered, doubled, gaps }: AwayFigures) => `${short(delivered)} · ${doubled} · ${gaps}`,
      ),
    ],
  ];
  return [
    ...(parameters.logs.includes('lmdb, sync') ? onDisk : []),
    ...(parameters.logs.includes('nats') ? onNats : []),
  ];
}

/** The fan-out with each log, and what it is of that in memory. */
export function fanOutLogsTable(): string {
  const result = readResult('fan-out-logs') as FanOutResult | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- fan-out-logs\``;
  const { parameters, summary } = result;
  const titles: Record<string, string> = {
    holdline: 'memory',
    'holdline-lmdb': LOG_TITLES['lmdb, sync'],
    'holdline-nats': LOG_TITLES.nats,
  };
  const rows = summary.figures.map((figures) => {
    const kept = (draw: (figures: FanOutFigures) => string): string => keptCell(figures, draw);
    const ratio = ratioOf(result, figures.target, 'holdline', figures.ratePerSecond);
    const times = (pick: (ratio: FanOutRatio) => number | undefined): string =>
      figures.target === 'holdline'
        ? '1'
        : cell(ratio, (value) => `${fixed(pick(value) ?? null, 2)} ×`);
    return [
      titles[figures.target]!,
      String(figures.ratePerSecond),
      kept(({ p50Ms }) => ms(p50Ms)),
      times(({ p50Median }) => p50Median),
      kept(({ p99Ms }) => ms(p99Ms)),
      times(({ p99Median }) => p99Median),
      kept(({ deliveriesPerSecond }) => short(deliveriesPerSecond)),
      times(({ deliveriesMedian }) => deliveriesMedian),
      kept(({ serverCpuUsPerDelivery }) => fixed(serverCpuUsPerDelivery, 2)),
      times(({ cpuMedian }) => cpuMedian),
      keptRounds(figures),
    ];
  });
  const head = [
    '`--log`',
    'events/s',
    'p50',
    '÷ memory',
    'p99',
    '÷ memory',
    'deliveries/s',
    '÷ memory',
    'CPU µs a delivery',
    '÷ memory',
    'rounds kept',
  ];
  const notMeasured = Object.entries(parameters.absent).map(
    ([target, why]) => `${titles[target]} was not measured: ${why}.`,
  );
  return withRatioNotes(table(head, rows), result, notMeasured);
}

/** With the rounds in which all lines were held. */
export function workersFiguresOf({ summary }: WorkersResult): KeptRounds[] {
  return [...summary.figures, ...(summary.held === null ? [] : [summary.held])];
}

export function workersTable(): string {
  const result = readResult('workers') as WorkersResult | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run bench -- workers\``;
  const { parameters, summary, remarks } = result;
  const mib = (bytes: number): string => `${fixed(bytes / 2 ** 20, 0)} MiB`;
  const costs = table(
    [
      `${short(parameters.lines)} lines, ${parameters.ratePerSecond} events/s`,
      'CPU µs a delivery',
      '÷ one process',
      'rounds',
      'p50',
      'p99',
      'rounds kept',
    ],
    summary.figures.map((figures) => [
      nameOfWorkers(figures.workers),
      keptCell(figures, (one) => fixed(one.serverCpuUsPerDelivery, 2)),
      keptCell(figures, (one) => `${fixed(one.timesOneProcess, 2)} ×`),
      ofRounds(figures.timesOneProcessOfRounds),
      keptCell(figures, (one) => ms(one.p50Ms)),
      keptCell(figures, (one) => ms(one.p99Ms)),
      keptRounds(figures),
    ]),
  );
  const { held } = summary;
  const draw = (of: (held: HeldFigures) => string): string => keptCell(held ?? undefined, of);
  const lines = table(
    ['held by', 'lines', 'files open in each', 'p50', 'p99', 'RSS together', 'rounds kept'],
    [
      [
        nameOfWorkers(parameters.workers),
        draw((one) => short(one.lines)),
        draw((one) => one.openFiles.map(short).join(' to ')),
        draw((one) => ms(one.p50Ms)),
        draw((one) => ms(one.p99Ms)),
        draw((one) => mib(one.rssBytes)),
        held === null ? NOT_MEASURED : keptRounds(held),
      ],
    ],
  );
  const notes = [
    'The cost: all processes of the server on one core, the clients on the other. The lines: the workers on both cores, ' +
      `beside ${parameters.heldClients} client processes, at ${parameters.heldRatePerSecond} event/s. Pages that processes share count in the memory of each.`,
    ...discardedNote(workersFiguresOf(result)),
    ...remarks
      .filter((remark) => remark.startsWith(LIMITS_REMARK))
      .map((remark) => `${remark[0]!.toUpperCase()}${remark.slice(1)}.`),
    caption(result),
  ];
  return `${costs}\n\n${lines}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}
