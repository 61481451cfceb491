/** Decodes gzip as it comes, by node:zlib and by no code of src/. */
import { constants, createGunzip, type Gunzip } from 'node:zlib';
import type { Reader } from './readers.js';

/** What zlib's streams can do at once, without events. */
type Synchronous = Gunzip & { _processChunk(bytes: Buffer, flush: number): Buffer };

/** Decodes a stream that is cut anywhere. */
export class StreamDecoder {
  readonly #gunzip = createGunzip() as Synchronous;

  /** What the bytes decode to so far. Throws where they are no gzip. */
  decode(bytes: Buffer): Buffer {
    return this.#gunzip._processChunk(bytes, constants.Z_SYNC_FLUSH);
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
