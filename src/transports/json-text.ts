/** The text of strings in a client's JSON, which json.ts has scanned. */

export const BACKSLASH = 0x5c;
export const LOWER_U = 0x75;
const NINE = 0x39;
const ZERO = 0x30;

/** What a byte behind a backslash means; 0 if it is not allowed there (`u` is treated apart). */
export const ESCAPED = new Uint8Array(256);
for (const [index, byte] of Buffer.from('"\\/bfnrt').entries())
  ESCAPED[byte] = Buffer.from('"\\/\b\f\n\r\t')[index] as number;

/** The text of a scanned string; `start` and `end` are outside its quotation marks. */
export function stringOf(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(stringBytes(bytes, start, end)).toString();
}

/** The UTF-8 bytes of a scanned string: a view if it has no escapes. */
export function stringBytes(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const text = bytes.subarray(start + 1, end - 1);
  const first = text.indexOf(BACKSLASH);
  return first < 0 ? text : unescaped(text, first);
}

/** An unpaired surrogate, which is a fault of the whole text, becomes U+FFFD. */
function unescaped(text: Uint8Array, first: number): Buffer {
  // No escape is shorter than what it stands for.
  const out = Buffer.allocUnsafe(text.length);
  out.set(text.subarray(0, first));
  let length = first;
  for (let at = first; at < text.length; at++) {
    const byte = text[at] as number;
    if (byte !== BACKSLASH) {
      out[length++] = byte;
      continue;
    }
    const escaped = text[++at] as number;
    if (escaped !== LOWER_U) {
      out[length++] = ESCAPED[escaped] as number;
      continue;
    }
    let point = hexUnit(text, at + 1);
    at += 4;
    if (point >= 0xd800 && point < 0xe000) {
      const low =
        text[at + 1] === BACKSLASH && text[at + 2] === LOWER_U ? hexUnit(text, at + 3) : 0;
      if (point < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
        point = 0x1_0000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
      } else {
        point = 0xfffd;
      }
    }
    length = writePoint(out, length, point);
  }
  return out.subarray(0, length);
}

/** The UTF-16 unit of four hexadecimal digits. */
export function hexUnit(bytes: Uint8Array, at: number): number {
  let unit = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + i] as number;
    unit = unit * 16 + (byte <= NINE ? byte - ZERO : (byte | 0x20) - 0x57);
  }
  return unit;
}

function writePoint(out: Buffer, at: number, point: number): number {
  if (point < 0x80) {
    out[at++] = point;
    return at;
  }
  if (point < 0x800) {
    out[at++] = 0xc0 | (point >> 6);
  } else {
    if (point < 0x1_0000) {
      out[at++] = 0xe0 | (point >> 12);
    } else {
      out[at++] = 0xf0 | (point >> 18);
      out[at++] = 0x80 | ((point >> 12) & 0x3f);
    }
    out[at++] = 0x80 | ((point >> 6) & 0x3f);
  }
  out[at++] = 0x80 | (point & 0x3f);
  return at;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
