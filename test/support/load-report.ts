/** A report of `holdline load` that nobody measured, for tests of how reports are shown. */
import type { LoadReport } from '../../src/tools/load/report/report.js';
import type { Moment } from '../../src/tools/load/report/timeline.js';

const CONNECT_SPANS = 2;
const SPANS = 12;

/** One span of a run in which all goes well. */
export function momentOf(atSeconds: number, parts: Partial<Moment> = {}): Moment {
  const isBefore = atSeconds < 0;
  return {
    atSeconds,
    deliveriesPerSecond: isBefore ? null : 10_000,
    bytesPerSecond: isBefore ? null : 3_000_000,
    p50Ms: isBefore ? null : 5 + (atSeconds % 3),
    p99Ms: isBefore ? null : 20 + (atSeconds % 5),
    maxMs: isBefore ? null : 40,
    clientBusyShares: [isBefore ? null : 0.2, isBefore ? null : 0.3],
    serverCpuShare: 0.4,
    serverRssBytes: 60e6 + atSeconds * 1e5,
    tcpBytes: 1e6,
    ...parts,
  };
}

/** A run in which all went well, but for what is given. */
export function reportWith(parts: Partial<LoadReport> = {}): LoadReport {
  return {
    transport: 'sse',
    url: 'http://127.0.0.1:8080/load',
    connections: 1000,
    checkedClients: 1000,
    ratePerSecond: 10,
    sizeBytes: 256,
    durationSeconds: 10,
    pollIntervalSeconds: null,
    connectSeconds: 1.4,
    flawless: true,
    gaveUp: null,
    unknownClients: 0,
    published: 100,
    expected: 100_000,
    delivered: 100_000,
    lost: 0,
    gapLost: 0,
    doubled: 0,
    outOfOrder: 0,
    gaps: 0,
    clientsHit: { losing: 0, doubling: 0, disordered: 0, mostLost: 0 },
    requests: 0,
    requestsPerClientMinute: 0,
    emptyAnswers: 0,
    emptyShare: 0,
    bytesReceived: 31_000_000,
    bytesPerClient: 31_000,
    compression: null,
    latencyMs: { p50: 5.5, p90: 12, p99: 24, p999: 33, max: 40.123 },
    latencyCurve: [0, 50, 90, 99, 99.9, 99.99, 99.999, 100].map((percentile, index) => ({
      percentile,
      ms: 1 + 5.5 * index,
    })),
    mix: null,
    herd: null,
    clientCpuSeconds: 5.5,
    clientBusyShare: 0.3,
    clientLimited: false,
    clientProcesses: [
      { pid: 71, cpuSeconds: 2, busyShare: 0.2, lagMs: { p99: 1.5, max: 9 } },
      { pid: 72, cpuSeconds: 3, busyShare: 0.3, lagMs: { p99: 1.25, max: 8 } },
    ],
    publisher: { cpuSeconds: 0.5, busyShare: 0.05, latenessMs: { p99: 1.1, max: 4 } },
    server: {
      pids: [70],
      rssBytesBefore: 55e6,
      rssBytesMost: 61e6,
      cpuShare: 0.4,
      tcpBytesMost: 1e6,
    },
    serverUnknown: null,
    timeline: {
      spanSeconds: 1,
      moments: Array.from({ length: CONNECT_SPANS + SPANS }, (_, index) =>
        momentOf(index - CONNECT_SPANS + 0.5),
      ),
    },
    remarks: [],
    machine: {
      cpu: 'A processor',
      cores: 2,
      memoryBytes: 8 * 1024 ** 3,
      system: 'Linux 6.1.0',
      glibc: '2.36',
      node: 'v20.20.2',
      holdline: '0.1.0',
    },
    startedAt: '2026-11-22T16:55:46.123Z',
    ...parts,
  };
}
