/** The limits of a plan: how many lines each allows, what it is, and what raises it. */

import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { PAGE_BYTES } from '../../linux/sockets.js';
import { decimal, duration, percent, size } from '../report/words.js';
import { idleSweepMs, latencyMs, loadOf, type Load } from './cost-model.js';
import type { Fit } from './fit.js';
import { kernelBytesOf, packetBytesOf, STALLED_USER_BYTES, userBytesOf } from './needs.js';
import type { Limits } from './profile.js';

/** What to plan for. */
export interface Request {
  readonly subscribers: number;
  /** Events a second that each subscriber receives. */
  readonly eventsPerSecond: number;
  /** Data of an event. */
  readonly eventBytes: number;
  /** Latency that 99 of 100 deliveries should not exceed. */
  readonly p99Ms: number;
}

export type LimitName =
  | 'connections'
  | 'open files'
  | 'CPU'
  | 'latency'
  | 'memory'
  | 'network link'
  | 'all stalled: memory'
  | 'all stalled: TCP memory'
  | 'behind one proxy: ports';

/** One limit. */
export interface LimitRow {
  readonly name: LimitName;
  /** Whether `lines` are those of a process or of a machine. */
  readonly scope: 'process' | 'machine';
  readonly lines: number;
  /** What the limit is, in words. */
  readonly is: string;
  /** What raises it. */
  readonly raise: string;
  /** False when it applies only in the case that its name states. */
  readonly always: boolean;
}

/** Shares that a plan uses. The rest is kept free for the unexpected. */
const CEILING_SHARE = 0.8;
const MEMORY_SHARE = 0.8;
const LINK_SHARE = 0.8;

/** More lines than any machine can hold: the end of a search for a limit. */
const LINES_MAX = 100_000_000;

/** The limit of a server on any machine (options/table.ts). */
const CONNECTIONS: LimitRow = {
  name: 'connections',
  scope: 'process',
  lines: 1_000_000,
  is: '1,000,000 connections, the maximum of --max-connections',
  raise: 'more processes',
  always: true,
};

/** Processes on a machine. One core is left for the kernel's network and for publishers. */
export function processesOn({ cores }: Limits): number {
  return Math.max(1, cores - 1);
}

/**
 * All limits that the machine reports. `stalledBytes` is what the kernel holds for a line whose
 * reader has stopped.
 */
