/** The servers of the isolation subject: each log in one process, over workers, over two nodes. */
import { type LogTarget, makeLogPlace } from './log-place.js';
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
  /** Of nats-server, `127.0.0.1:4222`; undefined where the log is another. */
  natsAddress?: string | undefined;
}

/** Why it cannot run here; undefined when it can. */
export function isolationAbsence(name: IsolationServerName): string | undefined {
  return TARGETS_OF[name].map(absence).find((why) => why !== undefined);
}

export async function startIsolationServer(name: IsolationServerName): Promise<IsolationServer> {
  if (name === 'nats') return startOnLog('holdline-nats', ['holdline-nats']);
  if (name === 'nats-node') return startOnLog('holdline-nats', ['holdline-nats', 'holdline-nats']);
  if (name === 'workers-lmdb') return startOnLog('holdline-lmdb', ['holdline-workers']);
  const settings = name === 'lmdb' ? { durability: 'sync' } : {};
  const server = await startTarget(TARGETS_OF[name][0]!, settings, IS_PINNED);
  return { server, publishPort: server.port };
}

/** The first node is published to, the last has the lines; in production they are two machines. */
async function startOnLog(log: LogTarget, targets: TargetName[]): Promise<IsolationServer> {
  const place = await makeLogPlace(log);
  const nodes: Running[] = [];
  const stop = async (): Promise<void> => {
    for (const node of nodes.toReversed()) await node.stop();
    await place.remove();
  };
  try {
    for (const target of targets)
      nodes.push(await startTarget(target, { log: place.log }, IS_PINNED));
    const cpuSeconds = (): number => nodes.reduce((sum, node) => sum + node.cpuSeconds(), 0);
    const server = { ...nodes.at(-1)!, logPid: place.pid, cpuSeconds, stop };
    const natsAddress = log === 'holdline-nats' ? place.log.slice('nats:'.length) : undefined;
    return { server, publishPort: nodes[0]!.port, natsAddress };
  } catch (error) {
    await stop();
    throw error;
  }
}
