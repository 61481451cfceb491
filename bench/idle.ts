/** Idle: the CPU time that 15,000 quiet lines take for their heartbeats. */
import { nowUs, sleepMs } from './clock.js';
import { CHANNEL, DATA_BYTES } from './event.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, percent } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import { type Visit, visit } from './visit.js';

export interface IdleParameters {
  lines: number;
  rounds: number;
  heartbeatSeconds: number;
  windowSeconds: number;
  settleSeconds: number;
}

export interface IdleRound {
  target: TargetName;
  round: number;
  cpuShare: number;
  cpuUsPerHeartbeat: number;
  heartbeatsPerLine: number;
  heartbeatsPerLineExpected: number;
  closedLines: number;
}

export interface IdleFigures {
  target: TargetName;
  cpuShare: number;
  cpuShareOfRounds: number[];
  cpuUsPerHeartbeat: number;
  heartbeatsPerLine: number;
}

const LINES = 15_000;
const HEARTBEAT_SECONDS = 15;
/** Three whole intervals, so that every line gets equally many heartbeats. */
const WINDOW_SECONDS = 45;
/** A line has its first heartbeat at most one interval after its connect. */
const SETTLE_SECONDS = HEARTBEAT_SECONDS;

/** The shape of a round in which only heartbeats are counted. */
const NO_EVENTS = { run: '00000000', channel: CHANNEL, sizeBytes: DATA_BYTES };

export async function measureIdle(
  options: RunOptions,
): Promise<Measured<IdleParameters, IdleRound, IdleFigures[]>> {
  const heartbeatSeconds = options.quick ? 2 : HEARTBEAT_SECONDS;
  const parameters: IdleParameters = {
    lines: options.lines ?? (options.quick ? 2_000 : LINES),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    heartbeatSeconds,
    windowSeconds: options.windowSeconds ?? (options.quick ? 2 * heartbeatSeconds : WINDOW_SECONDS),
    settleSeconds: options.quick ? heartbeatSeconds : SETTLE_SECONDS,
  };
  const why = absence('holdline');
  if (why !== undefined) throw new Error(why);
  const rounds: IdleRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const settings = { heartbeatMs: heartbeatSeconds * 1000 };
    const measured = await visit('holdline', settings, (here) =>
      measureRound(here, round, parameters),
    );
    rounds.push(measured);
    options.say(
      `round ${round}/${parameters.rounds}: ${percent(measured.cpuShare)} of a core, ${measured.heartbeatsPerLine.toFixed(2)} heartbeats a line ` +
        `(${measured.heartbeatsPerLineExpected.toFixed(2)} due), ${measured.cpuUsPerHeartbeat.toFixed(1)} µs each`,
    );
  }
  const summary: IdleFigures = {
    target: 'holdline',
    cpuShare: median(rounds.map((round) => round.cpuShare)),
    cpuShareOfRounds: rounds.map((round) => round.cpuShare),
    cpuUsPerHeartbeat: median(rounds.map((round) => round.cpuUsPerHeartbeat)),
    heartbeatsPerLine: median(rounds.map((round) => round.heartbeatsPerLine)),
  };
  const remarks = rounds
    .filter(
      (round) =>
        round.heartbeatsPerLine < round.heartbeatsPerLineExpected * 0.9 || round.closedLines > 0,
    )
    .map(
      (round) =>
        `round ${round.round}: ${round.heartbeatsPerLine.toFixed(2)} of ${round.heartbeatsPerLineExpected.toFixed(2)} heartbeats came, ${round.closedLines} lines were closed`,
    );
  return { parameters, rounds, summary: [summary], remarks, table: describe(summary) };
}

async function measureRound(
  here: Visit,
  round: number,
  parameters: IdleParameters,
): Promise<IdleRound> {
  const fleet = await here.startFleet();
  await here.open(fleet, parameters.lines);
  // As in the fan-out: clients on other machines would not be woken through this one's cores.
  await fleet.nap(1);
  await sleepMs(parameters.settleSeconds * 1000);
  // The loop delay is not watched: its timer would cost more than the heartbeats.
  const usage = async (): Promise<number> => {
    const reported = await here.server.usage();
    if (reported === null) throw new Error('the server did not report its CPU time');
    return reported.cpuSeconds;
  };
  const { checkedClients, tally: before } = await fleet.begin(NO_EVENTS, 0, nowUs());
  const cpuBefore = await usage();
  const fromMs = performance.now();
  await sleepMs(parameters.windowSeconds * 1000);
  const seconds = (performance.now() - fromMs) / 1000;
  const cpuSeconds = (await usage()) - cpuBefore;
  const { tally, joined } = await fleet.readTotals();
  const heartbeatsPerLine = (tally.heartbeats - before.heartbeats) / checkedClients;
  return {
    target: 'holdline',
    round,
    cpuShare: cpuSeconds / seconds,
    cpuUsPerHeartbeat: (cpuSeconds * 1e6) / (heartbeatsPerLine * parameters.lines),
    heartbeatsPerLine,
    heartbeatsPerLineExpected: seconds / parameters.heartbeatSeconds,
    closedLines: parameters.lines - joined,
  };
}

function describe(figures: IdleFigures): string {
  return drawTable(
    ['server', 'of a core', 'rounds', 'heartbeats a line', 'CPU µs/heartbeat'],
    [
      [
        TARGET_TITLES[figures.target],
        percent(figures.cpuShare),
        figures.cpuShareOfRounds.map(percent).join(' '),
        figures.heartbeatsPerLine.toFixed(2),
        figures.cpuUsPerHeartbeat.toFixed(1),
      ],
    ],
  );
}
