/** Reads the gzip stream (RFC 1952) of one line, as it comes: an inflater of its own. */

import { inflateAfter, windowAfter } from './inflate.js';

const EMPTY = Buffer.alloc(0);

/** The most that is held back of a stream whose blocks do not end with its writes. */
const HELD_BYTES_MAX = 1024 * 1024;

/** The most that is taken for what a line begins with. */
const BEGINNING_BYTES_MAX = 1_024;

/** Checksum and length, RFC 1952, 2.3.1. */
const TRAILER_BYTES = 8;

/** Flags of a header, RFC 1952, 2.3.1. */
const HAS_CHECKSUM = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
const FIXED_HEADER_BYTES = 10;

/** What a line has decoded last, at most 32 KiB. Never changed, so that lines may share one. */
export interface Window {
  readonly bytes: Buffer;
}

const NO_WINDOW: Window = { bytes: EMPTY };

/** One stream. The checksum at its end, which a line that is held never has, is not computed. */
export class GzipReader {
  /** What was decoded last, up to the end of the last whole block, without the beginning. */
  window = NO_WINDOW;
  /** What was decoded before `window` began. */
  #beginning: Buffer = EMPTY;
  /** Bytes that follow it. */
  #held: Buffer = EMPTY;
  /** Bytes that they decode to and that were returned already. */
  #returned = 0;
  #isBegun = false;
  #trailerBytes: number | undefined;

  /** True when what comes next is a block, and can be decoded with `window` alone. */
  get isBetweenBlocks(): boolean {
    return this.#isBegun && this.#held.length === 0 && this.#trailerBytes === undefined;
  }

  /**
   * What has come, decoded, as far as it can be. `isWhole`: the server wrote nothing more at once.
   * Throws when it is not gzip.
   */
  feed(bytes: Buffer, start: number, end: number, isWhole: boolean): Buffer {
    let part = Buffer.concat([this.#held, bytes.subarray(start, end)]);
    this.#held = EMPTY;
    if (!isWhole && part.length < HELD_BYTES_MAX) return this.#hold(part);
    if (this.#trailerBytes !== undefined) return this.#trailer(part.length);
    if (!this.#isBegun) {
      const headerBytes = headerBytesOf(part);
      if (headerBytes < 0) return this.#hold(part);
      this.#isBegun = true;
      part = part.subarray(headerBytes);
    }
    if (part.length === 0) return EMPTY;
    const { plain, end: state, usedBytes } = inflateAfter(this.#reach, part);
    const fresh = plain.subarray(this.#returned);
    if (state === 'open') {
      if (part.length >= HELD_BYTES_MAX)
        throw new Error(`no block of gzip ended at a byte within ${HELD_BYTES_MAX} bytes`);
      this.#returned = plain.length;
      this.#hold(part);
      return fresh;
    }
    this.#returned = 0;
    this.window = { bytes: windowAfter(this.window.bytes, plain) };
    if (state === 'over') {
      this.#trailerBytes = 0;
      this.#trailer(part.length - usedBytes);
    }
    return fresh;
  }

  /**
   * What came so far is the beginning, where it is short: `window` is without it from here on.
   * Servers tell each line another time to come back after, so that no two windows would be equal;
   * blocks that lines share do not refer to it, and `feed` knows it.
   */
  leaveOutBeginning(): void {
    const reach = this.#reach;
    if (reach.length > BEGINNING_BYTES_MAX) return;
    this.#beginning = reach;
    this.window = NO_WINDOW;
  }

  /** The line was given a block that others have decoded, and that leaves this window. */
  skipTo(window: Window): void {
    this.window = window;
  }

  /** All that a block may refer to. */
  get #reach(): Buffer {
    const { bytes } = this.window;
    return this.#beginning.length === 0 ? bytes : windowAfter(this.#beginning, bytes);
  }

  #hold(part: Buffer): Buffer {
    this.#held = part;
    return EMPTY;
  }

  #trailer(byteCount: number): Buffer {
    this.#trailerBytes = (this.#trailerBytes ?? 0) + byteCount;
    if (this.#trailerBytes > TRAILER_BYTES) throw new Error('bytes follow the end of gzip');
    return EMPTY;
  }
}

/** Bytes of the header that a stream begins with; −1 when it is not all there. */
function headerBytesOf(bytes: Buffer): number {
  if (bytes.length < FIXED_HEADER_BYTES) return -1;
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[2] !== 8)
    throw new Error('what the server calls gzip is none');
  const flags = bytes[3]!;
  let at = FIXED_HEADER_BYTES;
  if ((flags & HAS_EXTRA) !== 0) {
    if (bytes.length < at + 2) return -1;
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const text of [HAS_NAME, HAS_COMMENT]) {
    if ((flags & text) === 0) continue;
    const textEnd = bytes.indexOf(0, at);
    if (textEnd < 0) return -1;
    at = textEnd + 1;
  }
  if ((flags & HAS_CHECKSUM) !== 0) at += 2;
  return at > bytes.length ? -1 : at;
}
