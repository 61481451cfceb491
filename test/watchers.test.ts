/**
 * Counts of subscribers, and those who watch them: a model with random lines and sockets, and each
 * rule by itself.
 */
import { describe, expect, test } from 'vitest';
import { NDJSON, SSE_DATA } from '../src/core/frame.js';
import type { LinePort } from '../src/core/ports.js';
import { SubscriberCounts, type CountedChannels } from '../src/core/subscriber-counts.js';
import { Watchers, type LineCountListener, type WatchRequest } from '../src/core/watchers.js';
import { makeCounters } from '../src/counters.js';
import {
  CORK_WRITE_BYTES_MAX,
  WATCH_CHANGES_MAX,
  WATCH_GONE_MAX,
  WATCHERS_MAX,
  WATCHERS_PER_CREDENTIAL_MAX,
} from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';
import { Random } from './support/random.js';
import { SEED } from './support/seed.js';

/** Channels with lines, by name: those without one are not there, as names that only lines hold. */
class World implements CountedChannels {
  readonly lines = new Map<string, number>();
  listener: LineCountListener | undefined;

  *[Symbol.iterator](): IterableIterator<{ name: string; lineCount: number }> {
    for (const [name, lineCount] of this.lines) yield { name, lineCount };
  }

  get(name: string): { name: string; lineCount: number } | undefined {
    const lineCount = this.lines.get(name);
    return lineCount === undefined ? undefined : { name, lineCount };
  }

  add(name: string, change = 1): void {
    const before = this.lines.get(name) ?? 0;
    const after = before + change;
    if (after === 0) this.lines.delete(name);
    else this.lines.set(name, after);
    this.listener?.changed(name, before, after);
  }
}

/** A client that reads rows into what it believes; its socket takes bytes or refuses them. */
class Client {
  readonly known = new Map<string, number>();
  readonly rows: string[] = [];
  resets = 0;
  end: string | undefined;
  heartbeats = 0;
  retryMs: number | undefined;
  largestBytes = 0;
  /** Bytes that the socket takes until it is drained; the write that goes beyond is refused. */
  roomBytes = Infinity;
  handle = 0;
  isRefusing = false;

  take(bytes: Uint8Array): boolean {
    const text = Buffer.from(bytes).toString();
    this.largestBytes = Math.max(this.largestBytes, text.length);
    for (const line of text.split('\n')) this.#line(line);
    this.roomBytes -= bytes.length;
    if (this.roomBytes < 0) this.isRefusing = true;
    return this.roomBytes >= 0;
  }

  #line(line: string): void {
    if (line.startsWith('retry: ')) this.retryMs = Number(line.slice(7));
    else if (line === ': keepalive') this.heartbeats++;
    else if (line.startsWith('event: end')) this.end = '';
    const json = line.replace(/^data: /, '');
    if (!json.startsWith('{')) return;
    const row = JSON.parse(json) as Record<string, unknown>;
    if (this.end === '') this.end = String(row['code']);
    else if ('end' in row) this.end = (row['end'] as { code: string }).code;
    else if ('reset' in row) {
      this.resets++;
      this.known.clear();
    } else {
      const channel = String(row['channel']);
      const subscribers = Number(row['subscribers']);
      this.rows.push(`${channel} ${subscribers}`);
      if (subscribers === 0) this.known.delete(channel);
      else this.known.set(channel, subscribers);
    }
  }
}

const port: LinePort<Client> = {
  kind: 'stream',
  write: (client, bytes) => client.take(bytes),
  end: (client, bytes) => void client.take(bytes),
  unsentBytes: () => 0,
};

function setUp({ heartbeatMs = 15_000 } = {}) {
  const clock = new FakeClock();
  const counters = makeCounters();
  const world = new World();
  const watchers = new Watchers(
    clock,
    counters,
    { channels: world, listen: (listener) => void (world.listener = listener) },
    heartbeatMs,
  );
  const open = (changes: Partial<WatchRequest<Client>> = {}, roomBytes = Infinity): Client => {
    const client = new Client();
    client.roomBytes = roomBytes;
    client.handle = watchers.open({
      socket: client,
      port,
      encoding: SSE_DATA,
      sees: () => true,
      retryMs: 2_000,
      credential: undefined,
      user: undefined,
      endsAtMs: Infinity,
      ...changes,
    });
    return client;
  };
  const drain = (client: Client, roomBytes: number): void => {
    client.roomBytes = roomBytes;
    client.isRefusing = false;
    watchers.drained(client.handle);
  };
  return { clock, counters, world, watchers, open, drain };
}

