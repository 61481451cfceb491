/** Token buckets, the rates of publishers, and the places of lines. */
import { beforeEach, describe, expect, test } from 'vitest';
import { makeCounters, type Counters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { Places, type PlacesOptions } from '../src/http/places.js';
import { PublishRates } from '../src/http/publish-rates.js';
import { TokenBucket } from '../src/http/token-bucket.js';
import { RATE_BUCKETS_MAX, RATE_FORGET_MS } from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';

let clock: FakeClock;
let counters: Counters;
beforeEach(() => {
  clock = new FakeClock();
  counters = makeCounters();
});

/** The refusal that `action` throws; undefined if it throws none. */
function refusalOf(action: () => void): HoldlineError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(HoldlineError);
    return error as HoldlineError;
  }
}

describe('a token bucket', () => {
  test('gives its burst at once, then so many a second', () => {
    const bucket = new TokenBucket(10, 3, 0);
    expect([0, 0, 0, 0].map((ms) => bucket.take(ms))).toEqual([0, 0, 0, 100]);
    expect(bucket.take(99)).toBe(1);
    expect(bucket.take(100)).toBe(0);
    expect(bucket.isFull(300)).toBe(false);
    expect(bucket.isFull(400)).toBe(true);
    // However long the pause was, no more than a burst.
    expect([0, 0, 0, 0].map(() => bucket.take(1e9))).toEqual([0, 0, 0, 100]);
  });

  test('is owed what was taken beyond it', () => {
    const bucket = new TokenBucket(10, 3, 0);
    bucket.take(0);
    bucket.owe(12, 0);
    expect(bucket.take(0)).toBe(1100);
    expect(bucket.take(1099)).toBe(1);
    expect(bucket.take(1100)).toBe(0);
    // What was there before is no more than a burst.
    bucket.owe(4, 1e9);
    expect(bucket.take(1e9)).toBe(200);
  });
});

describe('the rate of publishers', () => {
  test('is for each by itself; who is above it is told when to come back', () => {
    const rates = new PublishRates(5, clock, counters);
    for (let i = 0; i < 10; i++) rates.take('a');
    expect(refusalOf(() => rates.take('a'))).toMatchObject({
      code: 'HOLDLINE_RATE',
      retryAfterSeconds: 1,
    });
    expect(refusalOf(() => rates.take('b'))).toBeUndefined();
    expect(counters.publishes_refused_rate_total).toBe(1);
    clock.pass(200);
    expect(refusalOf(() => rates.take('a'))).toBeUndefined();
    expect(refusalOf(() => rates.take('a'))).toBeDefined();
  });

  test('counts the events of a batch, which is let in first', () => {
    const rates = new PublishRates(5, clock, counters);
    rates.take('a');
    rates.published('a', 1);
    rates.published('a', 30);
    // 10 of the burst, 30 taken: 21 until one is there.
    expect(refusalOf(() => rates.take('a'))).toMatchObject({ retryAfterSeconds: 5 });
    clock.pass(4200);
    expect(refusalOf(() => rates.take('a'))).toBeUndefined();
  });

  test('is one rate, wherever its source publishes', () => {
    const here = new PublishRates(5, clock, counters);
    const there = new PublishRates(5, clock, counters);
    here.onTaken = (source, events) => there.takenElsewhere(source, events);
    there.onTaken = (source, events) => here.takenElsewhere(source, events);
    clock.pass(60_000);
    here.take('a');
    here.published('a', 3);
    for (let i = 0; i < 7; i++) there.take('a');
    expect(refusalOf(() => here.take('a'))).toMatchObject({ code: 'HOLDLINE_RATE' });
    expect(refusalOf(() => there.take('a'))).toMatchObject({ code: 'HOLDLINE_RATE' });
    clock.pass(200);
    expect(refusalOf(() => here.take('a'))).toBeUndefined();
    expect(refusalOf(() => there.take('a'))).toBeDefined();
    expect(refusalOf(() => there.take('b'))).toBeUndefined();
  });

  test('without a limit is off', () => {
    expect(new PublishRates(0, clock, counters).isOn).toBe(false);
    expect(new PublishRates(1, clock, counters).isOn).toBe(true);
  });

  test('forgets who may have a full burst again, and then does nothing', () => {
    const rates = new PublishRates(1, clock, counters);
    rates.take('a');
    rates.take('b');
    rates.published('b', 2 * (RATE_FORGET_MS / 1000));
    expect([rates.size, clock.timerCount]).toEqual([2, 1]);
    clock.pass(RATE_FORGET_MS);
    clock.runTimers();
    expect([rates.size, clock.timerCount]).toEqual([1, 1]);
    clock.pass(RATE_FORGET_MS);
    clock.runTimers();
    expect([rates.size, clock.timerCount]).toEqual([0, 0]);
  });

  test('knows a bounded number of them; the oldest begins again', () => {
    const rates = new PublishRates(1, clock, counters);
    for (let i = 0; i < 2; i++) rates.take('first');
    for (let i = 1; i < RATE_BUCKETS_MAX; i++) rates.take(`other ${i}`);
    expect(refusalOf(() => rates.take('first'))).toBeDefined();
    rates.take('one more');
    expect(rates.size).toBe(RATE_BUCKETS_MAX);
    expect(refusalOf(() => rates.take('first'))).toBeUndefined();
  });
});

