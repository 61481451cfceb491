/**
 * Short-poll: how many polls with wait=0 one server process answers, with nothing new and with one
 * event, beside a bare uWebSockets.js route that sends the same bytes.
 */
import { connect } from 'node:net';
import { type ClosedLoop, measureClosedLoop } from './closed-loop.js';
import { ANY_DATA, DATA_BYTES, PATH } from './event.js';
import { remarkOnOtherProcesses } from './machine.js';
import type { Measured, RunOptions } from './results.js';
import type { FixedAnswerSettings } from './servers/fixed-answer.js';
import { median } from './statistics.js';
import { drawTable, fixed, percent, short } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import { counts, remarkOnDiscarded, roundsLeft } from './verdict.js';
import { type Visit, visit } from './visit.js';

interface Kind {
  name: string;
  /** Position of the polls: after the only event, whose id is 1, or before it. */
  since: number;
  status: string;
}

export interface ShortPollParameters {
  connections: number;
  warmUpSeconds: number;
  windowSeconds: number;
  rounds: number;
  limit: number;
  eventBytes: number;
  kinds: Kind[];
  pipelined: number[];
  /** Size of the answers of both servers. */
  answerBytes: Record<string, number>;
}

export interface ShortPollRound extends ClosedLoop {
  target: TargetName;
  kind: string;
  since: number;
  pipelined: number;
  round: number;
}

export interface ShortPollFigures {
  target: TargetName;
  kind: string;
  /** 0: every answer had one event. */
  since: number;
  pipelined: number;
  requestsPerSecond: number;
  serverCpuShare: number;
  serverCpuUsPerRequest: number;
  clientCpuShare: number;
  rounds: number;
  discardedRounds: number;
  /** Of the round with the most. */
  strangerCpuShare: number;
  refused: number;
  /** Holdline ÷ the floor, median of the rounds' pairs; null in the floor's own row. */
  shareOfFloor: number | null;
  shareOfFloorOfRounds: number[];
}

const CONNECTIONS = 64;
const PIPELINED = [1, 8];
const LIMIT = 100;
const KINDS: Kind[] = [
  { name: 'nothing new', since: 1, status: '204' },
  { name: 'one event', since: 0, status: '200' },
];
const TARGETS_HERE: TargetName[] = ['holdline', 'fixed-answer'];
const ANSWER_DEADLINE_MS = 5_000;

export async function measureShortPoll(
  options: RunOptions,
): Promise<Measured<ShortPollParameters, ShortPollRound, ShortPollFigures[]>> {
  const why = absence('holdline');
  if (why !== undefined) throw new Error(why);
  const answers = new Map<string, Answer>();
  for (const kind of KINDS)
    answers.set(kind.name, await visit('holdline', {}, (here) => askOnce(here, kind, true)));
  const parameters: ShortPollParameters = {
    connections: CONNECTIONS,
    warmUpSeconds: options.quick ? 1 : 2,
    windowSeconds: options.windowSeconds ?? (options.quick ? 2 : 5),
    rounds: options.rounds ?? (options.quick ? 1 : 5),
    limit: LIMIT,
    eventBytes: DATA_BYTES,
    kinds: KINDS,
    pipelined: PIPELINED,
    answerBytes: Object.fromEntries([...answers].map(([name, { bytes }]) => [name, bytes])),
  };
  const targets = TARGETS_HERE.filter((target) => options.targets?.includes(target) ?? true);
  const rounds: ShortPollRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const kind of parameters.kinds) {
      for (const pipelined of parameters.pipelined) {
        for (const target of targets) {
          const measured = await measureRound(
            target,
            kind,
            pipelined,
            round,
            parameters,
            answers.get(kind.name)!,
          );
          rounds.push(measured);
          options.say(describeRound(measured, parameters.rounds));
        }
      }
    }
  }
  const summary = summarise(rounds);
  const remarks = summary.flatMap((figures) => [
    ...remarkOnDiscarded(
      where(figures),
      rounds.filter((round) => where(round) === where(figures)),
    ),
    ...remarkOnOtherProcesses(where(figures), figures.strangerCpuShare),
    ...(figures.refused > 0
      ? [`${where(figures)}: ${figures.refused} answers were neither 200 nor 204`]
      : []),
  ]);
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

function measureRound(
  target: TargetName,
  kind: Kind,
  pipelined: number,
  round: number,
  parameters: ShortPollParameters,
  wanted: Answer,
): Promise<ShortPollRound> {
  const isFloor = target === 'fixed-answer';
  return visit(target, isFloor ? wanted.settings : {}, async (here) => {
    // They are compared only if their bytes are the same.
    const given = await askOnce(here, kind, !isFloor);
    if (given.text !== wanted.text)
      throw new Error(`${target} answered\n${given.text}\nand not\n${wanted.text}`);
    const measured = await measureClosedLoop(here, {
      request: buildRequest(here.server.port, kind.since),
      connections: parameters.connections,
      pipelined,
      warmUpSeconds: parameters.warmUpSeconds,
      windowSeconds: parameters.windowSeconds,
    });
    if (measured.loaded.closedConnections > 0)
      throw new Error(`${target} closed ${measured.loaded.closedConnections} connections`);
    return { target, kind: kind.name, since: kind.since, pipelined, round, ...measured };
  });
}

