/**
 * How one server behaves under a demand, computed from the costs of its parts: how many events
 * share a write, how busy its core is, how long a sweep over its lines takes, and the highest rate.
 *
 * The pump writes to each line everything that has arrived since its last write (core/pump.ts).
 * While a sweep over all lines ends before the next event arrives, each event is a separate write
 * to each line, and CPU grows with rate × lines. Above that the core is never idle: one sweep
 * follows another, and what arrives during one goes out with the next. Writes then grow until they
 * are as large as a cork allows, which is the highest rate.
 */

import { headsPerSweepOf } from '../../core/compressed-slices.js';
import { blockUsOf, plainBytesMax, ratioOf, type Compression } from './compression.js';

/** A line without an event for so many seconds gets a heartbeat: the default of `--heartbeat`. */
const HEARTBEAT_SECONDS = 15;

/**
 * The state of so many lines, ours and the kernel's, fits into the core's caches. With more lines a
 * write costs more with each doubling.
 */
export const CACHED_LINES = 100;

/** What the parts cost: the server's processor time, with the kernel's part of each `send()`. */
export interface Costs {
  /** Share of a core that is used without events and heartbeats. */
  readonly idleShare: number;
  /** µs a heartbeat. */
  readonly heartbeatUs: number;
  /**
   * µs an event: its publish, its encoding, the start of its sweep. On an idle core caches are cold
   * and the readers have to be woken; on a busy core neither is so. In between the cost is in
   * proportion.
   */
  readonly idleEventUs: number;
  readonly busyEventUs: number;
  /** µs a write to a line, on an idle and on a busy core. */
  readonly idleWriteUs: number;
  readonly busyWriteUs: number;
  /**
   * Additional µs of a write on a busy core, times the natural logarithm of lines ÷ {@link
   * CACHED_LINES}. On an idle core all state is cold anyway.
   */
  readonly manyLinesUs: number;
  /** µs a byte written. */
  readonly byteUs: number;
  /** Bytes of an event on the wire besides its data. */
  readonly frameBytes: number;
  /** Bytes of the largest write: a cork, or more with a build of uWebSockets.js that keeps them. */
  readonly writeBytesMax: number;
  /** Bytes of a write at the highest rate: less than the largest, since events are not cut. */
  readonly fullWriteBytes: number;
  /** With `--compress shared`, what it changes; undefined without. */
  readonly compression?: Compression | undefined;
}

/** Latency as a linear model of the time of a sweep: `baseMs + sweeps × sweepMs`. */
export interface LatencyModel {
  readonly baseMs: number;
  readonly sweeps: number;
}

/** What is asked of one process. */
export interface Demand {
  readonly lines: number;
  /** Events a second that each line receives. */
  readonly eventsPerSecond: number;
  /** Data of an event. */
  readonly eventBytes: number;
}

/** What the demand leads to. */
export interface Load {
  /** Share of a core, at most 1. */
  readonly busyShare: number;
  /** Events that share a write. */
  readonly batchEvents: number;
  /** Time of a sweep over all lines. */
  readonly sweepMs: number;
  readonly writesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly deliveriesPerSecond: number;
  /** Events a second above which publishers are held back. */
  readonly ceilingPerSecond: number;
  /** Events a second above which events share writes. */
  readonly batchingPerSecond: number;
}

/** Bytes of an event that is written alone, on the wire. */
export function wireBytes(costs: Costs, eventBytes: number): number {
  return wireBytesIn(costs, eventBytes, 1);
}

/** Bytes of each of so many events in one write, on the wire. */
function wireBytesIn(
  { frameBytes, compression }: Costs,
  eventBytes: number,
  events: number,
): number {
  const plainBytes = frameBytes + eventBytes;
  return compression === undefined
    ? plainBytes
    : plainBytes / ratioOf(compression, events * plainBytes);
}

/** The load that a demand leads to. */
export function loadOf(costs: Costs, demand: Demand): Load {
  return costs.compression === undefined
    ? plainLoadOf(costs, demand)
    : compressedLoadOf(costs, costs.compression, demand);
}

/**
 * The load with `--compress shared`: that of smaller events, each of which costs its share of the
 * compressor's time, for all lines together. How small they are depends on how many share a block,
 * and that on the load, so the number is searched at which both agree.
 */
function compressedLoadOf(costs: Costs, compression: Compression, demand: Demand): Load {
  const { eventBytes } = demand;
  const plainBytes = costs.frameBytes + eventBytes;
  const eventsMax = Math.max(1, plainBytesMax(compression) / plainBytes);
  /** As if events were of the size that they have in blocks of so many. */
  const costsIn = (events: number): Costs => {
    const bytes = wireBytesIn(costs, eventBytes, events);
    // While sweeps follow one another, lines are brought to so many heads in each, and a block of
    // its own leads on from each.
    const blocks = Math.min(headsPerSweepOf(events * plainBytes), events);
    const eventUs = (blocks * blockUsOf(compression, events * plainBytes)) / events;
    return {
      ...costs,
      compression: undefined,
      frameBytes: bytes - eventBytes,
      idleEventUs: costs.idleEventUs + eventUs,
      busyEventUs: costs.busyEventUs + eventUs,
      fullWriteBytes: Math.max(bytes, eventsMax * bytes),
    };
  };
  const full = costsIn(eventsMax);
  const ceilingPerSecond = ceilingOf(full, demand.lines, wireBytes(full, eventBytes));
  const within = { ...demand, eventsPerSecond: Math.min(demand.eventsPerSecond, ceilingPerSecond) };
  const batchIn = (events: number): number => plainLoadOf(costsIn(events), within).batchEvents;
  let low = 1;
  let high = eventsMax;
  if (batchIn(1) <= 1) high = 1;
  for (let step = 0; step < 40 && high - low > 1e-3; step++) {
    const middle = (low + high) / 2;
    if (batchIn(middle) > middle) low = middle;
    else high = middle;
  }
  // Where a few more events in a block halve the number of blocks, none agrees: those are it, then.
  const load = plainLoadOf(costsIn(high), within, high);
  return {
    ...load,
    // The block is made before its first write.
    sweepMs: load.sweepMs + blockUsOf(compression, high * plainBytes) / 1000,
    ceilingPerSecond,
    batchingPerSecond: plainLoadOf(costsIn(1), within).batchingPerSecond,
  };
}

