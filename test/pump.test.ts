/**
 * The pump: how it cuts what lines are owed into writes, and what it counts, by lines in step and
 * not in step.
 */
import { describe, expect, test } from 'vitest';
import {
  CORK_WRITE_BYTES_MAX,
  EVENT_COST_BYTES,
  LARGE_WRITE_BYTES_MAX,
  SWEEP_CHECK_CORKS,
  SWEEP_SLICE_AWAITED_MS,
  SWEEP_SLICE_MS,
} from '../src/limits.js';
import { LIVE } from '../src/core/position.js';
import type { FakeClock } from './support/fake-clock.js';
import { FakeHub, ids, idsOf } from './support/fake-hub.js';
import { KeepingLog, KeepingStore } from './support/keeping-log.js';

const KB = 'x'.repeat(1000);
const MANY = 100;

describe.each([
  ['small', CORK_WRITE_BYTES_MAX],
  ['large', LARGE_WRITE_BYTES_MAX],
])('%s writes', (_size, writeBytesMax) => {
  test('bring each line of a stream what it is owed in as few as possible, and no larger', async () => {
    const fake = new FakeHub({ writeBytesMax });
    const lines = Array.from({ length: MANY }, () => fake.join('c'));
    for (const { socket } of lines) socket.forgetWrites();
    await fake.publish('c', ...Array.from({ length: 50 }, () => KB));
    await fake.settle(...lines);
    const { writtenBytes } = lines[0]!.socket;
    const writes = Math.ceil(50 / Math.floor(writeBytesMax / (writtenBytes / 50)));
    for (const line of lines) {
      expect(idsOf(line.text)).toEqual(ids(1, 50));
      expect(line.socket.writes).toBe(writes);
      expect(line.socket.largestBytes).toBeLessThanOrEqual(writeBytesMax);
    }
    expect(fake.counters.writes_total).toBe(MANY * writes);
    expect(fake.counters.written_bytes_total).toBe(MANY * writtenBytes);
    expect(fake.counters.deliveries_total).toBe(MANY * 50);
  });

  test.each(['stream', 'websocket'] as const)(
    'of a %s are one a sweep, also where the ring goes on at the beginning of its slab',
    async (kind) => {
      const fake = new FakeHub({ writeBytesMax, replay: { events: 100, bytes: 200_000 } });
      const lines = Array.from({ length: 3 }, () =>
        kind === 'stream' ? fake.join('c') : fake.join('c', LIVE, Infinity, kind),
      );
      for (const { socket } of lines) socket.forgetWrites();
      // A slab has room for 252 or 256 of them.
      for (let sweep = 0; sweep < 200; sweep++) {
        await fake.publish('c', ...Array.from({ length: 5 }, () => KB));
        await fake.settle(...lines);
      }
      for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 1000));
      if (kind === 'stream') for (const { socket } of lines) expect(socket.writes).toBe(200);
      expect(fake.counters.writes_total).toBe(3 * 200);
    },
  );

  test('never enlarge the messages of a WebSocket', async () => {
    const fake = new FakeHub({ writeBytesMax });
    const line = fake.join('c', LIVE, Infinity, 'websocket');
    await fake.publish('c', ...Array.from({ length: 50 }, () => KB));
    await fake.settle(line);
    expect(line.socket.largestBytes).toBeLessThanOrEqual(CORK_WRITE_BYTES_MAX);
    expect(fake.counters.deliveries_total).toBe(50);
  });

  test('bring a larger frame in pieces', async () => {
    const fake = new FakeHub({ writeBytesMax });
    const line = fake.join('c');
    line.socket.forgetWrites();
    await fake.publish('c', 'x'.repeat(200_000));
    await fake.settle(line);
    expect(line.socket.largestBytes).toBe(writeBytesMax);
    expect(line.socket.writes).toBe(Math.ceil(line.socket.writtenBytes / writeBytesMax));
    expect(idsOf(line.text)).toEqual([1]);
  });
});

