/** All channels by name: what the rings add up to, who goes first when there is no more place, and what the floor remembers. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Channel, Reader, Replay } from '../src/core/channel.js';
import { Channels } from '../src/core/channels.js';
import { SSE } from '../src/core/frame.js';
import { makeCounters } from '../src/counters.js';
import { CHANNELS } from '../src/limits.js';

const MIB = 1024 * 1024;
const ROOMY: Replay = { events: 1000, bytes: MIB };

/** A feed that has been given nothing, or everything. */
function readerUpTo(sweptThrough: number): Reader {
  return { dialect: SSE, readsFrames: true, sweptThrough, isHeldBackBeside: () => false, awaitedThrough: Infinity };
}

class Names {
  readonly counters = makeCounters();
  readonly channels: Channels<Reader>;
  lastId = 0;

  constructor(replay: Replay, replayTotalBytes: number, floor = 0) {
    this.channels = new Channels<Reader>(this.counters, { replay, replayTotalBytes }, floor);
    this.lastId = floor;
  }

  place(name: string): Channel<Reader> {
    const channel = this.channels.place(name);
    if (channel === undefined) throw new Error(`no place for ${name}`);
    return channel;
  }

  publish(name: string, bytes = 10): void {
    const channel = this.place(name);
    const event = { id: ++this.lastId, channel: name, type: undefined, data: Buffer.alloc(bytes, 'x'), json: false };
    this.counters.events_evicted_total += channel.enter(event);
    this.channels.entered(channel);
  }

  /** A line, as far as it matters here. */
  join(name: string): void {
    this.place(name).lineCount++;
  }

  leave(name: string): void {
    this.place(name).lineCount--;
  }
}

