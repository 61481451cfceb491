/** The models fitted to a profile: costs, latency, memory and accepts, each with its error. */

import { CORK_WRITE_BYTES_MAX, LARGE_WRITE_BYTES_MAX } from '../../limits.js';
import type { Point } from '../../moments.js';
import { latencyMs, linesEffect, loadOf, type Costs, type LatencyModel } from './cost-model.js';
import {
  fitFactors,
  fitLinear,
  sumOf,
  valueAt,
  type LinearModel,
  type Observation,
} from './least-squares.js';
import type { Profile, Window } from './profile.js';

/** What a plan is computed from. */
export interface Fit {
  readonly costs: Costs;
  /** Relative standard error of the share of a core. */
  readonly cpuError: number;
  readonly p50: LatencyFit;
  readonly p99: LatencyFit;
  /** Memory of the idle server's process, by lines. */
  readonly user: LinearModel;
  /** Kernel memory of the server's ends of the lines, by lines. */
  readonly kernel: LinearModel;
  /** What the process needs more when events are published. */
  readonly working: WorkingMemory;
  readonly acceptsPerSecond: number;
  readonly acceptUs: number;
  /** What the windows reached; above that a plan extrapolates. */
  readonly reach: {
    readonly lines: number;
    readonly deliveriesPerSecond: number;
    readonly eventBytes: number;
  };
}

/** Memory above that of an idle process: rings and code, and garbage in proportion to the rate. */
export interface WorkingMemory {
  readonly baseBytes: number;
  /** Seconds of published bytes that are held before they are collected. */
  readonly seconds: number;
  readonly errorBytes: number;
}

/** The latency model and its relative standard error. */
export interface LatencyFit extends LatencyModel {
  readonly error: number;
}

/** Errors of smaller shares are relative to this one: other processes disturb by about as much. */
const SHARE_MIN = 0.05;

/** Errors of lower latencies are relative to this one, ms. */
const LATENCY_MS_MIN = 2;

/** A server that accepts less than this share of the offered events is above its ceiling. */
const ACCEPTED_SHARE_MIN = 0.9;

/**
 * Size of a write at the ceiling, as a share of a cork, where no window shows it. As measured on
 * the build machine.
 */
const FULL_WRITE_SHARE = 0.75;

/** With fewer windows for a fit of latency, it also uses those that the client limited. */
const LATENCY_WINDOWS_MIN = 3;

