/**
 * What the metrics say of deliveries and lines: times from acceptance to the last healthy line,
 * lines by how far they are behind, why lines closed, and the channels with most lines.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ChannelRings } from '../src/core/channel-rings.js';
import { Histogram } from '../src/core/histogram.js';
import { LIVE } from '../src/core/position.js';
import { CLOSE_REASONS } from '../src/errors.js';
import { LINE_LAG_BOUNDS, LINE_LAG_LOOKUPS_MAX } from '../src/limits.js';
import { settlePromises } from './support/fake-clock.js';
import { FakeHub, type FakeLine } from './support/fake-hub.js';

afterEach(() => vi.restoreAllMocks());

/** How many were counted. */
const countOf = ({ counts }: Histogram): number => counts.reduce((sum, count) => sum + count, 0);

/** The times that were measured: how many, and their sum in ms, to the next millisecond. */
function timesOf({ hub }: FakeHub): { count: number; sumMs: number } {
  return {
    count: countOf(hub.figures.deliveryTimes),
    sumMs: Math.round(hub.figures.deliveryTimes.sum * 1000),
  };
}

function joinMany(fake: FakeHub, channel: string, count: number): FakeLine[] {
  return Array.from({ length: count }, () => fake.join(channel));
}

test('a histogram counts a value at a bound in the bucket of the bound, and what is above all in the last', () => {
  const histogram = new Histogram([1, 2]);
  for (const value of [0, 1, 1.5, 2, 2.1]) histogram.observe(value);
  histogram.observe(100, 3);
  expect([...histogram.counts]).toEqual([2, 2, 4]);
  expect(histogram.sum).toBeCloseTo(306.6);
});

describe('a delivery', () => {
  test('takes from acceptance until the sweep over all lines is complete, once for an event', async () => {
    const fake = new FakeHub({}, 1);
    const lines = joinMany(fake, 'a', 20);
    await fake.publish('a', 'x');
    await fake.settle(...lines);
    const { count, sumMs } = timesOf(fake);
    expect(count).toBe(1);
    // 20 corks of 1 ms, and the turns of the loop between them.
    expect(sumMs).toBeGreaterThanOrEqual(20);
    expect(sumMs).toBeLessThan(60);
  });

  test('of a batch is timed once, that of its last event, and without lines not at all', async () => {
    const fake = new FakeHub();
    await fake.publish('nobody', 'x');
    const line = fake.join('a');
    await fake.publish('a', ...Array.from({ length: 50 }, () => 'x'));
    await fake.settle(line);
    expect(timesOf(fake).count).toBe(1);
    await fake.publish('a', 'y');
    await fake.settle(line);
    expect(timesOf(fake).count).toBe(2);
  });

  test('has the wait in the queue of the channel in it', async () => {
    const fake = new FakeHub({ sweepWorkBytes: 1 }, 10);
    const lines = joinMany(fake, 'a', 10);
    // The second event waits until the first has gone to all.
    await fake.publish('a', 'x'.repeat(10_000), 'y'.repeat(10_000));
    await fake.settle(...lines);
    expect(timesOf(fake).count).toBe(1);
    expect(timesOf(fake).sumMs).toBeGreaterThanOrEqual(200);
  });

  test('has the flush interval in it', async () => {
    const fake = new FakeHub({ flushIntervalMs: 100 });
    const line = fake.join('a');
    await fake.publish('a', 'x');
    await fake.clock.run(150);
    await fake.settle(line);
    expect(timesOf(fake).count).toBe(1);
    expect(timesOf(fake).sumMs).toBeGreaterThanOrEqual(100);
  });

  test('ends when the last of several groups has it, polls and lines on several channels among them', async () => {
    const fake = new FakeHub({}, 1);
    const lines = [...joinMany(fake, 'a', 5), ...joinMany(fake, 'a,b', 5)];
    lines.push(fake.join('a', LIVE, Infinity, 'ndjson'));
    const poll = fake.poll('a', LIVE, { waitMs: 20_000 });
    await fake.publish('a', 'x');
    await fake.settle(...lines);
    expect(poll.answer?.body).toBeDefined();
    const { count, sumMs } = timesOf(fake);
    expect(count).toBe(1);
    expect(sumMs).toBeGreaterThanOrEqual(11);
  });

  test('to polls alone is timed, too', async () => {
    const fake = new FakeHub();
    for (let round = 1; round <= 3; round++) {
      const poll = fake.poll('a', LIVE, { waitMs: 20_000 });
      await fake.publish('a', 'x');
      await fake.settle();
      expect(poll.answer?.body).toBeDefined();
      expect(timesOf(fake).count).toBe(round);
    }
  });

  test('to lines that leave before it does not last until the next ones have come', async () => {
    const fake = new FakeHub();
    const first = fake.join('a');
    const other = fake.join('a', LIVE, Infinity, 'ndjson');
    void fake.publish('a', 'x');
    fake.leave(first);
    fake.leave(other);
    await fake.settle();
    fake.clock.pass(60_000);
    const next = fake.join('a');
    await fake.publish('a', 'y');
    await fake.settle(next);
    expect(timesOf(fake).sumMs).toBeLessThan(1_000);
  });

  test('does not wait for a stalled line, which catches up by itself', async () => {
    const fake = new FakeHub();
    const healthy = fake.join('a');
    const stalled = fake.join('a', LIVE, 10);
    await fake.publish('a', 'x'.repeat(1000));
    await fake.settle(healthy);
    await fake.clock.run(500);
    await fake.publish('a', 'y');
    await fake.settle(healthy);
    expect(timesOf(fake).count).toBe(2);
    expect(timesOf(fake).sumMs).toBeLessThan(100);
    fake.leave(stalled);
  });

  test('on many groups asks each of them about once', async () => {
    const fake = new FakeHub();
    const lines = Array.from({ length: 300 }, (_, i) => fake.join(`a,own-${i}`));
    let asked = 0;
    const groups = fake.hub.channels.get('a')!.groups;
    for (const group of groups) {
      let through = group.sweptThrough;
      Object.defineProperty(group, 'sweptThrough', {
        get: () => (asked++, through),
        set(value: number) {
          through = value;
        },
      });
    }
    await fake.publish('a', 'x');
    await fake.settle(...lines);
    expect(timesOf(fake).count).toBe(1);
    // Each sweep asks its own group once more.
    expect(asked).toBeLessThan(5 * lines.length);
  });
});

