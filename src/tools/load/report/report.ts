/** All figures of a run, from which the table, the JSON and the page are made. */

import { describeMachine, type Machine } from '../../report/machine.js';
import { percentileMs } from '../books/histogram.js';
import { mixOf, type LoadSettings } from '../options.js';
import type { ServerSample } from '../processes/process-meter.js';
import { remarksOn } from '../run/remarks.js';
import type { Herd, ProcessFigures } from '../run/round.js';
import type { Outcome } from '../run/run.js';
import { timelineOf, type Timeline } from './timeline.js';

/** Points of the latency curve for each power of ten of the share that takes longer. */
const POINTS_PER_DECADE = 10;

/** The curve ends where one in so many deliveries takes longer. */
const RAREST = 1e6;

/** The figures, as `--json` prints them. */
export interface LoadReport {
  readonly transport: LoadSettings['transport'];
  readonly url: string;
  readonly connections: number;
  /** Clients that are checked for every event; of the others bytes are counted. */
  readonly checkedClients: number;
  readonly ratePerSecond: number;
  readonly sizeBytes: number;
  /** How long events were published. */
  readonly durationSeconds: number;
  /** Null where clients do not poll on a clock. */
  readonly pollIntervalSeconds: number | null;
  /** From the first connect until all clients had subscribed. */
  readonly connectSeconds: number;
  /**
   * True when at least one event was published, it is known that every one came to every client
   * once and in order, and the server stayed.
   */
  readonly flawless: boolean;
  /** Why publishing ended before its time; null where it did not. */
  readonly gaveUp: string | null;
  /** Clients that are in no figure, since it is not known what they received. */
  readonly unknownClients: number;
  /** Events that the server took. */
  readonly published: number;
  /** Published events times clients, without those that are stalled or slow: `mix` has them. */
  readonly expected: number;
  /** Deliveries that came, each counted once. */
  readonly delivered: number;
  /** Deliveries that did not come, without a report of the server. */
  readonly lost: number;
  /** Deliveries that did not come, and that the server reported as lost. */
  readonly gapLost: number;
  readonly doubled: number;
  readonly outOfOrder: number;
  /** Gaps that the server reported to clients. */
  readonly gaps: number;
  /** Clients with lost, doubled or disordered events, and the most that one client lost. */
  readonly clientsHit: {
    readonly losing: number;
    readonly doubling: number;
    readonly disordered: number;
    readonly mostLost: number;
  };
  /**
   * Requests of all clients from the first event on, without those by which they first subscribed.
   */
  readonly requests: number;
  readonly requestsPerClientMinute: number;
  /** Answers to polls without an event, and their share of all answers. */
  readonly emptyAnswers: number;
  readonly emptyShare: number;
  /** What clients received from the first event on, heads and framing included. */
  readonly bytesReceived: number;
  readonly bytesPerClient: number;
  /** What gzip did on `--compress`; null without. */
  readonly compression: CompressionFigures | null;
  /** From the moment an event was due until a client had it. Null where nothing came. */
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p99' | 'p999' | 'max', number | null>>;
  /** The same at rising percentiles, the last of which is the maximum; empty where nothing came. */
  readonly latencyCurve: readonly { readonly percentile: number; readonly ms: number }[];
  /**
   * Clients that read slowly, not at all, or come and go; null where all read normally and stay.
   */
  readonly mix: MixFigures | null;
  /** What became of `--herd`; null without. */
  readonly herd: Herd | null;
  /**
   * Processor time of all processes of this client while events were published, and the share of a
   * core of the busiest.
   */
  readonly clientCpuSeconds: number;
  readonly clientBusyShare: number;
  /** True when the figures are those of this client rather than of the server. */
  readonly clientLimited: boolean;
  /**
   * The processes that hold the clients, and the one that publishes, with how late its events left.
   */
  readonly clientProcesses: readonly ProcessFigures[];
  readonly publisher: {
    readonly cpuSeconds: number;
    readonly busyShare: number;
    readonly latenessMs: { readonly p99: number | null; readonly max: number | null };
  };
  /** What the server used; null where it does not run on this machine. */
  readonly server: ServerFigures | null;
  /** Why `server` is null. */
  readonly serverUnknown: string | null;
  readonly timeline: Timeline;
  /** What the figures do not say by themselves, a sentence each. */
  readonly remarks: readonly string[];
  readonly machine: Machine;
  /** ISO 8601. */
  readonly startedAt: string;
}

