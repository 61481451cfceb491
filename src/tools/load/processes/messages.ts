/** What the coordinator of a run and its client processes say to each other. */

import type { Tally } from '../clients/client.js';
import type { Target } from '../clients/connection.js';
import type { EventShape } from '../clients/encoding.js';
import type { Mix } from '../clients/mix.js';
import type { Published } from '../books/published.js';

/** How clients are served. */
export type Transport = 'sse' | 'ndjson' | 'ws' | 'long-poll' | 'short-poll';

/** How often a reason came. */
export type Reasons = readonly (readonly [reason: string, times: number])[];

/** What a process is told once. */
export interface GroupOptions {
  readonly target: Target;
  readonly transport: Transport;
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

/** What came in one second of a round. */
export interface Slice {
  /** Which one, from 0. */
  readonly second: number;
  readonly delivered: number;
  readonly bytes: number;
  /** Of the latencies, see histogram.ts. */
  readonly packedUs: string;
  /** Share of a core that the process used. */
  readonly busyShare: number;
}

/** The books of one process at the end of a round. */
export interface Part {
  readonly checked: {
    readonly clients: number;
    readonly delivered: number;
    readonly gapLost: number;
    readonly doubled: number;
    readonly outOfOrder: number;
    /** Clients to which each of these happened. */
    readonly losers: number;
    readonly doublers: number;
    readonly disordered: number;
    /** What the client that lost most lost. */
    readonly mostLost: number;
  };
  readonly counted: {
    readonly clients: number;
    readonly delivered: number;
    readonly gapLost: number;
    readonly losers: number;
    readonly mostLost: number;
    /** Clients that came back without knowing where they had been; they are in no other figure. */
    readonly unplaced: number;
  };
  /** Gaps that normal clients were told of. */
  readonly gaps: number;
  readonly slow: {
    readonly clients: number;
    readonly delivered: number;
    readonly gaps: number;
    readonly cutOff: number;
  };
  readonly stalled: { readonly clients: number; readonly cutOff: number };
  readonly packedUs: string;
  /**
   * Clients that left in a herd, and those that are back; when the last was, and had what it was
   * owed from before; 0 for never.
   */
  readonly herd: {
    readonly clients: number;
    readonly back: number;
    readonly backAtUs: number;
    readonly caughtUpAtUs: number;
  };
  /** How late the process got to what there was to read. */
  readonly lagMs: { readonly p99: number; readonly max: number };
  /** Why normal clients were cut off. */
  readonly cutOff: Reasons;
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
  start: { body: GroupOptions; answer: void };
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