describe('a stream', () => {
  test.each([
    ['an event stream', SSE_DATA, 2_000],
    ['NDJSON', NDJSON, undefined],
  ])('of %s begins with reset, and then has all counts', async (_, encoding, retryMs) => {
    const { clock, world, open } = setUp();
    world.add('a', 3);
    world.add('b');
    const client = open({ encoding });
    expect([client.resets, client.rows, client.retryMs]).toEqual([1, [], retryMs]);
    await clock.run(5);
    expect(client.rows).toEqual(['a 3', 'b 1']);
    const later = open({ encoding });
    await clock.run(5);
    expect([later.resets, later.rows]).toEqual([1, ['a 3', 'b 1']]);
    expect(client.rows).toHaveLength(2);
  });

  test('tells a change once a second, with what it comes to', async () => {
    const { clock, world, open } = setUp();
    const client = open();
    await clock.run(10);
    for (let i = 0; i < 5; i++) world.add('a');
    await clock.run(500);
    expect(client.rows).toEqual([]);
    await clock.run(600);
    expect(client.rows).toEqual(['a 5']);
    world.add('a', 2);
    await clock.run(1_100);
    expect(client.rows).toEqual(['a 5', 'a 7']);
  });

  test('tells a fall when it has lasted a whole second, so that polls do not flicker', async () => {
    const { clock, world, open } = setUp();
    const client = open();
    await clock.run(10);
    world.add('polled');
    await clock.run(1_000);
    for (let i = 0; i < 60; i++) {
      world.add('polled', -1);
      await clock.run(1 + ((i * 37) % 90));
      world.add('polled');
      await clock.run(1 + ((i * 53) % 60));
    }
    expect(client.rows).toEqual(['polled 1']);
    const fellMs = clock.nowMs();
    world.add('polled', -1);
    while (client.rows.length === 1) await clock.run(10);
    expect(client.rows).toEqual(['polled 1', 'polled 0']);
    expect(clock.nowMs() - fellMs).toBeGreaterThanOrEqual(990);
    expect(clock.nowMs() - fellMs).toBeLessThan(2_050);
  });

  test('tells only what its client may see', async () => {
    const { clock, world, open } = setUp();
    world.add('org/7/a');
    world.add('org/8/a');
    const client = open({ sees: (name) => name.startsWith('org/7/') });
    world.add('org/8/b');
    world.add('org/7/b');
    await clock.run(2_000);
    expect([...client.known]).toEqual([
      ['org/7/a', 1],
      ['org/7/b', 1],
    ]);
    expect(client.rows).toHaveLength(2);
  });

  test('is written in pieces of a cork, a few a turn, and hears something within an interval', async () => {
    const { clock, world, open } = setUp({ heartbeatMs: 5_000 });
    for (let i = 0; i < 20_000; i++) world.add(`channel-${i}-${'x'.repeat(90)}`);
    const client = open();
    await clock.run(1);
    expect(client.known.size).toBeLessThan(2_500);
    await clock.run(100);
    expect(client.known.size).toBe(20_000);
    expect(client.largestBytes).toBeLessThanOrEqual(CORK_WRITE_BYTES_MAX);
    expect(client.largestBytes).toBeGreaterThan(CORK_WRITE_BYTES_MAX - 200);
    await clock.run(4_950);
    expect(client.heartbeats).toBe(1);
  });
});

describe('a client that takes no bytes', () => {
  test('costs no queue, and goes on where it was when its socket takes the probe', async () => {
    const { clock, counters, world, open, drain } = setUp();
    for (let i = 0; i < 2_000; i++) world.add(`c${i}`);
    const client = open({}, 30_000);
    await clock.run(100);
    expect(client.isRefusing).toBe(true);
    const told = client.rows.length;
    world.add('c0', 4);
    world.add('new');
    await clock.run(3_000);
    // A hint that was wrong: the probe is refused.
    drain(client, 0);
    await clock.run(3_000);
    expect(client.rows).toHaveLength(told);
    drain(client, Infinity);
    await clock.run(100);
    expect(client.known.get('c0')).toBe(5);
    expect(client.known.size).toBe(2_001);
    expect([client.resets, counters.watch_resets_total]).toEqual([1, 0]);
  });

  test('is reset when a channel that it knows was forgotten meanwhile', async () => {
    const { clock, counters, world, open, drain } = setUp();
    for (let i = 0; i <= WATCH_GONE_MAX; i++) world.add(`c${i}`);
    world.add('stays');
    const client = open();
    const other = open();
    await clock.run(1_200);
    client.roomBytes = 0;
    world.add('stays');
    await clock.run(1_200);
    expect(client.isRefusing).toBe(true);
    for (let i = 0; i <= WATCH_GONE_MAX; i++) world.add(`c${i}`, -1);
    await clock.run(3_300);
    expect([...other.known]).toEqual([['stays', 2]]);
    expect(client.known.size).toBe(WATCH_GONE_MAX + 2);
    drain(client, Infinity);
    await clock.run(10);
    expect([...client.known]).toEqual([['stays', 2]]);
    expect([client.resets, other.resets, counters.watch_resets_total]).toEqual([2, 1, 1]);
  });
});

test('when too much changes in one second, everybody is told everything again', async () => {
  const { clock, counters, world, open } = setUp();
  const client = open();
  await clock.run(1_100);
  world.add('stays');
  await clock.run(1_100);
  for (let i = 0; i < WATCH_CHANGES_MAX + 10; i++) {
    world.add('passing');
    world.add(`passing-${i}`);
    world.add(`passing-${i}`, -1);
    world.add('passing', -1);
  }
  world.add('late');
  await clock.run(3_000);
  expect([...client.known.keys()].toSorted()).toEqual(['late', 'stays']);
  expect([client.resets, counters.watch_resets_total]).toEqual([2, 1]);
});

