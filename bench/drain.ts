/**
 * Drain: how evenly a server that holds 15,000 lines lets them go. How many are left is looked at
 * ten times a second, and compared with a straight line over the time in which they are to end.
 */
import { DRAIN_SLOPE_SHARE } from '../src/limits.js';
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, ms } from './table.js';
import { visit } from './visit.js';

export interface DrainParameters {
  lines: number;
  rounds: number;
  /** `--drain`. */
  drainMs: number;
  lookEveryMs: number;
}

export interface DrainRound {
  round: number;
  /** Lines that were open, and when that was after the drain began. */
  seen: { atMs: number; open: number }[];
  /** The largest distance from the straight line, as a share of all lines. */
  largestDistance: number;
  lastLineMs: number;
}

export interface DrainFigures {
  largestDistance: number;
  largestDistanceOfRounds: number[];
  lastLineMs: number;
}

/** How far from the straight line the slope may be. */
const DISTANCE_MAX = 0.1;

export async function measureDrain(
  options: RunOptions,
): Promise<Measured<DrainParameters, DrainRound, DrainFigures>> {
  const parameters: DrainParameters = {
    lines: options.lines ?? (options.quick ? 2_000 : 15_000),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    drainMs: options.quick ? 3_000 : 10_000,
    lookEveryMs: 100,
  };
  const rounds: DrainRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    const measured = await measureRound(round, parameters);
    rounds.push(measured);
    options.say(
      `round ${round}/${parameters.rounds}: at most ${percent(measured.largestDistance)} from the straight line, last line after ${ms(measured.lastLineMs)}`,
    );
  }
  const summary: DrainFigures = {
    largestDistance: median(rounds.map(({ largestDistance }) => largestDistance)),
    largestDistanceOfRounds: rounds.map(({ largestDistance }) => largestDistance),
    lastLineMs: median(rounds.map(({ lastLineMs }) => lastLineMs)),
  };
  return {
    parameters,
    rounds,
    summary,
    remarks: [],
    table: describe(summary, parameters),
    passed: summary.largestDistance <= DISTANCE_MAX,
  };
}

function measureRound(round: number, parameters: DrainParameters): Promise<DrainRound> {
  const { lines, drainMs, lookEveryMs } = parameters;
  return visit('holdline', { drainMs }, async (here) => {
    const fleet = await here.startFleet({ countsInC: true });
    await here.open(fleet, lines);
    const beganMs = performance.now();
    await here.server.drain();
    const seen: DrainRound['seen'] = [];
    for (let open = lines; open > 0 && performance.now() - beganMs < drainMs;) {
      await sleepMs(lookEveryMs);
      const askedMs = performance.now();
      const usage = await here.server.usage();
      if (usage === null) break;
      open = usage.held;
      // The answer is of some moment in between.
      seen.push({ atMs: (askedMs + performance.now()) / 2 - beganMs, open });
    }
    const slopeMs = drainMs * DRAIN_SLOPE_SHARE;
    const distances = seen.map(
      ({ atMs, open }) => Math.abs(open - lines * Math.max(0, 1 - atMs / slopeMs)) / lines,
    );
    return {
      round,
      seen,
      largestDistance: Math.max(...distances),
      lastLineMs: seen.at(-1)!.atMs,
    };
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function describe(summary: DrainFigures, { lines, drainMs }: DrainParameters): string {
  return drawTable(
    ['lines', '--drain', 'largest distance from the straight line', 'rounds', 'last line after'],
    [
      [
        String(lines),
        ms(drainMs),
        percent(summary.largestDistance),
        summary.largestDistanceOfRounds.map(percent).join(', '),
        ms(summary.lastLineMs),
      ],
    ],
  );
}
