/**
 * A client that polls from the position of the last answer: at once (long-poll), or when it is its
 * turn (short-poll).
 */

import { Client, type SharedContext } from './client.js';
import { EventReader } from './event-reader.js';
import { authorizationField } from './connection.js';
import { isLast, pathAfter, refusalText, withParameters, type Head } from './http.js';
import type { Role } from './mix.js';

/** Events an answer may have. */
const LIMIT = 1000;

const EMPTY_ARRAY = Buffer.from('[]');

/** How long the server may hold a long-poll, s. */
const WAIT_SECONDS = 25;

/** How long a client that was refused for now waits when the answer does not say how long. */
const RETRY_MS = 1000;

/** A longer timer would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The pause grows by so much with each connection in a row that is lost without an answer; so many
 * may be lost.
 */
const RECONNECT_MS = 100;
const RECONNECTS = 5;

/** Polls again over a new connection when one is lost, as a browser would. */
export class PollClient extends Client {
  readonly #isLong: boolean;
  readonly #reader: EventReader;
  /** From the moment a poll is due until its answer is complete. */
  #isPolling = false;
  #lostInARow = 0;
  /** Until its poll is sent again. */
  #pause: NodeJS.Timeout | undefined;

  constructor(row: number, role: Role, shared: SharedContext, isLong: boolean) {
    super(row, role, shared);
    this.#isLong = isLong;
    this.#reader = new EventReader(shared.format, this);
  }

  /** A first poll that does not wait finds the position from which everything is owed. */
  override start(): void {
    this.poll();
  }

  /** Polls, unless a poll is under way. */
  poll(): void {
    if (this.#isPolling || this.isOver) return;
    this.#isPolling = true;
    this.#request();
  }

  #request(): void {
    if (this.isOver) return;
    if (this.socket === undefined) this.connect();
    else this.opened();
  }

  opened(): void {
    const { path, authority, key } = this.shared.target;
    const position = this.continuesAfter;
    const from = position === undefined ? path : pathAfter(path, position);
    const wait = this.#isLong && position !== undefined ? WAIT_SECONDS : 0;
    this.send(
      `GET ${withParameters(from, `limit=${LIMIT}&wait=${wait}`)} HTTP/1.1\r\nHost: ${authority}\r\n` +
        `Accept: application/json\r\n${authorizationField(key)}\r\n`,
    );
  }

  head(): boolean {
    return false;
  }

  piece(): void {
    throw new Error('a poll was answered with another protocol');
  }

  complete(head: Head, body: Buffer): void {
    const { tally } = this.shared;
    const { status, headers } = head;
    this.#lostInARow = 0;
    tally.answers++;
    if (isLast(head)) this.abandon();
    if (status === 503 || status === 429) {
      this.#refused(head, body);
      return;
    }
    if (status !== 200 && status !== 204) {
      this.fail(`refused: ${refusalText(head, body)}`);
      return;
    }
    const position = headers.get('holdline-position');
    if (position === undefined || !/^\d{1,16}$/.test(position))
      throw new Error(`an answer to a poll has no Holdline-Position`);
    const isEmpty = status === 204 || body.equals(EMPTY_ARRAY);
    if (isEmpty) tally.emptyAnswers++;
    else this.#reader.feed(body, 0, body.length);
    this.position(position);
    this.#isPolling = false;
    this.join();
    if (this.#isLong) this.shared.pollSoon(this, isEmpty);
  }

  #refused(head: Head, body: Buffer): void {
    if (!this.isJoined) {
      this.fail(`refused: ${refusalText(head, body)}`);
      return;
    }
    this.shared.tally.refusedPolls++;
    const seconds = Number(head.headers.get('retry-after') ?? Number.NaN);
    this.#later(seconds > 0 ? Math.min(seconds * 1000, TIMER_MS_MAX) : RETRY_MS);
  }

  /**
   * The server may close a keep-alive connection just when the next poll is sent; the poll is then
   * sent again.
   */
  protected override lost(reason: string): void {
    // In a pause no poll is under way: the next needs a connection of its own.
    if (!this.#isPolling || this.#pause !== undefined) return;
    this.shared.tally.lostPolls++;
    this.#lostInARow++;
    if (!this.isJoined || this.#lostInARow > RECONNECTS) this.fail(reason);
    else this.#later((this.#lostInARow - 1) * RECONNECT_MS);
  }

  /** Its poll was lost with the connection. */
  protected override reconnect(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#isPolling = true;
    this.#request();
  }

  #later(delayMs: number): void {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#request();
    }, delayMs).unref();
  }
}
