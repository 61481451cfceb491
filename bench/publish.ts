/** Publish: how many POSTs, and events in batches, one server process takes in a second. */
import { type ClosedLoop, measureClosedLoop } from './closed-loop.js';
import { ANY_DATA, PATH } from './event.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, fixed, percent, short } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import { counts, remarkOnDiscarded, roundsLeft } from './verdict.js';
import { visit } from './visit.js';

interface Mode {
  name: string;
  pipelined: number;
  batchEvents: number;
  targets: TargetName[];
}

export interface PublishParameters {
  connections: number;
  warmUpSeconds: number;
  windowSeconds: number;
  rounds: number;
  modes: Mode[];
  eventBytes: number;
}

export interface PublishRound extends ClosedLoop {
  mode: string;
  target: TargetName;
  round: number;
  eventsPerSecond: number;
}

export interface PublishFigures {
  mode: string;
  target: TargetName;
  requestsPerSecond: number;
  eventsPerSecond: number;
  serverCpuShare: number;
  serverCpuUsPerRequest: number;
  clientCpuShare: number;
  rounds: number;
  discardedRounds: number;
  refused: number;
  /** Why the mode has no figure. */
  notBorne?: string;
}

const CONNECTIONS = 64;
const EVENT_BYTES = 256;
const BATCH_EVENTS_MAX = 100;
const PIPELINED = 8;

/** Only Holdline takes batches; the floors take single POSTs. */
const MODES: Mode[] = [
  {
    name: 'single POSTs',
    pipelined: 1,
    batchEvents: 0,
    targets: ['holdline', 'raw-uws', 'send-loop'],
  },
  {
    name: `single POSTs, ${PIPELINED} pipelined`,
    pipelined: PIPELINED,
    batchEvents: 0,
    targets: ['holdline', 'raw-uws', 'send-loop'],
  },
  {
    name: `NDJSON batches of ${BATCH_EVENTS_MAX}`,
    pipelined: 1,
    batchEvents: BATCH_EVENTS_MAX,
    targets: ['holdline'],
  },
];

export async function measurePublish(
  options: RunOptions,
): Promise<Measured<PublishParameters, PublishRound, PublishFigures[]>> {
  const parameters: PublishParameters = {
    connections: CONNECTIONS,
    warmUpSeconds: options.quick ? 1 : 3,
    windowSeconds: options.windowSeconds ?? (options.quick ? 2 : 10),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    modes: MODES.map((mode) => ({
      ...mode,
      targets: mode.targets.filter(
        (target) => absence(target) === undefined && (options.targets?.includes(target) ?? true),
      ),
    })),
    eventBytes: EVENT_BYTES,
  };
  const rounds: PublishRound[] = [];
  for (const mode of parameters.modes) {
    for (let round = 1; round <= parameters.rounds; round++) {
      for (const target of mode.targets) {
        const measured = await measureRound(target, mode, round, parameters);
        rounds.push(measured);
        options.say(describeRound(measured, parameters.rounds));
      }
    }
  }
  const summary = summarise(rounds);
  const remarks = summary.flatMap((figures) => {
    const where = `${figures.target}, ${figures.mode}`;
    if (figures.notBorne !== undefined) return [`${where}: ${figures.notBorne}`];
    return remarkOnDiscarded(
      where,
      rounds.filter(({ target, mode }) => target === figures.target && mode === figures.mode),
    );
  });
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

function measureRound(
  target: TargetName,
  mode: Mode,
  round: number,
  parameters: PublishParameters,
): Promise<PublishRound> {
  return visit(target, {}, async (here) => {
    const measured = await measureClosedLoop(here, {
      request: buildRequest(here.server.port, mode.batchEvents),
      connections: parameters.connections,
      pipelined: mode.pipelined,
      warmUpSeconds: parameters.warmUpSeconds,
      windowSeconds: parameters.windowSeconds,
    });
    const eventsPerSecond = measured.requestsPerSecond * Math.max(1, mode.batchEvents);
    return { mode: mode.name, target, round, ...measured, eventsPerSecond };
  });
}

/** A publish of so many events; 0: of one event, which is the whole body. */
export function buildRequest(port: number, batchEvents: number, path: string = PATH): Buffer {
  const batch = batchEvents > 0;
  const body = batch
    ? Buffer.from(`${JSON.stringify({ data: ANY_DATA.toString('latin1') })}\n`.repeat(batchEvents))
    : ANY_DATA;
  const head =
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n` +
    `Content-Type: ${batch ? 'application/x-ndjson' : 'text/plain'}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

function describeRound(measured: PublishRound, rounds: number): string {
  const { loaded } = measured;
  return [
    `${measured.mode} round ${measured.round}/${rounds} ${measured.target}: ${short(measured.requestsPerSecond)} requests/s`,
    `${short(measured.eventsPerSecond)} events/s`,
    `server ${percent(measured.serverCpuShare)}`,
    `client ${percent(measured.clientCpuShare)}${counts(measured) ? '' : `, DISCARDED: ${measured.verdict}`}`,
    ...(loaded.closedConnections > 0
      ? [`${loaded.closedConnections} connections closed by the server`]
      : []),
    ...(loaded.firstRefusal === '' ? [] : [`refused: ${loaded.firstRefusal.slice(0, 120)}`]),
  ].join(', ');
}

function summarise(rounds: PublishRound[]): PublishFigures[] {
  const keys = new Set(rounds.map((round) => `${round.mode}\n${round.target}`));
  return [...keys].map((key) => {
    const own = rounds.filter((round) => `${round.mode}\n${round.target}` === key);
    const first = own[0]!;
    const kept = own.filter(counts);
    const middle = (pick: (round: PublishRound) => number): number => median(kept.map(pick));
    const closed = own.reduce((sum, round) => sum + round.loaded.closedConnections, 0);
    const figures: PublishFigures = {
      mode: first.mode,
      target: first.target,
      requestsPerSecond: middle((round) => round.requestsPerSecond),
      eventsPerSecond: middle((round) => round.eventsPerSecond),
      serverCpuShare: middle((round) => round.serverCpuShare),
      serverCpuUsPerRequest: middle((round) => round.serverCpuUsPerRequest),
      clientCpuShare: middle((round) => round.clientCpuShare),
      rounds: own.length,
      discardedRounds: own.length - kept.length,
      refused: own.reduce(
        (sum, round) => sum + round.loaded.answered503 + round.loaded.otherAnswers,
        0,
      ),
    };
    return closed > 0
      ? { ...figures, notBorne: `the server closed ${closed} connections` }
      : figures;
  });
}

function describe(summary: PublishFigures[]): string {
  return drawTable(
    [
      'mode',
      'server',
      'requests/s',
      'events/s',
      'server CPU',
      'CPU µs/request',
      'client CPU',
      'rounds',
      'refused',
    ],
    summary.map((figures) => [
      figures.mode,
      TARGET_TITLES[figures.target],
      figures.notBorne === undefined ? short(figures.requestsPerSecond) : 'not supported',
      figures.notBorne === undefined ? short(figures.eventsPerSecond) : 'not supported',
      percent(figures.serverCpuShare),
      fixed(figures.serverCpuUsPerRequest, 2),
      percent(figures.clientCpuShare),
      roundsLeft(figures),
      figures.refused,
    ]),
  );
}
