/**
 * Memory: what an idle line, or a waiting poll, takes in the process: the slope of RSS over their
 * number.
 */
import { fitLinear, type LinearModel } from '../src/tools/capacity/least-squares.js';
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import type { Usage } from './servers/agent.js';
import { median } from './statistics.js';
import { drawTable } from './table.js';
import { type Running, TARGET_TITLES, type TargetName, absence, asksForGzip } from './targets.js';
import { roundsLeft } from './verdict.js';
import { untilHeld, visit } from './visit.js';

export interface MemoryParameters {
  linesAtPoints: number[];
  rounds: number;
  settleMs: number;
  garbageCollections: number;
  targets: TargetName[];
}

export interface MemoryPoint {
  lines: number;
  rssBytes: number;
  rssAnonBytes: number;
  heapUsedBytes: number;
  externalBytes: number;
}

export interface MemoryRound {
  target: TargetName;
  round: number;
  rssWithoutLinesBytes: number;
  points: MemoryPoint[];
  rss: LinearModel;
  heap: LinearModel;
  /**
   * True when memory fell while lines came: something else than lines gave it back. Such a round is
   * in no figure.
   */
  isDiscarded: boolean;
}

export interface MemoryFigures {
  target: TargetName;
  /** Median of the rounds' slopes. */
  rssBytesPerLine: number;
  rssBytesPerLineOfRounds: number[];
  heapBytesPerLine: number;
  /** Of the worst round: how well a straight line fits. */
  rSquared: number;
  rssWithoutLinesBytes: number;
  /** Rounds that were measured, and how many of them are in no figure. */
  rounds: number;
  discardedRounds: number;
}

const TARGETS_HERE: TargetName[] = [
  'holdline',
  'holdline-gzip',
  'holdline-ws',
  'holdline-poll',
  'raw-uws',
  'raw-uws-ws',
  'raw-uws-poll',
  'node-http',
  'better-sse',
];
const LINES_FROM = 5_000;
const LINES_TO = 19_000;
const STEP = 2_000;
const QUICK_POINTS = [500, 750, 1_000, 1_250, 1_500];
const SETTLE_MS = 500;
const GARBAGE_COLLECTIONS = 3;
/** The thread of tsx's loader gives back 9 MB when the process is 24 s old. */
const STABLE_AFTER_MS = 30_000;
const QUICK_STABLE_AFTER_MS = 2_000;
const STABLE_WITHIN_MS = 60_000;
const STABLE_BYTES = 128 * 1024;
const HELD_DEADLINE_MS = 10_000;
/** Memory that falls by more between two points was given back by something else than lines. */
const FALL_BYTES = 512 * 1024;
/** Times that a discarded round is measured again. */
const RETRIES_MAX = 3;

export async function measureMemory(
  options: RunOptions,
): Promise<Measured<MemoryParameters, MemoryRound, MemoryFigures[]>> {
  const most = options.lines ?? LINES_TO;
  const parameters: MemoryParameters = {
    linesAtPoints: options.quick ? QUICK_POINTS : pointsUpTo(most),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    settleMs: SETTLE_MS,
    garbageCollections: GARBAGE_COLLECTIONS,
    targets: TARGETS_HERE.filter(
      (target) => absence(target) === undefined && (options.targets?.includes(target) ?? true),
    ),
  };
  const rounds: MemoryRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const target of parameters.targets) {
      const measured = await measureKept(target, round, parameters, options.quick, rounds);
      options.say(
        `round ${round}/${parameters.rounds} ${target}: ${measured.rss.slope.toFixed(0)} ± ${measured.rss.slopeError.toFixed(0)} B RSS a line ` +
          `(r² ${measured.rss.rSquared.toFixed(4)}), of it ${measured.heap.slope.toFixed(0)} B V8 heap`,
      );
    }
  }
  const summary = [...new Set(rounds.map((round) => round.target))].map((target) =>
    memoryFiguresOf(rounds.filter((round) => round.target === target)),
  );
  return {
    parameters,
    rounds,
    summary,
    remarks: ['user memory only: what the kernel holds for a socket is not in RSS'],
    table: describe(summary),
  };
}

function pointsUpTo(most: number): number[] {
  const points: number[] = [];
  for (let lines = LINES_FROM; lines <= most; lines += STEP) points.push(lines);
  if (points.length < 5)
    throw new Error(
      `--connections ${most} leaves ${points.length} points from ${LINES_FROM} in steps of ${STEP}; a slope takes at least 5`,
    );
  return points;
}

