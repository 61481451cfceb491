/**
 * The plan: how many lines one process can hold, how many processes it takes, what they need, which
 * limit is reached first, and the margin of error of each figure.
 */

import { ACCEPTS_PER_SECOND } from '../../limits.js';
import { OPTIONS } from '../../options/table.js';
import { decimal } from '../report/words.js';
import { idleSweepMs, latencyMs, loadOf, type Demand, type Load } from './cost-model.js';
import type { Fit, LatencyFit } from './fit.js';
import { predictionError } from './least-squares.js';
import {
  limitRows,
  processesOn,
  tightest,
  type LimitName,
  type LimitRow,
  type Request,
} from './limit-rows.js';
import { kernelBytesOf, packetBytesOf, STALLED_USER_BYTES, userBytesOf } from './needs.js';
import type { Limits } from './profile.js';

/** A figure and its margin of error. */
export interface Estimate {
  readonly value: number;
  /** Two standard errors as a share of the value; more where it extrapolates. */
  readonly plusMinus: number;
  /** How many times more than the measurement reached; 1 when it is within that. */
  readonly beyond: number;
}

export interface Plan {
  readonly request: Request;
  /** Lines that one process can hold, and the limit of that. */
  readonly linesPerProcess: number;
  readonly processBound: LimitName;
  readonly processes: number;
  readonly processesPerMachine: number;
  readonly machines: number;
  /** Lines that one machine can hold, and the limit of that. */
  readonly linesPerMachine: number;
  readonly bound: LimitName;
  readonly limits: readonly LimitRow[];
  /** One process of the plan: its lines, and how it behaves. */
  readonly lines: number;
  readonly load: Load;
  readonly userBytes: Estimate;
  readonly kernelBytes: Estimate;
  /** The most that is held in addition when all readers have stopped. */
  readonly stalledUserBytes: number;
  readonly stalledKernelBytes: number;
  readonly cpuShare: Estimate;
  readonly p50Ms: Estimate;
  readonly p99Ms: Estimate;
  /** Bytes a second of one process on the network, packet headers included. */
  readonly egressBytesPerSecond: Estimate;
  readonly ceilingPerSecond: Estimate;
  /**
   * Where latency starts to rise: p99 is twice that of a low rate, or CPU is {@link BUSY_SHARE}.
   */
  readonly kneePerSecond: Estimate;
  /** Time until all lines of a process have reconnected after a crash, with `--retry` as it is. */
  readonly comeBackSeconds: Estimate;
  /** User and kernel bytes that one more line takes. */
  readonly nextLineUserBytes: Estimate;
  readonly nextLineKernelBytes: Estimate;
  /** What a reader must know, a sentence each. */
  readonly remarks: readonly string[];
}

/** Share of a core from which it counts as busy. */
const BUSY_SHARE = 0.8;

/** The default of `--retry`. */
export const RETRY_SECONDS = OPTIONS.retryMs.default / 1000;

/** No margin of error is smaller than this. */
const ERROR_MIN = 0.05;

