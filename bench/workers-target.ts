/** `holdline serve --workers N`, as built: the supervisor and its processes, as one server. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import { OPTIONS } from '../src/options/table.js';
import { Child, SERVER_CORE, type TextRows, childPids } from './child.js';
import { type Running, orKill, withoutLoop } from './running.js';

export interface WorkersSettings {
  /** 1: one process without a supervisor. */
  workers: number;
  /** Whether all of them share the server's core; otherwise they have every core. */
  isPinned?: boolean;
  /** `--log`; left out: in memory. */
  log?: string;
}

export interface WorkersReport {
  open: number;
  refused: Record<string, number>;
  restarts: number;
}

/** What a server of several processes says of them. */
export interface WorkersServer extends Running {
  /** Open files of each process that serves: its lines, and some tens more. */
  openFiles(): number[];
  /** Lines that all processes hold, and how often one was started in the place of another. */
  report(): Promise<WorkersReport>;
}

interface StatsPage {
  lines: { open: number };
  counters: Record<string, unknown> & { refused: Record<string, number> };
  /** Left out by one process. */
  workers?: { restarts: number };
}

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const OPS_KEY = 'bench';
const START_DEADLINE_MS = 20_000;
const ANSWER_DEADLINE_MS = 5_000;

export async function startWorkers({
  workers,
  isPinned = true,
  log,
}: WorkersSettings): Promise<WorkersServer> {
  const child = new Child({
    name: `holdline serve --workers ${workers}`,
    command: process.execPath,
    args: [
      MAIN,
      'serve',
      '--host=127.0.0.1',
      '--port=0',
      `--workers=${workers}`,
      '--open-publish',
      '--first-id=1',
      `--ops-key=${OPS_KEY}`,
      ...(log === undefined ? [] : [`--log=${log}`]),
    ],
    core: isPinned ? SERVER_CORE : undefined,
    ipc: false,
  });
  const port = await orKill(child, portOf(child.textLines()));
  const pids = (): number[] => [child.pid, ...childPids(child.pid)];
  const sum = (of: (pid: number) => number): number =>
    pids().reduce((total, pid) => total + of(pid), 0);
  const stats = async (): Promise<StatsPage> => {
    const answer = await fetch(`http://127.0.0.1:${port}/-/stats`, {
      headers: { Authorization: `Bearer ${OPS_KEY}` },
      signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
    });
    if (!answer.ok) throw new Error(`/-/stats answered ${answer.status}`);
    return (await answer.json()) as StatsPage;
  };
  return {
    name: 'holdline-workers',
    port,
    pid: child.pid,
    sendBuffer: `${OPTIONS.socketSendBufferBytes.default / 1024} KiB`,
    ...withoutLoop(child.pid),
    cpuSeconds: () => sum((pid) => readProcessUsage(pid).cpuSeconds),
    // What processes share counts in each of them.
    rssBytes: () => sum(readRssBytes),
    counters: async () => {
      const page = await stats().catch(() => undefined);
      if (page === undefined) return null;
      const numbers = Object.entries(page.counters).filter(
        (entry): entry is [string, number] => typeof entry[1] === 'number',
      );
      return Object.fromEntries(numbers);
    },
    openFiles: () =>
      (workers === 1 ? [child.pid] : childPids(child.pid)).map(
        (pid) => readdirSync(`/proc/${pid}/fd`).length,
      ),
    report: async () => {
      const { lines, counters, workers: all } = await stats();
      return { open: lines.open, refused: counters.refused, restarts: all?.restarts ?? 0 };
    },
    stop: () => child.kill(),
  };
}

/** The port, as the server logs it. */
async function portOf(rows: TextRows): Promise<number> {
  for (;;) {
    const row = JSON.parse(await rows.next(START_DEADLINE_MS)) as { msg: string; port?: number };
    if (row.msg === 'listening' && row.port !== undefined) return row.port;
  }
}
