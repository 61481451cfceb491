/**
 * An event as it is kept: everything of it but its id and its channel, which are its key. It is
 * made where the event is appended, travels to the thread as it is, and is written unchanged.
 *
 * byte 0: format in the high four bits (1), bit 0: the data is a JSON text, bit 1: it has a type;
 * bytes 1–6: wall time, ms since 1970, big-endian; then, if it has a type, two bytes with its
 * length and the type in UTF-8; then the data.
 */
import type { LoggedEvent, NewEvent } from '../../core/event.js';
import { HoldlineError } from '../../errors.js';

/** In the high four bits of the first byte; another format would be another number. */
const FORMAT = 0x10;
const FORMAT_BITS = 0xf0;
const IS_JSON = 1;
const HAS_TYPE = 2;

const HEAD_BYTES = 7;
const TYPE_HEAD_BYTES = 2;

/** A record that was read; `data` is a view of it. */
export interface ReadRecord {
  readonly type: string | undefined;
  readonly json: boolean;
  readonly data: Uint8Array;
  readonly wallMs: number;
}

/** Size of the record of an event, bytes. */
export function recordBytes({ type, data }: Pick<NewEvent, 'type' | 'data'>): number {
  const typeBytes = type === undefined ? 0 : TYPE_HEAD_BYTES + Buffer.byteLength(type);
  return HEAD_BYTES + typeBytes + data.length;
}

/** Writes a record at `start`, and returns where it ends. */
export function writeRecord(
  { type, data, json }: Omit<NewEvent, 'channel'>,
  wallMs: number,
  into: Buffer,
  start: number,
): number {
  into[start] = FORMAT | (json ? IS_JSON : 0) | (type === undefined ? 0 : HAS_TYPE);
  into.writeUIntBE(wallMs, start + 1, 6);
  let at = start + HEAD_BYTES;
  if (type !== undefined) {
    const typeBytes = into.write(type, at + TYPE_HEAD_BYTES);
    into.writeUInt16BE(typeBytes, at);
    at += TYPE_HEAD_BYTES + typeBytes;
  }
  into.set(data, at);
  return at + data.length;
}

/** When the event of a record was published, ms since 1970. */
export function wallMsOf(record: Buffer): number {
  return record.readUIntBE(1, 6);
}

/** Reads a record. Throws HOLDLINE_LOG_UNAVAILABLE for what is none. */
export function readRecord(record: Buffer): ReadRecord {
  const first = record[0] ?? 0;
  if ((first & FORMAT_BITS) !== FORMAT || record.length < HEAD_BYTES) throw damaged();
  const wallMs = wallMsOf(record);
  let at = HEAD_BYTES;
  let type: string | undefined;
  if ((first & HAS_TYPE) !== 0) {
    if (record.length < at + TYPE_HEAD_BYTES) throw damaged();
    const end = at + TYPE_HEAD_BYTES + record.readUInt16BE(at);
    if (record.length < end) throw damaged();
    type = record.toString('utf8', at + TYPE_HEAD_BYTES, end);
    at = end;
  }
  return { type, json: (first & IS_JSON) !== 0, data: record.subarray(at), wallMs };
}

/** An event from its record, which is kept as long as the event is. */
export function eventOf(id: number, channel: string, record: Buffer): LoggedEvent {
  const { type, data, json } = readRecord(record);
  return { id, channel, type, data, json };
}

function damaged(): HoldlineError {
  return new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', 'a record of the log is damaged');
}
