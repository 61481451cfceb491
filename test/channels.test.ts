/**
 * All channels by name: what the rings add up to, which goes first when there is no more place, and
 * what is remembered of them.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import type { Channel, Reader } from '../src/core/channel.js';
import type { Replay } from '../src/core/channel-rings.js';
import { Channels, type ChannelsOptions } from '../src/core/channels.js';
import { NDJSON, SSE, SSE_DATA, type Encoding } from '../src/core/frame.js';
import type { Group } from '../src/core/group.js';
import { makeCounters } from '../src/counters.js';
import { CHANNELS_CHECKED_MAX } from '../src/limits.js';

const MIB = 1024 * 1024;
const ROOMY: Replay = { events: 1000, bytes: MIB };

/** A group that has been given nothing, or everything: what its channel asks of it. */
function readerUpTo(sweptThrough: number, encoding: Encoding = SSE): Group {
  const reader: Reader = {
    encoding,
    readsFrames: true,
    sweptThrough,
    soonSweptThrough: sweptThrough,
    readsQueues: false,
    hasOtherQueue: () => false,
    graceThrough: Infinity,
  };
  return reader as Group;
}

class Names {
  readonly counters = makeCounters();
  readonly channels: Channels;
  lastId = 0;

  constructor(
    replay: Replay,
    replayTotalBytes: number,
    bounds: Partial<ChannelsOptions> = {},
    floor = 0,
  ) {
    this.channels = new Channels(this.counters, { replay, replayTotalBytes, ...bounds }, floor);
    this.lastId = floor;
  }

  place(name: string): Channel<Group> {
    const channel = this.channels.place(name);
    if (channel === undefined) throw new Error(`no place for ${name}`);
    return channel;
  }

  publish(name: string, bytes = 10): void {
    this.enter(this.place(name), name, bytes);
  }

  /** An event of that name enters the channel, or is lost without one. */
  enter(channel: Channel<Group> | undefined, name: string, bytes = 10): void {
    this.channels.enter(channel, {
      id: ++this.lastId,
      channel: name,
      type: undefined,
      data: Buffer.alloc(bytes, 'x'),
      json: false,
    });
  }

  delete(channel: Channel<Group>): void {
    this.channels.enter(channel, { id: ++this.lastId, channel: channel.name, isDeletion: true });
  }

  /** A line, as far as it matters here. False when there is no place for it. */
  join(name: string): boolean {
    const channel = this.channels.placeForLine(name);
    if (channel !== undefined) channel.lineCount++;
    return channel !== undefined;
  }

  leave(name: string): void {
    const channel = this.channels.get(name) as Channel<Group>;
    channel.lineCount--;
    this.channels.released(channel);
  }

  /** Its lines have been given everything: a sweep over them is complete. */
  sweep(name: string): void {
    const channel = this.place(name);
    for (const group of channel.groups) Object.assign(group, { sweptThrough: this.lastId });
    this.channels.rings.recount(channel);
  }

  /** Those of the names that are known. */
  known(...all: string[]): string {
    return all.filter((name) => this.channels.get(name) !== undefined).join(' ');
  }

  lost(name: string): number {
    return this.channels.member(name).lostThrough;
  }
}

function recordBytesOf({ rings }: Channel<Group>): number {
  return rings?.recordBytes ?? 0;
}

function frameBytesOf({ rings }: Channel<Group>): number {
  return rings?.frameBytes ?? 0;
}

function bytesOf(channel: Channel<Group>): number {
  return recordBytesOf(channel) + frameBytesOf(channel);
}

