/** The plan as JSON and as a table. */

import Table from 'cli-table3';
import { decimal, duration, percent, rough, size } from '../report/words.js';
import { loadOf } from './cost-model.js';
import type { Fit } from './fit.js';
import type { Estimate, Plan } from './plan.js';
import type { Profile, Window } from './profile.js';

/** A window as it was measured, and what the model says of it. */
export interface WindowReport extends Window {
  readonly modelShare: number;
  readonly modelBatchEvents: number;
  readonly modelSweepMs: number;
}

/** What `--json` prints. */
export interface CapacityReport {
  readonly plan: Plan;
  readonly fit: Fit;
  readonly windows: readonly WindowReport[];
  readonly memory: Profile['memory'];
  readonly machine: string;
  readonly measuredAt: string;
  readonly transport: Profile['transport'];
  readonly sendBufferBytes: number | null;
  /** What a reader must know, a sentence each. */
  readonly remarks: readonly string[];
}

/** Brings it together. */
export function reportOf(
  profile: Profile,
  fit: Fit,
  plan: Plan,
  remarks: readonly string[] = [],
): CapacityReport {
  const { memory, machine, measuredAt, transport, sendBufferBytes } = profile;
  return {
    plan,
    fit,
    windows: profile.windows.map((window) => windowReport(fit, window)),
    memory,
    machine,
    measuredAt,
    transport,
    sendBufferBytes,
    remarks: [...remarks, ...plan.remarks, ...profile.remarks],
  };
}

function windowReport({ costs }: Fit, window: Window): WindowReport {
  const { lines, offeredPerSecond: eventsPerSecond, eventBytes } = window;
  const { busyShare, batchEvents, sweepMs } = loadOf(costs, { lines, eventsPerSecond, eventBytes });
  // Heartbeats of the measured server are more frequent than a model of the default has them.
  const heartbeats = window.heartbeatsPerSecond * costs.heartbeatUs * 1e-6;
  const modelShare = eventsPerSecond === 0 ? costs.idleShare + heartbeats : busyShare;
  return { ...window, modelShare, modelBatchEvents: batchEvents, modelSweepMs: sweepMs };
}

/** Past this a figure is worth nothing, and its error need not be told. */
const UNSURE = 2;

/** How sure a figure is: `± 12 %`, and how far it lies beyond what was measured. */
export function sureness({ plusMinus, beyond }: Estimate): string {
  const share = plusMinus > UNSURE ? 'not sure at all' : `± ${Math.round(plusMinus * 100)} %`;
  return beyond > 1 ? `${share}, extrapolated ×${beyond.toFixed(1)}` : share;
}

/** The plan in a sentence. */
export function verdictOf({ plan }: CapacityReport): string {
  const { request, processes, machines, bound } = plan;
  const what = `${decimal(request.subscribers)} subscribers at ${decimal(request.eventsPerSecond)} events/s of ${size(request.eventBytes)}`;
  const how = `${count(processes, 'process', 'processes')} on ${count(machines, 'machine', 'machines')} like this one`;
  return `${what}: ${how}; first to bind: ${bound}.`;
}

/** The rows that people read first: what it is, its value, how sure it is. */
export function planRows({ plan }: CapacityReport): [name: string, value: string, sure: string][] {
  const { load, request } = plan;
  return [
    [
      'lines that one process carries',
      decimal(plan.linesPerProcess),
      `bound by ${plan.processBound}`,
    ],
    ['lines that one machine carries', decimal(plan.linesPerMachine), `bound by ${plan.bound}`],
    [
      'processes, machines',
      `${decimal(plan.processes)}, ${decimal(plan.machines)}`,
      `${decimal(plan.lines)} lines each process`,
    ],
    ['memory of a process', size(plan.userBytes.value), sureness(plan.userBytes)],
    [
      '  the next line adds',
      `${decimal(plan.nextLineUserBytes.value, 0)} B`,
      sureness(plan.nextLineUserBytes),
    ],
    ['memory of the kernel for it', size(plan.kernelBytes.value), sureness(plan.kernelBytes)],
    [
      '  and there',
      `${decimal(plan.nextLineKernelBytes.value, 0)} B`,
      sureness(plan.nextLineKernelBytes),
    ],
    [
      '  more, if no reader reads',
      `${size(plan.stalledUserBytes)} + kernel ${size(plan.stalledKernelBytes)}`,
      'at the most',
    ],
    ['CPU of a process', `${percent(plan.cpuShare.value)} of a core`, sureness(plan.cpuShare)],
    ['events that share a write', decimal(load.batchEvents, 1), ''],
    ['latency p50', duration(plan.p50Ms.value), sureness(plan.p50Ms)],
    ['latency p99', duration(plan.p99Ms.value), sureness(plan.p99Ms)],
    ['deliveries', `${rough(load.deliveriesPerSecond)}/s`, ''],
    [
      'egress of a process',
      `${size(plan.egressBytesPerSecond.value)}/s`,
      sureness(plan.egressBytesPerSecond),
    ],
    [
      'knee: latency bends from',
      `${rough(plan.kneePerSecond.value)} events/s`,
      sureness(plan.kneePerSecond),
    ],
    [
      'ceiling',
      `${rough(plan.ceilingPerSecond.value)} events/s of ${size(request.eventBytes)}`,
      sureness(plan.ceilingPerSecond),
    ],
    [
      'all back after a restart in',
      duration(plan.comeBackSeconds.value * 1000),
      sureness(plan.comeBackSeconds),
    ],
  ];
}

/**
 * The limits, the tightest on top: those that hold always, or those that hold in the case that
 * their name tells.
 */
export function limitRowsOf(
  { plan }: CapacityReport,
  always: boolean,
): [name: string, lines: string, is: string, raise: string][] {
  const rows = plan.limits
    .filter((row) => row.always === always)
    .toSorted((one, other) => one.lines - other.lines);
  return rows.map(({ name, scope, lines, is, raise }) => [
    name,
    `${lines >= MANY_LINES ? 'more than enough' : decimal(lines)} a ${scope}`,
    is,
    raise,
  ]);
}

/** From here on a number of lines is no bound. */
const MANY_LINES = 100_000_000;

/** Characters of the columns of limits, whose commands are long. */
const LIMIT_WIDTHS = [26, 24, 36, 48];

/** The plan for people. */
export function tableOf(report: CapacityReport): string {
  const style = { head: [], border: [], compact: true };
  const plan = new Table({ head: ['plan', '', ''], colAligns: ['left', 'right', 'left'], style });
  plan.push(...planRows(report));
  const limits = new Table({
    head: ['limit', 'lines', 'is', 'raised by'],
    style,
    wordWrap: true,
    colWidths: LIMIT_WIDTHS,
  });
  limits.push(...limitRowsOf(report, true), ...limitRowsOf(report, false));
  const measured = `measured ${report.measuredAt.slice(0, 10)} on ${report.machine}`;
  return `${verdictOf(report)}\n${plan.toString()}\n${limits.toString()}\n${measured}\n`;
}

function count(value: number, one: string, many: string): string {
  return `${decimal(value)} ${value === 1 ? one : many}`;
}
