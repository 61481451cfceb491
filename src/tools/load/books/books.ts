/** The books of a round: the parts of all processes together. */

import type { Histogram } from 'hdr-histogram-js';
import { addPacked, createHistogram } from './histogram.js';

/** Reasons, each with how often it was given. */
export type Reasons = readonly (readonly [reason: string, times: number])[];

/** The books of one process at the end of a round. */
export interface Part {
  readonly checked: {
    readonly clients: number;
    readonly delivered: number;
    readonly gapLost: number;
    readonly doubled: number;
    readonly outOfOrder: number;
    /** Clients that each of these happened to. */
    readonly losers: number;
    readonly doublers: number;
    readonly disordered: number;
    /** The most that one client lost. */
    readonly mostLost: number;
    /** Missing events after which their client was given no other; 0 without a window. */
    readonly underWay: number;
    /** Events that came under another id than the publisher was given; 0 without a window. */
    readonly idMismatches: number;
    /** Bytes that came to these clients, framing included. */
    readonly wireBytes: number;
    /** See ledger.ts. */
    readonly deliveringShare: number | undefined;
    /** Of the client that got least: events and bytes. */
    readonly leastDelivered: number;
    readonly leastWireBytes: number;
  };
  readonly counted: {
    readonly clients: number;
    readonly delivered: number;
    readonly gapLost: number;
    readonly losers: number;
    readonly mostLost: number;
    /** Clients that came back without knowing their position; no other figure has them. */
    readonly unplaced: number;
    /**
     * Events that came again, as bytes show, or out of order, too, where lines are gzip: then they
     * are read.
     */
    readonly disordered: number;
    /** Clients whose gzip could not be read; no other figure has them. */
    readonly unread: number;
  };
  /** Lines that are not gzip. */
  readonly uncompressed: number;
  /** Gaps that were reported to normal clients. */
  readonly gaps: number;
  readonly slow: {
    readonly clients: number;
    readonly delivered: number;
    readonly gaps: number;
    readonly cutOff: number;
  };
  readonly stalled: { readonly clients: number; readonly cutOff: number };
  readonly packedUs: string;
  /** From the answer to a publish until a client had the event; undefined without a window. */
  readonly packedAcceptToDeliverUs: string | undefined;
  /**
   * Clients that left in a herd, and those that are back; when the last one was back, and when it
   * had everything from before that; 0 for never.
   */
  readonly herd: {
    readonly clients: number;
    readonly back: number;
    readonly backAtUs: number;
    readonly caughtUpAtUs: number;
  };
  /** How late the process was to read what had come. */
  readonly lagMs: { readonly p99: number; readonly max: number };
  /** Why normal clients were cut off. */
  readonly cutOff: Reasons;
}

/** What became of a round's events. All but `mix` is of the clients that read normally. */
export interface Books {
  /** Events that the server took. */
  readonly published: number;
  /** Published events times clients. */
  readonly expected: number;
  /**
   * Deliveries that came, each counted once; of clients that are not checked they are derived from
   * the bytes that came.
   */
  readonly delivered: number;
  /** Deliveries that did not come, and that the server reported as lost. */
  readonly gapLost: number;
  /** Deliveries that did not come without a report. */
  readonly lost: number;
  /**
   * What came to a checked client again, and what came out of order; of clients that are not
   * checked the second has what came again, and what came out of order where their lines are gzip.
   */
  readonly doubled: number;
  readonly outOfOrder: number;
  /** Gaps that were reported to clients. */
  readonly gaps: number;
  /** Clients of which every event was read, and those whose bytes were counted. */
  readonly checkedClients: number;
  readonly countedClients: number;
  /** Counted clients that came back without knowing their position; no figure has them. */
  readonly unplacedClients: number;
  /** Counted clients whose gzip could not be read; no figure has them. */
  readonly unreadClients: number;
  /** Lines that are not gzip. */
  readonly uncompressedLines: number;
  /** Clients that each of these happened to, and the most that one client lost. */
  readonly losers: number;
  readonly doublers: number;
  readonly disordered: number;
  readonly mostLost: number;
  /** Of `delivered`, those that came to checked clients. */
  readonly checkedDelivered: number;
  /** Missing events of checked clients that were still under way when the books were closed. */
  readonly underWay: number;
  /** Events that came under another id than the publisher was given. */
  readonly idMismatches: number;
  /**
   * Share of a core that the busiest process used from its first delivery to its last; undefined
   * when something is missing.
   */
  readonly deliveringShare: number | undefined;
  /** Clients whose bytes were counted and to which something was lost. */
  readonly countedLosers: number;
  /** From the moment an event was due until a checked client had it. */
  readonly latencyUs: Histogram;
  /** From the answer to a publish until a checked client had the event; empty without a window. */
  readonly acceptToDeliverUs: Histogram;
  /** What became of a herd, see {@link Part}. */
  readonly herd: Part['herd'];
  readonly mix: MixBooks;
  /** Why clients were cut off. */
  readonly cutOff: ReadonlyMap<string, number>;
}

