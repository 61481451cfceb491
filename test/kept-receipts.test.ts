/**
 * Receipts under idempotency keys: how long they are kept, and which go first when there are too
 * many.
 */
import { expect, test } from 'vitest';
import { makeCounters } from '../src/counters.js';
import { KeptReceipts } from '../src/log/kept-receipts.js';
import type { KeptReceipt } from '../src/core/event-log.js';
import { FakeClock } from './support/fake-clock.js';

const KEYS = 100_000;
const TWO_MINUTES_MS = 120_000;

function receipt(firstId: number): KeptReceipt {
  return {
    digest: `digest ${firstId}`,
    receipt: { firstId, lastId: firstId, count: 1, subscribers: 0 },
  };
}

function setUp(): { clock: FakeClock; receipts: KeptReceipts; evicted: () => number } {
  const clock = new FakeClock();
  const counters = makeCounters();
  return {
    clock,
    receipts: new KeptReceipts(clock, counters),
    evicted: () => counters.idempotency_evicted_total,
  };
}

test('a receipt is kept for two minutes and no longer', () => {
  const { clock, receipts, evicted } = setUp();
  receipts.keep('a', receipt(1));
  expect(receipts.get('a')).toMatchObject(receipt(1));
  expect(receipts.get('b')).toBeUndefined();
  clock.pass(TWO_MINUTES_MS - 1);
  expect(receipts.get('a')).toMatchObject(receipt(1));
  clock.pass(1);
  expect(receipts.get('a')).toBeUndefined();
  expect(evicted()).toBe(0);
});

test('asking for a receipt does not make it last', () => {
  const { clock, receipts } = setUp();
  receipts.keep('a', receipt(1));
  for (let seconds = 0; seconds < 120; seconds++) {
    expect(receipts.get('a')).toBeDefined();
    clock.pass(1000);
  }
  expect(receipts.get('a')).toBeUndefined();
});

test('a key that is used again after its time is kept for two minutes from then', () => {
  const { clock, receipts, evicted } = setUp();
  receipts.keep('a', receipt(1));
  clock.pass(TWO_MINUTES_MS);
  receipts.keep('a', receipt(2));
  clock.pass(TWO_MINUTES_MS - 1);
  receipts.keep('b', receipt(3));
  expect(receipts.get('a')).toMatchObject(receipt(2));
  clock.pass(1);
  expect(receipts.get('a')).toBeUndefined();
  expect(receipts.get('b')).toBeDefined();
  expect(evicted()).toBe(0);
});

test('100,000 are kept; the next one makes the oldest go before its time, which is counted', () => {
  const { receipts, evicted } = setUp();
  for (let i = 1; i <= KEYS; i++) receipts.keep(`key ${i}`, receipt(i));
  expect(evicted()).toBe(0);
  expect(receipts.get('key 1')).toBeDefined();
  receipts.keep('one more', receipt(KEYS + 1));
  receipts.keep('and another', receipt(KEYS + 2));
  expect(evicted()).toBe(2);
  expect(
    ['key 1', 'key 2', 'key 3', `key ${KEYS}`, 'and another'].map(
      (key) => receipts.get(key)?.receipt.firstId,
    ),
  ).toEqual([undefined, undefined, 3, KEYS, KEYS + 2]);
});

test('those whose time is over make room without being counted', () => {
  const { clock, receipts, evicted } = setUp();
  for (let i = 1; i <= KEYS; i++) receipts.keep(`key ${i}`, receipt(i));
  clock.pass(TWO_MINUTES_MS);
  for (let i = 1; i <= KEYS; i++) receipts.keep(`new key ${i}`, receipt(i));
  expect(evicted()).toBe(0);
  expect([receipts.get('key 5'), receipts.get('new key 1')?.receipt.firstId]).toEqual([
    undefined,
    1,
  ]);
});
