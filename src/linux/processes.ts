/** Memory and processor time of processes and cores (proc(5)). Throws where /proc has none. */

import { readdirSync, readFileSync } from 'node:fs';
import { PAGE_BYTES } from './sockets.js';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;

/** What a process has used up to one moment. */
export interface ProcessUsage {
  /** Resident memory; it may lag by some pages for each core. */
  readonly rssBytes: number;
  /** Processor time of all its threads, those that have ended included, to 10 ms. */
  readonly cpuSeconds: number;
}

/** Reads both at once. */
export function readProcessUsage(pid: number): ProcessUsage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold spaces. Counted from its end, these are fields 14, 15 and 24.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [userTicks, systemTicks, rssPages] = [11, 12, 21].map((at) => Number(fields[at])) as [
    number,
    number,
    number,
  ];
  return {
    rssBytes: rssPages * PAGE_BYTES,
    cpuSeconds: (userTicks + systemTicks) / CLOCK_TICKS_PER_SECOND,
  };
}

/**
 * Processor time of the threads that a process has now: to the nanosecond where the kernel keeps it
 * (CONFIG_SCHED_INFO), else to 10 ms.
 */
export function readThreadsCpuSeconds(pid: number): number {
  try {
    const threads = `/proc/${pid}/task`;
    // Time on a core, time waited for one, and how often: `103667037 25208206 241`.
    const nanoseconds = readdirSync(threads).map((thread) =>
      Number(readFileSync(`${threads}/${thread}/schedstat`, 'utf8').split(' ')[0]),
    );
    return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e9;
  } catch {
    return readProcessUsage(pid).cpuSeconds;
  }
}

/** Resident memory of a process, exact. */
export function readRssBytes(pid: number): number {
  return readStatusBytes(pid, 'VmRSS');
}

/** A field of /proc/PID/status that is an amount of memory. */
export function readStatusBytes(pid: number | 'self', field: string): number {
  const kib = /^(\d+) kB$/.exec(readStatus(pid, field))?.[1];
  if (kib === undefined) throw new Error(`${field} in /proc/${pid}/status is no size`);
  return Number(kib) * 1024;
}

/** The cores that this process may run on, as the kernel lists them: `0-3,8`. */
export function readAllowedCores(): string {
  return readStatus('self', 'Cpus_allowed_list');
}

function readStatus(pid: number | 'self', field: string): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const value = new RegExp(`^${field}:\\s+(.*)$`, 'm').exec(status)?.[1];
  if (value === undefined) throw new Error(`/proc/${pid}/status has no ${field}`);
  return value;
}

/**
 * Time that the whole machine, or one core, was busy, interrupts and time taken by the host
 * included. A process's own time leaves those out.
 */
export function readBusySeconds(core?: number): number {
  const name = `cpu${core ?? ''}`;
  const row = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${name} `));
  if (row === undefined) throw new Error(`/proc/stat has no ${name}`);
  const [, user, nice, system, , , irq, softirq, steal] = row.split(/\s+/).map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / CLOCK_TICKS_PER_SECOND;
}
