/** The figures of the logs: medians of the rounds that count, what they differ by, their table. */
import type { ClosedLoop } from './closed-loop.js';
import type { Flushes } from './flush-loop.js';
import type { AwayRound } from './log-away.js';
import { type OpenLoopRound, faultsOf } from './open-loop.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms, percent, short } from './table.js';
import { counts, roundsLeft } from './verdict.js';

export const LOGS = ['memory', 'lmdb, sync', 'lmdb, async', 'nats'] as const;
export type LogName = (typeof LOGS)[number];

export interface BatchRound extends ClosedLoop {
  part: 'batches';
  log: LogName;
  round: number;
  eventsPerSecond: number;
}

/** Single events at a low rate, and one line that they come to. */
export interface SingleRound extends OpenLoopRound {
  part: 'single';
  log: LogName;
  round: number;
}

export interface FlushRound extends Flushes {
  part: 'flushes';
  round: number;
}

export type LogRound = BatchRound | SingleRound | FlushRound | (AwayRound & { part: 'away' });

/** Medians; NaN, which JSON writes as null, where no round counts. */
export interface LogFigures {
  log: LogName;
  rounds: number;
  /** Of the batches or of the single events, whichever are more. */
  discardedRounds: number;
  eventsPerSecond: number;
  /** Batches in memory of the same round are 1. */
  shareOfMemory: number;
  serverCpuShare: number;
  /** Of nats-server; null for the others. */
  logCpuShare: number | null;
  answerP50Ms: number;
  answerP99Ms: number;
  /** More than a flush of the same round took; null for logs that wait for none. */
  answerOverFlushP99Ms: number | null;
  deliverP50Ms: number;
  deliverP99Ms: number;
  /** More than in memory, in the same round. */
  deliverOverMemoryP50Ms: number;
  refused: number;
  faults: number;
}

export interface FlushFigures {
  rounds: number;
  p50Ms: number;
  p99Ms: number;
  closedP50Ms: number;
  closedPerSecond: number;
}

export interface AwayFigures {
  rounds: number;
  published: number;
  caughtUpMs: number;
  caughtUpMsOfRounds: number[];
  /** The fewest of all rounds. */
  delivered: number;
  /** Of all rounds. */
  doubled: number;
  outOfOrder: number;
  gaps: number;
}

export interface LogSummary {
  figures: LogFigures[];
  flushes: FlushFigures | null;
  away: AwayFigures | null;
}

export function summariseLogs(rounds: readonly LogRound[]): LogSummary {
  const batches = rounds.filter((one): one is BatchRound => one.part === 'batches');
  const singles = rounds.filter((one): one is SingleRound => one.part === 'single');
  const flushes = rounds.filter((one): one is FlushRound => one.part === 'flushes');
  const aways = rounds.filter((one) => one.part === 'away');
  return {
    figures: LOGS.filter((log) => batches.some((round) => round.log === log)).map((log) =>
      figuresOf(log, batches, singles, flushes),
    ),
    flushes: flushes.length === 0 ? null : flushFigures(flushes),
    away: aways.length === 0 ? null : awayFigures(aways),
  };
}

function figuresOf(
  log: LogName,
  batches: readonly BatchRound[],
  singles: readonly SingleRound[],
  flushes: readonly FlushRound[],
): LogFigures {
  const ofLog = (round: { log: LogName }): boolean => round.log === log;
  const own = batches.filter(ofLog);
  const kept = own.filter(counts);
  const ownSingles = singles.filter(ofLog);
  const keptSingles = ownSingles.filter(counts);
  const batch = (pick: (round: BatchRound) => number): number => median(kept.map(pick));
  const single = (pick: (round: SingleRound) => number): number => median(keptSingles.map(pick));
  const inMemory = <Round extends BatchRound | SingleRound>(of: readonly Round[], nth: number) =>
    of.filter(counts).find(({ log: other, round }) => other === 'memory' && round === nth);
  const flushed = (nth: number): FlushRound | undefined =>
    flushes.find(({ round }) => round === nth);
  const logShares = kept.flatMap(({ logCpuShare }) => logCpuShare ?? []);
  return {
    log,
    rounds: own.length,
    discardedRounds: Math.max(own.length - kept.length, ownSingles.length - keptSingles.length),
    eventsPerSecond: batch((round) => round.eventsPerSecond),
    shareOfMemory: median(
      pairs(
        kept,
        (round) => inMemory(batches, round.round),
        (ours, theirs) => ours.eventsPerSecond / theirs.eventsPerSecond,
      ),
    ),
    serverCpuShare: batch((round) => round.serverCpuShare),
    logCpuShare: logShares.length === 0 ? null : median(logShares),
    answerP50Ms: single((round) => round.published.answerMs.p50),
    answerP99Ms: single((round) => round.published.answerMs.p99),
    answerOverFlushP99Ms:
      log === 'lmdb, sync'
        ? median(
            pairs(
              keptSingles,
              (round) => flushed(round.round),
              (ours, floor) => ours.published.answerMs.p99 - floor.atRateMs.p99,
            ),
          )
        : null,
    deliverP50Ms: single((round) => round.latencyMs.p50),
    deliverP99Ms: single((round) => round.latencyMs.p99),
    deliverOverMemoryP50Ms: median(
      pairs(
        keptSingles,
        (round) => inMemory(singles, round.round),
        (ours, theirs) => ours.latencyMs.p50 - theirs.latencyMs.p50,
      ),
    ),
    refused: own.reduce((sum, { loaded }) => sum + loaded.answered503 + loaded.otherAnswers, 0),
    faults: ownSingles.reduce((sum, { check }) => sum + faultsOf(check), 0),
  };
}

