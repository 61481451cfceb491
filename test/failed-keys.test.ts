/** Wrong keys by address: how many get 401, when it is 429, and which addresses are remembered. */
import { beforeEach, describe, expect, test } from 'vitest';
import { makeCounters, type Counters } from '../src/counters.js';
import { FAILED_KEY_ADDRESSES_MAX, FAILED_KEYS_MAX, FAILED_KEYS_MS } from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';
import { FailedKeys } from '../src/http/failed-keys.js';

let clock: FakeClock;
let counters: Counters;
let said: string[];
let keys: FailedKeys;
beforeEach(() => {
  clock = new FakeClock();
  counters = makeCounters();
  said = [];
  keys = new FailedKeys(counters, (words) => said.push(words), clock);
});

/** Sends `count` wrong keys from an address; returns how many got more than a 401. */
function fail(address: string, count: number): number {
  let refused = 0;
  for (let i = 0; i < count; i++)
    if (keys.failed({ shown: address, network: address })?.code === 'HOLDLINE_TOO_MANY_KEYS')
      refused++;
  return refused;
}

describe('an address', () => {
  test('may be wrong a few times, then it is told 429 until the while is over', () => {
    expect(fail('10.0.0.1', FAILED_KEYS_MAX)).toBe(0);
    expect(fail('10.0.0.1', 5)).toBe(5);
    expect(fail('10.0.0.2', 1)).toBe(0);
    clock.pass(FAILED_KEYS_MS);
    expect(fail('10.0.0.1', 1)).toBe(0);
    expect(counters.failed_keys_total).toBe(FAILED_KEYS_MAX + 7);
  });

  test('is served with wrong keys beside what needs none, until it had a few', () => {
    const address = { shown: '10.0.0.1', network: '10.0.0.1' };
    for (let i = 0; i < FAILED_KEYS_MAX; i++) expect(keys.tolerates(address)).toBe(true);
    expect(keys.tolerates(address)).toBe(false);
    expect(counters.failed_keys_total).toBe(FAILED_KEYS_MAX);
    expect(fail('10.0.0.1', 1)).toBe(1);
    clock.pass(FAILED_KEYS_MS);
    expect(keys.tolerates(address)).toBe(true);
  });

  test('is its network: the rest of an IPv6 address is for the client to choose', () => {
    const network = '2001:db8:0:1::/64';
    for (let i = 0; i < FAILED_KEYS_MAX; i++) keys.failed({ shown: `2001:db8:0:1::${i}`, network });
    expect(keys.failed({ shown: '2001:db8:0:1:ffff::', network })).toMatchObject({
      code: 'HOLDLINE_TOO_MANY_KEYS',
    });
    expect(said).toEqual(['a wrong key came from 2001:db8:0:1::0']);
  });

  test('is forgotten when its time is over', () => {
    fail('10.0.0.1', 1);
    clock.pass(FAILED_KEYS_MS / 2);
    fail('10.0.0.2', 1);
    clock.pass(FAILED_KEYS_MS / 2);
    clock.runTimers();
    expect(keys.size).toBe(1);
    clock.pass(FAILED_KEYS_MS);
    clock.runTimers();
    expect([keys.size, clock.timerCount]).toEqual([0, 0]);
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
  clock.pass(1000);
  fail('10.0.0.2', 2);
  expect(said).toEqual([
    'a wrong key came from 10.0.0.1',
    'a wrong key came from 10.0.0.2, and 499 more since the last report',
  ]);
});
