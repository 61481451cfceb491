/**
 * A profile of a machine whose costs are known: what its windows would show if the model held to
 * the letter, or nearly.
 */
import {
  linesEffect,
  loadOf,
  wireBytes,
  type Costs,
  type LatencyModel,
} from '../../src/tools/capacity/cost-model.js';
import { CORK_WRITE_BYTES_MAX } from '../../src/limits.js';
import { PROFILE_SCHEMA, type Profile, type Window } from '../../src/tools/capacity/profile.js';

export interface Truth {
  readonly costs: Costs;
  readonly p50: LatencyModel;
  readonly p99: LatencyModel;
  readonly userBytes: number;
  readonly userBytesPerLine: number;
  readonly kernelBytesPerLine: number;
  readonly workingBytes: number;
  readonly workingSeconds: number;
}

/** About what the build machine shows. */
export const TRUTH: Truth = {
  costs: {
    idleShare: 0.012,
    heartbeatUs: 13,
    idleEventUs: 160,
    busyEventUs: 30,
    idleWriteUs: 8,
    busyWriteUs: 2.5,
    manyLinesUs: 0.8,
    byteUs: 0.0002,
    frameBytes: 36,
    writeBytesMax: CORK_WRITE_BYTES_MAX,
    fullWriteBytes: 12_600,
  },
  p50: { baseMs: 0.4, sweeps: 0.7 },
  p99: { baseMs: 2, sweeps: 1.6 },
  userBytes: 79 * 2 ** 20,
  userBytesPerLine: 824,
  kernelBytesPerLine: 5_000,
  workingBytes: 3 * 2 ** 20,
  workingSeconds: 14,
};

/**
 * Rates as shares of what one event at a time takes of a core, and sizes; the last one is more than
 * is taken.
 */
const WINDOWS = [
  { lines: 10, share: 0.1, eventBytes: 256 },
  { lines: 10, share: 0.4, eventBytes: 256 },
  { lines: 1_000, share: 0.12, eventBytes: 256 },
  { lines: 1_000, share: 0.5, eventBytes: 256 },
  { lines: 1_000, share: 0.5, eventBytes: 4096 },
  { lines: 1_000, share: 3, eventBytes: 1024 },
  { lines: 10_000, share: 0, eventBytes: 256 },
  { lines: 10_000, share: 0.12, eventBytes: 256 },
  { lines: 10_000, share: 0.35, eventBytes: 1024 },
  { lines: 10_000, share: 0.7, eventBytes: 256 },
  { lines: 10_000, share: 0.5, eventBytes: 4096 },
  { lines: 10_000, share: 4, eventBytes: 256 },
  { lines: 10_000, share: 60, eventBytes: 1024 },
];

/** The profile; `noise` gives a factor near 1 for each figure that is measured. */
export function syntheticProfile(truth: Truth = TRUTH, noise: () => number = () => 1): Profile {
  const steps = [2_000, 4_000, 6_000, 8_000, 10_000];
  return {
    schema: PROFILE_SCHEMA,
    measuredAt: '2026-11-22T12:00:00.000Z',
    machine: 'made up',
    limits: { cores: 2, memoryBytes: 8 * 2 ** 30, fileLimit: 20_000, fileCeiling: 1_048_576 },
    transport: 'sse',
    sendBufferBytes: 131_072,
    isPinned: true,
    memory: steps.map((lines) => ({
      lines,
      rssBytes: truth.userBytes + lines * truth.userBytesPerLine * noise(),
      kernelBytes: 300 * 2 ** 20 + 2 * lines * truth.kernelBytesPerLine * noise(),
    })),
    accepts: [{ lines: 10_000, seconds: 1, serverCpuSeconds: 0.45 }],
    windows: WINDOWS.map((window) => windowOf(truth, window, noise)),
    remarks: [],
  };
}

function windowOf(
  truth: Truth,
  { lines, share, eventBytes }: (typeof WINDOWS)[number],
  noise: () => number,
): Window {
  const { costs } = truth;
  const bytes = wireBytes(costs, eventBytes);
  const writeUs = costs.busyWriteUs + costs.manyLinesUs * linesEffect(lines) + bytes * costs.byteUs;
  const offeredPerSecond = (share * 1e6) / (costs.busyEventUs + lines * writeUs);
  const load = loadOf(costs, { lines, eventsPerSecond: offeredPerSecond, eventBytes });
  const accepted = Math.min(offeredPerSecond, load.ceilingPerSecond);
  const heartbeatsPerSecond = share === 0 ? lines / 2 : 0;
  const busy =
    share === 0 ? costs.idleShare + heartbeatsPerSecond * costs.heartbeatUs * 1e-6 : load.busyShare;
  return {
    lines,
    eventBytes,
    offeredPerSecond,
    seconds: 3,
    acceptedPerSecond: accepted,
    deliveriesPerSecond: load.deliveriesPerSecond,
    writesPerSecond: load.writesPerSecond,
    writtenBytesPerSecond: load.bytesPerSecond,
    heartbeatsPerSecond,
    sweepsPerSecond: 1000 / load.sweepMs,
    serverShare: Math.min(1, busy * noise()),
    clientShare: 0.5,
    strangerShare: 0,
    p50Ms: share === 0 ? null : (truth.p50.baseMs + truth.p50.sweeps * load.sweepMs) * noise(),
    p99Ms: share === 0 ? null : (truth.p99.baseMs + truth.p99.sweeps * load.sweepMs) * noise(),
    rssBytes:
      truth.userBytes +
      lines * truth.userBytesPerLine +
      (share === 0
        ? 0
        : truth.workingBytes + truth.workingSeconds * accepted * (eventBytes + 1_024)),
    faults: 0,
    isClientLimited: false,
  };
}
