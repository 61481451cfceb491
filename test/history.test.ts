/**
 * A hub on a log that keeps its events: what the rings do not hold is read from there, by lines and
 * polls, and there is a gap only where the log has lost something.
 */
import { describe, expect, test } from 'vitest';
import type { History, HistoryPage } from '../src/core/event-log.js';
import { HistoryReads } from '../src/core/history-reads.js';
import type { HubOptions } from '../src/core/hub.js';
import type { Position } from '../src/core/position.js';
import { asError, type HoldlineError } from '../src/errors.js';
import { LibraryLines, type LibraryLine } from '../src/transports/library.js';
import { makeCounters } from '../src/counters.js';
import {
  HISTORY_PAGE_EVENTS_MAX,
  HISTORY_READ_MS_MAX,
  HISTORY_READS_MAX,
  HISTORY_RETRY_MS_MAX,
} from '../src/limits.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import { KeepingLog, KeepingStore, type Faults } from './support/keeping-log.js';

const OLDEST: Position = { kind: 'after', id: 0 };
const after = (id: number): Position => ({ kind: 'after', id });
const last = (count: number): Position => ({ kind: 'last', count });

const gapsOf = (text: string): unknown[] =>
  [...text.matchAll(/^event: gap\ndata: (.*)\n/gm)].map(
    (match) => JSON.parse(match[1] as string) as unknown,
  );

/** A store with events in channel `c`, or those named. */
function kept(count: number, channels: readonly string[] = ['c'], data = 'x'): KeepingStore {
  const store = new KeepingStore(1000);
  add(store, count, channels, data);
  return store;
}

function add(store: KeepingStore, count: number, channels: readonly string[], data = 'x'): void {
  for (let i = 0; i < count; i++) {
    const channel = channels[i % channels.length] as string;
    store.commit([{ channel, type: undefined, data: Buffer.from(data), json: false }], i);
  }
}

interface Opened {
  readonly fake: FakeHub;
  readonly log: KeepingLog;
}

/** A hub that has just been started on what a store keeps. */
async function start(
  store: KeepingStore,
  faults: Faults = {},
  options: Partial<HubOptions> = {},
): Promise<Opened> {
  let made: KeepingLog | undefined;
  const fake = new FakeHub(options, 0, (clock) => (made = new KeepingLog(store, faults, clock)));
  const log = made as KeepingLog;
  await log.open();
  fake.hub.begin();
  return { fake, log };
}

/** Turns until the lines have read all, and nothing is read for any. */
async function settle(fake: FakeHub, ...lines: FakeLine[]): Promise<void> {
  const { hub, clock } = fake;
  for (let turns = 0; turns < 20_000; turns++) {
    for (const line of lines) fake.read(line);
    if (
      clock.isIdle &&
      hub.figures.gauges.linesReading === 0 &&
      lines.every((line) => line.socket.unreadBytes === 0)
    )
      return;
    await clock.turn();
  }
  throw new Error('it goes on and on');
}

/** A small ring: a few events of what is published. */
const SMALL: Partial<HubOptions> = { replay: { events: 3, bytes: 1024 * 1024 } };