/** Makes the plan. `sendBufferBytes` is what the kernel grants a line, null where it grows. */
export function makePlan(
  fit: Fit,
  limits: Limits,
  sendBufferBytes: number | null,
  request: Request,
): Plan {
  const { subscribers, eventsPerSecond, eventBytes } = request;
  const stalledBytes = sendBufferBytes ?? limits.sendBufferMostBytes ?? DEFAULT_SEND_BUFFER_BYTES;
  const rows = limitRows(fit, limits, stalledBytes, request);
  // A limit that not even one line stays within cannot be planned with. It becomes a remark.
  const binding = rows.filter((row) => row.always && row.lines >= 1);
  const unmet = rows.filter((row) => row.always && row.lines < 1);
  const perProcess = tightest(binding.filter(({ scope }) => scope === 'process'));
  const linesPerProcess = perProcess.lines;
  const byProcesses: LimitRow = { ...perProcess, lines: linesPerProcess * processesOn(limits) };
  const bound = tightest([byProcesses, ...binding.filter(({ scope }) => scope === 'machine')]);
  const linesPerMachine = bound.lines;
  const machines = Math.ceil(subscribers / linesPerMachine);
  const processes = Math.max(machines, Math.ceil(subscribers / linesPerProcess));
  const lines = Math.ceil(subscribers / processes);

  const demand: Demand = { lines, eventsPerSecond, eventBytes };
  const load = loadOf(fit.costs, demand);
  const beyondLines = Math.max(1, lines / fit.reach.lines);
  const beyond = Math.max(
    beyondLines,
    Math.min(load.deliveriesPerSecond, lines * eventsPerSecond) / fit.reach.deliveriesPerSecond,
    eventBytes / fit.reach.eventBytes,
  );
  const estimate = (value: number, error: number): Estimate => ({
    value,
    plusMinus: Math.max(ERROR_MIN, 2 * error) * beyond,
    beyond,
  });
  // The error of a linear model already grows with the distance.
  const linear = (value: number, error: number): Estimate => ({
    value,
    plusMinus: Math.max(ERROR_MIN, (2 * error) / Math.max(1, value)),
    beyond: beyondLines,
  });
  const latency = (of: LatencyFit): Estimate => estimate(latencyMs(of, load.sweepMs), of.error);
  const userBytes = userBytesOf(fit, demand);
  const userError = Math.hypot(predictionError(fit.user, lines), fit.working.errorBytes);
  const egress = load.deliveriesPerSecond * packetBytesOf(fit, load, eventBytes);
  return {
    request,
    linesPerProcess,
    processBound: perProcess.name,
    processes,
    processesPerMachine: Math.ceil(processes / machines),
    machines,
    linesPerMachine,
    bound: bound.name,
    limits: rows,
    lines,
    load,
    userBytes: linear(userBytes, userError),
    kernelBytes: linear(kernelBytesOf(fit, lines), predictionError(fit.kernel, lines)),
    stalledUserBytes: lines * STALLED_USER_BYTES,
    stalledKernelBytes: lines * stalledBytes,
    cpuShare: estimate(load.busyShare, fit.cpuError),
    p50Ms: latency(fit.p50),
    p99Ms: latency(fit.p99),
    egressBytesPerSecond: estimate(egress, 0),
    ceilingPerSecond: estimate(load.ceilingPerSecond, fit.cpuError),
    kneePerSecond: estimate(latencyRiseOf(fit, demand), fit.cpuError),
    comeBackSeconds: linear(comeBackSecondsOf(fit, lines), 0),
    nextLineUserBytes: linear(fit.user.slope, fit.user.slopeError),
    nextLineKernelBytes: linear(fit.kernel.slope, fit.kernel.slopeError),
    remarks: remarksOn(request, load, lines, beyond, { processes, machines }, limits, unmet),
  };
}

/** How far a send buffer grows by Linux's default (tcp_wmem of tcp(7)). */
const DEFAULT_SEND_BUFFER_BYTES = 4 * 1024 * 1024;

/**
 * Clients wait for `--retry`, and then up to as long as the server spreads them over
 * (transports/subscribe.ts), or as it takes to accept them.
 */
function comeBackSecondsOf({ acceptsPerSecond }: Fit, lines: number): number {
  const spreadSeconds = (2 * lines) / ACCEPTS_PER_SECOND;
  return RETRY_SECONDS + Math.max(spreadSeconds, lines / acceptsPerSecond);
}

/** The rate at which latency has doubled or the core is busy, whichever is lower. */
function latencyRiseOf({ costs, p99 }: Fit, demand: Demand): number {
  const at = (eventsPerSecond: number): Load => loadOf(costs, { ...demand, eventsPerSecond });
  const idleMs = latencyMs(p99, idleSweepMs(costs, demand.lines, demand.eventBytes));
  const isCalm = (eventsPerSecond: number): boolean => {
    const load = at(eventsPerSecond);
    return load.busyShare <= BUSY_SHARE && latencyMs(p99, load.sweepMs) <= 2 * idleMs;
  };
  let low = 0;
  let high = at(0).ceilingPerSecond;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (isCalm(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function remarksOn(
  { eventsPerSecond }: Request,
  load: Load,
  lines: number,
  beyond: number,
  { processes, machines }: Pick<Plan, 'processes' | 'machines'>,
  limits: Limits,
  unmet: readonly LimitRow[],
): string[] {
  const link = limits.linkBitsPerSecond === undefined;
  return [
    ...unmet.map(
      ({ name, is }) =>
        `${name}: not even one line stays within ${is}; the plan ignores this limit`,
    ),
    ...(beyond > 1
      ? [`extrapolated ×${beyond.toFixed(1)}: the plan goes that far beyond what was measured`]
      : []),
    ...(eventsPerSecond > load.ceilingPerSecond
      ? [
          `${decimal(eventsPerSecond)} events/s are more than a process can deliver to ` +
            `${decimal(lines)} lines: publishers are held back to about ` +
            decimal(load.ceilingPerSecond, 0),
        ]
      : []),
    ...(processes > machines
      ? [
          'the processes of a machine are workers (holdline serve --workers) that share a port: a ' +
            'publish to one reaches the lines of all; the CPU for that was not measured',
        ]
      : []),
    ...(machines > 1
      ? [
          'clients must be spread over the machines; --log nats://… takes a publish to all of them, ' +
            'and without it each event must be published to each',
        ]
      : []),
    ...(link
      ? ['no network card reports its speed: compare the bandwidth with that of your network']
      : []),
    'measured on loopback, where the sender also pays for the receiving side of the kernel: a ' +
      'network card may cost less, TLS costs more',
  ];
}
