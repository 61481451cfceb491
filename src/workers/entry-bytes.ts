/**
 * Entries of the log as bytes, for the pipe between processes. A block is a count and then the
 * entries one after another, numbers big-endian:
 *
 *   count U32, and for each:
 *   id F64 (0: none yet) · flags U8 · sizes: channel U8, type U16, data U32 · channel · type · data
 */
import { isDeletion, type LoggedEntry, type NewEntry } from '../core/event.js';

const IS_DELETION = 1;
const IS_JSON = 2;
const HAS_TYPE = 4;

const COUNT_BYTES = 4;
const HEAD_BYTES = 8 + 1 + 1 + 2 + 4;

/** Share of a frame below which an event's data is copied out of it, so as not to keep the rest. */
const COPIED_BELOW_SHARE = 0.5;

const NO_DATA = new Uint8Array(0);

/** Bytes of the block. */
export function entriesSize(entries: readonly NewEntry[]): number {
  let bytes = COUNT_BYTES;
  for (const entry of entries) {
    bytes += HEAD_BYTES + entry.channel.length;
    if (isDeletion(entry)) continue;
    bytes += entry.data.length;
    if (entry.type !== undefined) bytes += Buffer.byteLength(entry.type);
  }
  return bytes;
}

/** Writes the block; returns the offset behind it. Names of channels are ASCII. */
export function writeEntries(
  into: Buffer,
  offset: number,
  entries: readonly (NewEntry | LoggedEntry)[],
): number {
  let at = into.writeUInt32BE(entries.length, offset);
  for (const entry of entries) {
    const { channel } = entry;
    at = into.writeDoubleBE('id' in entry ? entry.id : 0, at);
    const sizesAt = at;
    at += HEAD_BYTES - 8;
    at += into.write(channel, at, 'latin1');
    let flags = IS_DELETION;
    let typeSize = 0;
    let dataSize = 0;
    if (!isDeletion(entry)) {
      const { type, data, json } = entry;
      flags = (json ? IS_JSON : 0) | (type === undefined ? 0 : HAS_TYPE);
      if (type !== undefined) typeSize = into.write(type, at);
      at += typeSize;
      into.set(data, at);
      dataSize = data.length;
      at += dataSize;
    }
    into.writeUInt8(flags, sizesAt);
    into.writeUInt8(channel.length, sizesAt + 1);
    into.writeUInt16BE(typeSize, sizesAt + 2);
    into.writeUInt32BE(dataSize, sizesAt + 4);
  }
  return at;
}

/**
 * Reads the block at `offset`. Data of large events is a view of `from`, which is not used again.
 */
export function readEntries(from: Buffer, offset: number): LoggedEntry[] {
  const count = from.readUInt32BE(offset);
  const entries: LoggedEntry[] = [];
  let at = offset + COUNT_BYTES;
  for (let i = 0; i < count; i++) {
    const id = from.readDoubleBE(at);
    const flags = from.readUInt8(at + 8);
    const channelSize = from.readUInt8(at + 9);
    const typeSize = from.readUInt16BE(at + 10);
    const dataSize = from.readUInt32BE(at + 12);
    at += HEAD_BYTES;
    const channel = from.toString('latin1', at, at + channelSize);
    at += channelSize;
    if ((flags & IS_DELETION) !== 0) {
      entries.push({ id, channel, isDeletion: true });
      continue;
    }
    const type = (flags & HAS_TYPE) === 0 ? undefined : from.toString('utf8', at, at + typeSize);
    at += typeSize;
    const view = from.subarray(at, at + dataSize);
    at += dataSize;
    const data = dataSize < from.length * COPIED_BELOW_SHARE ? copyOf(view) : view;
    entries.push({ id, channel, type, data, json: (flags & IS_JSON) !== 0 });
  }
  return entries;
}

function copyOf(view: Uint8Array): Uint8Array {
  return view.length === 0 ? NO_DATA : Uint8Array.prototype.slice.call(view);
}
