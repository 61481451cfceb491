/**
 * A raw WebSocket client on node:net (RFC 6455): the handshake byte for byte, frames with any bits,
 * lengths, masks and fragments, and a strict reader of what the server sends. What breaks the wire
 * contract fails the next wait.
 */
import { createHash } from 'node:crypto';
import { onTestFinished } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import type { AtEnd } from './begun.js';
import type { Gap } from './line.js';
import type { ServerUnderTest } from './server-under-test.js';
import { RawConnection, requestBytes, ResponseReader, Watched, type ResponseHead } from './wire.js';

/** Operation codes, RFC 6455, 5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Most bytes of a message of several lines; a single line may be longer. */
export const MESSAGE_BYTES = 16_376;

/** A frame as it came, its payload unmasked. */
export interface Frame {
  readonly fin: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly reserved: number;
  readonly opcode: number;
  readonly masked: boolean;
  readonly payload: Buffer;
}

/**
 * What a frame to be sent says of itself; by default it is a whole, masked text frame with the
 * shortest length.
 */
export interface FrameParts {
  readonly opcode?: number;
  readonly fin?: boolean;
  readonly reserved?: number;
  /** The key that the payload is masked with; `null` leaves it unmasked. */
  readonly mask?: Buffer | null;
  /** How the length is written; the shortest way by default. */
  readonly lengthBits?: 7 | 16 | 64;
  /** The length that is announced, bytes; that of the payload by default. */
  readonly announcedBytes?: number;
}

/** The masking key of the RFC's example (5.7). A test needs no other. */
export const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

function masked(payload: Buffer, mask: Buffer): Buffer {
  return payload.map((byte, i) => byte ^ mask[i % 4]!) as Buffer;
}

/** The bytes of one frame. Text is sent as UTF-8. */
export function frameBytes(payload: string | Uint8Array = '', parts: FrameParts = {}): Buffer {
  const { opcode = OPCODE.text, fin = true, reserved = 0, mask = MASK } = parts;
  const body = Buffer.from(payload as string);
  const bytes = parts.announcedBytes ?? body.length;
  const bits = parts.lengthBits ?? (bytes < 126 ? 7 : bytes < 65_536 ? 16 : 64);
  const head = Buffer.alloc(2 + (bits === 7 ? 0 : bits / 8));
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (bits === 7 ? bytes : bits === 16 ? 126 : 127);
  if (bits === 16) head.writeUInt16BE(bytes, 2);
  else if (bits === 64) head.writeBigUInt64BE(BigInt(bytes), 2);
  return Buffer.concat(mask ? [head, mask, masked(body, mask)] : [head, body]);
}

/** A close frame; without a code its payload is empty. */
export function closeBytes(code?: number, reason: string | Uint8Array = ''): Buffer {
  return frameBytes(closePayload(code, reason), { opcode: OPCODE.close });
}

export function closePayload(code?: number, reason: string | Uint8Array = ''): Buffer {
  if (code === undefined) return Buffer.alloc(0);
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason as string)]);
}

