/**
 * A TCP proxy that does to a connection what networks do: cut, pause, delay, chop into pieces, go
 * silent, hold back, block streams.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { AtEnd } from './begun.js';
import { ResponseReader, Watched } from './wire.js';

/**
 * What a proxy in between makes of what it does not know.
 * - `hold-body`: passes the head of a response and keeps the body until the response has ended.
 * - `hold`: keeps the whole response until it has ended.
 * - `cut-streams`: resets the connection on which a stream is asked for.
 * - `block-streams`: answers a request for a stream with a page, 403.
 */
export type Meddling = 'hold-body' | 'hold' | 'cut-streams' | 'block-streams';

/** How the bytes from the server travel. */
export interface Faults {
  /** Passed on in pieces of this many bytes, a segment and a turn of the loop each. */
  pieceBytes: number;
  /** Each piece waits this long; with `pieceBytes` a throttle. */
  delayMs: number;
  /** Requests must then come one at a time, each head in one segment, as browsers send them. */
  meddling: Meddling | undefined;
}

/** Bytes taken from the server and not yet passed on, above which no more are taken. */
const QUEUE_BYTES = 64 * 1024;
/** What is kept of a connection's requests, characters; what comes behind it is passed on only. */
const REQUEST_CHARS_MAX = 64 * 1024;

const BLOCK_PAGE = '<!doctype html><title>Blocked</title>';
const BLOCKED = `HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: ${BLOCK_PAGE.length}\r\nConnection: close\r\n\r\n${BLOCK_PAGE}`;

/** One connection through the proxy. */
export class ProxiedConnection {
  /** What the client has sent, up to a bound: the heads of its requests where they have no body. */
  requestText = '';
  /** Requests for an event stream on this connection. */
  streamRequests = 0;
  readonly faults: Faults;
  downBytes = 0;
  open = true;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #queue: Buffer[] = [];
  readonly #changed: () => void;
  #queuedBytes = 0;
  #paused = false;
  #silent = false;
  #passing = false;
  /** What has been kept of the response that is being received. */
  #held: Buffer = Buffer.alloc(0);
  #response = new ResponseReader(() => {});
  #headPassed = false;

