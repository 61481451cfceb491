/** What differs by channel: how much it keeps, for how long, and what its slow lines get. */
import { describe, expect, test } from 'vitest';
import { ChannelPolicies } from '../src/core/channel-policies.js';
import { EntryAges } from '../src/core/entry-ages.js';
import { NDJSON } from '../src/core/frame.js';
import { Hub, type HubOptions } from '../src/core/hub.js';
import { NOBODY } from '../src/core/owners.js';
import type { DeliveryMode, LinePort } from '../src/core/ports.js';
import { LIVE, type Position } from '../src/core/position.js';
import { strictest } from '../src/core/slow-policy.js';
import { makeCounters } from '../src/counters.js';
import { AGE_STEPS } from '../src/limits.js';
import { MemoryLog } from '../src/log/memory-log.js';
import { resolveOptions } from '../src/options/settings.js';
import { FakeClock } from './support/fake-clock.js';

const AGE_MS = 64_000;
const OLDEST: Position = { kind: 'after', id: 0 };

class World {
  readonly clock = new FakeClock();
  readonly counters = makeCounters();
  readonly hub: Hub<object>;
  /** Sockets that take no more bytes. */
  readonly stuck = new Set<object>();
  /** What each socket was written, and whether it was ended. */
  readonly written = new Map<object, string>();
  readonly mode: DeliveryMode<object>;

  constructor(options: Partial<HubOptions>) {
    const log = new MemoryLog(this.clock, this.counters, 1);
    this.hub = new Hub<object>(log, this.clock, this.counters, {
      replay: { events: 1000, bytes: 1e6 },
      replayTotalBytes: 1e7,
      heartbeatMs: 1e6,
      flushIntervalMs: 0,
      slow: 'gap',
      ...options,
    });
    const write = (socket: object, bytes: Uint8Array): boolean => {
      this.written.set(socket, (this.written.get(socket) ?? '') + Buffer.from(bytes).toString());
      return !this.stuck.has(socket);
    };
    const port: LinePort<object> = { kind: 'message', write, end: write, unsentBytes: () => 0 };
    this.mode = { transport: 'websocket', encoding: NDJSON, port };
  }

  async publish(channel: string, data = 'x'): Promise<number> {
    const event = { channel, type: undefined, data: Buffer.from(data), json: false };
    const published = this.hub.publish(channel, [event]);
    await this.clock.run(3);
    return (await published).ids[0]!;
  }

  join(
    channels: readonly string[],
    position: Position = LIVE,
  ): { socket: object; handle: number; opening: string } {
    const socket = {};
    const { handle, opening } = this.hub.join(socket, channels, this.mode, position, 0, NOBODY);
    return { socket, handle, opening: opening.toString() };
  }

  /** Ids that a client is replayed which comes now, and the end of the gap that it is told. */
  async replayed(
    channel: string,
    position: Position = OLDEST,
  ): Promise<{ ids: number[]; gap: unknown }> {
    const { socket, handle, opening } = this.join([channel], position);
    await this.clock.run(5);
    const lines = `${opening}${this.written.get(socket) ?? ''}`
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { id?: number; gap?: unknown });
    this.hub.left(handle, socket);
    return {
      ids: lines.flatMap(({ id }) => id ?? []),
      gap: lines.find(({ gap }) => gap !== undefined)?.gap,
    };
  }
}

describe('the policy of a channel', () => {
  const common = { replay: { events: 10, bytes: 1000 }, slow: 'gap' } as const;
  const policies = new ChannelPolicies(common, [
    { channels: 'tick-*', replayEvents: 1, slow: 'latest' },
    { channels: 'org/**', replayAge: 5000 },
    { channels: '**', replayBytes: 7 },
  ]);

  test('is the first that matches, alone', () => {
    const ages = { ageMs: undefined };
    expect(policies.of('tick-1')).toMatchObject({
      replay: { events: 1, bytes: 1000, ...ages },
      slow: 'latest',
    });
    expect(policies.of('org/7/alerts')).toMatchObject({
      replay: { events: 10, bytes: 1000, ageMs: 5000 },
      slow: 'gap',
    });
    expect(policies.of('else')).toMatchObject({ replay: { events: 10, bytes: 7, ...ages } });
    expect(policies.of('tick-2')).toBe(policies.of('tick-1'));
    expect(new ChannelPolicies(common, []).of('tick-1')).toBe(common);
  });

  test('may not keep more than all channels do', () => {
    const given = { policies: [{ channels: 'a', replayBytes: 2 ** 30 }] };
    expect(() => resolveOptions(given)).toThrow(
      /^policies: replayBytes of "a" must be at most replayTotalBytes of all \(got 1GiB and 256MiB\)$/,
    );
  });

  test('bounds events and bytes by channel, and a new one is for channels made from then on', async () => {
    const world = new World({
      policies: [
        { channels: 'few', replayEvents: 2 },
        // A record of ten bytes takes 13.
        { channels: 'small', replayBytes: 40 },
      ],
    });
    for (const channel of ['few', 'small', 'other'])
      for (let i = 0; i < 5; i++) await world.publish(channel, 'y'.repeat(10));
    expect(['few', 'small', 'other'].map((name) => world.hub.channels.get(name)?.length)).toEqual([
      2, 3, 5,
    ]);
    world.hub.channels.usePolicies([{ channels: '**', replayEvents: 1 }]);
    for (let i = 0; i < 5; i++) {
      await world.publish('few');
      await world.publish('new');
    }
    expect(['few', 'new'].map((name) => world.hub.channels.get(name)?.length)).toEqual([2, 1]);
  });
});

