/** The list of lines for operators: which stand in it, in what order, and what it says of each. */
import { describe, expect, test } from 'vitest';
import type { LineFigures } from '../src/core/line-ranking.js';
import { GRACE_MS } from '../src/limits.js';
import { FakeHub, type FakeLine } from './support/fake-hub.js';

const DATA = 'x'.repeat(500);

/** Publishes, a turn for each, until that many lines refuse bytes. */
async function stall(fake: FakeHub, count: number, channel = 'c'): Promise<void> {
  while (fake.hub.figures.gauges.linesStalled < count) {
    await fake.publish(channel, DATA);
    await fake.clock.turn();
  }
}

async function publish(fake: FakeHub, channel: string, count: number): Promise<void> {
  await fake.publish(channel, ...Array.from({ length: count }, () => DATA));
  await fake.clock.turn();
}

const cursorsOf = (lines: readonly LineFigures[]): number[] => lines.map(({ cursor }) => cursor);

describe('by lag', () => {
  test('the line that stalled first comes first, and each says how many events it is behind', async () => {
    const fake = new FakeHub();
    fake.join('c');
    fake.join('c', { kind: 'live' }, 2_000);
    fake.join('c', { kind: 'live' }, 5_000);
    await stall(fake, 2);
    await publish(fake, 'c', 10);
    const ranked = fake.hub.figures.rankLines('lag', 10);
    expect(ranked.map(({ state }) => state)).toEqual(['stalled', 'stalled', 'healthy']);
    for (const { cursor, lagEvents, lagBytes, lapped } of ranked) {
      expect(lagEvents).toBe(fake.hub.head - cursor);
      expect(lagBytes).toBeGreaterThanOrEqual(lagEvents * DATA.length);
      expect(lagBytes).toBeLessThan(lagEvents * (DATA.length + 64) + 1);
      expect(lapped).toBe(false);
    }
    expect(cursorsOf(ranked)).toEqual(cursorsOf(ranked).toSorted((one, other) => one - other));
    expect(new Set(cursorsOf(ranked)).size).toBe(3);
  });

  test('a line on several channels is behind by the events of all of them, not by the ids between', async () => {
    const fake = new FakeHub();
    const both = fake.join('a,b', { kind: 'live' }, 2_000);
    await stall(fake, 1, 'a');
    const cursor = fake.hub.figures.rankLines('lag', 1)[0]!.cursor;
    const behind = fake.hub.head - cursor;
    await publish(fake, 'a', 3);
    await publish(fake, 'b', 4);
    await publish(fake, 'elsewhere', 100);
    expect(fake.hub.figures.rankLines('lag', 1)).toMatchObject([
      { channels: ['a', 'b'], transport: 'sse', cursor, lagEvents: behind + 7 },
    ]);
    await fake.settle(both);
    expect(fake.hub.figures.rankLines('lag', 1)).toMatchObject([
      { state: 'healthy', lagEvents: 0, lagBytes: 0 },
    ]);
  });

  test('a line that the ring has moved past is said to be lapped, and counts what is still held', async () => {
    const fake = new FakeHub({ replay: { events: 5, bytes: 1_000_000 } });
    fake.join('c', { kind: 'live' }, 2_000);
    await stall(fake, 1);
    await publish(fake, 'c', 20);
    expect(fake.hub.figures.rankLines('lag', 1)).toMatchObject([
      { state: 'stalled', lapped: false, lagEvents: 20 },
    ]);
    await fake.clock.turn(GRACE_MS);
    expect(fake.hub.figures.rankLines('lag', 1)).toMatchObject([
      { state: 'stalled', lapped: true, lagEvents: 5 },
    ]);
  });
});

describe('by bytes', () => {
  test('what waits in user space counts, too, and is the sum that is told for all', async () => {
    const fake = new FakeHub();
    const lines = [600, 30_000, 9_000].map((capacity) =>
      fake.join('c', { kind: 'live' }, capacity, 'websocket'),
    );
    await stall(fake, 3);
    const ranked = fake.hub.figures.rankLines('bytes', 10);
    const waiting = ranked.map(({ lagBytes, unsentBytes }) => lagBytes + unsentBytes);
    expect(waiting).toEqual(waiting.toSorted((one, other) => other - one));
    expect(ranked.every(({ transport }) => transport === 'websocket')).toBe(true);
    const backlog = lines.reduce((sum, { socket }) => sum + socket.backlogBytes, 0);
    expect(backlog).toBeGreaterThan(0);
    expect(ranked.reduce((sum, { unsentBytes }) => sum + unsentBytes, 0)).toBe(backlog);
    expect(fake.hub.figures.unsentBytes).toBe(backlog);
    await fake.settle(...lines);
    expect(fake.hub.figures.unsentBytes).toBe(0);
  });
});

describe('by age', () => {
  test('the oldest comes first; ages are to a second', async () => {
    const fake = new FakeHub();
    const lines: FakeLine[] = [];
    for (let i = 0; i < 4; i++) {
      lines.push(fake.join(`c${i}`));
      fake.clock.pass(10_000);
      await fake.clock.turn();
    }
    // Its row is taken by the last one of its table, and nobody's age changes.
    fake.leave(lines[1]!);
    const ranked = fake.hub.figures.rankLines('age', 10);
    expect(ranked.map(({ channels }) => channels[0])).toEqual(['c0', 'c2', 'c3']);
    for (const [i, ageMs] of [40_000, 20_000, 10_000].entries()) {
      expect(Math.abs(ranked[i]!.ageMs - ageMs)).toBeLessThanOrEqual(1_000);
    }
  });

  test('a stalled line says since when, to a step of the heartbeat wheel', async () => {
    const fake = new FakeHub({ heartbeatMs: 16_000 });
    fake.join('c', { kind: 'live' }, 2_000);
    fake.join('quiet');
    await stall(fake, 1);
    for (let i = 0; i < 20; i++) {
      fake.clock.pass(250);
      await fake.clock.turn();
    }
    const [stalled, quiet] = fake.hub.figures.rankLines('bytes', 2);
    expect(Math.abs(stalled!.stalledMs! - 5_000)).toBeLessThanOrEqual(500);
    expect(quiet!.stalledMs).toBeNull();
  });
});

test('the list is bounded, and holds the first of all lines however many there are', async () => {
  const fake = new FakeHub();
  const capacities = Array.from({ length: 300 }, (_, i) => 1_000 + ((i * 7919) % 300) * 200);
  for (const capacity of capacities) fake.join('c', { kind: 'live' }, capacity);
  await stall(fake, 300);
  const all = cursorsOf(fake.hub.figures.rankLines('lag', 1000));
  expect(all).toHaveLength(300);
  expect(all).toEqual(all.toSorted((one, other) => one - other));
  for (const limit of [1, 7, 100])
    expect(cursorsOf(fake.hub.figures.rankLines('lag', limit))).toEqual(all.slice(0, limit));
});

test('a poll that waits stands in it, and so does a line whose channel is being deleted', async () => {
  const fake = new FakeHub();
  fake.poll('c', { kind: 'live' }, { waitMs: 20_000 });
  for (let i = 0; i < 200; i++) fake.join('gone');
  expect(fake.hub.figures.rankLines('age', 1000)).toHaveLength(201);
  await fake.hub.deleteChannel('gone');
  expect(fake.hub.figures.rankLines('age', 1000)).toHaveLength(fake.hub.lines.open);
  expect(
    fake.hub.figures.rankLines('age', 1000).some(({ transport }) => transport === 'poll'),
  ).toBe(true);
});