  constructor(client: Socket, targetPort: number, faults: Faults, changed: () => void) {
    this.#client = client;
    this.#changed = changed;
    this.faults = { ...faults };
    this.#server = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    client.on('data', (bytes) => {
      if (this.requestText.length < REQUEST_CHARS_MAX) this.requestText += bytes.toString('latin1');
      if (!this.#silent && !this.#meddle(bytes)) this.#server.write(bytes);
      changed();
    });
    this.#server.on('data', (bytes) => {
      if (!this.#silent) this.#enqueue(this.#release(bytes));
    });
    const close = (): void => {
      if (!this.#silent) this.#end(false);
    };
    for (const socket of [client, this.#server]) {
      socket.on('error', () => {});
      socket.on('close', close);
      socket.on('end', close);
    }
  }

  /** What the client sent first, up to the blank line once it has come. */
  get requestHead(): string {
    return this.requestText.split(/(?<=\r\n\r\n)/, 1)[0]!;
  }

  /** A header of the first request, or undefined. */
  requestHeader(name: string): string | undefined {
    return new RegExp(`^${name}: (.*)$`, 'im').exec(this.requestHead.replaceAll('\r', ''))?.[1];
  }

  /** Resets both sides, as a network that fails does. */
  cut(): void {
    this.#end(true);
  }

  /** Takes nothing more from the server: for it, the reader has stalled. */
  pause(): void {
    this.#paused = true;
    this.#flow();
  }

  resume(): void {
    this.#paused = false;
    this.#flow();
    void this.#pass();
  }

  /**
   * Takes and passes on nothing in either direction, and closes neither: the peer has vanished,
   * half open.
   */
  silence(): void {
    this.#silent = true;
    this.#queue.length = 0;
    this.#flow();
  }

  /** True when this request is not passed on. */
  #meddle(request: Buffer): boolean {
    if (!/^accept: text\/event-stream/im.test(request.toString('latin1'))) return false;
    this.streamRequests++;
    if (this.faults.meddling === 'cut-streams') {
      this.#end(true);
    } else if (this.faults.meddling === 'block-streams') {
      this.#client.write(BLOCKED);
      this.#end(false);
    }
    return !this.open;
  }

  /**
   * What may be passed on now that these bytes have come; the rest is kept. What is kept when a
   * side closes is dropped.
   */
  #release(bytes: Buffer): Buffer {
    const { meddling } = this.faults;
    if (meddling !== 'hold' && meddling !== 'hold-body') return bytes;
    this.#held = Buffer.concat([this.#held, bytes]);
    this.#response.feed(bytes);
    let size = 0;
    if (this.#response.complete) {
      size = this.#held.length;
      this.#response = new ResponseReader(() => {});
      this.#headPassed = false;
    } else if (meddling === 'hold-body' && !this.#headPassed && this.#response.head !== undefined) {
      size = this.#held.indexOf('\r\n\r\n') + 4;
      this.#headPassed = true;
    }
    const released = this.#held.subarray(0, size);
    this.#held = this.#held.subarray(size);
    return released;
  }

  #enqueue(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#flow();
    void this.#pass();
  }

  #flow(): void {
    if (this.#paused || this.#silent || this.#queuedBytes > QUEUE_BYTES) this.#server.pause();
    else this.#server.resume();
  }

  async #pass(): Promise<void> {
    if (this.#passing) return;
    this.#passing = true;
    for (
      let bytes = this.#queue[0];
      bytes && this.open && !this.#paused && !this.#silent;
      bytes = this.#queue[0]
    ) {
      const { pieceBytes, delayMs } = this.faults;
      const piece = bytes.subarray(0, pieceBytes);
      if (piece.length === bytes.length) this.#queue.shift();
      else this.#queue[0] = bytes.subarray(piece.length);
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
      this.#queuedBytes -= piece.length;
      this.downBytes += piece.length;
      const room = this.#client.write(piece);
      this.#flow();
      if (!room && this.open)
        await new Promise((resolve) => this.#client.once('drain', resolve).once('close', resolve));
      else if (Number.isFinite(pieceBytes)) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#passing = false;
    this.#changed();
  }

  #end(reset: boolean): void {
    if (!this.open) return;
    this.open = false;
    for (const socket of [this.#client, this.#server]) {
      if (reset) socket.resetAndDestroy();
      else socket.destroySoon();
    }
    this.#changed();
  }
}

/**
 * The proxy; new connections take over its `faults`, and are reset at once while it is `refusing`.
 */
export class FaultProxy extends Watched {
  readonly connections: ProxiedConnection[] = [];
  readonly faults: Faults = {
    pieceBytes: Number.POSITIVE_INFINITY,
    delayMs: 0,
    meddling: undefined,
  };
  refusing = false;
  /** Where new connections go: the port of a server, or of the one that has taken its place. */
  targetPort: number;
  readonly #server: Server;

  private constructor(targetPort: number) {
    super();
    this.targetPort = targetPort;
    this.#server = createServer((client) => {
      if (this.refusing) client.resetAndDestroy();
      else
        this.connections.push(
          new ProxiedConnection(client, this.targetPort, this.faults, () => this.changed()),
        );
      this.changed();
    });
  }

  /** Listens on a free port until the running test is over, or as `atEnd` says. */
  static async start(targetPort: number, atEnd: AtEnd = onTestFinished): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    atEnd(() => proxy.close());
    return proxy;
  }

  /** Requests for an event stream so far. */
  get streamRequests(): number {
    return this.connections.reduce((sum, connection) => sum + connection.streamRequests, 0);
  }

  describe(): string {
    return `${this.connections.length} connections, ${this.connections.filter((connection) => connection.open).length} open`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The newest connection. */
  get newest(): ProxiedConnection {
    return this.connections.at(-1)!;
  }

  /** Waits for the nth connection (from 1) and for the whole head of its request. */
  waitForConnection(count: number, deadlineMs?: number): Promise<ProxiedConnection> {
    return this.waitFor(
      `connection ${count} and its request`,
      () => {
        const connection = this.connections[count - 1];
        return connection?.requestHead.includes('\r\n\r\n') ? connection : undefined;
      },
      deadlineMs,
    );
  }

  close(): void {
    this.#server.close();
    for (const connection of this.connections) connection.cut();
  }
}
