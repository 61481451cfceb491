/** Reads the answers on one connection: HTTP/1.1 as a client needs it. */

import { printable } from '../../../log-text.js';

/** Status and headers of an answer. */
export interface Head {
  readonly status: number;
  readonly headers: Headers;
}

/** The headers of an answer. They are searched on demand: of most answers one or two are read. */
export class Headers {
  readonly #text: string;
  readonly #lowerCase: string;

  /** `text` is the head of an answer, without the empty row at its end. */
  constructor(text: string) {
    this.#text = text;
    this.#lowerCase = text.toLowerCase();
  }

  /** The value of a header; `name` in small letters. */
  get(name: string): string | undefined {
    const at = this.#lowerCase.indexOf(`\r\n${name}:`);
    if (at < 0) return undefined;
    const start = at + name.length + 3;
    const end = this.#text.indexOf('\r\n', start);
    return this.#text.slice(start, end < 0 ? undefined : end).trim();
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }
}

/** Who reads the answers of a connection. */
export interface AnswerSink {
  /**
   * The head is complete. True: the body comes through `piece` as it arrives; false: it is
   * collected.
   */
  head(head: Head): boolean;
  /**
   * Bytes of a body that is read as it arrives, or of what follows a change of protocols. They are
   * valid during the call. `endsChunk` is false while more of the same chunk is to come.
   */
  piece(bytes: Buffer, start: number, end: number, endsChunk: boolean): void;
  /**
   * The answer is complete; `body` is what was collected. Not called for a body that is read as it
   * arrives and ends with its connection.
   */
  complete(head: Head, body: Buffer): void;
}

const HEAD_END = '\r\n\r\n';
const HEAD_BYTES = 16 * 1024;

/**
 * The largest body that is collected: the answer to a poll is at most 1 MiB and one more event,
 * which may have 1 MiB, too.
 */
const BODY_BYTES_MAX = 4 * 1024 * 1024;

const CR = 13;
const LF = 10;
const EMPTY = Buffer.alloc(0);

const IN_HEAD = 0;
/** A body with a length, or one that ends with its connection, or what follows a 101. */
const IN_BODY = 1;
const IN_CHUNK_SIZE = 2;
const IN_CHUNK = 3;
const IN_CHUNK_END = 4;
/** After the last chunk: trailers, and the empty row that ends them. */
const IN_TRAILER = 5;

