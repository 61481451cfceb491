/**
 * What a server of Holdline does under a demand, worked out from what its parts cost: how many
 * events share a write, how busy its core is, how long a sweep over its lines takes, and how much
 * is too much.
 *
 * The pump writes to each line everything that came since it wrote to it last (core/pump.ts). As
 * long as a sweep over all lines ends before the next event comes, each event is a write of its own
 * to each line, and CPU rises with rate × lines. From there on the core is never idle, sweeps
 * follow one another, and what comes during one goes out with the next: the batch grows until
 * writes are as large as a cork allows. Only past that is there too much.
 */

import { CORK_WRITE_BYTES_MAX } from '../../limits.js';

/**
 * A line that an event went out to less often than this gets heartbeats beside: the default of
 * `--heartbeat`, seconds.
 */
const HEARTBEAT_SECONDS = 15;

/**
 * Lines below which a write costs no less: the state of so few, ours and the kernel's, stays in the
 * core's caches. Above, a write costs more with each doubling, as less of it does.
 */
export const CACHED_LINES = 100;

/**
 * What the parts cost. Processor time of the server's process, the kernel's part of each `send()`
 * included.
 */
export interface Costs {
  /** Share of a core without any event. */
  readonly idleShare: number;
  /** µs a heartbeat. */
  readonly heartbeatUs: number;
  /**
   * µs an event: its publish, its encoding, the start of its sweep. By how busy the core is: on an
   * idle one caches have cooled and whoever is at the other end sleeps and has to be woken, on a
   * busy one neither. Between the two in proportion.
   */
  readonly idleEventUs: number;
  readonly busyEventUs: number;
  /** µs a write to a line, likewise. */
  readonly idleWriteUs: number;
  readonly busyWriteUs: number;
  /**
   * µs that a write costs more on a busy core for each time that the lines are e-fold {@link
   * CACHED_LINES}; on an idle one all is cold.
   */
  readonly manyLinesUs: number;
  /** µs a byte written. */
  readonly byteUs: number;
  /** Bytes that an event has on the wire beside its data. */
  readonly frameBytes: number;
  /** Bytes of a write when more is offered than goes out: events are not cut to fill a cork. */
  readonly fullWriteBytes: number;
}

/** How latency follows from the time of a sweep: `baseMs + sweeps × sweepMs`. */
export interface LatencyModel {
  readonly baseMs: number;
  readonly sweeps: number;
}

/** What is asked of one process. */
export interface Demand {
  readonly lines: number;
  /** Events that each line is given in a second. */
  readonly eventsPerSecond: number;
  /** Data of an event. */
  readonly eventBytes: number;
}

/** What comes of it. */
export interface Load {
  /** Share of a core, 1 at the most. */
  readonly busyShare: number;
  /** Events that share a write. */
  readonly batchEvents: number;
  /** Time of a sweep over all lines. */
  readonly sweepMs: number;
  readonly writesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly deliveriesPerSecond: number;
  /** Events a second above which publishers are held back: the lines do not take more. */
  readonly ceilingPerSecond: number;
  /**
   * Events a second above which each event is no write of its own any more, and latency begins to
   * bend.
   */
  readonly batchingPerSecond: number;
}

/** Bytes of an event as it is written. */
export function wireBytes({ frameBytes }: Costs, eventBytes: number): number {
  return frameBytes + eventBytes;
}

/** What the demand comes to. */
export function loadOf(costs: Costs, demand: Demand): Load {
  const { lines, eventBytes } = demand;
  const bytes = wireBytes(costs, eventBytes);
  const ceilingPerSecond = ceilingOf(costs, lines, bytes);
  // What is offered above the ceiling is not accepted.
  const eventsPerSecond = Math.min(demand.eventsPerSecond, ceilingPerSecond);
  const busyShare = Math.min(1, busyShareOf(costs, lines, eventsPerSecond, bytes));
  const batchEvents = busyShare < 1 ? 1 : batchOf(costs, lines, eventsPerSecond, bytes);
  const corks = corksOf(batchEvents * bytes);
  const visitUs = writeUs(costs, lines, busyShare) * corks + costs.byteUs * batchEvents * bytes;
  const deliveriesPerSecond = eventsPerSecond * lines;
  return {
    busyShare,
    batchEvents,
    sweepMs: (lines * visitUs) / 1000,
    writesPerSecond: (deliveriesPerSecond / batchEvents) * corks,
    bytesPerSecond: deliveriesPerSecond * bytes,
    deliveriesPerSecond,
    ceilingPerSecond,
    batchingPerSecond: rateOf(costs, lines, bytes, corksOf(bytes)),
  };
}

