/** The books of a run: which events were published, and which of them each client was given, how often, in what order and how late. */

import { build, initWebAssembly, type Histogram } from 'hdr-histogram-js';

/** The longest latency that is told apart, µs: an hour. */
const LONGEST_US = 3_600_000_000;

// 17 ns a value, against 140 ns in JavaScript.
await initWebAssembly();

/** A histogram of µs with three significant digits. */
export function createHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    autoResize: false,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: true,
  });
}

/** Notes a time, which may be a little below 0 where clocks were rounded. */
export function recordUs(histogram: Histogram, us: number): void {
  histogram.recordValue(Math.min(LONGEST_US, Math.max(1, Math.round(us))));
}

/** One writer for each fact: clients call {@link Ledger.deliver}, the publisher {@link Ledger.accept}. */
export class Ledger {
  readonly clients: number;
  readonly latencyUs: Histogram = createHistogram();
  /** Events that came to a client for the first time, over all clients. */
  delivered = 0;
  /** Events that came to a client again. */
  doubled = 0;
  /** Events that came to a client after one with a higher id. */
  outOfOrder = 0;
  /** Gaps that clients were told of. */
  gaps = 0;
  /** Events that were published: accepted, or seen by a client though the answer to the publisher never came. */
  published = 0;
  readonly #isPublished: Uint8Array;
  /** A bit for each event, client after client. */
  readonly #seen: Uint8Array;
  readonly #bytesPerClient: number;
  readonly #lastIds: Float64Array;

  constructor(clients: number, events: number) {
    this.clients = clients;
    this.#isPublished = new Uint8Array(events);
    this.#bytesPerClient = Math.ceil(events / 8);
    this.#seen = new Uint8Array(this.#bytesPerClient * clients);
    this.#lastIds = new Float64Array(clients).fill(-1);
  }

  /** Deliveries that are owed: each published event to each client. */
  get expected(): number {
    return this.published * this.clients;
  }

  /** The server took the event: it has said so, or a client was given it. */
  accept(sequence: number): void {
    this.published += 1 - this.#isPublished[sequence]!;
    this.#isPublished[sequence] = 1;
  }

  /** An event has come to a client. Throws when no such event is in this run. */
  deliver(client: number, id: number, sequence: number, dueUs: number, atUs: number): void {
    if (!(sequence < this.#isPublished.length)) throw new Error(`an event came that is none of the run: number ${sequence}`);
    this.accept(sequence);
    const at = client * this.#bytesPerClient + (sequence >> 3);
    const bit = 1 << (sequence & 7);
    if ((this.#seen[at]! & bit) !== 0) {
      this.doubled++;
      return;
    }
    this.#seen[at]! |= bit;
    this.delivered++;
    if (id > this.#lastIds[client]!) this.#lastIds[client] = id;
    else this.outOfOrder++;
    recordUs(this.latencyUs, atUs - dueUs);
  }
}