describe('a line among many in step', () => {
  test('that refuses bytes is left alone, while the others are given everything', async () => {
    const fake = new FakeHub();
    const lines = Array.from({ length: MANY }, (_, nth) =>
      fake.join('c', LIVE, nth % 10 === 3 ? 3_000 : Infinity),
    );
    for (const { socket } of lines) socket.forgetWrites();
    for (let round = 0; round < 6; round++) {
      await fake.publish('c', KB);
      await fake.settle();
    }
    expect(fake.counters.lines_stalled_total).toBe(10);
    const full = lines.filter(({ socket }) => socket.capacityBytes === Infinity);
    for (const { socket } of full) expect(socket.writes).toBe(6);
    for (const line of lines) if (!full.includes(line)) expect(line.socket.writes).toBe(4);
    expect(fake.counters.deliveries_total).toBe(90 * 6 + 10 * 4);
    await fake.settle(...lines);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 6));
    expect(fake.counters.deliveries_total).toBe(MANY * 6);
  });

  test('that joined in the middle of a sweep is given what came after it, and nothing before', async () => {
    const fake = new FakeHub({}, 0.1);
    const lines = Array.from({ length: MANY }, () => fake.join('c'));
    await fake.publish('c', KB);
    await fake.clock.turn();
    const late = fake.join('c');
    await fake.publish('c', KB);
    await fake.settle(late, ...lines);
    for (const line of lines) expect(idsOf(line.text)).toEqual([1, 2]);
    expect(idsOf(late.text)).toEqual([2]);
  });
});

/**
 * Events in a write to each of so many lines that the in-flight window is one cork, and the most
 * that were accepted and waited.
 */
async function saturate(
  log?: (clock: FakeClock) => KeepingLog,
): Promise<{ eventsPerWrite: number; queuedEventsMax: number }> {
  let queuedEventsMax = 0;
  let made: KeepingLog | undefined;
  const fake = new FakeHub({}, 0.01, log === undefined ? 1 : (clock) => (made = log(clock)));
  await made?.open();
  fake.hub.begin();
  for (let nth = 0; nth < 15_000; nth++) fake.join('c');
  for (let turn = 0; turn < 2_000; turn++) {
    // More than twice as many as the lines take; those that wait too long are refused.
    fake.publish('c', 'x'.repeat(240)).catch(() => {});
    await fake.clock.turn();
    queuedEventsMax = Math.max(queuedEventsMax, fake.hub.figures.gauges.queueEvents);
  }
  const eventsPerWrite = fake.counters.deliveries_total / fake.counters.writes_total;
  return { eventsPerWrite, queuedEventsMax };
}

test('a log that hands over in portions what it was given at once makes writes hardly smaller', async () => {
  const inMemory = await saturate();
  const kept = await saturate((clock) => {
    let lastMs = 0;
    // The first of several appends is committed alone, as by a thread that was asleep.
    const appendMs = (): number => {
      const isFirst = clock.nowMs() - lastMs > 5;
      lastMs = clock.nowMs();
      return isFirst ? 1 : 3;
    };
    return new KeepingLog(new KeepingStore(), { appendMs }, clock);
  });
  // It was once 0.55.
  expect(kept.eventsPerWrite / inMemory.eventsPerWrite).toBeGreaterThan(0.9);
  expect(kept.queuedEventsMax * (240 + EVENT_COST_BYTES)).toBeLessThanOrEqual(CORK_WRITE_BYTES_MAX);
});

test('a sweep takes short slices while the log has not answered, unless publishes wait for room', async () => {
  const CORK_MS = 0.01;
  let appendMs = 0;
  const fake = new FakeHub(
    {},
    CORK_MS,
    (clock) => new KeepingLog(new KeepingStore(), { appendMs: () => appendMs }, clock),
  );
  fake.hub.begin();
  for (let nth = 0; nth < 2_000; nth++) fake.join('c');
  /** How long a turn of the loop takes amid a sweep. */
  const turnMs = async (): Promise<number> => {
    const fromMs = fake.clock.nowMs();
    await fake.clock.turn(0);
    return fake.clock.nowMs() - fromMs;
  };
  const sliceMax = (sliceMs: number): number => sliceMs + 2 * SWEEP_CHECK_CORKS * CORK_MS;
  await fake.publish('c', KB);
  const inTurn = await turnMs();
  expect(inTurn).toBeGreaterThanOrEqual(SWEEP_SLICE_MS);
  expect(inTurn).toBeLessThan(sliceMax(SWEEP_SLICE_MS));
  // Committed in 8 ms, which the turns of the sweep take.
  appendMs = 8;
  const published = fake.publish('c', KB);
  const awaited = await turnMs();
  expect(awaited).toBeGreaterThanOrEqual(SWEEP_SLICE_AWAITED_MS);
  expect(awaited).toBeLessThan(sliceMax(SWEEP_SLICE_AWAITED_MS));
  await fake.clock.run(100);
  await published;
  // The log is not what they wait for.
  const many = Array.from({ length: 100 }, () => fake.publish('c', KB));
  await fake.clock.run(10);
  expect(fake.hub.figures.gauges.appendingPublishers).toBeGreaterThan(0);
  expect(fake.hub.figures.gauges.waitingPublishers).toBeGreaterThan(0);
  expect(await turnMs()).toBeGreaterThanOrEqual(SWEEP_SLICE_MS);
  await fake.clock.run(2_000);
  await Promise.all(many);
});
