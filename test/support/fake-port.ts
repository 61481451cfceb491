/**
 * Sockets as uWebSockets and the kernel make them, without either: a kernel buffer that a reader
 * empties, a user-space backlog behind it, and the answers that a write gives.
 * native-notes/true-means-backlog-flushed.md, native-notes/drain-in-writable.md
 */
import type { LinePort, DeliveryMode } from '../../src/core/ports.js';
import { NDJSON, SSE, SSE_ENVELOPE } from '../../src/core/frame.js';
import { gzipped } from '../../src/core/gzip.js';
import type { EndCode } from '../../src/errors.js';
import { CORK_WRITE_BYTES_MAX } from '../../src/limits.js';
import type { FakeClock } from './fake-clock.js';

/**
 * A *stream* answers a write one late: true when nothing was waiting before it. A *message* is
 * queued whole and its answer is the truth: true when nothing waits after it.
 */
export type SocketKind = LinePort<never>['kind'];

export class FakeSocket {
  readonly name: string;
  readonly kind: SocketKind;
  /** What the kernel takes while nobody reads. */
  readonly capacityBytes: number;
  /** How much room the kernel wants before it calls the socket writable. */
  readonly lowWaterBytes: number;
  /** A send was short: the loop waits for the socket to become writable. */
  wantsWritable = false;
  /**
   * From the first `false` until the socket was reported drained: only the rest of a frame in
   * pieces may be written.
   */
  refusing = false;
  ended = false;
  /** Why it was ended. */
  endCode: EndCode | undefined;
  closed = false;
  /** Bytes of the largest write, and so of each piece of a larger frame but the last. */
  pieceBytes = CORK_WRITE_BYTES_MAX;
  /** Writes, and bytes of them, since the start or {@link FakeSocket.forgetWrites}. */
  writes = 0;
  writtenBytes = 0;
  /** Bytes of the largest of them. */
  largestBytes = 0;
  /** Called at each gap that is written. */
  onGap: (() => void) | undefined;
  /** Called within `end`, as WebSockets tell of their close. native-notes/websocket-end.md */
  onEnd: (() => void) | undefined;

  readonly #chunks: Buffer[] = [];
  #firstOffset = 0;
  /** Bytes in the kernel, at the front of the chunks; the rest of them is the backlog. */
  #kernelBytes = 0;
  #totalBytes = 0;
  /** The end of the last piece, and the bytes of pieces that followed each other in memory. */
  #lastBuffer: ArrayBufferLike | undefined;
  #lastEnd = 0;
  #lastLength = 0;
  #runBytes = 0;
  #largestRunBytes = 0;

  constructor(name: string, capacityBytes: number, lowWaterBytes = 1, kind: SocketKind = 'stream') {
    this.name = name;
    this.kind = kind;
    this.capacityBytes = capacityBytes;
    this.lowWaterBytes = lowWaterBytes;
  }

  get backlogBytes(): number {
    return this.#totalBytes - this.#kernelBytes;
  }

  get unreadBytes(): number {
    return this.#totalBytes;
  }

  /**
   * The head of a response, which the kernel does not take all at once: what is written next is
   * refused in part. `filler` stands for it, since its reader reads no heads.
   */
  writeHead(bytes: number, filler: string): void {
    this.#push(Buffer.from(filler.repeat(bytes / filler.length)));
    this.flush();
  }

  /** What the pump writes: a cork with one write in it, or a message. */
  write(bytes: Uint8Array, copy: Buffer): boolean {
    if (this.closed || this.ended) throw new Error(`${this.name}: written to after its end`);
    this.writes++;
    this.writtenBytes += bytes.length;
    this.largestBytes = Math.max(this.largestBytes, bytes.length);
    if (this.kind === 'stream') return this.#writeCork(bytes, copy);
    if (this.refusing) throw new Error(`${this.name}: written to while it refuses bytes`);
    return this.send(copy);
  }

  /** Counts writes, and bytes of them, from now on. */
  forgetWrites(): void {
    this.writes = 0;
    this.writtenBytes = 0;
    this.largestBytes = 0;
  }