describe('after a start', () => {
  test('a line goes on where it was, without a gap, and then lives', async () => {
    const { fake } = await start(kept(10));
    const line = await fake.joinWhenReady('c', after(1004));
    await fake.publish('c', 'next');
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual(ids(1005, 1010));
    expect(line.text).toContain('id: 1004\n');
    expect(gapsOf(line.text)).toEqual([]);
  });

  test('a line at the head, and one from now on, ask the log for nothing', async () => {
    const { fake, log } = await start(kept(10));
    for (const position of [after(1009), { kind: 'live' } as const])
      expect(fake.hub.ready(['c'], position)).toBeUndefined();
    expect(log.reads).toBe(0);
  });

  test('a ring is filled once, for all who ask meanwhile, before what was published since', async () => {
    const { fake, log } = await start(kept(10), { readMs: () => 20 });
    const asked = [OLDEST, last(3), after(1001)].map((position) => fake.hub.ready(['c'], position));
    await fake.publish('c', 'next');
    await fake.clock.run(30);
    for (const ready of asked) await ready;
    expect(log.reads).toBe(1);
    expect(fake.hub.channels.get('c')?.length).toBe(11);
    const lines = [fake.join('c', OLDEST), fake.join('c', last(3)), fake.join('c', after(1001))];
    await settle(fake, ...lines);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([
      ids(1000, 1010),
      ids(1008, 1010),
      ids(1002, 1010),
    ]);
    expect(log.reads).toBe(1);
  });

  test('a ring is filled within what it holds, and no further', async () => {
    const { fake } = await start(kept(10), {}, SMALL);
    await fake.hub.ready(['c'], OLDEST);
    expect(fake.hub.channels.get('c')?.length).toBe(3);
    expect(fake.hub.channels.get('c')?.lostThrough).toBe(1006);
  });

  test('a name that was never published to makes no channel, and is asked for once', async () => {
    const { fake, log } = await start(kept(10));
    for (let i = 0; i < 3; i++) {
      const poll = await fake.pollWhenReady('never', after(1003));
      expect(poll.answer).toEqual({ body: undefined, position: 1009 });
    }
    expect(fake.hub.channels.get('never')).toBeUndefined();
    expect(log.reads).toBe(1);
    await fake.publish('never', 'now');
    const poll = await fake.pollWhenReady('never', after(1003));
    expect(poll.answer?.position).toBe(1010);
    expect(log.reads).toBe(1);
  });

  test('what was deleted while the ring was being filled is not in it', async () => {
    const { fake } = await start(kept(10), { readAnswerMs: () => 20 });
    const ready = fake.hub.ready(['c'], OLDEST);
    await fake.clock.turn();
    await fake.hub.deleteChannel('c');
    await fake.publish('c', 'new');
    await fake.clock.run(30);
    await ready;
    const line = fake.join('c', OLDEST);
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual([1011]);
  });
});

