/**
 * The course of a run: what clients got and what server and clients used, on one clock and in a
 * bounded number of spans.
 */

import type { ServerSample } from '../processes/process-meter.js';
import type { Second } from '../books/seconds.js';

/** More than a plot has room for. */
const SPANS_MAX = 600;

/** What a run has measured. */
export interface Course {
  /** When the first event was due, by `nowUs()`: the zero of all times here. */
  readonly startUs: number;
  /** One for each second from then until the end. */
  readonly seconds: readonly Second[];
  /** The client processes. */
  readonly processes: readonly unknown[];
}

/**
 * One span. Null is unknown: what clients get before there are events, and what a server on another
 * machine uses.
 */
export interface Moment {
  /** The middle of the span, after the first event was due; less than 0 while clients connect. */
  readonly atSeconds: number;
  readonly deliveriesPerSecond: number | null;
  readonly bytesPerSecond: number | null;
  /** Where a span is longer than a second, the largest values of its seconds. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
  /** Share of a core that each client process used. */
  readonly clientBusyShares: readonly (number | null)[];
  readonly serverCpuShare: number | null;
  readonly serverRssBytes: number | null;
  /** What all TCP sockets of this machine had in buffers. */
  readonly tcpBytes: number | null;
}

/** The spans of a run; the first contains the first sample of the server. */
export interface Timeline {
  readonly spanSeconds: number;
  readonly moments: readonly Moment[];
}

/** Puts what the run and the meter have measured side by side. */
export function timelineOf(
  { startUs, seconds, processes }: Course,
  samples: readonly ServerSample[],
): Timeline {
  const secondOf = ({ atUs }: ServerSample): number => (atUs - startUs) / 1e6;
  const firstSecond = samples.length === 0 ? 0 : Math.min(0, Math.floor(secondOf(samples[0]!)));
  const spanSeconds = Math.max(1, Math.ceil((seconds.length - firstSecond) / SPANS_MAX));
  const firstSpan = Math.floor(firstSecond / spanSeconds);
  const spans = Math.ceil(seconds.length / spanSeconds) - firstSpan;
  const samplesBySpan: ServerSample[][] = Array.from({ length: spans }, () => []);
  for (const sample of samples)
    samplesBySpan[Math.floor(secondOf(sample) / spanSeconds) - firstSpan]?.push(sample);
  const moments = samplesBySpan.map((own, index): Moment => {
    const from = (firstSpan + index) * spanSeconds;
    const came = from < 0 ? [] : seconds.slice(from, from + spanSeconds);
    return {
      atSeconds: from + spanSeconds / 2,
      deliveriesPerSecond: mean(came.map(({ deliveries }) => deliveries)),
      bytesPerSecond: mean(came.map(({ bytes }) => bytes)),
      p50Ms: largest(came.map(({ p50Ms }) => p50Ms)),
      p99Ms: largest(came.map(({ p99Ms }) => p99Ms)),
      maxMs: largest(came.map(({ maxMs }) => maxMs)),
      clientBusyShares: processes.map((_, nth) =>
        mean(came.map(({ busyShares }) => busyShares[nth]!)),
      ),
      serverCpuShare: mean(own.map(({ cpuShare }) => cpuShare)),
      serverRssBytes: largest(own.map(({ rssBytes }) => rssBytes)),
      tcpBytes: largest(own.map(({ tcpBytes }) => tcpBytes)),
    };
  });
  return { spanSeconds, moments };
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

function largest(values: readonly (number | null)[]): number | null {
  return values.reduce<number | null>(
    (most, value) => (value === null || (most !== null && most >= value) ? most : value),
    null,
  );
}
