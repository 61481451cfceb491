/**
 * Logs: what events cost when they are kept on a disk or on NATS, beside the log in memory of the
 * same round; single flushes of the disk; a node that was away from NATS.
 */
import { freeOtherThreads } from './child.js';
import { measureClosedLoop } from './closed-loop.js';
import { DATA_BYTES } from './event.js';
import { measureFlushes } from './flush-loop.js';
import { type AwayRound, measureAway } from './log-away.js';
import {
  type BatchRound,
  LOGS,
  type LogName,
  type LogRound,
  type LogSummary,
  type SingleRound,
  describeLogs,
  summariseLogs,
} from './log-figures.js';
import { logFolder, remarkOnDisk } from './log-place.js';
import { LOOP_PINNED_WORDS, remarkOnOtherProcesses } from './machine.js';
import { faultsOf, measureOpenLoop } from './open-loop.js';
import { buildRequest } from './publish.js';
import type { Measured, RunOptions } from './results.js';
import { ms, percent, short } from './table.js';
import { type TargetName, absence } from './targets.js';
import { counts, remarkOnDiscarded } from './verdict.js';
import { visit } from './visit.js';

export interface LogParameters {
  rounds: number;
  logs: LogName[];
  absent: Record<string, string>;
  connections: number;
  batchEvents: number;
  eventBytes: number;
  warmUpSeconds: number;
  /** Of the batches. */
  windowSeconds: number;
  /** Of single events, to one line. */
  ratePerSecond: number;
  singleSeconds: number;
  flushClosedSeconds: number;
  awayEvents: number;
}

const TARGET_OF: Record<LogName, TargetName> = {
  memory: 'holdline',
  'lmdb, sync': 'holdline-lmdb',
  'lmdb, async': 'holdline-lmdb',
  nats: 'holdline-nats',
};
const SETTINGS_OF: Record<LogName, object> = {
  memory: {},
  'lmdb, sync': { durability: 'sync' },
  'lmdb, async': { durability: 'async' },
  nats: {},
};

const CONNECTIONS = 64;
const BATCH_EVENTS = 100;
const RATE_PER_SECOND = 50;
const TAIL_SECONDS = 0.5;
const SETTLE_DEADLINE_MS = 10_000;
const FULL = { warmUp: 3, window: 10, single: 20, closed: 2, away: 100_000 };
const QUICK = { warmUp: 1, window: 2, single: 3, closed: 1, away: 10_000 };

export async function measureLog(
  options: RunOptions,
): Promise<Measured<LogParameters, LogRound, LogSummary>> {
  const parameters = chooseParameters(options);
  const { logs, absent } = parameters;
  const rounds: LogRound[] = [];
  const failures: string[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const say = (measured: LogRound): void => {
      rounds.push(measured);
      options.say(`round ${round}/${parameters.rounds} ${describeRound(measured)}`);
    };
    if (logs.includes('lmdb, sync')) say(await measureFloor(round, parameters));
    for (const log of logs) say(await measureBatches(log, round, parameters));
    for (const log of logs) say(await measureSingles(log, round, parameters));
    if (!logs.includes('nats')) continue;
    try {
      say({ part: 'away', ...(await measureAway(round, parameters.awayEvents)) });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push(`round ${round}, a node that was away: ${why.split('\n', 1)[0]}`);
      options.say(failures.at(-1)!);
    }
  }
  const summary = summariseLogs(rounds);
  const remarks = [
    ...Object.entries(absent).map(([log, why]) => `${log} was not measured: ${why}`),
    ...(logs.includes('lmdb, sync') ? remarkOnDisk() : []),
    ...failures,
    ...remarksOn(rounds, summary),
  ];
  return {
    parameters,
    rounds,
    summary,
    remarks,
    pinned: LOOP_PINNED_WORDS,
    table: describeLogs(summary),
  };
}

/** `--targets` are the servers: `holdline`, `holdline-lmdb` with both durabilities, … */
function chooseParameters(options: RunOptions): LogParameters {
  const { quick } = options;
  const wanted = LOGS.filter((log) => options.targets?.includes(TARGET_OF[log]) ?? true);
  const absent: Record<string, string> = {};
  for (const log of wanted) {
    const why = absence(TARGET_OF[log]);
    if (why !== undefined) absent[log] = why;
  }
  const size = quick ? QUICK : FULL;
  return {
    rounds: options.rounds ?? (quick ? 1 : 3),
    logs: wanted.filter((log) => absent[log] === undefined),
    absent,
    connections: CONNECTIONS,
    batchEvents: BATCH_EVENTS,
    eventBytes: DATA_BYTES,
    warmUpSeconds: size.warmUp,
    windowSeconds: options.windowSeconds ?? size.window,
    ratePerSecond: options.ratesPerSecond?.[0] ?? RATE_PER_SECOND,
    singleSeconds: options.windowSeconds ?? size.single,
    flushClosedSeconds: size.closed,
    awayEvents: size.away,
  };
}

async function measureFloor(round: number, parameters: LogParameters): Promise<LogRound> {
  const { ratePerSecond, singleSeconds, flushClosedSeconds } = parameters;
  const flushes = await measureFlushes({
    folder: logFolder(),
    ratePerSecond,
    seconds: singleSeconds,
    closedSeconds: flushClosedSeconds,
  });
  return { part: 'flushes', round, ...flushes };
}

