/** The hub in small: cases that the simulator (simulator.test.ts) found, each as short as it can be, and the bound on channels. */
import { describe, expect, test } from 'vitest';
import type { Position } from '../src/core/position.js';
import { GRACE_MS, CHANNELS, CHANNELS_PER_LINE } from '../src/limits.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';

const OLDEST: Position = { kind: 'after', id: 0 };
const after = (id: number): Position => ({ kind: 'after', id });

/** Publishes until the line has refused bytes. */
async function stall(fake: FakeHub, line: FakeLine, channel: string): Promise<void> {
  while (fake.hub.gauges.linesStalled === 0) {
    await fake.publish(channel, 'x'.repeat(500));
    await fake.clock.turn();
  }
  expect(line.socket.refusing).toBe(true);
  // By then nobody waits for it any more.
  await fake.clock.turn(GRACE_MS);
}

const gapsOf = (text: string): unknown[] =>
  [...text.matchAll(/^event: gap\ndata: (.*)\n/gm)].map((match) => JSON.parse(match[1] as string) as unknown);

describe('where nothing is held any more', () => {
  test('a line that comes back is told, and nobody goes on sweeping for it', async () => {
    const fake = new FakeHub({ replay: { events: 0, bytes: 0 } });
    await fake.publish('c', 'one', 'two');
    const line = fake.join('c', after(1));
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: 1, before: null }]);
    await fake.publish('c', 'three');
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([3]);
    expect(fake.counters.gaps_total).toBe(1);
  });

  test('a line that drains is told, and nobody goes on sweeping for it', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', { kind: 'live' }, 1000);
    await stall(fake, line, 'c');
    const given = fake.hub.head;
    await fake.publish('c', 'lost');
    await fake.clock.turn();
    fake.hub.dropChannel('c');
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: given, before: null }]);
    await fake.publish('c', 'next');
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([...ids(1, given), given + 2]);
  });

  test('--slow latest does not promise the newest event when that is gone', async () => {
    const fake = new FakeHub({ slow: 'latest' });
    const line = fake.join('c', { kind: 'live' }, 1000);
    await stall(fake, line, 'c');
    const given = fake.hub.head;
    await fake.publish('c', 'lost', 'lost too');
    await fake.clock.turn();
    fake.hub.dropChannel('c');
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: given, before: null }]);
  });

  test('--slow latest goes on with the newest event when that is held', async () => {
    const fake = new FakeHub({ slow: 'latest', replay: { events: 2, bytes: 10_000 } });
    const line = fake.join('c', { kind: 'live' }, 1000);
    await stall(fake, line, 'c');
    const given = fake.hub.head;
    for (let i = 0; i < 5; i++) {
      await fake.publish('c', `${i}`);
      await fake.clock.turn();
    }
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: given, before: given + 5 }]);
    expect(idsOf(line.text)).toEqual([...ids(1, given), given + 5]);
  });
});

describe('a line of messages', () => {
  test('is given whole lines: as many as a cork holds, or a larger one alone', async () => {
    const fake = new FakeHub();
    const line = fake.join('c', { kind: 'live' }, Infinity, 'websocket');
    const { writes } = line.socket;
    await fake.publish('c', ...Array.from({ length: 100 }, () => 'x'), 'y'.repeat(50_000), 'z');
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, 102));
    expect(line.socket.writes - writes).toBe(3);
  });

  test('that drains at the head is healthy at once: what comes next waits for it', async () => {
    const fake = new FakeHub({ replay: { events: 1, bytes: 100 } }, 0.01);
    const line = fake.join('c', { kind: 'live' }, 150_000, 'websocket');
    await fake.publish('c', 'x'.repeat(200_000));
    await fake.clock.turn();
    expect(fake.hub.gauges.linesStalled).toBe(1);
    while (fake.hub.gauges.linesStalled > 0) {
      fake.read(line);
      await fake.clock.turn();
    }
    const reader = fake.join('c');
    // More corks than a line that is catching up is given in a visit.
    await fake.publish('c', ...Array.from({ length: 120 }, () => 'y'.repeat(1000)));
    await fake.settle(line, reader);
    expect(idsOf(line.text)).toEqual(ids(1, 121));
    expect(fake.counters).toMatchObject({ gaps_total: 0 });
  });

  test('that stalled is given nothing until everything is out, then what followed, or a gap', async () => {
    const fake = new FakeHub({ replay: { events: 2, bytes: 10_000 } });
    const line = fake.join('c', { kind: 'live' }, 1000, 'websocket');
    for (let i = 0; i < 10; i++) {
      await fake.publish('c', `${i}${'x'.repeat(1500)}`);
      await fake.clock.turn(GRACE_MS);
    }
    expect(line.socket.writes).toBe(1);
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual([1, 9, 10]);
    expect(line.text).toContain('\n{"gap":{"after":1,"before":9}}\n{"id":9,');
    expect(fake.counters).toMatchObject({ gaps_slow_total: 1, heartbeats_total: 0 });
  });
});

