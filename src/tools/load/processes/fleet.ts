/**
 * The client processes of a run, as one: what they are ordered is split among them, and what they
 * tell is put together.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { booksOf, reasonsOf, type Books, type Part } from '../books/books.js';
import { emptyTally, type Tally } from '../clients/client.js';
import { ClientProcess } from './client-process.js';
import type { Target } from '../clients/connection.js';
import type { EventShape } from '../clients/encoding.js';
import { nowUs } from '../books/clock.js';
import type { Counts, OrderName, Orders } from './messages.js';
import { NO_MIX, type ClientKind, type Mix } from '../clients/mix.js';
import type { Published } from '../books/published.js';
import { Seconds, type Second } from '../books/seconds.js';

/**
 * How long after the last event that came the rest is given up. Short-polls get two of their
 * intervals.
 */
const SETTLE_STALL_MS = 5_000;

/** How often is looked whether everything has come. */
const LOOK_MS = 20;

/** How long is listened for doubles when everything has come. */
const AFTERMATH_MS = 100;

/** How long the processes may take to leave. */
const LEAVE_MS = 5_000;

const NO_IDS = new Float64Array(0);

const DEFAULT_POLL_INTERVAL_MS = 2_000;

/** What a fleet is made of. */
export interface FleetOptions {
  readonly target: Target;
  readonly transport: ClientKind;
  readonly processes: number;
  /**
   * Share of the clients that read normally of which every event is checked, 0 to 1; at least one
   * of a process. Polls all are.
   */
  readonly checkedShare: number;
  readonly mix?: Mix;
  /** True when `herd` is to be called. */
  readonly comeBack?: boolean;
  /** Cores for the processes, one after the other; Linux with `taskset`. */
  readonly cores?: readonly number[] | undefined;
  /** How often each client of short-poll asks. */
  readonly pollIntervalMs?: number;
}

/** What connecting came to. */
export interface FleetOpened {
  /** Clients that are subscribed, those from before included. */
  readonly lines: number;
  readonly seconds: number;
  /** Why others could not, with how often. After the first one a process tries no more. */
  readonly failed: ReadonlyMap<string, number>;
  /** True when the server did not answer any more. */
  readonly hasStalled: boolean;
}

/** How all processes stand together. */
export interface FleetTotals {
  /** Clients that are subscribed. */
  readonly joined: number;
  readonly returning: number;
  readonly checkedClients: number;
  readonly checkedDelivered: number;
  /** Different events that any client of the process that has seen most was given. */
  readonly sequencesSeen: number;
  /**
   * Events that came in this round; to clients that are not checked, as many as the bytes are that
   * came.
   */
  readonly delivered: number;
  readonly tally: Tally;
  /** Of each process since it began. */
  readonly cpuSeconds: readonly number[];
}

/** What `settle` waits for. */
export interface Publishing {
  readonly published: Published;
  /** Publishes that are due and not answered. */
  readonly pending: number;
  /** Publishes that were answered. */
  readonly answered: number;
}

/** A round as its clients saw it. */
export interface Settled {
  readonly books: Books;
  readonly seconds: readonly Second[];
  /** Of each process, see messages.ts. */
  readonly lagsMs: readonly Part['lagMs'][];
}