/** Fits the models. */
export function fitProfile({ memory, accepts, windows }: Profile): Fit {
  const costs = fitCosts(windows);
  const user = risingModel(memory.map(({ lines, rssBytes }) => ({ x: lines, y: rssBytes })));
  const p50 = fitLatency(costs, windows, ({ p50Ms }) => p50Ms);
  return {
    costs,
    cpuError: relativeError(
      windows.map((window) => ({
        is: predictedShare(costs, window),
        was: window.serverShare,
        min: SHARE_MIN,
      })),
      FACTORS.length,
    ),
    p50,
    p99: fitLatency(costs, windows, ({ p99Ms }) => p99Ms, p50),
    user,
    // Both ends of each line are on this machine, and the kernel holds the same for each.
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
 * A model that does not fall. Where measured memory did, something other than lines shrank, and the
 * model's error shows by how much.
 */
function risingModel(points: readonly Point[]): LinearModel {
  const model = fitLinear(points);
  return model.slope >= 0 ? model : { ...model, slope: 0, intercept: valueAt(model, model.meanX) };
}

/** The costs that are factors of a window's effects, in the order of {@link effectsOf}. */
const FACTORS = [
  'idleShare',
  'heartbeatUs',
  'idleEventUs',
  'busyEventUs',
  'idleWriteUs',
  'busyWriteUs',
  'manyLinesUs',
  'byteUs',
] as const satisfies readonly (keyof Costs)[];

/** What took the server's time in a window, in the order of {@link FACTORS}. */
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
 * The costs that explain the windows best. They are fitted to the server's own counts of events and
 * writes, so the fit assumes nothing about batches.
 */
function fitCosts(windows: readonly Window[]): Costs {
  const observations = windows.map((window): Observation => {
    const outcome = window.serverShare;
    return { effects: effectsOf(window), outcome, weight: 1 / Math.max(SHARE_MIN, outcome) };
  });
  const factors = fitFactors(observations);
  const delivering = windows.filter(({ deliveriesPerSecond }) => deliveriesPerSecond > 0);
  const frameBytes = delivering.map(
    ({ writtenBytesPerSecond, deliveriesPerSecond, eventBytes }) =>
      writtenBytesPerSecond / deliveriesPerSecond - eventBytes,
  );
  const full = delivering
    .filter(
      ({ acceptedPerSecond, offeredPerSecond }) =>
        acceptedPerSecond < ACCEPTED_SHARE_MIN * offeredPerSecond,
    )
    .map(({ writtenBytesPerSecond, writesPerSecond }) => writtenBytesPerSecond / writesPerSecond);
  const writeBytes = full.length > 0 ? Math.max(...full) : FULL_WRITE_SHARE * CORK_WRITE_BYTES_MAX;
  // Only a build that has large writes shows one.
  const writeBytesMax =
    writeBytes > CORK_WRITE_BYTES_MAX ? LARGE_WRITE_BYTES_MAX : CORK_WRITE_BYTES_MAX;
  return {
    ...(Object.fromEntries(FACTORS.map((name, i) => [name, factors[i]!])) as Pick<
      Costs,
      (typeof FACTORS)[number]
    >),
    frameBytes: Math.max(0, sum(frameBytes) / Math.max(1, frameBytes.length)),
    writeBytesMax,
    fullWriteBytes: Math.min(writeBytesMax, writeBytes),
  };
}

/** The share of a core that the costs give for a window. */
function predictedShare(costs: Costs, window: Window): number {
  const factors = FACTORS.map((name) => costs[name]);
  return sumOf(effectsOf(window), factors);
}

const NO_LATENCY: LatencyModel = { baseMs: 0, sweeps: 0 };

/**
 * Fits latency to the model's time of a sweep, over the windows below the ceiling. A percentile is
 * nowhere under a `lower` one, however few windows there are and however far it is extrapolated.
 */
function fitLatency(
  costs: Costs,
  windows: readonly Window[],
  pick: (window: Window) => number | null,
  lower = NO_LATENCY,
): LatencyFit {
  const usable = windows.filter(
    (window) =>
      pick(window) !== null &&
      window.acceptedPerSecond >= ACCEPTED_SHARE_MIN * window.offeredPerSecond,
  );
  const unlimited = usable.filter(({ isClientLimited }) => !isClientLimited);
  const observed = (unlimited.length >= LATENCY_WINDOWS_MIN ? unlimited : usable).map((window) => ({
    sweepMs: sweepMsOf(costs, window),
    latency: pick(window)!,
  }));
  const [baseMs = 0, sweeps = 0] = fitFactors(
    observed.map(({ sweepMs, latency }) => ({
      effects: [1, sweepMs],
      outcome: latency - latencyMs(lower, sweepMs),
      weight: 1 / Math.max(LATENCY_MS_MIN, latency),
    })),
  );
  const model = { baseMs: lower.baseMs + baseMs, sweeps: lower.sweeps + sweeps };
  const error = relativeError(
    observed.map(({ sweepMs, latency }) => ({
      is: latencyMs(model, sweepMs),
      was: latency,
      min: LATENCY_MS_MIN,
    })),
    2,
  );
  return { ...model, error };
}

/** The time that a sweep takes in a window by the model. */
export function sweepMsOf(costs: Costs, { lines, offeredPerSecond, eventBytes }: Window): number {
  return loadOf(costs, { lines, eventsPerSecond: offeredPerSecond, eventBytes }).sweepMs;
}

/** Garbage of a publish besides its body: the request's objects, bytes. */
const PUBLISH_BYTES_MAX = 1_024;

/** Bytes that publishing allocates in a second. */
function publishedBytesPerSecond(eventsPerSecond: number, eventBytes: number): number {
  return eventsPerSecond * (eventBytes + PUBLISH_BYTES_MAX);
}

/** Fits the memory above that of an idle process while events are published. */
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

/** Memory above that of an idle process when events are published. */
export function workingBytes(
  { baseBytes, seconds }: WorkingMemory,
  eventsPerSecond: number,
  eventBytes: number,
): number {
  return eventsPerSecond === 0
    ? 0
    : baseBytes + seconds * publishedBytesPerSecond(eventsPerSecond, eventBytes);
}

/** Root mean square of relative differences; each fitted factor takes one degree of freedom. */
function relativeError(
  pairs: readonly { readonly is: number; readonly was: number; readonly min: number }[],
  factors: number,
): number {
  const squares = sum(pairs.map(({ is, was, min }) => ((is - was) / Math.max(min, was)) ** 2));
  return Math.sqrt(squares / Math.max(1, pairs.length - factors));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
