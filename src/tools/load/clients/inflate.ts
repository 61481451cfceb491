/**
 * Decodes raw deflate (RFC 1951) part by part, each by itself with what was decoded before it as
 * its dictionary: no state of zlib is kept for a client.
 */

import { constants, inflateRawSync, type Zlib } from 'node:zlib';

/** How far back deflate refers at most. */
export const WINDOW_BYTES = 32_768;

/** The most that a part may decode to. */
const DECODED_BYTES_MAX = 16 * 1024 * 1024;

/**
 * The last block of a stream, stored and empty. Behind bytes that end where a block does, at a
 * whole byte, it ends the stream. Anywhere else zlib misses or rejects bytes, since none of these
 * is a last block but at its beginning; or it takes them for what a last block lacks, and decodes
 * to more.
 */
const LAST_BLOCK = Buffer.from([1, 0, 0, 0xff, 0xff]);

/** What a flush to a whole byte ends with. */
const FLUSHED = Buffer.from([0, 0, 0xff, 0xff]);

/** What a part of a stream decodes to. */
export interface Inflated {
  readonly plain: Buffer;
  /**
   * `whole`: the next part can be decoded by itself. `open`: it ends within a block, or within a
   * byte. `over`: the stream ended after `usedBytes`.
   */
  readonly end: 'whole' | 'open' | 'over';
  readonly usedBytes: number;
}

/** Decodes a part that begins with a block. Throws when it is not deflate. */
export function inflateAfter(window: Buffer, part: Buffer): Inflated {
  const ended = inflateEnded(window, part);
  if (ended !== undefined && ended.usedBytes <= part.length) return { ...ended, end: 'over' };
  const isWhole = ended?.usedBytes === part.length + LAST_BLOCK.length;
  if (isWhole && part.subarray(-FLUSHED.length).equals(FLUSHED))
    return { plain: ended.plain, end: 'whole', usedBytes: part.length };
  const alone = inflate(window, part, false);
  const end = isWhole && ended.plain.length === alone.plain.length ? 'whole' : 'open';
  return { ...alone, end };
}

/** Undefined where the part with a last block is no whole stream. */
function inflateEnded(window: Buffer, part: Buffer): ReturnType<typeof inflate> | undefined {
  try {
    return inflate(window, Buffer.concat([part, LAST_BLOCK]), true);
  } catch {
    return undefined;
  }
}

function inflate(
  window: Buffer,
  bytes: Buffer,
  isAll: boolean,
): { readonly plain: Buffer; readonly usedBytes: number } {
  // With `info` there are two results, which the types of Node do not say.
  const { buffer, engine } = inflateRawSync(bytes, {
    info: true,
    maxOutputLength: DECODED_BYTES_MAX,
    finishFlush: isAll ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
    ...(window.length > 0 && { dictionary: window }),
  }) as unknown as { buffer: Buffer; engine: Zlib };
  return { plain: buffer, usedBytes: engine.bytesWritten };
}

/** The window after more has been decoded; it does not share memory with its arguments. */
export function windowAfter(window: Buffer, plain: Buffer): Buffer {
  const kept = Math.max(0, WINDOW_BYTES - plain.length);
  return Buffer.concat([
    window.subarray(Math.max(0, window.length - kept)),
    plain.subarray(Math.max(0, plain.length - WINDOW_BYTES)),
  ]);
}
