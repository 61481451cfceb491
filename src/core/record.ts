/**
 * Records: an event as a channel keeps it, whatever encodings its lines use. Every encoding's
 * frames can be made from it again.
 */
import type { LoggedEvent } from './event.js';

/* 1 byte json flag · 2 bytes length of the type (0: none, 1 … is length + 1) · type · data */
const HEAD_BYTES = 3;

let buffer: Buffer = Buffer.allocUnsafe(4096);

/** Encodes an event into a buffer that the next call overwrites. Returns the bytes. */
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