describe('events that are too old', () => {
  const policies = [{ channels: 'a', replayAge: AGE_MS }];

  test('are not replayed to a client that comes, which is told the gap that it has', async () => {
    const world = new World({ policies });
    const first = await world.publish('a');
    const second = await world.publish('a');
    world.clock.pass(AGE_MS / 2);
    const third = await world.publish('a');
    expect((await world.replayed('a')).ids).toEqual([first, second, third]);
    world.clock.pass(AGE_MS / 2);
    // Who has seen both misses nothing; who has seen the first only has missed the second.
    expect(await world.replayed('a', { kind: 'after', id: second })).toEqual({
      ids: [third],
      gap: undefined,
    });
    expect(await world.replayed('a', { kind: 'after', id: first })).toEqual({
      ids: [third],
      gap: { after: first, before: third },
    });
    expect((await world.replayed('a', { kind: 'last', count: 10 })).ids).toEqual([third]);
    expect(world.counters.events_evicted_total).toBe(2);
    world.clock.pass(AGE_MS);
    expect(await world.replayed('a', { kind: 'after', id: third })).toEqual({
      ids: [],
      gap: undefined,
    });
    expect((await world.replayed('a', { kind: 'after', id: second })).gap).toMatchObject({
      after: second,
    });
    expect(world.hub.channels.get('a')?.length).toBe(0);
  });

  test('go when another one enters, and from the answers to polls', async () => {
    const world = new World({ policies });
    const first = await world.publish('a');
    world.clock.pass(AGE_MS);
    const polled = (id: number) => world.hub.polls.find(['a'], { kind: 'after', id }, 10);
    expect(polled(0).answer?.events).toBeUndefined();
    expect(polled(first).start.gap).toBeUndefined();
    await world.publish('a');
    world.clock.pass(AGE_MS);
    await world.publish('a');
    expect(world.hub.channels.get('a')?.length).toBe(1);
  });

  test('stay while a healthy line that is in grace has not been given them', async () => {
    const world = new World({ policies: [{ channels: 'a', replayAge: 20 }] });
    const { socket, handle } = world.join(['a']);
    world.stuck.add(socket);
    await world.publish('a');
    const unread = await world.publish('a');
    world.clock.pass(30);
    const held = world.hub.channels.get('a')!;
    world.hub.channels.expire(['a']);
    expect(held.length).toBe(1);
    world.stuck.delete(socket);
    world.hub.drained(handle, socket);
    await world.clock.run(5);
    expect(world.written.get(socket)).toContain(`"id":${unread}`);
    expect(world.counters.gaps_total).toBe(0);
    world.hub.channels.expire(['a']);
    expect(held.length).toBe(0);
  });

  test('elsewhere are replayed however old', async () => {
    const world = new World({ policies });
    const id = await world.publish('b');
    world.clock.pass(1000 * AGE_MS);
    expect((await world.replayed('b')).ids).toEqual([id]);
  });
});

describe('ages', () => {
  test('are exact to a step, early and never late, in bounded memory', () => {
    const ages = new EntryAges(AGE_MS);
    const stepMs = AGE_MS / AGE_STEPS;
    const enteredMs: number[] = [0];
    let nowMs = 0;
    for (let id = 1; id <= 5000; id++) {
      nowMs += (id % 7) * (stepMs / 10);
      enteredMs[id] = nowMs;
      ages.entered(id, nowMs);
      const through = ages.expiredThrough(nowMs);
      // None that is too old stays, and none goes more than a step early.
      expect(nowMs - (enteredMs[through + 1] ?? nowMs)).toBeLessThan(AGE_MS);
      if (through > 0) expect(nowMs - enteredMs[through]!).toBeGreaterThan(AGE_MS - stepMs);
    }
    expect(ages.expiredThrough(nowMs + AGE_MS)).toBe(5000);
  });
});

describe('slow lines', () => {
  test('on several channels get the strictest policy', () => {
    expect(strictest(['gap', 'latest', 'gap'])).toBe('latest');
    expect(strictest(['close', 'latest'])).toBe('close');
    expect(strictest([])).toBe('gap');
  });

  test.each([
    [['plain'], 'gap'],
    [['ends'], 'close'],
    [['plain', 'newest'], 'latest'],
    [['ends', 'newest'], 'close'],
  ] as const)('on %j: %s', async (channels, policy) => {
    const world = new World({
      replay: { events: 2, bytes: 1e6 },
      policies: [
        { channels: 'ends', slow: 'close' },
        { channels: 'newest', slow: 'latest' },
      ],
    });
    const { socket, handle } = world.join(channels);
    world.stuck.add(socket);
    await world.publish(channels[0]);
    // Its grace is over, and the ring moves past it.
    await world.clock.run(3000);
    for (let i = 0; i < 6; i++) await world.publish(channels[0]);
    await world.clock.run(3000);
    world.stuck.delete(socket);
    world.hub.drained(handle, socket);
    await world.clock.run(10);
    const {
      slow_closed_total: closed,
      slow_latest_total: latest,
      gaps_slow_total: gaps,
    } = world.counters;
    expect({ closed, latest, gaps }).toEqual({
      closed: Number(policy === 'close'),
      latest: Number(policy === 'latest'),
      gaps: Number(policy !== 'close'),
    });
  });
});
