/** The facts about a machine that bound a server of many lines. Most of them need Linux. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { HoldlineError } from '../../errors.js';
import { readCgroupMemory, readCpuQuota } from '../../linux/cgroup.js';
import { readFileLimit } from '../../linux/file-limit.js';
import { readNumber, readNumbers, readText } from '../../linux/files.js';
import { readSwapBytes } from '../../linux/memory.js';
import { PAGE_BYTES } from '../../linux/sockets.js';
import { thisHost, type Host } from '../../native/builds.js';
import { prepareSocketOptions, type WantedSocketOptions } from '../../native/socket-options.js';
import type { SocketReport } from '../../native/socket-report.js';
import { tryNative } from '../../native/uws.js';

/** Minimum, default and maximum of a buffer, or the three marks of TCP's memory. */
export type Triple = readonly [low: number, middle: number, high: number];

/** What is known about a machine; undefined is what it does not report. */
export interface Machine extends Host {
  /** The range of Node that package.json names. */
  readonly nodeRange: string;
  /** Why the uWebSockets.js binary does not load; undefined where it does. */
  readonly nativeProblem: string | undefined;
  /** The socket options as set on a listening socket of this process. */
  readonly sockets: SocketReport;
  /** Cores that this process may use, by the scheduler and by its quota. */
  readonly cores: number;
  /** Files that this process may have open, and how far that may be raised (fs.nr_open). */
  readonly fileLimit: number | undefined;
  readonly fileCeiling: number | undefined;
  readonly memoryBytes: number;
  /** The tightest memory limit of the process's control groups; Infinity where there is none. */
  readonly cgroupMemoryBytes: number;
  readonly swapBytes: number | undefined;
  /** From 0 to 200: how readily the kernel swaps. */
  readonly swappiness: number | undefined;
  /** The word in brackets of /sys/kernel/mm/transparent_hugepage/enabled and defrag. */
  readonly hugePages: string | undefined;
  readonly hugePagesDefrag: string | undefined;
  /** Maximum of connections that wait to be accepted. */
  readonly somaxconn: number | undefined;
  readonly synBacklog: number | undefined;
  readonly synCookies: boolean | undefined;
  /** Whether connects that wait where a process ends are given to others that share the port. */
  readonly migratesRequests: boolean | undefined;
  /** First and last port of outgoing connections. */
  readonly portRange: readonly [first: number, last: number] | undefined;
  /**
   * Marks for all TCP sockets together: above the second windows shrink, above the third it fails.
   */
  readonly tcpMemoryBytes: Triple | undefined;
  readonly tcpReceiveBytes: Triple | undefined;
  readonly tcpSendBytes: Triple | undefined;
  /** How often unacknowledged data is sent again. */
  readonly tcpRetries: number | undefined;
  /** Connections that the firewall tracks now, and its limit; undefined where it tracks none. */
  readonly tracked: { readonly count: number; readonly max: number } | undefined;
}

/** What the machine is to hold. */
export interface Plan {
  readonly lines: number;
  readonly socketSendBufferBytes: number;
  readonly deadPeerTimeoutMs: number;
  /** What all rings together may hold. */
  readonly replayTotalBytes: number;
  /** Processes that share the port. */
  readonly workers: number;
}

/** Reads the facts of this machine. */
export async function readMachine(wanted: WantedSocketOptions): Promise<Machine> {
  const tcpMemoryPages = readTriple('/proc/sys/net/ipv4/tcp_mem');
  const trackedCount = readNumber('/proc/sys/net/netfilter/nf_conntrack_count');
  const trackedMax = readNumber('/proc/sys/net/netfilter/nf_conntrack_max');
  const ports = readNumbers('/proc/sys/net/ipv4/ip_local_port_range');
  const synCookies = readNumber('/proc/sys/net/ipv4/tcp_syncookies');
  const migrates = readNumber('/proc/sys/net/ipv4/tcp_migrate_req');
  return {
    ...thisHost(),
    nodeRange: readNodeRange(),
    nativeProblem: await findNativeProblem(),
    sockets: await trySocketOptions(wanted),
    cores: Math.min(availableParallelism(), readCpuQuota()),
    fileLimit: readFileLimit(),
    fileCeiling: readNumber('/proc/sys/fs/nr_open'),
    memoryBytes: totalmem(),
    cgroupMemoryBytes: readCgroupMemory(),
    swapBytes: readSwapBytes(),
    swappiness: readNumber('/proc/sys/vm/swappiness'),
    hugePages: wordInBrackets(readText('/sys/kernel/mm/transparent_hugepage/enabled')),
    hugePagesDefrag: wordInBrackets(readText('/sys/kernel/mm/transparent_hugepage/defrag')),
    somaxconn: readNumber('/proc/sys/net/core/somaxconn'),
    synBacklog: readNumber('/proc/sys/net/ipv4/tcp_max_syn_backlog'),
    synCookies: synCookies === undefined ? undefined : synCookies > 0,
    migratesRequests: migrates === undefined ? undefined : migrates > 0,
    portRange: ports?.length === 2 ? [ports[0]!, ports[1]!] : undefined,
    tcpMemoryBytes: tcpMemoryPages?.map((pages) => pages * PAGE_BYTES) as Triple | undefined,
    tcpReceiveBytes: readTriple('/proc/sys/net/ipv4/tcp_rmem'),
    tcpSendBytes: readTriple('/proc/sys/net/ipv4/tcp_wmem'),
    tcpRetries: readNumber('/proc/sys/net/ipv4/tcp_retries2'),
    tracked:
      trackedCount === undefined || trackedMax === undefined
        ? undefined
        : { count: trackedCount, max: trackedMax },
  };
}

/** Sets the options that a server would set on a listening socket, and reads them back. */
async function trySocketOptions(wanted: WantedSocketOptions): Promise<SocketReport> {
  const setSocketOptions = await prepareSocketOptions(wanted, 0);
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  try {
    return setSocketOptions((listener.address() as AddressInfo).port);
  } finally {
    listener.close();
  }
}

async function findNativeProblem(): Promise<string | undefined> {
  try {
    await tryNative();
    return undefined;
  } catch (error) {
    if (error instanceof HoldlineError) return error.message;
    throw error;
  }
}

function readNodeRange(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { engines: { node: string } }).engines.node;
}

function wordInBrackets(text: string | undefined): string | undefined {
  return /\[(\S+)\]/.exec(text ?? '')?.[1];
}

function readTriple(path: string): Triple | undefined {
  const numbers = readNumbers(path);
  return numbers?.length === 3 ? (numbers as unknown as Triple) : undefined;
}
