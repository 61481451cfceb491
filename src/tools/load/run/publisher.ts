/**
 * The publisher of a run, an open loop: event n is due at start + n ÷ rate, whatever happened to
 * the ones before it.
 */

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Histogram } from 'hdr-histogram-js';
import {
  authorizationField,
  openConnection,
  type ConnectionSink,
  type Target,
} from '../clients/connection.js';
import { nowUs } from '../books/clock.js';
import { STAMP_BYTES, eventData, stampEvent } from '../clients/event.js';
import { AnswerReader, isLast, refusalText, type AnswerSink, type Head } from '../clients/http.js';
import { createHistogram, recordUs } from '../books/histogram.js';
import { Published } from '../books/published.js';

/**
 * Connections at most, by default. Each carries one publish at a time, since uWebSockets.js closes
 * connections with pipelined ones. native-notes/pipelined-requests.md
 */
export const PUBLISH_CONNECTIONS = 256;

/** A connection that was idle this long is not used again: the server closes it after 10 s. */
const IDLE_US = 5_000_000;

/** After so many failed connections in a row the server counts as gone; the pause after each. */
const FAILURES = 20;
const FAILURE_PAUSE_MS = 100;

/**
 * The text of an event after its stamp, in ASCII that JSON does not escape unless all lines are
 * event streams; at most `sizeBytes` − STAMP_BYTES characters, spaces follow.
 */
export type EventBody = (this: void, sequence: number) => string;

/** What a publisher needs to know. */
export interface PublisherOptions {
  readonly target: Target;
  readonly run: string;
  readonly sizeBytes: number;
  readonly ratePerSecond: number;
  readonly events: number;
  readonly key: string | undefined;
  /** Connections at most. With one, the server takes the events in their order. */
  readonly connections: number;
  /** What an event has in place of padding; the same letters in all of them by default. */
  readonly body?: EventBody | undefined;
  /** Keeps when each event was sent and answered. */
  readonly keepsTimes?: boolean;
  /** Called once with the reason when going on makes no sense. */
  gaveUp(this: void, reason: string): void;
}

/** Publishes over keep-alive connections, as few as the server's answers allow. */
export class Publisher {
  /** The request before its data. */
  readonly head: Buffer;
  readonly options: PublisherOptions;
  readonly published: Published;
  /** How late the loop got to each event: the client's own part of every latency. */
  readonly latenessUs: Histogram = createHistogram();
  /** Temporary refusals, with how often each came. */
  readonly refusals = new Map<string, number>();
  /** Why it is not known whether events were published, with how often. */
  readonly unknown = new Map<string, number>();
  /** Publishes that were answered in any way. */
  answered = 0;
  /** When the first event is due. */
  protected startUs = 0;
  /** Events below `#due` are due, events below `#sent` were sent. */
  #due = 0;
  #sent = 0;
  #inFlight = 0;
  #isStopped = false;
  #isClosed = false;
  /** The connection that was used last is used first. */
  readonly #free: Connection[] = [];
  readonly #connections = new Set<Connection>();
  #opening = 0;
  #failuresInARow = 0;

  constructor(options: PublisherOptions) {
    const { target, sizeBytes, key } = options;
    this.options = options;
    this.published = new Published(options.events, options.keepsTimes);
    this.head = Buffer.from(
      `POST ${target.path} HTTP/1.1\r\nHost: ${target.authority}\r\nContent-Type: text/plain\r\n${authorizationField(key)}` +
        `Content-Length: ${sizeBytes}\r\n\r\n`,
    );
  }

  /** Connections that are open or about to be. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Events that are due and not answered. */
  get pending(): number {
    return this.#inFlight + this.#due - this.#sent;
  }

  /** Opens a connection, so that the first event does not wait for one. */
  open(): void {
    this.#opening++;
    this.#connections.add(new Connection(this));
  }

