/** How events are written into a log on disk: records, and how they travel to its thread. */
import { fc } from './support/properties.js';
import { expect, test } from 'vitest';
import { isDeletion, type NewEntry, type NewEvent } from '../src/core/event.js';
import type { Table } from '../src/log/lmdb/environment.js';
import { idKey, idOfRecord, readId, recordKey, untilKey } from '../src/log/lmdb/keys.js';
import {
  packedBytes,
  packEntries,
  packEvents,
  unpackEntries,
  unpackEvents,
} from '../src/log/lmdb/packing.js';
import { eventOf, readRecord, recordBytes, wallMsOf, writeRecord } from '../src/log/lmdb/record.js';
import { readTotals } from '../src/log/lmdb/totals.js';

const anEvent: fc.Arbitrary<NewEvent> = fc.record({
  channel: fc.stringMatching(/^[A-Za-z0-9._~:@/-]{1,128}$/),
  type: fc.option(fc.string({ minLength: 1, maxLength: 64, unit: 'grapheme' }), { nil: undefined }),
  data: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  json: fc.boolean(),
});
const anEntry: fc.Arbitrary<NewEntry> = fc.oneof(
  anEvent,
  anEvent.map(({ channel }) => ({ channel, isDeletion: true }) as const),
);
const aTime = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const anId = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

function recordOf(event: NewEvent, wallMs: number): Buffer {
  const record = Buffer.alloc(recordBytes(event));
  expect(writeRecord(event, wallMs, record, 0)).toBe(record.length);
  return record;
}

test('an event is read as it was written, and its time with it', () => {
  fc.assert(
    fc.property(anEvent, aTime, (event, wallMs) => {
      const record = recordOf(event, wallMs);
      expect(eventOf(7, event.channel, record)).toEqual({ ...event, id: 7 });
      expect(wallMsOf(record)).toBe(wallMs);
    }),
  );
});

test('a record is these bytes', () => {
  const given = { channel: 'a', type: 'é', data: Buffer.from('{}'), json: true };
  expect(recordOf(given, 0x0102_0304_0506).toString('hex')).toBe('130102030405060002c3a97b7d');
  const plain = { ...given, type: undefined, json: false };
  expect(recordOf(plain, 0).toString('hex')).toBe('100000000000007b7d');
});

test('what is no record, or one that was cut, is refused', () => {
  const record = recordOf({ channel: 'a', type: 'type', data: Buffer.of(), json: false }, 1);
  for (let length = 0; length < record.length; length++)
    expect(() => readRecord(record.subarray(0, length))).toThrow(/damaged/);
  for (const first of [0x00, 0x03, 0x23, 0xf3]) {
    const other = Buffer.from(record);
    other[0] = first;
    expect(() => readRecord(other)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_LOG_UNAVAILABLE' }),
    );
  }
});

test('entries arrive as they were packed, and each says how long it is', () => {
  fc.assert(
    fc.property(fc.array(anEntry, { maxLength: 20 }), aTime, (entries, wallMs) => {
      const packed = packEntries(entries, wallMs);
      expect(packed.length).toBe(entries.reduce((sum, entry) => sum + packedBytes(entry), 0));
      const found = [...unpackEntries(packed)].map(({ channel, record }) =>
        record === undefined ? { channel, isDeletion: true } : eventOf(0, channel, record),
      );
      const expected = entries.map((entry) => (isDeletion(entry) ? entry : { ...entry, id: 0 }));
      expect(found).toEqual(expected);
    }),
  );
});

test('events come back as they were packed', () => {
  const some = fc.array(fc.tuple(anId, anEvent), { maxLength: 20 });
  fc.assert(
    fc.property(some, (given) => {
      const channels = given.map(([, { channel }]) => channel);
      const found = given.map(([id, event], channel) => ({
        id,
        channel,
        record: recordOf(event, 1),
      }));
      expect(unpackEvents(packEvents(found), channels)).toEqual(
        given.map(([id, event]) => ({ ...event, id })),
      );
    }),
  );
});

test('keys are in the order of their numbers', () => {
  fc.assert(
    fc.property(anId, anId, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (one, other, number) => {
      const order = Math.sign(one - other);
      expect(Buffer.compare(idKey(one), idKey(other))).toBe(order);
      expect(Buffer.compare(recordKey(number, one), recordKey(number, other))).toBe(order);
      expect(Buffer.compare(untilKey(one, 1), untilKey(other, 1))).toBe(order);
      expect(readId(idKey(one))).toBe(one);
      expect(idOfRecord(recordKey(number, one))).toBe(one);
    }),
  );
});

test('totals of a log that an earlier version wrote are read', () => {
  const packed = Buffer.alloc(9 * 8);
  packed.writeDoubleBE(41, 0);
  packed.writeDoubleBE(42, 8);
  const factsOf = (value: Buffer) => ({ facts: { get: () => value } as unknown as Table });
  expect(readTotals(factsOf(packed))).toMatchObject({
    floor: 41,
    newestId: 42,
    setBackId: 0,
    setBackMs: 0,
  });
  expect(readTotals(factsOf(packed.subarray(8)))).toBeUndefined();
});
