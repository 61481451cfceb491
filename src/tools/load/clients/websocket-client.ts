/**
 * A client on a WebSocket: the handshake, the frames of RFC 6455 that a server sends, and the few
 * that a client answers with.
 */

import { createHash, randomBytes } from 'node:crypto';
import { authorizationField, type Target } from './connection.js';
import { pathAfter, refusalText, type Head } from './http.js';
import { LineClient } from './line-client.js';

/** RFC 6455, 1.3: the answer proves that the server has read the key. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

const CONTINUATION = 0x0;
const TEXT = 0x1;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;

const NORMAL_CLOSURE = 1000;

/** RFC 6455, 5.5: a control frame is one frame of at most this many bytes. */
const CONTROL_BYTES = 125;

/** What the frames of a server mean. */
export interface FrameSink {
  /** Bytes of a text message, as they arrive. They are valid during the call. */
  text(bytes: Buffer, start: number, end: number): void;
  /** A text message is complete. */
  textEnd(): void;
  ping(payload: Buffer): void;
  close(code: number | undefined, reason: string): void;
}

/** Bytes of a frame's head: two, and up to eight of length. Frames of a server have no mask. */
const HEAD_BYTES = 10;

/** Reads the frames of a server, however they are cut. */
export class ServerFrameReader {
  readonly #sink: FrameSink;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** Bytes of payload that are missing; −1 while the head is read. */
  #left = -1;
  #control: Buffer | undefined;
  /** True between the first and the last frame of a message. */
  #isInMessage = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Reads what has come. Throws on what RFC 6455 forbids a server, and on binary messages. */
  feed(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#left < 0) {
        this.#head[this.#headBytes++] = bytes[at++]!;
        if (this.#headBytes === headLength(this.#head, this.#headBytes)) this.#begin();
      } else {
        const pieceEnd = Math.min(end, at + this.#left);
        this.#left -= pieceEnd - at;
        if (this.#control === undefined) this.#sink.text(bytes, at, pieceEnd);
        else
          bytes.copy(
            this.#control,
            this.#control.length - this.#left - (pieceEnd - at),
            at,
            pieceEnd,
          );
        at = pieceEnd;
      }
      if (this.#left === 0) this.#finish();
    }
  }

  get #opcode(): number {
    return this.#head[0]! & 0x0f;
  }

  get #isFinal(): boolean {
    return (this.#head[0]! & 0x80) !== 0;
  }

  #begin(): void {
    const opcode = this.#opcode;
    const length = this.#head[1]! & 0x7f;
    if ((this.#head[0]! & 0x70) !== 0)
      throw new Error('a frame has a bit of an extension that was not agreed on');
    if ((this.#head[1]! & 0x80) !== 0) throw new Error('a frame of the server is masked');
    this.#left = length;
    if (length === 126) this.#left = this.#head.readUInt16BE(2);
    if (length === 127) this.#left = Number(this.#head.readBigUInt64BE(2));
    if (opcode === CLOSE || opcode === PING || opcode === PONG) {
      if (length > CONTROL_BYTES || !this.#isFinal)
        throw new Error('a control frame is too long or not whole');
      this.#control = Buffer.alloc(length);
    } else if (opcode === (this.#isInMessage ? CONTINUATION : TEXT)) {
      this.#isInMessage = true;
    } else {
      throw new Error(
        `a frame with opcode ${opcode} came where ${this.#isInMessage ? 'a message goes on' : 'a text begins'}`,
      );
    }
  }

  #finish(): void {
    const opcode = this.#opcode;
    const control = this.#control;
    this.#left = -1;
    this.#headBytes = 0;
    this.#control = undefined;
    if (control === undefined) {
      if (!this.#isFinal) return;
      this.#isInMessage = false;
      this.#sink.textEnd();
    } else if (opcode === PING) {
      this.#sink.ping(control);
    } else if (opcode === CLOSE) {
      this.#sink.close(
        control.length < 2 ? undefined : control.readUInt16BE(0),
        control.toString('utf8', 2),
      );
    }
  }
}

/** Bytes of the head that begins so; 0 while its second byte is missing. */
function headLength(head: Buffer, known: number): number {
  if (known < 2) return 0;
  const length = head[1]! & 0x7f;
  return length === 127 ? 10 : length === 126 ? 4 : 2;
}

/** A control frame of a client, with its mask. `payload` has at most 125 bytes. */
function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const frame = Buffer.alloc(6 + payload.length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | payload.length;
  randomBytes(4).copy(frame, 2);
  for (let at = 0; at < payload.length; at++) frame[6 + at] = payload[at]! ^ frame[2 + (at & 3)]!;
  return frame;
}

/** The request for a WebSocket; `key` is any 16 bytes in base64. */
export function webSocketRequest(
  { path, authority, key: shown }: Target,
  key: string,
  after: string | undefined,
): string {
  return (
    `GET ${after === undefined ? path : pathAfter(path, after)} HTTP/1.1\r\n` +
    `Host: ${authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${authorizationField(shown)}` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
  );
}

/** Reads until the server closes; answers pings. */
export class WebSocketClient extends LineClient implements FrameSink {
  #frames = new ServerFrameReader(this);
  #key = '';

  opened(): void {
    this.#frames = new ServerFrameReader(this);
    this.#key = randomBytes(16).toString('base64');
    this.send(webSocketRequest(this.shared.target, this.#key, this.continuesAfter));
  }

  head({ status, headers }: Head): boolean {
    if (status !== 101) return false;
    const accept = createHash('sha1').update(`${this.#key}${ACCEPT_GUID}`).digest('base64');
    if (headers.get('sec-websocket-accept') !== accept)
      throw new Error('the server did not accept the WebSocket key');
    const position = headers.get('holdline-position');
    if (position !== undefined) this.position(position);
    this.answered();
    return true;
  }

  complete(head: Head, body: Buffer): void {
    this.fail(`refused: ${refusalText(head, body)}`);
  }

  piece(bytes: Buffer, start: number, end: number): void {
    this.#frames.feed(bytes, start, end);
  }

  text(bytes: Buffer, start: number, end: number): void {
    this.read(bytes, start, end);
  }

  textEnd(): void {
    if (!this.isBetweenEvents) throw new Error('a message ends inside a row');
  }

  ping(payload: Buffer): void {
    this.heartbeat();
    this.socket?.write(maskedFrame(PONG, payload));
  }

  close(code: number | undefined, reason: string): void {
    const words = [code ?? 'without a code', this.endCode, reason].filter(Boolean).join(' ');
    this.fail(`the server closed the WebSocket: ${words}`);
  }

  /** Sends a close frame, or answers the server's; the server then closes the connection. */
  protected override leave(wasJoined: boolean): void {
    // A client that does not read would not see the answer.
    if (!wasJoined || this.role !== 'normal') {
      this.drop();
      return;
    }
    const code = Buffer.alloc(2);
    code.writeUInt16BE(NORMAL_CLOSURE);
    this.socket?.write(maskedFrame(CLOSE, code));
  }
}
