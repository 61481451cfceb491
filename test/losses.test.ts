/**
 * What is remembered of channels that were forgotten: never less than they lost, exactly that while
 * there is room.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { keyedHash, Losses, type NameHash } from '../src/core/losses.js';
import { makeCounters } from '../src/counters.js';
import { ID_MAX, LOST_CHANNELS_MAX } from '../src/limits.js';

const MIB = 1024 * 1024;

/** Names are their own hash, so that tests say which ones lie in one place. */
const itself: NameHash = Number;

function lossesOf(recordsMax: number, floor = 0, hash: NameHash = keyedHash()) {
  const counters = makeCounters();
  return { counters, losses: new Losses(counters, floor, recordsMax, hash) };
}

describe('a name', () => {
  test('without a record has lost what lies below the floor', () => {
    const { losses } = lossesOf(10, 77);
    expect([losses.lostThrough('a'), losses.size, losses.memoryBytes]).toEqual([77, 0, 0]);
  });

  test('with a record has lost that, whatever the floor becomes', () => {
    const { counters, losses } = lossesOf(2, 5);
    losses.remember('a', 10);
    losses.remember('b', 30);
    losses.remember('a', 20);
    losses.remember('a', 15);
    expect(['a', 'b', 'c'].map((name) => losses.lostThrough(name))).toEqual([20, 30, 5]);
    // a was remembered again, so b is the oldest.
    losses.remember('c', 40);
    expect(['a', 'b', 'c', 'd'].map((name) => losses.lostThrough(name))).toEqual([20, 30, 40, 30]);
    expect([losses.floor, losses.size, counters.losses_forgotten_total]).toEqual([30, 2, 1]);
  });

  test('with a record has lost what all names have lost, too', () => {
    const { losses } = lossesOf(10);
    for (const [name, id] of [
      ['a', 10],
      ['b', 30],
    ] as const)
      losses.remember(name, id);
    losses.rememberAll(20);
    expect(['a', 'b', 'c'].map((name) => losses.lostThrough(name))).toEqual([20, 30, 20]);
    losses.remember('a', 25);
    expect(losses.lostThrough('a')).toBe(25);
  });

  test('that has lost nothing above the floor needs no record', () => {
    const { losses } = lossesOf(2, 50);
    losses.remember('a', 50);
    expect([losses.size, losses.lostThrough('a')]).toEqual([0, 50]);
  });

  test('whose record is below the floor has it raised all the same', () => {
    const { losses } = lossesOf(2);
    losses.remember('low', 10);
    losses.remember('high', 90);
    losses.remember('low', 11);
    losses.remember('next', 100);
    expect([losses.floor, losses.lostThrough('low')]).toEqual([90, 11]);
    losses.remember('low', 60);
    expect(losses.lostThrough('low')).toBe(60);
  });

  test('may be of any length and script, and is hashed with a key of the process', () => {
    const [one, other] = [keyedHash(), keyedHash()];
    for (const name of ['', 'a', 'x'.repeat(128), 'é…😀']) {
      expect(one(name)).toBe(one(name));
      expect(one(name)).not.toBe(other(name));
      expect(Number.isSafeInteger(one(name)) && one(name) >= 0).toBe(true);
    }
    const { losses } = lossesOf(10);
    losses.remember('x', ID_MAX);
    expect(losses.lostThrough('x')).toBe(ID_MAX);
  });
});

