/** The figures of isolation: whether a channel's p99 stays as it is beside another's trouble. */
import type { Latency } from './latency.js';
import { LOADS, type LoadName, type LoadReport } from './isolation-orders.js';
import {
  ISOLATION_SERVERS,
  ISOLATION_TITLES,
  type IsolationServerName,
} from './isolation-servers.js';
import { type Check, faultsOf } from './open-loop.js';
import { median } from './statistics.js';
import { drawTable, ms, percent, short } from './table.js';
import { roundsLeft } from './verdict.js';

/** The control channel in one window. */
export interface ControlWindow {
  /** From the moment the event was due. */
  latencyMs: Latency;
  /** How late the events left: the publisher's share of the latency. */
  latenessMs: Latency;
  answerMs: Latency;
  /** p99 of how late the process of the checked lines was to read what had come. */
  readLateMs: number;
  accepted: number;
  refused: number;
  check: Check;
  serverCpuShare: number;
  clientCpuShare: number;
  /** Of nats-server; null where the log is the server's own. */
  logCpuShare: number | null;
  /** What a client of NATS without Holdline waited for its answers; null where there is no NATS. */
  natsAnswerMs: Latency | null;
  /** How busy the two cores were; null where that is not known. */
  serverCoreShare: number | null;
  clientCoreShare: number | null;
}

export interface IsolationRound {
  server: IsolationServerName;
  load: LoadName;
  round: number;
  /** In the same visit, before the load. */
  alone: ControlWindow;
  beside: ControlWindow;
  loaded: LoadReport;
  verdict: IsolationVerdict;
}

export type IsolationVerdict =
  /** The p99 beside is within its limit. */
  | 'kept'
  /** It is over the limit, by more than the client itself was late. */
  | 'moved'
  /** It is over the limit, and the client was late by so much. Discarded. */
  | 'client';

/** By how much a p99 may move beside another channel's trouble: the larger of the two. */
const TIMES_MAX = 2;
const MOVE_MS_MAX = 10;

export function limitMsOf(aloneP99Ms: number): number {
  return Math.max(TIMES_MAX * aloneP99Ms, aloneP99Ms + MOVE_MS_MAX);
}

/**
 * Percentiles do not add up; their sum is the most that the client's part of the p99 can be said
 * to be.
 */
export function isolationVerdict(alone: ControlWindow, beside: ControlWindow): IsolationVerdict {
  const limitMs = limitMsOf(alone.latencyMs.p99);
  const { p99 } = beside.latencyMs;
  if (p99 <= limitMs) return 'kept';
  return p99 - beside.latenessMs.p99 - beside.readLateMs <= limitMs ? 'client' : 'moved';
}

/** By how much NATS itself answered later beside the load; 0 where there is no NATS. */
function natsMoveMsOf({ alone, beside }: IsolationRound): number {
  return (beside.natsAnswerMs?.p99 ?? 0) - (alone.natsAnswerMs?.p99 ?? 0);
}

/** Medians; NaN, which JSON writes as null, where no round counts. */
export interface IsolationFigures {
  server: IsolationServerName;
  load: LoadName;
  rounds: number;
  discardedRounds: number;
  aloneP50Ms: number;
  aloneP99Ms: number;
  p50Ms: number;
  p99Ms: number;
  p99MsOfRounds: number[];
  limitMs: number;
  isKept: boolean;
  /** p99 of a client of NATS without Holdline; NaN where there is no NATS. */
  aloneNatsP99Ms: number;
  natsP99Ms: number;
  /** It is over the limit, by no more than NATS itself moved. */
  isMovedByNats: boolean;
  /** Of all cores. */
  busyShare: number;
  /** Of all processes of the server, in cores. */
  serverCpuShare: number;
  /** What the load did in a second: events, or lines of the herd that came back. */
  loadPerSecond: number;
  faults: number;
}

export interface IsolationSummary {
  figures: IsolationFigures[];
}

