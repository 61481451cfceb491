/** What the coordinator of a run and its client processes say to each other. */

import type { Tally } from '../clients/client.js';
import type { Target } from '../clients/connection.js';
import type { EventShape } from '../clients/encoding.js';
import type { ClientKind, Mix } from '../clients/mix.js';
import type { Part, Reasons } from '../books/books.js';
import type { Published } from '../books/published.js';
import type { Slice } from '../books/slicer.js';

/** What a process is told once. */
export interface CohortOptions {
  readonly target: Target;
  readonly transport: ClientKind;
  readonly processes: number;
  /**
   * Share of the clients that read normally of which every event is checked, 0 to 1; at least one
   * of a process.
   */
  readonly checkedShare: number;
  readonly mix: Mix;
  /** True when a herd is to come, so that each client must know where it is. */
  readonly comeBack: boolean;
  /** How often each client of short-poll asks. */
  readonly pollIntervalMs: number;
}

/** Clients to connect: those of these rows, one each 1 ÷ rate seconds, or as fast as it goes. */
export interface OpenOrder {
  readonly firstRow: number;
  readonly count: number;
  readonly ratePerSecond: number | undefined;
}

export interface Opened {
  /** Clients that have subscribed. */
  readonly joined: number;
  /** Why others could not. After the first one no more are tried. */
  readonly failed: Reasons;
  /** True when the server answered none for a long time. */
  readonly hasStalled: boolean;
}

export interface RoundOrder {
  readonly shape: EventShape;
  /** Events there will be at most. */
  readonly events: number;
  /** When the first is due; zero of the seconds. */
  readonly startUs: number;
  /** Clients of all processes. */
  readonly clients: number;
}

/** How a process stands. */
export interface Counts {
  readonly joined: number;
  /** Clients that have dropped their connection and are not back. */
  readonly returning: number;
  readonly checkedClients: number;
  /** Events that came to checked clients, each once. */
  readonly checkedDelivered: number;
  /** The same of all normal clients, with those of the others taken from their bytes. */
  readonly delivered: number;
  /** Different events that any client was given. */
  readonly sequencesSeen: number;
  readonly tally: Tally;
  /** Of this process since it began. */
  readonly cpuSeconds: number;
}

/** What the clients of a process have seen. */
export interface Seen {
  /** A bit for each event that any client was given. */
  readonly bits: Uint8Array;
  /** True when an audit needs the ids of the events: clients came back, or were told of gaps. */
  readonly needsIds: boolean;
}

/** Each order with what it is given and what it answers. */
export interface Orders {
  start: { body: CohortOptions; answer: void };
  open: { body: OpenOrder; answer: Opened };
  /** Connect no more. */
  halt: { body: void; answer: void };
  begin: { body: RoundOrder; answer: Counts };
  look: { body: void; answer: Counts };
  /** All normal clients drop their connections and come back. */
  herd: { body: void; answer: void };
  /** Nobody leaves any more. */
  calm: { body: void; answer: void };
  seen: { body: void; answer: Seen };
  /** Without ids where nobody needs them: they are eight bytes for each event. */
  audit: { body: Pick<Published, 'count' | 'bits' | 'ids'>; answer: Part };
  /** All clients leave. */
  leave: { body: void; answer: void };
}

export type OrderName = keyof Orders;

/** An order on its way, and its answer. */
export interface Ask {
  readonly ask: number;
  readonly order: OrderName;
  readonly body: unknown;
}

export type Reply =
  | { readonly ask: number; readonly answer: unknown }
  | { readonly ask: number; readonly error: string };

/** What a process tells unasked, several times a second. */
export interface News {
  readonly counts: Counts;
  /** A second that is over. */
  readonly slice: Slice | undefined;
}
