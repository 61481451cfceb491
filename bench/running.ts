/** A server that runs, as subjects see it, whatever it is. */
import { readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import type { Child } from './child.js';
import type { Series, SeriesPublished } from './inside-publisher.js';
import type { NativeUsage, Usage } from './servers/agent.js';
import type { TargetName } from './targets.js';

export interface Running {
  name: TargetName;
  port: number;
  /** Where events are published, where that is another port. */
  publishPort?: number;
  /** What lines ask for, where that is not the path of the channel. */
  linePath?: string;
  /** Lines that may connect at the same time, where it loses some of more. */
  opensAtOnce?: number;
  pid: number;
  /** The send buffer of its sockets: `64 KiB`, or the kernel's own. */
  sendBuffer: string;
  /** The process that keeps its log, where that is another one. */
  logPid?: number | undefined;
  /**
   * From /proc: the same for every target, and without an answer of a busy loop. Accurate to 10 ms.
   */
  cpuSeconds(): number;
  rssBytes(): number;
  gc(): Promise<void>;
  watchLoop(): Promise<void>;
  /** Null when it is no Node server, or was too busy to answer in time. */
  usage(): Promise<Usage | null>;
  counters(): Promise<Record<string, number> | null>;
  /** Of a Node server only. */
  nativeUsage(): Promise<NativeUsage>;
  /** Publishes from within: Holdline and the loop of slices do. */
  publish(series: Series): Promise<SeriesPublished>;
  /** Begins an orderly end, of Holdline only. */
  drain(): Promise<void>;
  /** Of a Node server only. */
  writeHeapSnapshot(path: string, deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Kills the process of a server that did not start. */
export async function orKill<T>(child: Child, started: Promise<T>): Promise<T> {
  try {
    return await started;
  } catch (error) {
    await child.kill();
    throw error;
  }
}

/** What is known of a server that is no Node process of the bench. */
export function withoutLoop(
  pid: number,
): Pick<
  Running,
  | 'cpuSeconds'
  | 'drain'
  | 'rssBytes'
  | 'gc'
  | 'watchLoop'
  | 'usage'
  | 'nativeUsage'
  | 'publish'
  | 'writeHeapSnapshot'
> {
  const noNode = (): never => {
    throw new Error('this server is not a Node process');
  };
  return {
    cpuSeconds: () => readProcessUsage(pid).cpuSeconds,
    rssBytes: () => readRssBytes(pid),
    gc: async () => {},
    watchLoop: async () => {},
    usage: async () => null,
    nativeUsage: async () => noNode(),
    publish: async () => noNode(),
    drain: async () => noNode(),
    writeHeapSnapshot: async () => noNode(),
  };
}
