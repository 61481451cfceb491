/** Idle: what 15,000 quiet lines cost in CPU while each is sent its heartbeat. */
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
/**
 * Three whole intervals, so that every line is due equally often whatever its place on the wheel.
 */
const WINDOW_SECONDS = 45;
/** A line's first heartbeat comes at most one interval after its connect. */
const SETTLE_SECONDS = HEARTBEAT_SECONDS;

/** Of the round in which heartbeats are counted. */
const NO_EVENTS = { run: '00000000', channel: CHANNEL, sizeBytes: DATA_BYTES };

export async function measureIdle(
  options: RunOptions,
): Promise<Measured<IdleParameters, IdleRound, IdleFigures[]>> {
  const heartbeatSeconds = options.quick ? 2 : HEARTBEAT_SECONDS;
  const parameters: IdleParameters = {
    lines: options.lines ?? (options.quick ? 2_000 : LINES),
    rounds: options.rounds ?? (options.quick ? 1 : 2),
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
  // As in the fan-out: lines of other machines would not be woken by this one's core.
  await fleet.nap(1);
  await sleepMs(parameters.settleSeconds * 1000);
  // The loop delay is not watched here: its timer would cost more than the heartbeats.
  const usage = async (): Promise<number> => {
    const told = await here.server.usage();
    if (told === null) throw new Error('the server did not tell its CPU time');
    return told.cpuSeconds;
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
