/**
 * Workers: what a delivery costs two processes on one port beside one process, and how many lines
 * the two hold.
 */
import { readFileLimit } from '../src/linux/file-limit.js';
import { connectionsUnder } from '../src/options/table.js';
import { remarkOnOtherProcesses } from './machine.js';
import { CLIENT_NAP_MS, type OpenLoopOrder, faultsOf, measureOpenLoop } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { fixed, ms, percent, short } from './table.js';
import { absence } from './targets.js';
import { counts, remarkOnDiscarded } from './verdict.js';
import { Visit } from './visit.js';
import {
  type CostRound,
  LIMITS_REMARK,
  type HeldRound,
  type Placed,
  type WorkersParameters,
  type WorkersSummary,
  costFigures,
  describeWorkers,
  heldFigures,
  nameOfWorkers,
} from './workers-figures.js';
import { type WorkersServer, type WorkersSettings, startWorkers } from './workers-target.js';

const WORKERS = 2;
const HELD_LINES = 38_000;
const FULL = { lines: 15_000, rate: 5, window: 20, warmUp: 3, heldWindow: 10 };
const QUICK = { lines: 2_000, rate: 5, window: 3, warmUp: 1, heldWindow: 3 };
const TAIL_SECONDS = 0.5;
const SETTLE_DEADLINE_MS = 10_000;

/** Files that a client process needs beside its lines. */
const CLIENT_SPARE_FILES = 200;

export async function measureWorkers(
  options: RunOptions,
): Promise<Measured<WorkersParameters, CostRound | HeldRound, WorkersSummary>> {
  const why = absence('holdline-workers');
  if (why !== undefined) throw new Error(why);
  const parameters = chooseParameters(options);
  const costs: CostRound[] = [];
  const helds: HeldRound[] = [];
  const failures: string[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const attempt = async <R extends CostRound | HeldRound>(
      what: string,
      rounds: R[],
      measuring: Promise<R>,
    ): Promise<void> => {
      try {
        rounds.push(await measuring);
        options.say(describeRound(rounds.at(-1)!, parameters.rounds));
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        failures.push(`round ${round}, ${what}: ${message.split('\n', 1)[0]}`);
        options.say(failures.at(-1)!);
      }
    };
    for (const workers of [1, parameters.workers]) {
      const what = `${nameOfWorkers(workers)} with ${short(parameters.lines)} lines`;
      await attempt(what, costs, measureCost(workers, round, parameters));
    }
    const what = `${nameOfWorkers(parameters.workers)} with ${short(parameters.heldLines)} lines`;
    await attempt(what, helds, measureHeld(round, parameters));
  }
  const summary: WorkersSummary = {
    figures: [1, parameters.workers].map((workers) => costFigures(workers, costs)),
    held: helds.length === 0 ? null : heldFigures(helds),
  };
  const remarks = [...remarkOnLimits(parameters), ...failures, ...remarksOn(costs, helds)];
  const rounds = [...costs, ...helds];
  return { parameters, rounds, summary, remarks, table: describeWorkers(summary, parameters) };
}

function chooseParameters(options: RunOptions): WorkersParameters {
  const size = options.quick ? QUICK : FULL;
  const fileLimit = readFileLimit() ?? 1024;
  const lines = options.lines ?? size.lines;
  const wanted = options.quick ? WORKERS * lines : HELD_LINES;
  return {
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    workers: WORKERS,
    lines,
    ratePerSecond: options.ratesPerSecond?.[0] ?? size.rate,
    windowSeconds: options.windowSeconds ?? size.window,
    warmUpSeconds: size.warmUp,
    heldLinesWanted: wanted,
    heldLines: Math.min(wanted, WORKERS * connectionsUnder(fileLimit)),
    heldRatePerSecond: 1,
    heldWindowSeconds: options.windowSeconds ?? size.heldWindow,
    heldClients: Math.ceil(wanted / Math.max(1, fileLimit - CLIENT_SPARE_FILES)),
  };
}

/** What the file limit makes of the lines that were to be held. */
function remarkOnLimits({
  workers,
  heldLines,
  heldLinesWanted,
  heldClients,
}: WorkersParameters): string[] {
  const fileLimit = readFileLimit();
  const most = workers * connectionsUnder(fileLimit);
  const words =
    `${LIMITS_REMARK} ${short(fileLimit ?? null)} files here (ulimit -n): ` +
    `${workers} workers take ${short(most)} lines at most, and ${heldClients} client ${heldClients === 1 ? 'process holds' : 'processes hold'} them`;
  return [
    heldLines < heldLinesWanted
      ? `${words}; ${short(heldLines)} of ${short(heldLinesWanted)} lines were tried`
      : words,
  ];
}

