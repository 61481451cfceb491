/** The figures of servers of several processes: medians of rounds that count, and a table. */
import { type OpenLoopRound, faultsOf } from './open-loop.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms, percent, short } from './table.js';
import { counts, roundsLeft } from './verdict.js';

export interface WorkersParameters {
  rounds: number;
  workers: number;
  /** Of the cost of a delivery. */
  lines: number;
  ratePerSecond: number;
  windowSeconds: number;
  warmUpSeconds: number;
  /** Lines that the workers are to hold, and what the limits of this machine allow. */
  heldLinesWanted: number;
  heldLines: number;
  heldRatePerSecond: number;
  heldWindowSeconds: number;
  heldClients: number;
}

export interface Placed {
  workers: number;
  round: number;
  /** Of each process that serves. */
  openFiles: number[];
  restarts: number;
}

/** All processes of the server on its core, the clients on theirs. */
export interface CostRound extends OpenLoopRound, Placed {
  part: 'cost';
}

/** The workers on every core, beside their clients. */
export interface HeldRound extends OpenLoopRound, Placed {
  part: 'held';
}

export interface CostFigures {
  workers: number;
  rounds: number;
  discardedRounds: number;
  serverCpuUsPerDelivery: number;
  /** ÷ one process, round by round. */
  timesOneProcess: number;
  timesOneProcessOfRounds: number[];
  p50Ms: number;
  p99Ms: number;
  serverCpuShare: number;
  rssBytes: number;
  faults: number;
}

export interface HeldFigures {
  workers: number;
  lines: number;
  rounds: number;
  discardedRounds: number;
  /** Of the process with the fewest files open and of the one with the most, in all rounds. */
  openFiles: [fewest: number, most: number];
  p50Ms: number;
  p99Ms: number;
  rssBytes: number;
  restarts: number;
  faults: number;
}

export interface WorkersSummary {
  figures: CostFigures[];
  held: HeldFigures | null;
}

export function costFigures(workers: number, rounds: readonly CostRound[]): CostFigures {
  const own = rounds.filter((round) => round.workers === workers);
  const kept = own.filter(counts);
  const middle = (pick: (round: CostRound) => number): number => median(kept.map(pick));
  const times = kept.flatMap((round) => {
    const one = rounds.find(
      (other) => other.workers === 1 && other.round === round.round && counts(other),
    );
    return one === undefined ? [] : [round.serverCpuUsPerDelivery / one.serverCpuUsPerDelivery];
  });
  return {
    workers,
    rounds: own.length,
    discardedRounds: own.length - kept.length,
    serverCpuUsPerDelivery: middle((round) => round.serverCpuUsPerDelivery),
    timesOneProcess: median(times),
    timesOneProcessOfRounds: times,
    p50Ms: middle((round) => round.latencyMs.p50),
    p99Ms: middle((round) => round.latencyMs.p99),
    serverCpuShare: middle((round) => round.serverCpuShare),
    rssBytes: middle((round) => round.serverRssBytes),
    faults: own.reduce((sum, { check }) => sum + faultsOf(check), 0),
  };
}

export function heldFigures(rounds: readonly HeldRound[]): HeldFigures {
  const kept = rounds.filter(counts);
  const middle = (pick: (round: HeldRound) => number): number => median(kept.map(pick));
  const files = rounds.flatMap(({ openFiles }) => openFiles);
  return {
    workers: rounds[0]!.workers,
    lines: rounds[0]!.lines,
    rounds: rounds.length,
    discardedRounds: rounds.length - kept.length,
    openFiles: [Math.min(...files), Math.max(...files)],
    p50Ms: middle((round) => round.latencyMs.p50),
    p99Ms: middle((round) => round.latencyMs.p99),
    rssBytes: middle((round) => round.serverRssBytes),
    restarts: rounds.reduce((sum, round) => sum + round.restarts, 0),
    faults: rounds.reduce((sum, { check }) => sum + faultsOf(check), 0),
  };
}

/** How the remark begins that says what the file limit allows. */
export const LIMITS_REMARK = 'a process may open';

/** `one process`, `2 workers`. */
export function nameOfWorkers(workers: number): string {
  return workers === 1 ? 'one process' : `${workers} workers`;
}

export function describeWorkers(
  { figures, held }: WorkersSummary,
  { lines, ratePerSecond }: WorkersParameters,
): string {
  const mib = (bytes: number): string =>
    Number.isNaN(bytes) ? '–' : `${fixed(bytes / 2 ** 20, 0)} MiB`;
  const costs = drawTable(
    [
      `${short(lines)} lines, ${ratePerSecond}/s`,
      'CPU µs/delivery',
      '÷ one process',
      'rounds',
      'p50',
      'p99',
      'server CPU',
      'RSS',
      'kept',
    ],
    figures.map((one) => [
      nameOfWorkers(one.workers),
      fixed(one.serverCpuUsPerDelivery, 2),
      fixed(one.timesOneProcess, 3),
      one.timesOneProcessOfRounds.map((times) => fixed(times, 3)).join(', '),
      ms(one.p50Ms),
      ms(one.p99Ms),
      percent(one.serverCpuShare),
      mib(one.rssBytes),
      roundsLeft(one),
    ]),
  );
  if (held === null) return costs;
  return `${costs}\n${drawTable(
    ['lines held by', 'lines', 'files a worker', 'p50', 'p99', 'RSS', 'restarts', 'kept'],
    [
      [
        nameOfWorkers(held.workers),
        short(held.lines),
        held.openFiles.map(short).join(' to '),
        ms(held.p50Ms),
        ms(held.p99Ms),
        mib(held.rssBytes),
        held.restarts,
        roundsLeft(held),
      ],
    ],
  )}`;
}
