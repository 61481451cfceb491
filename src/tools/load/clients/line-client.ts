/**
 * A client that holds a line: a stream or a WebSocket. It reads every event or, where it is not
 * checked, counts bytes: then a read costs little more than the system call. Of gzip it decodes
 * everything by itself, or where it is not checked, looks up what others have decoded.
 */

import { Client, type SharedContext } from './client.js';
import { EventReader, lastIdIn } from './event-reader.js';
import { GzipReader } from './gzip-reader.js';
import type { Ledger } from '../books/ledger.js';
import type { Role } from './mix.js';
import type { Reading } from './shared-blocks.js';

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
  /** The same of the connections that it has dropped in this round. */
  #readBefore = 0;
  #countedBefore = 0;
  /** The line is gzip. */
  #gzip: GzipReader | undefined;
  /** An event has come on it. */
  #hasEvents = false;
  /**
   * Of a line in gzip that is not checked: the highest id that was read, and the events that came
   * under another or under that again.
   */
  #highestId = -Infinity;
  #disordered = 0;

  constructor(row: number, role: Role, shared: SharedContext) {
    super(row, role, shared);
    this.#reader = new EventReader(shared.format, this);
  }

  override begin(ledger: Ledger | undefined, bookRow: number): void {
    super.begin(ledger, bookRow);
    this.#readEvents = 0;
    this.#countedBytes = 0;
    this.#readBefore = 0;
    this.#countedBefore = 0;
    this.#disordered = 0;
    this.leftOffAt = Number.NaN;
  }

  /** Subscribes again from its last event. */
  override comeBack(inHerd: boolean): boolean {
    const after = this.continuesAfterId;
    const readEvents = this.#readEvents;
    const countedBytes = this.#countedBytes;
    if (!super.comeBack(inHerd)) return false;
    this.leftOffAt = after;
    this.#readBefore += readEvents;
    this.#countedBefore += countedBytes;
    return true;
  }

  protected override connect(): void {
    this.#reader = new EventReader(this.shared.format, this);
    this.#isAnswered = false;
    this.#isUnderWay = false;
    this.#readEvents = 0;
    this.#countedBytes = 0;
    this.#gzip = undefined;
    this.#hasEvents = false;
    super.connect();
  }

  /**
   * The head of the answer accepts the subscription. A refusal may still follow in the same
   * bytes.
   */
  protected answered(): void {
    this.#isAnswered = true;
  }

  /** The stream has such a `Content-Encoding`. Throws when it is none that was asked for. */
  protected answeredIn(coding: string | undefined): void {
    if (coding === undefined || coding === 'identity') return;
    if (coding !== 'gzip' || !this.shared.compress)
      throw new Error(`Content-Encoding: ${coding} was not asked for`);
    this.#gzip = new GzipReader();
  }

  /** True when the stream is gzip. */
  get isGzip(): boolean {
    return this.#gzip !== undefined;
  }

  /** Events that came out of order or again, where it is not checked and its line is gzip. */
  get disordered(): number {
    return this.#disordered;
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
    if (this.ledger === undefined && !this.isGzip) tally.countedBytes += byteCount;
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
   * Reads bytes of a stream in gzip. Throws as `read` does, and when they are none.
   */
  protected readGzip(bytes: Buffer, start: number, end: number, isWhole: boolean): void {
    const { tally, blocks } = this.shared;
    const gzip = this.#gzip as GzipReader;
    tally.gzipBytes += end - start;
    if (this.ledger === undefined && !this.#hasEvents) gzip.leaveOutBeginning();
    if (this.ledger === undefined && this.#isUnderWay) {
      tally.blocks++;
      const canShare = isWhole && gzip.isBetweenBlocks && this.#reader.isBetweenEvents;
      const found =
        canShare && !this.wasInHerd ? blocks.find(gzip.window, bytes, start, end) : undefined;
      if (found !== undefined) {
        if (found.isFresh) tally.inflatedBlocks++;
        gzip.skipTo(found.to);
        this.#take(found.reading);
        return;
      }
      tally.inflatedBlocks++;
    }
    const plain = gzip.feed(bytes, start, end, isWhole);
    tally.plainBytes += plain.length;
    if (plain.length > 0) this.read(plain, 0, plain.length);
  }

  /** It was given a block that was read before. */
  #take({ plainBytes, events, disordered, firstId, lastId }: Reading): void {
    const { tally } = this.shared;
    tally.plainBytes += plainBytes;
    if (events === 0) return;
    this.#hasEvents = true;
    // Of a block that is not in order, or that does not follow, it is not known what was new.
    const isNew = disordered === 0 && firstId > this.#highestId;
    if (isNew) {
      this.#readEvents += events;
      tally.countedEvents += events;
    } else this.#disordered += events;
    this.#highestId = Math.max(this.#highestId, lastId);
    this.lastId = lastId;
  }

  /**
   * Events that came in this round, or since it came back, to a client that is not checked: not a
   * whole number, since framing is part of the bytes.
   */
  eventsAt(bytesPerEvent: number): number {
    return this.#readEvents + this.#countedBytes / bytesPerEvent;
  }

  /** The same of all its connections before this one. */
  eventsBefore(bytesPerEvent: number): number {
    return this.#readBefore + this.#countedBefore / bytesPerEvent;
  }

  /** All events that it must have before it counts as subscribed have come. */
  get #hasReplay(): boolean {
    return this.owedFirst === 0 || this.ledger!.deliveredTo(this.bookRow) >= this.owedFirst;
  }

  /** Its events are not read. */
  get #isCounting(): boolean {
    return this.#isUnderWay && this.ledger === undefined && !this.isGzip;
  }

  /** Its events and bytes are used to find what an event takes. */
  get #isMeasured(): boolean {
    return this.#isUnderWay && this.ledger !== undefined && this.role === 'normal';
  }

  protected get isBetweenEvents(): boolean {
    return this.#isCounting || this.#reader.isBetweenEvents;
  }

  override event(id: number, sequence: number, dueUs: number): void {
    this.#hasEvents = true;
    if (this.ledger === undefined) this.#count(id);
    else if (this.#isMeasured) this.shared.tally.checkedEvents++;
    super.event(id, sequence, dueUs);
  }

  #count(id: number): void {
    if (this.isGzip) {
      if (id <= this.#highestId) {
        this.#disordered++;
        return;
      }
      if (!Number.isNaN(id)) this.#highestId = id;
      this.shared.tally.countedEvents++;
    }
    this.#readEvents++;
  }

  #noteWhere(bytes: Buffer, start: number, end: number): void {
    const id = lastIdIn(this.shared.format, bytes, start, end);
    if (!Number.isNaN(id)) this.lastId = id;
  }
}