  /** A message, maybe of the transport's own, which does not ask whether there is room. */
  send(message: Buffer): boolean {
    this.#push(message);
    this.flush();
    if (this.backlogBytes === 0) return true;
    this.refusing = true;
    return false;
  }

  #writeCork(bytes: Uint8Array, copy: Buffer): boolean {
    this.#note(bytes);
    this.flush();
    let refused = this.backlogBytes > 0;
    this.#push(copy);
    if (!refused) {
      this.flush();
      // What does not fit the cork buffer is sent within the call, which then tells the truth.
      refused = bytes.length > CORK_WRITE_BYTES_MAX && this.backlogBytes > 0;
    }
    if (refused) {
      this.wantsWritable = true;
      this.refusing = true;
    }
    const mostBytes =
      Math.max(CORK_WRITE_BYTES_MAX, this.#largestRunBytes) + CORK_WRITE_BYTES_MAX + 256;
    if (this.backlogBytes > mostBytes)
      throw new Error(
        `${this.name}: a backlog of ${this.backlogBytes} bytes, more than ${mostBytes}`,
      );
    if (this.backlogBytes === 0) this.#largestRunBytes = 0;
    return !refused;
  }

  end(lastBytes: Uint8Array, code: EndCode): void {
    if (this.closed || this.ended) throw new Error(`${this.name}: ended twice`);
    this.#push(Buffer.from(lastBytes));
    this.flush();
    this.ended = true;
    this.endCode = code;
    this.onEnd?.();
  }

  /** Sends what the kernel takes of the backlog. */
  flush(): void {
    if (this.backlogBytes === 0) return;
    this.#kernelBytes += Math.min(this.backlogBytes, this.capacityBytes - this.#kernelBytes);
    if (this.backlogBytes > 0) this.wantsWritable = true;
  }