export function summariseIsolation(rounds: readonly IsolationRound[]): IsolationSummary {
  const figures = ISOLATION_SERVERS.flatMap((server) =>
    LOADS.flatMap((load) => {
      const own = rounds.filter((round) => round.server === server && round.load === load);
      return own.length === 0 ? [] : [figuresOf(server, load, own)];
    }),
  );
  return { figures };
}

function figuresOf(
  server: IsolationServerName,
  load: LoadName,
  own: readonly IsolationRound[],
): IsolationFigures {
  const kept = own.filter(({ verdict }) => verdict !== 'client');
  const middle = (pick: (round: IsolationRound) => number): number => median(kept.map(pick));
  const aloneP99Ms = middle(({ alone }) => alone.latencyMs.p99);
  const p99Ms = middle(({ beside }) => beside.latencyMs.p99);
  const limitMs = limitMsOf(aloneP99Ms);
  const isKept = p99Ms <= limitMs;
  return {
    server,
    load,
    rounds: own.length,
    discardedRounds: own.length - kept.length,
    aloneP50Ms: middle(({ alone }) => alone.latencyMs.p50),
    aloneP99Ms,
    p50Ms: middle(({ beside }) => beside.latencyMs.p50),
    p99Ms,
    p99MsOfRounds: own.map(({ beside }) => beside.latencyMs.p99),
    limitMs,
    isKept,
    aloneNatsP99Ms: middle(({ alone }) => alone.natsAnswerMs?.p99 ?? Number.NaN),
    natsP99Ms: middle(({ beside }) => beside.natsAnswerMs?.p99 ?? Number.NaN),
    isMovedByNats: !isKept && p99Ms - middle(natsMoveMsOf) <= limitMs,
    busyShare: middle(({ beside }) => (beside.serverCoreShare! + beside.clientCoreShare!) / 2),
    serverCpuShare: middle(({ beside }) => beside.serverCpuShare),
    loadPerSecond: middle(({ loaded }) => loadPerSecond(loaded)),
    faults: own.reduce(
      (sum, { alone, beside }) => sum + faultsOf(alone.check) + faultsOf(beside.check),
      0,
    ),
  };
}

function loadPerSecond({ load, waves, published, seconds }: LoadReport): number {
  return (load === 'herd' ? waves : published) / seconds;
}

/** What the row says of the aim. */
export function verdictWords({ p99Ms, isKept, isMovedByNats }: IsolationFigures): string {
  if (Number.isNaN(p99Ms)) return '–';
  if (isKept) return 'kept';
  return isMovedByNats ? 'NATS moved' : 'MOVED';
}

/** `320 k events/s`, `2.1 waves/s`. */
export function loadWords({ load, loadPerSecond: pace }: IsolationFigures): string {
  return load === 'herd' ? `${pace.toFixed(1)} waves/s` : `${short(pace)} events/s`;
}

/** `1.2 → 22 ms`, p99 alone and beside. */
export function natsWords({ aloneNatsP99Ms, natsP99Ms }: IsolationFigures): string {
  return Number.isFinite(natsP99Ms) ? `${ms(aloneNatsP99Ms)} → ${ms(natsP99Ms)}` : '';
}

export function describeIsolation({ figures }: IsolationSummary): string {
  return drawTable(
    [
      'server',
      'beside',
      'alone p50',
      'p99',
      'beside p50',
      'p99',
      'rounds',
      'limit',
      '',
      'NATS itself',
      'the load did',
      'server CPU',
      'cores busy',
      'kept',
    ],
    figures.map((one) => [
      ISOLATION_TITLES[one.server],
      one.load,
      ms(one.aloneP50Ms),
      ms(one.aloneP99Ms),
      ms(one.p50Ms),
      ms(one.p99Ms),
      one.p99MsOfRounds.map(ms).join(', '),
      ms(one.limitMs),
      verdictWords(one),
      natsWords(one),
      loadWords(one),
      percent(one.serverCpuShare),
      percent(one.busyShare),
      roundsLeft(one),
    ]),
  );
}
