/**
 * Grace: what a line that kept up and refuses bytes is given, what it may cost, and that others
 * lose nothing by it.
 */
import { describe, expect, test } from 'vitest';
import {
  CORK_WRITE_BYTES_MAX,
  GRACE_BUDGET_MS_MAX,
  GRACE_DISTRUST_SECONDS,
  GRACE_MS,
  GRACE_TRUST_SECONDS,
  IN_FLIGHT_WINDOW_CORKS_MAX,
} from '../src/limits.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import type { ModeName } from './support/fake-port.js';
import { always, Flood, inTurns, type FloodReader } from './support/flood.js';
import { Random } from './support/random.js';

const DATA = 'x'.repeat(10_000);
/** Without grace every line that stalls is lapped at once. */
const NO_REPLAY = { replay: { events: 0, bytes: 0 } };
/** What a channel may hold for a line in grace, where it keeps nothing else. */
const ROOM_BYTES = IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX;

function join(fake: FakeHub, path = 'c', by: ModeName = 'sse'): FakeLine {
  return fake.join(path, { kind: 'live' }, 20_000, by);
}

/** Publishes, a turn for each, until a line refuses bytes. */
async function stall(fake: FakeHub, channel = 'c'): Promise<void> {
  for (
    const before = fake.counters.lines_stalled_total;
    fake.counters.lines_stalled_total === before;
  ) {
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

  test('is in grace no longer than that, and then lapped', async () => {
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
    expect(fake.hub.figures.gauges.waitingPublishers).toBeGreaterThan(0);
    await fake.settle(line);
    await Promise.all(published);
    expect(idsOf(line.text)).toEqual(ids(1, before + 50));
    expect(fake.counters.gaps_total).toBe(0);
  });
});

test('a line that takes all that had entered when the window began keeps its grace', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const line = join(fake);
  const published: Promise<unknown>[] = [];
  const began = fake.clock.nowMs();
  // Half of what the channel may hold for it, in each half of the time: it stalls again and again,
  // and is never at the head.
  while (fake.clock.nowMs() - began < 5 * GRACE_MS) {
    for (let i = 0; i < 13; i++) published.push(fake.publish('c', DATA));
    for (let turns = 0; turns < 10; turns++) {
      await fake.clock.turn(GRACE_MS / 20);
      line.text += line.socket.read(13_000).toString();
      if (line.socket.isWritable && line.socket.becomeWritable())
        fake.hub.drained(line.handle, line.socket);
    }
  }
  await fake.settle(line);
  await Promise.all(published);
  expect(idsOf(line.text)).toEqual(ids(1, fake.hub.head));
  expect(fake.counters.gaps_total).toBe(0);
  expect(fake.counters.lines_stalled_total).toBeGreaterThan(20);
});