/** Clients in one process or several. They persist over rounds, each with books of its own. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #processes: readonly ClientProcess[];
  #rows = 0;
  #seconds: Seconds;

  private constructor(options: FleetOptions) {
    const { processes, cores } = options;
    this.#options = options;
    this.#seconds = new Seconds(processes);
    this.#processes = Array.from(
      { length: processes },
      (_, nth) =>
        new ClientProcess(cores?.[nth % cores.length], (slice) => this.#seconds.add(nth, slice)),
    );
  }

  /** Starts the processes. Throws {@link RunFailure} when they cannot be started. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { target, transport, processes, checkedShare, mix = NO_MIX, comeBack = false } = options;
    const { pollIntervalMs = DEFAULT_POLL_INTERVAL_MS } = options;
    const fleet = new Fleet(options);
    const groupOptions = {
      target,
      transport,
      processes,
      checkedShare,
      mix,
      comeBack,
      pollIntervalMs,
    };
    try {
      await fleet.#all('start', () => groupOptions);
    } catch (error) {
      await fleet.close();
      throw error;
    }
    return fleet;
  }

  /** Rejects with a {@link RunFailure} when one of the processes has ended. */
  get gone(): Promise<never> {
    return Promise.race(this.#processes.map((one) => one.gone));
  }

  /** Of the processes. */
  get pids(): readonly number[] {
    return this.#processes.map(({ pid }) => pid!);
  }

  /** The newest sums, at most 250 ms old. */
  get totals(): FleetTotals {
    return totalsOf(this.#processes.map(({ counts }) => counts));
  }

  /** The newest second of the round of which all processes have told. */
  get lastSecond(): Second | undefined {
    return this.#seconds.newest;
  }

  /**
   * Grows to so many clients, those that could not connect or were cut off included, which are not
   * tried again; not while a round is on. Without a rate it goes as fast as the server answers.
   */
  async open(lines: number, ratePerSecond?: number): Promise<FleetOpened> {
    const beganUs = nowUs();
    const { processes } = this.#options;
    const before = this.#rows;
    const fresh = Math.max(0, lines - before);
    this.#rows += fresh;
    const rowOf = (nth: number): number => before + Math.round((fresh * nth) / processes);
    const opened = await this.#all('open', (nth) => ({
      firstRow: rowOf(nth),
      count: rowOf(nth + 1) - rowOf(nth),
      ratePerSecond: ratePerSecond === undefined ? undefined : ratePerSecond / processes,
    }));
    const { joined } = await this.look();
    return {
      lines: joined,
      seconds: (nowUs() - beganUs) / 1e6,
      failed: reasonsOf(opened.map(({ failed }) => failed)),
      hasStalled: opened.some(({ hasStalled }) => hasStalled),
    };
  }

  /** Ends an `open` that is under way. */
  async halt(): Promise<void> {
    await this.#all('halt', () => undefined);
  }

  /**
   * Begins a round: from now on events of this shape are booked, up to so many. Its first is due at
   * `startUs`.
   */
  async begin(shape: EventShape, events: number, startUs: number): Promise<FleetTotals> {
    this.#seconds = new Seconds(this.#options.processes);
    return totalsOf(
      await this.#all('begin', () => ({ shape, events, startUs, clients: this.#rows })),
    );
  }

  /** Asks all processes how they stand. */
  async look(): Promise<FleetTotals> {
    return totalsOf(await this.#all('look', () => undefined));
  }

  /** All clients that read normally drop their connections and come back, at once. */
  async herd(): Promise<void> {
    await this.#all('herd', () => undefined);
  }

  /**
   * Ends a round: waits until everything that was published has come, or nothing more does, or
   * `isOver` says so, and balances the books.
   */
  async settle(publishing: Publishing, isOver: () => boolean = () => false): Promise<Settled> {
    const { published } = publishing;
    await this.#all('calm', () => undefined);
    await this.#untilQuiet(publishing, isOver);
    const seen = await this.#all('seen', () => undefined);
    for (const { bits } of seen) published.addBits(bits);
    const { count, bits, ids } = published;
    const parts = await this.#all('audit', (nth) => ({
      count,
      bits,
      ids: seen[nth]!.needsIds ? ids : NO_IDS,
    }));
    return {
      books: booksOf(parts, count),
      seconds: this.#seconds.end(),
      lagsMs: parts.map(({ lagMs }) => lagMs),
    };
  }

  /** Ends all connections and the processes. */
  async close(): Promise<void> {
    try {
      await Promise.race([
        this.#all('leave', () => undefined),
        sleep(LEAVE_MS, undefined, { ref: false }),
      ]);
    } catch {
      // A process that is gone has left.
    }
    await Promise.all(this.#processes.map((one) => one.close()));
  }

  async #untilQuiet(publishing: Publishing, isOver: () => boolean): Promise<void> {
    const { transport, pollIntervalMs = DEFAULT_POLL_INTERVAL_MS } = this.#options;
    const stallMs =
      transport === 'short-poll' ? Math.max(SETTLE_STALL_MS, 2 * pollIntervalMs) : SETTLE_STALL_MS;
    let before = -1;
    let progressUs = nowUs();
    while (!isOver() && nowUs() - progressUs < stallMs * 1000) {
      const { checkedClients, checkedDelivered, returning, sequencesSeen } = await this.look();
      const published = Math.max(publishing.published.count, sequencesSeen);
      if (
        publishing.pending === 0 &&
        returning === 0 &&
        checkedDelivered === published * checkedClients
      )
        break;
      // Bytes of clients that are not checked are no sign: heartbeats are bytes, too.
      const so = checkedDelivered + publishing.answered - returning;
      if (so !== before) progressUs = nowUs();
      before = so;
      await sleep(LOOK_MS);
    }
    await sleep(AFTERMATH_MS);
    // The last event reaches the checked clients before it has reached all.
    if (this.#options.checkedShare === 1 || transport.endsWith('poll')) return;
    const untilUs = nowUs() + stallMs * 1000;
    for (let bytes = -1; !isOver() && nowUs() < untilUs; await sleep(AFTERMATH_MS)) {
      const { tally } = await this.look();
      const now = tally.checkedBytes + tally.countedBytes;
      if (now === bytes) return;
      bytes = now;
    }
  }

  /** Gives every process an order; rejects when one of them could not follow. */
  #all<Name extends OrderName>(
    order: Name,
    bodyOf: (nth: number) => Orders[Name]['body'],
  ): Promise<Orders[Name]['answer'][]> {
    return Promise.all(this.#processes.map((one, nth) => one.ask(order, bodyOf(nth))));
  }
}

function totalsOf(parts: readonly (Counts | undefined)[]): FleetTotals {
  const known = parts.filter((part) => part !== undefined);
  const sum = (of: (counts: Counts) => number): number =>
    known.reduce((total, counts) => total + of(counts), 0);
  const tally = emptyTally();
  for (const counts of known) {
    for (const name of Object.keys(tally) as (keyof Tally)[]) tally[name] += counts.tally[name];
  }
  return {
    joined: sum(({ joined }) => joined),
    returning: sum(({ returning }) => returning),
    checkedClients: sum(({ checkedClients }) => checkedClients),
    checkedDelivered: sum(({ checkedDelivered }) => checkedDelivered),
    delivered: sum(({ delivered }) => delivered),
    sequencesSeen: Math.max(0, ...known.map(({ sequencesSeen }) => sequencesSeen)),
    tally,
    cpuSeconds: parts.map((counts) => counts?.cpuSeconds ?? 0),
  };
}
