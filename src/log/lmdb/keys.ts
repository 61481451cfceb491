/** Keys of the log's tables: numbers big-endian, so that their order is that of the numbers. */

const ID_BYTES = 8;
const NUMBER_BYTES = 4;
const TWO_TO_32 = 2 ** 32;

/** Of the order of ids, and of what expires. Ids are exact up to 2^53. */
export function idKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(ID_BYTES);
  writeId(key, id, 0);
  return key;
}

/** Of one channel's row. */
export function numberKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(NUMBER_BYTES);
  key.writeUInt32BE(number, 0);
  return key;
}

/** Of one event: all of a channel are side by side, in id order. */
export function recordKey(number: number, id: number): Buffer {
  const key = Buffer.allocUnsafe(NUMBER_BYTES + ID_BYTES);
  key.writeUInt32BE(number, 0);
  writeId(key, id, NUMBER_BYTES);
  return key;
}

/** Of what is kept until a time, with a number that tells two of one time apart. */
export function untilKey(untilMs: number, id: number): Buffer {
  const key = Buffer.allocUnsafe(2 * ID_BYTES);
  writeId(key, untilMs, 0);
  writeId(key, id, ID_BYTES);
  return key;
}

export function readId(key: Buffer, at = 0): number {
  return key.readUInt32BE(at) * TWO_TO_32 + key.readUInt32BE(at + 4);
}

/** The id of a {@link recordKey}. */
export function idOfRecord(key: Buffer): number {
  return readId(key, NUMBER_BYTES);
}

function writeId(key: Buffer, id: number, at: number): void {
  key.writeUInt32BE(Math.floor(id / TWO_TO_32), at);
  key.writeUInt32BE(id % TWO_TO_32, at + 4);
}
