/**
 * What bounds a plan: each limit with the lines that it allows, what it is, and the command that
 * raises it.
 */

import { RESERVED_FILES, SPARE_SOCKETS_MAX } from '../../limits.js';
import { PAGE_BYTES } from '../../linux/sockets.js';
import { decimal, duration, percent, size } from '../report/words.js';
import { calmSweepMs, latencyMs, loadOf, type Load } from './cost-model.js';
import type { Fit } from './fit.js';
import { kernelBytesOf, packetBytesOf, STALLED_USER_BYTES, userBytesOf } from './needs.js';
import type { Limits } from './profile.js';

/** What is planned for. */
export interface Request {
  readonly subscribers: number;
  /** Events that each subscriber is given in a second. */
  readonly eventsPerSecond: number;
  /** Data of an event. */
  readonly eventBytes: number;
  /** Latency that 99 of 100 deliveries are to keep. */
  readonly p99Ms: number;
}

/** Which limit it is. */
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

/** One limit, and the lines that it allows. */
export interface LimitRow {
  readonly name: LimitName;
  /** What it bounds. */
  readonly scope: 'process' | 'machine';
  readonly lines: number;
  /** What the limit is, in words. */
  readonly is: string;
  /** What raises it. */
  readonly raise: string;
  /** True when it holds always, and not only in the case that its name tells. */
  readonly always: boolean;
}

/** Shares that a plan uses of what there is: the rest is for what nobody planned. */
const CEILING_SHARE = 0.8;
const MEMORY_SHARE = 0.8;
const LINK_SHARE = 0.8;

/** More lines than any machine holds: where searching for a bound ends. */
const MOST_LINES = 100_000_000;

/** What a server carries at the most, whatever the machine (config.ts). */
const MOST_CONNECTIONS: LimitRow = {
  name: 'connections',
  scope: 'process',
  lines: 1_000_000,
  is: '1,000,000 connections, the most that --max-connections takes',
  raise: 'more processes',
  always: true,
};

/**
 * Processes on a machine: a core is left to the kernel's network and to whoever publishes, where
 * there is one to leave.
 */
export function processesOn({ cores }: Limits): number {
  return Math.max(1, cores - 1);
}

/**
 * All of them, as far as the machine tells. `stalledBytes` is what the kernel holds for a line
 * whose reader does not read.
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
  const rows: LimitRow[] = [MOST_CONNECTIONS];
  const add = (row: Omit<LimitRow, 'always'> & { readonly always?: boolean }): void =>
    void rows.push({ always: true, ...row });

  if (limits.fileLimit !== undefined) {
    const spare = RESERVED_FILES + SPARE_SOCKETS_MAX;
    // What is enough already is raised for the next doubling.
    const wanted = Math.max(subscribers + spare, 2 * limits.fileLimit);
    const ceiling = limits.fileCeiling ?? Infinity;
    add({
      name: 'open files',
      scope: 'process',
      lines: Math.max(0, limits.fileLimit - spare),
      is: `${decimal(limits.fileLimit)} files a process, ${spare} of them kept`,
      raise:
        `${wanted > ceiling ? `sysctl -w fs.nr_open=${wanted}; ` : ''}ulimit -n ${wanted}` +
        ` (systemd: LimitNOFILE=${wanted}; containers: --ulimit nofile=${wanted})`,
    });
  }
  add({
    name: 'CPU',
    scope: 'process',
    lines: mostLines((lines) => eventsPerSecond <= CEILING_SHARE * load(lines).ceilingPerSecond),
    is: `${percent(CEILING_SHARE)} of what one core delivers at ${decimal(eventsPerSecond)} events/s of ${size(eventBytes)}`,
    raise: 'more processes, one a core; smaller events',
  });
  add({
    name: 'latency',
    scope: 'process',
    // Whatever the rate, an event may come to an idle core.
    lines: mostLines((lines) => {
      const sweepMs = Math.max(load(lines).sweepMs, calmSweepMs(costs, lines, eventBytes));
      return latencyMs(p99, sweepMs) <= request.p99Ms;
    }),
    is: `p99 ≤ ${duration(request.p99Ms)} (--p99)`,
    raise: 'more processes, so that each sweep is shorter; or allow more, --p99',
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
    lines: mostLines((lines) => quietBytes(lines) <= memoryBytes),
    is: `${percent(MEMORY_SHARE)} of ${size(limits.memoryBytes)}`,
    raise: 'more memory, or more machines',
  });
  if (limits.linkBitsPerSecond !== undefined) {
    const bytesPerSecond = (LINK_SHARE * limits.linkBitsPerSecond) / 8;
    add({
      name: 'network link',
      scope: 'machine',
      lines: mostLines(
        (lines) =>
          lines * eventsPerSecond * packetBytesOf(fit, load(lines / processesHere), eventBytes) <=
          bytesPerSecond,
      ),
      is: `${percent(LINK_SHARE)} of ${decimal(limits.linkBitsPerSecond / 1e6)} Mbit/s`,
      raise: 'a faster card, or more machines',
    });
  }
  const stalled = (lines: number): number =>
    quietBytes(lines) + lines * (STALLED_USER_BYTES + stalledBytes);
  add({
    name: 'all stalled: memory',
    scope: 'machine',
    always: false,
    lines: mostLines((lines) => stalled(lines) <= memoryBytes),
    is: `${size(stalledBytes)} in the kernel and ${size(STALLED_USER_BYTES)} in the process for each that reads nothing`,
    raise: '--socket-send-buffer 16KiB; --memory-budget refuses new lines in time',
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
      is: `${size(pressureBytes)}, the second mark of net.ipv4.tcp_mem, past which the kernel slows every connection`,
      raise: `sysctl -w net.ipv4.tcp_mem="${wantedPages} ${Math.ceil(wantedPages * 1.25)} ${Math.ceil(wantedPages * 1.5)}"; or --socket-send-buffer 16KiB`,
    });
  }
  if (limits.portRange !== undefined) {
    const [first, last] = limits.portRange;
    add({
      name: 'behind one proxy: ports',
      scope: 'process',
      always: false,
      lines: Math.max(0, last - first + 1),
      is: `ports ${first} to ${last} from one address of a proxy to one of the server`,
      raise:
        'on the proxy: sysctl -w net.ipv4.ip_local_port_range="1024 65535"; or more addresses on either side',
    });
  }
  return rows;
}

/** The most lines of which `holds` is true, which it must be of fewer then, too. */
function mostLines(holds: (lines: number) => boolean): number {
  if (holds(MOST_LINES)) return MOST_LINES;
  let low = 0;
  let high = MOST_LINES;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** The limit that binds first. */
export function tightest(rows: readonly LimitRow[]): LimitRow {
  return rows.reduce((least, row) => (row.lines < least.lines ? row : least));
}