async function withWorkers<T>(
  settings: WorkersSettings,
  measure: (visit: Visit, server: WorkersServer) => Promise<T>,
): Promise<T> {
  const server = await startWorkers(settings);
  const here = new Visit(server);
  try {
    return await measure(here, server);
  } finally {
    await here.end();
  }
}

function measureCost(
  workers: number,
  round: number,
  { lines, ratePerSecond, warmUpSeconds, windowSeconds }: WorkersParameters,
): Promise<CostRound> {
  return withWorkers({ workers }, async (here, server) => {
    const fleet = await here.startFleet({ countsInC: true });
    const order = orderOf({ lines, ratePerSecond, warmUpSeconds, windowSeconds });
    const measured = await measureOpenLoop(here, fleet, order);
    return { part: 'cost', workers, round, ...measured, ...(await placed(server, lines)) };
  });
}

function measureHeld(
  round: number,
  {
    workers,
    heldLines,
    heldRatePerSecond,
    heldWindowSeconds,
    heldClients,
    warmUpSeconds,
  }: WorkersParameters,
): Promise<HeldRound> {
  return withWorkers({ workers, isPinned: false }, async (here, server) => {
    const fleet = await here.startFleet({ processes: heldClients });
    const order = orderOf({
      lines: heldLines,
      ratePerSecond: heldRatePerSecond,
      warmUpSeconds,
      windowSeconds: heldWindowSeconds,
    });
    const measured = await measureOpenLoop(here, fleet, order);
    return { part: 'held', workers, round, ...measured, ...(await placed(server, heldLines)) };
  });
}

function orderOf(
  order: Pick<OpenLoopOrder, 'lines' | 'ratePerSecond' | 'warmUpSeconds' | 'windowSeconds'>,
): OpenLoopOrder {
  return {
    ...order,
    tailSeconds: TAIL_SECONDS,
    clientNapMs: CLIENT_NAP_MS,
    settleDeadlineMs: SETTLE_DEADLINE_MS,
  };
}

/**
 * While the lines are held. Throws when the server does not hold all: a line that it refuses for
 * now is an answer of 200, and bytes to a client that only counts them.
 */
async function placed(
  server: WorkersServer,
  lines: number,
): Promise<Pick<Placed, 'openFiles' | 'restarts'>> {
  const { open, refused, restarts } = await server.report();
  if (open < lines)
    throw new Error(
      `the server holds ${open} of ${lines} lines; refused: ${JSON.stringify(refused)}`,
    );
  return { openFiles: server.openFiles(), restarts };
}

function remarksOn(costs: readonly CostRound[], helds: readonly HeldRound[]): string[] {
  const groups: [string, readonly (CostRound | HeldRound)[]][] = [
    ['one process', costs.filter(({ workers }) => workers === 1)],
    [`${WORKERS} workers`, costs.filter(({ workers }) => workers > 1)],
    [`${WORKERS} workers with all lines`, helds],
  ];
  return groups.flatMap(([where, rounds]) => {
    if (rounds.length === 0) return [];
    const faults = rounds.reduce((sum, { check }) => sum + faultsOf(check), 0);
    const restarts = rounds.reduce((sum, round) => sum + round.restarts, 0);
    return [
      ...remarkOnDiscarded(where, rounds),
      ...remarkOnOtherProcesses(where, Math.max(...rounds.map((one) => one.strangerCpuShare))),
      ...(faults > 0 ? [`${where}: ${faults} faults in the streams`] : []),
      ...(restarts > 0 ? [`${where}: ${restarts} workers were started again`] : []),
    ];
  });
}

function describeRound(round: CostRound | HeldRound, rounds: number): string {
  return [
    `round ${round.round}/${rounds} ${nameOfWorkers(round.workers)}, ${short(round.lines)} lines at ${round.ratePerSecond}/s: ` +
      `CPU ${fixed(round.serverCpuUsPerDelivery, 2)} µs a delivery`,
    `p50 ${ms(round.latencyMs.p50)} p99 ${ms(round.latencyMs.p99)}`,
    `server ${percent(round.serverCpuShare)}`,
    `client ${percent(round.clientCpuShare)}`,
    `files ${round.openFiles.map(short).join(' and ')}`,
    `${counts(round) ? round.verdict : `DISCARDED: ${round.verdict}`}${faultsOf(round.check) > 0 ? ` FAULTS ${JSON.stringify(round.check)}` : ''}`,
  ].join(', ');
}
