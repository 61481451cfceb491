/**
 * The event every subject publishes: 256 bytes of text that carry, at fixed width, when it was due
 * and which one it is.
 */

export const DATA_BYTES = 256;

/** The one channel of every subject. */
export const PATH = '/bench';

/**
 * Sixteen digits of microseconds and ten of sequence: fixed width, so that a publisher rewrites
 * them in place.
 */
const TIME_DIGITS = 16;
const SEQUENCE_DIGITS = 10;
const SEQUENCE_OFFSET = TIME_DIGITS + 1;
const PADDING_OFFSET = SEQUENCE_OFFSET + SEQUENCE_DIGITS + 1;

const DIGIT_ZERO = 48;
const DIGIT_NINE = 57;

/**
 * `<16 digits of time> <10 digits of sequence> <padding>`; the padding is not one repeated byte,
 * lest anything on the way compress it.
 */
export function writeEventData(target: Buffer, offset: number): void {
  target[offset + TIME_DIGITS] = 32;
  target[offset + SEQUENCE_OFFSET + SEQUENCE_DIGITS] = 32;
  for (let at = PADDING_OFFSET; at < DATA_BYTES; at++) target[offset + at] = 97 + ((at * 7) % 26);
  writeEventStamp(target, offset, 0, 0);
}

export function writeEventStamp(
  target: Buffer,
  offset: number,
  dueUs: number,
  sequence: number,
): void {
  writeDigits(target, offset, TIME_DIGITS, Math.round(dueUs));
  writeDigits(target, offset + SEQUENCE_OFFSET, SEQUENCE_DIGITS, sequence);
}

export function readDueUs(source: Buffer, offset: number): number {
  return readDigits(source, offset, TIME_DIGITS);
}

export function readSequence(source: Buffer, offset: number): number {
  return readDigits(source, offset + SEQUENCE_OFFSET, SEQUENCE_DIGITS);
}

/** The bytes of one event as an SSE frame, without what the transport wraps around it. */
export function frameBytes(id: number): number {
  return `id: ${id}\ndata: \n\n`.length + DATA_BYTES;
}

/**
 * An event as a line of NDJSON, and the object a poll answers with:
 * `{"id":5,"channel":"bench","data":"…"}`.
 */
const NDJSON_START = Buffer.from('{"id":');
const NDJSON_BEFORE_DATA = Buffer.from(`,"channel":"${PATH.slice(1)}","data":"`);
const NDJSON_END = Buffer.from('"}');

/**
 * Where the data begins of the event that begins at `start` and lies whole before `end`; −1 when
 * there is none.
 */
export function ndjsonData(source: Buffer, start: number, end: number): number {
  if (!standsAt(source, start, NDJSON_START)) return -1;
  let at = start + NDJSON_START.length;
  while (source[at]! >= DIGIT_ZERO && source[at]! <= DIGIT_NINE) at++;
  if (!standsAt(source, at, NDJSON_BEFORE_DATA)) return -1;
  const data = at + NDJSON_BEFORE_DATA.length;
  return ndjsonEnd(data) <= end && standsAt(source, data + DATA_BYTES, NDJSON_END) ? data : -1;
}

/** Where the event ends whose data begins at `data`: behind its brace. */
export function ndjsonEnd(data: number): number {
  return data + DATA_BYTES + NDJSON_END.length;
}

/** The id of the event that begins at `start`. */
export function readNdjsonId(source: Buffer, start: number): number {
  let id = 0;
  for (
    let at = start + NDJSON_START.length;
    source[at]! >= DIGIT_ZERO && source[at]! <= DIGIT_NINE;
    at++
  ) {
    id = id * 10 + source[at]! - DIGIT_ZERO;
  }
  return id;
}

/** An event as a server writes it that has nothing else to say; the data must need no escapes. */
export function ndjsonEvent(id: number, data: Buffer): Buffer {
  return Buffer.concat([
    NDJSON_START,
    Buffer.from(String(id)),
    NDJSON_BEFORE_DATA,
    data,
    NDJSON_END,
  ]);
}

function standsAt(source: Buffer, start: number, wanted: Buffer): boolean {
  for (let at = 0; at < wanted.length; at++) if (source[start + at] !== wanted[at]) return false;
  return true;
}

function writeDigits(target: Buffer, offset: number, width: number, value: number): void {
  let rest = value;
  for (let at = offset + width - 1; at >= offset; at--) {
    const next = Math.floor(rest / 10);
    target[at] = DIGIT_ZERO + (rest - next * 10);
    rest = next;
  }
}

/** NaN when a byte is no digit: the caller counts it as damage. */
function readDigits(source: Buffer, offset: number, width: number): number {
  let value = 0;
  for (let at = offset; at < offset + width; at++) {
    const digit = source[at]! - DIGIT_ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}
