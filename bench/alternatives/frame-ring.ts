/**
 * The losers: the last events as an array of Buffers, or of strings, each written by itself in a
 * cork. Each event costs a native call and a chunk; strings are also transcoded in each call. Rows
 * are as in packed-slab.ts.
 */
import { CORK_WRITE_BYTES_MAX } from '../../src/limits.js';
import { type Corkable, EVENTS_HELD } from './mechanism.js';
import { PackedRows } from './packed-rows.js';

/** What uWebSockets.js puts around a chunk: its size in hexadecimal and two line breaks. */
const CHUNK_FRAMING_BYTES = 8;
const SLOT_MASK = EVENTS_HELD - 1;

let corkedSocket: Corkable;
let corkedFrames: readonly (Buffer | string)[];
let corkedFrom: number;
let corkedTo: number;
let corkedTaken: boolean;

function writeCorked(): void {
  for (let seq = corkedFrom; seq < corkedTo; seq++)
    corkedTaken = corkedSocket.write(corkedFrames[seq & SLOT_MASK]!);
}

abstract class FrameRing extends PackedRows {
  readonly #ids = new Float64Array(EVENTS_HELD);
  readonly #frames: (Buffer | string)[] = [];
  #headSeq = 0;
  /* The newest search result, for all lines with the same cursor. */
  #runCursor = -1;
  #runFrom = 0;
  #runTo = 0;

  protected abstract keep(frame: Buffer): Buffer | string;

  protected get newestId(): number {
    return this.#headSeq === 0 ? 0 : this.#idAt(this.#headSeq - 1);
  }

  protected get writtenTo(): number {
    return this.#idAt(this.#runTo - 1);
  }

  append(id: number, frame: Buffer, length: number): void {
    const slot = this.#headSeq++ & SLOT_MASK;
    this.#ids[slot] = id;
    this.#frames[slot] = this.keep(frame.subarray(0, length));
    this.#runCursor = -1;
  }

  protected write(socket: Corkable, cursor: number): boolean {
    if (cursor !== this.#runCursor) this.#findRun(cursor);
    corkedSocket = socket;
    corkedFrames = this.#frames;
    corkedFrom = this.#runFrom;
    corkedTo = this.#runTo;
    socket.cork(writeCorked);
    return corkedTaken;
  }

  /** What follows the cursor and fits one cork. */
  #findRun(cursor: number): void {
    let low = Math.max(0, this.#headSeq - EVENTS_HELD);
    let high = this.#headSeq;
    while (low < high) {
      const middle = low + ((high - low) >>> 1);
      if (this.#idAt(middle) <= cursor) low = middle + 1;
      else high = middle;
    }
    let bytes = 0;
    let to = low;
    while (to < this.#headSeq) {
      bytes += this.#frames[to & SLOT_MASK]!.length + CHUNK_FRAMING_BYTES;
      if (bytes > CORK_WRITE_BYTES_MAX) break;
      to++;
    }
    this.#runCursor = cursor;
    this.#runFrom = low;
    this.#runTo = to;
  }

  #idAt(seq: number): number {
    return this.#ids[seq & SLOT_MASK]!;
  }
}

export class BufferRing extends FrameRing {
  protected keep(frame: Buffer): Buffer {
    return Buffer.from(frame);
  }
}

/** For ASCII only: `length` counts as bytes. */
export class StringRing extends FrameRing {
  protected keep(frame: Buffer): string {
    return frame.toString('latin1');
  }
}
