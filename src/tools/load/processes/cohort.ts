/** The clients of one process: connects them, keeps their books, makes them leave and come back. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { audit } from './audit.js';
import type { Part } from '../books/books.js';
import type { Client, SharedContext } from '../clients/client.js';
import { emptyTally } from '../clients/tally.js';
import { formatOf, type EventFormat } from '../clients/event-reader.js';
import { encodingOf, makeClient } from '../clients/make-client.js';
import { nowUs } from '../books/clock.js';
import { newRun } from '../clients/event.js';
import { Ledger } from '../books/ledger.js';
import type {
  Counts,
  CohortOptions,
  Joined,
  OpenOrder,
  Orders,
  RoundOrder,
  Replay,
  Seen,
  Update,
} from './messages.js';
import { nap } from './nap.js';
import { countIn, isIn, roleOf } from '../clients/mix.js';
import { PollClient } from '../clients/poll-client.js';
import { SharedBlocks } from '../clients/shared-blocks.js';
import { cpuSeconds, Slicer } from '../books/slicer.js';
import { CONNECT_STALL_MS } from './settling.js';
import { inTurns } from './turns.js';

/** Clients of all processes that connect at the same time: an accept queue holds 512. */
const CONNECTS_AT_ONCE = 128;

/** How long goodbyes may take. */
const GOODBYE_MS = 1_000;

/** How often it is checked whether all connections are closed. */
const CHECK_MS = 10;

/** How often the coordinator is sent an update. */
const UPDATE_MS = 250;

/** How often the loop's lateness is sampled. */
const LAG_RESOLUTION_MS = 10;

/** What a slow client reads at once: what it may in this time, but no less than so many bytes. */
const SLOW_STEP_MS = 100;
const SLOW_STEP_BYTES = 256;

const MINUTE_US = 60e6;

/** Digits of an id that begins with a clock in microseconds. */
const ID_BYTES = 16;

/** The clients of a process, with a method for each order of the coordinator. */
export class Cohort implements SharedContext {
  readonly target: SharedContext['target'];
  readonly comeBack: boolean;
  readonly compress: boolean;
  readonly blocks: SharedBlocks;
  readonly format: EventFormat;
  readonly slowBuffer: Buffer;
  readonly tally = emptyTally();
  readonly #options: CohortOptions;
  readonly #send: (update: Update) => void;
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  #clients: Client[] = [];
  #joins = 0;
  #lastJoinUs = 0;
  #returning = 0;
  #repolls = true;
  #toPoll: { poll(): void }[] = [];
  #isHalted = false;
  /** Why clients were cut off, since connecting or the round began; normal clients in a round. */
  #failures = new Map<string, number>();
  /** Clients that do not read normally, and were cut off. */
  #cutOff = { slow: 0, stalled: 0 };
  #ledger = new Ledger(0, 0);
  #slowLedger = new Ledger(0, 0);
  #isInRound = false;
  /** The round checks under which ids events came. */
  #needsIds = false;
  #slicer: Slicer | undefined;
  /** When the round began. */
  #tallyBefore = emptyTally();
  #endReading: () => void = () => {};
  #endPolling: () => void = () => {};
  #endLeaving: () => void = () => {};