describe('a channel that was deleted before the start', () => {
  /** A store in which `c` was deleted after ten events. */
  function deleted(): KeepingStore {
    const store = kept(10);
    store.commit([{ channel: 'c', isDeletion: true }], 10);
    return store;
  }

  test.each([
    ['from now on', { kind: 'live' }],
    ['from the deletion on', after(1010)],
    ['from before it', after(1004)],
  ] as const)('is known as deleted to an event stream %s', async (_name, position) => {
    const { fake, log } = await start(deleted());
    expect(await fake.hub.ready(['c'], position, true)).toEqual(position);
    expect(fake.hub.isDeleted(['c'])).toBe(true);
    // It is looked up once, and makes no channel.
    expect(fake.hub.ready(['c'], position, true)).toBeUndefined();
    expect([log.reads, fake.hub.channels.get('c')]).toEqual([1, undefined]);
  });

  test('stays so under lines that may be there, and leaves no channel behind with them', async () => {
    const { fake } = await start(deleted());
    const line = await fake.joinWhenReady('c', OLDEST, Infinity, 'ndjson');
    expect(fake.hub.isDeleted(['c'])).toBe(true);
    fake.leave(line);
    expect([fake.hub.channels.count, fake.hub.isDeleted(['c'])]).toEqual([0, true]);
  });

  test('is there again with what is published', async () => {
    const { fake } = await start(deleted());
    await fake.hub.ready(['c'], OLDEST, true);
    await fake.publish('c', 'new');
    expect(fake.hub.isDeleted(['c'])).toBe(false);
    const line = await fake.joinWhenReady('c', after(1005));
    await settle(fake, line);
    expect([idsOf(line.text), gapsOf(line.text)]).toEqual([
      [1011],
      [{ after: 1005, before: 1011 }],
    ]);
  });

  test('is there again when something is published while its mark is read', async () => {
    const { fake } = await start(deleted(), { readAnswerMs: () => 20 });
    const ready = fake.hub.ready(['c'], OLDEST, true);
    await fake.clock.turn();
    await fake.publish('c', 'new');
    await fake.clock.run(30);
    await ready;
    expect(fake.hub.isDeleted(['c'])).toBe(false);
  });

  test('is not asked for once something was published, also where the ring was dropped', async () => {
    const { fake, log } = await start(kept(10));
    await fake.publish('c', 'new');
    fake.hub.dropChannel('c');
    expect(fake.hub.channels.isUnread('c')).toBe(true);
    expect(fake.hub.ready(['c'], { kind: 'live' }, true)).toBeUndefined();
    expect(log.reads).toBe(0);
  });

  test('here is asked for again when the log has lost its place, and only then', async () => {
    const live: Position = { kind: 'live' };
    const lose = (channel: string): void =>
      log.skip([{ channel, type: undefined, data: Buffer.from('x'), json: false }], 'all');
    const { fake, log } = await start(new KeepingStore(1));
    await fake.publish('c', 'x');
    await fake.hub.deleteChannel('c');
    expect(fake.hub.ready(['c'], live, true)).toBeUndefined();
    lose('other');
    await fake.hub.ready(['c'], live, true);
    expect(fake.hub.isDeleted(['c']), 'nothing was published to it').toBe(true);
    expect(fake.hub.ready(['c'], live, true)).toBeUndefined();
    lose('c');
    await fake.hub.ready(['c'], live, true);
    expect(fake.hub.isDeleted(['c'])).toBe(false);
    expect(fake.hub.ready(['c'], live, true)).toBeUndefined();
    lose('other');
    await fake.publish('c', 'y');
    expect(fake.hub.ready(['c'], live, true)).toBeUndefined();
    expect(log.reads).toBe(2);
  });

  test('is not asked for while the log is down', async () => {
    const { fake, log } = await start(deleted());
    log.state = { isUp: false, problem: 'away' };
    expect(fake.hub.ready(['c'], { kind: 'live' }, true)).toBeUndefined();
    expect(log.reads).toBe(0);
  });
});

describe('the age up to which a channel is replayed', () => {
  test('bounds a ring that was filled from the log, and not what readers get', async () => {
    const policies = [{ channels: 'c', replayAge: 60_000 }];
    const { fake } = await start(kept(10), {}, { policies });
    await fake.hub.ready(['c'], OLDEST);
    expect(fake.hub.channels.get('c')?.length).toBe(10);
    await fake.clock.turn(60_000);
    const lines = [
      await fake.joinWhenReady('c', OLDEST),
      await fake.joinWhenReady('c', after(1003)),
      await fake.joinWhenReady('c', last(3)),
    ];
    expect(fake.hub.channels.get('c')?.length).toBe(0);
    await settle(fake, ...lines);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([
      ids(1000, 1009),
      ids(1004, 1009),
      ids(1007, 1009),
    ]);
    expect(fake.counters.gaps_total).toBe(0);
  });
});

