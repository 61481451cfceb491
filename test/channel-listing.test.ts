/** Channels for operators: the pages of the list, rates, and one channel with its lines. */
import { describe, expect, test } from 'vitest';
import type { ListPlace } from '../src/core/channel-listing.js';
import { Elsewhere } from '../src/core/elsewhere.js';
import { RateWindows, RecentEvents } from '../src/core/event-rates.js';
import { NOBODY } from '../src/core/owners.js';
import { LIVE } from '../src/core/position.js';
import { LISTED_USERS_MAX, RATE_WINDOW_MS } from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';
import { FakeHub } from './support/fake-hub.js';
import { Random } from './support/random.js';

test('the count of events of a channel does not fall when its ring is dropped, given up or filled', async () => {
  const fake = new FakeHub({ replay: { events: 5, bytes: 1e6 } });
  fake.join('c');
  const events = (): number => fake.hub.figures.busiestChannels(1)[0]!.events;
  await fake.publish('c', ...Array.from({ length: 50 }, () => 'x'));
  await fake.settle();
  const channel = fake.hub.channels.get('c')!;
  expect([events(), channel.length]).toEqual([50, 5]);
  fake.hub.channels.rings.drop(channel);
  const kept = [49, 50].map((id) => ({
    id,
    channel: 'c',
    type: undefined,
    json: false,
    data: Buffer.from('x'),
  }));
  channel.refill(kept, 48);
  expect(events()).toBe(50);
  await fake.hub.deleteChannel('c');
  fake.join('c');
  await fake.publish('c', 'x');
  await fake.settle();
  expect(events()).toBe(51);
  expect(fake.hub.figures.channelsNamed(['c', 'unknown'])).toEqual(
    fake.hub.figures.busiestChannels(1),
  );
});

describe('the list', () => {
  test('page after page has every channel once, the largest first and by name where they are equal', () => {
    const fake = new FakeHub();
    const random = new Random(7);
    const lines = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const name = `c${random.below(90)}`;
      fake.join(name);
      lines.set(name, (lines.get(name) ?? 0) + 1);
    }
    const expected = [...lines].toSorted(
      ([oneName, one], [otherName, other]) => other - one || (oneName < otherName ? -1 : 1),
    );
    for (const limit of [1, 7, 1_000]) {
      const listed: [string, number][] = [];
      let after: ListPlace | undefined;
      do {
        const page = fake.hub.figures.listChannels('lines', limit, after);
        expect(page.channels.length).toBeLessThanOrEqual(limit);
        listed.push(
          ...page.channels.map(({ name, lines: count }): [string, number] => [name, count]),
        );
        after = page.next;
      } while (after !== undefined);
      expect(listed).toEqual(expected);
    }
  });

  test('has what each channel holds, and how busy it is', async () => {
    const fake = new FakeHub();
    fake.join('quiet');
    await fake.publish('busy', ...Array.from({ length: 50 }, () => 'x'.repeat(100)));
    await fake.publish('slow', 'one');
    await fake.clock.run(1);
    fake.clock.pass(4_999);
    expect(fake.hub.figures.listChannels('rate', 2)).toMatchObject({
      channels: [
        { name: 'busy', lines: 0, newestId: 50, heldEvents: 50, eventsPerSecond: 10 },
        { name: 'slow', newestId: 51, heldEvents: 1, eventsPerSecond: 0.2, bytesPerSecond: 0.6 },
      ],
      next: { value: 1, name: 'slow' },
    });
    const [busy] = fake.hub.figures.listChannels('rate', 1).channels;
    expect(busy!.bytesPerSecond).toBe(1_000);
    expect(busy!.heldBytes).toBeGreaterThanOrEqual(5_000);
    expect(fake.hub.figures.listChannels('lines', 1).channels).toMatchObject([
      { name: 'quiet', lines: 1, newestId: 0, heldEvents: 0, heldBytes: 0, eventsPerSecond: 0 },
    ]);
  });
});

