/**
 * Sockets as uWebSockets and the kernel make them, without either: a kernel buffer that a reader empties, a user-space backlog
 * behind it, and the answers that a corked write gives. native-notes/true-means-backlog-flushed.md, native-notes/drain-in-writable.md
 */
import type { SocketPort } from '../../src/core/pump.js';
import { CORK_WRITE_BYTES } from '../../src/limits.js';
import type { FakeClock } from './fake-clock.js';

export class FakeSocket {
  readonly name: string;
  /** What the kernel takes while nobody reads. */
  readonly capacityBytes: number;
  /** How much room the kernel wants before it calls the socket writable. */
  readonly lowWaterBytes: number;
  /** A send was short: the loop waits for the socket to become writable. */
  wantsWritable = false;
  /** From the first `false` until the socket was reported drained: only the rest of a frame in pieces may be written. */
  refusing = false;
  ended = false;
  closed = false;
  /** Writes, and bytes of them, since the start. */
  writes = 0;
  writtenBytes = 0;
  /** Called at each gap event that is written. */
  onGap: (() => void) | undefined;

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

  constructor(name: string, capacityBytes: number, lowWaterBytes = 1) {
    this.name = name;
    this.capacityBytes = capacityBytes;
    this.lowWaterBytes = lowWaterBytes;
  }

  get backlogBytes(): number {
    return this.#totalBytes - this.#kernelBytes;
  }

  get unreadBytes(): number {
    return this.#totalBytes;
  }

  /** The head of a response, as comments, which the kernel does not take all at once: what is written next is refused in part. */
  writeHead(bytes: number): void {
    this.#push(Buffer.from(':\n'.repeat(bytes / 2)));
    this.flush();
  }

  /** A cork with one write in it. */
  write(bytes: Uint8Array, copy: Buffer): boolean {
    if (this.closed || this.ended) throw new Error(`${this.name}: written to after its end`);
    this.#note(bytes);
    this.flush();
    const refused = this.backlogBytes > 0;
    this.#push(copy);
    if (refused) {
      this.wantsWritable = true;
      this.refusing = true;
    } else {
      this.flush();
    }
    this.writes++;
    this.writtenBytes += bytes.length;
    const mostBytes = Math.max(CORK_WRITE_BYTES, this.#largestRunBytes) + CORK_WRITE_BYTES + 256;
    if (this.backlogBytes > mostBytes)
      throw new Error(`${this.name}: a backlog of ${this.backlogBytes} bytes, more than ${mostBytes}`);
    if (this.backlogBytes === 0) this.#largestRunBytes = 0;
    return !refused;
  }

  end(lastBytes: Uint8Array): void {
    if (this.closed || this.ended) throw new Error(`${this.name}: ended twice`);
    this.#push(Buffer.from(lastBytes));
    this.flush();
    this.ended = true;
  }

  /** Sends what the kernel takes of the backlog. */
  flush(): void {
    if (this.backlogBytes === 0) return;
    this.#kernelBytes += Math.min(this.backlogBytes, this.capacityBytes - this.#kernelBytes);
    if (this.backlogBytes > 0) this.wantsWritable = true;
  }

  get isWritable(): boolean {
    return this.wantsWritable && (this.#kernelBytes === 0 || this.capacityBytes - this.#kernelBytes >= this.lowWaterBytes);
  }

  /** What the loop does with a writable socket, less telling the hub: an empty cork sends what it can. */
  becomeWritable(): void {
    this.wantsWritable = false;
    this.flush();
    this.refusing = false;
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
    if (bytes.length === 0) throw new Error(`${this.name}: an empty write does nothing, so nothing should ask for it`);
    this.#chunks.push(bytes);
    this.#totalBytes += bytes.length;
  }

  /** Pieces of a frame larger than a cork are written one behind the other, whatever the socket answers; nothing else is. */
  #note(bytes: Uint8Array): void {
    const continues =
      this.#lastLength === CORK_WRITE_BYTES && bytes.buffer === this.#lastBuffer && bytes.byteOffset === this.#lastEnd;
    if (this.refusing && !continues) throw new Error(`${this.name}: written to while it refuses bytes`);
    this.#runBytes = continues ? this.#runBytes + bytes.length : bytes.length;
    this.#largestRunBytes = Math.max(this.#largestRunBytes, this.#runBytes);
    this.#lastBuffer = bytes.buffer;
    this.#lastEnd = bytes.byteOffset + bytes.length;
    this.#lastLength = bytes.length;
  }
}

const GAP = Buffer.from('event: gap\n');

/** Writes to fake sockets; each cork takes a little time. */
export class FakePort implements SocketPort<FakeSocket> {
  readonly #clock: FakeClock;
  readonly #corkMs: number;
  #lastBytes: Uint8Array | undefined;
  #lastCopy: Buffer = Buffer.alloc(0);

  constructor(clock: FakeClock, corkMs = 0) {
    this.#clock = clock;
    this.#corkMs = corkMs;
  }

  write(socket: FakeSocket, bytes: Uint8Array): boolean {
    if (!this.#clock.isRunning) throw new Error(`${socket.name}: written to in a callback, where another socket may be corked`);
    if (bytes.length > CORK_WRITE_BYTES) throw new Error(`${socket.name}: ${bytes.length} bytes in one cork`);
    this.#clock.pass(this.#corkMs);
    if (bytes.length >= GAP.length && GAP.equals(bytes.subarray(0, GAP.length))) socket.onGap?.();
    return socket.write(bytes, this.#copyOf(bytes));
  }

  end(socket: FakeSocket, lastBytes: Uint8Array): void {
    this.#clock.pass(this.#corkMs);
    socket.end(lastBytes);
  }

  /** Lines in step are given one and the same slice; it is copied once, unless what it shows has changed since. */
  #copyOf(bytes: Uint8Array): Buffer {
    if (bytes !== this.#lastBytes || Buffer.compare(bytes, this.#lastCopy) !== 0) {
      this.#lastBytes = bytes;
      this.#lastCopy = Buffer.from(bytes);
    }
    return this.#lastCopy;
  }
}