function measureBatches(
  log: LogName,
  round: number,
  { connections, batchEvents, warmUpSeconds, windowSeconds }: LogParameters,
): Promise<BatchRound> {
  return visit(TARGET_OF[log], SETTINGS_OF[log], async (here) => {
    freeOtherThreads(here.server.pid);
    const order = {
      request: buildRequest(here.server.port, batchEvents),
      connections,
      pipelined: 1,
      warmUpSeconds,
      windowSeconds,
    };
    const measured = await measureClosedLoop(here, order, { waitsForLog: log !== 'memory' });
    const eventsPerSecond = measured.requestsPerSecond * batchEvents;
    return { part: 'batches', log, round, ...measured, eventsPerSecond };
  });
}

function measureSingles(
  log: LogName,
  round: number,
  { ratePerSecond, warmUpSeconds, singleSeconds }: LogParameters,
): Promise<SingleRound> {
  return visit(TARGET_OF[log], SETTINGS_OF[log], async (here) => {
    freeOtherThreads(here.server.pid);
    const fleet = await here.startFleet();
    const measured = await measureOpenLoop(here, fleet, {
      lines: 1,
      ratePerSecond,
      warmUpSeconds,
      windowSeconds: singleSeconds,
      tailSeconds: TAIL_SECONDS,
      clientNapMs: 0,
      settleDeadlineMs: SETTLE_DEADLINE_MS,
    });
    return { part: 'single', log, round, ...measured };
  });
}

function describeRound(round: LogRound): string {
  if (round.part === 'flushes')
    return `bare fdatasync: p50 ${ms(round.atRateMs.p50)} p99 ${ms(round.atRateMs.p99)}, ${short(round.closedPerSecond)}/s one after the other`;
  if (round.part === 'away') return describeAway(round);
  const verdict = counts(round) ? round.verdict : `DISCARDED: ${round.verdict}`;
  if (round.part === 'single') {
    const { log, published, latencyMs, check } = round;
    return [
      `single events, ${log}: answered p50 ${ms(published.answerMs.p50)} p99 ${ms(published.answerMs.p99)}`,
      `delivered p50 ${ms(latencyMs.p50)} p99 ${ms(latencyMs.p99)}`,
      verdict,
      ...(faultsOf(check) > 0 ? [`FAULTS ${JSON.stringify(check)}`] : []),
    ].join(', ');
  }
  const { log, eventsPerSecond, serverCpuShare, clientCpuShare, logCpuShare, loaded } = round;
  return [
    `batches, ${log}: ${short(eventsPerSecond)} events/s`,
    `server ${percent(serverCpuShare)}`,
    `client ${percent(clientCpuShare)}`,
    ...(logCpuShare === null ? [] : [`nats-server ${percent(logCpuShare)}`]),
    verdict,
    ...(loaded.firstRefusal === '' ? [] : [`refused: ${loaded.firstRefusal.slice(0, 120)}`]),
  ].join(', ');
}

function describeAway(round: AwayRound): string {
  return (
    `away for ${short(round.published)} events: caught up after ${ms(round.caughtUpMs)}, ` +
    `${short(round.delivered)} delivered, ${round.doubled} doubled, ${round.outOfOrder} out of order, ${round.gaps} gaps`
  );
}

function remarksOn(rounds: readonly LogRound[], summary: LogSummary): string[] {
  const remarks: string[] = [];
  for (const { log, refused, faults } of summary.figures) {
    const ofLog = rounds.filter(
      (round): round is BatchRound | SingleRound => 'log' in round && round.log === log,
    );
    for (const [part, what] of [
      ['batches', 'batches'],
      ['single', 'single events'],
    ] as const) {
      const own = ofLog.filter((round) => round.part === part);
      remarks.push(...remarkOnDiscarded(`${log}, ${what}`, own));
      const others = Math.max(...own.map(({ strangerCpuShare }) => strangerCpuShare));
      // nats-server is one of them while single events are measured.
      if (log !== 'nats' || part === 'batches')
        remarks.push(...remarkOnOtherProcesses(`${log}, ${what}`, others));
    }
    const waited = ofLog.filter(({ verdict }) => verdict === 'log').length;
    if (waited > 0)
      remarks.push(
        `${log}: in ${waited} of ${ofLog.filter(({ part }) => part === 'batches').length} rounds of batches no core was at its limit: publishers waited for ` +
          (log === 'nats' ? 'nats-server, which has the client’s core' : 'the disk'),
      );
    if (refused > 0) remarks.push(`${log}: ${refused} batches were refused`);
    if (faults > 0) remarks.push(`${log}: ${faults} faults in the stream of its line`);
  }
  const { away } = summary;
  if (away !== null && (away.doubled > 0 || away.outOfOrder > 0 || away.gaps > 0))
    remarks.push(
      `a node that was away: ${away.gaps} gaps, ${away.doubled} events doubled, ${away.outOfOrder} out of order; at least ${short(away.delivered)} of ${short(away.published)} delivered`,
    );
  return remarks;
}