/** Measures a round until memory only grows in it, and returns the last; all are added. */
async function measureKept(
  target: TargetName,
  round: number,
  parameters: Pick<MemoryParameters, 'linesAtPoints'>,
  quick: boolean,
  rounds: MemoryRound[],
): Promise<MemoryRound> {
  for (let retries = 0; ; retries++) {
    const measured = await measureRound(target, round, parameters, quick);
    rounds.push(measured);
    if (!measured.isDiscarded || retries === RETRIES_MAX) return measured;
  }
}

function measureRound(
  target: TargetName,
  round: number,
  parameters: Pick<MemoryParameters, 'linesAtPoints'>,
  quick: boolean,
): Promise<MemoryRound> {
  const settings = asksForGzip(target) ? { compress: 'shared' } : {};
  return visit(target, settings, async (here) => {
    const fleet = await here.startFleet();
    const before = await stable(() => settled(here.server), quick);
    const points: MemoryPoint[] = [];
    for (const lines of parameters.linesAtPoints) {
      await here.open(fleet, lines);
      await untilHeld(here.server, lines, HELD_DEADLINE_MS);
      const { rssBytes, rssAnonBytes, heapUsedBytes, externalBytes } = await settled(here.server);
      points.push({ lines, rssBytes, rssAnonBytes, heapUsedBytes, externalBytes });
    }
    return {
      target,
      round,
      rssWithoutLinesBytes: before.rssBytes,
      points,
      rss: fitLinear(points.map((point) => ({ x: point.lines, y: point.rssBytes }))),
      heap: fitLinear(points.map((point) => ({ x: point.lines, y: point.heapUsedBytes }))),
      isDiscarded: points.some(
        ({ rssBytes }, index) => rssBytes < (points[index - 1]?.rssBytes ?? 0) - FALL_BYTES,
      ),
    };
  });
}

/** What a server uses after garbage collection. */
export async function settled(server: Running): Promise<Usage> {
  for (let run = 0; run < GARBAGE_COLLECTIONS; run++) {
    await sleepMs(SETTLE_MS);
    await server.gc();
  }
  await sleepMs(SETTLE_MS);
  const usage = await server.usage();
  if (usage === null) throw new Error(`${server.name} did not report its memory`);
  return usage;
}

/**
 * Waits until memory no longer moves: a young Node process gives back several megabytes in its
 * first 30 s (the loader's thread, the first heap), which would change the slope by hundreds of
 * bytes a line.
 */
export async function stable(measure: () => Promise<Usage>, quick: boolean): Promise<Usage> {
  const untilMs = performance.now() + STABLE_WITHIN_MS;
  const fromMs = performance.now() + (quick ? QUICK_STABLE_AFTER_MS : STABLE_AFTER_MS);
  let before = await measure();
  for (;;) {
    const now = await measure();
    const moved = Math.abs(now.rssBytes - before.rssBytes);
    if (performance.now() >= fromMs && moved <= STABLE_BYTES) return now;
    if (performance.now() > untilMs)
      throw new Error(
        `the server's memory still moved by ${moved} B without a line after ${STABLE_WITHIN_MS} ms`,
      );
    before = now;
  }
}

function memoryFiguresOf(measured: MemoryRound[]): MemoryFigures {
  const rounds = measured.filter(({ isDiscarded }) => !isDiscarded);
  return {
    target: measured[0]!.target,
    rounds: measured.length,
    discardedRounds: measured.length - rounds.length,
    rssBytesPerLine: median(rounds.map((round) => round.rss.slope)),
    rssBytesPerLineOfRounds: rounds.map((round) => round.rss.slope),
    heapBytesPerLine: median(rounds.map((round) => round.heap.slope)),
    rSquared: Math.min(...rounds.map((round) => round.rss.rSquared)),
    rssWithoutLinesBytes: median(rounds.map((round) => round.rssWithoutLinesBytes)),
  };
}

function describe(summary: MemoryFigures[]): string {
  return drawTable(
    ['server', 'RSS a line', 'rounds', 'kept', 'V8 heap a line', 'r² (worst)', 'RSS without lines'],
    summary.map((figures) => [
      TARGET_TITLES[figures.target],
      `${figures.rssBytesPerLine.toFixed(0)} B`,
      figures.rssBytesPerLineOfRounds.map((slope) => slope.toFixed(0)).join(' '),
      roundsLeft(figures),
      `${figures.heapBytesPerLine.toFixed(0)} B`,
      figures.rSquared.toFixed(4),
      `${(figures.rssWithoutLinesBytes / 2 ** 20).toFixed(1)} MiB`,
    ]),
  );
}
