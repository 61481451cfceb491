/**
 * A raw client on node:net: sends exact bytes, reads exact bytes, takes HTTP/1.1 framing apart
 * strictly.
 */
import { connect, type Socket } from 'node:net';

/**
 * How long a test waits for a condition before it fails; generous, because nothing waits for it
 * when all is well.
 */
export const DEADLINE_MS = 15_000;

/**
 * Something that changes: `waitFor` looks at a condition after each change, and fails in words at
 * its deadline.
 */
export abstract class Watched {
  readonly #waiting = new Set<() => void>();
  /** Set when what was read breaks the contract; every wait then fails with it. */
  broken: Error | undefined;

  /** What a failed wait says about the state it found. */
  abstract describe(): string;

  protected changed(): void {
    for (const look of this.#waiting) look();
  }

  /**
   * Resolves with the first truthy value of `condition`; rejects at the deadline, or when something
   * `broken` was read.
   */
  waitFor<T>(
    what: string,
    condition: () => T | false | null | undefined | 0 | '',
    deadlineMs = DEADLINE_MS,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        act();
      };
      const look = (): void => {
        try {
          if (this.broken) throw this.broken;
          const value = condition();
          if (value) settle(() => resolve(value));
        } catch (error) {
          settle(() => reject(error instanceof Error ? error : new Error(String(error))));
        }
      };
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(new Error(`not within ${deadlineMs} ms: ${what}; ${this.describe()}`)),
          ),
        deadlineMs,
      );
      this.#waiting.add(look);
      look();
    });
  }
}

/**
 * A TCP connection whose received bytes go to one consumer; it knows whether and how it was closed.
 */
export class RawConnection extends Watched {
  readonly socket: Socket;
  /** The port it is connected to. */
  readonly port: number;
  /** Receives every piece as it comes; by default pieces are kept and read with `text`. */
  consume: (bytes: Buffer) => void = (bytes) => void this.#kept.push(bytes);
  readonly #kept: Buffer[] = [];
  bytesRead = 0;
  /** The other side sent its FIN. */
  ended = false;
  closed = false;
  /** `ECONNRESET` and the like, when it was closed by an error. */
  errorCode: string | undefined;

