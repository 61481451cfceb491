/** The plan as JSON and as a table. */

import Table from 'cli-table3';
import { count, decimal, duration, percent, rough, size } from '../report/words.js';
import type { CompressionChoice, Variant } from './compression-choice.js';
import { loadOf } from './cost-model.js';
import type { Fit } from './fit.js';
import type { LimitName } from './limit-rows.js';
import { RETRY_SECONDS, type Estimate, type Plan } from './plan.js';
import type { Profile, Window } from './profile.js';
import { judge, marginOf } from './verdict.js';

/** A window as measured, and what the model predicts for it. */
export interface WindowReport extends Window {
  readonly modelShare: number;
  readonly modelBatchEvents: number;
  readonly modelSweepMs: number;
}

/** What `--json` prints. */
export interface CapacityReport {
  readonly plan: Plan;
  /**
   * The plan with and without `--compress shared`; null where the transport is not compressed, or
   * the profile does not have the compressor's time.
   */
  readonly compression: CompressionChoice | null;
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
  compression: CompressionChoice | null = null,
): CapacityReport {
  const { memory, machine, measuredAt, transport, sendBufferBytes } = profile;
  return {
    plan,
    compression,
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

function windowReport(fit: Fit, window: Window): WindowReport {
  // No window has compressed lines.
  const costs = { ...fit.costs, compression: undefined };
  const { lines, offeredPerSecond: eventsPerSecond, eventBytes } = window;
  const { busyShare, batchEvents, sweepMs } = loadOf(costs, { lines, eventsPerSecond, eventBytes });
  // The measured server sends more heartbeats than the default that the model assumes.
  const heartbeats = window.heartbeatsPerSecond * costs.heartbeatUs * 1e-6;
  const modelShare = eventsPerSecond === 0 ? costs.idleShare + heartbeats : busyShare;
  return { ...window, modelShare, modelBatchEvents: batchEvents, modelSweepMs: sweepMs };
}

/** The margin of error: `± 12 %`, and how far the figure is beyond the measurement. */
export function sureness(estimate: Estimate): string {
  const margin = marginOf(estimate);
  const { beyond } = estimate;
  return beyond > 1 ? `${margin}, extrapolated ×${beyond.toFixed(1)}` : margin;
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
  return `${what}: ${how}; first limit: ${limitWords(bound)}.`;
}

/** Limits whose name in JSON does not say enough to people. */
const LIMIT_WORDS: Partial<Record<LimitName, string>> = {
  'all stalled: memory': 'memory, if every reader stops reading',
  'all stalled: TCP memory': 'TCP memory, if every reader stops reading',
  'behind one proxy: ports': 'ports, if all lines come through one proxy',
};

/** A limit as people read it. */
export function limitWords(name: LimitName): string {
  return LIMIT_WORDS[name] ?? name;
}

/** The rows that people read first: name, value, and margin of error or a note. */
export function planRows({
  plan,
  compression,
}: CapacityReport): [name: string, value: string, note: string][] {
  const { load } = plan;
  return [
    [
      'lines per process, at most',
      decimal(plan.linesPerProcess),
      `limited by ${limitWords(plan.processBound)}`,
    ],
    [
      'lines per machine, at most',
      decimal(plan.linesPerMachine),
      `limited by ${limitWords(plan.bound)}`,
    ],
    ['processes', decimal(plan.processes), `${decimal(plan.lines)} lines each`],
    [
      'machines',
      decimal(plan.machines),
      `${count(plan.processesPerMachine, 'process', 'processes')} each`,
    ],
    ['memory per process', size(plan.userBytes.value), sureness(plan.userBytes)],
    [
      'memory per additional line',
      size(Math.round(plan.nextLineUserBytes.value)),
      sureness(plan.nextLineUserBytes),
    ],
    ['kernel memory per process', size(plan.kernelBytes.value), sureness(plan.kernelBytes)],
    [
      'kernel memory per additional line',
      size(Math.round(plan.nextLineKernelBytes.value)),
      sureness(plan.nextLineKernelBytes),
    ],
    [
      'additional memory if every reader stops reading',
      size(plan.stalledUserBytes),
      'per process, at most',
    ],
    [
      'additional kernel memory if every reader stops reading',
      size(plan.stalledKernelBytes),
      'per process, at most',
    ],
    ['CPU per process', `${percent(plan.cpuShare.value)} of a core`, sureness(plan.cpuShare)],
    ['events per write', decimal(load.batchEvents, 1), 'more than 1 when the core is always busy'],
    ['latency p50', duration(plan.p50Ms.value), sureness(plan.p50Ms)],
    ['latency p99', duration(plan.p99Ms.value), sureness(plan.p99Ms)],
    ['deliveries per process', `${rough(load.deliveriesPerSecond)}/s`, ''],
    [
      'bandwidth per process',
      `${size(plan.egressBytesPerSecond.value)}/s`,
      sureness(plan.egressBytesPerSecond),
    ],
    ...compressionRows(compression),
    [
      'latency starts to rise at',
      `${rough(plan.kneePerSecond.value)} events/s`,
      sureness(plan.kneePerSecond),
    ],
    [
      'highest rate',
      `${rough(plan.ceilingPerSecond.value)} events/s`,
      sureness(plan.ceilingPerSecond),
    ],
    [
      'until all lines have reconnected after a crash',
      duration(plan.comeBackSeconds.value * 1000),
      `${sureness(plan.comeBackSeconds)}, with --retry ${duration(RETRY_SECONDS * 1000)}`,
    ],
  ];
}

/** What compression changes, in the order of egress, CPU, latency; and which to choose. */
export function compressionRows(
  choice: CompressionChoice | null,
): [name: string, value: string, note: string][] {
  if (choice === null) return [];
  const { off, shared, choose, why } = choice;
  const row = (
    name: string,
    of: (variant: Variant) => string,
    note = '',
  ): [name: string, value: string, note: string] => [
    `${name}, compress off | shared`,
    `${of(off)} | ${of(shared)}`,
    note,
  ];
  return [
    row(
      'bandwidth per process',
      ({ egressBytesPerSecond }) => `${size(egressBytesPerSecond)}/s`,
      `judged by ${choice.sample}`,
    ),
    row('CPU per process', ({ cpuShare }) => percent(cpuShare)),
    row('latency p99', ({ p99Ms }) => duration(p99Ms)),
    ['choose', `--compress ${choose}`, why],
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
    limitWords(name),
    `${lines >= UNLIMITED_LINES ? 'any number' : decimal(lines)} per ${scope}`,
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
  const plan = new Table({
    head: ['plan', 'value', 'margin or note'],
    colAligns: ['left', 'right', 'left'],
    style,
  });
  plan.push(...planRows(report));
  const limits = new Table({
    head: ['limit', 'lines', 'what it is', 'what raises it'],
    style,
    wordWrap: true,
    colWidths: LIMIT_WIDTHS,
  });
  limits.push(...limitRowsOf(report, true), ...limitRowsOf(report, false));
  const measured = `Measured ${report.measuredAt.slice(0, 10)} on ${report.machine}.`;
  return `${verdictOf(report)}\n${judge(report.plan).text}\n${plan.toString()}\n${limits.toString()}\n${measured}\n`;
}