function buildRequest(port: number, since: number): Buffer {
  return Buffer.from(
    `GET ${PATH}?since=${since}&wait=0&limit=${LIMIT} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
    'latin1',
  );
}

interface Answer {
  bytes: number;
  /** The whole answer, without the time in `Date` and with sorted headers. */
  text: string;
  settings: FixedAnswerSettings;
}

/** Headers that uWebSockets.js writes by itself. */
const WRITTEN_BY_UWS = /^(date|uwebsockets|content-length):/i;

async function askOnce({ server }: Visit, kind: Kind, publishes: boolean): Promise<Answer> {
  if (publishes) await exchange(server.port, buildPublish(server.port));
  const raw = await exchange(server.port, buildRequest(server.port, kind.since));
  const headEnd = raw.indexOf('\r\n\r\n');
  const [statusLine, ...headers] = raw.slice(0, headEnd).split('\r\n') as [string, ...string[]];
  const body = raw.slice(headEnd + 4);
  const status = statusLine.slice('HTTP/1.1 '.length);
  if (!status.startsWith(kind.status))
    throw new Error(`${server.name} answered ${raw} and not ${kind.status}`);
  const lasting = headers.map((header) => header.replace(/^date:.*/i, 'Date: …')).sort();
  return {
    bytes: raw.length,
    text: [statusLine, ...lasting, '', body].join('\r\n'),
    settings: {
      status,
      headers: headers
        .filter((header) => !WRITTEN_BY_UWS.test(header))
        .map((header) => split(header)),
      body,
      hasLength: headers.some((header) => /^content-length:/i.test(header)),
    },
  };
}

function split(header: string): [name: string, value: string] {
  const colon = header.indexOf(':');
  return [header.slice(0, colon), header.slice(colon + 1).trim()];
}

function buildPublish(port: number): Buffer {
  const head = `POST ${PATH} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: text/plain\r\nContent-Length: ${DATA_BYTES}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), ANY_DATA]);
}

/** Sends one request on its own connection and returns the answer, which is ASCII. */
function exchange(port: number, request: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    // An answer ends after its length; a 204 may have none.
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer in ${ANSWER_DEADLINE_MS} ms but ${JSON.stringify(text)}`));
    }, ANSWER_DEADLINE_MS);
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const headEnd = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? 0);
      if (headEnd === -1 || text.length < headEnd + 4 + length) return;
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    });
    socket.on('error', reject);
  });
}

function summarise(rounds: ShortPollRound[]): ShortPollFigures[] {
  const keys = new Set(rounds.map((round) => where(round)));
  return [...keys].map((key) => {
    const own = rounds.filter((round) => where(round) === key);
    const first = own[0]!;
    const kept = own.filter(counts);
    const middle = (pick: (round: ShortPollRound) => number): number => median(kept.map(pick));
    const shares =
      first.target === 'fixed-answer' ? [] : kept.flatMap((round) => shareOfFloor(round, rounds));
    return {
      target: first.target,
      kind: first.kind,
      since: first.since,
      pipelined: first.pipelined,
      requestsPerSecond: middle((round) => round.requestsPerSecond),
      serverCpuShare: middle((round) => round.serverCpuShare),
      serverCpuUsPerRequest: middle((round) => round.serverCpuUsPerRequest),
      clientCpuShare: middle((round) => round.clientCpuShare),
      rounds: own.length,
      discardedRounds: own.length - kept.length,
      strangerCpuShare: Math.max(...own.map(({ strangerCpuShare }) => strangerCpuShare)),
      refused: own.reduce((sum, { loaded }) => sum + loaded.answered503 + loaded.otherAnswers, 0),
      shareOfFloor: shares.length === 0 ? null : median(shares),
      shareOfFloorOfRounds: shares,
    };
  });
}

/** Empty when the floor has no figure of that round. */
function shareOfFloor(our: ShortPollRound, rounds: ShortPollRound[]): number[] {
  const floor = rounds
    .filter(counts)
    .find(
      ({ target, kind, pipelined, round }) =>
        target === 'fixed-answer' &&
        kind === our.kind &&
        pipelined === our.pipelined &&
        round === our.round,
    );
  return floor === undefined ? [] : [our.requestsPerSecond / floor.requestsPerSecond];
}

function where({
  target,
  kind,
  pipelined,
}: Pick<ShortPollRound, 'target' | 'kind' | 'pipelined'>): string {
  return `${target}, ${kind}, ${pipelined} at a time`;
}

function describeRound(measured: ShortPollRound, rounds: number): string {
  return (
    `round ${measured.round}/${rounds} ${where(measured)}: ${short(measured.requestsPerSecond)} requests/s, ` +
    `${measured.serverCpuUsPerRequest.toFixed(2)} µs each, server ${percent(measured.serverCpuShare)}, ` +
    `client ${percent(measured.clientCpuShare)}${counts(measured) ? '' : `, DISCARDED: ${measured.verdict}`}`
  );
}

function describe(summary: ShortPollFigures[]): string {
  return drawTable(
    [
      '',
      'at a time',
      'server',
      'requests/s',
      '÷ floor',
      'server CPU',
      'CPU µs/request',
      'client CPU',
      'rounds',
    ],
    summary.map((figures) => [
      figures.kind,
      figures.pipelined,
      TARGET_TITLES[figures.target],
      short(figures.requestsPerSecond),
      figures.shareOfFloor === null ? '' : figures.shareOfFloor.toFixed(2),
      percent(figures.serverCpuShare),
      fixed(figures.serverCpuUsPerRequest, 2),
      percent(figures.clientCpuShare),
      roundsLeft(figures),
    ]),
  );
}