/** What clients that asked for gzip received from the first event on. */
export interface CompressionFigures {
  /** Of all lines, those that were answered in gzip. */
  readonly lines: number;
  /** Bytes with HTTP's framing, and what they would be without gzip, with the same framing. */
  readonly wireBytes: number;
  readonly plainBytes: number;
  /** The second ÷ the first; null where nothing came. */
  readonly ratio: number | null;
  /** Blocks that came to clients that are not checked, and those of them that were inflated. */
  readonly blocks: number;
  readonly inflatedBlocks: number;
}

/** What became of clients that read slowly, not at all, or come and go. */
export interface MixFigures {
  /** Clients that subscribe and read nothing more; some may be cut off for it. */
  readonly stalled: { readonly clients: number; readonly cutOff: number };
  /** Clients that read so much in a second. */
  readonly slow: {
    readonly clients: number;
    readonly bytesPerSecond: number;
    readonly delivered: number;
    readonly gaps: number;
    readonly cutOff: number;
  };
  /**
   * Times that a client dropped its connection and came back where it had left off, and that it had
   * to try again.
   */
  readonly reconnects: {
    readonly sharePerMinute: number;
    readonly returns: number;
    readonly refusedReturns: number;
  };
}

/** What the processes that listen on the server's port used. */
export interface ServerFigures {
  readonly pids: readonly number[];
  /** Before clients connected, and the most. */
  readonly rssBytesBefore: number;
  readonly rssBytesMost: number;
  /** While events were published, as a share of a core; null where that was too short. */
  readonly cpuShare: number | null;
  /** The most that all TCP sockets of this machine had in buffers. */
  readonly tcpBytesMost: number | null;
}

/** The figures of a run. */
export function reportOf(settings: LoadSettings, outcome: Outcome): LoadReport {
  const { books, tally, meter, coordinator, processes, publisher } = outcome;
  const { connections } = settings;
  const measuredSeconds = (outcome.endUs - outcome.startUs) / 1e6;
  const { latencyUs } = books;
  return {
    transport: settings.transport,
    url: settings.url,
    connections,
    checkedClients: books.checkedClients,
    ratePerSecond: settings.ratePerSecond,
    sizeBytes: settings.sizeBytes,
    durationSeconds:
      outcome.wasStopped || outcome.gaveUp !== undefined
        ? publishSecondsOf(outcome)
        : settings.durationMs / 1000,
    pollIntervalSeconds:
      settings.transport === 'short-poll' ? settings.pollIntervalMs / 1000 : null,
    connectSeconds: rounded(outcome.connectSeconds),
    flawless: isFlawless(outcome),
    gaveUp: outcome.gaveUp ?? null,
    unknownClients: unknownClientsOf(outcome),
    published: books.published,
    expected: books.expected,
    delivered: books.delivered,
    lost: books.lost,
    gapLost: books.gapLost,
    doubled: books.doubled,
    outOfOrder: books.outOfOrder,
    gaps: books.gaps,
    clientsHit: {
      losing: books.losers,
      doubling: books.doublers,
      disordered: books.disordered,
      mostLost: books.mostLost,
    },
    requests: tally.requests,
    requestsPerClientMinute: rounded((tally.requests / connections / measuredSeconds) * 60),
    emptyAnswers: tally.emptyAnswers,
    emptyShare: tally.answers === 0 ? 0 : rounded(tally.emptyAnswers / tally.answers),
    bytesReceived: tally.bytes,
    bytesPerClient: Math.round(tally.bytes / connections),
    compression: settings.compress ? compressionOf(settings, outcome) : null,
    latencyMs: {
      p50: percentileMs(latencyUs, 50),
      p90: percentileMs(latencyUs, 90),
      p99: percentileMs(latencyUs, 99),
      p999: percentileMs(latencyUs, 99.9),
      max: percentileMs(latencyUs, 100),
    },
    latencyCurve: percentilesFor(latencyUs.totalCount).map((percentile) => ({
      percentile,
      ms: percentileMs(latencyUs, percentile)!,
    })),
    mix: mixFiguresOf(settings, outcome),
    herd: outcome.herd ?? null,
    clientCpuSeconds: rounded(
      processes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, coordinator.cpuSeconds),
    ),
    clientBusyShare: rounded(
      Math.max(coordinator.busyShare, ...processes.map(({ busyShare }) => busyShare)),
    ),
    clientLimited: outcome.bottlenecks.length > 0,
    clientProcesses: processes.map((one) => ({
      ...one,
      cpuSeconds: rounded(one.cpuSeconds),
      busyShare: rounded(one.busyShare),
    })),
    publisher: {
      cpuSeconds: rounded(coordinator.cpuSeconds),
      busyShare: rounded(coordinator.busyShare),
      latenessMs: {
        p99: percentileMs(publisher.latenessUs, 99),
        max: percentileMs(publisher.latenessUs, 100),
      },
    },
    server: serverOf(meter.pids, meter.samples, outcome),
    serverUnknown: meter.problem ?? null,
    timeline: timelineOf(outcome, meter.samples),
    remarks: remarksOn(outcome),
    machine: describeMachine(),
    startedAt: outcome.startedAt.toISOString(),
  };
}