/** `batchEvents`: events that share a write, where that is known. */
function plainLoadOf(costs: Costs, demand: Demand, batchEvents?: number): Load {
  const { lines, eventBytes } = demand;
  const bytes = wireBytes(costs, eventBytes);
  const ceilingPerSecond = ceilingOf(costs, lines, bytes);
  // What is offered above the ceiling is not accepted.
  const eventsPerSecond = Math.min(demand.eventsPerSecond, ceilingPerSecond);
  const busyShare = Math.min(1, busyShareOf(costs, lines, eventsPerSecond, bytes));
  batchEvents ??= busyShare < 1 ? 1 : batchOf(costs, lines, eventsPerSecond, bytes);
  const corks = corksOf(costs, batchEvents * bytes);
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
    batchingPerSecond: rateOf(costs, lines, bytes, corksOf(costs, bytes)),
  };
}

/** Time of a sweep on an idle core, which is longer than on a core that is somewhat busy. */
export function idleSweepMs(costs: Costs, lines: number, eventBytes: number): number {
  const bytes = wireBytes(costs, eventBytes);
  return (lines * (writeUs(costs, lines, 0) * corksOf(costs, bytes) + costs.byteUs * bytes)) / 1000;
}

/** Processor time of a write to one of so many lines, without its bytes, µs. */
export function writeUs(
  { idleWriteUs, busyWriteUs, manyLinesUs }: Costs,
  lines: number,
  busyShare: number,
): number {
  return (
    idleWriteUs * (1 - busyShare) + (busyWriteUs + manyLinesUs * linesEffect(lines)) * busyShare
  );
}

/** The factor of `manyLinesUs` for so many lines. */
export function linesEffect(lines: number): number {
  return Math.max(0, Math.log(lines / CACHED_LINES));
}

/** Writes that so many bytes to one line take. */
function corksOf({ writeBytesMax }: Costs, bytes: number): number {
  // A full write that was computed as a multiple of an event may exceed the largest one by a
  // rounding error.
  return Math.max(1, Math.ceil(bytes / writeBytesMax - 1e-9));
}

/**
 * How busy the core is when each event is a write to each line; above 1 the core has no time for
 * that. The costs depend on the result y in proportion, so the equation is linear: y = quiet +
 * bytes + (1 − y) × costs on an idle core + y × costs on a busy core.
 */
function busyShareOf(costs: Costs, lines: number, eventsPerSecond: number, bytes: number): number {
  const heartbeats = lines * Math.max(0, 1 / HEARTBEAT_SECONDS - eventsPerSecond);
  const quiet = costs.idleShare + heartbeats * costs.heartbeatUs * 1e-6;
  const written = eventsPerSecond * lines * bytes * costs.byteUs * 1e-6;
  const writes = lines * corksOf(costs, bytes);
  const idle = eventsPerSecond * (costs.idleEventUs + writes * writeUs(costs, lines, 0)) * 1e-6;
  const busy = eventsPerSecond * (costs.busyEventUs + writes * writeUs(costs, lines, 1)) * 1e-6;
  const divisor = 1 + idle - busy;
  return divisor > 0 ? (quiet + written + idle) / divisor : Infinity;
}

/**
 * Events in a write when sweeps follow one another. Each takes the k events that arrived during the
 * one before: k = rate × (lines × (write + k × bytes) + k × event).
 */
function batchOf(costs: Costs, lines: number, eventsPerSecond: number, bytes: number): number {
  const leftUs =
    availableUs(costs) - eventsPerSecond * (costs.busyEventUs + lines * bytes * costs.byteUs);
  // Below the ceiling time is left, unless writes cost nothing.
  if (leftUs <= 0) return Math.max(1, costs.fullWriteBytes / bytes);
  return Math.max(1, (eventsPerSecond * lines * writeUs(costs, lines, 1)) / leftUs);
}

/** The highest rate: writes are full. */
function ceilingOf(costs: Costs, lines: number, bytes: number): number {
  return rateOf(
    costs,
    lines,
    bytes,
    bytes >= costs.fullWriteBytes ? corksOf(costs, bytes) : bytes / costs.fullWriteBytes,
  );
}

/** The rate at which the core has no time left, given the writes an event takes to each line. */
function rateOf(costs: Costs, lines: number, bytes: number, writesAnEvent: number): number {
  return (
    availableUs(costs) /
    (costs.busyEventUs + lines * (writeUs(costs, lines, 1) * writesAnEvent + bytes * costs.byteUs))
  );
}

/** µs of a second that are available for events. */
function availableUs({ idleShare }: Costs): number {
  return Math.max(0.01, 1 - idleShare) * 1e6;
}

/** Latency from the moment an event was due. */
export function latencyMs({ baseMs, sweeps }: LatencyModel, sweepMs: number): number {
  return baseMs + sweeps * sweepMs;
}
