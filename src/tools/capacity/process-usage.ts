/** What a process and the kernel take on this machine, as /proc tells it (proc(5)). */

import { readdirSync, readFileSync } from 'node:fs';
import { readTcpBytes } from '../../linux/sockets.js';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;

/**
 * Processor time of all threads that a process has, to the nanosecond where the kernel keeps it
 * (CONFIG_SCHED_INFO), else to 10 ms.
 */
export function processCpuSeconds(pid: number): number {
  try {
    const tasks = `/proc/${pid}/task`;
    // Time on a core, time waited for one, and how often: `103667037 25208206 241`.
    const nanoseconds = readdirSync(tasks).map((task) =>
      Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]),
    );
    return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e9;
  } catch {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; counted from behind it, utime and stime are the
    // twelfth and the thirteenth field.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
  }
}

/** Resident memory of a process. */
export function processRssBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kibibytes === undefined) throw new Error(`/proc/${pid}/status does not tell VmRSS`);
  return Number(kibibytes) * 1024;
}

/**
 * What the kernel holds for sockets and what belongs to them, of the whole machine: buffers of TCP,
 * and the slabs, in which a socket, its file and its entry in epoll are.
 */
export function kernelBytes(): number {
  const kibibytes = /^Slab:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return (readTcpBytes() ?? 0) + Number(kibibytes ?? 0) * 1024;
}

/** Processor time that the whole machine has spent on anything, and what its host took from it. */
export function machineBusySeconds(): number {
  const [, user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .split(/\s+/)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / CLOCK_TICKS_PER_SECOND;
}
