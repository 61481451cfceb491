/** Decodes gzip as it comes, by node:zlib and by no code of src/. */
import { constants, createGunzip } from 'node:zlib';
import type { Reader } from './readers.js';

/** What zlib's streams can do at once, without events. */
interface Synchronous {
  _handle: { close(): void };
  close(): void;
  _processChunk(bytes: Buffer, flush: number): Buffer;
  removeAllListeners(event: 'error'): void;
}

const nothing = (): void => {};

/** Decodes a stream that is cut anywhere. */
export class StreamDecoder {
  readonly #gunzip = createGunzip() as unknown as Synchronous;

  /** What the bytes decode to so far. Throws where they are no gzip. */
  decode(bytes: Buffer): Buffer {
    const gunzip = this.#gunzip;
    const handle = gunzip['_handle'];
    // It closes when a chunk has been processed, unless it cannot.
    handle.close = nothing;
    gunzip.close = nothing;
    try {
      return gunzip['_processChunk'](bytes, constants.Z_SYNC_FLUSH);
    } finally {
      gunzip['_handle'] = handle;
      // It adds one for each chunk.
      gunzip.removeAllListeners('error');
    }
  }
}

/** A reader of lines that are compressed. */
export class GzipReader implements Reader {
  readonly #decoder = new StreamDecoder();
  readonly #reader: Reader;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  feed(bytes: Buffer): void {
    const plain = this.#decoder.decode(bytes);
    if (plain.length > 0) this.#reader.feed(plain);
  }

  checkBetween(): void {
    this.#reader.checkBetween();
  }
}