describe('places', () => {
  const linesOf: Record<string, number> = {};
  const world = { open: 0, waiting: 0 };
  const NOBODY = { user: undefined, address: '' };

  beforeEach(() => {
    Object.assign(world, { open: 0, waiting: 0 });
    Object.assign(linesOf, { '192.0.2.7': 0, ann: 0 });
  });

  function places(
    options: Partial<PlacesOptions>,
    memory: { checkRoom(): void } = { checkRoom: () => undefined },
  ) {
    const owners = {
      linesOfUser: (user: string) => linesOf[user] ?? 0,
      linesOfAddress: (address: string) => linesOf[address] ?? 0,
    };
    return new Places(
      { hub: { lines: world, polls: world, owners }, memory, clock, counters },
      {
        maxConnections: 100,
        maxLinesPerAddress: 0,
        maxLinesPerUser: 0,
        maxWaitingPolls: 0,
        acceptRate: 0,
        ...options,
      },
    );
  }

  test('in all', () => {
    const all = places({});
    world.open = 99;
    expect(refusalOf(() => all.checkLine(NOBODY))).toBeUndefined();
    world.open = 100;
    expect(refusalOf(() => all.checkLine(NOBODY))?.code).toBe('HOLDLINE_LINES_FULL');
    expect(refusalOf(() => all.checkPoll(NOBODY))?.code).toBe('HOLDLINE_LINES_FULL');
  });

  test.each([
    ['address', { maxLinesPerAddress: 3 }, { user: undefined, address: '192.0.2.7' }],
    ['user', { maxLinesPerUser: 3 }, { user: 'ann', address: '' }],
  ] as const)('of one %s', (what, options, comer) => {
    const some = places(options);
    Object.assign(linesOf, { '192.0.2.7': 2, ann: 2 });
    expect(refusalOf(() => some.checkLine(comer))).toBeUndefined();
    Object.assign(linesOf, { '192.0.2.7': 3, ann: 3 });
    expect(refusalOf(() => some.checkLine(comer))).toMatchObject({
      code: 'HOLDLINE_TOO_MANY_LINES',
      message: expect.stringContaining(`this ${what} has 3 lines already`) as string,
    });
    expect(refusalOf(() => some.checkPoll(comer))?.code).toBe('HOLDLINE_TOO_MANY_LINES');
    expect(counters[`lines_refused_${what}_total`]).toBe(2);
    expect(refusalOf(() => some.checkLine(NOBODY))).toBeUndefined();
    // 0 is no limit.
    expect(refusalOf(() => places({}).checkLine(comer))).toBeUndefined();
  });

  test('of waiting polls', () => {
    const few = places({ maxWaitingPolls: 2 });
    world.waiting = 1;
    expect(refusalOf(() => few.checkPoll(NOBODY))).toBeUndefined();
    world.waiting = 2;
    expect(refusalOf(() => few.checkPoll(NOBODY))?.code).toBe('HOLDLINE_POLLS_FULL');
    expect(refusalOf(() => few.checkLine(NOBODY))).toBeUndefined();
    expect(counters.polls_refused_total).toBe(1);
  });

  test('in a second, for lines and not for polls; a refused line takes none', () => {
    const short = { checkRoom: (): void => undefined };
    const paced = places({ acceptRate: 3 }, short);
    short.checkRoom = () => {
      throw new HoldlineError('HOLDLINE_MEMORY_FULL', 'no memory');
    };
    for (let i = 0; i < 5; i++)
      expect(refusalOf(() => paced.checkLine(NOBODY))?.code).toBe('HOLDLINE_MEMORY_FULL');
    short.checkRoom = () => undefined;
    for (let i = 0; i < 3; i++) paced.checkLine(NOBODY);
    expect(refusalOf(() => paced.checkLine(NOBODY))?.code).toBe('HOLDLINE_ACCEPT_RATE');
    expect(refusalOf(() => paced.checkPoll(NOBODY))).toBeUndefined();
    expect(counters.lines_refused_rate_total).toBe(1);
    clock.pass(334);
    expect(refusalOf(() => paced.checkLine(NOBODY))).toBeUndefined();
  });

  test('who asks whether a line may be opened is told the same, and takes none', () => {
    const paced = places({ acceptRate: 1 });
    for (let i = 0; i < 5; i++) expect(refusalOf(() => paced.askLine(NOBODY))).toBeUndefined();
    paced.checkLine(NOBODY);
    expect(refusalOf(() => paced.askLine(NOBODY))?.code).toBe('HOLDLINE_ACCEPT_RATE');
    clock.pass(1000);
    expect(refusalOf(() => paced.askLine(NOBODY))).toBeUndefined();
    world.open = 100;
    expect(refusalOf(() => paced.askLine(NOBODY))?.code).toBe('HOLDLINE_LINES_FULL');
  });
});
