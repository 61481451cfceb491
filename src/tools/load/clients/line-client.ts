/**
 * A client that holds a line: a stream or a WebSocket. It reads every event or, where it is not
 * checked, counts bytes: then a read costs little more than the system call.
 */

import { Client, type SharedContext } from './client.js';
import { EventReader, lastIdIn } from './event-reader.js';
import type { Ledger } from '../books/ledger.js';
import type { Role } from './mix.js';

/** Counts as subscribed once the server has answered. */
export abstract class LineClient extends Client {
  /**
   * Id of its last event when it last dropped its connection in this round; NaN where it knew
   * none.
   */
  leftOffAt = Number.NaN;
  #reader: EventReader;
  /** The head of the answer has come; what came with it is still being read. */
  #isAnswered = false;
  /** The beginning of the line has been read: from here on events can be counted by bytes. */
  #isUnderWay = false;
  /**
   * Of a client that is not checked: the events at the beginning of its line, which were read, and
   * the bytes that came since.
   */
  #readEvents = 0;
  #countedBytes = 0;

  constructor(row: number, role: Role, shared: SharedContext) {
    super(row, role, shared);
    this.#reader = new EventReader(shared.format, this);
  }

  override begin(ledger: Ledger | undefined, bookRow: number): void {
    super.begin(ledger, bookRow);
    this.#readEvents = 0;
    this.#countedBytes = 0;
    this.leftOffAt = Number.NaN;
  }

  /** Subscribes again from its last event. */
  override comeBack(inHerd: boolean): boolean {
    const after = this.continuesAfterId;
    if (!super.comeBack(inHerd)) return false;
    this.leftOffAt = after;
    return true;
  }

  protected override connect(): void {
    this.#reader = new EventReader(this.shared.format, this);
    this.#isAnswered = false;
    this.#isUnderWay = false;
    this.#readEvents = 0;
    this.#countedBytes = 0;
    super.connect();
  }

  /**
   * The head of the answer accepts the subscription. A refusal may still follow in the same
   * bytes.
   */
  protected answered(): void {
    this.#isAnswered = true;
  }

  override bytes(buffer: Buffer, byteCount: number): boolean {
    super.bytes(buffer, byteCount);
    if (this.#isAnswered && this.isConnected && !this.isOver && this.#hasReplay) {
      this.#isAnswered = false;
      this.join();
    }
    return this.readsOn;
  }

  /** Reads or counts bytes of the stream. Throws when the server sends what it should not. */
  protected read(bytes: Buffer, start: number, end: number): void {
    const { tally, comeBack } = this.shared;
    const byteCount = end - start;
    if (this.ledger === undefined) tally.countedBytes += byteCount;
    if (this.#isCounting) {
      this.#countedBytes += byteCount;
      if (comeBack) this.#noteWhere(bytes, start, end);
      return;
    }
    if (this.#isMeasured) tally.checkedBytes += byteCount;
    this.#reader.feed(bytes, start, end);
    if (this.isJoined && this.#reader.isBetweenEvents) this.#isUnderWay = true;
  }

  /**
   * Events that came in this round, or since it came back, to a client that is not checked: not a
   * whole number, since framing is part of the bytes.
   */
  eventsAt(bytesPerEvent: number): number {
    return this.#readEvents + (this.#countedBytes === 0 ? 0 : this.#countedBytes / bytesPerEvent);
  }

  /** All events that it must have before it counts as subscribed have come. */
  get #hasReplay(): boolean {
    return this.owedFirst === 0 || this.ledger!.deliveredTo(this.bookRow) >= this.owedFirst;
  }

  /** Its events are not read. */
  get #isCounting(): boolean {
    return this.#isUnderWay && this.ledger === undefined;
  }

  /** Its events and bytes are used to find what an event takes. */
  get #isMeasured(): boolean {
    return this.#isUnderWay && this.ledger !== undefined && this.role === 'normal';
  }

  protected get isBetweenEvents(): boolean {
    return this.#isCounting || this.#reader.isBetweenEvents;
  }

  override event(id: number, sequence: number, dueUs: number): void {
    if (this.ledger === undefined) this.#readEvents++;
    else if (this.#isMeasured) this.shared.tally.checkedEvents++;
    super.event(id, sequence, dueUs);
  }

  #noteWhere(bytes: Buffer, start: number, end: number): void {
    const id = lastIdIn(this.shared.format, bytes, start, end);
    if (!Number.isNaN(id)) this.lastId = id;
  }
}
