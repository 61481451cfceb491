/**
 * Streams with `Content-Encoding: gzip` (RFC 1952) whose lines share their compressed bytes: a
 * header, and then raw deflate blocks (RFC 1951) that each end at a byte. Here is what is written
 * to one line as it is, in stored blocks; what all lines share is in core/compressed-slices.ts.
 *
 * A stream has no trailer, which would take a checksum for each line: a client sees the end of a
 * stream as it sees the loss of its connection (docs/compression.md).
 */
import type { Encoding } from './frame.js';

/** Deflate, no name, no time, unknown system. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

/** A stored block's length has 16 bits. */
const STORED_BYTES_MAX = 65_535;

/** Bytes of a stored block beside its content: its kind, its length, and that inverted. */
export const STORED_HEAD_BYTES = 5;

/** True when a deflated block takes fewer bytes than its content in a stored one. */
export function isSmaller(block: Uint8Array, plain: Uint8Array): boolean {
  return block.length < plain.length + STORED_HEAD_BYTES;
}

/** A stored block without content: decodes to nothing. */
const EMPTY_BLOCK = Buffer.from([0, 0, 0, 0xff, 0xff]);

/** Bytes in stored blocks: they decode to themselves, whatever came before. */
export function storedBlocks(plain: Uint8Array): Buffer {
  const blocks = Math.max(1, Math.ceil(plain.length / STORED_BYTES_MAX));
  const bytes = Buffer.allocUnsafe(plain.length + blocks * STORED_HEAD_BYTES);
  let to = 0;
  for (let from = 0; from < plain.length || from === 0; from += STORED_BYTES_MAX) {
    const part = plain.subarray(from, from + STORED_BYTES_MAX);
    bytes[to] = 0;
    bytes.writeUInt16LE(part.length, to + 1);
    bytes.writeUInt16LE(part.length ^ 0xffff, to + 3);
    bytes.set(part, to + STORED_HEAD_BYTES);
    to += STORED_HEAD_BYTES + part.length;
  }
  return bytes;
}

/**
 * An encoding within gzip. Its frames are the plain ones, which a channel keeps once for both; all
 * else is as it is written to a line.
 */
export function gzipped(encoding: Encoding): Encoding {
  return {
    ...encoding,
    name: `${encoding.name}-gzip` as Encoding['name'],
    isGzip: true,
    prelude: (continuesAfter, retryMs) =>
      Buffer.concat([
        HEADER,
        storedBlocks(Buffer.from(encoding.prelude(continuesAfter, retryMs), 'latin1')),
      ]).toString('latin1'),
    gap: (after, before) => storedBlocks(encoding.gap(after, before)),
    end: (code, reconnect, retryMs) => storedBlocks(encoding.end(code, reconnect, retryMs)),
    heartbeat: (head) => storedBlocks(encoding.heartbeat(head)),
    // Decodes to nothing, so that the line can still be given shared bytes.
    probe: EMPTY_BLOCK,
  };
}
