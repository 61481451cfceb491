/** The plan as JSON and as a table. */

import Table from 'cli-table3';
import { count, decimal, duration, percent, rough, size } from '../report/words.js';
import { loadOf } from './cost-model.js';
import type { Fit } from './fit.js';
import type { Estimate, Plan } from './plan.js';
import type { Profile, Window } from './profile.js';

/** A window as measured, and what the model predicts for it. */
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
  // The measured server sends more heartbeats than the default that the model assumes.
  const heartbeats = window.heartbeatsPerSecond * costs.heartbeatUs * 1e-6;
  const modelShare = eventsPerSecond === 0 ? costs.idleShare + heartbeats : busyShare;
  return { ...window, modelShare, modelBatchEvents: batchEvents, modelSweepMs: sweepMs };
}

/** A figure with a larger margin is worth nothing, so the margin is not shown. */
const MARGIN_MAX = 2;

/** The margin of error: `± 12 %`, and how far the figure is beyond the measurement. */
export function sureness({ plusMinus, beyond }: Estimate): string {
  const share = plusMinus > MARGIN_MAX ? 'very uncertain' : `± ${percent(plusMinus, 0)}`;
  return beyond > 1 ? `${share}, extrapolated ×${beyond.toFixed(1)}` : share;
}

/** The plan in a sentence. */
export function verdictOf({ plan }: CapacityReport): string {
  const { request, processes, machines, bound } = plan;
  const what =
    `${decimal(request.subscribers)} subscribers at ` +
    `${decimal(request.eventsPerSecond)} events/s of ${size(request.eventBytes)}`;
  const how =
    `${count(processes, 'process', 'processes')} on ` +
    `${count(machines, 'machine', 'machines')} like this one`;
  return `${what}: ${how}; first limit: ${bound}.`;
}

/** The rows that people read first: name, value, margin of error. */
export function planRows({ plan }: CapacityReport): [name: string, value: string, sure: string][] {
  const { load, request } = plan;
  return [
    ['lines a process can hold', decimal(plan.linesPerProcess), `limited by ${plan.processBound}`],
    ['lines a machine can hold', decimal(plan.linesPerMachine), `limited by ${plan.bound}`],
    [
      'processes, machines',
      `${decimal(plan.processes)}, ${decimal(plan.machines)}`,
      `${decimal(plan.lines)} lines a process`,
    ],
    ['memory of a process', size(plan.userBytes.value), sureness(plan.userBytes)],
    [
      '  one more line adds',
      `${decimal(plan.nextLineUserBytes.value, 0)} B`,
      sureness(plan.nextLineUserBytes),
    ],
    [
      'memory of the kernel for a process',
      size(plan.kernelBytes.value),
      sureness(plan.kernelBytes),
    ],
    [
      '  one more line adds',
      `${decimal(plan.nextLineKernelBytes.value, 0)} B`,
      sureness(plan.nextLineKernelBytes),
    ],
    [
      'additional, if all readers stop',
      `${size(plan.stalledUserBytes)} + kernel ${size(plan.stalledKernelBytes)}`,
      'at most',
    ],
    ['CPU of a process', `${percent(plan.cpuShare.value)} of a core`, sureness(plan.cpuShare)],
    ['events in a write', decimal(load.batchEvents, 1), ''],
    ['latency p50', duration(plan.p50Ms.value), sureness(plan.p50Ms)],
    ['latency p99', duration(plan.p99Ms.value), sureness(plan.p99Ms)],
    ['deliveries', `${rough(load.deliveriesPerSecond)}/s`, ''],
    [
      'bandwidth of a process',
      `${size(plan.egressBytesPerSecond.value)}/s`,
      sureness(plan.egressBytesPerSecond),
    ],
    [
      'latency starts to rise at',
      `${rough(plan.kneePerSecond.value)} events/s`,
      sureness(plan.kneePerSecond),
    ],
    [
      'highest rate',
      `${rough(plan.ceilingPerSecond.value)} events/s of ${size(request.eventBytes)}`,
      sureness(plan.ceilingPerSecond),
    ],
    [
      'all lines reconnect in',
      duration(plan.comeBackSeconds.value * 1000),
      sureness(plan.comeBackSeconds),
    ],
  ];
}

/** The limits, lowest first: those that always apply, or those for the case in their name. */
export function limitRowsOf(
  { plan }: CapacityReport,
  always: boolean,
): [name: string, lines: string, is: string, raise: string][] {
  const rows = plan.limits
    .filter((row) => row.always === always)
    .toSorted((one, other) => one.lines - other.lines);
  return rows.map(({ name, scope, lines, is, raise }) => [
    name,
    `${lines >= UNLIMITED_LINES ? 'any number' : decimal(lines)} a ${scope}`,
    is,
    raise,
  ]);
}

/** So many lines are no limit. */
const UNLIMITED_LINES = 100_000_000;

/** Widths of the columns of limits, whose commands are long. */
const LIMIT_WIDTHS = [26, 24, 36, 48];

/** The plan for people. */
export function tableOf(report: CapacityReport): string {
  const style = { head: [], border: [], compact: true };
  const plan = new Table({ head: ['plan', '', ''], colAligns: ['left', 'right', 'left'], style });
  plan.push(...planRows(report));
  const limits = new Table({
    head: ['limit', 'lines', 'value', 'raised by'],
    style,
    wordWrap: true,
    colWidths: LIMIT_WIDTHS,
  });
  limits.push(...limitRowsOf(report, true), ...limitRowsOf(report, false));
  const measured = `measured ${report.measuredAt.slice(0, 10)} on ${report.machine}`;
  return `${verdictOf(report)}\n${plan.toString()}\n${limits.toString()}\n${measured}\n`;
}
