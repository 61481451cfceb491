/** The messages between the coordinator of a run and its client processes. */

import type { Tally } from '../clients/tally.js';
import type { Target } from '../clients/connection.js';
import type { RequestOrder, RequestsAnswered } from './request-loop.js';
import type { EventShape } from '../clients/encoding.js';
import type { ClientKind, Mix } from '../clients/mix.js';
import type { Part, Reasons } from '../books/books.js';
import type { Published } from '../books/published.js';
import type { Window } from '../books/ledger.js';
import type { Slice } from '../books/slicer.js';

/** What a process needs to know when it starts. */
export interface CohortOptions {
  readonly target: Target;
  readonly transport: ClientKind;
  /** Streams ask for gzip. */
  readonly compress: boolean;
  readonly processes: number;
  /**
   * Share of the normal clients that are checked for every event, 0 to 1; at least one in each
   * process.
   */
  readonly checkedShare: number;
  readonly mix: Mix;
  /** True when a herd will leave, so that each client must know its position. */
  readonly comeBack: boolean;
  /** How often each client of short-poll asks. */
  readonly pollIntervalMs: number;
}

/** Clients to connect, of consecutive rows; without a rate as fast as the server answers. */
export interface OpenOrder {
  readonly firstRow: number;
  readonly count: number;
  readonly ratePerSecond: number | undefined;
  readonly replay: Replay | undefined;
}

/**
 * What clients ask for when they connect: the events after an id. They count as subscribed when
 * they have them.
 */
export interface Replay {
  readonly afterId: number;
  readonly events: number;
  /** What they take on an event stream, without HTTP's framing. */
  readonly bytes: number;
  /** Events that were published so far: each needs a place in the books. */
  readonly published: number;
}

/** How connecting went in one process. */
export interface Joined {
  /** Clients that have subscribed. */
  readonly joined: number;
  /** Why others could not. Connecting stops after the first failure. */
  readonly failed: Reasons;
  /** True when the server stopped answering. */
  readonly hasStalled: boolean;
  /** When the first connect began, and when the last client was subscribed. */
  readonly firstConnectUs: number;
  readonly lastJoinUs: number;
}

export interface RoundOrder {
  readonly shape: EventShape;
  /** Events there will be at most. */
  readonly events: number;
  /** When the first is due; seconds are counted from then. */
  readonly startUs: number;
  /** Clients of all processes. */
  readonly clients: number;
  /** Latencies of these events are reported; undefined for all. */
  readonly window: Window | undefined;
}

/** What the clients of a process have been given. */
export interface Counts {
  /** When that was. */
  readonly atUs: number;
  readonly joined: number;
  /** Clients that have dropped their connection and are not back. */
  readonly returning: number;
  readonly checkedClients: number;
  /** Events that came to checked clients, each counted once. */
  readonly checkedDelivered: number;
  /** The same of all normal clients; for those that are not checked, derived from bytes. */
  readonly delivered: number;
  /** Different events that any client was given. */
  readonly sequencesSeen: number;
  readonly tally: Tally;
  /** Of this process since it began. */
  readonly cpuSeconds: number;
}

/** What came to the clients of a process. */
export interface Seen {
  /** A bit for each event that any client was given. */
  readonly bits: Uint8Array;
  /** True when an audit needs the ids of the events: where clients came back, or had gaps. */
  readonly needsIds: boolean;
}

/** Each order with its parameters and its answer. */
export interface Orders {
  start: { body: CohortOptions; answer: void };
  open: { body: OpenOrder; answer: Joined };
  /** Ends the connecting. */
  halt: { body: void; answer: void };
  begin: { body: RoundOrder; answer: Counts };
  counts: { body: void; answer: Counts };
  /** From now on the process checks its sockets after sleeping for so many ms; see nap.ts. */
  nap: { body: number; answer: void };
  /** Whether clients of long-poll that got an event poll again; those that have not do so now. */
  repoll: { body: boolean; answer: void };
  /** All normal clients drop their connections and come back. */
  herd: { body: void; answer: void };
  /** No client leaves by itself any more. */
  stay: { body: void; answer: void };
  seen: { body: void; answer: Seen };
  /** Without ids where they are not needed: they take eight bytes for each event. */
  audit: { body: Pick<Published, 'count' | 'bits' | 'ids' | 'answeredUs'>; answer: Part };
  /** All clients leave; others may connect afterwards. */
  leave: { body: void; answer: void };
  /** Sends requests in a closed loop; the process needs no clients. */
  requests: { body: RequestOrder; answer: RequestsAnswered };
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

/** What a process sends by itself, several times a second. */
export interface Update {
  readonly counts: Counts;
  /** A second that is over. */
  readonly slice: Slice | undefined;
}