  constructor(options: CohortOptions, send: (update: Update) => void) {
    const { target, mix, transport } = options;
    this.#options = options;
    this.#send = send;
    this.target = target;
    this.comeBack = options.comeBack || mix.reconnectsPerMinute > 0;
    this.compress = options.compress;
    // Before the first round no event is one of the run.
    this.format = formatOf(encodingOf(transport), {
      run: newRun(),
      channel: '',
      sizeBytes: 0,
    });
    this.blocks = new SharedBlocks(this.format);
    this.slowBuffer = Buffer.alloc(
      Math.max(SLOW_STEP_BYTES, Math.round((mix.slowBytesPerSecond * SLOW_STEP_MS) / 1000)),
    );
    setInterval(() => this.#send({ counts: this.counts(), slice: undefined }), UPDATE_MS);
  }

  /** Connects more clients. */
  async open({ firstRow, count, ratePerSecond, replay }: OpenOrder): Promise<Joined> {
    const { transport, mix } = this.#options;
    const fresh = Array.from({ length: count }, (_, nth) =>
      makeClient(transport, firstRow + nth, roleOf(mix, firstRow + nth), this),
    );
    this.#clients = [...this.#clients, ...fresh];
    if (replay !== undefined) this.#expectReplay(fresh, replay);
    this.#readSlowly();
    this.#failures = new Map();
    this.#isHalted = false;
    const joinsBefore = this.#joins;
    const atOnce = Math.ceil(CONNECTS_AT_ONCE / this.#options.processes);
    const beganUs = nowUs();
    let started = 0;
    let joined = 0;
    let progressUs = beganUs;
    let hasStalled = false;
    while (joined < count && !this.#isHalted && this.#failures.size === 0 && !hasStalled) {
      const elapsedUs = nowUs() - beganUs;
      const due =
        ratePerSecond === undefined
          ? count
          : Math.min(count, Math.floor((elapsedUs * ratePerSecond) / 1e6) + 1);
      for (; started < due && started - joined < atOnce; started++) fresh[started]!.start();
      // One turn of the loop, so that the next connect as soon as others are subscribed.
      await sleep(0);
      const before = joined;
      joined = this.#joins - joinsBefore;
      if (joined > before || joined === started) progressUs = nowUs();
      hasStalled = nowUs() - progressUs > CONNECT_STALL_MS * 1000;
    }
    return {
      joined,
      failed: [...this.#failures],
      hasStalled,
      firstConnectUs: beganUs,
      lastJoinUs: this.#lastJoinUs,
    };
  }

  /** Ends the connecting. */
  halt(): void {
    this.#isHalted = true;
  }

  /** Opens new books, with a place for every client. */
  begin(round: RoundOrder): Counts {
    const { shape, events, startUs, window } = round;
    const { checkedShare, mix } = this.#options;
    this.#endRound();
    this.#isInRound = true;
    this.#needsIds = window !== undefined;
    Object.assign(this.format, formatOf(this.format.encoding, shape));
    this.blocks.clear();
    this.#ledger.close();
    this.#slowLedger.close();
    this.#failures = new Map();
    this.#cutOff = { slow: 0, stalled: 0 };
    // Who was cut off since it subscribed, and is in no books yet, is owed this round's events.
    this.#clients = this.#clients.filter(
      ({ isOver, cutOffFor }) => !isOver || cutOffFor !== undefined,
    );
    for (const client of this.#clients)
      if (client.cutOffFor !== undefined) this.failed(client, client.cutOffFor);
    const normal = this.#clients.filter(({ role }) => role === 'normal');
    const slow = this.#clients.filter(({ role }) => role === 'slow');
    const share = this.#arePolls ? 1 : checkedShare;
    this.#ledger = new Ledger(countIn(share, normal.length), events, window);
    this.#slowLedger = new Ledger(slow.length, events);
    for (const client of this.#clients) client.begin(undefined, 0);
    for (const [row, client] of slow.entries()) client.begin(this.#slowLedger, row);
    for (const [row, client] of normal.filter((_, index) => isIn(share, index)).entries())
      client.begin(this.#ledger, row);
    this.#tallyBefore = { ...this.tally };
    this.#lag.reset();
    this.#lag.enable();
    this.#slicer = new Slicer(
      startUs,
      () => ({ delivered: this.#delivered, bytes: this.tally.bytes, cpuSeconds: cpuSeconds() }),
      this.#ledger.secondUs,
      (slice) => this.#send({ counts: this.counts(), slice }),
    );
    if (this.#options.transport === 'short-poll') this.#pollInTurns(round);
    if (mix.reconnectsPerMinute > 0) this.#leaveInTurns(normal, startUs, mix.reconnectsPerMinute);
    return this.counts();
  }

  /** What has happened so far. */
  counts(): Counts {
    const { rows, delivered, sequencesSeen } = this.#ledger;
    return {
      atUs: nowUs(),
      joined: this.#clients.reduce((sum, { isJoined }) => sum + (isJoined ? 1 : 0), 0),
      returning: this.#returning,
      checkedClients: rows,
      checkedDelivered: delivered,
      delivered: this.#delivered,
      sequencesSeen,
      tally: { ...this.tally },
      cpuSeconds: cpuSeconds(),
    };
  }

  /** All normal clients leave at once, and come back. */
  herd(): void {
    for (const client of this.#clients) if (client.role === 'normal') this.#sendAway(client, true);
  }

  /** Whether clients of long-poll poll again by themselves; those that have not do so now. */
  repoll(repolls: boolean): void {
    this.#repolls = repolls;
    if (!repolls) return;
    for (const client of this.#clients) if (client instanceof PollClient) client.poll();
  }

  /** No client leaves by itself any more. */
  stay(): void {
    this.#endLeaving();
  }

  /** What the clients were given. */
  seen(): Seen {
    const needsIds =
      this.#needsIds || this.#clients.some(({ wasAway, gaps }) => wasAway || gaps.length > 0);
    return { bits: this.#ledger.seenByAny, needsIds };
  }

  /** Balances the books, and ends the round. */
  audit(published: Orders['audit']['body']): Part {
    this.#endRound();
    const lagMs = (ns: number): number => Math.max(0, ns / 1e6 - LAG_RESOLUTION_MS);
    const balance = audit(
      {
        clients: this.#clients,
        ledger: this.#ledger,
        slowLedger: this.#slowLedger,
        bytesPerEvent: this.#bytesPerEvent,
        cutOffSlow: this.#cutOff.slow,
        cutOffStalled: this.#cutOff.stalled,
      },
      published,
    );
    for (const client of this.#clients) client.cutOffFor = undefined;
    return {
      ...balance,
      lagMs: { p99: lagMs(this.#lag.percentile(99)), max: lagMs(this.#lag.max) },
      cutOff: [...this.#failures],
    };
  }

  nap(ms: number): void {
    nap(ms);
  }

  /** Ends all connections. */
  async leave(): Promise<void> {
    nap(0);
    this.#endRound();
    this.#endReading();
    for (const client of this.#clients) client.stop();
    const untilUs = nowUs() + GOODBYE_MS * 1000;
    while (nowUs() < untilUs && this.#clients.some((client) => client.isConnected))
      await sleep(CHECK_MS);
    for (const client of this.#clients) client.drop();
    this.#clients = [];
  }

  joined(): void {
    this.#joins++;
    this.#lastJoinUs = nowUs();
  }

  returned(): void {
    this.#returning--;
  }

  pollSoon(client: { poll(): void }, isEmpty: boolean): void {
    if (!this.#repolls && !isEmpty) return;
    // Everything that has come is read before the next polls are sent.
    if (this.#toPoll.length === 0) setImmediate(() => this.#pollAgain());
    this.#toPoll.push(client);
  }

  failed({ role }: Client, reason: string): void {
    if (this.#isInRound && role !== 'normal') this.#cutOff[role]++;
    else this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  get #arePolls(): boolean {
    return this.#options.transport.endsWith('poll');
  }

  /**
   * Events that came to normal clients in this round; for clients that are not checked they are
   * derived from bytes.
   */
  get #delivered(): number {
    const bytes = this.tally.countedBytes - this.#tallyBefore.countedBytes;
    const read = this.tally.countedEvents - this.#tallyBefore.countedEvents;
    return this.#ledger.delivered + read + Math.round(bytes / this.#bytesPerEvent);
  }

  /**
   * What an event takes on a line, on average over checked clients; before they had any, computed
   * with a long id.
   */
  get #bytesPerEvent(): number {
    const events = this.tally.checkedEvents - this.#tallyBefore.checkedEvents;
    const bytes = this.tally.checkedBytes - this.#tallyBefore.checkedBytes;
    if (events > 0) return bytes / events;
    const { before, between, after, shape } = this.format;
    return before.length + between.length + shape.sizeBytes + after.length + ID_BYTES;
  }

  #pollAgain(): void {
    const clients = this.#toPoll;
    this.#toPoll = [];
    for (const client of clients) client.poll();
  }

  /** Replays are booked: events in them may be missing, doubled or out of order. */
  #expectReplay(clients: readonly Client[], { afterId, events, published }: Replay): void {
    this.#ledger.close();
    this.#ledger = new Ledger(clients.length, published);
    for (const [row, client] of clients.entries()) {
      client.begin(this.#ledger, row);
      client.expectReplay(afterId, events);
    }
  }

  /** Slow clients read from time to time, each time what their buffer holds. */
  #readSlowly(): void {
    this.#endReading();
    const slow = this.#clients.filter(({ role }) => role === 'slow');
    if (slow.length === 0) return;
    const stepUs = (this.slowBuffer.length * 1e6) / this.#options.mix.slowBytesPerSecond;
    const beganUs = nowUs();
    this.#endReading = inTurns(
      (turn) => beganUs + (turn * stepUs) / slow.length,
      (turn) => slow[turn % slow.length]!.resume(),
    );
  }

  /** The clients of all processes take turns, evenly spread over the interval. */
  #pollInTurns({ startUs, clients }: RoundOrder): void {
    const pollers = this.#clients.filter((client) => client instanceof PollClient);
    if (pollers.length === 0) return;
    const intervalUs = this.#options.pollIntervalMs * 1000;
    const pollerOf = (turn: number): PollClient => pollers[turn % pollers.length]!;
    this.#endPolling = inTurns(
      (turn) =>
        startUs +
        (Math.floor(turn / pollers.length) + (pollerOf(turn).row % clients) / clients) * intervalUs,
      (turn) => pollerOf(turn).poll(),
    );
  }

  /** A share of the clients leaves in each minute and comes back, one after the other. */
  #leaveInTurns(clients: readonly Client[], startUs: number, sharePerMinute: number): void {
    const stepUs = MINUTE_US / (sharePerMinute * clients.length);
    this.#endLeaving = inTurns(
      (turn) => startUs + (turn + 0.5) * stepUs,
      (turn) => this.#sendAway(clients[turn % clients.length]!, false),
    );
  }

  #sendAway(client: Client, inHerd: boolean): void {
    if (client.comeBack(inHerd)) this.#returning++;
  }

  #endRound(): void {
    this.#isInRound = false;
    this.#slicer?.end();
    this.#slicer = undefined;
    this.#lag.disable();
    this.#endPolling();
    this.#endLeaving();
  }
}
