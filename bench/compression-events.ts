/** The events of *Compression*: market ticks, as they are and with random values. */
import { STAMP_BYTES } from '../dist/tools/load/clients/event.js';
import type { EventBody } from '../dist/tools/load/run/publisher.js';
import { RANDOM_TICK_ENTROPY_BYTES, randomTicks, ticks } from '../test/support/ticks.js';

export const EVENT_KINDS = ['ticks', 'random ticks'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** Characters of the longest tick; spaces follow shorter ones, two in the mean. */
const TICK_BYTES: Record<EventKind, number> = { ticks: 187, 'random ticks': 193 };

/** Data of an event, with the stamp of the load tool: run, number and time. */
export function eventBytesOf(kind: EventKind): number {
  return STAMP_BYTES + TICK_BYTES[kind];
}

/** The same events in each round. */
export function bodiesOf(kind: EventKind): EventBody {
  return kind === 'ticks' ? ticks(1) : randomTicks(1);
}

/**
 * How many times smaller random ticks could become at all, given so many bytes on the wire: what an
 * ideal coder that knows all but the random values would give.
 */
export function ratioBound(wireBytesPerDelivery: number): number {
  return wireBytesPerDelivery / RANDOM_TICK_ENTROPY_BYTES;
}