test('lines in other processes count for the place of a channel, and are not among its own', () => {
  const fake = new FakeHub();
  const elsewhere = new Elsewhere();
  fake.hub.countElsewhere(elsewhere, { changed() {} });
  for (const name of ['a', 'a', 'b']) fake.join(name);
  elsewhere.set(1, 'b', 3);
  elsewhere.set(2, 'b', 1);
  elsewhere.set(2, 'only there', 9);
  const order = () => fake.hub.figures.listChannels('lines', 9).channels.map(({ name }) => name);
  expect(order()).toEqual(['b', 'a']);
  expect(fake.hub.figures.listChannels('lines', 1)).toMatchObject({
    channels: [{ name: 'b', lines: 1 }],
    next: { value: 5, name: 'b' },
  });
  expect(fake.hub.figures.linesInAll('b')).toBe(5);
  elsewhere.gone(1);
  elsewhere.set(2, 'b', 0);
  expect(order()).toEqual(['a', 'b']);
});

describe('a rate', () => {
  test('is over one window to two, and falls to 0 after two without events', async () => {
    const clock = new FakeClock();
    const windows = new RateWindows(clock);
    const recent = new RecentEvents();
    const perSecond = (): number =>
      Math.round((recent.in(windows.current).events * 1000) / windows.timeMs);
    recent.count(windows.current, 10);
    // The first second counts as a whole one.
    expect(perSecond()).toBe(1);
    for (let second = 0; second < 25; second++) {
      for (let i = 0; i < 20; i++) recent.count(windows.current, 10);
      await clock.turn(1_000);
      windows.passed();
    }
    expect(perSecond()).toBe(20);
    expect(recent.in(windows.current).bytes).toBe(10 * recent.in(windows.current).events);
    for (const isLeft of [true, false]) {
      await clock.turn(RATE_WINDOW_MS);
      windows.passed();
      expect(perSecond() > 0).toBe(isLeft);
    }
  });

  test('of a hub ends with its windows, which turn with the heartbeat', async () => {
    const fake = new FakeHub({ heartbeatMs: 15_000 });
    await fake.publish('c', 'one', 'two');
    const rate = (): number => fake.hub.figures.channelDetails('c')!.eventsPerSecond;
    await fake.clock.run(5_000);
    expect(rate()).toBe(0.4);
    await fake.clock.run(10_000);
    expect(rate()).toBeCloseTo(2 / 15, 2);
    await fake.clock.run(7_000);
    expect(rate()).toBe(0);
  });

  test('of a channel that was silent for long has nothing of before', () => {
    const recent = new RecentEvents();
    recent.count(3, 10);
    recent.count(9, 10);
    expect(recent.in(9)).toEqual({ events: 1, bytes: 10 });
    recent.count(10, 5);
    expect(recent.in(10)).toEqual({ events: 2, bytes: 15 });
  });
});

describe('one channel', () => {
  const of = (user: string) => ({ ...NOBODY, user });

  test('has its lines by transport, and whose they are', async () => {
    const fake = new FakeHub();
    fake.join('c', LIVE, Infinity, 'sse', of('ada'));
    fake.join('c', LIVE, Infinity, 'ndjson', of('bob'));
    fake.join('c,d', LIVE, Infinity, undefined, of('bob'));
    fake.poll('c', LIVE, { waitMs: 5_000 });
    await fake.publish('d', 'one');
    expect(fake.hub.figures.channelDetails('c')).toMatchObject({
      name: 'c',
      lines: 4,
      linesByTransport: { sse: 2, ndjson: 1, websocket: 0, poll: 1, library: 0 },
      newestId: 0,
      queuedEvents: 0,
      isDeleted: false,
    });
    expect(fake.hub.figures.channelUsers('c')).toEqual({
      users: [
        { user: 'bob', lines: 2 },
        { user: 'ada', lines: 1 },
      ],
      usersTotal: 2,
      linesWithoutUser: 1,
    });
    expect(fake.hub.figures.channelDetails('nobody')).toBe(undefined);
    expect(fake.hub.figures.channelUsers('nobody')).toBe(undefined);
  });

  test('names LISTED_USERS_MAX users, and says how many there are', () => {
    const fake = new FakeHub();
    for (let i = 0; i < LISTED_USERS_MAX + 5; i++)
      fake.join('c', LIVE, Infinity, 'sse', of(`user-${i}`));
    const { users, usersTotal } = fake.hub.figures.channelUsers('c')!;
    expect([users.length, usersTotal]).toEqual([LISTED_USERS_MAX, LISTED_USERS_MAX + 5]);
  });
});