describe('a line behind its ring', () => {
  test('is given everything in order, over many pages, and joins what is published meanwhile', async () => {
    const count = 2 * HISTORY_PAGE_EVENTS_MAX + 500;
    const { fake } = await start(kept(count), { readMs: () => 3 }, SMALL);
    const line = await fake.joinWhenReady('c', OLDEST);
    expect(fake.hub.figures.gauges.linesReading).toBe(1);
    for (let i = 0; i < 50; i++) {
      await fake.publish('c', 'y');
      await fake.clock.turn();
    }
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual(ids(1000, 1000 + count + 49));
    expect(gapsOf(line.text)).toEqual([]);
    await fake.publish('c', 'live');
    await settle(fake, line);
    expect(idsOf(line.text).at(-1)).toBe(1000 + count + 50);
  });

  test('is told of a gap only where the log has lost something', async () => {
    const store = kept(100);
    store.forget('c', 1049);
    const { fake } = await start(store, {}, SMALL);
    const lines = [
      await fake.joinWhenReady('c', after(1020)),
      await fake.joinWhenReady('c', after(1060)),
      await fake.joinWhenReady('c', OLDEST),
    ];
    await settle(fake, ...lines);
    expect(lines.map(({ text }) => gapsOf(text))).toEqual([
      [{ after: 1020, before: 1050 }],
      [],
      [],
    ]);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([
      ids(1050, 1099),
      ids(1061, 1099),
      ids(1050, 1099),
    ]);
    expect([fake.counters.gaps_total, fake.counters.gaps_at_join_total]).toEqual([1, 1]);
  });

  test.each([
    [1048, [{ after: 1048, before: 1050 }]],
    [1049, []],
  ])('is told of a gap of one event, and of none: from %i', async (position, gaps) => {
    const store = kept(100);
    store.forget('c', 1049);
    const { fake } = await start(store, {}, SMALL);
    const line = await fake.joinWhenReady('c', after(position));
    await settle(fake, line);
    expect(gapsOf(line.text)).toEqual(gaps);
    expect(idsOf(line.text)).toEqual(ids(1050, 1099));
  });

  test('is told of each gap when the log loses what it is about to be given', async () => {
    const store = kept(3000);
    const { fake } = await start(store, { readMs: () => 20 }, SMALL);
    const line = fake.join('c', after(1000));
    await fake.clock.run(30);
    store.forget('c', 2499);
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual([...ids(1001, 2000), ...ids(2500, 3999)]);
    expect(gapsOf(line.text)).toEqual([{ after: 2000, before: 2500 }]);
  });

  test('is told of a gap to the ring when the log keeps nothing before', async () => {
    const store = kept(100);
    store.forget('c', 1099);
    const { fake } = await start(store, {}, SMALL);
    const line = await fake.joinWhenReady('c', after(1020));
    await settle(fake, line);
    expect(gapsOf(line.text)).toEqual([{ after: 1020, before: null }]);
    await fake.publish('c', 'next');
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual([1100]);
  });

  test('on several channels gets those of all in order, and one gap for what one of them has lost', async () => {
    const store = kept(40, ['a', 'b']);
    store.forget('a', 1020);
    const { fake } = await start(store, {}, SMALL);
    const line = await fake.joinWhenReady('a,b', after(1009));
    await settle(fake, line);
    expect(gapsOf(line.text)).toEqual([{ after: 1009, before: 1021 }]);
    const lost = new Set([1010, 1012, 1014, 1016, 1018, 1020]);
    expect(idsOf(line.text)).toEqual(ids(1010, 1039).filter((id) => !lost.has(id)));
  });

  test.each(['sse', 'ndjson', 'websocket'] as const)(
    'by %s stalls like any other, and comes back to the log when it has drained',
    async (mode) => {
      const { fake } = await start(kept(2000, ['c'], 'x'.repeat(100)), {}, SMALL);
      const line = await fake.joinWhenReady('c', after(1005), 5000, mode);
      await fake.clock.run(50);
      expect(fake.hub.figures.gauges).toMatchObject({ linesReading: 0, linesStalled: 1 });
      const reads = fake.counters.history_reads_total;
      await fake.clock.run(50);
      expect(fake.counters.history_reads_total).toBe(reads);
      while (idsOf(line.text).at(-1) !== 2999) {
        fake.read(line);
        await fake.clock.turn();
      }
      expect(idsOf(line.text)).toEqual(ids(1006, 2999));
      expect(gapsOf(line.text)).toEqual([]);
    },
  );

  test('that was lapped while it stalled reads what it has missed', async () => {
    const { fake } = await start(new KeepingStore(1), {}, SMALL);
    const line = fake.join('c', { kind: 'live' }, 5000);
    for (let i = 0; i < 200; i++) {
      await fake.publish('c', 'x'.repeat(500));
      await fake.clock.turn(10);
    }
    expect(fake.hub.figures.gauges.linesStalled).toBe(1);
    await settle(fake, line);
    while (idsOf(line.text).at(-1) !== 200) {
      fake.read(line);
      await fake.clock.turn();
    }
    expect(idsOf(line.text)).toEqual(ids(1, 200));
    expect(fake.counters.gaps_total).toBe(0);
    expect(fake.counters.history_reads_total).toBeGreaterThan(0);
  });

  test('hears heartbeats that tell no position while the log is away, and no gap', async () => {
    let isAway = false;
    const { fake } = await start(
      kept(10),
      { readFails: () => isAway },
      {
        ...SMALL,
        heartbeatMs: 100,
      },
    );
    isAway = true;
    const line = await fake.joinWhenReady('c', after(1002));
    await fake.clock.run(3 * HISTORY_RETRY_MS_MAX);
    fake.read(line);
    expect(fake.counters.heartbeats_total).toBeGreaterThan(100);
    expect([...line.text.matchAll(/^id: (\d+)$/gm)].map((match) => match[1])).toEqual(['1002']);
    // Each pause is twice the one before.
    expect(fake.counters.history_reads_total).toBeLessThan(12);
    isAway = false;
    await fake.clock.run(2 * HISTORY_RETRY_MS_MAX);
    await settle(fake, line);
    expect(idsOf(line.text)).toEqual(ids(1003, 1009));
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('that leaves while a page is read costs nothing', async () => {
    const { fake, log } = await start(kept(5000), { readMs: () => 10 }, SMALL);
    const line = await fake.joinWhenReady('c', OLDEST);
    fake.leave(line);
    await fake.clock.run(50);
    expect(log.reads).toBe(2);
    expect(fake.hub.figures.gauges).toMatchObject({ linesOpen: 0, linesReading: 0 });
    expect(fake.counters.written_bytes_total).toBe(0);
  });

  test('shares its pages with those that are no further', async () => {
    const { fake, log } = await start(kept(500), { readMs: () => 5 }, SMALL);
    void fake.hub.ready(['c'], OLDEST);
    await fake.clock.run(10);
    const before = log.reads;
    const lines = Array.from({ length: 40 }, (_, i) =>
      fake.join('c', after(1010 + i), Infinity, i % 2 === 0 ? 'sse' : 'websocket'),
    );
    await settle(fake, ...lines);
    for (const [i, line] of lines.entries()) expect(idsOf(line.text)).toEqual(ids(1011 + i, 1499));
    expect(log.reads - before).toBeLessThanOrEqual(3);
  });

  test('is one of many: only so many reads are under way, and all have their turn', async () => {
    const names = Array.from({ length: 3 * HISTORY_READS_MAX }, (_, i) => `c${i}`);
    let most = 0;
    let now = 0;
    const { fake } = await start(
      kept(names.length * 5, names),
      {
        readMs: () => {
          most = Math.max(most, ++now);
          return 5;
        },
        readAnswerMs: () => {
          now--;
          return 0;
        },
      },
      { replay: { events: 1, bytes: 1000 } },
    );
    const lines = names.map((name) => fake.join(name, after(999)));
    await settle(fake, ...lines);
    expect(lines.map(({ text }) => idsOf(text).length)).toEqual(names.map(() => 5));
    expect(most).toBe(HISTORY_READS_MAX);
  });

  test('whose channel is deleted is ended with the rest', async () => {
    const { fake } = await start(kept(10), { readMs: () => 30 }, SMALL);
    const line = fake.join('c', after(1001));
    await fake.hub.deleteChannel('c');
    await fake.clock.run(100);
    expect(fake.read(line)).toContain('"code":"deleted"');
    expect(idsOf(line.text)).toEqual([]);
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
  });
});

describe('positions', () => {
  test('last=N goes below the ring on one channel; on several the rings decide', async () => {
    const { fake } = await start(kept(3000, ['a', 'b', 'b']), {}, SMALL);
    const one = await fake.joinWhenReady('a', last(900));
    const two = await fake.joinWhenReady('a,b', last(5));
    const more = await fake.joinWhenReady('a', last(5_000_000));
    await settle(fake, one, two, more);
    expect(idsOf(one.text)).toHaveLength(900);
    expect(idsOf(two.text)).toEqual([3991, 3994, 3996, 3997, 3998, 3999]);
    expect(idsOf(more.text)).toHaveLength(1000);
    expect(fake.counters.gaps_total).toBe(0);
  });

  test('a position of another log is a gap, and then what the ring holds', async () => {
    const { fake } = await start(kept(10), {}, SMALL);
    const lines = [
      await fake.joinWhenReady('c', { kind: 'foreign' }),
      await fake.joinWhenReady('c', after(5000)),
    ];
    await settle(fake, ...lines);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1007, 1009));
    expect(lines.map(({ text }) => gapsOf(text))).toEqual([
      [{ after: null, before: 1007 }],
      [{ after: 5000, before: 1007 }],
    ]);
  });

  test('a time is the id before it', async () => {
    const store = kept(0);
    const { fake } = await start(store);
    for (let i = 0; i < 10; i++) {
      await fake.publish('c', 'x');
      await fake.clock.turn(60_000);
    }
    const ago = await fake.joinWhenReady('c', { kind: 'ago', ms: 3 * 60_000 + 30_000 });
    const at = await fake.joinWhenReady('c', {
      kind: 'time',
      wallMs: fake.clock.wallMs() - 5 * 60_000 - 30_000,
    });
    await settle(fake, ago, at);
    expect([idsOf(ago.text), idsOf(at.text)]).toEqual([ids(1007, 1009), ids(1005, 1009)]);
  });

  test('a time is refused where the log keeps nothing, and nothing is made for it', () => {
    const fake = new FakeHub();
    expect(() => fake.join('c', { kind: 'ago', ms: 1000 })).toThrow(/--log memory/);
    expect(() => fake.join('c,d', { kind: 'time', wallMs: 0 })).toThrow(/--log memory/);
    expect(() => fake.poll('c', { kind: 'time', wallMs: 0 })).toThrow(/--log memory/);
    expect(fake.hub.channels.count).toBe(0);
  });
});