  constructor(socket: Socket, port: number) {
    super();
    this.socket = socket;
    this.port = port;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      this.bytesRead += bytes.length;
      try {
        this.consume(bytes);
      } catch (error) {
        this.broken = error as Error;
      }
      this.changed();
    });
    socket.on('end', () => {
      this.ended = true;
      this.changed();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code ?? error.message;
    });
    socket.on('close', () => {
      this.closed = true;
      this.changed();
    });
  }

  /**
   * Connects; with `paused`, nothing is taken from the socket until `resume` (a stalled reader).
   */
  static open(port: number, { host = '127.0.0.1', paused = false } = {}): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, noDelay: true });
      const connection = new RawConnection(socket, port);
      if (paused) socket.pause();
      socket.once('connect', () => resolve(connection));
      socket.once('error', reject);
    });
  }

  describe(): string {
    return `${this.bytesRead} bytes read, ${this.closed ? `closed (${this.errorCode ?? 'in order'})` : 'open'}`;
  }

  /** What was received while nobody else consumed it. */
  get text(): string {
    return Buffer.concat(this.#kept).toString('latin1');
  }

  /** Sends these bytes as they are; text is sent as UTF-8. */
  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Announces a change that a consumer made. */
  touch(): void {
    this.changed();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** Status line and headers of a response, also as they stood on the wire. */
export interface ResponseHead {
  readonly raw: string;
  readonly status: number;
  /**
   * By lower-case name. `Vary` may stand twice and is joined (RFC 9110, 5.3); any other name that
   * does is an error.
   */
  readonly headers: ReadonlyMap<string, string>;
}

function parseHead(raw: string): ResponseHead {
  const [statusLine = '', ...lines] = raw.split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) [^\r\n]+$/.exec(statusLine)?.[1];
  if (!status) throw new Error(`not a status line: ${JSON.stringify(statusLine)}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): (.*)$/.exec(line);
    if (!match) throw new Error(`not a header: ${JSON.stringify(line)}`);
    const name = match[1]!.toLowerCase();
    const before = headers.get(name);
    if (before !== undefined && name !== 'vary') throw new Error(`header twice: ${name}`);
    headers.set(name, before === undefined ? match[2]! : `${before}, ${match[2]}`);
  }
  return { raw, status: Number(status), headers };
}

type ReaderState =
  | 'head'
  | 'size'
  | 'chunk'
  | 'chunk-end'
  | 'trailer'
  | 'length'
  | 'to-close'
  | 'done';

/**
 * Takes one HTTP/1.1 response apart as it arrives and hands on its body; any deviation from the
 * framing throws.
 */
export class ResponseReader {
  head: ResponseHead | undefined;
  bodyBytes = 0;
  readonly #onBody: (bytes: Buffer) => void;
  readonly #bodyless: boolean;
  #state: ReaderState = 'head';
  #pending: Buffer = Buffer.alloc(0);
  #left = 0;

  constructor(onBody: (bytes: Buffer) => void, { bodyless = false } = {}) {
    this.#onBody = onBody;
    this.#bodyless = bodyless;
  }

  get complete(): boolean {
    return this.#state === 'done';
  }

  /** True when a FIN at this point is the end that the framing announced. */
  get completeAtClose(): boolean {
    return this.#state === 'done' || this.#state === 'to-close';
  }

  feed(bytes: Buffer): void {
    let rest = this.#pending.length > 0 ? Buffer.concat([this.#pending, bytes]) : bytes;
    let used = -1;
    while (rest.length > 0 && used !== 0) {
      if (this.#state === 'done')
        throw new Error(
          `bytes after the end of a response: ${JSON.stringify(rest.toString('latin1').slice(0, 80))}`,
        );
      used = this.#step(rest);
      rest = rest.subarray(used);
    }
    this.#pending = rest;
  }

  /** Takes what it can from the front and returns how many bytes that was; 0 asks for more. */
  #step(rest: Buffer): number {
    switch (this.#state) {
      case 'head': {
        const end = rest.indexOf('\r\n\r\n');
        if (end < 0) return 0;
        this.head = parseHead(rest.toString('latin1', 0, end));
        this.#state = this.#bodyState(this.head);
        return end + 4;
      }
      case 'size': {
        const end = rest.indexOf('\r\n');
        if (end < 0) {
          if (rest.length > 18)
            throw new Error(
              `chunk framing is broken at ${JSON.stringify(rest.toString('latin1', 0, 40))}`,
            );
          return 0;
        }
        const size = rest.toString('latin1', 0, end);
        if (!/^[0-9a-fA-F]{1,16}$/.test(size))
          throw new Error(`not a chunk size: ${JSON.stringify(size.slice(0, 40))}`);
        this.#left = Number.parseInt(size, 16);
        this.#state = this.#left === 0 ? 'trailer' : 'chunk';
        return end + 2;
      }
      case 'chunk':
      case 'length': {
        const piece = rest.subarray(0, this.#left);
        this.#left -= piece.length;
        if (this.#left === 0) this.#state = this.#state === 'chunk' ? 'chunk-end' : 'done';
        this.#body(piece);
        return piece.length;
      }
      case 'chunk-end':
      case 'trailer': {
        if (rest.length < 2) return 0;
        if (rest[0] !== 0x0d || rest[1] !== 0x0a)
          throw new Error(
            `a chunk does not end where its size says: ${JSON.stringify(rest.toString('latin1', 0, 40))}`,
          );
        this.#state = this.#state === 'chunk-end' ? 'size' : 'done';
        return 2;
      }
      case 'to-close':
        this.#body(rest);
        return rest.length;
      case 'done':
      default:
        return 0;
    }
  }

  #body(bytes: Buffer): void {
    this.bodyBytes += bytes.length;
    this.#onBody(bytes);
  }

  #bodyState(head: ResponseHead): ReaderState {
    if (this.#bodyless || head.status === 204 || head.status === 304) return 'done';
    if (head.headers.get('transfer-encoding') === 'chunked') return 'size';
    const length = head.headers.get('content-length');
    if (length === undefined) return 'to-close';
    this.#left = Number(length);
    return this.#left === 0 ? 'done' : 'length';
  }
}

/** A whole response. */
export interface Answer extends ResponseHead {
  readonly body: Buffer;
  readonly text: string;
}

/** The body of an answer read as JSON. */
export function jsonOf(answer: Answer): unknown {
  return JSON.parse(answer.text);
}

/** `error.code` of a refusal. */
export function codeOf(answer: Answer): string {
  return (jsonOf(answer) as { error: { code: string } }).error.code;
}

/** What a request may carry beside its method and path. */
export interface RequestParts {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/**
 * The bytes of a request; `Host` and `Content-Length` are filled in unless given. Header values go
 * out as Latin-1.
 */
export function requestBytes(
  port: number,
  method: string,
  path: string,
  { headers = {}, body }: RequestParts = {},
): Buffer {
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const lines = [`${method} ${path} HTTP/1.1`];
  if (!given.has('host')) lines.push(`Host: 127.0.0.1:${port}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (bytes && !given.has('content-length') && !given.has('transfer-encoding'))
    lines.push(`Content-Length: ${bytes.length}`);
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return bytes ? Buffer.concat([head, bytes]) : head;
}

/**
 * One connection that carries requests one after the other, and another when an answer has said
 * that it closes.
 */
export class HttpClient {
  connection: RawConnection;
  readonly port: number;
  #isOver = false;

  constructor(connection: RawConnection, port: number) {
    this.connection = connection;
    this.port = port;
  }

  static async open(port: number): Promise<HttpClient> {
    return new HttpClient(await RawConnection.open(port), port);
  }

  /**
   * Sends these bytes and waits for one whole response; a close before its end is an error that
   * says what had come.
   */
  async exchange(
    bytes: string | Uint8Array,
    { bodyless = false, deadlineMs = DEADLINE_MS } = {},
  ): Promise<Answer> {
    if (this.#isOver) {
      this.connection.destroy();
      this.connection = await RawConnection.open(this.port);
    }
    const { connection } = this;
    const pieces: Buffer[] = [];
    const reader = new ResponseReader((piece) => void pieces.push(piece), { bodyless });
    connection.consume = (piece) => reader.feed(piece);
    connection.send(bytes);
    await connection.waitFor(
      'a whole response',
      () => {
        if (reader.complete || (connection.ended && reader.completeAtClose)) return true;
        if (connection.closed)
          throw new Error(
            `closed before a whole response; ${connection.describe()}, head ${reader.head?.raw ?? 'missing'}`,
          );
        return false;
      },
      deadlineMs,
    );
    this.#isOver = reader.head!.headers.get('connection') === 'close';
    const body = Buffer.concat(pieces);
    return { ...reader.head!, body, text: body.toString('utf8') };
  }

  request(
    method: string,
    path: string,
    parts: RequestParts = {},
    deadlineMs = DEADLINE_MS,
  ): Promise<Answer> {
    return this.exchange(requestBytes(this.port, method, path, parts), {
      bodyless: method === 'HEAD',
      deadlineMs,
    });
  }

  close(): void {
    this.connection.destroy();
  }
}

/** One request on a connection of its own. */
export async function request(
  port: number,
  method: string,
  path: string,
  parts: RequestParts = {},
): Promise<Answer> {
  return exchange(port, requestBytes(port, method, path, parts), { bodyless: method === 'HEAD' });
}

/** These exact bytes on a connection of their own, and the response to them. */
export async function exchange(
  port: number,
  bytes: string | Uint8Array,
  options: { bodyless?: boolean; deadlineMs?: number } = {},
): Promise<Answer> {
  const client = await HttpClient.open(port);
  try {
    return await client.exchange(bytes, options);
  } finally {
    client.close();
  }
}
