/** The servers that are measured side by side, behind one interface. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { readProcessUsage, readRssBytes } from '../src/linux/processes.js';
import { Child, SERVER_CORE, childPids, startNode } from './child.js';
import { sleepMs } from './clock.js';
import { compiled, hasCompiler, temporaryDirectory } from './compile.js';
import { PATH } from './event.js';
import { type LogTarget, isLogTarget, logAbsence, makeLogPlace } from './log-place.js';
import { freePort, listening } from './ports.js';
import { startPushpin } from './pushpin-target.js';
import { nchanAbsence, nchanCommand } from './servers/nchan.js';
import { pushpinAbsence } from './servers/pushpin.js';
import type { SeriesPublished } from './inside-publisher.js';
import { type Running, orKill, withoutLoop } from './running.js';
import { startWorkers } from './workers-target.js';
import type { Listening, NativeUsage, Usage } from './servers/agent.js';

export type { Running };

/** A server and the transport that it is asked by. */
export const TARGETS = [
  'holdline',
  'holdline-ws',
  'holdline-poll',
  'holdline-gzip',
  'holdline-lmdb',
  'holdline-nats',
  'holdline-workers',
  'raw-uws',
  'raw-uws-ws',
  'raw-uws-poll',
  'slice-loop',
  'send-loop',
  'nchan',
  'pushpin',
  'node-http',
  'better-sse',
  'durable-streams',
  'fixed-answer',
  'alternative',
] as const;
export type TargetName = (typeof TARGETS)[number];

export const TARGET_TITLES: Record<TargetName, string> = {
  holdline: 'Holdline',
  'holdline-ws': 'Holdline, WebSocket',
  'holdline-poll': 'Holdline, long-poll',
  'holdline-gzip': 'Holdline, compressed lines',
  'holdline-lmdb': 'Holdline, log on disk',
  'holdline-nats': 'Holdline, log on NATS',
  'holdline-workers': 'Holdline, several processes',
  'raw-uws': 'raw uWebSockets.js loop',
  'raw-uws-ws': 'raw uWebSockets.js, WebSocket',
  'raw-uws-poll': 'raw uWebSockets.js, long-poll',
  'slice-loop': 'throw-away loop of slices',
  'send-loop': 'bare C send() loop',
  nchan: 'nginx with nchan',
  pushpin: 'pushpin',
  'node-http': 'node:http',
  'better-sse': 'better-sse',
  'durable-streams': 'Durable Streams',
  'fixed-answer': 'raw uWebSockets.js route',
  alternative: 'an alternative mechanism',
};

/**
 * What the client of a target holds: an event stream, a WebSocket, or a request that waits for its
 * answer.
 */
export function clientKindOf(target: TargetName): 'sse' | 'ws' | 'long-poll' {
  if (target.endsWith('-ws')) return 'ws';
  return target.endsWith('-poll') ? 'long-poll' : 'sse';
}

/** True when the client of a target asks for gzip; its server must have `compress` set. */
export function asksForGzip(target: TargetName): boolean {
  return target === 'holdline-gzip';
}

/** Servers of others for the same purpose. */
export const RIVALS: ReadonlySet<TargetName> = new Set([
  'nchan',
  'pushpin',
  'node-http',
  'better-sse',
  'durable-streams',
]);

type NodeServer =
  | 'holdline'
  | 'raw-uws'
  | 'slice-loop'
  | 'node-http'
  | 'better-sse'
  | 'durable-streams'
  | 'fixed-answer'
  | 'alternative';

/** The files in servers/; targets that are missing here are no Node servers of the bench. */
const NODE_SERVERS: Partial<Record<TargetName, NodeServer>> = {
  holdline: 'holdline',
  'holdline-ws': 'holdline',
  'holdline-poll': 'holdline',
  'holdline-gzip': 'holdline',
  'holdline-lmdb': 'holdline',
  'holdline-nats': 'holdline',
  'raw-uws': 'raw-uws',
  'raw-uws-ws': 'raw-uws',
  'raw-uws-poll': 'raw-uws',
  'slice-loop': 'slice-loop',
  'node-http': 'node-http',
  'better-sse': 'better-sse',
  'durable-streams': 'durable-streams',
  'fixed-answer': 'fixed-answer',
  alternative: 'alternative',
};

/** Whether its event loop can be watched. */
export function hasLoop(target: TargetName): boolean {
  return NODE_SERVERS[target] !== undefined;
}

const KERNEL_SEND_BUFFER = 'kernel default';

const START_DEADLINE_MS = 20_000;
const ANSWER_DEADLINE_MS = 5_000;
const STOP_DEADLINE_MS = 5_000;
/** After the last event of a series is due. */
const PUBLISH_DEADLINE_MS = 15_000;

/** Why a target cannot run here; undefined when it can. */
export function absence(name: TargetName): string | undefined {
  if (
    (NODE_SERVERS[name] === 'holdline' || name === 'holdline-workers') &&
    !existsSync(new URL('../dist/index.js', import.meta.url))
  )
    return 'dist/index.js is missing: npm run build';
  if (name === 'send-loop' && !hasCompiler) return 'there is no gcc';
  if (isLogTarget(name)) return logAbsence(name);
  if (name === 'durable-streams') return durableStreamsAbsence();
  if (name === 'pushpin') return pushpinAbsence();
  return name === 'nchan' ? nchanAbsence() : undefined;
}