describe('rings', () => {
  test('are counted in bytes and by number as they come and go', () => {
    const names = new Names(ROOMY, 256 * MIB);
    names.place('quiet');
    expect([names.channels.count, names.channels.rings.count, names.channels.rings.bytes]).toEqual([
      1, 0, 0,
    ]);
    for (const name of ['a', 'b', 'a', 'c', 'a']) names.publish(name, 5000);
    const held = ['a', 'b', 'c'].map((name) => names.place(name));
    expect([names.channels.count, names.channels.rings.count]).toEqual([4, 3]);
    expect(names.channels.rings.bytes).toBe(
      held.reduce((sum, channel) => sum + bytesOf(channel), 0),
    );
    for (const channel of held) {
      names.channels.rings.drop(channel);
      names.channels.rings.drop(channel);
    }
    expect([names.channels.count, names.channels.rings.count, names.channels.rings.bytes]).toEqual([
      4, 0, 0,
    ]);
    expect(names.counters.events_evicted_total).toBe(5);
    expect(held.map(({ lostThrough }) => lostThrough)).toEqual([5, 2, 4]);
  });

  test('past the total go in the order of last publish, those that lines still need excepted', () => {
    const names = new Names(ROOMY, 40_000);
    for (const name of ['a', 'b', 'c', 'd']) names.publish(name, 5000);
    names.publish('a');
    names.place('b').addGroup(readerUpTo(0));
    expect(names.channels.rings.count).toBe(4);
    const isHeld = (): string =>
      ['a', 'b', 'c', 'd', 'e', 'f']
        .filter((name) => names.place(name).rings !== undefined)
        .join('');
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
    names.place('a').addGroup(readerUpTo(0));
    names.publish('b', 5000);
    expect([
      names.place('a').length,
      names.place('b').length,
      names.counters.rings_dropped_total,
    ]).toEqual([1, 1, 0]);
  });

  test('that keep nothing are bounded all the same, and each is counted once when it goes', () => {
    const names = new Names({ events: 0, bytes: 0 }, 50_000);
    for (let i = 0; i < 1000; i++) names.publish(`c${i}`, 3000);
    expect(names.channels.rings.bytes).toBeLessThanOrEqual(50_000);
    expect(names.counters.rings_dropped_total).toBe(1000 - names.channels.rings.count);
    expect(names.counters.events_evicted_total).toBe(1000);
  });

  test('random publishes, drops and lines: what is counted is what is there, and the oldest goes first', () => {
    const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
    const name = fc.constantFrom(...NAMES);
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ publish: name, bytes: fc.oneof(fc.nat(100), fc.nat(20_000)) }),
      },
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
          let order: Channel<Group>[] = [];
          /**
           * May have been passed over while they were needed: these come before all others, in the
           * order in which they were given free.
           */
          const wereRead = new Set<Channel<Group>>();
          for (const one of steps) {
            if ('publish' in one) {
              const channel = names.place(one.publish);
              const before = order.filter((other) => other !== channel && other.isSwept);
              names.publish(one.publish, one.bytes);
              order = [...order.filter((other) => other !== channel), channel];
              const isKept = before.map((other) => other.rings !== undefined);
              const kept = before
                .filter((other) => !wereRead.has(other))
                .map((other) => other.rings !== undefined);
              assert.deepEqual(
                kept,
                kept.toSorted((x, y) => Number(x) - Number(y)),
                'the oldest go first',
              );
              if (channels.rings.recordBytes > total)
                assert.ok(!isKept.includes(true), 'over the total though something could go');
            } else if ('drop' in one) {
              channels.rings.drop(names.place(one.drop));
            } else if ('reader' in one) {
              const channel = names.place(one.reader);
              if (channel.groups.length === 0) channel.addGroup(readerUpTo(names.lastId));
              wereRead.add(channel);
            } else {
              const channel = names.place(one.unread);
              const [group] = channel.groups;
              if (group !== undefined) channel.removeGroup(group);
              channels.rings.recount(channel);
            }
            order = order.filter((channel) => channel.rings !== undefined);
            assert.equal(channels.rings.count, order.length);
            assert.equal(
              channels.rings.bytes,
              all.reduce((sum, channel) => sum + bytesOf(channel), 0),
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

test('with a group for each line, a sweep over all of them asks each a few times, not each for each', () => {
  const COUNT = 200;
  const names = new Names({ events: 0, bytes: 0 }, MIB);
  const channel = names.place('c');
  let asked = 0;
  const swept: number[] = Array.from({ length: COUNT }, () => 0);
  for (let i = 0; i < COUNT; i++) {
    const group = Object.defineProperty(readerUpTo(0), 'sweptThrough', {
      get() {
        asked++;
        return swept[i];
      },
    });
    channel.addGroup(group);
  }
  for (let id = 1; id <= 3; id++) {
    asked = 0;
    names.publish('c');
    for (let i = 0; i < COUNT; i++) {
      swept[i] = id;
      names.channels.rings.evict(channel);
      const isLast = i === COUNT - 1;
      expect([channel.length, channel.isSwept, channel.hasRoom(MIB)]).toEqual(
        isLast ? [0, true, true] : [1, false, false],
      );
    }
    expect(asked).toBeLessThan(10 * COUNT);
  }
});

describe('rings that were passed over', () => {
  test('go when the sweep that they waited for is over, the ones published longest ago first', () => {
    const names = new Names(ROOMY, 24_000);
    for (const name of ['a', 'b', 'c']) {
      names.publish(name, 5000);
      names.place(name).addGroup(readerUpTo(0));
    }
    const held = (): string =>
      ['a', 'b', 'c', 'd', 'e'].filter((name) => names.place(name).rings !== undefined).join('');
    names.publish('d');
    expect(held(), 'all are needed').toBe('abcd');
    for (const name of ['c', 'b']) names.sweep(name);
    names.publish('d');
    expect(held()).toBe('acd');
    names.sweep('a');
    names.publish('e', 5000);
    expect(held()).toBe('cde');
    expect([names.channels.rings.count, names.counters.rings_dropped_total]).toEqual([3, 2]);
  });

  test('cost no walk for each publish', () => {
    const names = new Names(ROOMY, 100);
    let looks = 0;
    const unswept = Object.defineProperty(readerUpTo(0), 'sweptThrough', {
      get() {
        looks++;
        return 0;
      },
    });
    for (let i = 0; i < 100; i++) {
      names.publish(`c${i}`);
      names.place(`c${i}`).addGroup(unswept);
    }
    looks = 0;
    for (let i = 0; i < 100; i++) names.publish('new');
    expect(looks, 'the one that was the newest before, and none again').toBeLessThanOrEqual(1);
  });
});

describe('frames', () => {
  /** A line of that encoding has come and is given everything at once. */
  function read(names: Names, name: string, encoding: Encoding): void {
    names.place(name).addGroup(readerUpTo(Infinity, encoding));
  }

  test('never cost a history, however many encodings are read; they go themselves, those that were not used for longest first', () => {
    const names = new Names(ROOMY, 100_000);
    for (let i = 0; i < 10; i++) {
      for (const encoding of [SSE, NDJSON]) read(names, `c${i}`, encoding);
      names.publish(`c${i}`, 5000);
    }
    expect(names.channels.rings.recordBytes).toBeLessThan(100_000);
    names.publish('c9', 10);
    expect(names.counters.rings_dropped_total).toBe(0);
    expect(names.channels.rings.count).toBe(10);
    expect(names.channels.rings.frameBytes).toBeLessThanOrEqual(100_000);
    expect(names.counters.frames_dropped_total).toBeGreaterThan(0);
    const framed = Array.from({ length: 10 }, (_, i) => frameBytesOf(names.place(`c${i}`)) > 0);
    expect(framed, 'the last ones read have theirs').toEqual(
      framed.toSorted((x, y) => Number(x) - Number(y)),
    );
    expect(framed[9]).toBe(true);
    const c0 = names.place('c0');
    expect(c0.frameAt(c0.endSeq(false) - 1, SSE)?.length, 'made again on need').toBeGreaterThan(
      5000,
    );
  });

  test('are shared by encodings with the same frames: they go with the last group of either', () => {
    const names = new Names(ROOMY, 100_000);
    const channel = names.place('c');
    const readers = [readerUpTo(Infinity, SSE), readerUpTo(Infinity, SSE_DATA)];
    for (const reader of readers) channel.addGroup(reader);
    names.publish('c', 5000);
    const bytes = frameBytesOf(channel);
    expect(bytes, 'one frame, not two').toBeLessThan(5000 * 2);
    channel.removeGroup(readers[0]!);
    expect(frameBytesOf(channel)).toBe(bytes);
    channel.removeGroup(readers[1]!);
    expect(frameBytesOf(channel)).toBe(0);
  });

  test('that a healthy line needs stay, and go after its sweep', () => {
    const names = new Names(ROOMY, 20_000);
    names.place('a').addGroup(readerUpTo(0));
    names.publish('a', 5000);
    for (const name of ['b', 'c']) {
      read(names, name, SSE);
      names.publish(name, 5000);
    }
    const framed = (): string =>
      ['a', 'b', 'c', 'd'].filter((name) => frameBytesOf(names.place(name)) > 0).join('');
    expect(framed()).toBe('ac');
    names.sweep('a');
    read(names, 'd', SSE);
    names.publish('d', 5000);
    expect(framed()).toBe('cd');
    expect(names.channels.rings.frameBytes).toBe(
      bytesOf(names.place('c')) +
        bytesOf(names.place('d')) -
        names.channels.rings.recordBytes +
        recordBytesOf(names.place('b')) +
        recordBytesOf(names.place('a')),
    );
  });
});

describe('a channel', () => {
  test('that was never published to is forgotten with its last line, without a trace', () => {
    const names = new Names(ROOMY, MIB);
    for (const _ of [1, 2]) names.join('a');
    names.leave('a');
    expect([names.known('a'), names.channels.ofReadersCount]).toEqual(['a', 1]);
    names.leave('a');
    expect([
      names.known('a'),
      names.channels.count,
      names.channels.ofReadersCount,
      names.lost('a'),
    ]).toEqual(['', 0, 0, 0]);
    expect(names.counters.channels_forgotten_total).toBe(0);
  });

  test('that was to be published to and never was is forgotten in the same mode, and not before the publish is over', () => {
    const names = new Names(ROOMY, MIB);
    const channel = names.place('a');
    channel.share.heldBytes = 1;
    names.join('a');
    names.leave('a');
    expect(names.known('a')).toBe('a');
    channel.share.heldBytes = 0;
    names.channels.released(channel);
    names.channels.released(channel);
    expect([names.known('a'), names.channels.count]).toEqual(['', 0]);
  });

  test('without a ring is unread again when the log has lost its place: what it kept may fit', () => {
    for (const name of ['a', undefined]) {
      const names = new Names(ROOMY, MIB);
      names.channels.begin(0, true);
      names.join('a');
      names.channels.refill('a', 0, { events: [], through: 0, lostThrough: 0 });
      expect(names.channels.isUnread('a')).toBe(false);
      names.channels.missed(50, name);
      expect(names.channels.isUnread('a')).toBe(true);
    }
  });

  test('that has lost something, or was deleted, is not', () => {
    const names = new Names(ROOMY, MIB);
    names.publish('a');
    names.channels.rings.drop(names.place('a'));
    names.join('b');
    names.delete(names.place('b'));
    names.leave('b');
    for (const name of ['a', 'b']) names.channels.released(names.place(name));
    expect([names.channels.count, names.place('b').isDeleted]).toEqual([2, true]);
  });

  test('that is not known has lost what is remembered of it, below the floor where nothing is', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 1 }, 77);
    names.publish('a');
    names.publish('b');
    expect(['a', 'b', 'c'].map((name) => names.lost(name))).toEqual([78, 77, 77]);
    names.lastId = 89;
    names.enter(undefined, 'c');
    expect(names.lost('c')).toBe(90);
    names.publish('a');
    expect(names.lost('a'), 'the row that is made again knows it').toBe(78);
    const absent = names.channels.member('b');
    expect([absent.newestId, absent.newestCommittedId, absent.endSeq(true)]).toEqual([0, 0, 0]);
  });
});