/** Reads the answers on one connection, however they are cut. */
export class AnswerReader {
  readonly #sink: AnswerSink;
  #state = IN_HEAD;
  #headText = '';
  #head: Head | undefined;
  #isStreamed = false;
  #collected: Buffer[] | undefined;
  #collectedBytes = 0;
  /** Bytes that are missing of a body or a chunk. */
  #left = 0;
  /** Characters so far of a chunk's size, or of a trailer. */
  #rowLength = 0;
  #inExtension = false;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Reads what has come. Throws when it is not HTTP, and what the sink throws. */
  feed(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      switch (this.#state) {
        case IN_HEAD:
          at = this.#readHead(bytes, at, end);
          break;
        case IN_BODY:
        case IN_CHUNK:
          at = this.#readBody(bytes, at, end);
          break;
        case IN_CHUNK_SIZE:
          this.#readChunkSize(bytes[at++]!);
          break;
        case IN_CHUNK_END:
          if (bytes[at] !== CR && bytes[at] !== LF)
            throw new Error('a chunk is longer than its size');
          if (bytes[at++] === LF) this.#state = IN_CHUNK_SIZE;
          break;
        default:
          this.#readTrailer(bytes[at++]!);
      }
    }
  }

  /** True when the answer that is collected has no length: the end of its connection ends it. */
  get endsWithConnection(): boolean {
    return this.#state === IN_BODY && this.#left === Infinity && !this.#isStreamed;
  }

  /** The connection was closed in order. Throws what the sink throws. */
  end(): void {
    if (this.endsWithConnection) this.#finish();
  }

  #readHead(bytes: Buffer, start: number, end: number): number {
    const before = this.#headText.length;
    // No more than a head may have: a large body may follow.
    const taken = Math.min(end, start + HEAD_BYTES - before);
    const text = this.#headText + bytes.toString('latin1', start, taken);
    const headEnd = text.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (headEnd < 0) {
      if (text.length >= HEAD_BYTES)
        throw new Error(`an answer's head is over ${HEAD_BYTES} bytes`);
      this.#headText = text;
      return taken;
    }
    this.#headText = '';
    this.#begin(readHeadText(text.slice(0, headEnd)));
    return start + headEnd + HEAD_END.length - before;
  }

  #begin(head: Head): void {
    const { status, headers } = head;
    // An interim answer: the real one follows. 101 is the last of HTTP.
    if (status >= 100 && status < 200 && status !== 101) return;
    this.#head = head;
    this.#isStreamed = this.#sink.head(head);
    this.#rowLength = 0;
    if (status === 101) this.#expect(IN_BODY, Infinity);
    else if (status === 204 || status === 304) this.#finish();
    else if (/\bchunked$/i.test(headers.get('transfer-encoding') ?? ''))
      this.#expect(IN_CHUNK_SIZE, 0);
    else {
      const length = headers.get('content-length');
      if (length !== undefined && !/^\d{1,15}$/.test(length))
        throw new Error(`Content-Length: ${length}`);
      this.#expect(IN_BODY, length === undefined ? Infinity : Number(length));
      if (this.#left === 0) this.#finish();
    }
  }

  #expect(state: number, bytes: number): void {
    this.#state = state;
    this.#left = bytes;
  }

  #readBody(bytes: Buffer, start: number, end: number): number {
    const pieceEnd = Math.min(end, start + this.#left);
    this.#left -= pieceEnd - start;
    if (this.#isStreamed)
      this.#sink.piece(bytes, start, pieceEnd, this.#left === 0 || this.#state === IN_BODY);
    else this.#collect(bytes, start, pieceEnd);
    if (this.#left === 0) {
      if (this.#state === IN_CHUNK) this.#state = IN_CHUNK_END;
      else this.#finish();
    }
    return pieceEnd;
  }

  #collect(bytes: Buffer, start: number, end: number): void {
    this.#collectedBytes += end - start;
    if (this.#collectedBytes > BODY_BYTES_MAX)
      throw new Error(`an answer's body is over ${BODY_BYTES_MAX} bytes`);
    (this.#collected ??= []).push(Buffer.from(bytes.subarray(start, end)));
  }

  #readChunkSize(byte: number): void {
    if (byte === LF) {
      if (this.#rowLength === 0) throw new Error('a chunk has no size');
      this.#rowLength = 0;
      this.#inExtension = false;
      this.#state = this.#left === 0 ? IN_TRAILER : IN_CHUNK;
      return;
    }
    if (byte === CR || this.#inExtension) return;
    const digit = hexDigit(byte);
    if (digit >= 0 && this.#rowLength < 13) {
      this.#left = this.#left * 16 + digit;
      this.#rowLength++;
    } else if (this.#rowLength > 0 && (byte === 0x3b || byte === 0x20 || byte === 0x09)) {
      this.#inExtension = true;
    } else {
      throw new Error(`a chunk's size has the byte ${byte}`);
    }
  }

  #readTrailer(byte: number): void {
    if (byte === CR) return;
    if (byte !== LF) this.#rowLength++;
    else if (this.#rowLength === 0) this.#finish();
    else this.#rowLength = 0;
  }

  #finish(): void {
    const head = this.#head!;
    const parts = this.#collected;
    const body =
      parts === undefined
        ? EMPTY
        : parts.length === 1
          ? parts[0]!
          : Buffer.concat(parts, this.#collectedBytes);
    this.#state = IN_HEAD;
    this.#left = 0;
    this.#head = undefined;
    this.#collected = undefined;
    this.#collectedBytes = 0;
    this.#sink.complete(head, body);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const small = byte | 0x20;
  return small >= 0x61 && small <= 0x66 ? small - 0x57 : -1;
}

function readHeadText(text: string): Head {
  const status = /^HTTP\/1\.[01] (\d{3})(?: |\r|$)/.exec(text)?.[1];
  if (status === undefined)
    throw new Error(`this is not HTTP/1.1: ${printable(JSON.stringify(text.slice(0, 100)))}`);
  return { status: Number(status), headers: new Headers(text) };
}

/** True when the server closes the connection after this answer. */
export function isLast({ headers }: Head): boolean {
  return /\bclose\b/i.test(headers.get('connection') ?? '');
}

/**
 * A refusal in words: its status, and the code and the message where the body is Holdline's
 * JSON.
 */
export function refusalText({ status }: Head, body: Buffer): string {
  const text = body.toString('utf8').trim();
  try {
    const { code, message } = (JSON.parse(text) as { error: Record<string, unknown> }).error;
    // A server of another make may have an `error` of its own.
    if (typeof code === 'string' && typeof message === 'string')
      return printable(`${status} ${code}: ${message}`);
  } catch {
    // It is no JSON, or has no such member.
  }
  return text === '' ? String(status) : `${status}: ${printable(text.slice(0, 200))}`;
}

/** A parameter that says where to start, as Holdline reads it. */
const POSITION = /^(?:since|last[-_]*event[-_]*id)(?:=|$)/i;

/** The path with a position to continue after, in place of any that stands in its query. */
export function pathAfter(path: string, position: string): string {
  const [name, query] = path.split(/\?(.*)/s, 2) as [string, string | undefined];
  const kept = query?.split('&').filter((one) => !POSITION.test(one)) ?? [];
  return `${name}?${[...kept, `since=${position}`].join('&')}`;
}

/** The path with parameters added to its query. */
export function withParameters(path: string, parameters: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}${parameters}`;
}
