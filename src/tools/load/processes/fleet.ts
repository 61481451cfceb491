/** The client processes of a run: splits each order among them and merges their answers. */

import { setTimeout as sleep } from 'node:timers/promises';
import { booksOf, reasonsOf, type Books, type Part } from '../books/books.js';
import { CONNECT_STALL_MS, SETTLE_STALL_MS, untilQuiet, type Publishing } from './settling.js';
import { ClientProcess } from './client-process.js';
import type { Target } from '../clients/connection.js';
import type { EventShape } from '../clients/encoding.js';
import { nowUs } from '../books/clock.js';
import { CountingProcess, type LineBytes } from './counting-process.js';
import { totalsOf, type FleetTotals } from './totals.js';
import type { Joined, OrderName, Orders, Replay } from './messages.js';
import { NO_MIX, type ClientKind, type Mix } from '../clients/mix.js';
import { Seconds, type Second } from '../books/seconds.js';
import type { Window } from '../books/ledger.js';

/** How long the processes may take to leave. */
const LEAVE_MS = 5_000;

const NO_IDS = new Float64Array(0);

const DEFAULT_POLL_INTERVAL_MS = 2_000;

/** What a fleet is made of. */
export interface FleetOptions {
  readonly target: Target;
  readonly transport: ClientKind;
  /** Event streams and NDJSON streams ask for gzip; false by default. */
  readonly compress?: boolean;
  readonly processes: number;
  /**
   * Share of the normal clients that are checked for every event, 0 to 1; at least one in each
   * process. Polls are all checked.
   */
  readonly checkedShare: number;
  readonly mix?: Mix;
  /** True when `herd` will be called. */
  readonly comeBack?: boolean;
  /** Cores for the processes, one after the other; Linux with `taskset`. */
  readonly cores?: readonly number[] | undefined;
  /** How often each client of short-poll asks. */
  readonly pollIntervalMs?: number;
  /**
   * The compiled byte-counter.c, which then holds all clients but the checked ones. Only for
   * streams and WebSockets that read normally.
   */
  readonly byteCounter?: string | undefined;
}

/** How clients connect. */
export interface OpenOptions {
  /** Clients in a second; without it as fast as the server answers. */
  readonly ratePerSecond?: number | undefined;
  readonly replay?: Replay | undefined;
  /** Checked and counted clients connect side by side: the time it takes is what is measured. */
  readonly atOnce?: boolean;
}

/** How connecting went. */
export interface FleetOpened {
  /** Clients that are subscribed, those from before included. */
  readonly lines: number;
  readonly seconds: number;
  /** Why others could not. A process stops connecting after the first failure. */
  readonly failed: ReadonlyMap<string, number>;
  /** True when the server stopped answering. */
  readonly hasStalled: boolean;
  /** When the first connect began, and when the last client was subscribed. */
  readonly firstConnectUs: number;
  readonly lastJoinUs: number;
}

/** A round as its clients experienced it. */
export interface Settled {
  readonly books: Books;
  readonly seconds: readonly Second[];
  /** Loop delay of each process, see messages.ts. */
  readonly lagsMs: readonly Part['lagMs'][];
}