describe('records', () => {
  test('are found though others that lay in their way were forgotten, also past the end of the slots', () => {
    // Eight slots: 7, 15, 23 and 31 belong into the last one.
    const { losses } = lossesOf(4, 0, itself);
    for (const [i, name] of ['7', '15', '6', '23'].entries()) losses.remember(name, i + 1);
    const expected = new Map([
      ['7', 1],
      ['15', 2],
      ['6', 3],
      ['23', 4],
    ]);
    for (const [i, [name]] of [...expected].entries()) {
      for (const [kept, id] of expected) expect(losses.lostThrough(kept)).toBe(id);
      expected.delete(name);
      losses.remember(String(100 + 8 * i), 50 + i);
    }
    expect(losses.floor).toBe(4);
  });

  test('that are all remembered again go in their order, each after one more chance', () => {
    const { losses } = lossesOf(3);
    for (const round of [1, 2])
      for (const name of ['a', 'b', 'c']) losses.remember(name, round * 10);
    losses.remember('d', 30);
    losses.remember('b', 31);
    losses.remember('e', 40);
    expect(['a', 'b', 'c', 'd', 'e'].map((name) => losses.lostThrough(name)).slice(1)).toEqual([
      31, 20, 30, 40,
    ]);
    expect(losses.floor).toBe(20);
  });

  test('that are all remembered again cost no walk: of those looked at the one that lost least goes', () => {
    const { losses } = lossesOf(1000);
    for (const first of [1, 2001])
      for (let i = 0; i < 1000; i++) losses.remember(`c${i}`, first + ((i * 7) % 1000));
    losses.remember('new', 5000);
    const gone = losses.floor - 2001;
    expect(gone, 'the least of the first 64').toBe(0);
    expect(losses.size).toBe(1000);
    for (let i = 0; i < 1000; i++)
      expect(losses.lostThrough(`c${i}`)).toBe(2001 + ((i * 7) % 1000));
    losses.remember('newer', 5001);
    expect(losses.floor, 'the flags of those looked at are off, the next ones are not').toBe(
      2001 + Math.min(...Array.from({ length: 64 }, (_, i) => ((64 + i) * 7) % 1000)),
    );
  });

  const step = fc.record({ name: fc.nat(40).map(String), rise: fc.nat(5) });

  test.each<readonly [string, (recordsMax: number) => NameHash]>([
    ['the hash in use', () => keyedHash()],
    [
      'a hash that puts many in one place',
      () => (name) => Number(name) * 2 ** 32 + (Number(name) % 3),
    ],
    ['a hash of four values', () => (name) => Number(name) % 4],
  ])(
    'are never below what was lost, the floor only grows, and all is exact while there is room: %s',
    (_, hashOf) => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 12 }),
          fc.nat(3),
          fc.array(step, { maxLength: 150, size: 'max' }),
          (max, floor, steps) => {
            const hash = hashOf(max);
            const { counters, losses } = lossesOf(max, floor, hash);
            const lost = new Map<string, number>();
            let id = 0;
            let lastFloor = floor;
            for (const { name, rise } of steps) {
              id += rise;
              losses.remember(name, id);
              lost.set(name, id);
              assert.ok(losses.floor >= lastFloor && losses.size <= max);
              lastFloor = losses.floor;
              for (const [one, through] of lost)
                assert.ok(losses.lostThrough(one) >= through, `${one} has lost ${through}`);
              if (
                counters.losses_forgotten_total > 0 ||
                new Set([...lost.keys()].map(hash)).size < lost.size
              )
                continue;
              assert.equal(losses.floor, floor);
              for (const [one, through] of lost)
                assert.equal(losses.lostThrough(one), Math.max(through, floor));
            }
            const kinds = new Set([...lost.keys()].map(hash)).size;
            if (kinds <= max)
              assert.equal(
                counters.losses_forgotten_total,
                0,
                'nothing is forgotten while there is room',
              );
          },
        ),
        { numRuns: 120 },
      );
    },
  );
});

test(`${LOST_CHANNELS_MAX} records take ≤ 32 MiB, and one more costs one`, () => {
  const { counters, losses } = lossesOf(
    LOST_CHANNELS_MAX,
    0,
    (name) => (Number(name) * 2_654_435_761) % 2 ** 53,
  );
  const before = process.memoryUsage().rss;
  for (let i = 1; i <= LOST_CHANNELS_MAX; i++) losses.remember(String(i), i);
  expect([losses.size, losses.floor]).toEqual([LOST_CHANNELS_MAX, 0]);
  expect(losses.memoryBytes).toBeLessThanOrEqual(32 * MIB);
  // The names themselves are garbage of the test, so this is a bound with room.
  expect(process.memoryUsage().rss - before).toBeLessThan(96 * MIB);
  for (const id of [1, 2, LOST_CHANNELS_MAX / 2, LOST_CHANNELS_MAX])
    expect(losses.lostThrough(String(id))).toBe(id);
  losses.remember('0.5', LOST_CHANNELS_MAX + 1);
  expect([
    losses.floor,
    losses.lostThrough('1'),
    losses.lostThrough('2'),
    counters.losses_forgotten_total,
  ]).toEqual([1, 1, 2, 1]);
});