/**
 * Time of the sweep for an event that comes to an idle core: at low rates it is longer than at
 * middling ones.
 */
export function calmSweepMs(costs: Costs, lines: number, eventBytes: number): number {
  const bytes = wireBytes(costs, eventBytes);
  return (lines * (writeUs(costs, lines, 0) * corksOf(bytes) + costs.byteUs * bytes)) / 1000;
}

/** Processor time of a write to one of so many lines, µs, without its bytes. */
export function writeUs(
  { idleWriteUs, busyWriteUs, manyLinesUs }: Costs,
  lines: number,
  busyShare: number,
): number {
  return (
    idleWriteUs * (1 - busyShare) + (busyWriteUs + manyLinesUs * linesEffect(lines)) * busyShare
  );
}

/** How many times e-fold the lines are more than those that caches hold. */
export function linesEffect(lines: number): number {
  return Math.max(0, Math.log(lines / CACHED_LINES));
}

/** Writes that so many bytes to one line take. */
function corksOf(bytes: number): number {
  // A full write that was worked out as a multiple of an event may miss the cork by a rounding
  // error.
  return Math.max(1, Math.ceil(bytes / CORK_WRITE_BYTES_MAX - 1e-9));
}

/**
 * How busy the core is with a write for each event and line; above 1 it is not done in time. Prices
 * depend on the answer, in proportion, so the equation is one of the first degree: y = quiet +
 * bytes + (1 − y) × all at idle prices + y × all at busy prices.
 */
function busyShareOf(costs: Costs, lines: number, eventsPerSecond: number, bytes: number): number {
  const heartbeats = lines * Math.max(0, 1 / HEARTBEAT_SECONDS - eventsPerSecond);
  const quiet = costs.idleShare + heartbeats * costs.heartbeatUs * 1e-6;
  const written = eventsPerSecond * lines * bytes * costs.byteUs * 1e-6;
  const writes = lines * corksOf(bytes);
  const idle = eventsPerSecond * (costs.idleEventUs + writes * writeUs(costs, lines, 0)) * 1e-6;
  const busy = eventsPerSecond * (costs.busyEventUs + writes * writeUs(costs, lines, 1)) * 1e-6;
  const falling = 1 + idle - busy;
  return falling > 0 ? (quiet + written + idle) / falling : Infinity;
}

/**
 * Events in a write when sweeps follow one another, as many as come during one: k = rate × (lines ×
 * (write + k × bytes) + k × event).
 */
function batchOf(costs: Costs, lines: number, eventsPerSecond: number, bytes: number): number {
  const leftUs =
    availableUs(costs) - eventsPerSecond * (costs.busyEventUs + lines * bytes * costs.byteUs);
  // Below the ceiling there is something left, unless writes are for free.
  if (leftUs <= 0) return Math.max(1, costs.fullWriteBytes / bytes);
  return Math.max(1, (eventsPerSecond * lines * writeUs(costs, lines, 1)) / leftUs);
}

/** The rate at which writes are full. */
function ceilingOf(costs: Costs, lines: number, bytes: number): number {
  return rateOf(
    costs,
    lines,
    bytes,
    bytes >= costs.fullWriteBytes ? corksOf(bytes) : bytes / costs.fullWriteBytes,
  );
}

/** The rate at which the core has no time left, when an event takes so many writes to each line. */
function rateOf(costs: Costs, lines: number, bytes: number, writesAnEvent: number): number {
  return (
    availableUs(costs) /
    (costs.busyEventUs + lines * (writeUs(costs, lines, 1) * writesAnEvent + bytes * costs.byteUs))
  );
}

/** µs of a second that are left for events. */
function availableUs({ idleShare }: Costs): number {
  return Math.max(0.01, 1 - idleShare) * 1e6;
}

/** Latency of a percentile, from the moment an event was due. */
export function latencyMs({ baseMs, sweeps }: LatencyModel, sweepMs: number): number {
  return baseMs + sweeps * sweepMs;
}
