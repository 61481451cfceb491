/**
 * One client of a run: its connection, its place in the books, and how it ends. How it is served is
 * up to the subclass.
 */

import type { Socket } from 'node:net';
import { openConnection, type ConnectionSink, type Target } from './connection.js';
import type { EventSink } from './encoding.js';
import type { EventFormat } from './event-reader.js';
import { nowUs } from '../books/clock.js';
import { printable } from '../../../log-text.js';
import { AnswerReader, type AnswerSink, type Head } from './http.js';
import type { Ledger, ReportedGap } from '../books/ledger.js';
import type { Role } from './mix.js';
import type { SharedBlocks } from './shared-blocks.js';
import type { Tally } from './tally.js';

/** What the clients of a process share. */
export interface SharedContext {
  readonly target: Target;
  readonly format: EventFormat;
  readonly tally: Tally;
  /** True when lines ask for gzip. */
  readonly compress: boolean;
  /** What lines that are not checked share of it. */
  readonly blocks: SharedBlocks;
  /** True when clients come back in this run, so that each must know its position. */
  readonly comeBack: boolean;
  /** The buffer that slow clients are read through; its size is the most they read at once. */
  readonly slowBuffer: Buffer;
  /** From now on the client is owed everything that is published. Called once. */
  joined(client: Client): void;
  /** The client has come back. */
  returned(client: Client): void;
  /**
   * The client of long-poll has been answered. It polls again when everything that has come is
   * read, or when it is ordered to.
   */
  pollSoon(client: { poll(): void }, isEmpty: boolean): void;
  /** The client was refused or cut off, and does not come back. Called once. */
  failed(client: Client, reason: string): void;
}

const CONNECTING = 0;
const JOINED = 1;
/** It dropped its connection and has not yet subscribed again. */
const RETURNING = 2;
const OVER = 3;

/** How long a client that was refused when it came back waits until it tries again. */
const RETURN_PAUSE_MS = 1000;

const NO_GAPS: readonly ReportedGap[] = [];

/** What all clients have in common. */
export abstract class Client implements ConnectionSink, AnswerSink, EventSink {
  readonly row: number;
  readonly role: Role;
  /** Where its events are booked; undefined when they are not. */
  ledger: Ledger | undefined;
  bookRow = 0;
  /** Gaps that were reported to it in this round. */
  gaps: readonly ReportedGap[] = NO_GAPS;
  /** It dropped its connection in this round. */
  wasAway = false;
  /**
   * It did so in a herd; when it was back, and when it got the last event that was due before that;
   * 0 for not yet.
   */
  wasInHerd = false;
  herdBackAtUs = 0;
  herdCaughtUpAtUs = 0;
  /** Why it was cut off since it subscribed; undefined where it was not, or books have it. */
  cutOffFor: string | undefined;
  /** Bytes that came in this round, where its events are booked. */
  wireBytes = 0;
  protected readonly shared: SharedContext;
  protected socket: Socket | undefined;
  /** Why the server ends the line, where it has said so. */
  protected endCode: string | undefined;
  /** Id of the last event; NaN where `#place` is what counts. */
  protected lastId = Number.NaN;
  /** Events that must have come before it counts as subscribed. */
  protected owedFirst = 0;
  /** A position to continue from, as the server wrote it. */
  #place: string | undefined;
  #answers = new AnswerReader(this);
  #state = CONNECTING;
  #readsOn = true;
  /** It last left in a herd. */
  #isHerding = false;
  /** When the bytes that are being read came. */
  #atUs = 0;

  constructor(row: number, role: Role, shared: SharedContext) {
    this.row = row;
    this.role = role;
    this.shared = shared;
  }

  /** Connects and subscribes. */
  start(): void {
    this.connect();
  }

  /** It begins after an id, and counts as subscribed when so many events have come. */
  expectReplay(afterId: number, events: number): void {
    this.lastId = afterId;
    this.owedFirst = events;
  }

  /** A round begins: everything before it is forgotten. */
  begin(ledger: Ledger | undefined, bookRow: number): void {
    this.ledger = ledger;
    this.bookRow = bookRow;
    this.gaps = NO_GAPS;
    this.wasAway = false;
    this.wasInHerd = false;
    this.herdBackAtUs = 0;
    this.herdCaughtUpAtUs = 0;
    this.wireBytes = 0;
  }

