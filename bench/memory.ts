/** Memory: what one idle line, or one poll that waits, costs in resident user memory, as the slope of RSS over their number. */
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import type { Usage } from './servers/agent.js';
import { type Regression, leastSquares, median } from './statistics.js';
import { drawTable } from './table.js';
import { TARGET_TITLES, type TargetName, absence, transportOf } from './targets.js';
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
  rss: Regression;
  heap: Regression;
}

export interface MemoryFigures {
  target: TargetName;
  /** Median of the rounds' slopes. */
  rssBytesPerLine: number;
  rssBytesPerLineOfRounds: number[];
  heapBytesPerLine: number;
  /** The worst of the rounds: how straight the line is. */
  rSquared: number;
  rssWithoutLinesBytes: number;
}

const TARGETS_HERE: TargetName[] = ['holdline', 'holdline-ws', 'holdline-poll', 'raw-uws', 'raw-uws-ws', 'raw-uws-poll'];
const LINES_FROM = 5_000;
const LINES_TO = 19_000;
const STEP = 2_000;
const QUICK_POINTS = [500, 750, 1_000, 1_250, 1_500];
const SETTLE_MS = 500;
const GARBAGE_COLLECTIONS = 3;
const STABLE_AFTER_MS = 15_000;
const STABLE_WITHIN_MS = 60_000;
const STABLE_BYTES = 128 * 1024;
const ASK_DEADLINE_MS = 60_000;
const HELD_DEADLINE_MS = 10_000;

export async function measureMemory(options: RunOptions): Promise<Measured<MemoryParameters, MemoryRound, MemoryFigures[]>> {
  const most = options.lines ?? LINES_TO;
  const parameters: MemoryParameters = {
    linesAtPoints: options.quick ? QUICK_POINTS : pointsUpTo(most),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    settleMs: SETTLE_MS,
    garbageCollections: GARBAGE_COLLECTIONS,
    targets: TARGETS_HERE.filter((target) => absence(target) === undefined && (options.targets?.includes(target) ?? true)),
  };
  const rounds: MemoryRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const target of parameters.targets) {
      const measured = await measureRound(target, round, parameters);
      rounds.push(measured);
      options.say(
        `round ${round}/${parameters.rounds} ${target}: ${measured.rss.slope.toFixed(0)} ± ${measured.rss.slopeError.toFixed(0)} B RSS a line ` +
          `(r² ${measured.rss.rSquared.toFixed(4)}), of it ${measured.heap.slope.toFixed(0)} B V8 heap`,
      );
    }
  }
  const summary = [...new Set(rounds.map((round) => round.target))].map((target) =>
    figuresOf(rounds.filter((round) => round.target === target)),
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

function measureRound(target: TargetName, round: number, parameters: MemoryParameters): Promise<MemoryRound> {
  return visit(target, {}, async (here) => {
    const isPoll = transportOf(target) === 'poll';
    const client = isPoll ? here.startPollClient() : here.startClient();
    const settled = async (): Promise<Usage> => {
      for (let run = 0; run < parameters.garbageCollections; run++) {
        await sleepMs(parameters.settleMs);
        await here.server.gc();
      }
      await sleepMs(parameters.settleMs);
      const usage = await here.server.usage();
      if (usage === null) throw new Error(`${target} did not tell its memory`);
      return usage;
    };
    const before = await stable(settled);
    const points: MemoryPoint[] = [];
    for (const lines of parameters.linesAtPoints) {
      // A line is checked in full here, too: its stream has to be a sound one.
      const order = isPoll ? here.pollOrder(lines) : here.openOrder(lines, {});
      await client.ask(points.length === 0 ? 'open' : 'grow', order, ASK_DEADLINE_MS);
      await untilHeld(here.server, lines, HELD_DEADLINE_MS);
      const { rssBytes, rssAnonBytes, heapUsedBytes, externalBytes } = await settled();
      points.push({ lines, rssBytes, rssAnonBytes, heapUsedBytes, externalBytes });
    }
    return {
      target,
      round,
      rssWithoutLinesBytes: before.rssBytes,
      points,
      rss: leastSquares(points.map((point) => ({ x: point.lines, y: point.rssBytes }))),
      heap: leastSquares(points.map((point) => ({ x: point.lines, y: point.heapUsedBytes }))),
    };
  });
}

/**
 * A young Node process gives back several megabytes within its first quarter of a minute (the loader's thread, the first
 * heap); taken for a point on the line, that would be worth hundreds of bytes a line.
 */
async function stable(settled: () => Promise<Usage>): Promise<Usage> {
  const untilMs = performance.now() + STABLE_WITHIN_MS;
  const fromMs = performance.now() + STABLE_AFTER_MS;
  let before = await settled();
  for (;;) {
    const now = await settled();
    const moved = Math.abs(now.rssBytes - before.rssBytes);
    if (performance.now() >= fromMs && moved <= STABLE_BYTES) return now;
    if (performance.now() > untilMs)
      throw new Error(`the server's memory still moved by ${moved} B without a line after ${STABLE_WITHIN_MS} ms`);
    before = now;
  }
}

function figuresOf(rounds: MemoryRound[]): MemoryFigures {
  return {
    target: rounds[0]!.target,
    rssBytesPerLine: median(rounds.map((round) => round.rss.slope)),
    rssBytesPerLineOfRounds: rounds.map((round) => round.rss.slope),
    heapBytesPerLine: median(rounds.map((round) => round.heap.slope)),
    rSquared: Math.min(...rounds.map((round) => round.rss.rSquared)),
    rssWithoutLinesBytes: median(rounds.map((round) => round.rssWithoutLinesBytes)),
  };
}

function describe(summary: MemoryFigures[]): string {
  return drawTable(
    ['server', 'RSS a line', 'rounds', 'V8 heap a line', 'r² (worst)', 'RSS without lines'],
    summary.map((figures) => [
      TARGET_TITLES[figures.target],
      `${figures.rssBytesPerLine.toFixed(0)} B`,
      figures.rssBytesPerLineOfRounds.map((slope) => slope.toFixed(0)).join(' '),
      `${figures.heapBytesPerLine.toFixed(0)} B`,
      figures.rSquared.toFixed(4),
      `${(figures.rssWithoutLinesBytes / 2 ** 20).toFixed(1)} MiB`,
    ]),
  );
}
