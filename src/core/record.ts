/** Records: events as a channel keeps them. The frames of every encoding can be made from them. */
import type { LoggedEvent } from './event.js';

/* json flag (1 byte) · length of the type + 1, 0 without a type (2 bytes) · type · data */
const HEAD_BYTES = 3;

let buffer: Buffer = Buffer.allocUnsafe(4096);

/** The event's record, valid until the next call. */
export function encodeRecord(event: LoggedEvent): Buffer {
  const typeBytes = event.type === undefined ? 0 : Buffer.byteLength(event.type);
  const length = HEAD_BYTES + typeBytes + event.data.length;
  if (buffer.length < length) buffer = Buffer.allocUnsafe(length * 2);
  buffer[0] = event.json ? 1 : 0;
  buffer.writeUInt16LE(event.type === undefined ? 0 : typeBytes + 1, 1);
  if (event.type !== undefined) buffer.write(event.type, HEAD_BYTES);
  buffer.set(event.data, HEAD_BYTES + typeBytes);
  return buffer.subarray(0, length);
}

/** The event of a record. `data` is a view of the record's bytes. */
export function decodeRecord(id: number, channel: string, record: Buffer): LoggedEvent {
  const typeField = record.readUInt16LE(1);
  const dataStart = HEAD_BYTES + Math.max(0, typeField - 1);
  return {
    id,
    channel,
    type: typeField === 0 ? undefined : record.toString('utf8', HEAD_BYTES, dataStart),
    data: record.subarray(dataStart),
    json: record[0] === 1,
  };
}