/** All that polls in a row are given, and the gaps. */
async function pollAll(
  fake: FakeHub,
  path: string,
  from: Position,
): Promise<{ ids: number[]; gaps: unknown[]; polls: number }> {
  const found = { ids: [] as number[], gaps: [] as unknown[], polls: 0 };
  for (let position = from; ; found.polls++) {
    const { answer } = await fake.pollWhenReady(path, position, { limit: 400 });
    if (answer?.body === undefined) return found;
    const events = JSON.parse(Buffer.from(answer.body).toString()) as {
      id: number;
      gap?: unknown;
    }[];
    found.ids.push(...events.map(({ id }) => id));
    found.gaps.push(...events.flatMap(({ gap }) => gap ?? []));
    position = after(answer.position);
  }
}

describe('polls', () => {
  test('below the ring are answered from the log, and go on in the ring', async () => {
    const { fake } = await start(kept(1000), { readMs: () => 2 }, SMALL);
    const found = await pollAll(fake, 'c', OLDEST);
    expect(found).toEqual({ ids: ids(1000, 1999), gaps: [], polls: 4 });
  });

  test('are told the gap where the log has lost something', async () => {
    const store = kept(100, ['a', 'b']);
    store.forget('a', 1050);
    const { fake } = await start(store, {}, SMALL);
    expect((await pollAll(fake, 'a', after(1010))).gaps).toEqual([{ after: 1010, before: 1052 }]);
    expect((await pollAll(fake, 'b', after(1010))).gaps).toEqual([]);
    expect((await pollAll(fake, 'a', OLDEST)).gaps).toEqual([]);
    expect((await pollAll(fake, 'a,b', after(1010))).gaps).toEqual([{ after: 1010, before: 1051 }]);
  });

  test('are told a gap again as long as nothing comes that tells it', async () => {
    const store = kept(10);
    store.forget('c', 1009);
    const { fake } = await start(store, {}, SMALL);
    for (let i = 0; i < 2; i++) {
      const { answer } = await fake.pollWhenReady('c', after(1003));
      expect(answer).toEqual({ body: undefined, position: 1003 });
    }
    await fake.publish('c', 'next');
    const { answer } = await fake.pollWhenReady('c', after(1003));
    expect(Buffer.from(answer?.body ?? []).toString()).toMatch(
      /^\{"gap":\{"after":1003,"before":1010\},"id":1010,/,
    );
  });

  test('are refused while the log is away, and only if they need it', async () => {
    let isAway = false;
    const { fake } = await start(kept(10), { readFails: () => isAway }, SMALL);
    isAway = true;
    await expect(fake.hub.polls.look(['c'], after(1002), 1, () => {})).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    expect((await fake.pollWhenReady('c', after(1009))).answer?.position).toBe(1009);
  });
});

describe('a read that took too long', () => {
  const PAGE: HistoryPage = { events: [], through: 9, lostThrough: 0 };

  /** One read of a log, which answers by `answer`; the loop is held for as long as it may take. */
  async function held(): Promise<{
    readonly clock: FakeClock;
    readonly reading: Promise<HistoryPage>;
    readonly answer: () => void;
  }> {
    const clock = new FakeClock();
    let answer = (): void => {};
    const answered = new Promise<HistoryPage>((resolve) => (answer = () => resolve(PAGE)));
    const history = { read: () => answered } as Partial<History> as History;
    const reads = new HistoryReads(history, clock, makeCounters());
    const request = { channels: ['c'], after: 0, through: 9, eventsMax: 1, bytesMax: 1 };
    const reading = reads.inTurn(() => reads.read(request));
    await settlePromises();
    clock.pass(HISTORY_READ_MS_MAX);
    clock.runTimers();
    await settlePromises();
    return { clock, reading, answer };
  }

  test('has not failed where its answer was there, and the loop stood still', async () => {
    const { clock, reading, answer } = await held();
    // Timers come first in a turn, then what came over sockets and from threads.
    answer();
    await settlePromises();
    clock.runSoon();
    await expect(reading).resolves.toEqual(PAGE);
  });

  test('has failed where there was none', async () => {
    const { clock, reading } = await held();
    void clock.turn();
    await expect(reading).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
  });
});

describe('a channel whose queue is past its share of the memory', () => {
  const flood = async (log: KeepingLog, channel: string, count: number): Promise<void> => {
    const data = Buffer.alloc(1000, 'x');
    await log.append(
      Array.from({ length: count }, () => ({ channel, type: undefined, data, json: false })),
    );
  };

  test('gives it up: its lines read the rest from the log, and others notice nothing', async () => {
    const { fake, log } = await start(new KeepingStore(1), {}, { publishBytes: 1024 * 1024 });
    const lines = [fake.join('a'), fake.join('a,b'), fake.join('b')] as const;
    await flood(log, 'a', 5000);
    expect(fake.counters.queues_given_up_total).toBeGreaterThan(0);
    expect(fake.hub.figures.gauges.queueBytes).toBeLessThan(1024 * 1024);
    await fake.publish('b', 'one');
    await fake.clock.turn();
    await fake.clock.turn();
    expect(idsOf(fake.read(lines[2]))).toEqual([5001]);
    await settle(fake, ...lines);
    expect(lines.map(({ text }) => idsOf(text))).toEqual([ids(1, 5000), ids(1, 5001), [5001]]);
    expect(fake.counters.gaps_total).toBe(0);
    expect(fake.hub.figures.gauges).toMatchObject({ queueEvents: 0, queueBytes: 0 });
    expect(fake.counters.events_entered_total).toBe(5001);
    const ofChannels = fake.hub.figures.channelsNamed(['a', 'b']);
    expect(ofChannels.map(({ events }) => events)).toEqual([5000, 1]);
    await fake.publish('a', 'next');
    await settle(fake, ...lines);
    expect(idsOf(lines[0].text).at(-1)).toBe(5002);
  });

  test('does not where the log keeps nothing', async () => {
    const fake = new FakeHub({ publishBytes: 1024 * 1024 });
    const line = fake.join('a');
    await fake.publish('a', ...Array.from({ length: 800 }, () => 'x'.repeat(300)));
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, 800));
    expect(fake.counters.queues_given_up_total).toBe(0);
  });

  test('carries out a deletion that waited there', async () => {
    const { fake, log } = await start(new KeepingStore(1), {}, { publishBytes: 1024 * 1024 });
    const [gone, both] = [fake.join('a'), fake.join('a,b')];
    await flood(log, 'a', 300);
    await log.append([{ channel: 'a', isDeletion: true }]);
    await flood(log, 'a', 5000);
    await settle(fake, gone, both);
    const told = fake.read(gone);
    expect(told).toContain('"code":"deleted"');
    const late = await fake.joinWhenReady('a', OLDEST);
    await settle(fake, late, both);
    expect(idsOf(late.text)).toHaveLength(5000);
    expect(idsOf(both.text).slice(-5000)).toEqual(idsOf(late.text));
  });
});