describe('rings', () => {
  test('are counted in bytes and by number as they come and go', () => {
    const names = new Names(ROOMY, 256 * MIB);
    names.place('quiet');
    expect([names.channels.count, names.channels.ringCount, names.channels.ringBytes]).toEqual([1, 0, 0]);
    for (const name of ['a', 'b', 'a', 'c', 'a']) names.publish(name, 5000);
    const held = ['a', 'b', 'c'].map((name) => names.place(name));
    expect([names.channels.count, names.channels.ringCount]).toEqual([4, 3]);
    expect(names.channels.ringBytes).toBe(held.reduce((sum, channel) => sum + channel.memoryBytes, 0));
    for (const channel of held) {
      names.channels.dropRing(channel);
      names.channels.dropRing(channel);
    }
    expect([names.channels.count, names.channels.ringCount, names.channels.ringBytes]).toEqual([4, 0, 0]);
    expect(names.counters.events_evicted_total).toBe(5);
    expect(held.map(({ lostThrough }) => lostThrough)).toEqual([5, 2, 4]);
  });

  test('past the total go in the order of last publish, those that lines still need excepted', () => {
    const names = new Names(ROOMY, 40_000);
    for (const name of ['a', 'b', 'c', 'd']) names.publish(name, 5000);
    names.publish('a');
    names.place('b').addFeed(readerUpTo(0));
    expect(names.channels.ringCount).toBe(4);
    const isHeld = (): string => ['a', 'b', 'c', 'd', 'e', 'f'].filter((name) => names.place(name).hasRing).join('');
    names.publish('e', 5000);
    expect(isHeld()).toBe('abde');
    names.publish('f', 5000);
    expect(isHeld()).toBe('abef');
    expect(names.counters.rings_dropped_total).toBe(2);
    expect(names.place('c').lostThrough).toBe(3);
    names.publish('c', 5000);
    expect(isHeld(), 'one that went comes back as the newest').toBe('bcef');
  });

  test('never go for the event that has just entered, nor while lines need all of them', () => {
    const names = new Names(ROOMY, 100);
    names.publish('a', 5000);
    expect(names.place('a').length).toBe(1);
    names.place('a').addFeed(readerUpTo(0));
    names.publish('b', 5000);
    expect([names.place('a').length, names.place('b').length, names.counters.rings_dropped_total]).toEqual([1, 1, 0]);
  });

  test('that keep nothing are bounded all the same, and each is counted once when it goes', () => {
    const names = new Names({ events: 0, bytes: 0 }, 50_000);
    for (let i = 0; i < 1000; i++) names.publish(`c${i}`, 3000);
    expect(names.channels.ringBytes).toBeLessThanOrEqual(50_000);
    expect(names.counters.rings_dropped_total).toBe(1000 - names.channels.ringCount);
    expect(names.counters.events_evicted_total).toBe(1000);
  });

  test('random publishes, drops and lines: what is counted is what is there, and the oldest goes first', () => {
    const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
    const name = fc.constantFrom(...NAMES);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ publish: name, bytes: fc.oneof(fc.nat(100), fc.nat(20_000)) }) },
      { weight: 1, arbitrary: fc.record({ drop: name }) },
      { weight: 1, arbitrary: fc.record({ reader: name }) },
      { weight: 1, arbitrary: fc.record({ unread: name }) },
    );
    const replays = fc.constantFrom<Replay[]>(
      ROOMY,
      { events: 0, bytes: 0 },
      { events: 2, bytes: MIB },
      { events: 100, bytes: 5000 },
    );
    fc.assert(
      fc.property(
        replays,
        fc.constantFrom(5000, 50_000, MIB),
        fc.array(step, { maxLength: 120, size: 'max' }),
        (replay, total, steps) => {
          const names = new Names(replay, total);
          const { channels } = names;
          const all = NAMES.map((one) => names.place(one));
          /** Least recently published first. */
          let order: Channel<Reader>[] = [];
          for (const one of steps) {
            if ('publish' in one) {
              const channel = names.place(one.publish);
              const before = order.filter((other) => other !== channel && other.isSwept);
              names.publish(one.publish, one.bytes);
              order = [...order.filter((other) => other !== channel), channel];
              const kept = before.map((other) => other.hasRing);
              assert.deepEqual(
                kept,
                kept.toSorted((x, y) => Number(x) - Number(y)),
                'the oldest go first',
              );
              if (channels.ringBytes > total) assert.ok(!kept.includes(true), 'over the total though something could go');
            } else if ('drop' in one) {
              channels.dropRing(names.place(one.drop));
            } else if ('reader' in one) {
              const channel = names.place(one.reader);
              if (channel.feeds.length === 0) channel.addFeed(readerUpTo(names.lastId));
            } else {
              const channel = names.place(one.unread);
              const [feed] = channel.feeds;
              if (feed !== undefined) channel.removeFeed(feed);
              channels.recount(channel);
            }
            order = order.filter((channel) => channel.hasRing);
            assert.equal(channels.ringCount, order.length);
            assert.equal(
              channels.ringBytes,
              all.reduce((sum, channel) => sum + channel.memoryBytes, 0),
            );
            const held = all.reduce((sum, channel) => sum + channel.length, 0);
            assert.equal(names.counters.events_evicted_total + held, names.lastId);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a channel', () => {
  test('that was never published to is forgotten with its last line, without a trace', () => {
    const names = new Names(ROOMY, MIB);
    const channel = names.place('a');
    names.join('a');
    names.channels.forgetIfBlank(channel);
    expect(names.channels.get('a')).toBe(channel);
    names.leave('a');
    names.channels.forgetIfBlank(channel);
    expect([names.channels.get('a'), names.channels.floor]).toEqual([undefined, 0]);
    expect(names.counters.channels_forgotten_total).toBe(0);
  });

  test('that has lost something, or was deleted, is not', () => {
    const names = new Names(ROOMY, MIB);
    names.publish('a');
    names.channels.dropRing(names.place('a'));
    names.place('b').isDeleted = true;
    for (const name of ['a', 'b']) names.channels.forgetIfBlank(names.place(name));
    expect(names.channels.count).toBe(2);
  });
});

describe(`${CHANNELS} channels are all there may be`, () => {
  test('the one that was published to longest ago and has no lines is forgotten, and its loss is in the floor', () => {
    const names = new Names(ROOMY, 1024 * MIB);
    for (let i = 0; i < CHANNELS; i++) names.publish(`c${i}`, 1);
    names.publish('c1', 1);
    names.join('c0');
    names.join('c2');
    expect(names.channels.floor).toBe(0);
    names.publish('new', 1);
    expect(['c0', 'c1', 'c2', 'c3', 'c4', 'new'].filter((name) => names.channels.get(name) !== undefined)).toEqual([
      'c0',
      'c1',
      'c2',
      'c4',
      'new',
    ]);
    expect(names.channels.floor).toBe(4);
    names.publish('newer', 1);
    expect([names.channels.get('c4'), names.channels.floor, names.channels.count]).toEqual([undefined, 5, CHANNELS]);
    expect(names.counters.channels_forgotten_total).toBe(2);
    expect(names.channels.ringCount).toBe(CHANNELS);
  });

  test('the bound holds where rings keep nothing, and a name that was forgotten is a new channel', () => {
    const names = new Names({ events: 0, bytes: 0 }, 1024 * MIB);
    for (let i = 0; i < CHANNELS + 50; i++) names.publish(`c${i}`, 1);
    expect([names.channels.count, names.channels.ringCount, names.channels.floor]).toEqual([CHANNELS, CHANNELS, 50]);
    names.publish('c0', 1);
    names.join('c0');
    const again = names.channels.get('c0');
    for (let i = 0; i < 100; i++) names.publish(`d${i}`, 1);
    expect(names.channels.get('c0')).toBe(again);
    expect(names.channels.count).toBe(CHANNELS);
  });

  test('where none holds a ring any without lines goes; where all have lines there is no place', () => {
    const names = new Names(ROOMY, MIB, 77);
    for (let i = 0; i < CHANNELS; i++) names.join(`c${i}`);
    expect(names.channels.place('new')).toBeUndefined();
    expect(names.channels.count).toBe(CHANNELS);
    expect(names.channels.place('c5'), 'a known one has its place').toBeDefined();
    names.leave('c9');
    expect(names.channels.place('new')).toBeDefined();
    expect([names.channels.get('c9'), names.channels.floor, names.channels.count]).toEqual([undefined, 77, CHANNELS]);
  });
});
