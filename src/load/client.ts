/** One client of a run: its connection, its place in the books, and how it ends. How it is served is its subclass's. */

import type { Socket } from 'node:net';
import { openConnection, type ConnectionSink, type Target } from './connection.js';
import type { EventShape, EventSink } from './dialect.js';
import { nowUs } from './event.js';
import { AnswerReader, type AnswerSink, type Head } from './http.js';
import type { Ledger } from './ledger.js';

/** What all clients of a run have sent and received together. */
export interface Tally {
  /** Bytes received, heads and framing included. */
  bytes: number;
  requests: number;
  answers: number;
  /** Answers to polls without an event. */
  emptyAnswers: number;
  /** Polls that were refused for now and asked again. */
  refusedPolls: number;
}

/** What the clients of a run share. */
export interface Crew {
  readonly target: Target;
  readonly shape: EventShape;
  readonly ledger: Ledger;
  readonly tally: Tally;
  /** The client is owed everything that is published from now on. Called once. */
  joined(): void;
  /** The client was refused or cut off, and does not come back. Called once. */
  failed(reason: string): void;
}

const CONNECTING = 0;
const JOINED = 1;
const OVER = 2;

/** What all clients have in common. */
export abstract class Client implements ConnectionSink, AnswerSink, EventSink {
  readonly row: number;
  protected readonly crew: Crew;
  protected socket: Socket | undefined;
  /** Why the server ends the line, when it has said so. */
  protected endCode: string | undefined;
  #answers = new AnswerReader(this);
  #state = CONNECTING;
  /** When the bytes came that are being read. */
  #atUs = 0;

  constructor(row: number, crew: Crew) {
    this.row = row;
    this.crew = crew;
  }

  /** Connects and subscribes. */
  start(): void {
    this.connect();
  }

  /** Ends it from this side; what still comes counts no more. */
  stop(): void {
    if (this.#state === OVER) return;
    const wasJoined = this.isJoined;
    this.#state = OVER;
    this.leave(wasJoined);
  }

  /** Ends its connection, with a reset: an orderly close would leave a port in TIME_WAIT for a minute. */
  drop(): void {
    this.socket?.resetAndDestroy();
  }

  /** True until its connection is gone. */
  get isConnected(): boolean {
    return this.socket !== undefined;
  }

  protected get isOver(): boolean {
    return this.#state === OVER;
  }

  protected get isJoined(): boolean {
    return this.#state === JOINED;
  }

  protected connect(): void {
    this.#answers = new AnswerReader(this);
    this.socket = openConnection(this.crew.target, this.row, this);
  }

  protected send(request: string): void {
    this.crew.tally.requests++;
    this.socket?.write(request, 'latin1');
  }

  protected join(): void {
    if (this.#state !== CONNECTING) return;
    this.#state = JOINED;
    this.crew.joined();
  }

  protected fail(reason: string): void {
    if (this.#state === OVER) return;
    this.stop();
    this.crew.failed(reason);
  }

  bytes(buffer: Buffer, byteCount: number): void {
    if (this.#state === OVER) return;
    this.crew.tally.bytes += byteCount;
    this.#atUs = nowUs();
    try {
      this.#answers.feed(buffer, 0, byteCount);
    } catch (error) {
      this.fail(`the server sent what it should not: ${(error as Error).message}`);
    }
  }

  closed(reason: string | undefined): void {
    this.socket = undefined;
    if (!this.isOver) this.lost(reason ?? 'the server closed the connection');
  }

  event(id: number, sequence: number, dueUs: number): void {
    this.crew.ledger.deliver(this.row, id, sequence, dueUs, this.#atUs);
  }

  gap(): void {
    this.crew.ledger.gaps++;
  }

  ended(code: string): void {
    this.endCode = code;
  }

  /** Of interest on an event stream only. */
  position(): void {}

  /** The connection is gone, and the client did not end it. */
  protected lost(reason: string): void {
    this.fail(reason);
  }

  /** What the client does with its connection when it is over. */
  protected leave(_wasJoined: boolean): void {
    this.drop();
  }

  abstract opened(): void;
  abstract head(head: Head): boolean;
  abstract piece(bytes: Buffer, start: number, end: number): void;
  abstract complete(head: Head, body: Buffer): void;
}
