/**
 * The short runs of a profile. One server idles, then gains lines, and then sends events. Before it
 * gains lines, a second server with fewer lines sends events, so that the first one's memory
 * settles.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { decimal, percent } from '../report/words.js';
import { makeBlocks } from './blocks.js';
import { loadOf, type Costs } from './cost-model.js';
import { SETTLE_STALL_MS } from '../load/processes/settling.js';
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
import { marketTicks, type Sample } from './sample-events.js';

/** What to measure. */
export interface MeasureOptions {
  readonly transport: Profile['transport'];
  /** Lines at the end. */
  readonly lines: number;
  /** Time for everything. */
  readonly budgetMs: number;
  readonly socketSendBufferBytes: number;
  readonly limits: Limits;
  /** What the compressor's time is measured with; by default market ticks. */
  readonly sample?: Sample;
  /** The machine in one line of text. */
  readonly machine: string;
  /** Called with the share that is done, 0 to 1, and what comes next. */
  progress(this: void, share: number, next: string): void;
}

/**
 * The load of a window, as a share of the highest rate at which each event is a write of its own.
 * Above 1 events share writes; `too much` is above the highest rate of all.
 */
interface WindowPlan {
  readonly lines: 'few' | 'some' | 'all';
  readonly share: number | 'too much';
  readonly eventBytes: number;
}

/**
 * Few lines show the cost of an event, some lines the cost of a write, and all lines its cost where
 * their state does not fit into the caches.
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
/** All lines, divided by this, are some lines. */
const SOME_DIVISOR = 10;

/**
 * Shares of all lines at which memory is measured. The first is above the lines of the other
 * server, whose memory the kernel may reuse.
 */
const MEMORY_STEPS = [0.2, 0.4, 0.6, 0.8, 1];

/**
 * Time for everything but publishing: starting servers, connecting, measuring memory, waiting for
 * the last events. Measured on a slow machine.
 */
const OVERHEAD_MS = 22_000;
const WINDOW_MS_MIN = 300;
const WINDOW_MS_MAX = 10_000;

/** The first window of each server runs once for this long without being counted. */
const WARM_UP_SECONDS = 1;

/** Share of the budget that is used. The rest is for machines that are slower still. */
const BUDGET_SHARE = 0.95;

/** Short enough for heartbeats in a window without events; with events there are none. */
const HEARTBEAT_MS = 2_000;

/** How long the kernel takes to free the memory of closed connections. */
const FREED_MS = 500;

/** The rate that is `too much`, as a multiple of the highest rate. */
const TOO_MUCH = 1.5;

const WINDOW_EVENTS_MIN = 4;

/** Share of a core that other processes may use without a remark. */
const OTHERS_SHARE_MAX = 0.1;

/** The costs that are assumed before the first window: those of a core of 2024. */
const TYPICAL_COSTS: Costs = {
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

/** How many times slower than that a machine is assumed to be, at least and at most. */
const SLOWNESS_MIN = 0.2;
const SLOWNESS_MAX = 8;

/** Measures. Throws `RunFailure` when that is not possible on this machine. */
export function measure(options: MeasureOptions): Promise<Profile> {
  return onClientCores((cores) => measureOn(cores, options));
}

async function measureOn(cores: Cores | undefined, options: MeasureOptions): Promise<Profile> {
  const { transport, lines, socketSendBufferBytes, limits, machine, budgetMs } = options;
  const measuredAt = new Date().toISOString();
  const seconds = windowSecondsOf(budgetMs);
  const next = steps(options);
  const windows: Window[] = [];
  /** Measures the windows of one server, after a warm-up, in which its code is compiled. */
  const publish = async (rig: Rig, plans: readonly WindowPlan[]): Promise<void> => {
    for (const [nth, plan] of plans.entries()) {
      const count = linesOf(plan, lines);
      next(`${decimal(count)} lines, events of ${decimal(plan.eventBytes)} B`);
      await rig.open(count);
      if (nth === 0)
        await rig.publish(publishingOf(plan, count, windows, Math.min(seconds, WARM_UP_SECONDS)));
      windows.push(await rig.publish(publishingOf(plan, count, windows, seconds)));
    }
  };

  next('starting');
  const blocks = makeBlocks(options.sample ?? marketTicks()).map(({ plainBytes, us }) => ({
    plainBytes,
    us,
  }));
  const large = await startRig();
  try {
    const endYouth = await large.watchIdle();
    const small = await startRig();
    try {
      await publish(
        small,
        WINDOWS.filter((plan) => plan.lines !== 'all'),
      );
    } finally {
      await small.close();
    }
    windows.push(await endYouth());
    await sleep(FREED_MS);

    const memory: MemoryStep[] = [];
    const accepts: Accept[] = [];
    for (const share of MEMORY_STEPS) {
      const count = Math.max(FEW_LINES, Math.round(lines * share));
      next(`${decimal(count)} lines`);
      accepts.push(await large.open(count));
      memory.push(await large.memory());
    }
    next(`${decimal(lines)} lines, heartbeats`);
    const endQuiet = await large.watchIdle();
    await sleep(seconds * 1000);
    windows.push(await endQuiet());
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
      blocks,
      remarks: [...remarksOn(windows, cores !== undefined), ...sockets.problems],
    };
  } finally {
    await large.close();
  }

  function startRig(): Promise<Rig> {
    return Rig.start({ transport, cores, socketSendBufferBytes, heartbeatMs: HEARTBEAT_MS });
  }
}

