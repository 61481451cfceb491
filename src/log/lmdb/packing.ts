/**
 * Entries on their way to the thread, and events on their way back: many in one buffer, whose
 * memory is handed over rather than copied.
 */
import { isDeletion, type LoggedEvent, type NewEntry } from '../../core/event.js';
import { eventOf, recordBytes, writeRecord } from './record.js';

/** Kind and length of the name, one byte each; length of the record, four. */
const ENTRY_HEAD_BYTES = 6;
/** Id, eight bytes; index of the channel and length of the record, four each. */
const EVENT_HEAD_BYTES = 16;

const EVENT = 0;
const DELETION = 1;

/** An entry as the thread sees it; `record` is undefined for a deletion. */
export interface PackedEntry {
  readonly channel: string;
  readonly record: Buffer | undefined;
}

/** Size of an entry in the buffer, bytes. */
export function packedBytes(entry: NewEntry): number {
  return ENTRY_HEAD_BYTES + entry.channel.length + (isDeletion(entry) ? 0 : recordBytes(entry));
}

/** Packs entries into one buffer that is theirs alone. Names of channels are ASCII. */
export function packEntries(entries: readonly NewEntry[], wallMs: number): Buffer<ArrayBuffer> {
  let size = 0;
  for (const entry of entries) size += packedBytes(entry);
  const packed = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const entry of entries) {
    const { channel } = entry;
    packed[at] = isDeletion(entry) ? DELETION : EVENT;
    packed[at + 1] = channel.length;
    packed.write(channel, at + ENTRY_HEAD_BYTES, 'latin1');
    const start = at + ENTRY_HEAD_BYTES + channel.length;
    const end = isDeletion(entry) ? start : writeRecord(entry, wallMs, packed, start);
    packed.writeUInt32LE(end - start, at + 2);
    at = end;
  }
  return packed;
}

/** Entries of a buffer, one after another; records are views of it. */
export function* unpackEntries(packed: Buffer): Generator<PackedEntry> {
  let at = 0;
  while (at < packed.length) {
    const nameEnd = at + ENTRY_HEAD_BYTES + (packed[at + 1] as number);
    const end = nameEnd + packed.readUInt32LE(at + 2);
    const channel = packed.toString('latin1', at + ENTRY_HEAD_BYTES, nameEnd);
    yield { channel, record: packed[at] === DELETION ? undefined : packed.subarray(nameEnd, end) };
    at = end;
  }
}

/** An event that was found: `channel` is its index in the request. */
export interface FoundEvent {
  readonly id: number;
  readonly channel: number;
  readonly record: Buffer;
}

export function packEvents(events: readonly FoundEvent[]): Buffer {
  let size = 0;
  for (const { record } of events) size += EVENT_HEAD_BYTES + record.length;
  const packed = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const { id, channel, record } of events) {
    packed.writeDoubleLE(id, at);
    packed.writeUInt32LE(channel, at + 8);
    packed.writeUInt32LE(record.length, at + 12);
    packed.set(record, at + EVENT_HEAD_BYTES);
    at += EVENT_HEAD_BYTES + record.length;
  }
  return packed;
}

/** The events of a buffer; their data are views of it. */
export function unpackEvents(packed: Buffer, channels: readonly string[]): LoggedEvent[] {
  const events: LoggedEvent[] = [];
  let at = 0;
  while (at < packed.length) {
    const id = packed.readDoubleLE(at);
    const channel = channels[packed.readUInt32LE(at + 8)] as string;
    const start = at + EVENT_HEAD_BYTES;
    at = start + packed.readUInt32LE(at + 12);
    events.push(eventOf(id, channel, packed.subarray(start, at)));
  }
  return events;
}