  get isWritable(): boolean {
    return (
      this.wantsWritable &&
      (this.#kernelBytes === 0 || this.capacityBytes - this.#kernelBytes >= this.lowWaterBytes)
    );
  }

  /**
   * What the loop does with a writable socket: it sends what it can. Returns true when the hub is
   * to hear of a drain.
   */
  becomeWritable(): boolean {
    this.wantsWritable = false;
    this.flush();
    if (this.kind === 'message' && this.backlogBytes > 0) return false;
    this.refusing = false;
    return true;
  }

  /** The reader takes up to `bytes`. */
  read(bytes: number): Buffer {
    let left = Math.min(bytes, this.#kernelBytes);
    this.#kernelBytes -= left;
    this.#totalBytes -= left;
    const parts: Buffer[] = [];
    while (left > 0) {
      const chunk = this.#chunks[0] as Buffer;
      const part = chunk.subarray(this.#firstOffset, this.#firstOffset + left);
      parts.push(part);
      left -= part.length;
      this.#firstOffset += part.length;
      if (this.#firstOffset === chunk.length) {
        this.#chunks.shift();
        this.#firstOffset = 0;
      }
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  #push(bytes: Buffer): void {
    if (bytes.length === 0)
      throw new Error(`${this.name}: an empty write does nothing, so nothing should ask for it`);
    this.#chunks.push(bytes);
    this.#totalBytes += bytes.length;
  }

  /**
   * Pieces of a frame larger than a write are written one behind the other, whatever the socket
   * answers; nothing else is.
   */
  #note(bytes: Uint8Array): void {
    const continues =
      this.#lastLength === this.pieceBytes &&
      bytes.buffer === this.#lastBuffer &&
      bytes.byteOffset === this.#lastEnd;
    if (this.refusing && !continues)
      throw new Error(`${this.name}: written to while it refuses bytes`);
    this.#runBytes = continues ? this.#runBytes + bytes.length : bytes.length;
    this.#largestRunBytes = Math.max(this.#largestRunBytes, this.#runBytes);
    this.#lastBuffer = bytes.buffer;
    this.#lastEnd = bytes.byteOffset + bytes.length;
    this.#lastLength = bytes.length;
  }
}

const GAPS = [Buffer.from('event: gap\n'), Buffer.from('{"gap":')];

const startsWith = (bytes: Uint8Array, start: Buffer, at: number): boolean =>
  bytes.length >= at + start.length && start.equals(bytes.subarray(at, at + start.length));

/** As it is, or in a stored block of gzip. */
const isGap = (bytes: Uint8Array): boolean =>
  GAPS.some((gap) => startsWith(bytes, gap, 0) || (bytes[0] === 0 && startsWith(bytes, gap, 5)));

const LF = 0x0a;

/** Whole lines of JSON, together no more than a cork holds, or one longer line alone. */
export function checkMessage(socket: FakeSocket, bytes: Uint8Array): void {
  if (bytes.length < 2 || bytes[0] === LF || bytes.at(-1) !== LF)
    throw new Error(`${socket.name}: a message that is no lines`);
  if (bytes.length > CORK_WRITE_BYTES_MAX && bytes.indexOf(LF) !== bytes.length - 1)
    throw new Error(`${socket.name}: a message of several lines has ${bytes.length} bytes`);
}

/** Writes to fake sockets of one kind; each write takes a little time. */
export class FakePort implements LinePort<FakeSocket> {
  readonly kind: SocketKind;

  readonly #clock: FakeClock;
  readonly #corkMs: number;
  readonly #writeBytesMax: number;
  #lastBytes: Uint8Array | undefined;
  #lastCopy: Buffer = Buffer.alloc(0);

  constructor(
    kind: SocketKind,
    clock: FakeClock,
    corkMs = 0,
    writeBytesMax = CORK_WRITE_BYTES_MAX,
  ) {
    this.kind = kind;
    this.#clock = clock;
    this.#corkMs = corkMs;
    this.#writeBytesMax = writeBytesMax;
  }

  write(socket: FakeSocket, bytes: Uint8Array): boolean {
    if (!this.#clock.isRunning)
      throw new Error(
        `${socket.name}: written to in a callback, where another socket may be corked`,
      );
    if (this.kind === 'message') checkMessage(socket, bytes);
    else if (bytes.length > this.#writeBytesMax)
      throw new Error(`${socket.name}: ${bytes.length} bytes in one write`);
    socket.pieceBytes = this.#writeBytesMax;
    this.#clock.pass(this.#corkMs);
    if (isGap(bytes)) socket.onGap?.();
    return socket.write(bytes, this.#copyOf(bytes));
  }

  end(socket: FakeSocket, lastBytes: Uint8Array, code: EndCode): void {
    if (this.kind === 'message') checkMessage(socket, lastBytes);
    this.#clock.pass(this.#corkMs);
    socket.end(lastBytes, code);
  }

  unsentBytes(socket: FakeSocket): number {
    return socket.backlogBytes;
  }

  /**
   * Lines in step are given one and the same slice; it is copied once, unless what it shows has
   * changed since.
   */
  #copyOf(bytes: Uint8Array): Buffer {
    if (bytes !== this.#lastBytes || Buffer.compare(bytes, this.#lastCopy) !== 0) {
      this.#lastBytes = bytes;
      this.#lastCopy = Buffer.from(bytes);
    }
    return this.#lastCopy;
  }
}

/** How a fake line is given events. */
export type ModeName = 'sse' | 'sse-env' | 'ndjson' | 'websocket';

/** The delivery modes of lines, as the transports make them. */
export function fakeModes(
  clock: FakeClock,
  corkMs = 0,
  writeBytesMax?: number,
): Readonly<Record<ModeName, DeliveryMode<FakeSocket>>> {
  const port = new FakePort('stream', clock, corkMs, writeBytesMax);
  return {
    sse: { transport: 'sse', encoding: SSE, port },
    'sse-env': { transport: 'sse', encoding: SSE_ENVELOPE, port },
    ndjson: { transport: 'ndjson', encoding: NDJSON, port },
    websocket: {
      transport: 'websocket',
      encoding: NDJSON,
      port: new FakePort('message', clock, corkMs),
    },
  };
}

/** The mode of the same lines within gzip. */
export function gzipMode(mode: DeliveryMode<FakeSocket>): DeliveryMode<FakeSocket> {
  return { ...mode, encoding: gzipped(mode.encoding) };
}