describe('names that only lines hold', () => {
  test('have a bound of their own and displace nothing; who is refused leaves no trace', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 3, readerChannelsMax: 2 });
    for (const name of ['a', 'b', 'c']) names.publish(name);
    expect(['x', 'y', 'z'].map((name) => names.join(name))).toEqual([true, true, false]);
    expect(names.join('a'), 'one that was published to costs no place').toBe(true);
    expect(names.known('a', 'b', 'c', 'x', 'y', 'z')).toBe('a b c x y');
    expect(names.counters).toMatchObject({
      channels_forgotten_total: 0,
      reader_channels_refused_total: 1,
    });
    names.leave('x');
    expect(names.join('z')).toBe(true);
  });

  test('count among the published ones from their first publish on, and make place', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 2, readerChannelsMax: 1 });
    names.join('x');
    for (const name of ['a', 'b', 'x']) names.publish(name);
    expect([names.known('a', 'b', 'x'), names.channels.ofReadersCount]).toEqual(['b x', 0]);
    expect(names.join('y')).toBe(true);
    names.join('b');
    expect(names.channels.place('y'), 'both published ones have lines').toBeUndefined();
    expect(names.counters.channels_refused_total).toBe(1);
    expect(names.known('y'), 'its line stays').toBe('y');
  });

  test('are given what was accepted already, and may be deleted, past the bound', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 1 });
    names.publish('a');
    names.join('a');
    for (const name of ['x', 'y']) names.join(name);
    const [x, y] = ['x', 'y'].map((name) => names.channels.get(name) as Channel<Group>) as [
      Channel<Group>,
      Channel<Group>,
    ];
    names.enter(x, 'x');
    names.delete(y);
    expect([names.channels.count, names.channels.ofReadersCount, x.length, y.isDeleted]).toEqual([
      3,
      0,
      1,
      true,
    ]);
    expect(names.channels.place('new')).toBeUndefined();
    names.leave('x');
    names.leave('y');
    expect(names.known('a', 'x', 'y'), 'one goes with the last line of each').toBe('a');
    expect([names.lost('x'), names.counters.channels_forgotten_total]).toEqual([2, 2]);
  });

  test('that another process publishes to, or that the log keeps events of, keep the bound when their lines have left', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 3 }, 1000);
    names.channels.begin(1000, true);
    for (let i = 0; i < 40; i++) {
      const name = `c${i}`;
      names.join(name);
      if (i % 2 === 0) {
        names.enter(names.channels.get(name), name);
      } else {
        const through = names.lost(name);
        const event = { channel: name, type: undefined, data: Buffer.from('x'), json: false };
        const events = [{ ...event, id: i }];
        names.channels.refill(name, through, { events, through, lostThrough: 0 });
      }
      expect(names.channels.get(name)?.length).toBe(1);
      names.leave(name);
      expect(names.channels.count - names.channels.ofReadersCount).toBeLessThanOrEqual(3);
    }
    expect(names.known('c37', 'c38', 'c39')).toBe('c37 c38 c39');
  });

  test('go with their last line when they were told of a loss, which is remembered', () => {
    const names = new Names(ROOMY, MIB, { readerChannelsMax: 2 });
    names.channels.begin(0, true);
    for (const [lost, name] of [
      [50, undefined],
      [60, 'a'],
    ] as const) {
      for (const one of ['a', 'b']) expect(names.join(one)).toBe(true);
      names.channels.missed(lost, name);
      for (const one of ['a', 'b']) names.leave(one);
      expect([names.channels.count, names.channels.ofReadersCount]).toEqual([0, 0]);
    }
    expect([names.lost('a'), names.lost('b')]).toEqual([60, 50]);
  });
});

