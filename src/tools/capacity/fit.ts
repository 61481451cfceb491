/**
 * What a profile's measurements come to: costs, latency, memory and accepts, each with the error
 * that it was fitted with.
 */

import { CORK_WRITE_BYTES_MAX } from '../../limits.js';
import type { Point } from '../../moments.js';
import { linesEffect, loadOf, type Costs, type LatencyModel } from './cost-model.js';
import {
  fitFactors,
  fitLinear,
  sumOf,
  valueAt,
  type LinearModel,
  type Observation,
} from './least-squares.js';
import type { Profile, Window } from './profile.js';

/** What a plan is made from. */
export interface Fit {
  readonly costs: Costs;
  /** Standard error of the share of a core, as a share of it. */
  readonly cpuError: number;
  readonly p50: LatencyFit;
  readonly p99: LatencyFit;
  /** User memory of the server's process by lines, nothing published. */
  readonly user: LinearModel;
  /** Kernel memory of the server's ends of the lines. */
  readonly kernel: LinearModel;
  /**
   * What the process grows by when it works: rings and code, and garbage in proportion to what is
   * published.
   */
  readonly working: WorkingMemory;
  readonly acceptsPerSecond: number;
  readonly acceptUs: number;
  /** What the windows reached: beyond it a plan extrapolates. */
  readonly reach: {
    readonly lines: number;
    readonly deliveriesPerSecond: number;
    readonly eventBytes: number;
  };
}

/** Memory of a process at work, above that of an idle one. */
export interface WorkingMemory {
  readonly baseBytes: number;
  /** Seconds of what is published that are held before they are collected. */
  readonly seconds: number;
  readonly errorBytes: number;
}

/** Latency by the time of a sweep, and its standard error as a share of the latency. */
export interface LatencyFit extends LatencyModel {
  readonly error: number;
}

/**
 * Below this share of a core a difference counts as if it were of this share: clocks and strangers
 * are not finer.
 */
const LEAST_SHARE = 0.05;

/** A latency below this, ms, likewise. */
const LEAST_LATENCY_MS = 2;

/** Lines are given less than this share of what was offered when there is too much of it. */
const TOO_MUCH_SHARE = 0.9;

/**
 * What a write holds when there is too much, as a share of a cork, where no window has shown it.
 * Seen on the machine that this was built on.
 */
const FULL_WRITE_SHARE = 0.75;

/**
 * Windows that a fit of latency needs; with fewer the ones that the client bounded are taken as
 * well.
 */
const LATENCY_WINDOWS = 3;

/** Fits a profile. */
export function fitProfile({ memory, accepts, windows }: Profile): Fit {
  const costs = fitCosts(windows);
  const user = risingModel(memory.map(({ lines, rssBytes }) => ({ x: lines, y: rssBytes })));
  return {
    costs,
    cpuError: relativeError(
      windows.map((window) => ({
        is: predictedShare(costs, window),
        was: window.serverShare,
        least: LEAST_SHARE,
      })),
      COST_FACTORS,
    ),
    p50: fitLatency(costs, windows, ({ p50Ms }) => p50Ms),
    p99: fitLatency(costs, windows, ({ p99Ms }) => p99Ms),
    user,
    // Both ends of each line are on this machine, and the kernel holds the same for either.
    kernel: risingModel(memory.map(({ lines, kernelBytes }) => ({ x: lines, y: kernelBytes / 2 }))),
    working: fitWorkingMemory(user, windows),
    acceptsPerSecond: Math.max(...accepts.map(({ lines, seconds }) => lines / seconds)),
    acceptUs:
      (sum(accepts.map(({ serverCpuSeconds }) => serverCpuSeconds)) /
        sum(accepts.map(({ lines }) => lines))) *
      1e6,
    reach: {
      lines: Math.max(...windows.map(({ lines }) => lines)),
      deliveriesPerSecond: Math.max(
        ...windows.map(({ deliveriesPerSecond }) => deliveriesPerSecond),
      ),
      eventBytes: Math.max(...windows.map(({ eventBytes }) => eventBytes)),
    },
  };
}

/**
 * A line that does not fall: where memory did, it was something else that shrank, and the error
 * tells by how much.
 */
function risingModel(points: readonly Point[]): LinearModel {
  const line = fitLinear(points);
  return line.slope >= 0 ? line : { ...line, slope: 0, intercept: valueAt(line, line.meanX) };
}

const COST_FACTORS = 8;

/**
 * What the server's time went into, in the order of the factors that {@link fitCosts} takes apart.
 */
function effectsOf({
  lines,
  serverShare,
  heartbeatsPerSecond,
  acceptedPerSecond,
  writesPerSecond,
  writtenBytesPerSecond,
}: Window): number[] {
  const busy = Math.min(1, serverShare);
  return [
    1,
    heartbeatsPerSecond * 1e-6,
    acceptedPerSecond * (1 - busy) * 1e-6,
    acceptedPerSecond * busy * 1e-6,
    writesPerSecond * (1 - busy) * 1e-6,
    writesPerSecond * busy * 1e-6,
    writesPerSecond * busy * linesEffect(lines) * 1e-6,
    writtenBytesPerSecond * 1e-6,
  ];
}

/**
 * The costs that explain the windows best. The server's own counts are used, so that this rests on
 * no belief about batches.
 */