/** Clients in one process or several. They persist over rounds, each with books of its own. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #processes: readonly ClientProcess[];
  readonly #counter: CountingProcess | undefined;
  #rows = 0;
  #isHalted = false;
  #seconds: Seconds;

  private constructor(options: FleetOptions) {
    const { processes, cores, byteCounter, target, transport, compress } = options;
    this.#options = options;
    this.#counter =
      byteCounter === undefined
        ? undefined
        : new CountingProcess(
            byteCounter,
            target,
            transport,
            cores?.[processes % cores.length],
            compress,
          );
    this.#seconds = new Seconds(processes);
    this.#processes = Array.from(
      { length: processes },
      (_, nth) =>
        new ClientProcess(cores?.[nth % cores.length], (slice) => this.#seconds.add(nth, slice)),
    );
  }

  /** Starts the processes. Throws {@link RunFailure} when they cannot be started. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { target, transport, processes, mix = NO_MIX, comeBack = false, byteCounter } = options;
    const { pollIntervalMs = DEFAULT_POLL_INTERVAL_MS, compress = false } = options;
    const fleet = new Fleet(options);
    const cohortOptions = {
      target,
      transport,
      compress,
      processes,
      checkedShare: byteCounter === undefined ? options.checkedShare : 1,
      mix,
      comeBack,
      pollIntervalMs,
    };
    try {
      await fleet.#order('start', () => cohortOptions);
    } catch (error) {
      await fleet.close();
      throw error;
    }
    return fleet;
  }

  /** Rejects with a {@link RunFailure} when one of the processes has ended. */
  get gone(): Promise<never> {
    return Promise.race(this.#all.map((one) => one.gone));
  }

  /** Process ids, the byte counter's too. */
  get pids(): readonly number[] {
    return this.#all.map(({ pid }) => pid!);
  }

  /** The newest sums, at most 250 ms old. */
  get totals(): FleetTotals {
    return totalsOf(this.#all.map(({ counts }) => counts));
  }

  /** Bytes of the lines of the byte counter, as {@link readTotals} last found them. */
  get lineBytes(): LineBytes | undefined {
    return this.#counter?.lineBytes;
  }

  /** The newest second of the round that all processes have reported. */
  get lastSecond(): Second | undefined {
    return this.#seconds.newest;
  }

  /**
   * Grows to so many clients, not during a round. Clients that could not connect or were cut off
   * count, and are not tried again.
   */
  async open(lines: number, options: OpenOptions = {}): Promise<FleetOpened> {
    const beganUs = nowUs();
    const before = this.#rows;
    const fresh = Math.max(0, lines - before);
    this.#rows += fresh;
    this.#isHalted = false;
    const opened =
      this.#counter === undefined
        ? await this.#openEvenly(before, fresh, options)
        : await this.#openBeside(this.#counter, before, fresh, options);
    const { joined } = await this.readTotals();
    return {
      lines: joined,
      seconds: (nowUs() - beganUs) / 1e6,
      failed: reasonsOf(opened.map(({ failed }) => failed)),
      hasStalled: opened.some(({ hasStalled }) => hasStalled),
      firstConnectUs: Math.min(...opened.map(({ firstConnectUs }) => firstConnectUs)),
      lastJoinUs: Math.max(...opened.map(({ lastJoinUs }) => lastJoinUs)),
    };
  }

  /** Stops connecting. A turn of the byte counter that has begun is finished. */
  async halt(): Promise<void> {
    this.#isHalted = true;
    await this.#order('halt', () => undefined);
  }

  /**
   * Begins a round: from now on events of this shape are recorded, at most that many. The first is
   * due at `startUs`.
   */
  async begin(
    shape: EventShape,
    events: number,
    startUs: number,
    window?: Window,
  ): Promise<FleetTotals> {
    this.#seconds = new Seconds(this.#options.processes);
    const round = { shape, events, startUs, clients: this.#rows, window };
    const counts = await this.#order('begin', () => round);
    if (this.#counter === undefined) return totalsOf(counts);
    await this.#counter.begin(shape);
    return totalsOf([...counts, await this.#counter.readCounts()]);
  }

  /** Asks all processes for their counts. */
  async readTotals(): Promise<FleetTotals> {
    const [counts, counted] = await Promise.all([
      this.#order('counts', () => undefined),
      this.#counter?.readCounts(),
    ]);
    return totalsOf([...counts, ...(counted === undefined ? [] : [counted])]);
  }

  /** From now on all processes check their sockets after sleeping for so long; see nap.ts. */
  async nap(ms: number): Promise<void> {
    this.#counter?.nap(ms);
    await this.#order('nap', () => ms);
  }

  /** Whether clients of long-poll poll again by themselves; those that have not do so now. */
  async repoll(repolls: boolean): Promise<void> {
    await this.#order('repoll', () => repolls);
  }

  /** All clients that read normally drop their connections and come back, at once. */
  async herd(): Promise<void> {
    await this.#order('herd', () => undefined);
  }

  /**
   * Ends a round: waits until everything that was published has come, nothing more comes, or
   * `isOver` is true; then balances the books.
   */
  async settle(publishing: Publishing, isOver: () => boolean = () => false): Promise<Settled> {
    const { published } = publishing;
    await this.#order('stay', () => undefined);
    const { transport, checkedShare, pollIntervalMs = DEFAULT_POLL_INTERVAL_MS } = this.#options;
    await untilQuiet({
      readTotals: () => this.readTotals(),
      publishing,
      isOver,
      areAllChecked: checkedShare === 1 || transport.endsWith('poll'),
      stallMs:
        transport === 'short-poll'
          ? Math.max(SETTLE_STALL_MS, 2 * pollIntervalMs)
          : SETTLE_STALL_MS,
    });
    const seen = await this.#order('seen', () => undefined);
    for (const { bits } of seen) published.addBits(bits);
    const { count, bits, ids, answeredUs } = published;
    const parts: Part[] = await this.#order('audit', (nth) => ({
      count,
      bits,
      ids: seen[nth]!.needsIds ? ids : NO_IDS,
      answeredUs,
    }));
    if (this.#counter !== undefined) {
      const checked = parts.map((part) => part.checked);
      parts.push(await this.#counter.audit(checked, count));
    }
    return {
      books: booksOf(parts, count),
      seconds: this.#seconds.end(),
      lagsMs: parts.map(({ lagMs }) => lagMs),
    };
  }

  /** Ends all connections; others may be opened afterwards. */
  async leave(): Promise<void> {
    this.#rows = 0;
    await Promise.all([this.#order('leave', () => undefined), this.#counter?.leave()]);
  }

  /** Ends all connections and the processes. */
  async close(): Promise<void> {
    try {
      await Promise.race([this.leave(), sleep(LEAVE_MS, undefined, { ref: false })]);
    } catch {
      // A process that has ended needs no farewell.
    }
    await Promise.all(this.#all.map((one) => one.close()));
  }

  get #all(): readonly (ClientProcess | CountingProcess)[] {
    return this.#counter === undefined ? this.#processes : [...this.#processes, this.#counter];
  }

  #openEvenly(
    before: number,
    fresh: number,
    { ratePerSecond, replay }: OpenOptions,
  ): Promise<Joined[]> {
    const { processes } = this.#options;
    const rowOf = (nth: number): number => before + Math.round((fresh * nth) / processes);
    return this.#order('open', (nth) => ({
      firstRow: rowOf(nth),
      count: rowOf(nth + 1) - rowOf(nth),
      ratePerSecond: ratePerSecond === undefined ? undefined : ratePerSecond / processes,
      replay,
    }));
  }

  /**
   * Checked lines connect between counted ones: latency is measured on them, and a server writes to
   * its lines in the order of their connects, or in reverse.
   */
  async #openBeside(
    counter: CountingProcess,
    before: number,
    fresh: number,
    { replay, atOnce = false }: OpenOptions,
  ): Promise<Joined[]> {
    const checked = Math.min(fresh, Math.max(1, Math.round(fresh * this.#options.checkedShare)));
    const turns = atOnce ? 1 : checked;
    const opened: Joined[] = [];
    for (let turn = 0; turn < turns && !this.#isHalted; turn++) {
      const from = before + Math.round((fresh * turn) / turns);
      const count = before + Math.round((fresh * (turn + 1)) / turns) - from;
      const own = checked / turns;
      const client = this.#processes[turn % this.#processes.length]!;
      const order = { firstRow: from, count: own, ratePerSecond: undefined, replay };
      const rest = { firstRow: from + own, count: count - own, replay, stallMs: CONNECT_STALL_MS };
      opened.push(...(await Promise.all([client.ask('open', order), counter.open(rest)])));
    }
    return opened;
  }

  /** Gives every client process an order; rejects when one of them could not follow it. */
  #order<Name extends OrderName>(
    order: Name,
    bodyOf: (nth: number) => Orders[Name]['body'],
  ): Promise<Orders[Name]['answer'][]> {
    return Promise.all(this.#processes.map((one, nth) => one.ask(order, bodyOf(nth))));
  }
}
