/**
 * The books of one process: which events each checked client was given in this round, how often, in
 * what order and how late.
 */

import type { Histogram } from 'hdr-histogram-js';
import { createHistogram, recordUs } from './histogram.js';
import type { Published } from './published.js';

/**
 * What the server said is lost to a client: events with ids between the two; an end that it did not
 * know is null.
 */
export interface ReportedGap {
  readonly after: number | null;
  readonly before: number | null;
}

/** True when the event with that id is among what was told lost. */
export function isReportedLost(gaps: readonly ReportedGap[], id: number): boolean {
  return gaps.some(({ after, before }) => id > (after ?? -Infinity) && id < (before ?? Infinity));
}

/** One writer for each fact: clients call {@link Ledger.deliver}. Rows are clients. */
export class Ledger {
  readonly rows: number;
  readonly latencyUs: Histogram = createHistogram();
  /** Latencies since the owner emptied it: those of one second. */
  readonly secondUs: Histogram = createHistogram(2);
  /** Events that came to a client for the first time, over all clients. */
  delivered = 0;
  /** Events that came to a client again. */
  doubled = 0;
  /**
   * Events that came to a client after one with a higher id, or where the server gives no numbers,
   * after a later one.
   */
  outOfOrder = 0;
  /** Events that any client was given. */
  sequencesSeen = 0;
  /** A bit for each event that any client was given. */
  readonly seenByAny: Uint8Array;
  readonly #events: number;
  /** A bit for each event, row after row. */
  readonly #seen: Uint8Array;
  readonly #bytesPerRow: number;
  readonly #lastOrders: Float64Array;
  readonly #delivered: Uint32Array;
  readonly #doubled: Uint32Array;
  readonly #outOfOrder: Uint32Array;

  constructor(rows: number, events: number) {
    this.rows = rows;
    this.#events = events;
    this.#bytesPerRow = Math.ceil(events / 8);
    this.seenByAny = new Uint8Array(this.#bytesPerRow);
    this.#seen = new Uint8Array(this.#bytesPerRow * rows);
    this.#lastOrders = new Float64Array(rows).fill(-1);
    this.#delivered = new Uint32Array(rows);
    this.#doubled = new Uint32Array(rows);
    this.#outOfOrder = new Uint32Array(rows);
  }

  /**
   * An event has come to a client; `id` is NaN where the server gives no numbers. Throws when no
   * such event is in this round.
   */
  deliver(row: number, id: number, sequence: number, dueUs: number, atUs: number): void {
    if (!(sequence < this.#events))
      throw new Error(`an event came that is none of the run: number ${sequence}`);
    const byte = sequence >> 3;
    const bit = 1 << (sequence & 7);
    const at = row * this.#bytesPerRow + byte;
    if ((this.#seen[at]! & bit) !== 0) {
      this.doubled++;
      this.#doubled[row]!++;
      return;
    }
    this.#seen[at]! |= bit;
    if ((this.seenByAny[byte]! & bit) === 0) {
      this.seenByAny[byte]! |= bit;
      this.sequencesSeen++;
    }
    this.delivered++;
    this.#delivered[row]!++;
    const order = Number.isNaN(id) ? sequence : id;
    if (order > this.#lastOrders[row]!) this.#lastOrders[row] = order;
    else {
      this.outOfOrder++;
      this.#outOfOrder[row]!++;
    }
    recordUs(this.latencyUs, atUs - dueUs);
    recordUs(this.secondUs, atUs - dueUs);
  }

  /** Events that came to a row for the first time. */
  deliveredTo(row: number): number {
    return this.#delivered[row]!;
  }

  /** Events that came to a row again. */
  doubledTo(row: number): number {
    return this.#doubled[row]!;
  }

  /** Events that came to a row in the wrong order. */
  outOfOrderTo(row: number): number {
    return this.#outOfOrder[row]!;
  }

  /** Published events that a row was not given and was told to have lost. */
  lostInGaps(
    row: number,
    gaps: readonly ReportedGap[],
    { ids, bits }: Pick<Published, 'ids' | 'bits'>,
  ): number {
    let lost = 0;
    for (let byte = 0; byte < this.#bytesPerRow; byte++) {
      const missing = bits[byte]! & ~this.#seen[row * this.#bytesPerRow + byte]!;
      for (let nth = 0; missing >> nth !== 0; nth++) {
        if ((missing & (1 << nth)) !== 0 && isReportedLost(gaps, ids[byte * 8 + nth]!)) lost++;
      }
    }
    return lost;
  }

  /** Gives back what WebAssembly holds. */
  close(): void {
    this.latencyUs.destroy();
    this.secondUs.destroy();
  }
}
