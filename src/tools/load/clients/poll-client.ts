/**
 * A client that polls: the next poll at once (long-poll) or when it is its turn (short-poll), from
 * the position of the last answer.
 */

import { Client, type SharedContext } from './client.js';
import { EventReader } from './encoding.js';
import { refusalText, withParameters, type Head } from './http.js';
import type { Role } from './mix.js';

/** Events an answer may have. */
const LIMIT = 1000;

/** How long the server may wait with an answer to a long-poll, s. */
const WAIT_SECONDS = 25;

/** How long a poll that was refused for now waits when the answer does not say. */
const RETRY_MS = 1000;

/**
 * How long to wait after the nth connection in a row that was lost without an answer, and how many
 * may be.
 */
const RECONNECT_MS = 100;
const RECONNECTS = 5;

/** Comes back over lost connections, as a browser would: the position is in its request. */
export class PollClient extends Client {
  readonly #isLong: boolean;
  readonly #reader: EventReader;
  /** From the moment a poll is due until its answer is complete. */
  #isPolling = false;
  #lostInARow = 0;
  #pause: NodeJS.Timeout | undefined;

  constructor(row: number, role: Role, shared: SharedContext, isLong: boolean) {
    super(row, role, shared);
    this.#isLong = isLong;
    this.#reader = new EventReader(shared.format, this);
  }

  /** Learns the position from which everything is owed: a first poll that does not wait. */
  override start(): void {
    this.poll();
  }

  /** Polls, unless an answer is still awaited. */
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
    const { path, authority } = this.shared.target;
    const position = this.continuesAfter;
    const since = position === undefined ? '' : `since=${position}&`;
    const wait = this.#isLong && position !== undefined ? WAIT_SECONDS : 0;
    this.send(
      `GET ${withParameters(path, `${since}limit=${LIMIT}&wait=${wait}`)} HTTP/1.1\r\nHost: ${authority}\r\n` +
        'Accept: application/json\r\n\r\n',
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
    // Nothing, or an array without an event.
    const isEmpty = body.length <= 2;
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
    this.#later(seconds > 0 ? seconds * 1000 : RETRY_MS);
  }

  /**
   * A keep-alive connection ends when the server closes it, maybe just when the next poll is sent;
   * the poll is sent again then.
   */
  protected override lost(reason: string): void {
    if (!this.#isPolling) return;
    this.shared.tally.lostPolls++;
    this.#lostInARow++;
    if (!this.isJoined || this.#lostInARow > RECONNECTS) this.fail(reason);
    else this.#later((this.#lostInARow - 1) * RECONNECT_MS);
  }

  /** What it had asked for went with the connection. */
  protected override reconnect(): void {
    clearTimeout(this.#pause);
    this.#isPolling = true;
    this.#request();
  }

  #later(delayMs: number): void {
    this.#pause = setTimeout(() => this.#request(), delayMs).unref();
  }
}
