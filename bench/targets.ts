/** The servers that are measured side by side, each behind the same few questions. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, SERVER_CORE, childPids, startNode } from './child.js';
import { sleepMs } from './clock.js';
import { PATH } from './event.js';
import { processCpuSeconds } from './machine.js';
import { freePort, listening } from './ports.js';
import { nchanAbsence, nchanCommand } from './servers/nchan.js';
import { type Usage, statusKilobytes } from './servers/agent.js';

/** What the client of a target holds: an event stream, a WebSocket, or a request that waits for its answer. */
export type Transport = 'sse' | 'websocket' | 'poll';

/** A server, and the way it is asked: one process answers them all, and a target is one of them. */
export const TARGETS = [
  'holdline',
  'holdline-ws',
  'holdline-poll',
  'raw-uws',
  'raw-uws-ws',
  'raw-uws-poll',
  'send-loop',
  'nchan',
  'fixed-answer',
] as const;
export type TargetName = (typeof TARGETS)[number];

export const TARGET_TITLES: Record<TargetName, string> = {
  holdline: 'Holdline',
  'holdline-ws': 'Holdline, WebSocket',
  'holdline-poll': 'Holdline, long-poll',
  'raw-uws': 'raw uWebSockets.js loop',
  'raw-uws-ws': 'raw uWebSockets.js, WebSocket',
  'raw-uws-poll': 'raw uWebSockets.js, long-poll',
  'send-loop': 'bare C send() loop',
  nchan: 'nginx with nchan',
  'fixed-answer': 'raw uWebSockets.js route',
};

export function transportOf(target: TargetName): Transport {
  if (target.endsWith('-ws')) return 'websocket';
  return target.endsWith('-poll') ? 'poll' : 'sse';
}

type NodeServer = 'holdline' | 'raw-uws' | 'fixed-answer';

/** The file in servers/; undefined when it is no Node process of ours. */
function nodeServerOf(target: TargetName): NodeServer | undefined {
  if (target === 'fixed-answer' || target === 'holdline' || target === 'raw-uws') return target;
  if (target.startsWith('holdline-')) return 'holdline';
  return target.startsWith('raw-uws-') ? 'raw-uws' : undefined;
}

/** Whether its event loop can be watched. */
export function hasLoop(target: TargetName): boolean {
  return nodeServerOf(target) !== undefined;
}

const START_DEADLINE_MS = 20_000;
const ANSWER_DEADLINE_MS = 5_000;
const STOP_DEADLINE_MS = 5_000;

export interface Running {
  name: TargetName;
  port: number;
  pid: number;
  /** From /proc, so that it is the same for every target and needs no answer of a busy loop; to 10 ms. */
  cpuSeconds(): number;
  rssBytes(): number;
  gc(): Promise<void>;
  watchLoop(): Promise<void>;
  /** Null when it has no loop to ask, or was too busy to answer in time. */
  usage(): Promise<Usage | null>;
  counters(): Promise<Record<string, number> | null>;
  stop(): Promise<void>;
}

/** Why a target cannot run here; undefined when it can. */
export function absence(name: TargetName): string | undefined {
  if (nodeServerOf(name) === 'holdline' && !existsSync(new URL('../dist/index.js', import.meta.url)))
    return 'dist/index.js is missing: npm run build';
  if (name === 'send-loop' && spawnSync('gcc', ['--version']).status !== 0) return 'there is no gcc';
  return name === 'nchan' ? nchanAbsence() : undefined;
}

export function startTarget(name: TargetName, settings: object = {}): Promise<Running> {
  if (name === 'send-loop') return startSendLoop();
  const server = nodeServerOf(name);
  return server === undefined ? startNchan() : startNodeTarget(name, server, settings);
}