/**
 * Takes frames from bytes that may be cut anywhere. A length that is not written the shortest way
 * throws (5.2).
 */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #pieces: Buffer[] = [];
  /** Bytes of a frame that has not come to its end. */
  pendingBytes = 0;
  /** Bytes without which nothing more can be said about it. */
  #neededBytes = 2;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  feed(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.pendingBytes += bytes.length;
    if (this.pendingBytes < this.#neededBytes) return;
    let rest = this.#pieces.length > 1 ? Buffer.concat(this.#pieces) : bytes;
    for (let used = this.#step(rest); used > 0; used = this.#step(rest)) rest = rest.subarray(used);
    this.#pieces = [rest];
    this.pendingBytes = rest.length;
  }

  /** Takes one frame from the front and returns its bytes; 0 asks for more. */
  #step(bytes: Buffer): number {
    if (bytes.length < (this.#neededBytes = 2)) return 0;
    const shortLength = bytes[1]! & 0x7f;
    const lengthBytes = shortLength === 126 ? 2 : shortLength === 127 ? 8 : 0;
    const isMasked = (bytes[1]! & 0x80) !== 0;
    const headBytes = 2 + lengthBytes + (isMasked ? 4 : 0);
    if (bytes.length < (this.#neededBytes = headBytes)) return 0;
    let length = shortLength;
    if (lengthBytes === 2) length = bytes.readUInt16BE(2);
    if (lengthBytes === 8) length = Number(bytes.readBigUInt64BE(2));
    if ((lengthBytes === 2 && length < 126) || (lengthBytes === 8 && length < 65_536))
      throw new Error(`a length of ${length} written in ${lengthBytes} bytes`);
    const end = headBytes + length;
    if (bytes.length < (this.#neededBytes = end)) return 0;
    const payload = bytes.subarray(headBytes, end);
    this.#onFrame({
      fin: (bytes[0]! & 0x80) !== 0,
      reserved: (bytes[0]! >> 4) & 7,
      opcode: bytes[0]! & 15,
      masked: isMasked,
      payload: isMasked ? masked(payload, bytes.subarray(headBytes - 4, headBytes)) : payload,
    });
    return end;
  }
}

/** `Sec-WebSocket-Accept` for a key, RFC 6455, 4.2.2. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

/** The key of the RFC's example (1.3). */
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** Headers of a handshake by name; `undefined` leaves one out that would be sent. */
export type HandshakeHeaders = Readonly<Record<string, string | undefined>>;

/**
 * The bytes of a handshake; a header given here takes the place of the usual one, in whatever case
 * it is written.
 */
export function handshakeBytes(port: number, path: string, headers: HandshakeHeaders = {}): Buffer {
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const usual = {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
  };
  const all = [
    ...Object.entries(usual).filter(([name]) => !given.has(name.toLowerCase())),
    ...Object.entries(headers),
  ];
  const sent = all.filter((entry): entry is [string, string] => entry[1] !== undefined);
  return requestBytes(port, 'GET', path, { headers: Object.fromEntries(sent) });
}

/** A line of a message that is an event; `raw` is without its line feed. */
export interface EventLine {
  readonly raw: string;
  readonly id: number;
  readonly channel: string;
  readonly event?: string;
  readonly data: unknown;
}

/** The answer to a message of the client: one of the two is there. */
export interface Reply {
  readonly raw: string;
  readonly ok?: { readonly ref?: string | number; readonly id: number };
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly ref?: string | number;
  };
}

/** How a WebSocket is opened. */
export interface WebSocketOptions {
  readonly headers?: HandshakeHeaders;
  /** Keep messages, events and replies (the default); a client that meets megabytes only counts. */
  readonly keep?: boolean;
  /** Answer pings and the server's close frame, as every client must (the default). */
  readonly answers?: boolean;
  readonly onEvent?: (event: EventLine) => void;
  readonly onReply?: (reply: Reply) => void;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Names of an object in their order, as one word. */
function shapeOf(value: unknown): string {
  return typeof value === 'object' && value !== null ? Object.keys(value).join() : typeof value;
}

/**
 * An open WebSocket. Each data frame must be a whole, unmasked text message of whole lines of the
 * documented shapes; ids must rise strictly; nothing may follow an end line or a close frame.
 */
export class WebSocketLine extends Watched {
  readonly connection: RawConnection;
  readonly path: string;
  readonly messages: string[] = [];
  readonly events: EventLine[] = [];
  readonly gaps: Gap[] = [];
  readonly replies: Reply[] = [];
  /** Ping and pong frames, in order. */
  readonly controls: Frame[] = [];
  end: { readonly code: string; readonly reconnect: boolean } | undefined;
  /** The server's close frame; its code is undefined where it has none (RFC 6455, 7.1.5). */
  closeFrame: { readonly code: number | undefined; readonly reason: string } | undefined;
  messageCount = 0;
  largestMessageBytes = 0;
  eventCount = 0;
  replyCount = 0;
  lastId = -1;
  readonly #http: ResponseReader;
  readonly #frames = new FrameReader((frame) => this.#frame(frame));
  readonly #options: WebSocketOptions;

  private constructor(connection: RawConnection, path: string, options: WebSocketOptions) {
    super();
    this.connection = connection;
    this.path = path;
    this.#options = options;
    this.#http = new ResponseReader((bytes) => this.#frames.feed(bytes));
    connection.consume = (bytes) => {
      try {
        this.#http.feed(bytes);
      } catch (error) {
        this.broken = new Error(`${path}: ${(error as Error).message}`, { cause: error });
      }
      this.changed();
    };
    connection.socket.on('close', () => this.changed());
  }

  /**
   * Shakes hands and waits for the 101, whose accept value is checked. Any other answer is an
   * error.
   */
  static async open(
    port: number,
    path: string,
    options: WebSocketOptions = {},
  ): Promise<WebSocketLine> {
    const connection = await RawConnection.open(port);
    const line = new WebSocketLine(connection, path, options);
    connection.send(handshakeBytes(port, path, options.headers));
    const head = await line.waitFor('the head of the answer', () => {
      if (connection.closed)
        throw new Error(`${path}: closed before a head; ${connection.describe()}`);
      return line.#http.head;
    });
    if (head.status !== 101) throw new Error(`${path}: ${head.raw}`);
    const accept = acceptOf(options.headers?.['Sec-WebSocket-Key'] ?? KEY);
    if (head.headers.get('sec-websocket-accept') !== accept)
      throw new Error(`${path}: not the accept value: ${head.raw}`);
    return line;
  }

  describe(): string {
    const { code, reason } = this.closeFrame ?? {};
    return `${this.path}: ${this.eventCount} events, ${this.replyCount} replies, ${this.gaps.length} gaps, last id ${this.lastId}, close ${this.closeFrame ? `${code} ${reason}` : 'none'}, ${this.connection.describe()}, last message ${JSON.stringify(this.messages.at(-1)?.slice(-300))}`;
  }

  get head(): ResponseHead {
    return this.#http.head!;
  }

  get ids(): number[] {
    return this.events.map((event) => event.id);
  }

  /** The lines of all messages, as they stood, without their line feeds. */
  get lines(): string[] {
    return this.messages.join('').split('\n').slice(0, -1);
  }

  /** The connection is gone. A frame that was cut off by it is an error. */
  get closed(): boolean {
    if (this.connection.closed && this.#frames.pendingBytes > 0)
      throw new Error(`${this.path}: closed in the middle of a frame; ${this.describe()}`);
    return this.connection.closed;
  }

  /** Sends one whole text message. */
  send(text: string | Uint8Array): void {
    this.connection.send(frameBytes(text));
  }

  sendFrame(payload: string | Uint8Array, parts: FrameParts): void {
    this.connection.send(frameBytes(payload, parts));
  }

  /** Sends one text message and gives the next reply. */
  async ask(text: string | Uint8Array): Promise<Reply> {
    const before = this.replies.length;
    this.send(text);
    return this.waitFor('a reply', () => this.replies[before]);
  }

  /** Publishes with a reference of its own and gives the id. */
  async publish(publish: { event?: string; data: unknown; channel?: string }): Promise<number> {
    const ref = `publish ${this.replyCount}`;
    const { ok, raw } = await this.ask(JSON.stringify({ publish, ref }));
    if (ok?.ref !== ref) throw new Error(`${this.path}: not the ok to ${ref}: ${raw}`);
    return ok.id;
  }

  waitForId(id: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`id ${id}`, () => this.lastId >= id, deadlineMs);
  }

  waitForEvents(count: number, deadlineMs?: number): Promise<boolean> {
    return this.waitFor(`${count} events`, () => this.eventCount >= count, deadlineMs);
  }

  /** Waits until the connection is gone, whoever closed it and however. */
  waitForClose(deadlineMs?: number): Promise<boolean> {
    return this.waitFor('the end of the connection', () => this.closed, deadlineMs);
  }

  /** Sends a ping and waits for its pong: what was sent before it has been read by then. */
  async roundTrip(): Promise<void> {
    const payload = Buffer.from(`round trip ${this.controls.length}`);
    this.sendFrame(payload, { opcode: OPCODE.ping });
    await this.waitFor('the pong', () =>
      this.controls.some(
        ({ opcode, payload: got }) => opcode === OPCODE.pong && payload.equals(got),
      ),
    );
  }

  /** Sends a close frame; the server answers with one of its own and closes. */
  close(code?: number, reason?: string | Uint8Array): void {
    this.connection.send(closeBytes(code, reason));
  }

  /** Drops the connection without a word. */
  destroy(): void {
    this.connection.destroy();
  }

  #frame({ fin, reserved, opcode, masked: isMasked, payload }: Frame): void {
    if (this.closeFrame) throw new Error(`a frame after the close frame: opcode ${opcode}`);
    if (!fin || reserved !== 0 || isMasked)
      throw new Error(`fin ${fin}, reserved ${reserved}, masked ${isMasked}`);
    const { answers = true } = this.#options;
    switch (opcode) {
      case OPCODE.text:
        this.#message(payload);
        break;
      case OPCODE.ping:
      case OPCODE.pong:
        this.controls.push({
          fin,
          reserved,
          opcode,
          masked: isMasked,
          payload: Buffer.from(payload),
        });
        if (opcode === OPCODE.ping && answers) this.sendFrame(payload, { opcode: OPCODE.pong });
        break;
      case OPCODE.close:
        this.closeFrame = {
          code: payload.length === 0 ? undefined : payload.readUInt16BE(),
          reason: utf8.decode(payload.subarray(2)),
        };
        if (answers && this.connection.socket.writable)
          this.connection.send(frameBytes(payload.subarray(0, 2), { opcode }));
        break;
      default:
        throw new Error(`a frame of opcode ${opcode}`);
    }
  }

  #message(payload: Buffer): void {
    const text = utf8.decode(payload);
    const lines = text.split('\n');
    if (lines.pop() !== '')
      throw new Error(
        `a message that does not end with a line feed: ${JSON.stringify(text.slice(-200))}`,
      );
    if (lines.length > 1 && payload.length > MESSAGE_BYTES)
      throw new Error(`${lines.length} lines in ${payload.length} bytes`);
    this.messageCount++;
    this.largestMessageBytes = Math.max(this.largestMessageBytes, payload.length);
    if (this.#options.keep ?? true) this.messages.push(text);
    for (const line of lines) this.#line(line);
  }

  #line(raw: string): void {
    if (this.end) throw new Error(`a line after the end line: ${raw.slice(0, 200)}`);
    const line = JSON.parse(raw) as Record<string, unknown>;
    const keep = this.#options.keep ?? true;
    const [kind] = Object.keys(line);
    switch (`${shapeOf(line)} ${kind === 'id' ? '' : shapeOf(line[kind!])}`) {
      case 'id,channel,data ':
      case 'id,channel,event,data ': {
        const event = { raw, ...line } as unknown as EventLine;
        if (event.id <= this.lastId) throw new Error(`id ${event.id} after ${this.lastId}`);
        this.lastId = event.id;
        this.eventCount++;
        if (keep) this.events.push(event);
        this.#options.onEvent?.(event);
        break;
      }
      case 'gap after,before':
        this.gaps.push(line['gap'] as Gap);
        break;
      case 'end code,reconnect':
        this.end = line['end'] as { code: string; reconnect: boolean };
        break;
      case 'ok id':
      case 'ok ref,id':
      case 'error code,message':
      case 'error code,message,ref': {
        const reply = { raw, ...line } as Reply;
        this.replyCount++;
        if (keep) this.replies.push(reply);
        this.#options.onReply?.(reply);
        break;
      }
      default:
        throw new Error(`not a documented line: ${raw.slice(0, 200)}`);
    }
  }
}

/** A WebSocket to a test's server that is gone when the test is. */
export async function openWebSocket(
  { port }: Pick<ServerUnderTest, 'port'>,
  path: string,
  options?: WebSocketOptions,
  atEnd: AtEnd = onTestFinished,
): Promise<WebSocketLine> {
  const line = await WebSocketLine.open(port, path, options);
  atEnd(() => line.destroy());
  return line;
}

/** The `ws` package as a client, which has its own opinion of what a correct frame is. */
export class WsClient extends Watched {
  readonly socket: WebSocket;
  readonly messages: string[] = [];
  /** The lines of all messages, read. */
  readonly lines: Record<string, unknown>[] = [];
  readonly pongs: string[] = [];
  /** Code and reason of the close, once it is closed; 1006 when no close frame came. */
  closed: { readonly code: number; readonly reason: string } | undefined;

  private constructor(socket: WebSocket) {
    super();
    this.socket = socket;
    socket.on('open', () => this.changed());
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) this.broken = new Error('a binary message');
      const message = data.toString();
      this.messages.push(message);
      for (const line of message.split('\n').slice(0, -1))
        this.lines.push(JSON.parse(line) as Record<string, unknown>);
      this.changed();
    });
    socket.on('pong', (data) => {
      this.pongs.push(data.toString());
      this.changed();
    });
    socket.on('error', (error) => {
      this.broken = error;
      this.changed();
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.changed();
    });
  }

  /** Opens it; it is gone when the test is. */
  static async open(
    { port }: Pick<ServerUnderTest, 'port'>,
    path: string,
    options: ClientOptions = {},
  ): Promise<WsClient> {
    const client = new WsClient(new WebSocket(`ws://127.0.0.1:${port}${path}`, options));
    onTestFinished(() => client.socket.terminate());
    await client.waitFor('the socket opens', () => client.socket.readyState === WebSocket.OPEN);
    return client;
  }

  describe(): string {
    return `${this.messages.length} messages, closed ${JSON.stringify(this.closed)}`;
  }

  /** Ids of the events, in order. */
  get ids(): number[] {
    return this.lines.flatMap((line) => (typeof line['id'] === 'number' ? [line['id']] : []));
  }

  waitForLines(count: number): Promise<boolean> {
    return this.waitFor(`${count} lines`, () => this.lines.length >= count);
  }

  async waitForClose(): Promise<{ readonly code: number; readonly reason: string }> {
    return this.waitFor('the close', () => this.closed);
  }
}