  /** Drops its connection and subscribes again where it left off. False when it has none. */
  comeBack(inHerd: boolean): boolean {
    if (this.#state !== JOINED) return false;
    this.#state = RETURNING;
    this.wasAway = true;
    this.wasInHerd ||= inHerd;
    this.#isHerding = inHerd;
    this.shared.tally.returns++;
    this.#restart();
    return true;
  }

  /** Lets a slow client read on. */
  resume(): void {
    this.socket?.resume();
  }

  /** Ends it from this side; what still comes is not counted. */
  stop(): void {
    if (this.#state === OVER) return;
    const wasJoined = this.isJoined;
    this.#state = OVER;
    this.leave(wasJoined);
  }

  /**
   * Ends its connection, with a reset: an orderly close would leave a port in TIME_WAIT for a
   * minute.
   */
  drop(): void {
    this.socket?.resetAndDestroy();
  }

  /** True until its connection is gone. */
  get isConnected(): boolean {
    return this.socket !== undefined;
  }

  /** True while it is owed what is published. */
  get isJoined(): boolean {
    return this.#state === JOINED;
  }

  /** True when it has ended, or was ended, for good. */
  get isOver(): boolean {
    return this.#state === OVER;
  }

  /** The position to continue from; undefined where none is known. */
  protected get continuesAfter(): string | undefined {
    return Number.isNaN(this.lastId) ? this.#place : String(this.lastId);
  }

  /** The same as an id; NaN where it is no id. */
  protected get continuesAfterId(): number {
    return Number(this.continuesAfter ?? Number.NaN);
  }

  /** False when it must read nothing until `resume`. */
  protected get readsOn(): boolean {
    return this.#readsOn;
  }

  protected connect(): void {
    this.#answers = new AnswerReader(this);
    this.#readsOn = true;
    const { target, slowBuffer } = this.shared;
    this.socket = openConnection(
      target,
      this.row,
      this,
      this.role === 'slow' ? slowBuffer : undefined,
    );
  }

  protected send(request: string): void {
    this.shared.tally.requests++;
    this.socket?.write(request, 'latin1');
  }

  protected join(): void {
    if (this.#state === CONNECTING) {
      this.#state = JOINED;
      this.#readsOn = this.role === 'normal';
      this.shared.joined(this);
    } else if (this.#state === RETURNING) {
      this.#state = JOINED;
      if (this.#isHerding) this.herdBackAtUs = nowUs();
      this.shared.returned(this);
    }
  }

  /** It gives up. A client that was coming back tries again, as a browser does. */
  protected fail(reason: string): void {
    if (this.#state === OVER) return;
    if (this.#state === RETURNING) {
      this.shared.tally.refusedReturns++;
      this.abandon();
      setTimeout(() => this.#restart(), RETURN_PAUSE_MS).unref();
      return;
    }
    const said = printable(reason);
    if (this.isJoined) this.cutOffFor = said;
    this.stop();
    this.shared.failed(this, said);
  }

  #restart(): void {
    this.abandon();
    this.endCode = undefined;
    if (this.#state === RETURNING) this.reconnect();
  }

  /** Drops the connection and ignores what it still reports. */
  protected abandon(): void {
    const { socket } = this;
    this.socket = undefined;
    socket?.resetAndDestroy();
  }

  bytes(buffer: Buffer, byteCount: number): boolean {
    if (this.#state === OVER) return true;
    const { tally } = this.shared;
    tally.bytes += byteCount;
    tally.reads++;
    // Only checked clients record when something came.
    if (this.ledger !== undefined) {
      this.#atUs = nowUs();
      this.wireBytes += byteCount;
      if (this.role === 'normal') tally.checkedWireBytes += byteCount;
    }
    this.#read(() => this.#answers.feed(buffer, 0, byteCount));
    return this.readsOn;
  }

  #read(feed: () => void): void {
    try {
      feed();
    } catch (error) {
      this.shared.tally.damaged++;
      this.fail(`the server sent what it should not: ${(error as Error).message}`);
    }
  }

  closed(reason: string | undefined, socket: Socket): void {
    if (socket !== this.socket) return;
    this.socket = undefined;
    if (this.isOver) return;
    if (reason === undefined && this.#answers.endsWithConnection)
      this.#read(() => this.#answers.end());
    else this.lost(reason ?? 'the server closed the connection');
  }

  event(id: number, sequence: number, dueUs: number): void {
    if (!Number.isNaN(id)) this.lastId = id;
    this.ledger?.deliver(this.bookRow, id, sequence, dueUs, this.#atUs);
    if (this.#isHerding && dueUs < this.herdBackAtUs) this.herdCaughtUpAtUs = nowUs();
  }

  gap(after: number | null, before: number | null): void {
    this.gaps = [...this.gaps, { after, before }];
  }

  ended(code: string): void {
    this.shared.tally.ends++;
    this.endCode = code;
  }

  heartbeat(): void {
    if (this.ledger !== undefined && this.role === 'normal') this.shared.tally.heartbeats++;
  }

  position(id: string): void {
    this.#place = id;
    this.lastId = Number.NaN;
  }

  /** The connection is gone, and not by this client. */
  protected lost(reason: string): void {
    this.fail(reason);
  }

  /** Subscribes again, on a new connection. */
  protected reconnect(): void {
    this.connect();
  }

  /** What the client does with its connection when it is over. */
  protected leave(_wasJoined: boolean): void {
    this.drop();
  }

  abstract opened(): void;
  abstract head(head: Head): boolean;
  abstract piece(bytes: Buffer, start: number, end: number, endsChunk: boolean): void;
  abstract complete(head: Head, body: Buffer): void;
}
