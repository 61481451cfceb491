/** Lines that kept up and refuse bytes: for a moment they are waited for, and no longer. */
import { describe, expect, test } from 'vitest';
import { GRACE_MS, CORK_WRITE_BYTES, WORKING_ROOM_CORKS_MOST } from '../src/limits.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import type { WayName } from './support/fake-port.js';

const DATA = 'x'.repeat(10_000);
/** Without a wait every line that stalls is lapped at once. */
const NO_REPLAY = { replay: { events: 0, bytes: 0 } };
/** What a channel may hold for a line that is waited for, where it keeps nothing else. */
const ROOM_BYTES = WORKING_ROOM_CORKS_MOST * CORK_WRITE_BYTES;

function join(fake: FakeHub, path = 'c', by: WayName = 'sse'): FakeLine {
  return fake.join(path, { kind: 'live' }, 20_000, by);
}

/** Publishes, a turn for each, until a line refuses bytes. */
async function stall(fake: FakeHub, channel = 'c'): Promise<void> {
  for (const before = fake.counters.lines_stalled_total; fake.counters.lines_stalled_total === before;) {
    await fake.publish(channel, DATA);
    await fake.clock.turn();
  }
}

describe.each(['sse', 'websocket'] as const)('a line (%s) that kept up and refuses bytes', (by) => {
  test('is lapped by nothing that comes until it drains', async () => {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake, 'c', by);
    await stall(fake);
    for (let i = 0; i < 5; i++) {
      await fake.publish('c', DATA);
      await fake.clock.turn(GRACE_MS / 10);
    }
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, fake.hub.head));
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('is waited for no longer than that, and then lapped', async () => {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake, 'c', by);
    await stall(fake);
    await fake.publish('c', DATA);
    await fake.clock.turn(GRACE_MS);
    await fake.clock.turn();
    await fake.settle(line);
    expect(fake.counters.gaps_slow_total).toBe(1);
    expect(idsOf(line.text).at(-1)).toBeLessThan(fake.hub.head);
  });

  test('lets the channel take what it may keep, and lets the rest in when it has drained', async () => {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake, 'c', by);
    await stall(fake);
    const before = fake.hub.head;
    const published = Array.from({ length: 50 }, () => fake.publish('c', DATA));
    for (let turns = 0; turns < 20; turns++) await fake.clock.turn();
    const taken = (fake.hub.head - before) * DATA.length;
    expect(taken).toBeGreaterThan(ROOM_BYTES / 2);
    expect(taken).toBeLessThanOrEqual(ROOM_BYTES);
    expect(fake.hub.gauges.waitingPublishers).toBeGreaterThan(0);
    await fake.settle(line);
    await Promise.all(published);
    expect(idsOf(line.text)).toEqual(ids(1, before + 50));
    expect(fake.counters.gaps_total).toBe(0);
  });
});

test('a line that takes all that had entered when the time began is waited for again', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const line = join(fake);
  const published: Promise<unknown>[] = [];
  const began = fake.clock.nowMs();
  // Half of what the channel may hold for it, in each half of the time: it stalls again and again, and is never at the head.
  while (fake.clock.nowMs() - began < 5 * GRACE_MS) {
    for (let i = 0; i < 13; i++) published.push(fake.publish('c', DATA));
    for (let turns = 0; turns < 10; turns++) {
      await fake.clock.turn(GRACE_MS / 20);
      line.text += line.socket.read(13_000).toString();
      if (line.socket.isWritable && line.socket.becomeWritable()) fake.hub.drained(line.handle, line.socket);
    }
  }
  await fake.settle(line);
  await Promise.all(published);
  expect(idsOf(line.text)).toEqual(ids(1, fake.hub.head));
  expect(fake.counters.gaps_total).toBe(0);
  expect(fake.counters.lines_stalled_total).toBeGreaterThan(20);
});

test('publishers wait for it GRACE_MS at the most', async () => {
  const fake = new FakeHub(NO_REPLAY);
  join(fake);
  await stall(fake);
  const stalledMs = fake.clock.nowMs();
  let answeredMs = 0;
  void Promise.all(Array.from({ length: 50 }, () => fake.publish('c', DATA))).then(() => (answeredMs = fake.clock.nowMs()));
  while (answeredMs === 0) await fake.clock.turn();
  expect(answeredMs - stalledMs).toBeGreaterThan(GRACE_MS - 5);
  expect(answeredMs - stalledMs).toBeLessThan(GRACE_MS + 10);
});

test('the replay that is kept anyway is what a channel takes meanwhile', async () => {
  const fake = new FakeHub({ replay: { events: 1000, bytes: 1_000_000 } });
  join(fake);
  await stall(fake);
  const before = fake.hub.head;
  for (let i = 0; i < 60; i++) void fake.publish('c', DATA);
  for (let turns = 0; turns < 20; turns++) await fake.clock.turn();
  expect(fake.hub.head - before).toBe(60);
});

test('a line that was not healthy is not waited for, nor one that stalls again before it is', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const line = join(fake);
  await stall(fake);
  await fake.clock.turn(GRACE_MS);
  // It drains a little, is told of the gap, and is behind when it stalls again.
  await fake.publish('c', DATA, DATA, DATA, DATA);
  line.text += line.socket.read(15_000).toString();
  if (line.socket.isWritable && line.socket.becomeWritable()) fake.hub.drained(line.handle, line.socket);
  await fake.clock.turn();
  const waited = fake.counters.publish_waited_total;
  for (let i = 0; i < 60; i++) {
    await fake.publish('c', DATA);
    await fake.clock.turn();
  }
  expect(fake.counters.publish_waited_total).toBe(waited);
});

test('when it goes away, or its channel is deleted, nobody waits for it', async () => {
  for (const end of ['leave', 'delete'] as const) {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake);
    await stall(fake);
    if (end === 'leave') fake.leave(line);
    else {
      const deleted = fake.hub.deleteChannel('c');
      await fake.clock.turn(GRACE_MS);
      await deleted;
      await fake.settle();
    }
    const waited = fake.counters.publish_waited_total;
    for (let i = 0; i < 60; i++) await fake.publish('c', DATA);
    expect(fake.counters.publish_waited_total).toBe(waited);
    await fake.settle();
    expect(fake.clock.timerCount).toBe(1);
  }
});

test('one of several lines that are waited for drains, the other is waited for still', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const [quick, slow] = [join(fake), join(fake)];
  await stall(fake);
  expect(fake.hub.gauges.linesStalled).toBe(2);
  await fake.publish('c', DATA);
  await fake.settle(quick);
  await fake.publish('c', DATA);
  await fake.clock.turn();
  await fake.settle(quick, slow);
  for (const line of [quick, slow]) expect(idsOf(line.text)).toEqual(ids(1, fake.hub.head));
  expect(fake.counters.gaps_total).toBe(0);
});

test('a line on several channels holds each of them', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const line = join(fake, 'a,b', 'sse-env');
  await stall(fake, 'a');
  await fake.publish('b', DATA);
  await fake.publish('a', DATA);
  await fake.publish('b', DATA);
  await fake.clock.turn();
  await fake.settle(line);
  expect(fake.counters.gaps_total).toBe(0);
  expect([...line.text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)).filter((id) => id > 0)).toEqual(
    ids(1, fake.hub.head),
  );
});
