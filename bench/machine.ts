/**
 * What a figure is worth depends on: the machine, the versions, the commit, and how the processes
 * were placed.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { OPTIONS } from '../src/options/table.js';
import { CLIENT_CORE, SERVER_CORE, pinning } from './child.js';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  glibc: string;
  node: string;
  uWebSockets: string;
  commit: string;
  /** The tree differed from the commit, bench results aside. */
  dirty: boolean;
  openFiles: string;
  pinned: string;
  sendBuffer: string;
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export function describeMachine(): Machine {
  const report = process.report.getReport() as unknown as {
    header: { glibcVersionRuntime?: string };
  };
  const uws = JSON.parse(
    readFileSync(new URL('../node_modules/uWebSockets.js/package.json', import.meta.url), 'utf8'),
  ) as {
    name: string;
    version: string;
  };
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    glibc: report.header.glibcVersionRuntime ?? 'none',
    node: process.version,
    uWebSockets: `${uws.name}@${uws.version}`,
    commit: git('rev-parse', '--short=12', '--verify', '--quiet', 'HEAD') || 'none',
    dirty: git('status', '--porcelain', '--', '.', ':!bench/results') !== '',
    openFiles:
      /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 'unknown',
    pinned: pinning
      ? `server on core ${SERVER_CORE}, client and publisher on core ${CLIENT_CORE} (taskset)`
      : 'not pinned',
    sendBuffer: `Holdline ${OPTIONS.socketSendBufferBytes.default / 1024} KiB, others the kernel’s`,
  };
}

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;

/**
 * CPU time the whole machine has spent on anything, steal included: what is not ours of it
 * disturbed the run.
 */
export function machineBusySeconds(): number {
  return busySeconds('cpu');
}

/**
 * The same of one core: interrupts that a process caused are in it, and not in the process's own
 * time.
 */
export function coreBusySeconds(core: number): number {
  return busySeconds(`cpu${core}`);
}

function busySeconds(row: string): number {
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${row} `));
  if (line === undefined) throw new Error(`there is no ${row} in /proc/stat`);
  const [, user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / CLOCK_TICKS_PER_SECOND;
}

const STRANGERS_WORTH_TELLING = 0.1;

/** A remark when other processes took so much of a core that a figure is theirs, too. */
export function remarkOnStrangers(where: string, cpuShare: number): string[] {
  if (cpuShare <= STRANGERS_WORTH_TELLING) return [];
  return [
    `${where}: other processes took up to ${(cpuShare * 100).toFixed(0)} % of a core; the machine was not quiet`,
  ];
}

/** CPU time of all threads of a process, to 10 ms. */
export function processCpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold spaces; counted from behind it, utime and stime are the
  // twelfth and the thirteenth field.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

const PAGE_BYTES = 4096;

/**
 * What the kernel holds for sockets and everything that belongs to them, of the whole machine: the
 * pages of TCP buffers (/proc/net/sockstat) and the slabs (Slab of /proc/meminfo), in which a
 * socket, its file and its entry in epoll are.
 */
export function kernelNetworkBytes(): number {
  const pages = /^TCP:.* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'));
  const slab = /^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  if (pages === null || slab === null)
    throw new Error('/proc/net/sockstat or /proc/meminfo does not say what the kernel uses');
  return Number(pages[1]) * PAGE_BYTES + Number(slab[1]) * 1024;
}

function git(...args: string[]): string {
  return spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
}
