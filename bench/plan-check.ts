/**
 * The plan against reality: measures a profile as `holdline capacity` does, predicts what two other
 * demands take, plain and compressed, runs each of them, and compares memory, CPU and bytes. It
 * fails when a prediction is out of tolerance.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compressedFit } from '../dist/tools/capacity/compression-choice.js';
import { latencyMs, loadOf } from '../dist/tools/capacity/cost-model.js';
import { type Cores, onClientCores } from '../dist/tools/capacity/cores.js';
import { type Fit, fitProfile } from '../dist/tools/capacity/fit.js';
import { measure } from '../dist/tools/capacity/measure.js';
import { kernelBytesOf, userBytesOf } from '../dist/tools/capacity/needs.js';
import type { Limits, Profile } from '../dist/tools/capacity/profile.js';
import { profileText } from '../dist/tools/capacity/profile-file.js';
import { Rig } from '../dist/tools/capacity/rig.js';
import { SAMPLE_EVENTS, type Sample } from '../dist/tools/capacity/sample-events.js';
import { eventData, newRun, stampEvent } from '../dist/tools/load/clients/event.js';
import { sleepMs } from './clock.js';
import type { Measured, RunOptions } from './results.js';
import { drawTable, ms, percent } from './table.js';

export interface PlanDemand {
  lines: number;
  ratePerSecond: number;
  eventBytes: number;
  /** Of server and lines, `--compress shared`. */
  isCompressed: boolean;
}

export interface PlanParameters {
  demands: PlanDemand[];
  rounds: number;
  windowSeconds: number;
  warmUpSeconds: number;
  /** How far a prediction may be off, as a share of what was measured. */
  memoryTolerance: number;
  cpuTolerance: number;
  bytesTolerance: number;
  profile: { lines: number; budgetMs: number };
}

/** One figure, predicted and measured. */
export interface Prediction {
  predicted: number;
  measured: number;
  /** predicted ÷ measured − 1 */
  off: number;
}

export interface PlanRound extends PlanDemand {
  round: number;
  /** Resident memory of the server and the kernel's share of its lines. */
  memoryBytes: Prediction;
  userBytes: Prediction;
  kernelBytes: Prediction;
  /** Of a core. */
  cpuShare: Prediction;
  /** Bytes of a delivery, with the framing of its write. */
  deliveryBytes: Prediction;
  /** Latencies are shown, not judged. */
  p50Ms: Prediction;
  p99Ms: Prediction;
  batchEvents: Prediction;
  clientShare: number;
  strangerShare: number;
  faults: number;
  passed: boolean;
}

export interface PlanSummary {
  passed: boolean;
  /** The largest error of all rounds. */
  memoryOff: number;
  cpuOff: number;
  bytesOff: number;
  profileRemarks: string[];
}

const MEMORY_TOLERANCE = 0.15;
const CPU_TOLERANCE = 0.2;
const BYTES_TOLERANCE = 0.15;

/**
 * Other counts, rates and sizes than in the profile: one with a write for each event, one with
 * larger events.
 */
const DEMANDS = plainAndCompressed(
  { lines: 6_000, ratePerSecond: 8, eventBytes: 512 },
  { lines: 4_000, ratePerSecond: 25, eventBytes: 1_500 },
);
const QUICK_DEMANDS = plainAndCompressed({ lines: 600, ratePerSecond: 40, eventBytes: 512 });

function plainAndCompressed(...demands: readonly Omit<PlanDemand, 'isCompressed'>[]): PlanDemand[] {
  return [false, true].flatMap((isCompressed) =>
    demands.map((demand) => ({ ...demand, isCompressed })),
  );
}

const SEND_BUFFER_BYTES = 64 * 1024;
const HEARTBEAT_MS = 15_000;

/**
 * A young process gives memory back (bench/memory.ts); the profile's server was as old when it was
 * measured.
 */
const YOUTH_MS = 15_000;

/** Share of the lines that are open before the kernel's memory is measured. */
const FIRST_SHARE = 0.4;

/** Both ends of each line are on this machine. */
const ENDS = 2;

const PROFILE_FILE = new URL('out/plan-profile.json', import.meta.url);