/**
 * Percentiles for a curve over so many values: denser towards 100, and none that so many values
 * cannot resolve.
 */
export function percentilesFor(values: number): number[] {
  if (values === 0) return [];
  const rarest = Math.min(values, RAREST);
  const points = Math.floor(Math.log10(rarest) * POINTS_PER_DECADE + 1e-9) + 1;
  const curve = Array.from(
    { length: points },
    (_, point) => 100 - 100 / 10 ** (point / POINTS_PER_DECADE),
  );
  return [...curve.map((percentile) => Number(percentile.toFixed(6))), 100];
}

function unknownClientsOf({ books }: Outcome): number {
  return books.unreadClients + books.unplacedClients;
}

function isFlawless(outcome: Outcome): boolean {
  const { published, expected, delivered, doubled, outOfOrder } = outcome.books;
  return (
    unknownClientsOf(outcome) === 0 &&
    published > 0 &&
    delivered === expected &&
    doubled === 0 &&
    outOfOrder === 0 &&
    outcome.gaveUp === undefined
  );
}

function compressionOf(
  { connections }: LoadSettings,
  { books, tally }: Outcome,
): CompressionFigures {
  const wireBytes = tally.bytes;
  const plainBytes = wireBytes - tally.gzipBytes + tally.plainBytes;
  return {
    lines: Math.max(0, connections - books.uncompressedLines),
    wireBytes,
    plainBytes,
    ratio: wireBytes === 0 ? null : rounded(plainBytes / wireBytes),
    blocks: tally.blocks,
    inflatedBlocks: tally.inflatedBlocks,
  };
}

function mixFiguresOf(settings: LoadSettings, { books, tally }: Outcome): MixFigures | null {
  const mix = mixOf(settings);
  const { slow, stalled } = books.mix;
  if (slow.clients === 0 && stalled.clients === 0 && mix.reconnectsPerMinute === 0) return null;
  return {
    stalled,
    slow: { ...slow, bytesPerSecond: mix.slowBytesPerSecond },
    reconnects: {
      sharePerMinute: mix.reconnectsPerMinute,
      returns: tally.returns,
      refusedReturns: tally.refusedReturns,
    },
  };
}

/** What the server used; null where nothing is known of it. */
export function serverOf(
  pids: readonly number[],
  samples: readonly ServerSample[],
  { startUs, publishEndedUs }: Pick<Outcome, 'startUs' | 'publishEndedUs'>,
): ServerFigures | null {
  const [first] = samples;
  if (first === undefined) return null;
  const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));
  const tcpBytes = samples.map((sample) => sample.tcpBytes).filter((bytes) => bytes !== null);
  // A sample is of the time since the one before it, in which clients may still have connected.
  const shares = samples
    .filter(
      ({ atUs }, nth) => nth > 0 && samples[nth - 1]!.atUs >= startUs && atUs <= publishEndedUs,
    )
    .map(({ cpuShare }) => cpuShare)
    .filter((share) => share !== null);
  return {
    pids,
    rssBytesBefore: first.rssBytes,
    rssBytesMost: most(samples.map(({ rssBytes }) => rssBytes)),
    cpuShare:
      shares.length === 0
        ? null
        : rounded(shares.reduce((sum, share) => sum + share, 0) / shares.length),
    tcpBytesMost: tcpBytes.length === 0 ? null : most(tcpBytes),
  };
}

function publishSecondsOf({
  startUs,
  publishEndedUs,
}: Pick<Outcome, 'startUs' | 'publishEndedUs'>): number {
  return rounded((publishEndedUs - startUs) / 1e6);
}

/** To a thousandth. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