describe('the end', () => {
  test('comes when the credential expires, and in one second of it', async () => {
    const { clock, open, watchers } = setUp();
    const client = open({ endsAtMs: clock.wallMs() + 2_500 });
    const other = open();
    await clock.run(2_400);
    expect(client.end).toBe(undefined);
    await clock.run(1_200);
    expect([client.end, other.end, watchers.count]).toEqual(['expired', undefined, 1]);
  });

  test('comes for the streams of a user, and for all at a drain', async () => {
    const { clock, open, watchers } = setUp();
    const ada = open({ user: 'ada', encoding: NDJSON });
    const bob = open({ user: 'bob' });
    expect(watchers.disconnect('ada', 'revoked')).toBe(1);
    expect(watchers.disconnect('nobody', 'revoked')).toBe(0);
    await clock.run(2);
    expect([ada.end, bob.end]).toEqual(['revoked', undefined]);
    watchers.endAll('draining', () => 1_234);
    expect([bob.end, bob.retryMs, watchers.count]).toEqual(['draining', 1_234, 0]);
  });

  test('leaves nothing behind: nobody is listened for, and no timer runs', async () => {
    const { clock, world, open, watchers } = setUp();
    expect([world.listener, clock.timerCount]).toEqual([undefined, 0]);
    const client = open();
    expect(world.listener).toBeDefined();
    await clock.run(3_000);
    watchers.left(client.handle);
    expect([world.listener, clock.timerCount, watchers.count]).toEqual([undefined, 0, 0]);
    world.add('a');
    const again = open();
    await clock.run(10);
    expect(again.rows).toEqual(['a 1']);
  });
});

test('one more than WATCHERS_MAX is refused, and counted as nothing', () => {
  const { open, watchers, counters } = setUp();
  for (let i = 0; i < WATCHERS_MAX; i++) open();
  expect(() => open()).toThrow(expect.objectContaining({ code: 'HOLDLINE_WATCHERS_FULL' }));
  expect([watchers.count, counters.watchers_opened_total]).toEqual([WATCHERS_MAX, WATCHERS_MAX]);
});

test('one credential has WATCHERS_PER_CREDENTIAL_MAX, and leaves the rest to others', () => {
  const { open } = setUp();
  for (let i = 0; i < WATCHERS_PER_CREDENTIAL_MAX; i++) open({ credential: 'jwt:ada' });
  expect(() => open({ credential: 'jwt:ada' })).toThrow('16 with one credential');
  open({ credential: 'jwt:bob' });
  open();
});

test('a list that is told for long keeps one place for each channel', () => {
  const world = new World();
  world.add('a');
  const counts = new SubscriberCounts(world);
  world.listener = counts;
  counts.read(10);
  for (let i = 0; i < 3_000; i++) {
    world.add('a');
    world.add(`gone-${i}`);
    counts.tick();
    world.add(`gone-${i}`, -1);
    counts.tick();
    counts.tick();
    counts.forget(counts.newest);
  }
  expect(counts.size).toBe(1);
  const told: string[] = [];
  counts.after(0, 10, (name, count) => told.push(`${name} ${count}`) > 0);
  expect(told).toEqual(['a 3001']);
});

const SEEDS = [SEED, SEED + 1, SEED + 2];

test.each(SEEDS)(
  'random lines, clients that stall, leave and come: in the end each knows what is (seed %d)',
  async (seed) => {
    const random = new Random(seed);
    const { clock, world, watchers, open, drain } = setUp();
    const below = (count: number): number => random.below(count);
    let clients: Client[] = [];
    for (let step = 0; step < 600; step++) {
      for (let i = below(200); i > 0; i--) {
        const name = `c${below(below(2) === 0 ? 5 : 400)}`;
        const lines = world.lines.get(name) ?? 0;
        world.add(name, lines > 0 && below(2) === 0 ? -1 : 1);
      }
      if (below(30) === 0 && clients.length < 6)
        clients.push(open({ encoding: below(2) === 0 ? NDJSON : SSE_DATA }, below(20_000)));
      if (below(60) === 0 && clients.length > 0) {
        const [left] = clients.splice(below(clients.length), 1);
        watchers.left((left as Client).handle);
      }
      for (const client of clients)
        if (client.isRefusing && below(4) === 0) drain(client, below(3) === 0 ? 0 : below(20_000));
      await clock.run(below(300));
    }
    for (let i = 0; i < 6; i++) {
      for (const client of clients) drain(client, Infinity);
      await clock.run(1_000);
    }
    for (const client of clients) {
      expect(client.known).toEqual(world.lines);
      expect(client.largestBytes).toBeLessThanOrEqual(CORK_WRITE_BYTES_MAX);
    }
    for (const { handle } of clients) watchers.left(handle);
    expect(clock.timerCount).toBe(0);
    clients = [];
  },
);
