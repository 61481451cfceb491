/** The same demand with and without `--compress shared`, and which of the two to choose. */

import { count, decimal, percent, size } from '../report/words.js';
import { makeBlocks } from './blocks.js';
import { compressionOf } from './compression.js';
import { loadOf } from './cost-model.js';
import type { Fit } from './fit.js';
import type { Plan } from './plan.js';
import type { Profile } from './profile.js';
import type { Sample } from './sample-events.js';

/** One of the two. */
export interface Variant {
  readonly processes: number;
  readonly machines: number;
  /** Of a process, as a share of a core. */
  readonly cpuShare: number;
  readonly p99Ms: number;
  /** Of a process, packet headers included. */
  readonly egressBytesPerSecond: number;
}

/** The comparison. */
export interface CompressionChoice {
  readonly choose: 'off' | 'shared';
  /** Why, in a sentence without a full stop. */
  readonly why: string;
  readonly off: Variant;
  readonly shared: Variant;
  /** Events by which compression was judged, in words. */
  readonly sample: string;
}

/** Egress must become so many times less to be worth a process that compresses. */
const WORTH_TIMES = 1.5;

/** A process may take so much more of a core for that. */
const CPU_ALLOWANCE = 0.1;

/**
 * The fit of a server that compresses: how small events become is the sample's, the compressor's
 * time that of the measured machine. Undefined where that cannot be known.
 */
export function compressedFit(fit: Fit, profile: Profile, sample: Sample): Fit | undefined {
  const { blocks, transport } = profile;
  if (transport === 'ws' || blocks === undefined) return undefined;
  return {
    ...fit,
    costs: { ...fit.costs, compression: compressionOf(makeBlocks(sample), blocks) },
  };
}

/** Why {@link compressedFit} has none. */
export function whyNotCompressed({ transport }: Profile): string {
  return transport === 'ws'
    ? 'WebSockets are not compressed; plan for --transport sse or ndjson'
    : 'the profile is older than compression; measure again with holdline capacity --save FILE';
}

/** What a reader must know of the comparison, a sentence each. */
export function compressionRemarks(shared: Plan | undefined, sample: Sample): string[] {
  if (shared === undefined) return [];
  return [
    `compression is judged by ${sample.words}` +
      (sample.isMadeUp ? '; --sample FILE judges it by your own events' : ''),
    'compression is planned for lines on one channel whose clients take gzip; with more channels ' +
      'the compressor takes its time for each, and a channel with secrets must not be compressed',
  ];
}

/**
 * What windows with compressed lines showed, and what the model gives for them with the sizes and
 * times that the server's compressor had; a sentence each.
 */
export function measuredCompression({ compressed = [] }: Profile, fit: Fit): string[] {
  return compressed
    .filter(({ deliveriesPerSecond, blocksPerSecond }) => deliveriesPerSecond * blocksPerSecond > 0)
    .map((window) => {
      const { lines, offeredPerSecond, eventBytes, blocksPerSecond } = window;
      const plainBytes = window.compressedPlainBytesPerSecond / blocksPerSecond;
      const sizes = [{ plainBytes, bytes: window.compressedBytesPerSecond / blocksPerSecond }];
      const times = [{ plainBytes, us: (window.compressorShare / blocksPerSecond) * 1e6 }];
      const load = loadOf(
        { ...fit.costs, compression: compressionOf(sizes, times) },
        { lines, eventsPerSecond: offeredPerSecond, eventBytes },
      );
      const bytes = window.writtenBytesPerSecond / window.deliveriesPerSecond;
      return (
        `measured with ${decimal(lines)} compressed lines at ${decimal(offeredPerSecond, 1)} ` +
        `events/s of ${size(eventBytes)}: ${decimal(bytes, 0)} B a delivery, CPU ` +
        `${percent(window.serverShare)} of a core (${percent(load.busyShare)} computed), ` +
        `${percent(window.compressorShare)} of it the compressor`
      );
    });
}

/** Compares two plans for one request. */
export function chooseCompression(off: Plan, shared: Plan, sample: string): CompressionChoice {
  const times = egressOf(off) / egressOf(shared);
  const egress = `egress is ${decimal(times, 1)} times less`;
  const cpu =
    `CPU ${percent(cpuOf(shared))} of a core in place of ${percent(cpuOf(off))}` +
    (Math.max(off.processes, shared.processes) > 1 ? ', all processes together' : '');
  const [choose, why] = judged(off, shared, times, `${egress}, ${cpu}`);
  return { choose, why, off: variantOf(off), shared: variantOf(shared), sample };
}

function judged(
  off: Plan,
  shared: Plan,
  times: number,
  both: string,
): [choose: CompressionChoice['choose'], why: string] {
  if (shared.machines !== off.machines || shared.processes !== off.processes) {
    const isFewer =
      shared.machines < off.machines ||
      (shared.machines === off.machines && shared.processes < off.processes);
    const needs = ({ processes, machines }: Plan): string =>
      `${count(processes, 'process', 'processes')} on ${count(machines, 'machine', 'machines')}`;
    return [
      isFewer ? 'shared' : 'off',
      `with shared compression ${needs(shared)}, without it ${needs(off)}; ${both}`,
    ];
  }
  if (times < WORTH_TIMES) return ['off', `such events hardly become smaller: ${both}`];
  const more = shared.cpuShare.value - off.cpuShare.value;
  if (more > CPU_ALLOWANCE)
    return ['off', `${both}; choose shared where egress costs more than CPU`];
  return ['shared', both];
}

function egressOf({ processes, egressBytesPerSecond }: Plan): number {
  return processes * egressBytesPerSecond.value;
}

function cpuOf({ processes, cpuShare }: Plan): number {
  return processes * cpuShare.value;
}

function variantOf(plan: Plan): Variant {
  const { processes, machines, cpuShare, p99Ms, egressBytesPerSecond } = plan;
  return {
    processes,
    machines,
    cpuShare: cpuShare.value,
    p99Ms: p99Ms.value,
    egressBytesPerSecond: egressBytesPerSecond.value,
  };
}