test('publishers are held for it GRACE_MS at the most', async () => {
  const fake = new FakeHub(NO_REPLAY);
  join(fake);
  await stall(fake);
  const stalledMs = fake.clock.nowMs();
  let answeredMs = 0;
  void Promise.all(Array.from({ length: 50 }, () => fake.publish('c', DATA))).then(
    () => (answeredMs = fake.clock.nowMs()),
  );
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

test('a line that was not healthy is given no grace, nor one that stalls again before it is', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const line = join(fake);
  await stall(fake);
  await fake.clock.turn(GRACE_MS);
  // It drains a little, is given the gap notice, and is behind when it stalls again.
  await fake.publish('c', DATA, DATA, DATA, DATA);
  line.text += line.socket.read(15_000).toString();
  if (line.socket.isWritable && line.socket.becomeWritable())
    fake.hub.drained(line.handle, line.socket);
  await fake.clock.turn();
  const waited = fake.counters.publish_waited_total;
  for (let i = 0; i < 60; i++) {
    await fake.publish('c', DATA);
    await fake.clock.turn();
  }
  expect(fake.counters.publish_waited_total).toBe(waited);
});

test('when it goes away, or its channel is deleted, nobody is held for it', async () => {
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

test('one of several lines in grace drains, the other keeps it', async () => {
  const fake = new FakeHub(NO_REPLAY);
  const [quick, slow] = [join(fake), join(fake)];
  await stall(fake);
  expect(fake.hub.figures.gauges.linesStalled).toBe(2);
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
  expect(
    [...line.text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)).filter((id) => id > 0),
  ).toEqual(ids(1, fake.hub.head));
});

test('with --slow latest a line that goes on with the newest event holds its channels from there only', async () => {
  const fake = new FakeHub({ slow: 'latest', replay: { events: 1, bytes: ROOM_BYTES } });
  const line = join(fake, 'a,b', 'sse-env');
  await stall(fake, 'a');
  // While a holds more than it may, b does not wait for the line.
  await fake.publish('a', ...Array.from({ length: 2 * (ROOM_BYTES / DATA.length) }, () => DATA));
  await fake.publish('b', 'lost');
  await fake.publish('b', DATA.repeat(5));
  await fake.clock.turn();
  expect(fake.hub.figures.gauges.queueEvents).toBeGreaterThan(0);
  fake.read(line);
  for (let turns = 0; turns < 5; turns++) await fake.clock.turn();
  expect(fake.counters).toMatchObject({ slow_latest_total: 1, lines_stalled_total: 2 });
  expect(fake.hub.lines.groupAt(line.handle).table.graceCount).toBe(1);
  expect(fake.hub.figures.gauges.queueEvents).toBe(0);
});

describe('while nobody is held back', () => {
  test('a grace in vain costs neither trust nor budget', async () => {
    const fake = new FakeHub({ replay: { events: 1000, bytes: 1_000_000 } });
    const line = join(fake);
    await stall(fake);
    await fake.clock.run(5 * GRACE_MS);
    expect(fake.hub.lines.groupAt(line.handle).table.graceCount).toBe(0);
    await fake.settle(line);
    const { table, channels } = fake.hub.lines.groupAt(line.handle);
    expect(channels[0]?.graceBudget).toBeUndefined();
    await stall(fake);
    expect(table.graceCount, 'it is given grace again').toBe(1);
  });
});

describe('a line that held its channel in vain', () => {
  /** How long publishers are held when the line stalls, after it has read everything. */
  async function heldMs(fake: FakeHub, line: FakeLine): Promise<number> {
    await fake.settle(line);
    await stall(fake);
    const stalledMs = fake.clock.nowMs();
    const published = Promise.all(Array.from({ length: 50 }, () => fake.publish('c', DATA)));
    let answeredMs = 0;
    void published.then(() => (answeredMs = fake.clock.nowMs()));
    while (answeredMs === 0) await fake.clock.turn();
    return answeredMs - stalledMs;
  }

  test('is given no grace for some time, then out of the budget again', async () => {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake);
    expect(await heldMs(fake, line)).toBeGreaterThan(GRACE_MS - 5);
    expect(await heldMs(fake, line)).toBeLessThan(GRACE_MS / 4);
    await fake.settle(line);
    await fake.clock.run(1000 * (GRACE_DISTRUST_SECONDS - 1));
    expect(await heldMs(fake, line)).toBeLessThan(GRACE_MS / 4);
    await fake.settle(line);
    await fake.clock.run(2000);
    expect(await heldMs(fake, line)).toBeGreaterThan(GRACE_MS - 5);
  });

  test('pays for it also when it hangs up', async () => {
    const fake = new FakeHub(NO_REPLAY);
    const line = join(fake);
    await stall(fake);
    for (let i = 0; i < 50; i++) void fake.publish('c', DATA).catch(() => {});
    await fake.clock.run(GRACE_MS - 10);
    const budget = (): number | undefined =>
      fake.hub.lines.groupAt(other.handle).channels[0]?.graceBudget?.leftMs(fake.clock.nowMs());
    const other = join(fake);
    expect(budget()).toBeUndefined();
    fake.leave(line);
    expect(budget()).toBeCloseTo(GRACE_BUDGET_MS_MAX - (GRACE_MS - 10), -1);
  });
});

describe(
  'readers that take 10 MB/s, each of which refuses bytes at every event',
  { timeout: 60_000 },
  () => {
    const SPEED = 10_000;
    const LEAST_PACE = 0.85;
    const RUN_MS = 2_000;
    /** Readers that fail together do so once: what that costs is measured over a longer time. */
    const CONCERT_MS = 1_000 * GRACE_TRUST_SECONDS;

    function joinGood(flood: Flood, count: number): FloodReader[] {
      return Array.from({ length: count }, () => flood.join(always(SPEED)));
    }

    let paceAlone = 0;
    async function alone(): Promise<number> {
      if (paceAlone > 0) return paceAlone;
      const flood = new Flood();
      const good = joinGood(flood, 19);
      paceAlone = await flood.run(RUN_MS);
      expect(good.map(({ gaps }) => gaps)).toEqual(good.map(() => 0));
      return paceAlone;
    }

    const comesBackEvery =
      (periodMs: number, offsetMs = 0) =>
      (ms: number): boolean =>
        Math.floor(ms + offsetMs) % periodMs === periodMs - 1;

    const attackers: Record<string, (flood: Flood) => void> = {
      'one that stalls 200 ms and reads 200 ms': (flood) => void flood.join(inTurns(SPEED)),
      'one that takes nothing': (flood) => void flood.join(always(0)),
      'one that reads a tenth of what they do': (flood) => void flood.join(always(SPEED / 10)),
      'one that comes back on a new line whenever it has stalled': (flood) =>
        void flood.join(inTurns(SPEED), comesBackEvery(400)),
      'one that hangs up before its grace is over': (flood) =>
        void flood.join(inTurns(SPEED, 20, 60), comesBackEvery(80)),
    };
    const concerts: Record<string, (flood: Flood) => void> = {
      '20 that take turns in stalling': (flood) => {
        for (let i = 0; i < 20; i++) flood.join(inTurns(SPEED, 200, 200, i * 20));
      },
      '20 that take turns in stalling and in coming back': (flood) => {
        for (let i = 0; i < 20; i++)
          flood.join(inTurns(SPEED, 200, 200, i * 20), comesBackEvery(400, i * 20));
      },
      '20 that pause 90 ms, one after the other, and take everything in time': (flood) => {
        for (let i = 0; i < 20; i++) flood.join(inTurns(SPEED, 19 * 90, 90, i * 90));
      },
      '10 that take turns in hanging up before their grace is over': (flood) => {
        for (let i = 0; i < 10; i++)
          flood.join(inTurns(SPEED, 20, 60, i * 8), comesBackEvery(80, i * 8));
      },
    };

    test.each([...Object.keys(attackers), ...Object.keys(concerts)])(
      'lose nothing beside %s, and publishers go on at that pace',
      async (name) => {
        const least = LEAST_PACE * (await alone());
        const flood = new Flood();
        attackers[name]?.(flood);
        concerts[name]?.(flood);
        const good = joinGood(flood, name in concerts ? 5 : 19);
        const pace = await flood.run(name in concerts ? CONCERT_MS : RUN_MS);
        expect(good.map(({ gaps }) => gaps)).toEqual(good.map(() => 0));
        expect(pace).toBeGreaterThan(least);
      },
    );

    test('lose nothing when they come in the middle of that', async () => {
      const flood = new Flood();
      attackers['one that comes back on a new line whenever it has stalled']?.(flood);
      const good = joinGood(flood, 5);
      for (let i = 0; i < 10; i++) {
        await flood.run(150);
        good.push(...joinGood(flood, 1));
      }
      expect(good.map(({ gaps }) => gaps)).toEqual(good.map(() => 0));
    });

    test('lose nothing beside 20 that had proven themselves, stall one after the other, and do so again when they are trusted', async () => {
      const least = LEAST_PACE * (await alone());
      const flood = new Flood();
      const good = joinGood(flood, 3);
      const startMs = 1000 * GRACE_TRUST_SECONDS;
      for (let i = 0; i < 20; i++)
        flood.join((ms) => (ms > startMs && (ms + i * 20) % 400 < 200 ? 0 : SPEED));
      await flood.fake.clock.run(startMs);
      const pace = await flood.run(1000 * GRACE_TRUST_SECONDS);
      expect(good.map(({ gaps }) => gaps)).toEqual(good.map(() => 0));
      expect(pace).toBeGreaterThan(least);
    });

    test.each([1, 2, 3, 4])(
      'lose nothing beside readers with habits of the dice (seed %i)',
      async (seed) => {
        const random = new Random(seed);
        const least = LEAST_PACE * (await alone());
        const flood = new Flood();
        for (let i = random.between(1, 20); i > 0; i--) {
          // On the average slower than their channel need be for them, which is its replay in
          // GRACE_MS.
          const [readMs, stallMs] = [random.between(1, 100), random.between(500, 1500)];
          const offsetMs = random.below(readMs + stallMs);
          flood.join(
            inTurns(SPEED, readMs, stallMs, offsetMs),
            random.chance(0.5)
              ? comesBackEvery(random.between(1, readMs + stallMs), offsetMs)
              : undefined,
          );
        }
        const good = joinGood(flood, 10);
        const pace = await flood.run(CONCERT_MS);
        expect(good.map(({ gaps }) => gaps)).toEqual(good.map(() => 0));
        expect(pace).toBeGreaterThan(least);
      },
    );
  },
);
