/** A line that is read in full: undoes the chunked framing, reads every SSE block, and knows which events came, when and in which order. */
import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import { DATA_BYTES, readDueUs, readSequence } from './event.js';

const LF = 10;
const DIGIT_ZERO = 48;

/** What all checked lines have seen together. */
export interface Sightings {
  events: number;
  /** Body bytes of whole events, without the chunked framing. */
  frameBytes: number;
  doubled: number;
  outOfOrder: number;
  gapEvents: number;
  endEvents: number;
  heartbeats: number;
  /** Blocks or framing that no server here should send. */
  damaged: number;
}

const ID_UNKNOWN = -1;

/** The book of the checked lines: per line and sequence the time of delivery, per sequence the id. */
export class Ledger {
  readonly seen: Sightings = {
    events: 0,
    frameBytes: 0,
    doubled: 0,
    outOfOrder: 0,
    gapEvents: 0,
    endEvents: 0,
    heartbeats: 0,
    damaged: 0,
  };
  /** Latency from the intended time, in microseconds, of the events that were due inside the window. */
  readonly latencyUs: RecordableHistogram = createLatencyHistogram();
  readonly sequenceLimit: number;
  readonly idOfSequence: Float64Array;
  windowStartUs = Infinity;
  windowEndUs = -Infinity;
  /** Sequences whose id differed from line to line. */
  idConflicts = 0;

  constructor(sequenceLimit: number) {
    this.sequenceLimit = sequenceLimit;
    this.idOfSequence = new Float64Array(sequenceLimit).fill(ID_UNKNOWN);
  }
}

/** Three significant digits up to an hour, in microseconds. */
export function createLatencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
}

const IN_HEAD = 0;
const IN_SIZE = 1;
const IN_DATA = 2;
const IN_DATA_END = 3;
const ENDED = 4;

/** The largest block kept over a read; nothing a server sends here comes near it. */
const CARRY_BYTES = 8192;
const HEAD_END = '\r\n\r\n';

