/**
 * The short runs that a profile is made of. One server is kept idle, grows line by line and is then
 * put to work; another one with fewer lines is put to work before, while the first one grows old
 * enough to be weighed.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { loadOf, type Costs } from './cost-model.js';
import { onClientCores, type Cores } from './cores.js';
import {
  PROFILE_SCHEMA,
  type Accept,
  type Limits,
  type MemoryStep,
  type Profile,
  type Window,
} from './profile.js';
import { Rig, type Publishing } from './rig.js';

/** What is to be measured. */
export interface MeasureOptions {
  readonly transport: Profile['transport'];
  /** The most lines. */
  readonly lines: number;
  /** Time for all of it. */
  readonly budgetMs: number;
  readonly socketSendBufferBytes: number;
  readonly limits: Limits;
  /** The machine in a line. */
  readonly machine: string;
  /** Told how far it is, 0 to 1, and what comes next. */
  progress(this: void, share: number, next: string): void;
}

/**
 * How much each window asks, as a share of what the core does one event at a time: calm, busy, and
 * more than that, so that events share writes; `too much` is more than lines take at all.
 */
interface WindowPlan {
  readonly lines: 'few' | 'some' | 'all';
  readonly share: number | 'too much';
  readonly eventBytes: number;
}

/**
 * Few lines tell what an event costs, some what a write does, all of them what it costs where
 * caches do not hold them.
 */
const WINDOWS: readonly WindowPlan[] = [
  { lines: 'few', share: 0.1, eventBytes: 256 },
  { lines: 'few', share: 0.4, eventBytes: 256 },
  { lines: 'some', share: 0.12, eventBytes: 256 },
  { lines: 'some', share: 0.5, eventBytes: 256 },
  { lines: 'some', share: 0.5, eventBytes: 4096 },
  { lines: 'some', share: 3, eventBytes: 1024 },
  { lines: 'all', share: 0.12, eventBytes: 256 },
  { lines: 'all', share: 0.35, eventBytes: 1024 },
  { lines: 'all', share: 0.7, eventBytes: 256 },
  { lines: 'all', share: 0.5, eventBytes: 4096 },
  { lines: 'all', share: 4, eventBytes: 256 },
  { lines: 'all', share: 'too much', eventBytes: 1024 },
];

const FEW_LINES = 10;
/** Some lines are one in so many of all. */
const SOME = 10;

/**
 * Counts of lines at which memory is weighed, as shares of all. The first is above those of the
 * other server, whose memory the kernel may give out again.
 */
const MEMORY_STEPS = [0.2, 0.4, 0.6, 0.8, 1];

/**
 * What is not publishing: starting servers, connecting, weighing, waiting for the last events.
 * Measured on a slow machine.
 */
const OVERHEAD_MS = 22_000;
const LEAST_WINDOW_MS = 300;
const MOST_WINDOW_MS = 10_000;

/** Of the first window of each server, once without counting. */
const WARM_UP_SECONDS = 1;

/** A share of the budget that is left, for machines that are slower still. */
const BUDGET_SHARE = 0.95;

/** Heartbeats often enough to be seen in one window; where events go out there are none. */
const HEARTBEAT_MS = 2_000;

/** How long the kernel takes to give back what belonged to closed connections. */
const GIVEN_BACK_MS = 500;

/** How much more than the ceiling is offered. */
const TOO_MUCH = 1.5;

/** Least events in a window. */
const LEAST_EVENTS = 4;

/** What other processes may take of a core without a remark. */
const STRANGERS = 0.1;

/** What costs are taken to be until the first window has told: those of a core of 2024. */
const USUAL: Costs = {
  idleShare: 0.01,
  heartbeatUs: 13,
  idleEventUs: 150,
  busyEventUs: 30,
  idleWriteUs: 8,
  busyWriteUs: 2.5,
  manyLinesUs: 0.8,
  byteUs: 0.0002,
  frameBytes: 40,
  fullWriteBytes: 12_600,
};

/** Bounds of how far a machine is taken to be from that. */
const FASTEST = 0.2;
const SLOWEST = 8;

/** Measures. Throws `RunFailure` when the machine does not let it. */
export function measure(options: MeasureOptions): Promise<Profile> {
  return onClientCores((cores) => measureOn(cores, options));
}