describe('when no more channels may be', () => {
  test('the one that was published to longest ago and has no lines is forgotten, and what it lost is remembered', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 6 });
    for (let i = 0; i < 6; i++) names.publish(`c${i}`, 1);
    names.publish('c1', 1);
    names.join('c0');
    names.join('c2');
    names.publish('new', 1);
    expect(names.known('c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'new')).toBe('c0 c1 c2 c4 c5 new');
    names.publish('newer', 1);
    expect(names.known('c0', 'c1', 'c2', 'c4', 'c5', 'new', 'newer')).toBe('c0 c1 c2 c5 new newer');
    expect(['c0', 'c1', 'c3', 'c4', 'never'].map((name) => names.lost(name))).toEqual([
      0, 0, 4, 5, 0,
    ]);
    expect([names.channels.floor, names.channels.count, names.channels.rings.count]).toEqual([
      0, 6, 6,
    ]);
    expect(names.counters).toMatchObject({
      channels_forgotten_total: 2,
      losses_forgotten_total: 0,
      events_evicted_total: 2,
    });
  });

  test('those that were passed over for their lines are the next to go when these have left, before newer ones', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 4 });
    for (const name of ['a', 'b', 'c', 'd']) names.publish(name);
    for (const name of ['a', 'b']) names.join(name);
    names.publish('e');
    expect(names.known('a', 'b', 'c', 'd', 'e')).toBe('a b d e');
    names.leave('b');
    names.publish('f');
    expect(names.known('a', 'b', 'd', 'e', 'f')).toBe('a d e f');
    names.publish('a');
    names.leave('a');
    names.publish('g');
    expect(
      names.known('a', 'd', 'e', 'f', 'g'),
      'one that is published to is the newest, passed over or not',
    ).toBe('a e f g');
  });

  test('those without a ring go first, in their order, and cost no history; recent ones do not push it out', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 5 });
    for (const name of ['a', 'b', 'c', 'd', 'e']) names.publish(name);
    for (const name of ['e', 'c']) names.channels.rings.drop(names.place(name));
    names.join('e');
    names.publish('f');
    expect(names.known('a', 'b', 'c', 'd', 'e', 'f')).toBe('a b d e f');
    names.leave('e');
    names.publish('g');
    expect(names.known('a', 'b', 'd', 'e', 'f', 'g')).toBe('a b d f g');
    expect([names.lost('e'), names.lost('c'), names.channels.floor]).toEqual([5, 3, 0]);
  });

  test('where all have lines there is no place, and no walk over all of them for each who asks', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 1000 });
    let looks = 0;
    for (let i = 0; i < 1000; i++) {
      names.publish(`c${i}`, 1);
      names.join(`c${i}`);
      Object.defineProperty(names.place(`c${i}`), 'isHeld', { get: () => (looks++, true) });
    }
    expect(names.channels.place('new')).toBeUndefined();
    expect(looks).toBe(1000);
    for (let i = 0; i < 1000; i++) expect(names.channels.place('new')).toBeUndefined();
    expect(looks).toBe(1000);
    expect(names.channels.place('c5'), 'a known one has its place').toBeDefined();
    expect([names.channels.count, names.counters.channels_refused_total]).toEqual([1000, 1001]);
  });

  test('only publishes count as refused, and not what the log has for a name without a place', () => {
    const names = new Names(ROOMY, MIB, { channelsMax: 1 });
    const { channels, counters } = names;
    channels.begin(0, true);
    names.publish('a');
    names.join('a');
    const event = { id: 1, channel: 'b', type: undefined, data: Buffer.from('x'), json: false };
    expect(channels.placeOf(event)).toBeUndefined();
    channels.refill('b', 0, { events: [event], through: 0, lostThrough: -1 });
    expect(counters.channels_refused_total).toBe(0);
    expect(channels.place('b')).toBeUndefined();
    expect(counters.channels_refused_total).toBe(1);
  });

  test('one search looks at so many and no more; the next goes on behind them', () => {
    const names = new Names(ROOMY, 1024 * MIB, { channelsMax: 2 * CHANNELS_CHECKED_MAX + 1 });
    for (let i = 0; i <= 2 * CHANNELS_CHECKED_MAX; i++) {
      names.publish(`c${i}`, 1);
      if (i < 2 * CHANNELS_CHECKED_MAX) names.join(`c${i}`);
    }
    expect([names.channels.place('new'), names.channels.place('new')]).toEqual([
      undefined,
      undefined,
    ]);
    expect(names.channels.place('new')).toBeDefined();
    expect(names.lost(`c${2 * CHANNELS_CHECKED_MAX}`)).toBe(2 * CHANNELS_CHECKED_MAX + 1);
  });

  describe('a publish that came to nothing', () => {
    test('keeps no channel: the one that it was for may be forgotten', () => {
      const names = new Names(ROOMY, MIB, { channelsMax: 1 });
      names.publish('a');
      const { share } = names.place('a');
      share.heldBytes = 1;
      expect(names.channels.place('b'), 'it is under way').toBeUndefined();
      share.heldBytes = 0;
      names.publish('b');
      expect([names.known('a', 'b'), names.lost('a')]).toEqual(['b', 1]);
    });

    test.each([
      ['an event', false],
      ['none', true],
    ])('keeps none that had lines when it began, with %s in its ring', (_held, isDropped) => {
      const names = new Names(ROOMY, MIB, { channelsMax: 1 });
      names.publish('a');
      names.join('a');
      const channel = names.place('a');
      if (isDropped) names.channels.rings.drop(channel);
      channel.share.heldBytes = 1;
      expect(names.channels.place('b'), 'it has lines').toBeUndefined();
      names.leave('a');
      expect(names.channels.place('b'), 'it is under way').toBeUndefined();
      channel.share.heldBytes = 0;
      names.publish('b');
      expect([names.known('a', 'b'), names.lost('a')]).toEqual(['b', 1]);
    });
  });

  test('the bound holds where rings keep nothing, and a name that was forgotten is a new channel that knows its loss', () => {
    const names = new Names({ events: 0, bytes: 0 }, 1024 * MIB, {
      channelsMax: 100,
      lostChannelsMax: 100,
    });
    for (let i = 0; i < 150; i++) names.publish(`c${i}`, 1);
    expect([
      names.channels.count,
      names.channels.rings.count,
      names.lost('c0'),
      names.channels.floor,
    ]).toEqual([100, 100, 1, 0]);
    names.publish('c0', 1);
    names.join('c0');
    const again = names.channels.get('c0');
    for (let i = 0; i < 100; i++) names.publish(`d${i}`, 1);
    expect(names.channels.get('c0')).toBe(again);
    expect(again?.lostThrough, 'evicted for the replay of nothing').toBe(151);
    expect(names.channels.count).toBe(100);
    expect(names.counters.losses_forgotten_total, '151 names and room for 100').toBe(51);
    expect(names.channels.floor).toBeGreaterThan(0);
  });

  test('random publishes, drops, deletions and lines: the bounds hold, no loss is silent, none is told that was not', () => {
    const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const name = fc.constantFrom(...NAMES);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('publish' as const), name }) },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constantFrom('join' as const, 'leave' as const, 'sweep' as const),
          name,
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'delete' as const), name }),
      },
    );
    const bounds = fc.record({
      channelsMax: fc.integer({ min: 1, max: 6 }),
      readerChannelsMax: fc.integer({ min: 0, max: 4 }),
      lostChannelsMax: fc.integer({ min: 1, max: 10 }),
    });
    fc.assert(
      fc.property(
        bounds,
        fc.constantFrom(6000, MIB),
        fc.array(step, { maxLength: 150, size: 'max' }),
        (options, total, steps) => {
          const names = new Names(ROOMY, total, options);
          const { channels, counters } = names;
          /** By name: lines, ids of all events, and the highest that was dropped on purpose. */
          const lines = new Map<string, number>(NAMES.map((one) => [one, 0]));
          const events = new Map<string, number[]>(NAMES.map((one) => [one, []]));
          const dropped = new Map<string, number>(NAMES.map((one) => [one, 0]));
          for (const { kind, name: one } of steps) {
            const known = channels.get(one);
            const ofReaders = NAMES.filter((other) => channels.get(other)?.isOfReaders);
            const before = NAMES.filter((other) => channels.get(other)?.isOfReaders === false);
            const wasHeld = before.every((other) => lines.get(other)! > 0);
            if (kind === 'publish') {
              const place = channels.place(one);
              const isFull =
                (known === undefined || known.isOfReaders) &&
                before.length >= options.channelsMax &&
                wasHeld;
              assert.equal(place === undefined, isFull && !before.includes(one));
              // isOfReaders may have been changed by then; what was published to is known by
              // `before`.
              if (place === undefined) continue;
              names.publish(one, 1000);
              events.get(one)!.push(names.lastId);
            } else if (kind === 'join') {
              const isFull = known === undefined && ofReaders.length >= options.readerChannelsMax;
              assert.equal(names.join(one), !isFull);
              if (!isFull) lines.set(one, lines.get(one)! + 1);
              assert.deepEqual(
                NAMES.filter((other) => channels.get(other)?.isOfReaders === false),
                before,
                'a line displaces nothing',
              );
            } else if (kind === 'leave') {
              if (lines.get(one) === 0) continue;
              lines.set(one, lines.get(one)! - 1);
              names.leave(one);
            } else if (known !== undefined && kind === 'sweep') {
              channels.rings.recount(known);
            } else if (known !== undefined) {
              if (kind === 'drop') channels.rings.drop(known);
              else names.delete(known);
              dropped.set(one, events.get(one)!.at(-1) ?? 0);
            }
            let published = 0;
            let unheld = 0;
            let rings = 0;
            for (const other of NAMES) {
              const channel = channels.get(other);
              if (channel?.isOfReaders === false) {
                published++;
                if (lines.get(other) === 0) unheld++;
              }
              if (channel?.rings !== undefined) rings++;
              assert.ok(
                channel !== undefined || lines.get(other) === 0,
                'no channel with lines is forgotten',
              );
              const lost = names.lost(other);
              const held = new Set<number>();
              for (
                let id = channel?.alone.firstIdAfter(0);
                id !== undefined;
                id = channel?.alone.firstIdAfter(id)
              )
                held.add(id);
              const missing = events.get(other)!.findLast((id) => !held.has(id)) ?? 0;
              assert.ok(lost >= missing, `${other} has lost ${missing} and tells ${lost}`);
              if (counters.losses_forgotten_total === 0)
                assert.equal(lost, missing, `${other} tells ${lost}`);
              else assert.ok(lost <= Math.max(missing, channels.floor));
              if (counters.channels_forgotten_total + counters.rings_dropped_total === 0)
                assert.equal(missing, dropped.get(other));
            }
            assert.ok(published <= options.channelsMax || unheld === 0);
            assert.equal(channels.rings.count, rings);
            assert.equal(
              channels.count,
              NAMES.filter((other) => channels.get(other) !== undefined).length,
            );
            assert.equal(channels.ofReadersCount, channels.count - published);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
