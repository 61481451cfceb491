/**
 * The books of one process: which events each checked client was given in this round, how often, in
 * what order and how late.
 */

import type { Histogram } from 'hdr-histogram-js';
import { createHistogram, recordUs } from './histogram.js';
import type { Published } from './published.js';
import { cpuSeconds } from './slicer.js';

/**
 * What the server reported as lost to a client: events with ids between the two. An end that the
 * server did not know is null.
 */
export interface ReportedGap {
  readonly after: number | null;
  readonly before: number | null;
}

/** True when the event with that id was reported as lost. */
export function isReportedLost(gaps: readonly ReportedGap[], id: number): boolean {
  return gaps.some(({ after, before }) => id > (after ?? -Infinity) && id < (before ?? Infinity));
}

/**
 * The part of a round whose latencies are reported, µs of clock.ts. With one, the ledger also keeps
 * when each client got each event, and under which id: 8 bytes for each client and event.
 */
export interface Window {
  readonly fromUs: number;
  readonly untilUs: number;
}

/** Rows are clients. Only {@link Ledger.deliver} writes to it. */
export class Ledger {
  readonly rows: number;
  readonly latencyUs: Histogram = createHistogram();
  /** Latencies since its owner reset it: those of one second. */
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
  /**
   * Share of a core that this process used from its first delivery to its last; undefined before
   * every client has every event.
   */
  deliveringShare: number | undefined;
  #first = { atUs: 0, cpuSeconds: 0 };
  /** A bit for each event that any client was given. */
  readonly seenByAny: Uint8Array;
  readonly #window: Window | undefined;
  readonly #fromUs: number;
  readonly #untilUs: number;
  readonly #events: number;
  /** A bit for each event, row after row. */
  readonly #seen: Uint8Array;
  readonly #bytesPerRow: number;
  readonly #lastOrders: Float64Array;
  readonly #delivered: Uint32Array;
  readonly #doubled: Uint32Array;
  readonly #outOfOrder: Uint32Array;
  /**
   * When each event came, row after row, 0 for never, and under which id; empty without a window.
   */
  readonly #deliveredUs: Float64Array;
  readonly #ids: Float64Array;
  #idConflicts = 0;

  constructor(rows: number, events: number, window?: Window) {
    this.rows = rows;
    this.#events = events;
    this.#window = window;
    this.#fromUs = window?.fromUs ?? -Infinity;
    this.#untilUs = window?.untilUs ?? Infinity;
    this.#bytesPerRow = Math.ceil(events / 8);
    this.seenByAny = new Uint8Array(this.#bytesPerRow);
    this.#seen = new Uint8Array(this.#bytesPerRow * rows);
    this.#lastOrders = new Float64Array(rows).fill(-1);
    this.#delivered = new Uint32Array(rows);
    this.#doubled = new Uint32Array(rows);
    this.#outOfOrder = new Uint32Array(rows);
    this.#deliveredUs = new Float64Array(window === undefined ? 0 : rows * events);
    this.#ids = new Float64Array(window === undefined ? 0 : events).fill(Number.NaN);
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
    if (this.delivered === 1) this.#first = { atUs, cpuSeconds: cpuSeconds() };
    if (this.delivered === this.rows * this.#events)
      this.deliveringShare =
        ((cpuSeconds() - this.#first.cpuSeconds) * 1e6) / Math.max(1, atUs - this.#first.atUs);
    const order = orderOf(id, sequence);
    if (order > this.#lastOrders[row]!) this.#lastOrders[row] = order;
    else {
      this.outOfOrder++;
      this.#outOfOrder[row]!++;
    }
    if (dueUs >= this.#fromUs && dueUs < this.#untilUs) recordUs(this.latencyUs, atUs - dueUs);
    recordUs(this.secondUs, atUs - dueUs);
    if (this.#window !== undefined) this.#keep(row, id, sequence, atUs);
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

  /** Published events that a row was not given and that were reported as lost. */
  lostInGaps(
    row: number,
    gaps: readonly ReportedGap[],
    { ids, bits }: Pick<Published, 'ids' | 'bits'>,
  ): number {
    return this.#countMissing(row, bits, (sequence) => isReportedLost(gaps, ids[sequence]!));
  }

  /** Published events that a row was not given, and after which it was given none. */
  underWayTo(row: number, { ids, bits }: Pick<Published, 'ids' | 'bits'>): number {
    const last = this.#lastOrders[row]!;
    return this.#countMissing(row, bits, (sequence) => orderOf(ids[sequence]!, sequence) > last);
  }

  /** Events that came under another id than the publisher or another client was given. */
  idMismatches(ids: Float64Array): number {
    return this.#ids.reduce(
      (count, id, sequence) => count + (Math.abs(id - (ids[sequence] ?? Number.NaN)) > 0 ? 1 : 0),
      this.#idConflicts,
    );
  }

  /**
   * From the answer to a publish until each row had the event, of the answers within the window. An
   * event may overtake the answer; that counts as none.
   */
  acceptToDeliverUs(answeredUs: Float64Array): Histogram {
    const histogram = createHistogram();
    for (const [at, deliveredUs] of this.#deliveredUs.entries()) {
      const answered = answeredUs[at % this.#events]!;
      if (deliveredUs !== 0 && answered >= this.#fromUs && answered < this.#untilUs)
        recordUs(histogram, deliveredUs - answered);
    }
    return histogram;
  }

  /** Frees what WebAssembly holds. */
  close(): void {
    this.latencyUs.destroy();
    this.secondUs.destroy();
  }

  #keep(row: number, id: number, sequence: number, atUs: number): void {
    this.#deliveredUs[row * this.#events + sequence] = atUs;
    const known = this.#ids[sequence]!;
    if (Number.isNaN(known)) this.#ids[sequence] = id;
    else if (Math.abs(known - id) > 0) this.#idConflicts++;
  }

  /** Published events that a row was not given and that the test holds for. */
  #countMissing(row: number, bits: Uint8Array, test: (sequence: number) => boolean): number {
    let count = 0;
    for (let byte = 0; byte < this.#bytesPerRow; byte++) {
      const missing = bits[byte]! & ~this.#seen[row * this.#bytesPerRow + byte]!;
      for (let nth = 0; missing >> nth !== 0; nth++)
        if ((missing & (1 << nth)) !== 0 && test(byte * 8 + nth)) count++;
    }
    return count;
  }
}

/** What events are ordered by: their ids, or where those are no numbers, their sequence. */
function orderOf(id: number, sequence: number): number {
  return Number.isNaN(id) ? sequence : id;
}
