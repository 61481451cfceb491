/**
 * The short runs of a profile. One server idles, then gains lines, and then sends events. Before it
 * gains lines, a second server with fewer lines sends events, so that the first one's memory
 * settles.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { CORK_WRITE_BYTES_MAX } from '../../limits.js';
import type { Stats } from '../../ops/stats.js';
import { decimal } from '../report/words.js';
import { makeBlocks } from './blocks.js';
import { loadOf, type Costs } from './cost-model.js';
import { onClientCores, type Cores } from './cores.js';
import {
  PROFILE_SCHEMA,
  type Accept,
  type CompressedWindow,
  type Limits,
  type MemoryStep,
  type Profile,
  type Window,
} from './profile.js';
import { remarksOn } from './measure-remarks.js';
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
  /** With `shared`, windows with compressed lines are measured, too. */
  readonly compress?: 'off' | 'shared';
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

/** With compressed lines: one event a write, and several. */
const COMPRESSED_WINDOWS: readonly WindowPlan[] = [
  { lines: 'all', share: 0.35, eventBytes: 256 },
  { lines: 'all', share: 3, eventBytes: 256 },
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
const OVERHEAD_MS = 20_000;
const COMPRESSED_OVERHEAD_MS = 6_000;
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
  writeBytesMax: CORK_WRITE_BYTES_MAX,
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
  const seconds = windowSecondsOf(budgetMs, options.compress);
  const next = steps(options);
  const windows: Window[] = [];
  /** Measures the windows of one server, after a warm-up, in which its code is compiled. */
  const publish = async (
    rig: Rig,
    plans: readonly WindowPlan[],
    kept: Pick<CompressedWindow[], 'push'> | Pick<Window[], 'push'> = windows,
    kind = 'lines',
  ): Promise<void> => {
    for (const [nth, plan] of plans.entries()) {
      const count = linesOf(plan, lines);
      next(`${decimal(count)} ${kind}, events of ${decimal(plan.eventBytes)} B`);
      await rig.open(count);
      if (nth === 0)
        await rig.publish(publishingOf(plan, count, windows, Math.min(seconds, WARM_UP_SECONDS)));
      kept.push(await rig.publish(publishingOf(plan, count, windows, seconds)));
    }
  };

  next('starting');
  const blocks = makeBlocks(options.sample ?? marketTicks()).map(({ plainBytes, us }) => ({
    plainBytes,
    us,
  }));
  const memory: MemoryStep[] = [];
  const accepts: Accept[] = [];
  const sockets = await measurePlain();
  const compressed = options.compress === 'shared' ? await measureCompressed() : undefined;
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
    ...(compressed !== undefined && { compressed }),
    remarks: [
      ...remarksOn([...windows, ...(compressed ?? [])], cores !== undefined),
      ...sockets.problems,
    ],
  };

  /** How the server's sockets are set. */
  async function measurePlain(): Promise<Stats['sockets']> {
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
      return (await large.server.stats()).sockets;
    } finally {
      await large.close();
    }
  }

  async function measureCompressed(): Promise<CompressedWindow[]> {
    const kept: CompressedWindow[] = [];
    await sleep(FREED_MS);
    const rig = await startRig('shared');
    try {
      await publish(rig, COMPRESSED_WINDOWS, kept, 'compressed lines');
    } finally {
      await rig.close();
    }
    return kept;
  }

  function startRig(compress: 'off' | 'shared' = 'off'): Promise<Rig> {
    const heartbeatMs = HEARTBEAT_MS;
    return Rig.start({ transport, cores, socketSendBufferBytes, heartbeatMs, compress });
  }
}

/** Reports each step of the measurement. */
function steps({ progress, compress }: MeasureOptions): (what: string) => void {
  const compressed = compress === 'shared' ? COMPRESSED_WINDOWS.length : 0;
  const count = 1 + WINDOWS.length + MEMORY_STEPS.length + 1 + compressed;
  let done = 0;
  return (what) => progress(done++ / count, what);
}

function linesOf({ lines }: WindowPlan, all: number): number {
  if (lines === 'few') return FEW_LINES;
  return lines === 'all' ? all : Math.max(FEW_LINES, Math.round(all / SOME_DIVISOR));
}

/** The length of one window. */
export function windowSecondsOf(budgetMs: number, compress: 'off' | 'shared' = 'off'): number {
  const isCompressed = compress === 'shared';
  const windows = WINDOWS.length + 1 + (isCompressed ? COMPRESSED_WINDOWS.length : 0);
  const overheadMs = OVERHEAD_MS + (isCompressed ? COMPRESSED_OVERHEAD_MS : 0);
  const eachMs = (BUDGET_SHARE * budgetMs - overheadMs) / windows;
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