async function startNodeTarget(name: TargetName, server: NodeServer, settings: object): Promise<Running> {
  const file = new URL(`servers/${server}.ts`, import.meta.url);
  const child = startNode(name, file, SERVER_CORE, ['--expose-gc'], { BENCH_SETTINGS: JSON.stringify(settings) });
  const { port } = await orKill(child, child.notice<{ port: number }>('listening', START_DEADLINE_MS));
  const usage = (): Promise<Usage | null> => child.ask<Usage>('usage', null, ANSWER_DEADLINE_MS).catch(() => null);
  return {
    name,
    port,
    pid: child.pid,
    cpuSeconds: () => processCpuSeconds(child.pid),
    rssBytes: () => rssBytes(child.pid),
    gc: () => child.ask('gc', null, ANSWER_DEADLINE_MS),
    watchLoop: () => child.ask('watchLoop', null, ANSWER_DEADLINE_MS),
    usage,
    counters: async () => (await usage())?.counters ?? null,
    stop: async () => {
      // A server that is still busy with its backlog has been measured all the same.
      await child.ask('stop', null, STOP_DEADLINE_MS).catch(() => {});
      await child.kill();
    },
  };
}

/** A server that did not start is no reason to leave its process to the next one. */
async function orKill<T>(child: Child, started: Promise<T>): Promise<T> {
  try {
    return await started;
  } catch (error) {
    await child.kill();
    throw error;
  }
}

async function startNchan(): Promise<Running> {
  const port = await freePort();
  const child = new Child({ name: 'nchan', ...nchanCommand(temporaryDirectory(), port, PATH), core: SERVER_CORE, ipc: false });
  const hasWorker = async (): Promise<number> => {
    await listening(port, START_DEADLINE_MS);
    const [worker] = childPids(child.pid);
    if (worker === undefined) throw new Error('nginx listens but has no worker');
    return worker;
  };
  const worker = await orKill(child, hasWorker());
  const stop = async (): Promise<void> => {
    // Asked first: a master that is killed leaves its worker to nobody.
    child.signal('SIGTERM');
    await Promise.race([child.exited, sleepMs(STOP_DEADLINE_MS)]);
    await child.kill();
  };
  return { name: 'nchan', port, pid: worker, ...withoutLoop(worker), counters: async () => null, stop };
}

/** What a server without a Node process tells of itself. */
function withoutLoop(pid: number): Pick<Running, 'cpuSeconds' | 'rssBytes' | 'gc' | 'watchLoop' | 'usage'> {
  return {
    cpuSeconds: () => processCpuSeconds(pid),
    rssBytes: () => rssBytes(pid),
    gc: async () => {},
    watchLoop: async () => {},
    usage: async () => null,
  };
}

let sendLoopBinary: string | undefined;

async function startSendLoop(): Promise<Running> {
  sendLoopBinary ??= compileSendLoop();
  const child = new Child({ name: 'send-loop', command: sendLoopBinary, args: [], core: SERVER_CORE, ipc: false });
  const answers = child.textLines();
  const port = Number((await orKill(child, answers.next(START_DEADLINE_MS))).replace('port ', ''));
  return {
    name: 'send-loop',
    port,
    pid: child.pid,
    ...withoutLoop(child.pid),
    counters: async () => {
      child.write('counters\n');
      const text = await answers.next(ANSWER_DEADLINE_MS).catch(() => '');
      if (text === '') return null;
      return Object.fromEntries(text.split(' ').map((pair) => [pair.split('=')[0]!, Number(pair.split('=')[1])]));
    },
    stop: () => child.kill(),
  };
}

function compileSendLoop(): string {
  const binary = join(temporaryDirectory(), 'send-loop');
  const source = fileURLToPath(new URL('servers/send-loop.c', import.meta.url));
  const compiled = spawnSync('gcc', ['-O2', '-o', binary, source], { encoding: 'utf8' });
  if (compiled.status !== 0) throw new Error(`gcc could not compile send-loop.c:\n${compiled.stderr}`);
  return binary;
}

let temporary: string | undefined;

/** One for the run, gone with it. */
function temporaryDirectory(): string {
  if (temporary !== undefined) return temporary;
  const directory = mkdtempSync(join(tmpdir(), 'holdline-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  temporary = directory;
  return directory;
}

function rssBytes(pid: number): number {
  return statusKilobytes(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmRSS') * 1024;
}
