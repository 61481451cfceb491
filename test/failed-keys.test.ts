/** Wrong keys by address: how many get 401, when it is 429, and which addresses are remembered. */
import { beforeEach, describe, expect, test } from 'vitest';
import { makeCounters, type Counters } from '../src/counters.js';
import { FAILED_KEY_ADDRESSES_MAX, FAILED_KEYS_MAX, FAILED_KEYS_MS } from '../src/limits.js';
import { FailedKeys } from '../src/http/failed-keys.js';

let nowMs: number;
let counters: Counters;
let said: string[];
let keys: FailedKeys;
beforeEach(() => {
  nowMs = 0;
  counters = makeCounters();
  said = [];
  keys = new FailedKeys(
    counters,
    (words) => said.push(words),
    () => nowMs,
  );
});

/** Sends `count` wrong keys from an address; returns how many got more than a 401. */
function fail(address: string, count: number): number {
  let refused = 0;
  for (let i = 0; i < count; i++)
    if (keys.failed(address)?.code === 'HOLDLINE_TOO_MANY_KEYS') refused++;
  return refused;
}

describe('an address', () => {
  test('may be wrong a few times, then it is told 429 until the while is over', () => {
    expect(fail('10.0.0.1', FAILED_KEYS_MAX)).toBe(0);
    expect(fail('10.0.0.1', 5)).toBe(5);
    expect(fail('10.0.0.2', 1)).toBe(0);
    nowMs = FAILED_KEYS_MS;
    expect(fail('10.0.0.1', 1)).toBe(0);
    expect(counters.failed_keys_total).toBe(FAILED_KEYS_MAX + 7);
  });

  test('of IPv6 is its network: the rest of it is for the client to choose', () => {
    for (let i = 0; i < FAILED_KEYS_MAX; i++)
      fail(`2001:0db8:0000:0001:0000:0000:0000:000${i % 10}`, 1);
    expect(fail('2001:0db8:0000:0001:ffff:0000:0000:0000', 1)).toBe(1);
    expect(fail('2001:0db8:0000:0002:0000:0000:0000:0000', 1)).toBe(0);
  });

  test('is forgotten for others, the oldest first', () => {
    fail('first', FAILED_KEYS_MAX);
    for (let i = 0; i < FAILED_KEY_ADDRESSES_MAX - 1; i++) fail(`other ${i}`, 1);
    expect(fail('first', 1)).toBe(1);
    fail('one more', 1);
    expect(fail('first', 1)).toBe(0);
  });
});

test('wrong keys are logged once a second, with the number of those between', () => {
  fail('10.0.0.1', 500);
  nowMs = 1000;
  fail('10.0.0.2', 2);
  expect(said).toEqual([
    'a wrong key came from 10.0.0.1',
    'a wrong key came from 10.0.0.2, and 499 more since the last report',
  ]);
});