function fitCosts(windows: readonly Window[]): Costs {
  const observations = windows.map((window): Observation => {
    const outcome = window.serverShare;
    return { effects: effectsOf(window), outcome, weight: 1 / Math.max(LEAST_SHARE, outcome) };
  });
  const [
    idleShare,
    heartbeatUs,
    idleEventUs,
    busyEventUs,
    idleWriteUs,
    busyWriteUs,
    manyLinesUs,
    byteUs,
  ] = fitFactors(observations);
  const delivering = windows.filter(({ deliveriesPerSecond }) => deliveriesPerSecond > 0);
  const frameBytes = delivering.map(
    ({ writtenBytesPerSecond, deliveriesPerSecond, eventBytes }) =>
      writtenBytesPerSecond / deliveriesPerSecond - eventBytes,
  );
  const full = delivering
    .filter(
      ({ acceptedPerSecond, offeredPerSecond }) =>
        acceptedPerSecond < TOO_MUCH_SHARE * offeredPerSecond,
    )
    .map(({ writtenBytesPerSecond, writesPerSecond }) => writtenBytesPerSecond / writesPerSecond);
  return {
    idleShare: idleShare!,
    heartbeatUs: heartbeatUs!,
    idleEventUs: idleEventUs!,
    busyEventUs: busyEventUs!,
    idleWriteUs: idleWriteUs!,
    busyWriteUs: busyWriteUs!,
    manyLinesUs: manyLinesUs!,
    byteUs: byteUs!,
    frameBytes: Math.max(0, sum(frameBytes) / Math.max(1, frameBytes.length)),
    fullWriteBytes: Math.min(
      CORK_WRITE_BYTES_MAX,
      full.length > 0 ? Math.max(...full) : FULL_WRITE_SHARE * CORK_WRITE_BYTES_MAX,
    ),
  };
}

/** The share of a core that the costs give for what the server did in a window. */
function predictedShare(costs: Costs, window: Window): number {
  const {
    idleShare,
    heartbeatUs,
    idleEventUs,
    busyEventUs,
    idleWriteUs,
    busyWriteUs,
    manyLinesUs,
    byteUs,
  } = costs;
  const factors = [
    idleShare,
    heartbeatUs,
    idleEventUs,
    busyEventUs,
    idleWriteUs,
    busyWriteUs,
    manyLinesUs,
    byteUs,
  ];
  return sumOf(effectsOf(window), factors);
}

/**
 * Latency against the time that a sweep takes by the model, over the windows that did not ask too
 * much.
 */
function fitLatency(
  costs: Costs,
  windows: readonly Window[],
  pick: (window: Window) => number | null,
): LatencyFit {
  const usable = windows.filter(
    (window) =>
      pick(window) !== null && window.acceptedPerSecond >= TOO_MUCH_SHARE * window.offeredPerSecond,
  );
  const unbounded = usable.filter(({ isClientLimited }) => !isClientLimited);
  const observations = (unbounded.length >= LATENCY_WINDOWS ? unbounded : usable).map(
    (window): Observation => {
      const outcome = pick(window)!;
      return {
        effects: [1, sweepMsOf(costs, window)],
        outcome,
        weight: 1 / Math.max(LEAST_LATENCY_MS, outcome),
      };
    },
  );
  const [baseMs = 0, sweeps = 0] = fitFactors(observations);
  const error = relativeError(
    observations.map(({ effects, outcome }) => ({
      is: sumOf(effects, [baseMs, sweeps]),
      was: outcome,
      least: LEAST_LATENCY_MS,
    })),
    2,
  );
  return { baseMs, sweeps, error };
}

/** The time that a sweep took in a window, by the model. */
export function sweepMsOf(costs: Costs, { lines, offeredPerSecond, eventBytes }: Window): number {
  return loadOf(costs, { lines, eventsPerSecond: offeredPerSecond, eventBytes }).sweepMs;
}

/** What a publish leaves to be collected beside its body: the request's objects, bytes. */
const PUBLISH_BYTES_MAX = 1_024;

/** Bytes that publishing goes through in a second. */
function publishedBytesPerSecond(eventsPerSecond: number, eventBytes: number): number {
  return eventsPerSecond * (eventBytes + PUBLISH_BYTES_MAX);
}

/** What was above the line of an idle process while events went out. */
function fitWorkingMemory(user: LinearModel, windows: readonly Window[]): WorkingMemory {
  const observations = windows
    .filter(({ acceptedPerSecond }) => acceptedPerSecond > 0)
    .map(({ lines, rssBytes, acceptedPerSecond, eventBytes }): Observation => ({
      effects: [1, publishedBytesPerSecond(acceptedPerSecond, eventBytes)],
      outcome: rssBytes - valueAt(user, lines),
      weight: 1,
    }));
  const factors = fitFactors(observations);
  const [baseBytes = 0, seconds = 0] = factors;
  const squares = sum(
    observations.map(({ effects, outcome }) => (sumOf(effects, factors) - outcome) ** 2),
  );
  return {
    baseBytes,
    seconds,
    errorBytes: Math.sqrt(squares / Math.max(1, observations.length - factors.length)),
  };
}

/** Memory that a process takes above an idle one when events go out. */
export function workingBytes(
  { baseBytes, seconds }: WorkingMemory,
  eventsPerSecond: number,
  eventBytes: number,
): number {
  return eventsPerSecond === 0
    ? 0
    : baseBytes + seconds * publishedBytesPerSecond(eventsPerSecond, eventBytes);
}

/**
 * Root of the mean square of relative differences, with as many observations taken off as factors
 * were fitted.
 */
function relativeError(
  pairs: readonly { readonly is: number; readonly was: number; readonly least: number }[],
  factors: number,
): number {
  const squares = sum(pairs.map(({ is, was, least }) => ((is - was) / Math.max(least, was)) ** 2));
  return Math.sqrt(squares / Math.max(1, pairs.length - factors));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
