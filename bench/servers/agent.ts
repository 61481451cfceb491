/** What every Node server of the bench answers the runner: collect garbage, tell its usage, watch its loop, stop. */
import { readFileSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { answerRunner, tellRunner } from '../child.js';
import { nowUs } from '../clock.js';

export interface LoopDelay {
  p50: number;
  p99: number;
  max: number;
}

export interface Usage {
  /** When it was told. */
  atUs: number;
  cpuSeconds: number;
  /** VmRSS: what the kernel counts for this process in user space; socket buffers of the kernel are not in it. */
  rssBytes: number;
  rssAnonBytes: number;
  heapUsedBytes: number;
  externalBytes: number;
  /** The sampling interval is subtracted: 0 = the loop came round when it was asked to. Null when it is not watched. */
  loopDelayMs: LoopDelay | null;
  /** Lines that are open and requests that wait. */
  held: number;
  /** What the server counts of itself. */
  counters: Record<string, number>;
}

const LOOP_RESOLUTION_MS = 1;

export interface Served {
  port: number;
  held: () => number;
  counters: () => Record<string, number>;
  stop: () => Promise<void> | void;
}

export function serveRunner(served: Served): void {
  // Watching costs a timer a millisecond, so it is off until asked for: the idle subject must not measure it.
  let loop: IntervalHistogram | undefined;
  answerRunner({
    gc: () => {
      if (globalThis.gc === undefined) throw new Error('started without --expose-gc');
      globalThis.gc();
    },
    watchLoop: () => {
      loop ??= monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
      loop.enable();
      loop.reset();
    },
    usage: (): Usage => ({
      ...processUsage(),
      loopDelayMs: loop === undefined ? null : loopDelay(loop),
      held: served.held(),
      counters: served.counters(),
    }),
    stop: async () => {
      await served.stop();
      // The answer is on its way before the process ends.
      setTimeout(() => process.exit(0), 20);
    },
  });
  tellRunner('listening', { port: served.port });
}

function loopDelay(loop: IntervalHistogram): LoopDelay {
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION_MS);
  return { p50: ms(loop.percentile(50)), p99: ms(loop.percentile(99)), max: ms(loop.max) };
}

function processUsage(): Omit<Usage, 'loopDelayMs' | 'held' | 'counters'> {
  const cpu = process.cpuUsage();
  const memory = process.memoryUsage();
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    atUs: nowUs(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytes: statusKilobytes(status, 'VmRSS') * 1024,
    rssAnonBytes: statusKilobytes(status, 'RssAnon') * 1024,
    heapUsedBytes: memory.heapUsed,
    externalBytes: memory.external,
  };
}

export function statusKilobytes(status: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status);
  if (match === null) throw new Error(`no ${field} in /proc/self/status`);
  return Number(match[1]);
}
