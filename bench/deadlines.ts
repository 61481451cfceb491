/**
 * Deadlines: what 19,000 of them cost on the wheel of core/deadlines.ts, and on Node's own timers,
 * in one process and in turn. Polls that wait have one each.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { Deadlines } from '../src/core/deadlines.js';
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable } from './table.js';

export interface DeadlinesParameters {
  deadlines: number;
  rounds: number;
  /** Times that all are cancelled and set again, as an event does with polls that wait. */
  turnovers: number;
  /** Deadlines lie between these, evenly and in no order. */
  waitMs: readonly [number, number];
  /** Time in which all of them expire, for the loop's longest stop. */
  waveMs: number;
}

type MechanismName = 'wheel' | 'timers';

export interface DeadlinesRound {
  mechanism: MechanismName;
  round: number;
  /** To set one and to cancel one, while all others wait. */
  setNs: number;
  cancelNs: number;
  /** Memory of one that waits, in heap and buffers. */
  heldBytes: number;
  /** Longest time that the loop was away during the wave. */
  longestStopMs: number;
}

export type DeadlinesFigures = Omit<DeadlinesRound, 'round'>;

interface Mechanism {
  set(handle: number, delayMs: number): void;
  cancel(handle: number): void;
}

const MECHANISMS: Record<MechanismName, (expired: (handle: number) => void) => Mechanism> = {
  wheel(expired) {
    const wheel = new Deadlines(SYSTEM_CLOCK, 60_000, expired);
    return {
      set: (handle, delayMs) => wheel.add(handle, delayMs),
      cancel: (handle) => wheel.remove(handle),
    };
  },
  timers(expired) {
    const timers: NodeJS.Timeout[] = [];
    return {
      set(handle, delayMs) {
        timers[handle] = setTimeout(expired, delayMs, handle);
      },
      cancel: (handle) => clearTimeout(timers[handle]),
    };
  },
};

const NAMES = Object.keys(MECHANISMS) as MechanismName[];

export async function measureDeadlines(
  options: RunOptions,
): Promise<Measured<DeadlinesParameters, DeadlinesRound, DeadlinesFigures[]>> {
  const parameters: DeadlinesParameters = {
    deadlines: options.lines ?? 19_000,
    rounds: options.rounds ?? (options.quick ? 1 : 5),
    turnovers: options.quick ? 5 : 50,
    waitMs: [22_500, 25_000],
    waveMs: 250,
  };
  const rounds: DeadlinesRound[] = [];
  for (let round = 0; round <= parameters.rounds; round++) {
    for (const mechanism of NAMES) {
      const measured = await measureRound(mechanism, round, parameters);
      // The first round of each compiles.
      if (round > 0) rounds.push(measured);
    }
  }
  const summary = NAMES.map((mechanism) => summaryOf(mechanism, rounds));
  return { parameters, rounds, summary, remarks: [], table: describe(summary) };
}

async function measureRound(
  mechanism: MechanismName,
  round: number,
  { deadlines, turnovers, waitMs, waveMs }: DeadlinesParameters,
): Promise<DeadlinesRound> {
  let left = 0;
  const all = MECHANISMS[mechanism](() => left--);
  const [fromMs, toMs] = waitMs;
  const delays = Float64Array.from(
    { length: deadlines },
    () => fromMs + Math.random() * (toMs - fromMs),
  );
  const setAll = (): void => {
    for (let handle = 0; handle < deadlines; handle++) all.set(handle, delays[handle] as number);
  };
  const cancelAll = (): void => {
    for (let handle = 0; handle < deadlines; handle++) all.cancel(handle);
  };
  const heldBefore = heldBytes();
  setAll();
  const held = heldBytes() - heldBefore;
  let setMs = 0;
  let cancelMs = 0;
  for (let turnover = 0; turnover < turnovers; turnover++) {
    const beganMs = performance.now();
    cancelAll();
    const cancelledMs = performance.now();
    setAll();
    setMs += performance.now() - cancelledMs;
    cancelMs += cancelledMs - beganMs;
    // Node takes emptied lists of timers away in a turn of the loop.
    await sleepMs(1);
  }
  cancelAll();
  const longestStopMs = await runWave();
  const operations = turnovers * deadlines;
  return {
    mechanism,
    round,
    setNs: (setMs * 1e6) / operations,
    cancelNs: (cancelMs * 1e6) / operations,
    heldBytes: held / deadlines,
    longestStopMs,
  };

  /** Lets all expire within `waveMs`; returns the longest time that the loop was away meanwhile. */
  async function runWave(): Promise<number> {
    left = deadlines;
    for (let handle = 0; handle < deadlines; handle++) {
      all.set(handle, 100 + Math.random() * waveMs);
    }
    let longestMs = 0;
    for (let lastMs = performance.now(); left > 0;) {
      await new Promise((resolve) => void setImmediate(resolve));
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - lastMs);
      lastMs = nowMs;
    }
    return longestMs;
  }
}

/** Live memory, after a collection. */
function heldBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

function summaryOf(mechanism: MechanismName, rounds: readonly DeadlinesRound[]): DeadlinesFigures {
  const own = rounds.filter((round) => round.mechanism === mechanism);
  const middle = (figure: keyof Omit<DeadlinesRound, 'mechanism' | 'round'>): number =>
    median(own.map((round) => round[figure]));
  return {
    mechanism,
    setNs: middle('setNs'),
    cancelNs: middle('cancelNs'),
    heldBytes: middle('heldBytes'),
    longestStopMs: middle('longestStopMs'),
  };
}

const TITLES: Record<MechanismName, string> = { wheel: 'wheel', timers: 'setTimeout' };

function describe(summary: readonly DeadlinesFigures[]): string {
  return drawTable(
    ['', 'set', 'cancel', 'held', 'longest stop of the loop'],
    summary.map((figures) => [
      TITLES[figures.mechanism],
      `${figures.setNs.toFixed(0)} ns`,
      `${figures.cancelNs.toFixed(0)} ns`,
      `${figures.heldBytes.toFixed(0)} B`,
      `${figures.longestStopMs.toFixed(1)} ms`,
    ]),
  );
}