describe('a line of the program itself', () => {
  const read = async (fake: FakeHub, line: LibraryLine, count: number): Promise<unknown[]> => {
    const found: unknown[] = [];
    for (let i = 0; i < count; i++) {
      let step: unknown;
      line.next().then(
        ({ value, done }) => (step = done === true ? 'over' : (value?.id ?? value?.gap)),
        (error: unknown) => (step = (asError(error) as HoldlineError).code),
      );
      for (let turns = 0; step === undefined && turns < 1000; turns++) await fake.clock.turn();
      found.push(step);
    }
    return found;
  };

  test('is given what the log keeps, and goes on', async () => {
    const { fake } = await start(kept(20), { readMs: () => 5 }, SMALL);
    const line = new LibraryLines(fake.hub as never, () => {}).open('c', after(1004));
    expect(line.position).toBe(1004);
    expect(await read(fake, line, 15)).toEqual(ids(1005, 1019));
    await fake.publish('c', 'next');
    expect(await read(fake, line, 1)).toEqual([1020]);
  });

  test('is closed before it has joined, and leaves nothing behind', async () => {
    const { fake } = await start(kept(20), { readMs: () => 5 }, SMALL);
    const line = new LibraryLines(fake.hub as never, () => {}).open('c', OLDEST);
    line.close();
    expect(await read(fake, line, 1)).toEqual(['over']);
    await fake.clock.run(20);
    expect(fake.hub.figures.gauges.linesOpen).toBe(0);
  });

  test('tells its reader once why it could not be opened', async () => {
    const { fake } = await start(kept(20), { readFails: () => true }, SMALL);
    const line = new LibraryLines(fake.hub as never, () => {}).open('c', last(5));
    expect(await read(fake, line, 2)).toEqual(['HOLDLINE_LOG_UNAVAILABLE', 'over']);
  });
});

test('a poll that waits and is lapped on one of its channels is given it by its next poll', async () => {
  const { fake, log } = await start(
    new KeepingStore(1),
    {},
    { publishBytes: 1024 * 1024, ...SMALL },
  );
  const poll = fake.poll('a,b', { kind: 'live' }, { waitMs: 10_000, limit: 1000 });
  const data = Buffer.alloc(1000, 'x');
  await log.append(
    Array.from({ length: 2000 }, () => ({ channel: 'a', type: undefined, data, json: false })),
  );
  await fake.clock.run(20);
  expect(poll.answer).toEqual({ body: undefined, position: 0 });
  expect((await pollAll(fake, 'a,b', OLDEST)).ids).toEqual(ids(1, 2000));
});