export async function measurePlan(
  options: RunOptions,
): Promise<Measured<PlanParameters, PlanRound, PlanSummary>> {
  const { quick } = options;
  const parameters: PlanParameters = {
    demands: quick ? QUICK_DEMANDS : DEMANDS,
    rounds: options.rounds ?? (quick ? 1 : 3),
    windowSeconds: options.windowSeconds ?? (quick ? 3 : 15),
    warmUpSeconds: quick ? 1 : 5,
    memoryTolerance: MEMORY_TOLERANCE,
    cpuTolerance: CPU_TOLERANCE,
    bytesTolerance: BYTES_TOLERANCE,
    profile: {
      lines: options.lines ?? (quick ? 1_000 : 10_000),
      budgetMs: quick ? 30_000 : 60_000,
    },
  };
  const profile = await measureProfile(parameters);
  options.say(`profile measured: ${fileURLToPath(PROFILE_FILE)}`);
  const fit = fitProfile(profile);
  const fitted = parameters.demands.map(
    (demand) => [demand, fitFor(demand, fit, profile)] as const,
  );
  const rounds: PlanRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const [demand, fitOfDemand] of fitted) {
      const measured = await onClientCores((cores) =>
        measureRound(cores, fitOfDemand, parameters, demand, round, quick ? 1_000 : YOUTH_MS),
      );
      rounds.push(measured);
      options.say(describeRound(measured));
    }
  }
  const farthest = (pick: (round: PlanRound) => Prediction): number =>
    Math.max(...rounds.map((round) => Math.abs(pick(round).off)));
  const summary: PlanSummary = {
    passed: rounds.every(({ passed }) => passed),
    memoryOff: farthest(({ memoryBytes }) => memoryBytes),
    cpuOff: farthest(({ cpuShare }) => cpuShare),
    bytesOff: farthest(({ deliveryBytes }) => deliveryBytes),
    profileRemarks: profile.remarks,
  };
  return {
    parameters,
    rounds,
    summary,
    remarks: remarksOn(rounds, profile),
    table: describe(rounds),
    passed: summary.passed,
  };
}

async function measureProfile({ profile: { lines, budgetMs } }: PlanParameters): Promise<Profile> {
  const profile = await measure({
    transport: 'sse',
    lines,
    budgetMs,
    socketSendBufferBytes: SEND_BUFFER_BYTES,
    limits: NO_LIMITS,
    machine: 'the machine of this result',
    progress: () => {},
  });
  mkdirSync(new URL('.', PROFILE_FILE), { recursive: true });
  writeFileSync(PROFILE_FILE, profileText(profile));
  return profile;
}

function fitFor(demand: PlanDemand, fit: Fit, profile: Profile): Fit {
  return demand.isCompressed ? compressedFit(fit, profile, sampleOf(demand))! : fit;
}

/** The events that the load client publishes: how small they become is told by these. */
function sampleOf({ ratePerSecond, eventBytes }: PlanDemand): Sample {
  const data = eventData(newRun(), eventBytes);
  const events = Array.from({ length: SAMPLE_EVENTS }, (_, sequence) => {
    stampEvent(data, 0, sequence, 1e9 + (sequence * 1e6) / ratePerSecond);
    return data.toString('latin1');
  });
  return { words: 'the events of the load client', isMadeUp: true, events };
}

/** The limits of the machine are not checked here. */
const NO_LIMITS: Limits = { cores: 1, memoryBytes: 0 };

async function measureRound(
  cores: Cores | undefined,
  fit: Fit,
  parameters: PlanParameters,
  demand: PlanDemand,
  round: number,
  youthMs: number,
): Promise<PlanRound> {
  const { windowSeconds, warmUpSeconds, memoryTolerance, cpuTolerance, bytesTolerance } =
    parameters;
  const { lines, ratePerSecond, eventBytes, isCompressed } = demand;
  const rig = await Rig.start({
    transport: 'sse',
    cores,
    socketSendBufferBytes: SEND_BUFFER_BYTES,
    heartbeatMs: HEARTBEAT_MS,
    compress: isCompressed ? 'shared' : 'off',
  });
  try {
    await sleepMs(youthMs);
    // The first lines reuse memory that the kernel kept from an earlier round; the others show what
    // a line takes.
    await rig.open(Math.round(lines * FIRST_SHARE));
    const first = await rig.memory();
    await rig.open(lines);
    const all = await rig.memory();
    const kernelBytesPerLine =
      (all.kernelBytes - first.kernelBytes) / (all.lines - first.lines) / ENDS;
    await rig.publish({ ratePerSecond, eventBytes, seconds: warmUpSeconds });
    const window = await rig.publish({ ratePerSecond, eventBytes, seconds: windowSeconds });
    const asked = { lines, eventsPerSecond: ratePerSecond, eventBytes };
    const load = loadOf(fit.costs, asked);
    const userBytes = prediction(userBytesOf(fit, asked), window.rssBytes);
    const kernelBytes = prediction(kernelBytesOf(fit, lines), kernelBytesPerLine * lines);
    const memoryBytes = prediction(
      userBytes.predicted + kernelBytes.predicted,
      userBytes.measured + kernelBytes.measured,
    );
    const cpuShare = prediction(load.busyShare, window.serverShare);
    const deliveryBytes = prediction(
      load.bytesPerSecond / load.deliveriesPerSecond,
      window.writtenBytesPerSecond / window.deliveriesPerSecond,
    );
    return {
      ...demand,
      round,
      memoryBytes,
      userBytes,
      kernelBytes,
      cpuShare,
      deliveryBytes,
      p50Ms: prediction(latencyMs(fit.p50, load.sweepMs), window.p50Ms ?? Number.NaN),
      p99Ms: prediction(latencyMs(fit.p99, load.sweepMs), window.p99Ms ?? Number.NaN),
      batchEvents: prediction(
        load.batchEvents,
        window.deliveriesPerSecond / window.writesPerSecond,
      ),
      clientShare: window.clientShare,
      strangerShare: window.strangerShare,
      faults: window.faults,
      passed:
        Math.abs(memoryBytes.off) <= memoryTolerance &&
        Math.abs(cpuShare.off) <= cpuTolerance &&
        Math.abs(deliveryBytes.off) <= bytesTolerance,
    };
  } finally {
    await rig.close();
  }
}