describe('on several channels', () => {
  test('a gap reaches past all that is lost, though another channel holds older events', async () => {
    const fake = new FakeHub();
    await fake.publish('a', 'one', 'two');
    await fake.publish('b', 'three');
    fake.hub.dropChannel('b');
    await fake.publish('b', 'four');
    const line = fake.join('a,b', after(1));
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: 1, before: 4 }]);
    expect(idsOf(line.text), 'what is held before it follows all the same').toEqual([2, 4]);
  });

  test('a loss is told to a line that joined when another channel had lost more', async () => {
    const fake = new FakeHub();
    // More than an opening takes, so that the line is still behind when they go.
    for (let i = 0; i < 3; i++) await fake.publish('a', 'x'.repeat(10_000));
    await fake.publish('b', 'lost before anyone came');
    fake.hub.dropChannel('b');
    const line = fake.join('a,b', OLDEST);
    fake.hub.dropChannel('a');
    await fake.publish('a', 'five');
    await fake.settle(line);
    expect(gapsOf(line.text)).toEqual([{ after: 1, before: 5 }]);
    expect(idsOf(line.text)).toEqual([1, 5]);
  });

  test('a loss on a channel that the line has been given is none', async () => {
    const fake = new FakeHub({ replay: { events: 1, bytes: 10_000 } });
    const line = fake.join('a,b');
    for (let i = 0; i < 10; i++) {
      await fake.publish(i % 3 === 0 ? 'b' : 'a', 'x');
      await fake.settle(line);
    }
    expect(idsOf(line.text)).toEqual(ids(1, 10));
    expect(fake.counters.gaps_total).toBe(0);
  });
});

describe(`${CHANNELS} channels`, () => {
  test('that have lines are all there may be; who asks or publishes for one more is refused, and the others go on', async () => {
    const fake = new FakeHub();
    for (let i = 0; i < CHANNELS; i += CHANNELS_PER_LINE) {
      fake.join(Array.from({ length: CHANNELS_PER_LINE }, (_, j) => `c${i + j}`).join());
    }
    expect(fake.hub.gauges.channels).toBe(CHANNELS);
    const full: unknown = expect.objectContaining({ code: 'HOLDLINE_CHANNELS_FULL' });
    expect(() => fake.join('one-more')).toThrow(full);
    await expect(fake.publish('one-more', 'x')).rejects.toThrow(full);
    const line = fake.join('c0');
    await fake.publish('c0', 'x');
    await fake.clock.turn();
    expect(idsOf(fake.read(line))).toEqual([1]);
    expect(fake.hub.gauges).toMatchObject({ queueEvents: 0, channels: CHANNELS });
  });

  test('without lines make room for new ones, the ones published to longest ago first; what they lost is a gap, never silence', async () => {
    const fake = new FakeHub({ replayTotalBytes: 1024 * 1024 });
    for (let i = 0; i < CHANNELS; i++) await fake.publish(`c${i}`, 'x');
    const line = fake.join('new-1,new-2');
    expect(fake.hub.gauges.channels).toBe(CHANNELS);
    await fake.publish('new-1', 'y');
    await fake.publish('new-2', 'z');
    await fake.settle(line);
    expect(idsOf(line.text), 'the two did not push each other out').toEqual([CHANNELS + 1, CHANNELS + 2]);
    const { floor } = fake.hub.gauges;
    expect(floor).toBeGreaterThan(0);
    const back = fake.join('c1', after(1));
    await fake.settle(back);
    expect(gapsOf(back.text).length).toBe(1);
  });
});