export class CheckedLine {
  readonly #ledger: Ledger;
  /** Microseconds of delivery per sequence; 0 = not yet. */
  readonly deliveredUs: Float64Array;
  /** NaN on a server whose ids are no integers: such ids are not compared. */
  lastId = -1;
  #state = IN_HEAD;
  #head = '';
  #chunkLeft = 0;
  readonly #carry = Buffer.alloc(CARRY_BYTES);
  #carryBytes = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    this.deliveredUs = new Float64Array(ledger.sequenceLimit);
  }

  get headRead(): boolean {
    return this.#state !== IN_HEAD;
  }

  feed(buffer: Buffer, byteCount: number, atUs: number): void {
    let at = 0;
    while (at < byteCount) {
      if (this.#state === IN_DATA) {
        const end = Math.min(byteCount, at + this.#chunkLeft);
        this.#body(buffer, at, end, atUs);
        this.#chunkLeft -= end - at;
        at = end;
        if (this.#chunkLeft === 0) this.#state = IN_DATA_END;
      } else if (this.#state === IN_SIZE) {
        at = this.#chunkSize(buffer, at, byteCount);
      } else if (this.#state === IN_DATA_END) {
        // CR, then LF: the chunk is over with the LF.
        if (buffer[at] === LF) this.#state = IN_SIZE;
        at++;
      } else if (this.#state === IN_HEAD) {
        at = this.#readHead(buffer, at, byteCount);
      } else {
        this.#ledger.seen.damaged++;
        return;
      }
    }
  }

  #readHead(buffer: Buffer, start: number, byteCount: number): number {
    const before = this.#head.length;
    this.#head += buffer.toString('latin1', start, byteCount);
    const end = this.#head.indexOf(HEAD_END);
    if (end === -1) return byteCount;
    // A stream that is not chunked (nchan's) ends with its connection: one chunk without end.
    const isChunked = /^transfer-encoding: *chunked\r?$/im.test(this.#head.slice(0, end + 1));
    this.#state = isChunked ? IN_SIZE : IN_DATA;
    if (!isChunked) this.#chunkLeft = Infinity;
    const next = start + end + HEAD_END.length - before;
    this.#head = '';
    return next;
  }

  #chunkSize(buffer: Buffer, start: number, byteCount: number): number {
    for (let at = start; at < byteCount; at++) {
      const byte = buffer[at]!;
      if (byte === LF) {
        this.#state = this.#chunkLeft === 0 ? ENDED : IN_DATA;
        return at + 1;
      }
      const lower = byte | 32;
      if (byte >= DIGIT_ZERO && byte <= 57) this.#chunkLeft = this.#chunkLeft * 16 + byte - DIGIT_ZERO;
      else if (lower >= 97 && lower <= 102) this.#chunkLeft = this.#chunkLeft * 16 + lower - 87;
      else if (byte !== 13) this.#ledger.seen.damaged++;
    }
    return byteCount;
  }

  #body(buffer: Buffer, start: number, end: number, atUs: number): void {
    let at = start;
    // A block begun in an earlier read is finished in the carry; at most one per read, so byte by byte is cheap enough.
    while (this.#carryBytes > 0 && at < end) {
      const byte = buffer[at++]!;
      const atBlockEnd = byte === LF && this.#carry[this.#carryBytes - 1] === LF;
      this.#keep(byte);
      if (!atBlockEnd) continue;
      this.#block(this.#carry, 0, this.#carryBytes, atUs);
      this.#carryBytes = 0;
    }
    while (at < end) {
      const frameEnd = this.#event(buffer, at, end, atUs);
      if (frameEnd !== -1) {
        at = frameEnd;
        continue;
      }
      const found = buffer.indexOf('\n\n', at, 'latin1');
      const blockEnd = found === -1 || found + 2 > end ? -1 : found + 2;
      if (blockEnd === -1) {
        for (; at < end; at++) this.#keep(buffer[at]!);
        return;
      }
      this.#block(buffer, at, blockEnd, atUs);
      at = blockEnd;
    }
  }

  #keep(byte: number): void {
    if (this.#carryBytes === CARRY_BYTES) {
      this.#ledger.seen.damaged++;
      this.#carryBytes = 0;
    }
    this.#carry[this.#carryBytes++] = byte;
  }

  /** The end of the event that begins at `start` and lies whole before `end`; −1 when it is something else or not all here. */
  #event(buffer: Buffer, start: number, end: number, atUs: number): number {
    if (buffer[start] !== 105 || buffer[start + 1] !== 100 || buffer[start + 2] !== 58 || buffer[start + 3] !== 32) return -1;
    let at = start + 4;
    let id = 0;
    for (; at < end && buffer[at] !== LF; at++) {
      const digit = buffer[at]! - DIGIT_ZERO;
      id = digit >= 0 && digit <= 9 ? id * 10 + digit : Number.NaN;
    }
    const dataStart = at + 7;
    const frameEnd = dataStart + DATA_BYTES + 2;
    if (frameEnd > end || buffer[at + 1] !== 100 || buffer[at + 5] !== 58 || buffer[at + 6] !== 32) return -1;
    if (buffer[frameEnd - 1] !== LF || buffer[frameEnd - 2] !== LF) return -1;
    this.#deliver(id, readDueUs(buffer, dataStart), readSequence(buffer, dataStart), atUs);
    this.#ledger.seen.frameBytes += frameEnd - start;
    return frameEnd;
  }

  #deliver(id: number, dueUs: number, sequence: number, atUs: number): void {
    const ledger = this.#ledger;
    ledger.seen.events++;
    if (!(sequence < ledger.sequenceLimit) || Number.isNaN(dueUs)) {
      ledger.seen.damaged++;
      return;
    }
    if (id <= this.lastId) ledger.seen.outOfOrder++;
    else this.lastId = id;
    if (this.deliveredUs[sequence] !== 0) {
      ledger.seen.doubled++;
      return;
    }
    this.deliveredUs[sequence] = atUs;
    const known = ledger.idOfSequence[sequence]!;
    if (known === ID_UNKNOWN) ledger.idOfSequence[sequence] = id;
    else if (known !== id && !Number.isNaN(id)) ledger.idConflicts++;
    if (dueUs >= ledger.windowStartUs && dueUs < ledger.windowEndUs) {
      ledger.latencyUs.record(Math.max(1, Math.round(atUs - dueUs)));
    }
  }

  #block(buffer: Buffer, start: number, end: number, atUs: number): void {
    if (this.#event(buffer, start, end, atUs) === end) return;
    const seen = this.#ledger.seen;
    const text = buffer.toString('latin1', start, end);
    if (text.startsWith('event: gap\n')) seen.gapEvents++;
    else if (text.startsWith('event: end\n')) seen.endEvents++;
    else if (text.startsWith(': ')) seen.heartbeats++;
    else if (!text.startsWith('retry: ')) seen.damaged++;
  }
}
