/** What the coordinator of a run and its client processes say to each other. */

import type { Tally } from '../clients/client.js';
import type { Target } from '../clients/connection.js';
import type { RequestOrder, RequestsAnswered } from './request-loop.js';
import type { EventShape } from '../clients/encoding.js';
import type { ClientKind, Mix } from '../clients/mix.js';
import type { Part, Reasons } from '../books/books.js';
import type { Published } from '../books/published.js';
import type { Window } from '../books/ledger.js';
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
  readonly replay: Replay | undefined;
}

/**
 * What clients ask for when they connect, and must have been given before they count as subscribed:
 * the events after an id.
 */
export interface Replay {
  readonly afterId: number;
  readonly events: number;
  /** What those take on an event stream, without its framing. */
  readonly bytes: number;
  /** Events that were published, so that each has its place in the books. */
  readonly published: number;
}

/** What connecting came to in one process. */
export interface Joined {
  /** Clients that have subscribed. */
  readonly joined: number;
  /** Why others could not. After the first one no more are tried. */
  readonly failed: Reasons;
  /** True when the server answered none for a long time. */
  readonly hasStalled: boolean;
  /** When the first connect began, and when the last client was subscribed. */
  readonly firstConnectUs: number;
  readonly lastJoinUs: number;
}

export interface RoundOrder {
  readonly shape: EventShape;
  /** Events there will be at most. */
  readonly events: number;
  /** When the first is due; zero of the seconds. */
  readonly startUs: number;
  /** Clients of all processes. */
  readonly clients: number;
  /** What latencies are reported of; undefined for all. */
  readonly window: Window | undefined;
}

/** How a process stands. */
export interface Counts {
  /** When it stood so. */
  readonly atUs: number;
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
  open: { body: OpenOrder; answer: Joined };
  /** Connect no more. */
  halt: { body: void; answer: void };
  begin: { body: RoundOrder; answer: Counts };
  counts: { body: void; answer: Counts };
  /** From now on the process checks its sockets after sleeping for so many ms; see nap.ts. */
  nap: { body: number; answer: void };
  /** False: clients of long-poll that are given an event poll again only when this is true. */
  repoll: { body: boolean; answer: void };
  /** All normal clients drop their connections and come back. */
  herd: { body: void; answer: void };
  /** No client leaves by itself any more. */
  stay: { body: void; answer: void };
  seen: { body: void; answer: Seen };
  /** Without ids where nobody needs them: they are eight bytes for each event. */
  audit: { body: Pick<Published, 'count' | 'bits' | 'ids' | 'answeredUs'>; answer: Part };
  /** All clients leave; others may connect afterwards. */
  leave: { body: void; answer: void };
  /** Needs no clients: sends requests in a closed loop. */
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

/** What a process sends unasked, several times a second. */
export interface Update {
  readonly counts: Counts;
  /** A second that is over. */
  readonly slice: Slice | undefined;
}