/** A figure of each round that has something beside it. */
function pairs<One, Other>(
  rounds: readonly One[],
  besideOf: (one: One) => Other | undefined,
  figure: (one: One, other: Other) => number,
): number[] {
  return rounds.flatMap((one) => {
    const other = besideOf(one);
    return other === undefined ? [] : [figure(one, other)];
  });
}

function flushFigures(rounds: readonly FlushRound[]): FlushFigures {
  const middle = (pick: (round: FlushRound) => number): number => median(rounds.map(pick));
  return {
    rounds: rounds.length,
    p50Ms: middle(({ atRateMs }) => atRateMs.p50),
    p99Ms: middle(({ atRateMs }) => atRateMs.p99),
    closedP50Ms: middle(({ closedMs }) => closedMs.p50),
    closedPerSecond: middle(({ closedPerSecond }) => closedPerSecond),
  };
}

function awayFigures(rounds: readonly AwayRound[]): AwayFigures {
  const sum = (pick: (round: AwayRound) => number): number =>
    rounds.reduce((total, round) => total + pick(round), 0);
  return {
    rounds: rounds.length,
    published: rounds[0]!.published,
    caughtUpMs: median(rounds.map(({ caughtUpMs }) => caughtUpMs)),
    caughtUpMsOfRounds: rounds.map(({ caughtUpMs }) => caughtUpMs),
    delivered: Math.min(...rounds.map(({ delivered }) => delivered)),
    doubled: sum(({ doubled }) => doubled),
    outOfOrder: sum(({ outOfOrder }) => outOfOrder),
    gaps: sum(({ gaps }) => gaps),
  };
}

export function describeLogs({ figures, flushes, away }: LogSummary): string {
  const table = drawTable(
    [
      'log',
      'events/s in batches',
      '÷ memory',
      'server CPU',
      'nats CPU',
      'single p50',
      'single p99',
      'p99 over a flush',
      'delivered p50',
      'delivered p99',
      'p50 over memory',
      'rounds',
      'refused',
    ],
    figures.map((one) => [
      one.log,
      short(one.eventsPerSecond),
      fixed(one.shareOfMemory, 2),
      percent(one.serverCpuShare),
      one.logCpuShare === null ? '' : percent(one.logCpuShare),
      ms(one.answerP50Ms),
      ms(one.answerP99Ms),
      one.answerOverFlushP99Ms === null ? '' : signedMs(one.answerOverFlushP99Ms),
      ms(one.deliverP50Ms),
      ms(one.deliverP99Ms),
      signedMs(one.deliverOverMemoryP50Ms),
      roundsLeft(one),
      one.refused,
    ]),
  );
  return [
    table,
    ...(flushes === null
      ? []
      : [
          `bare fdatasync of 4 KiB: p50 ${ms(flushes.p50Ms)}, p99 ${ms(flushes.p99Ms)} at the rate of the single events; ` +
            `one after the other p50 ${ms(flushes.closedP50Ms)}, ${short(flushes.closedPerSecond)}/s`,
        ]),
    ...(away === null
      ? []
      : [
          `a node cut off from NATS for ${short(away.published)} events: its line had them after ${ms(away.caughtUpMs)} ` +
            `(${away.caughtUpMsOfRounds.map(ms).join(', ')}); at least ${short(away.delivered)} delivered, ${away.doubled} doubled, ` +
            `${away.outOfOrder} out of order, ${away.gaps} gaps`,
        ]),
  ].join('\n');
}

/** +0.4 ms; a difference may be below nothing. */
export function signedMs(value: number | null): string {
  if (value === null || Number.isNaN(value)) return ms(value);
  return `${value < 0 ? '−' : '+'}${ms(Math.abs(value))}`;
}
