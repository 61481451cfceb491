/** The servers of the isolation subject: each log in one process, over workers, over two nodes. */
import { makeLogPlace } from './log-place.js';
import type { Running } from './running.js';
import { type TargetName, absence, startTarget } from './targets.js';

export const ISOLATION_SERVERS = [
  'memory',
  'lmdb',
  'nats',
  'nats-node',
  'workers',
  'workers-lmdb',
] as const;
export type IsolationServerName = (typeof ISOLATION_SERVERS)[number];

export const ISOLATION_TITLES: Record<IsolationServerName, string> = {
  memory: 'memory',
  lmdb: 'log on disk, sync',
  nats: 'NATS',
  'nats-node': 'NATS, lines on a node that only tails',
  workers: '2 workers, memory',
  'workers-lmdb': '2 workers, log on disk',
};

const TARGETS_OF: Record<IsolationServerName, readonly TargetName[]> = {
  memory: ['holdline'],
  lmdb: ['holdline-lmdb'],
  nats: ['holdline-nats'],
  'nats-node': ['holdline-nats'],
  workers: ['holdline-workers'],
  'workers-lmdb': ['holdline-workers', 'holdline-lmdb'],
};

/**
 * The thread of a log, workers and V8's helpers have the cores that are free, as in production: on
 * one core what is measured is how the system shares it among them.
 */
const IS_PINNED = false;

/** The server that holds all lines, and where it is published to. */
export interface IsolationServer {
  server: Running;
  publishPort: number;
}

/** Why it cannot run here; undefined when it can. */
export function isolationAbsence(name: IsolationServerName): string | undefined {
  return TARGETS_OF[name].map(absence).find((why) => why !== undefined);
}

export async function startIsolationServer(name: IsolationServerName): Promise<IsolationServer> {
  if (name === 'nats-node') return startTwoNodes();
  if (name === 'workers-lmdb') return startWorkersOnDisk();
  const settings = name === 'lmdb' ? { durability: 'sync' } : {};
  const server = await startTarget(TARGETS_OF[name][0]!, settings, IS_PINNED);
  return { server, publishPort: server.port };
}

/** In production they are two machines. */
async function startTwoNodes(): Promise<IsolationServer> {
  const place = await makeLogPlace('holdline-nats');
  const started: Running[] = [];
  const stop = async (): Promise<void> => {
    for (const node of started.toReversed()) await node.stop();
    await place.remove();
  };
  try {
    for (let node = 0; node < 2; node++)
      started.push(await startTarget('holdline-nats', { log: place.log }, IS_PINNED));
    const [published, tailing] = started as [Running, Running];
    const cpuSeconds = (): number => published.cpuSeconds() + tailing.cpuSeconds();
    const server = { ...tailing, logPid: place.pid, cpuSeconds, stop };
    return { server, publishPort: published.port };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startWorkersOnDisk(): Promise<IsolationServer> {
  const place = await makeLogPlace('holdline-lmdb');
  try {
    const running = await startTarget('holdline-workers', { log: place.log }, IS_PINNED);
    const stop = async (): Promise<void> => {
      await running.stop();
      await place.remove();
    };
    return { server: { ...running, stop }, publishPort: running.port };
  } catch (error) {
    await place.remove();
    throw error;
  }
}