/** `isPinned`: Holdline's processes are free on all cores without it; others always have one. */
export function startTarget(
  name: TargetName,
  settings: object = {},
  isPinned = true,
): Promise<Running> {
  if (name === 'send-loop') return startSendLoop();
  if (name === 'holdline-workers') return startWorkers({ workers: 2, isPinned, ...settings });
  if (isLogTarget(name)) return startWithLog(name, settings, isPinned);
  if (name === 'pushpin') return startPushpin();
  const server = NODE_SERVERS[name];
  return server === undefined ? startNchan() : startNodeTarget(name, server, settings, isPinned);
}

/** The package is not among the dependencies: it is of no use but here. */
function durableStreamsAbsence(): string | undefined {
  try {
    createRequire(import.meta.url).resolve('@durable-streams/server');
    return undefined;
  } catch {
    return 'there is no @durable-streams/server: npm install --no-save @durable-streams/server@0.3.7';
  }
}

async function startNodeTarget(
  name: TargetName,
  server: NodeServer,
  settings: object,
  isPinned: boolean,
): Promise<Running> {
  const file = new URL(`servers/${server}.ts`, import.meta.url);
  const child = startNode(name, file, isPinned ? SERVER_CORE : undefined, ['--expose-gc'], {
    BENCH_SETTINGS: JSON.stringify(settings),
  });
  const { port, sendBufferBytes } = await orKill(
    child,
    child.notice<Listening>('listening', START_DEADLINE_MS),
  );
  const usage = (): Promise<Usage | null> =>
    child.ask<Usage>('usage', null, ANSWER_DEADLINE_MS).catch(() => null);
  return {
    name,
    port,
    ...(name === 'durable-streams' ? { linePath: `${PATH}?offset=now&live=sse` } : {}),
    pid: child.pid,
    sendBuffer: sendBufferBytes === null ? KERNEL_SEND_BUFFER : `${sendBufferBytes / 1024} KiB`,
    cpuSeconds: () => readProcessUsage(child.pid).cpuSeconds,
    rssBytes: () => readRssBytes(child.pid),
    gc: () => child.ask('gc', null, ANSWER_DEADLINE_MS),
    watchLoop: () => child.ask('watchLoop', null, ANSWER_DEADLINE_MS),
    usage,
    counters: async () => (await usage())?.counters ?? null,
    nativeUsage: () => child.ask<NativeUsage>('nativeUsage', null, ANSWER_DEADLINE_MS),
    publish: (series) =>
      child.ask<SeriesPublished>(
        'publish',
        series,
        (series.events * 1000) / series.ratePerSecond + PUBLISH_DEADLINE_MS,
      ),
    drain: () => child.ask('drain', null, ANSWER_DEADLINE_MS),
    writeHeapSnapshot: (path, deadlineMs) => child.ask('writeHeapSnapshot', path, deadlineMs),
    stop: async () => {
      // A server that is too busy to answer has been measured all the same.
      await child.ask('stop', null, STOP_DEADLINE_MS).catch(() => {});
      await child.kill();
    },
  };
}

/** A server with a fresh log of its own, unless the settings say where its log is. */
async function startWithLog(
  name: LogTarget,
  settings: { log?: string },
  isPinned: boolean,
): Promise<Running> {
  if (settings.log !== undefined) return startNodeTarget(name, 'holdline', settings, isPinned);
  const place = await makeLogPlace(name);
  try {
    const running = await startNodeTarget(
      name,
      'holdline',
      { log: place.log, ...settings },
      isPinned,
    );
    const stop = async (): Promise<void> => {
      await running.stop();
      await place.remove();
    };
    return { ...running, logPid: place.pid, stop };
  } catch (error) {
    await place.remove();
    throw error;
  }
}

async function startNchan(): Promise<Running> {
  const port = await freePort();
  const child = new Child({
    name: 'nchan',
    ...nchanCommand(temporaryDirectory(), port, PATH),
    core: SERVER_CORE,
    ipc: false,
  });
  const hasWorker = async (): Promise<number> => {
    await listening(port, START_DEADLINE_MS);
    // The master listens before it starts its worker.
    for (const untilMs = performance.now() + START_DEADLINE_MS; ; await sleepMs(10)) {
      const [worker] = childPids(child.pid);
      if (worker !== undefined) return worker;
      if (performance.now() > untilMs) throw new Error('nginx listens but has no worker');
    }
  };
  const worker = await orKill(child, hasWorker());
  const stop = async (): Promise<void> => {
    // Not killed at once: a killed master leaves its worker running.
    child.signal('SIGTERM');
    await Promise.race([child.exited, sleepMs(STOP_DEADLINE_MS)]);
    await child.kill();
  };
  return {
    name: 'nchan',
    port,
    pid: worker,
    sendBuffer: KERNEL_SEND_BUFFER,
    ...withoutLoop(worker),
    counters: async () => null,
    stop,
  };
}

async function startSendLoop(): Promise<Running> {
  const child = new Child({
    name: 'send-loop',
    command: compiled('servers/send-loop.c'),
    args: [],
    core: SERVER_CORE,
    ipc: false,
  });
  const answers = child.textLines();
  const port = Number((await orKill(child, answers.next(START_DEADLINE_MS))).replace('port ', ''));
  return {
    name: 'send-loop',
    port,
    pid: child.pid,
    sendBuffer: KERNEL_SEND_BUFFER,
    ...withoutLoop(child.pid),
    counters: async () => {
      child.write('counters\n');
      const text = await answers.next(ANSWER_DEADLINE_MS).catch(() => '');
      if (text === '') return null;
      return Object.fromEntries(
        text.split(' ').map((pair) => [pair.split('=')[0]!, Number(pair.split('=')[1])]),
      );
    },
    stop: () => child.kill(),
  };
}