export function limitRows(
  fit: Fit,
  limits: Limits,
  stalledBytes: number,
  request: Request,
): LimitRow[] {
  const { costs, p99 } = fit;
  const { subscribers, eventsPerSecond, eventBytes } = request;
  const load = (lines: number): Load => loadOf(costs, { lines, eventsPerSecond, eventBytes });
  const rows: LimitRow[] = [CONNECTIONS];
  const add = (row: Omit<LimitRow, 'always'> & { readonly always?: boolean }): void =>
    void rows.push({ always: true, ...row });

  if (limits.fileLimit !== undefined) {
    const spare = RESERVED_FILES + SPARE_SOCKETS_MAX;
    // A limit that is high enough already is shown with the command that doubles it.
    const wanted = Math.max(subscribers + spare, 2 * limits.fileLimit);
    const ceiling = limits.fileCeiling ?? Infinity;
    add({
      name: 'open files',
      scope: 'process',
      lines: Math.max(0, limits.fileLimit - spare),
      is: `${decimal(limits.fileLimit)} open files per process, ${spare} of them reserved`,
      raise:
        `${wanted > ceiling ? `sysctl -w fs.nr_open=${wanted}; ` : ''}ulimit -n ${wanted}` +
        ` (systemd: LimitNOFILE=${wanted}; containers: --ulimit nofile=${wanted})`,
    });
  }
  add({
    name: 'CPU',
    scope: 'process',
    lines: linesUpTo((lines) => eventsPerSecond <= CEILING_SHARE * load(lines).ceilingPerSecond),
    is:
      `${percent(CEILING_SHARE)} of what one core delivers at ${decimal(eventsPerSecond)} ` +
      `events/s of ${size(eventBytes)}`,
    raise: 'more processes, one per core; or smaller events',
  });
  add({
    name: 'latency',
    scope: 'process',
    // At any rate an event may find an idle core.
    lines: linesUpTo((lines) => {
      const sweepMs = Math.max(load(lines).sweepMs, idleSweepMs(costs, lines, eventBytes));
      return latencyMs(p99, sweepMs) <= request.p99Ms;
    }),
    is: `p99 ≤ ${duration(request.p99Ms)} (--p99)`,
    raise: 'more processes with fewer lines each, or a higher --p99',
  });
  const memoryBytes = MEMORY_SHARE * limits.memoryBytes;
  const processesHere = processesOn(limits);
  const quietBytes = (lines: number): number => {
    const each = lines / processesHere;
    return (
      processesHere *
      (userBytesOf(fit, { lines: each, eventsPerSecond, eventBytes }) + kernelBytesOf(fit, each))
    );
  };
  add({
    name: 'memory',
    scope: 'machine',
    lines: linesUpTo((lines) => quietBytes(lines) <= memoryBytes),
    is: `${percent(MEMORY_SHARE)} of ${size(limits.memoryBytes)}`,
    raise: 'more memory, or more machines',
  });
  if (limits.linkBitsPerSecond !== undefined) {
    const bytesPerSecond = (LINK_SHARE * limits.linkBitsPerSecond) / 8;
    add({
      name: 'network link',
      scope: 'machine',
      lines: linesUpTo(
        (lines) =>
          lines * eventsPerSecond * packetBytesOf(fit, load(lines / processesHere), eventBytes) <=
          bytesPerSecond,
      ),
      is: `${percent(LINK_SHARE)} of ${decimal(limits.linkBitsPerSecond / 1e6)} Mbit/s`,
      raise: 'a faster network card, or more machines',
    });
  }
  const stalled = (lines: number): number =>
    quietBytes(lines) + lines * (STALLED_USER_BYTES + stalledBytes);
  add({
    name: 'all stalled: memory',
    scope: 'machine',
    always: false,
    lines: linesUpTo((lines) => stalled(lines) <= memoryBytes),
    is:
      `${size(stalledBytes)} in the kernel and ${size(STALLED_USER_BYTES)} in the process ` +
      'for each stalled line',
    raise: '--socket-send-buffer 16KiB; --memory-budget refuses new lines before memory is full',
  });
  if (limits.tcpMemoryBytes !== undefined) {
    const [, pressureBytes] = limits.tcpMemoryBytes;
    const wantedPages = Math.ceil(
      Math.max(subscribers * stalledBytes, 2 * pressureBytes) / PAGE_BYTES,
    );
    add({
      name: 'all stalled: TCP memory',
      scope: 'machine',
      always: false,
      lines: Math.floor(pressureBytes / stalledBytes),
      is:
        `${size(pressureBytes)}, the second value of net.ipv4.tcp_mem, above which the kernel ` +
        'slows every connection',
      raise:
        `sysctl -w net.ipv4.tcp_mem="${wantedPages} ${Math.ceil(wantedPages * 1.25)} ` +
        `${Math.ceil(wantedPages * 1.5)}"; or --socket-send-buffer 16KiB`,
    });
  }
  if (limits.portRange !== undefined) {
    const [first, last] = limits.portRange;
    add({
      name: 'behind one proxy: ports',
      scope: 'process',
      always: false,
      lines: Math.max(0, last - first + 1),
      is: `ports ${first} to ${last} between one address of the proxy and one of the server`,
      raise:
        'on the proxy: sysctl -w net.ipv4.ip_local_port_range="1024 65535"; or more addresses ' +
        'on either side',
    });
  }
  return rows;
}

/** The highest number of lines for which `holds` is true. It must be true for all fewer, too. */
function linesUpTo(holds: (lines: number) => boolean): number {
  if (holds(LINES_MAX)) return LINES_MAX;
  let low = 0;
  let high = LINES_MAX;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** The limit that is reached first. */
export function tightest(rows: readonly LimitRow[]): LimitRow {
  return rows.reduce((lowest, row) => (row.lines < lowest.lines ? row : lowest));
}
