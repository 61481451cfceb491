/** A checked line of Server-Sent Events: undoes the chunked framing and reads every block. */
import { CheckedLine } from './checked-line.js';
import { DATA_BYTES, readDueUs, readSequence } from './event.js';

const LF = 10;
const DIGIT_ZERO = 48;
const COLON = 58;
const QUOTE = 34;

const IN_SIZE = 0;
const IN_DATA = 1;
const IN_DATA_END = 2;
const ENDED = 3;

export class CheckedSse extends CheckedLine {
  #state = IN_SIZE;
  #chunkLeft = 0;

  protected override begin(head: string): void {
    // A stream that is not chunked (nchan's) ends with its connection: one chunk without end.
    if (/^transfer-encoding: *chunked\r?$/im.test(head)) return;
    this.#state = IN_DATA;
    this.#chunkLeft = Infinity;
  }

  protected override body(buffer: Buffer, start: number, byteCount: number, atUs: number): void {
    let at = start;
    while (at < byteCount) {
      if (this.#state === IN_DATA) {
        const end = Math.min(byteCount, at + this.#chunkLeft);
        this.#blocks(buffer, at, end, atUs);
        this.#chunkLeft -= end - at;
        at = end;
        if (this.#chunkLeft === 0) this.#state = IN_DATA_END;
      } else if (this.#state === IN_SIZE) {
        at = this.#chunkSize(buffer, at, byteCount);
      } else if (this.#state === IN_DATA_END) {
        // CR, then LF: the chunk is over with the LF.
        if (buffer[at] === LF) this.#state = IN_SIZE;
        at++;
      } else {
        this.seen.damaged++;
        return;
      }
    }
  }

  #chunkSize(buffer: Buffer, start: number, byteCount: number): number {
    for (let at = start; at < byteCount; at++) {
      const byte = buffer[at]!;
      if (byte === LF) {
        this.#state = this.#chunkLeft === 0 ? ENDED : IN_DATA;
        return at + 1;
      }
      const lower = byte | 32;
      if (byte >= DIGIT_ZERO && byte <= 57)
        this.#chunkLeft = this.#chunkLeft * 16 + byte - DIGIT_ZERO;
      else if (lower >= 97 && lower <= 102) this.#chunkLeft = this.#chunkLeft * 16 + lower - 87;
      else if (byte !== 13) this.seen.damaged++;
    }
    return byteCount;
  }

  #blocks(buffer: Buffer, start: number, end: number, atUs: number): void {
    let at = start;
    // A block begun in an earlier read is finished in the carry; at most one per read, so byte by
    // byte is cheap enough.
    while (this.carryBytes > 0 && at < end) {
      const byte = buffer[at++]!;
      const atBlockEnd = byte === LF && this.carry[this.carryBytes - 1] === LF;
      this.keep(byte);
      if (!atBlockEnd) continue;
      this.#block(this.carry, 0, this.carryBytes, atUs);
      this.carryBytes = 0;
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
        for (; at < end; at++) this.keep(buffer[at]!);
        return;
      }
      this.#block(buffer, at, blockEnd, atUs);
      at = blockEnd;
    }
  }

  /**
   * The end of the event that begins at `start` and lies whole before `end`; −1 when it is
   * something else or not all here.
   */
  #event(buffer: Buffer, start: number, end: number, atUs: number): number {
    if (
      buffer[start] !== 105 ||
      buffer[start + 1] !== 100 ||
      buffer[start + 2] !== 58 ||
      buffer[start + 3] !== 32
    )
      return -1;
    let at = start + 4;
    let id = 0;
    for (; at < end && buffer[at] !== LF; at++) {
      const digit = buffer[at]! - DIGIT_ZERO;
      id = digit >= 0 && digit <= 9 ? id * 10 + digit : Number.NaN;
    }
    const dataStart = at + 7;
    const frameEnd = dataStart + DATA_BYTES + 2;
    if (frameEnd > end || buffer[at + 1] !== 100 || buffer[at + 5] !== 58 || buffer[at + 6] !== 32)
      return -1;
    if (buffer[frameEnd - 1] !== LF || buffer[frameEnd - 2] !== LF) return -1;
    this.deliver(id, readDueUs(buffer, dataStart), readSequence(buffer, dataStart), atUs);
    this.seen.frameBytes += frameEnd - start;
    return frameEnd;
  }

  #block(buffer: Buffer, start: number, end: number, atUs: number): void {
    if (this.#event(buffer, start, end, atUs) === end) return;
    const text = buffer.toString('latin1', start, end);
    if (text.startsWith('event: gap\n')) this.seen.gapEvents++;
    else if (text.startsWith('event: end\n')) this.seen.endEvents++;
    else if (text.startsWith(':')) this.seen.heartbeats++;
    else if (!text.startsWith('retry:') && !this.#eventAsRivalsWriteIt(buffer, start, end, atUs))
      this.seen.damaged++;
  }

  /**
   * Fields in any order, without the space behind the colon, the data a JSON string. False when it
   * carries no event of ours.
   */
  #eventAsRivalsWriteIt(buffer: Buffer, start: number, end: number, atUs: number): boolean {
    let id = Number.NaN;
    let data = -1;
    for (let at = start; at < end && buffer[at] !== LF; at = buffer.indexOf(LF, at) + 1) {
      const colon = buffer.indexOf(COLON, at);
      const name = buffer.toString('latin1', at, colon);
      if (name === 'id')
        id = Number(buffer.toString('latin1', colon + 1, buffer.indexOf(LF, colon)));
      if (name === 'data') data = buffer[colon + 1] === QUOTE ? colon + 2 : -1;
    }
    if (data === -1 || data + DATA_BYTES > end || buffer[data + DATA_BYTES] !== QUOTE) return false;
    this.deliver(id, readDueUs(buffer, data), readSequence(buffer, data), atUs);
    this.seen.frameBytes += end - start;
    return true;
  }
}
