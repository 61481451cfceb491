/** The event every subject publishes: 256 bytes of text that carry, at fixed width, when it was due and which one it is. */

export const DATA_BYTES = 256;

/** The one channel of every subject. */
export const PATH = '/bench';

/** Sixteen digits of microseconds and ten of sequence: fixed width, so that a publisher rewrites them in place. */
const TIME_DIGITS = 16;
const SEQUENCE_DIGITS = 10;
const SEQUENCE_OFFSET = TIME_DIGITS + 1;
const PADDING_OFFSET = SEQUENCE_OFFSET + SEQUENCE_DIGITS + 1;

const DIGIT_ZERO = 48;

/** `<16 digits of time> <10 digits of sequence> <padding>`; the padding is not one repeated byte, lest anything on the way compress it. */
export function writeEventData(target: Buffer, offset: number): void {
  target[offset + TIME_DIGITS] = 32;
  target[offset + SEQUENCE_OFFSET + SEQUENCE_DIGITS] = 32;
  for (let at = PADDING_OFFSET; at < DATA_BYTES; at++) target[offset + at] = 97 + ((at * 7) % 26);
  writeEventStamp(target, offset, 0, 0);
}

export function writeEventStamp(target: Buffer, offset: number, dueUs: number, sequence: number): void {
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