async function measureOn(cores: Cores | undefined, options: MeasureOptions): Promise<Profile> {
  const { transport, lines, socketSendBufferBytes, limits, machine, budgetMs } = options;
  const measuredAt = new Date().toISOString();
  const seconds = windowSecondsOf(budgetMs);
  const next = steps(options);
  const windows: Window[] = [];
  /**
   * The windows of one server, after a look that does not count: a program that has not run yet is
   * still being compiled.
   */
  const publish = async (rig: Rig, plans: readonly WindowPlan[]): Promise<void> => {
    for (const [nth, plan] of plans.entries()) {
      const count = linesOf(plan, lines);
      next(`${words(count)} lines, events of ${words(plan.eventBytes)} B`);
      await rig.open(count);
      if (nth === 0)
        await rig.publish(publishingOf(plan, count, windows, Math.min(seconds, WARM_UP_SECONDS)));
      windows.push(await rig.publish(publishingOf(plan, count, windows, seconds)));
    }
  };

  next('starting');
  const large = await startRig();
  try {
    const endOfYouth = await large.watchIdle();
    const small = await startRig();
    try {
      await publish(
        small,
        WINDOWS.filter((plan) => plan.lines !== 'all'),
      );
    } finally {
      await small.close();
    }
    windows.push(await endOfYouth());
    await sleep(GIVEN_BACK_MS);

    const memory: MemoryStep[] = [];
    const accepts: Accept[] = [];
    for (const share of MEMORY_STEPS) {
      const count = Math.max(FEW_LINES, Math.round(lines * share));
      next(`${words(count)} lines`);
      accepts.push(await large.open(count));
      memory.push(await large.memory());
    }
    next(`${words(lines)} lines, heartbeats`);
    const endOfQuiet = await large.watchIdle();
    await sleep(seconds * 1000);
    windows.push(await endOfQuiet());
    await publish(
      large,
      WINDOWS.filter((plan) => plan.lines === 'all'),
    );
    const { sockets } = await large.server.stats();
    return {
      schema: PROFILE_SCHEMA,
      measuredAt,
      machine,
      limits,
      transport,
      sendBufferBytes: sockets.options.sendBufferBytes ?? null,
      isPinned: cores !== undefined,
      memory,
      accepts,
      windows,
      remarks: [...remarksOn(windows, cores !== undefined), ...sockets.problems],
    };
  } finally {
    await large.close();
  }

  function startRig(): Promise<Rig> {
    return Rig.start({ transport, cores, socketSendBufferBytes, heartbeatMs: HEARTBEAT_MS });
  }
}

/** Counts the steps for whoever watches. */
function steps({ progress }: MeasureOptions): (what: string) => void {
  const count = 1 + WINDOWS.length + MEMORY_STEPS.length + 1;
  let done = 0;
  return (what) => progress(done++ / count, what);
}

function linesOf({ lines }: WindowPlan, all: number): number {
  if (lines === 'few') return FEW_LINES;
  return lines === 'all' ? all : Math.max(FEW_LINES, Math.round(all / SOME));
}

/** Time of one window. */
export function windowSecondsOf(budgetMs: number): number {
  const eachMs = (BUDGET_SHARE * budgetMs - OVERHEAD_MS) / (WINDOWS.length + 1);
  return Math.min(MOST_WINDOW_MS, Math.max(LEAST_WINDOW_MS, eachMs)) / 1000;
}

/** What to publish, by what the windows so far tell of this machine. */
function publishingOf(
  { share, eventBytes }: WindowPlan,
  lines: number,
  windows: readonly Window[],
  seconds: number,
): Publishing {
  const pace = paceOf(windows);
  const demand = { lines, eventsPerSecond: 0, eventBytes };
  const { batchingPerSecond, ceilingPerSecond } = loadOf(USUAL, demand);
  const ratePerSecond =
    (share === 'too much' ? TOO_MUCH * ceilingPerSecond : share * batchingPerSecond) / pace;
  const least = LEAST_EVENTS / seconds;
  return { ratePerSecond: Math.max(least, ratePerSecond), eventBytes, seconds };
}

/**
 * How many times slower this machine is than the usual costs say, by the newest window that was not
 * full.
 */
function paceOf(windows: readonly Window[]): number {
  const telling = windows.findLast(
    ({ writesPerSecond, serverShare }) => writesPerSecond > 0 && serverShare < 0.9,
  );
  if (telling === undefined) return 1;
  const { lines, acceptedPerSecond, eventBytes, serverShare } = telling;
  const usual = loadOf(USUAL, { lines, eventsPerSecond: acceptedPerSecond, eventBytes }).busyShare;
  return Math.min(SLOWEST, Math.max(FASTEST, serverShare / usual));
}

function remarksOn(windows: readonly Window[], isPinned: boolean): string[] {
  // Before there are lines the other server is at work, which is no stranger.
  const strangers = Math.max(
    ...windows.filter(({ lines }) => lines > 0).map(({ strangerShare }) => strangerShare),
  );
  const faults = windows.reduce((total, window) => total + window.faults, 0);
  const full = windows.filter(({ isClientLimited }) => isClientLimited).length;
  return [
    ...(isPinned
      ? []
      : ['server and clients shared their cores: figures of CPU and latency are worth less']),
    ...(strangers > STRANGERS
      ? [
          `other processes took up to ${words(strangers * 100)} % of a core: measure again when they rest`,
        ]
      : []),
    ...(full > 0
      ? [
          `in ${full} of ${windows.length} runs the clients were busier than the server: it may be faster than this says`,
        ]
      : []),
    ...(faults > 0
      ? [`${words(faults)} deliveries were lost, doubled or out of order: something is wrong`]
      : []),
  ];
}

function words(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