  /**
   * Publishes from `startUs` on; resolves when the event after the last would be due, or after
   * `stop`.
   */
  async publish(startUs: number): Promise<void> {
    const { events } = this.options;
    this.startUs = startUs;
    for (;;) {
      const now = nowUs();
      for (; this.#due < events && this.dueUs(this.#due) <= now; this.#due++) {
        recordUs(this.latenessUs, now - this.dueUs(this.#due));
      }
      this.#pump();
      const waitUs = this.dueUs(this.#due) - nowUs();
      if (this.#isStopped || (this.#due === events && waitUs <= 0)) return;
      await sleep(Math.max(1, waitUs / 1000));
    }
  }

  /** No more events become due; those that are due are still sent. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Ends the connections, also of publishes that are not answered. */
  close(): void {
    this.#isStopped = true;
    this.#isClosed = true;
    for (const connection of this.#connections) connection.drop();
  }

  /** When an event is due, µs of clock.ts. */
  dueUs(sequence: number): number {
    return dueAtUs(this.startUs, this.options.ratePerSecond, sequence);
  }

  /** Sends what is due, as far as there are connections. */
  #pump(): void {
    if (this.#isClosed) return;
    while (this.#sent < this.#due) {
      const connection = this.#free.pop();
      if (connection === undefined) break;
      if (nowUs() - connection.freeSinceUs > IDLE_US) {
        connection.drop();
        continue;
      }
      this.#inFlight++;
      this.published.sentUs[this.#sent] = nowUs();
      connection.send(this.#sent++);
    }
    while (
      this.#opening < this.#due - this.#sent &&
      this.#connections.size < this.options.connections
    )
      this.open();
  }

  /** A connection can be used. */
  freed(connection: Connection): void {
    this.#free.push(connection);
    this.#pump();
  }

  /** A connection was made. */
  opened(connection: Connection): void {
    this.#opening--;
    this.#failuresInARow = 0;
    this.freed(connection);
  }

  /** A connection is gone, or could not be made. */
  closed(connection: Connection, wasOpen: boolean, wasInFlight: boolean, reason: string): void {
    this.#connections.delete(connection);
    const at = this.#free.indexOf(connection);
    if (at >= 0) this.#free.splice(at, 1);
    // This process has dropped it: its publish stays unanswered, which is not the server's doing.
    if (this.#isClosed) return;
    if (wasInFlight) {
      this.#inFlight--;
      this.#count(this.unknown, `their connection was lost: ${reason}`);
    }
    if (wasOpen) {
      this.#pump();
      return;
    }
    this.#opening--;
    if (++this.#failuresInARow === FAILURES)
      this.options.gaveUp(`cannot connect to publish: ${reason}`);
    else if (this.#failuresInARow < FAILURES)
      setTimeout(() => this.#pump(), FAILURE_PAUSE_MS).unref();
  }

  #count(reasons: Map<string, number>, reason: string): void {
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }

  /** The server has answered a publish. */
  answer(sequence: number, head: Head, body: Buffer): void {
    const { status } = head;
    this.#inFlight--;
    this.answered++;
    this.published.answeredUs[sequence] = nowUs();
    this.published.statuses[sequence] = status;
    if (status >= 200 && status < 300) {
      this.published.add(sequence, idIn(body));
      return;
    }
    const refusal = refusalText(head, body);
    if (status === 401) {
      this.options.gaveUp(
        `publishing is not allowed (${refusal}): give the server's key with --publish-key, or start the server with --open-publish`,
      );
    } else if (status === 503 || status === 429) {
      this.#count(this.refusals, refusal);
    } else if (status === 502 || status === 504) {
      // A log that does not answer, or a proxy: for now, too.
      this.#count(this.unknown, refusal);
    } else {
      this.options.gaveUp(`an event of ${this.options.sizeBytes} bytes was refused: ${refusal}`);
    }
  }
}

/** When an event of an open loop is due. */
export function dueAtUs(startUs: number, ratePerSecond: number, sequence: number): number {
  return startUs + (sequence * 1e6) / ratePerSecond;
}

/** The id in the answer to a publish; NaN where it has none that is a number. */
function idIn(body: Buffer): number {
  return Number(/"id":(\d{1,16})[,}]/.exec(body.toString('latin1'))?.[1]);
}

const NOTHING = -1;

/** One keep-alive connection with at most one publish in flight. */
class Connection implements ConnectionSink, AnswerSink {
  freeSinceUs = 0;
  readonly #publisher: Publisher;
  readonly #request: Buffer;
  readonly #answers = new AnswerReader(this);
  readonly #socket: Socket;
  #sequence = NOTHING;
  #isOpen = false;
  #broken: string | undefined;

  constructor(publisher: Publisher) {
    const { target, run, sizeBytes } = publisher.options;
    this.#publisher = publisher;
    this.#request = Buffer.concat([publisher.head, eventData(run, sizeBytes)]);
    this.#socket = openConnection(target, 0, this);
  }

  send(sequence: number): void {
    this.#sequence = sequence;
    stampEvent(
      this.#request,
      this.#publisher.head.length,
      sequence,
      this.#publisher.dueUs(sequence),
    );
    const { body } = this.#publisher.options;
    if (body !== undefined) {
      const at = this.#publisher.head.length + STAMP_BYTES;
      this.#request.write(body(sequence).padEnd(this.#request.length - at), at, 'latin1');
    }
    this.#socket.write(this.#request);
  }

  drop(): void {
    this.#socket.resetAndDestroy();
  }

  opened(): void {
    this.#isOpen = true;
    this.freeSinceUs = nowUs();
    this.#publisher.opened(this);
  }

  bytes(buffer: Buffer, byteCount: number): boolean {
    this.#read(() => this.#answers.feed(buffer, 0, byteCount));
    return true;
  }

  #read(feed: () => void): void {
    try {
      feed();
    } catch (error) {
      this.#broken = (error as Error).message;
      this.drop();
    }
  }

  closed(reason: string | undefined): void {
    if (reason === undefined && this.#broken === undefined) this.#read(() => this.#answers.end());
    this.#publisher.closed(
      this,
      this.#isOpen,
      this.#sequence !== NOTHING,
      this.#broken ?? reason ?? 'the server closed it',
    );
  }

  head(): boolean {
    return false;
  }

  piece(): void {
    throw new Error('a publish was answered with another protocol');
  }

  complete(head: Head, body: Buffer): void {
    const sequence = this.#sequence;
    this.#sequence = NOTHING;
    this.freeSinceUs = nowUs();
    if (sequence === NOTHING) throw new Error('an answer came without a request');
    this.#publisher.answer(sequence, head, body);
    if (this.#socket.destroyed || isLast(head)) this.drop();
    else this.#publisher.freed(this);
  }
}