function prediction(predicted: number, measured: number): Prediction {
  return { predicted, measured, off: predicted / measured - 1 };
}

function remarksOn(rounds: readonly PlanRound[], profile: Profile): string[] {
  return [
    ...rounds
      .filter(({ passed }) => !passed)
      .map(
        ({ round, memoryBytes, cpuShare, deliveryBytes, ...demand }) =>
          `FAILED: ${wordsOf(demand)}, round ${round}: memory was off by ${percent(Math.abs(memoryBytes.off))}, ` +
          `CPU by ${percent(Math.abs(cpuShare.off))}, bytes by ${percent(Math.abs(deliveryBytes.off))}; ` +
          `allowed are ${percent(MEMORY_TOLERANCE)}, ${percent(CPU_TOLERANCE)} and ${percent(BYTES_TOLERANCE)}`,
      ),
    ...rounds
      .filter(({ strangerShare }) => strangerShare > OTHERS_REMARK_SHARE)
      .map(
        ({ lines, round, strangerShare }) =>
          `${lines} lines, round ${round}: other processes took ${percent(strangerShare)} of a core`,
      ),
    ...rounds
      .filter(({ faults }) => faults > 0)
      .map(
        ({ lines, round, faults }) =>
          `${lines} lines, round ${round}: ${faults} deliveries were lost, doubled or out of order`,
      ),
    ...profile.remarks.map((remark) => `profile: ${remark}`),
  ];
}

const OTHERS_REMARK_SHARE = 0.1;

function wordsOf({ lines, ratePerSecond, eventBytes, isCompressed }: PlanDemand): string {
  return `${lines}${isCompressed ? ' compressed' : ''} lines, ${ratePerSecond}/s of ${eventBytes} B`;
}

function describeRound({
  round,
  memoryBytes,
  cpuShare,
  deliveryBytes,
  passed,
  ...demand
}: PlanRound): string {
  return (
    `round ${round}, ${wordsOf(demand)}: memory ${mebibytes(memoryBytes.predicted)} predicted, ${mebibytes(memoryBytes.measured)} measured; ` +
    `CPU ${percent(cpuShare.predicted)} predicted, ${percent(cpuShare.measured)} measured; bytes of a delivery ${bytesOf(deliveryBytes.predicted)} predicted, ` +
    `${bytesOf(deliveryBytes.measured)} measured${passed ? '' : '; out of tolerance'}`
  );
}

function describe(rounds: readonly PlanRound[]): string {
  const both = ({ predicted, measured }: Prediction, draw: (value: number) => string): string =>
    `${draw(predicted)} · ${draw(measured)}`;
  return drawTable(
    [
      'predicted · measured',
      'round',
      'memory',
      'off',
      'process',
      'kernel',
      'CPU',
      'off',
      'a delivery',
      'off',
      'p50',
      'p99',
    ],
    rounds.map((round) => [
      wordsOf(round),
      round.round,
      both(round.memoryBytes, mebibytes),
      signed(round.memoryBytes.off),
      both(round.userBytes, mebibytes),
      both(round.kernelBytes, mebibytes),
      both(round.cpuShare, percent),
      signed(round.cpuShare.off),
      both(round.deliveryBytes, bytesOf),
      signed(round.deliveryBytes.off),
      both(round.p50Ms, ms),
      both(round.p99Ms, ms),
    ]),
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function bytesOf(bytes: number): string {
  return `${bytes.toFixed(0)} B`;
}

function signed(share: number): string {
  return `${share < 0 ? '−' : '+'}${(Math.abs(share) * 100).toFixed(0)} %`;
}