/** Reports each step of the measurement. */
function steps({ progress }: MeasureOptions): (what: string) => void {
  const count = 1 + WINDOWS.length + MEMORY_STEPS.length + 1;
  let done = 0;
  return (what) => progress(done++ / count, what);
}

function linesOf({ lines }: WindowPlan, all: number): number {
  if (lines === 'few') return FEW_LINES;
  return lines === 'all' ? all : Math.max(FEW_LINES, Math.round(all / SOME_DIVISOR));
}

/** The length of one window. */
export function windowSecondsOf(budgetMs: number): number {
  const eachMs = (BUDGET_SHARE * budgetMs - OVERHEAD_MS) / (WINDOWS.length + 1);
  return Math.min(WINDOW_MS_MAX, Math.max(WINDOW_MS_MIN, eachMs)) / 1000;
}

/** What to publish, at a rate that suits this machine as far as the windows have shown it. */
function publishingOf(
  { share, eventBytes }: WindowPlan,
  lines: number,
  windows: readonly Window[],
  seconds: number,
): Publishing {
  const demand = { lines, eventsPerSecond: 0, eventBytes };
  const { batchingPerSecond, ceilingPerSecond } = loadOf(TYPICAL_COSTS, demand);
  const ratePerSecond =
    (share === 'too much' ? TOO_MUCH * ceilingPerSecond : share * batchingPerSecond) /
    slownessOf(windows);
  const lowestPerSecond = WINDOW_EVENTS_MIN / seconds;
  return { ratePerSecond: Math.max(lowestPerSecond, ratePerSecond), eventBytes, seconds };
}

/** How many times slower than typical this machine is, by its newest window with time to spare. */
function slownessOf(windows: readonly Window[]): number {
  const window = windows.findLast(
    ({ writesPerSecond, serverShare }) => writesPerSecond > 0 && serverShare < 0.9,
  );
  if (window === undefined) return 1;
  const { lines, acceptedPerSecond: eventsPerSecond, eventBytes, serverShare } = window;
  const typical = loadOf(TYPICAL_COSTS, { lines, eventsPerSecond, eventBytes }).busyShare;
  return Math.min(SLOWNESS_MAX, Math.max(SLOWNESS_MIN, serverShare / typical));
}

/** What a reader should know about the windows, a sentence each. */
export function remarksOn(windows: readonly Window[], isPinned: boolean): string[] {
  // In the window without lines the other server is at work, which is not another process.
  const othersShare = Math.max(
    ...windows.filter(({ lines }) => lines > 0).map(({ strangerShare }) => strangerShare),
  );
  const sum = (of: (window: Window) => number): number =>
    windows.reduce((total, window) => total + of(window), 0);
  const faults = sum((window) => window.faults);
  const undelivered = sum((window) => window.undelivered ?? 0);
  const awaited = sum(
    ({ acceptedPerSecond, seconds, lines }) => acceptedPerSecond * seconds * lines,
  );
  const full = windows.filter(({ isClientLimited }) => isClientLimited).length;
  return [
    ...(isPinned
      ? []
      : ['server and clients shared their cores: CPU and latency are less reliable']),
    ...(othersShare > OTHERS_SHARE_MAX
      ? [
          `other processes took up to ${percent(othersShare, 0)} of a core: measure again when ` +
            'they are idle',
        ]
      : []),
    ...(full > 0
      ? [
          `in ${full} of ${windows.length} runs the clients were at their limit: the server ` +
            'may be faster than measured',
        ]
      : []),
    ...(undelivered > 0
      ? [
          `${decimal(undelivered)} of ${decimal(awaited, 0)} deliveries had not come when their ` +
            `run ended, after at most ${SETTLE_STALL_MS / 1000} s without one: late, or lost; ` +
            'measure again when the machine is idle',
        ]
      : []),
    ...(faults > 0
      ? [`${decimal(faults)} deliveries were skipped, doubled or out of order: something is wrong`]
      : []),
  ];
}