describe('the lag of lines', () => {
  test('counts each line by the events held that it is owed', async () => {
    const fake = new FakeHub();
    const head = fake.join('a');
    const slow = fake.join('a', LIVE, 10);
    await fake.publish('a', 'x'.repeat(100));
    await fake.settle(head);
    await fake.publish('a', ...Array.from({ length: 11 }, () => 'y'));
    await fake.settle(head);
    const lag = fake.hub.figures.lineLag();
    expect(lag.bounds).toBe(LINE_LAG_BOUNDS);
    // One at the head, one that is owed eleven: more than 10, at most 100.
    expect([...lag.counts]).toEqual([1, 0, 0, 1, 0, 0, 0]);
    expect(lag.sum).toBe(11);
    fake.read(slow);
    await fake.settle(head, slow);
    expect([...fake.hub.figures.lineLag().counts]).toEqual([2, 0, 0, 0, 0, 0, 0]);
  });

  test('of 19,000 lines that are all behind, each by its own, asks the rings a bounded number of times', async () => {
    const fake = new FakeHub({ replay: { events: 100_000, bytes: 2 ** 26 } });
    const count = 19_000;
    for (let i = 0; i < count; i++) fake.join('a');
    await fake.publish('a', ...Array.from({ length: 400 }, () => 'x'));
    await settlePromises();
    const { hub } = fake;
    for (let handle = 0; handle < count; handle++) {
      const { table } = hub.lines.groupAt(handle);
      table.cursors[hub.lines.rowOf(handle)] = handle % 400;
    }
    const asked = vi.spyOn(ChannelRings.prototype, 'heldAfter');
    const lag = hub.figures.lineLag();
    expect(asked.mock.calls.length).toBeGreaterThan(LINE_LAG_LOOKUPS_MAX / 2);
    expect(asked.mock.calls.length).toBeLessThanOrEqual(LINE_LAG_LOOKUPS_MAX);
    expect(countOf(lag)).toBe(count);
    // Cursors are even over 0 to 399, so lags are over 1 to 400: a fortieth at most 10 behind.
    expect(lag.counts[2]! / count).toBeCloseTo(9 / 400, 2);
    expect(lag.sum / count).toBeCloseTo(200.5, -1);
  });
});

test('lines close for a reason each, and the reasons add up', async () => {
  const fake = new FakeHub({ slow: 'close' });
  const left = fake.join('a');
  const stalled = fake.join('a', LIVE, 10);
  fake.join('b');
  const [gone, empty] = [
    fake.poll('a', LIVE, { waitMs: 20_000 }),
    fake.poll('c', LIVE, { waitMs: 10 }),
  ];
  await fake.publish('a', 'x'.repeat(100));
  await fake.settle(left);
  expect(gone.answer?.body).toBeDefined();
  fake.leave(left);
  fake.leave(stalled);
  await fake.clock.run(2_000);
  expect(empty.answer?.body).toBeUndefined();
  await fake.hub.deleteChannel('b');
  await fake.settle();
  const drained = fake.join('d');
  const polled = fake.poll('d', LIVE, { waitMs: 20_000 });
  fake.hub.endSome(10, 'draining', 0);
  await fake.settle(drained);
  expect(polled.answer?.body).toBeUndefined();
  const { closed, lines_closed_total: all } = fake.counters;
  expect(Object.keys(closed)).toEqual(CLOSE_REASONS);
  expect(closed).toMatchObject({ client: 1, stalled: 1, answered: 2, deleted: 1, draining: 2 });
  expect(Object.values(closed).reduce((sum, count) => sum + count, 0)).toBe(all);
});

test('the channels with most lines are few, the largest first, and without lines none', () => {
  const fake = new FakeHub();
  for (let i = 0; i < 100; i++) joinMany(fake, `c${i}`, 1 + ((i * 37) % 100));
  const busiest = fake.hub.figures.busiestChannels(20);
  expect(busiest.map(({ lines }) => lines)).toEqual(Array.from({ length: 20 }, (_, i) => 100 - i));
  expect(new FakeHub().hub.figures.busiestChannels(20)).toEqual([]);
});
