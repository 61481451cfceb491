/**
 * The plan: what one process carries, how many it takes, what they need, which limit binds first,
 * and how sure all of it is.
 */

import { decimal } from '../report/words.js';
import { calmSweepMs, latencyMs, loadOf, type Demand, type Load } from './cost-model.js';
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

/** A figure and how sure it is. */
export interface Estimate {
  readonly value: number;
  /** Two standard errors as a share of the value, wider where it extrapolates. */
  readonly plusMinus: number;
  /** How many times beyond what was measured it is; 1 when it is within. */
  readonly beyond: number;
}

/** What it comes to. */
export interface Plan {
  readonly request: Request;
  /** Lines that one process carries, and what bounds them. */
  readonly linesPerProcess: number;
  readonly processBound: LimitName;
  readonly processes: number;
  readonly processesPerMachine: number;
  readonly machines: number;
  /** Lines that one machine carries, and what binds first. */
  readonly linesPerMachine: number;
  readonly bound: LimitName;
  readonly limits: readonly LimitRow[];
  /** One process of the plan: its lines, and what becomes of it. */
  readonly lines: number;
  readonly load: Load;
  readonly userBytes: Estimate;
  readonly kernelBytes: Estimate;
  /** Beside that, the most that is held when not one reader reads any more. */
  readonly stalledUserBytes: number;
  readonly stalledKernelBytes: number;
  readonly cpuShare: Estimate;
  readonly p50Ms: Estimate;
  readonly p99Ms: Estimate;
  /** The network's bytes in a second, packets and all, of one process. */
  readonly egressBytesPerSecond: Estimate;
  readonly ceilingPerSecond: Estimate;
  /** The rate from which p99 is twice that of a low rate, or CPU above {@link KNEE_SHARE}. */
  readonly kneePerSecond: Estimate;
  /** Until all lines of a process are back after a restart. */
  readonly comeBackSeconds: Estimate;
  /** User and kernel bytes that the next line takes. */
  readonly nextLineUserBytes: Estimate;
  readonly nextLineKernelBytes: Estimate;
  /** What a reader must know, a sentence each. */
  readonly remarks: readonly string[];
}

/** The core is called busy from here on. */
export const KNEE_SHARE = 0.8;

/** A plan is never sure to less than this. */
const LEAST_ERROR = 0.05;

/**
 * Makes the plan. `sendBufferBytes` is what the kernel grants a line, null where it grows by
 * itself.
 */
export function makePlan(
  fit: Fit,
  limits: Limits,
  sendBufferBytes: number | null,
  request: Request,
): Plan {
  const { subscribers, eventsPerSecond, eventBytes } = request;
  const stalledBytes = sendBufferBytes ?? limits.sendBufferMostBytes ?? DEFAULT_SEND_BUFFER_BYTES;
  const rows = limitRows(fit, limits, stalledBytes, request);
  // What not even one line keeps to is no bound to plan with, but a remark.
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
    plusMinus: Math.max(LEAST_ERROR, 2 * error) * beyond,
    beyond,
  });
  // The error of a straight line grows with the distance by itself.
  const linear = (value: number, error: number): Estimate => ({
    value,
    plusMinus: Math.max(LEAST_ERROR, (2 * error) / Math.max(1, value)),
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
    kneePerSecond: estimate(kneeOf(fit, demand), fit.cpuError),
    comeBackSeconds: linear(lines / fit.acceptsPerSecond, 0),
    nextLineUserBytes: linear(fit.user.slope, fit.user.slopeError),
    nextLineKernelBytes: linear(fit.kernel.slope, fit.kernel.slopeError),
    remarks: remarksOn(request, load, lines, beyond, processes, limits, unmet),
  };
}

/** What Linux lets a send buffer grow to when nobody says otherwise (tcp_wmem of tcp(7)). */
const DEFAULT_SEND_BUFFER_BYTES = 4 * 1024 * 1024;

/** Where latency bends or the core is busy, whichever comes first. */
function kneeOf({ costs, p99 }: Fit, demand: Demand): number {
  const at = (eventsPerSecond: number): Load => loadOf(costs, { ...demand, eventsPerSecond });
  const calmMs = latencyMs(p99, calmSweepMs(costs, demand.lines, demand.eventBytes));
  const isCalm = (eventsPerSecond: number): boolean => {
    const load = at(eventsPerSecond);
    return load.busyShare <= KNEE_SHARE && latencyMs(p99, load.sweepMs) <= 2 * calmMs;
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
  processes: number,
  limits: Limits,
  unmet: readonly LimitRow[],
): string[] {
  const link = limits.linkBitsPerSecond === undefined;
  return [
    ...unmet.map(({ name, is }) => `${name}: not even one line keeps to ${is}; planned without it`),
    ...(beyond > 1 ? [`extrapolated ×${beyond.toFixed(1)} beyond what was measured`] : []),
    ...(eventsPerSecond > load.ceilingPerSecond
      ? [
          `${decimal(eventsPerSecond)} events/s are more than ${decimal(lines)} lines of a process take: publishers are held back to about ${decimal(load.ceilingPerSecond, 0)}`,
        ]
      : []),
    ...(processes > 1
      ? ['each event has to be published to each process, and clients have to be spread over them']
      : []),
    ...(link
      ? ['no network card tells its speed: compare the egress with what yours carries']
      : []),
    'measured on loopback, where the sender pays for the receiving side of the kernel, too: a network card may cost less, TLS and compression cost more',
  ];
}
