/**
 * When waiting for clients is over: they have everything, or nothing more comes. Ends a round.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { nowUs } from '../books/clock.js';
import type { Published } from '../books/published.js';
import type { FleetTotals } from './totals.js';

/** How long connecting may go on without a client that is subscribed, while one waits for it. */
export const CONNECT_STALL_MS = 10_000;

/**
 * How long after the last delivery the rest is given up; for short-polls at least two intervals.
 */
export const SETTLE_STALL_MS = 5_000;

/** How often it is checked whether everything has come. */
const CHECK_MS = 20;

/** How long doubled events may still come when everything has come. */
const AFTERMATH_MS = 100;

/**
 * How often in a row, an aftermath apart, nothing has come to clients that only count bytes until
 * they are taken to have everything: a busy machine holds a server, or the process that counts, for
 * longer than between two events. Once is enough where they have the very bytes of all events.
 */
const QUIET_LOOKS = 5;

/** Rounding of the events that are derived from bytes. */
const EVENTS_EPSILON = 0.001;

/** What `settle` waits for. */
export interface Publishing {
  readonly published: Published;
  /** Publishes that are due and not answered. */
  readonly pending: number;
  /** Publishes that were answered. */
  readonly answered: number;
}

/** What is waited for, and how long. */
export interface Settling {
  readonly publishing: Publishing;
  /** Ends the waiting at once. */
  isOver(this: void): boolean;
  /** False where some clients only count bytes. */
  readonly areAllChecked: boolean;
  readonly stallMs: number;
  readTotals(this: void): Promise<FleetTotals>;
}

/** Waits until everything that was published has come, or nothing more does for too long. */
export async function untilQuiet(settling: Settling): Promise<void> {
  const { publishing, isOver, areAllChecked, stallMs, readTotals } = settling;
  const publishedOf = ({ sequencesSeen }: FleetTotals): number =>
    Math.max(publishing.published.count, sequencesSeen);
  let before = -1;
  let progressUs = nowUs();
  while (!isOver() && nowUs() - progressUs < stallMs * 1000) {
    const totals = await readTotals();
    const { checkedClients, checkedDelivered, returning } = totals;
    const isDone = publishing.pending === 0 && returning === 0;
    if (isDone && checkedDelivered === publishedOf(totals) * checkedClients) break;
    // Bytes of clients that are not checked prove nothing: heartbeats are bytes, too.
    const progress = checkedDelivered + publishing.answered - returning;
    if (progress !== before) progressUs = nowUs();
    before = progress;
    await sleep(CHECK_MS);
  }
  await sleep(AFTERMATH_MS);
  // The checked clients may have the last event before the others do.
  if (areAllChecked) return;
  const untilUs = nowUs() + stallMs * 1000;
  let quietLooks = 0;
  for (let bytes = -1; !isOver() && nowUs() < untilUs; await sleep(AFTERMATH_MS)) {
    const totals = await readTotals();
    const { tally, delivered, joined } = totals;
    const now = tally.checkedBytes + tally.countedBytes + tally.gzipBytes;
    quietLooks = now === bytes ? quietLooks + 1 : 0;
    const hasAll = Math.abs(delivered - publishedOf(totals) * joined) < EVENTS_EPSILON;
    if (quietLooks >= (hasAll ? 1 : QUIET_LOOKS)) return;
    bytes = now;
  }
}
