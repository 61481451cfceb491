/**
 * A checked line of WebSocket, and the reader of its frames (RFC 6455, 5.2), which lines that are
 * not checked use alone.
 */
import { CheckedLine, type Ledger } from './checked-line.js';
import { ndjsonData, ndjsonEnd, readDueUs, readNdjsonId, readSequence } from './event.js';

const FINAL = 0x80;
const MASKED = 0x80;
const LENGTH_16_BITS = 126;
const LENGTH_64_BITS = 127;
const OPCODE_TEXT = 1;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;

/**
 * A pong without payload, masked with zeros, as a client has to; the servers here ping without
 * payload.
 */
export const PONG: Buffer = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

export interface FrameHandlers {
  /** A part of a text message; `isLast` with its last byte. */
  text(buffer: Buffer, start: number, end: number, isLast: boolean): void;
  ping(): void;
  close(): void;
  /** A frame that no server here should send: masked, fragmented, binary, with reserved bits. */
  damaged(): void;
}

/**
 * Walks over the frames of one connection, however they are cut by reads, and keeps none of their
 * bytes.
 */
export class FrameReader {
  readonly #handlers: FrameHandlers;
  /** First byte of the frame; −1 = not read yet. */
  #first = -1;
  #lengthBytesLeft = 0;
  #payloadLeft = 0;

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  feed(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#first === -1) {
        this.#first = buffer[at++]!;
        this.#payloadLeft = -1;
      } else if (this.#payloadLeft === -1) {
        at = this.#secondByte(buffer, at);
      } else if (this.#lengthBytesLeft > 0) {
        this.#payloadLeft = this.#payloadLeft * 256 + buffer[at++]!;
        if (--this.#lengthBytesLeft === 0) this.#payload(buffer, at, at);
      } else {
        const to = Math.min(end, at + this.#payloadLeft);
        this.#payloadLeft -= to - at;
        this.#payload(buffer, at, to);
        at = to;
      }
    }
  }

  #secondByte(buffer: Buffer, at: number): number {
    const byte = buffer[at]!;
    const length = byte & ~MASKED;
    if ((byte & MASKED) !== 0) this.#handlers.damaged();
    this.#lengthBytesLeft = length === LENGTH_16_BITS ? 2 : length === LENGTH_64_BITS ? 8 : 0;
    this.#payloadLeft = this.#lengthBytesLeft === 0 ? length : 0;
    if (this.#lengthBytesLeft === 0) this.#payload(buffer, at + 1, at + 1);
    return at + 1;
  }

  /**
   * Some of the payload, or none of it, just behind the head; ends the frame with its last byte.
   */
  #payload(buffer: Buffer, start: number, end: number): void {
    const isLast = this.#payloadLeft === 0;
    if (this.#first === (FINAL | OPCODE_TEXT)) this.#handlers.text(buffer, start, end, isLast);
    else if (isLast) this.#control();
    if (isLast) this.#first = -1;
  }

  #control(): void {
    if (this.#first === (FINAL | OPCODE_PING)) this.#handlers.ping();
    else if (this.#first === (FINAL | OPCODE_CLOSE)) this.#handlers.close();
    else this.#handlers.damaged();
  }
}

const LF = 10;

/** Reads each message as whole NDJSON lines. */
export class CheckedWebSocket extends CheckedLine {
  readonly #frames: FrameReader;
  #atUs = 0;

  /** `pong` is to answer a ping. */
  constructor(ledger: Ledger, pong: () => void) {
    super(ledger);
    this.#frames = new FrameReader({
      text: (buffer, start, end, isLast) => this.#text(buffer, start, end, isLast),
      ping: () => {
        this.seen.heartbeats++;
        pong();
      },
      close: () => {},
      damaged: () => this.seen.damaged++,
    });
  }

  protected override begin(head: string): void {
    if (!/^upgrade: *websocket\r?$/im.test(head)) this.seen.damaged++;
  }

  protected override body(buffer: Buffer, start: number, end: number, atUs: number): void {
    this.#atUs = atUs;
    this.#frames.feed(buffer, start, end);
  }

  #text(buffer: Buffer, start: number, end: number, isLast: boolean): void {
    let at = start;
    // A line begun in an earlier read is finished in the carry.
    while (this.carryBytes > 0 && at < end) {
      const byte = buffer[at++]!;
      this.keep(byte);
      if (byte !== LF) continue;
      this.#line(this.carry, 0, this.carryBytes);
      this.carryBytes = 0;
    }
    while (at < end) {
      const eventEnd = this.#event(buffer, at, end);
      if (eventEnd !== -1) {
        at = eventEnd;
        continue;
      }
      const found = buffer.indexOf(LF, at);
      if (found === -1 || found >= end) {
        for (; at < end; at++) this.keep(buffer[at]!);
        break;
      }
      this.#line(buffer, at, found + 1);
      at = found + 1;
    }
    // A message is whole lines: it never leaves the beginning of one.
    if (!isLast || this.carryBytes === 0) return;
    this.seen.damaged++;
    this.carryBytes = 0;
  }

  /**
   * The end of the event that begins at `start`, behind its line feed; −1 when it is something else
   * or not all here.
   */
  #event(buffer: Buffer, start: number, end: number): number {
    const data = ndjsonData(buffer, start, end - 1);
    if (data === -1 || buffer[ndjsonEnd(data)] !== LF) return -1;
    this.deliver(
      readNdjsonId(buffer, start),
      readDueUs(buffer, data),
      readSequence(buffer, data),
      this.#atUs,
    );
    const lineEnd = ndjsonEnd(data) + 1;
    this.seen.frameBytes += lineEnd - start;
    return lineEnd;
  }

  #line(buffer: Buffer, start: number, end: number): void {
    if (this.#event(buffer, start, end) === end) return;
    const text = buffer.toString('latin1', start, end);
    if (text.startsWith('{"gap":')) this.seen.gapEvents++;
    else if (text.startsWith('{"end":')) this.seen.endEvents++;
    else this.seen.damaged++;
  }
}