/** What became of the clients that do not read normally. */
export interface MixBooks {
  readonly slow: {
    readonly clients: number;
    readonly delivered: number;
    readonly gaps: number;
    readonly cutOff: number;
  };
  readonly stalled: { readonly clients: number; readonly cutOff: number };
}

/** The part of a process that checks no client. */
export const NO_CHECKED: Part['checked'] = {
  clients: 0,
  delivered: 0,
  gapLost: 0,
  doubled: 0,
  outOfOrder: 0,
  losers: 0,
  doublers: 0,
  disordered: 0,
  mostLost: 0,
  underWay: 0,
  idMismatches: 0,
  wireBytes: 0,
  deliveringShare: undefined,
  leastDelivered: 0,
  leastWireBytes: 0,
};

/** Adds the parts up. */
export function booksOf(parts: readonly Part[], published: number): Books {
  const sum = (of: (part: Part) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const largest = (of: (part: Part) => number): number => Math.max(...parts.map(of));
  const checkedClients = sum(({ checked }) => checked.clients);
  const countedClients = sum(({ counted }) => counted.clients);
  const delivered = sum(({ checked, counted }) => checked.delivered + counted.delivered);
  const gapLost = sum(({ checked, counted }) => checked.gapLost + counted.gapLost);
  const expected = published * (checkedClients + countedClients);
  const latencyUs = createHistogram();
  const acceptToDeliverUs = createHistogram();
  for (const { packedUs, packedAcceptToDeliverUs } of parts) {
    addPacked(latencyUs, packedUs);
    if (packedAcceptToDeliverUs !== undefined)
      addPacked(acceptToDeliverUs, packedAcceptToDeliverUs);
  }
  return {
    published,
    expected,
    delivered,
    gapLost,
    lost: expected - delivered - gapLost,
    doubled: sum(({ checked }) => checked.doubled),
    outOfOrder: sum(({ checked, counted }) => checked.outOfOrder + counted.disordered),
    gaps: sum(({ gaps }) => gaps),
    checkedClients,
    countedClients,
    unplacedClients: sum(({ counted }) => counted.unplaced),
    unreadClients: sum(({ counted }) => counted.unread),
    uncompressedLines: sum(({ uncompressed }) => uncompressed),
    losers: sum(({ checked, counted }) => checked.losers + counted.losers),
    doublers: sum(({ checked }) => checked.doublers),
    disordered: sum(({ checked }) => checked.disordered),
    mostLost: largest(({ checked, counted }) => Math.max(checked.mostLost, counted.mostLost)),
    checkedDelivered: sum(({ checked }) => checked.delivered),
    underWay: sum(({ checked }) => checked.underWay),
    idMismatches: sum(({ checked }) => checked.idMismatches),
    deliveringShare: parts.reduce<number | undefined>(
      (most, { checked: { deliveringShare: share } }) =>
        share === undefined ? most : Math.max(most ?? 0, share),
      undefined,
    ),
    countedLosers: sum(({ counted }) => counted.losers),
    latencyUs,
    acceptToDeliverUs,
    herd: {
      clients: sum(({ herd }) => herd.clients),
      back: sum(({ herd }) => herd.back),
      backAtUs: largest(({ herd }) => herd.backAtUs),
      caughtUpAtUs: largest(({ herd }) => herd.caughtUpAtUs),
    },
    mix: {
      slow: {
        clients: sum(({ slow }) => slow.clients),
        delivered: sum(({ slow }) => slow.delivered),
        gaps: sum(({ slow }) => slow.gaps),
        cutOff: sum(({ slow }) => slow.cutOff),
      },
      stalled: {
        clients: sum(({ stalled }) => stalled.clients),
        cutOff: sum(({ stalled }) => stalled.cutOff),
      },
    },
    cutOff: reasonsOf(parts.map(({ cutOff }) => cutOff)),
  };
}

/** How often each reason came, over all processes. */
export function reasonsOf(lists: readonly Reasons[]): ReadonlyMap<string, number> {
  const reasons = new Map<string, number>();
  for (const [reason, times] of lists.flat())
    reasons.set(reason, (reasons.get(reason) ?? 0) + times);
  return reasons;
}
