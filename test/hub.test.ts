/**
 * The hub in small: cases that the simulator (simulator.test.ts) found, each as short as it can be,
 * and the bound on channels.
 */
import { describe, expect, test } from 'vitest';
import type { Position } from '../src/core/position.js';
import { CHANNELS_MAX, CHANNELS_PER_LINE_MAX, GRACE_MS } from '../src/limits.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';

const OLDEST: Position = { kind: 'after', id: 0 };
const after = (id: number): Position => ({ kind: 'after', id });

/** Publishes until the line has refused bytes. */
async function stall(fake: FakeHub, line: FakeLine, channel: string): Promise<void> {
  while (fake.hub.figures.gauges.linesStalled === 0) {
    await fake.publish(channel, 'x'.repeat(500));
    await fake.clock.turn();
  }
  expect(line.socket.refusing).toBe(true);
  // By then nobody waits for it any more.
  await fake.clock.turn(GRACE_MS);
}

const gapsOf = (text: string): unknown[] =>
  [...text.matchAll(/^event: gap\ndata: (.*)\n/gm)].map(
    (match) => JSON.parse(match[1] as string) as unknown,
  );

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
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    while (fake.hub.figures.gauges.linesStalled > 0) {
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

describe('names and channels', () => {
  const full: unknown = expect.objectContaining({ code: 'HOLDLINE_CHANNELS_FULL' });

  test('that have lines are all there may be; who asks or publishes for one more is refused, and the others go on', async () => {
    const fake = new FakeHub({ channelsMax: 32, readerChannelsMax: 48 });
    const lines: FakeLine[] = [];
    for (let i = 0; i < 48; i += CHANNELS_PER_LINE_MAX) {
      lines.push(
        fake.join(Array.from({ length: CHANNELS_PER_LINE_MAX }, (_, j) => `c${i + j}`).join()),
      );
    }
    expect(fake.hub.figures.gauges).toMatchObject({ channels: 48, readerChannels: 48 });
    expect(() => fake.join('c0,one-more')).toThrow(full);
    expect(() => fake.poll('one-more', { kind: 'live' }, { waitMs: 1000 })).toThrow(full);
    expect(fake.poll('one-more').answer?.body, 'who does not wait needs no place').toBeUndefined();
    for (let i = 0; i < 32; i++) await fake.publish(`c${i}`, 'x');
    await expect(fake.publish('c32', 'x')).rejects.toThrow(full);
    await expect(fake.publish('one-more', 'x')).rejects.toThrow(full);
    const line = fake.join('c0');
    await fake.publish('c0', 'x');
    await fake.settle(line, ...lines);
    expect(idsOf(line.text)).toEqual([33]);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([[...ids(1, 16), 33], ids(17, 32), []]);
    expect(fake.hub.figures.gauges).toMatchObject({
      queueEvents: 0,
      channels: 48,
      readerChannels: 16,
    });
    expect(fake.counters).toMatchObject({
      reader_channels_refused_total: 2,
      channels_refused_total: 2,
      channels_forgotten_total: 0,
    });
  });

  test('who was refused one of several names has made none of the others, and those who leave make place', () => {
    const fake = new FakeHub({ readerChannelsMax: 3 });
    const line = fake.join('a,b');
    expect(() => fake.join('x,y')).toThrow(full);
    expect(fake.hub.figures.gauges.channels).toBe(2);
    fake.leave(line);
    expect(fake.hub.figures.gauges).toMatchObject({ channels: 0, readerChannels: 0 });
    fake.join('x,y,z');
  });

  test('who only asks for a place is refused as who takes it, and makes no channel', () => {
    const fake = new FakeHub({ readerChannelsMax: 2 });
    fake.hub.checkPlaces(['a', 'b']);
    expect(() => fake.hub.checkPlaces(['a', 'b', 'c'])).toThrow(full);
    expect(fake.hub.figures.gauges.channels).toBe(0);
    fake.join('a');
    fake.hub.checkPlaces(['a', 'b']);
    fake.join('b');
    fake.hub.checkPlaces(['a', 'b']);
    expect(() => fake.hub.checkPlaces(['b', 'c'])).toThrow(full);
    expect(fake.counters.reader_channels_refused_total).toBe(2);
  });

  test('that only readers hold displace no event, however many they are', async () => {
    const fake = new FakeHub({ channelsMax: 4, readerChannelsMax: 64 });
    for (const name of ['a', 'b', 'c', 'd']) await fake.publish(name, '1', '2', '3', '4', '5');
    let refused = 0;
    for (let i = 0; i < 10; i++) {
      try {
        fake.join(Array.from({ length: CHANNELS_PER_LINE_MAX }, (_, j) => `new-${i}-${j}`).join());
      } catch {
        refused++;
      }
    }
    expect(refused).toBe(6);
    for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) {
      const back = fake.join(name, after(5 * i + 1));
      await fake.settle(back);
      expect([idsOf(back.text), gapsOf(back.text)]).toEqual([ids(5 * i + 2, 5 * i + 5), []]);
    }
    expect(fake.counters).toMatchObject({
      channels_forgotten_total: 0,
      rings_dropped_total: 0,
      events_evicted_total: 0,
    });
  });

  test('without lines make room for new ones, the ones published to longest ago first: their readers are told a gap, no others', async () => {
    const fake = new FakeHub({ channelsMax: 50, lostChannelsMax: 100 });
    for (let i = 0; i < 60; i++) await fake.publish(`c${i}`, 'x');
    expect(fake.hub.figures.gauges).toMatchObject({ channels: 50, floor: 0 });
    expect(fake.counters.channels_forgotten_total).toBe(10);
    const gapsAt = async (name: string, position: number): Promise<number> => {
      const back = fake.join(name, after(position));
      await fake.settle(back);
      return gapsOf(back.text).length;
    };
    expect(await gapsAt('c40', 5), 'it holds everything').toBe(0);
    expect(await gapsAt('never', 5)).toBe(0);
    expect(await gapsAt('c7', 8), 'event 8 was given').toBe(0);
    expect(await gapsAt('c7', 7), 'event 8 is lost').toBe(1);
    const poll = fake.poll('c3', after(1));
    const told = poll.answer?.position as number;
    await fake.publish('c3', 'y');
    await fake.clock.turn();
    expect(JSON.parse(fake.poll('c3', after(told)).answer?.body?.toString() ?? '')).toMatchObject({
      id: 61,
      gap: { before: 61 },
    });
  });

  test('of which nothing is remembered any more are told a gap rather than nothing', async () => {
    const fake = new FakeHub({ channelsMax: 5, lostChannelsMax: 3 });
    for (let i = 0; i < 10; i++) await fake.publish(`c${i}`, 'x');
    expect(fake.hub.figures.gauges.floor).toBe(2);
    expect(fake.counters.losses_forgotten_total).toBe(2);
    const gaps: number[] = [];
    for (const [name, position] of [
      ['c0', 1],
      ['c0', 2],
      ['c1', 1],
      ['c4', 4],
      ['c4', 5],
      ['c7', 1],
    ] as const) {
      const back = fake.join(name, after(position));
      await fake.settle(back);
      gaps.push(gapsOf(back.text).length);
    }
    expect(gaps, 'the first is the one that nothing was lost for').toEqual([1, 0, 1, 1, 0, 0]);
  });

  test('100 channels that are read in three encodings by 300 lines keep their histories', async () => {
    const fake = new FakeHub({ replayTotalBytes: 300_000 });
    const bytes = 700;
    for (let i = 0; i < 100; i++) await fake.publish(`c${i}`, 'x'.repeat(bytes));
    const lines: FakeLine[] = [];
    for (let i = 0; i < 100; i++) {
      for (const mode of ['sse', 'sse-env', 'ndjson'] as const)
        lines.push(fake.join(`c${i}`, { kind: 'last', count: 1 }, Infinity, mode));
    }
    await fake.settle(...lines);
    await fake.publish('c0', 'y');
    await fake.publish('c50', 'y');
    await fake.settle(...lines);
    expect(fake.counters).toMatchObject({
      rings_dropped_total: 0,
      events_evicted_total: 0,
      gaps_total: 0,
    });
    expect(fake.hub.figures.gauges.rings).toBe(100);
    for (const [i, { text }] of lines.entries()) {
      const channel = Math.floor(i / 3);
      expect(idsOf(text)).toEqual([
        channel + 1,
        ...(channel === 0 ? [101] : channel === 50 ? [102] : []),
      ]);
    }
  });
});

test(`${CHANNELS_MAX} channels are all there may be, and past them nobody is told a gap where nothing was lost`, async () => {
  const fake = new FakeHub({ replayTotalBytes: 1024 * 1024 * 1024 });
  const overBy = 1000;
  for (let i = 0; i < CHANNELS_MAX + overBy; i++) await fake.publish(`c${i}`, 'x');
  expect(fake.hub.figures.gauges).toMatchObject({
    channels: CHANNELS_MAX,
    rings: CHANNELS_MAX,
    floor: 0,
  });
  expect(fake.counters).toMatchObject({
    channels_forgotten_total: overBy,
    losses_forgotten_total: 0,
  });
  const whole = fake.join(`c${overBy + 5}`, after(5));
  const lost = fake.join('c5', after(1));
  await fake.settle(whole, lost);
  expect([gapsOf(whole.text), gapsOf(lost.text).length]).toEqual([[], 1]);
  expect(idsOf(whole.text)).toEqual([overBy + 6]);
});
