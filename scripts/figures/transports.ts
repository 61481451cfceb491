/** The tables of polls, and of the transports side by side. */
import {
  type CompareFigures,
  type CompareParameters,
  comparisonTable,
  transportTitle,
} from '../../bench/comparison.js';
import type { IdleFigures, IdleParameters } from '../../bench/idle.js';
import type { LongPollFigures, LongPollParameters } from '../../bench/long-poll.js';
import { type Result, readResult } from '../../bench/results.js';
import type { ShortPollFigures, ShortPollParameters } from '../../bench/short-poll.js';
import { fixed, ms, ofRounds, percent, short } from '../../bench/table.js';
import { TARGET_TITLES } from '../../bench/targets.js';
import { keptCell } from './kept-rounds.js';
import {
  NOT_MEASURED,
  caption,
  cell,
  groupedTable,
  notMeasured,
  table,
  withCaption,
} from './markdown.js';

/** Share of a core for idle clients. The other half is for events. */
const QUIET_CORE_SHARE = 0.5;
const QUIET_POLL_SECONDS = [2, 10, 60];

export function longPollTable(): string {
  const result = readResult('long-poll') as
    | Result<LongPollParameters, unknown, LongPollFigures[]>
    | undefined;
  const every = result?.parameters.ratePerSecond ?? 1;
  const head = [
    ['', 'one event', '', '', '', `${every} event/s, asking again`, '', '', '', ''],
    [
      '',
      'p50',
      'p99',
      'the last',
      'client busy',
      'p50',
      'p99',
      'the last',
      'CPU µs a poll',
      'client core',
    ],
  ];
  const rows = (['holdline-poll', 'raw-uws-poll'] as const).map((target) => {
    const figures = result?.summary.find((entry) => entry.target === target);
    return [
      TARGET_TITLES[target],
      cell(figures, ({ shotP50Ms }) => ms(shotP50Ms)),
      cell(figures, ({ shotP99Ms }) => ms(shotP99Ms)),
      cell(figures, ({ shotMaxMs }) => ms(shotMaxMs)),
      cell(figures, ({ shotClientBusyShare }) => percent(shotClientBusyShare)),
      cell(figures, ({ againP50Ms }) => ms(againP50Ms)),
      cell(figures, ({ againP99Ms }) => ms(againP99Ms)),
      cell(figures, ({ againMaxMs }) => ms(againMaxMs)),
      cell(figures, ({ serverCpuUsPerPoll }) => fixed(serverCpuUsPerPoll, 1)),
      cell(figures, ({ clientCpuShare }) => percent(clientCpuShare)),
    ];
  });
  return withCaption(groupedTable(head, rows), result);
}

export function shortPollTable(): string {
  const result = readResult('short-poll') as
    | Result<ShortPollParameters, unknown, ShortPollFigures[]>
    | undefined;
  const head = [
    '',
    'pipelined',
    'requests/s',
    '÷ the route',
    'rounds',
    'CPU µs a request',
    'server core',
    'client core',
  ];
  const rows = (result?.summary ?? []).map((figures) => [
    `${TARGET_TITLES[figures.target]}, ${figures.kind}`,
    figures.pipelined === 1 ? 'no' : String(figures.pipelined),
    keptCell(figures, ({ requestsPerSecond }) => short(requestsPerSecond)),
    figures.shareOfFloor === null ? '' : `${fixed(figures.shareOfFloor, 2)} ×`,
    ofRounds(figures.shareOfFloorOfRounds),
    fixed(figures.serverCpuUsPerRequest, 2),
    percent(figures.serverCpuShare),
    percent(figures.clientCpuShare),
  ]);
  return withCaption(
    table(head, rows.length > 0 ? rows : [notMeasured('Holdline', head.length)]),
    result,
  );
}

export function compareTable(): string {
  const result = readResult('compare') as
    | Result<CompareParameters, unknown, CompareFigures[]>
    | undefined;
  if (result === undefined) return `${NOT_MEASURED} yet: \`npm run compare\``;
  const { parameters, summary } = result;
  const { head, rows } = comparisonTable(summary, parameters);
  const notes = [
    `${short(parameters.connections)} clients (memory: ${short(parameters.heldConnections)}), ` +
      `${parameters.ratePerSecond} event/s of ` +
      `${parameters.eventBytes} bytes for ${parameters.seconds} s each, from a fresh server ` +
      'process. Latency counts from the moment an event was due.',
    ...(summary.some(({ clientLimited }) => clientLimited)
      ? [
          `The load client was the limit of ${summary
            .filter(({ clientLimited }) => clientLimited)
            .map(({ way }) => transportTitle(way, parameters))
            .join(', ')}: the server may do better.`,
        ]
      : []),
    caption(result),
  ];
  return `${table(head, rows)}\n\n<sub>${notes.join('<br>\n')}</sub>`;
}

/** Cost without events: heartbeats, and empty answers to polls. Computed, not measured. */
export function quietTable(): string {
  const idle = readResult('idle') as Result<IdleParameters, unknown, IdleFigures[]> | undefined;
  const polls = readResult('short-poll') as
    | Result<ShortPollParameters, unknown, ShortPollFigures[]>
    | undefined;
  const heartbeat = idle?.summary[0];
  const empty = polls?.summary.find(
    ({ target, since, pipelined }) => target === 'holdline' && since > 0 && pipelined === 1,
  );
  const line =
    idle === undefined || heartbeat === undefined
      ? undefined
      : heartbeat.cpuUsPerHeartbeat / idle.parameters.heartbeatSeconds;
  const cost = (usPerSecond: number | undefined): string =>
    cell(usPerSecond, (us) => `${fixed(us, us < 10 ? 1 : 0)} µs`);
  const many = (usPerSecond: number | undefined): string =>
    cell(usPerSecond, (us) => short(Math.floor((QUIET_CORE_SHARE * 1e6) / us / 100) * 100));
  const rows = [
    [
      `a line of SSE, a heartbeat every ${idle?.parameters.heartbeatSeconds ?? 15} s`,
      cost(line),
      many(line),
    ],
    ...QUIET_POLL_SECONDS.map((seconds) => {
      const us = empty === undefined ? undefined : empty.serverCpuUsPerRequest / seconds;
      return [`a client that asks every ${seconds} s`, cost(us), many(us)];
    }),
  ];
  return table(
    ['', 'server CPU a second', `clients on ${QUIET_CORE_SHARE * 100} % of a core`],
    rows,
  );
}
