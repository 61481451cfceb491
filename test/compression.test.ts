/**
 * Compressed lines of a hub: who shares whose bytes, what is compressed when time or room is short,
 * and what an operator is shown of it. What lines decode is checked by node:zlib.
 */
import { describe, expect, test } from 'vitest';
import { withRatio } from '../src/core/channel-compression.js';
import { CompressedSlices } from '../src/core/compressed-slices.js';
import { compressedLines } from '../src/core/compressed-lines.js';
import { Compressor } from '../src/core/compressor.js';
import { SSE } from '../src/core/frame.js';
import type { Group } from '../src/core/group.js';
import type { Position } from '../src/core/position.js';
import { Ring } from '../src/core/ring.js';
import { makeCounters, type CounterName } from '../src/counters.js';
import {
  COMPRESS_CREDIT_MS_MAX,
  COMPRESS_DEBT_MS_MAX,
  COMPRESS_TIME_SHARE,
  COMPRESS_KEPT_BYTES_MAX,
  COMPRESS_SHARED_LINES,
  COMPRESS_VARIANTS_MAX,
  IN_STEP_LOOKUPS_MAX,
} from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';
import { FakeHub, ids, idsOf, type FakeLine } from './support/fake-hub.js';
import { KeepingLog, KeepingStore } from './support/keeping-log.js';
import { Random } from './support/random.js';
import { ticks } from './support/ticks.js';

const MIB = 1024 * 1024;
const START: Position = { kind: 'after', id: 0 };
/** Events that fill a dictionary. */
const FILLING = 50;

/** A hub whose channel `c` is given market ticks. */
class Feed extends FakeHub {
  readonly #next = ticks(1);

  joinGzip(position?: Parameters<FakeHub['join']>[1]): FakeLine {
    return this.join('c', position, Infinity, 'sse-gzip');
  }

  /** Each in a turn of its own, so that it is a block of its own. */
  async tick(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.publish('c', this.#next());
      await this.clock.turn();
    }
  }

  /** One publish that a sweep brings to all lines; returns what was counted meanwhile. */
  async counted(data = this.#next()): Promise<Record<'blocks' | 'refused' | 'written', number>> {
    const { counters } = this;
    const blocks = counters.compress_blocks_total;
    const refused = counters.compress_refused_total;
    const written = counters.written_bytes_total;
    await this.publish('c', data);
    await this.clock.turn();
    return {
      blocks: counters.compress_blocks_total - blocks,
      refused: counters.compress_refused_total - refused,
      written: counters.written_bytes_total - written,
    };
  }

  /** Uses up the compressor's share of the time. */
  exhaust(): void {
    const { compressor } = this.hub;
    const zeros = Buffer.alloc(MIB);
    for (let i = 0; compressor.hasTime && i < COMPRESS_CREDIT_MS_MAX; i++)
      compressor.deflate(zeros, undefined);
    expect(compressor.hasTime).toBe(false);
  }

  get inStep(): readonly [inStep: number, lines: number] {
    const { inStep, lines } = this.hub.figures.compressedLines();
    return [inStep, lines];
  }
}

describe('in step', () => {
  test('is a line that has been given what the dictionary has, which one that joins in the middle is soon', async () => {
    const fake = new Feed();
    const first = fake.joinGzip();
    fake.join('c');
    expect(fake.inStep).toEqual([1, 1]);
    await fake.tick(FILLING);
    const second = fake.joinGzip();
    expect(fake.inStep).toEqual([1, 2]);
    await fake.tick(5);
    expect(fake.inStep).toEqual([1, 2]);
    expect((await fake.counted()).blocks, 'one for each').toBe(2);
    await fake.tick(FILLING);
    expect(fake.inStep).toEqual([2, 2]);
    expect((await fake.counted()).blocks, 'one for both').toBe(1);
    await fake.settle(first, second);
    expect(idsOf(first.text)).toEqual(ids(1, 2 * FILLING + 7));
    expect(idsOf(second.text)).toEqual(ids(FILLING + 1, 2 * FILLING + 7));
  });

  test('is one while other channels are published to in the same turns', async () => {
    const fake = new Feed();
    const lines = [fake.joinGzip(), fake.joinGzip()];
    for (let i = 0; i < FILLING; i++) {
      // The head of the sweep that follows is the id of the other channel's event.
      const ticked = fake.counted();
      await fake.publish('other', 'x');
      expect((await ticked).blocks, 'one for both').toBe(1);
      expect(fake.inStep).toEqual([2, 2]);
    }
    await fake.settle(...lines);
    for (const line of lines) expect(idsOf(line.text)).toHaveLength(FILLING);
  });

  test('is no line that was told something of its own, until it has been given as much again', async () => {
    const fake = new Feed({ heartbeatMs: 1000 });
    fake.joinGzip();
    await fake.tick(FILLING);
    expect(fake.inStep).toEqual([1, 1]);
    const { heartbeats_total: before } = fake.counters;
    while (fake.counters.heartbeats_total === before) await fake.clock.turn(100);
    expect(fake.inStep).toEqual([0, 1]);
    await fake.tick(FILLING);
    expect(fake.inStep).toEqual([1, 1]);
  });

  test('is looked up a bounded number of times for 100,000 lines at as many positions', () => {
    const ring = new Ring();
    for (let id = 1; id <= 1000; id++) ring.append(id, Buffer.alloc(100));
    let lookups = 0;
    const rings = {
      framesAfter(): Ring {
        lookups++;
        return ring;
      },
    };
    const groupOf = (count: number, cursor: (row: number) => number): Group => {
      const cursors = Float64Array.from({ length: count }, (_none, row) => cursor(row));
      // Three of four rows have been given all; the others have just joined.
      const clean = cursors.map((at, row) => (row % 4 === 3 ? at : 0));
      const table = { count, cursors, clean, states: new Uint8Array(count) };
      return { compressed: {}, table, channels: [{ rings }], encoding: SSE } as unknown as Group;
    };
    const groups = [groupOf(50_000, (row) => 500 + (row % 2)), groupOf(20, (row) => 900 + row)];
    for (let i = 0; i < 999; i++) groups.push(groupOf(50, (row) => 100 + row));
    const { lines, inStep } = compressedLines(groups);
    expect(lines).toBe(50_000 + 20 + 999 * 50);
    expect(inStep / lines).toBeCloseTo(0.75, 1);
    expect(lookups).toBeLessThanOrEqual(IN_STEP_LOOKUPS_MAX);
    expect(compressedLines(groups.slice(1, 2)), 'few are counted one by one').toEqual({
      lines: 20,
      inStep: 15,
    });
  });
});

describe('a block', () => {
  test('is made for few dictionaries, however many lines could use another', async () => {
    const fake = new Feed();
    const lines = [fake.joinGzip()];
    await fake.tick(FILLING);
    const joined = [0];
    while (lines.length < 8) {
      lines.push(fake.joinGzip());
      joined.push(fake.hub.head);
      await fake.tick(2);
    }
    const { blocks } = await fake.counted();
    expect(blocks).toBeGreaterThan(1);
    expect(blocks).toBeLessThanOrEqual(COMPRESS_VARIANTS_MAX);
    await fake.tick(FILLING);
    expect((await fake.counted()).blocks).toBe(1);
    await fake.settle(...lines);
    for (const [i, line] of lines.entries())
      expect(idsOf(line.text)).toEqual(ids(joined[i]! + 1, fake.hub.head));
  });

  test('of what does not compress is tried once for all lines, and goes out as it is', async () => {
    const fake = new Feed();
    const lines = Array.from({ length: 3 * COMPRESS_SHARED_LINES }, () => fake.joinGzip());
    await fake.tick(FILLING);
    const random = new Random(1);
    // No line breaks among them.
    const data = Buffer.from(Array.from({ length: 400 }, () => 32 + random.below(224)));
    const before = { ...fake.counters };
    await fake.hub.publish('c', [{ channel: 'c', type: undefined, data, json: false }]);
    await fake.clock.turn();
    const { counters } = fake;
    expect(counters.compress_blocks_total - before.compress_blocks_total).toBe(1);
    expect(counters.compress_saved_bytes_total, 'it never falls').toBeGreaterThanOrEqual(
      before.compress_saved_bytes_total,
    );
    expect(counters.written_bytes_total - before.written_bytes_total).toBeLessThan(
      lines.length * (data.length + 30),
    );
    const { text } = lines[0]!;
    await fake.settle(...lines);
    for (const line of lines) {
      expect(idsOf(line.text)).toEqual(ids(1, FILLING + 1));
      expect(line.text.slice(text.length)).toContain(data.toString());
    }
  });

  test('is not made past the share of the time for few lines, which are given it uncompressed', async () => {
    const fake = new Feed();
    const line = fake.joinGzip();
    await fake.tick(FILLING);
    const { written } = await fake.counted();
    fake.exhaust();
    const past = await fake.counted();
    expect(past).toMatchObject({ blocks: 0, refused: 1 });
    expect(past.written).toBeGreaterThan(3 * written);
    await fake.clock.turn(1000);
    expect(await fake.counted(), 'there is time again').toMatchObject({ blocks: 1, refused: 0 });
    await fake.settle(line);
    expect(idsOf(line.text)).toEqual(ids(1, FILLING + 3));
  });

  test('that many lines share is made however little time there is', async () => {
    const fake = new Feed();
    const lines = Array.from({ length: COMPRESS_SHARED_LINES + 4 }, () => fake.joinGzip());
    await fake.tick(FILLING);
    fake.exhaust();
    expect(await fake.counted()).toMatchObject({ blocks: 1, refused: COMPRESS_SHARED_LINES });
    await fake.settle(...lines);
    for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, FILLING + 1));
  });

  test('for few lines is made again soon after many lines have asked for more than the share', () => {
    const clock = new FakeClock();
    const compressor = new Compressor(clock, makeCounters());
    const zeros = Buffer.alloc(MIB);
    for (let i = 0; i < 200; i++) compressor.deflate(zeros, undefined);
    clock.pass((0.9 * COMPRESS_DEBT_MS_MAX) / COMPRESS_TIME_SHARE);
    expect(compressor.hasTime).toBe(false);
    clock.pass((0.2 * COMPRESS_DEBT_MS_MAX) / COMPRESS_TIME_SHARE);
    expect(compressor.hasTime).toBe(true);
  });

  test('for a poll is not made past the share of the time, which is counted', () => {
    const fake = new Feed();
    const { compressor } = fake.hub;
    const body = Buffer.alloc(2000, 'x');
    fake.exhaust();
    expect(compressor.gzip(body)).toBeUndefined();
    expect(fake.counters.compress_refused_total).toBe(1);
    fake.clock.pass(1000);
    expect(compressor.gzip(body)?.length).toBeLessThan(100);
  });
});

describe('a line behind the rings', () => {
  test.each([true, false])(
    'is given what the log keeps in blocks that all at one place share (time is left: %s)',
    async (hasTime) => {
      const store = new KeepingStore(1);
      const next = ticks(5);
      for (let i = 0; i < 300; i++)
        store.commit(
          [{ channel: 'c', type: undefined, data: Buffer.from(next()), json: false }],
          i,
        );
      let log: KeepingLog | undefined;
      const fake = new Feed(
        { replay: { events: 10, bytes: MIB } },
        0,
        (clock) => (log = new KeepingLog(store, {}, clock)),
      );
      await log!.open();
      fake.hub.begin();
      if (!hasTime) fake.exhaust();
      const before = { ...fake.counters };
      const lines = [
        await fake.joinWhenReady('c', START, Infinity, 'sse-gzip'),
        await fake.joinWhenReady('c', START, Infinity, 'sse-gzip'),
      ];
      for (let turns = 0; turns < 100; turns++) await fake.clock.turn(0.1);
      await fake.settle(...lines);
      for (const line of lines) expect(idsOf(line.text)).toEqual(ids(1, 300));
      const since = (name: CounterName): number => fake.counters[name] - before[name];
      const { plainBytes, ratio } = fake.hub.figures.channelDetails('c')!.compression!;
      expect(plainBytes).toBeGreaterThan(2 * 300 * 200);
      if (hasTime) {
        expect(ratio).toBeGreaterThan(4);
        expect(since('compress_blocks_total')).toBeLessThan((2 * plainBytes) / 16_384);
        expect(since('compress_refused_total')).toBe(0);
      } else {
        expect(ratio).toBeLessThan(1.1);
        expect(since('compress_refused_total')).toBeGreaterThan(0);
      }
    },
  );
});

describe('what is kept', () => {
  test('is the bytes of the slices, over all groups within the bound, whatever is asked for', () => {
    const random = new Random(7);
    const clock = new FakeClock();
    const counters = makeCounters();
    const compressor = new Compressor(clock, counters);
    // Large events, of which one group alone has more than the bound.
    for (let i = 0; compressor.hasTime && i < COMPRESS_CREDIT_MS_MAX; i++)
      compressor.deflate(Buffer.alloc(MIB), undefined);
    const groups = Array.from({ length: 3 }, () => {
      const ring = new Ring();
      for (let id = 1; id <= 12; id++)
        ring.append(id, Buffer.alloc(random.between(1_000_000, 3_000_000), id));
      const set = {
        newestId: 12,
        version: 0,
        lostThrough: 0,
        firstIdAfter: (id: number) => id + 1,
      };
      const table = { clean: new Float64Array(1) };
      const channels = [{ rings: { framesAfter: () => ring } }];
      return { set, table, channels, encoding: SSE } as unknown as Group;
    });
    const slices = groups.map(
      () => new CompressedSlices(compressor, counters, { plainBytes: 0, bytes: 0 }),
    );
    let most = 0;
    let i = 0;
    for (let step = 0; step < 2_000; step++) {
      // Mostly the same group again.
      if (random.chance(0.01)) i = random.below(groups.length);
      const group = groups[i] as Group;
      const own = slices[i] as CompressedSlices;
      (group.table.clean as Float64Array)[0] = random.below(12);
      if (random.chance(0.005)) own.clear();
      else if (random.chance(0.01)) own.sweepHead(random.between(8, 12), 0, 1, true);
      else own.find(group, random.below(12), 0);
      const kept = slices.reduce((sum, { keptBytes }) => sum + keptBytes, 0);
      expect(compressor.keptBytes).toBe(kept);
      most = Math.max(most, kept);
    }
    expect(most).toBeGreaterThan(0.9 * COMPRESS_KEPT_BYTES_MAX);
    expect(most).toBeLessThanOrEqual(COMPRESS_KEPT_BYTES_MAX);
    for (const own of slices) own.clear();
    expect(compressor.keptBytes).toBe(0);
  });

  test('is shown as memory while a sweep is under way, and nothing is kept after it', async () => {
    const fake = new Feed({}, 0.05);
    const lines = Array.from({ length: 2000 }, () => fake.joinGzip());
    await fake.publish('c', 'x'.repeat(1000));
    let most = 0;
    for (let turns = 0; turns < 100; turns++) {
      fake.clock.runSoon();
      most = Math.max(most, fake.hub.figures.memory.compressedBytes);
    }
    expect(most).toBeGreaterThan(20);
    expect(fake.hub.figures.memory.compressedBytes).toBe(0);
    await fake.settle(lines[0]!);
    expect(idsOf(lines[0]!.text)).toEqual([1]);
  });
});

describe('the ratio of a channel', () => {
  test('is that of what its compressed lines were given, and is not there before such lines', async () => {
    const fake = new Feed();
    fake.join('c');
    await fake.tick(1);
    expect(fake.hub.figures.channelDetails('c')?.compression).toBeNull();
    const lines = [fake.joinGzip(START), fake.joinGzip(START)];
    await fake.tick(2 * FILLING);
    const { compression } = fake.hub.figures.channelDetails('c')!;
    expect(compression).toMatchObject({ lines: 2 });
    const { plainBytes, bytes, ratio } = compression!;
    expect(plainBytes).toBeGreaterThan(2 * 2 * FILLING * 200);
    // Slices in stored blocks save nothing, and are a few bytes larger.
    expect(plainBytes - bytes).toBeLessThanOrEqual(fake.counters.compress_saved_bytes_total);
    expect(plainBytes - bytes).toBeGreaterThan(fake.counters.compress_saved_bytes_total - 100);
    expect(ratio).toBeGreaterThan(3);
    expect(ratio).toBeCloseTo(plainBytes / bytes, 2);
    expect(fake.hub.figures.listChannels('lines', 1).channels[0]?.compression).toEqual(compression);
    expect(fake.hub.figures.busiestChannels(1)[0]?.compression).toEqual(compression);
    for (const line of lines) fake.leave(line);
    expect(fake.hub.figures.channelDetails('c')?.compression).toEqual({ ...compression, lines: 0 });
  });

  test('is of bytes that never become fewer while the channel is known', async () => {
    const fake = new Feed();
    const leaving = fake.joinGzip();
    const staying = fake.join('c', undefined, Infinity, 'ndjson-gzip');
    await fake.tick(FILLING);
    const before = fake.hub.figures.channelDetails('c')!.compression!;
    fake.leave(leaving);
    const after = fake.hub.figures.channelDetails('c')!.compression!;
    expect(after).toEqual({ ...before, lines: 1 });
    fake.leave(staying);
    fake.joinGzip();
    const again = fake.hub.figures.channelDetails('c')!.compression!;
    expect(again).toEqual({ ...before, lines: 1 });
    await fake.hub.deleteChannel('c');
    await fake.clock.run(1);
    expect(fake.hub.figures.channelDetails('c')!.compression).toEqual({ ...before, lines: 0 });
    fake.joinGzip();
    await fake.tick(FILLING);
    const later = fake.hub.figures.channelDetails('c')!.compression!;
    expect(later.plainBytes).toBeGreaterThan(before.plainBytes);
  });

  test('costs a channel without compressed lines nothing', async () => {
    const fake = new Feed();
    fake.join('c');
    await fake.tick(1);
    expect(fake.hub.channels.get('c')!.given).toBeUndefined();
  });

  test('is not known before something was given', () => {
    expect(withRatio({ lines: 1, plainBytes: 0, bytes: 0 })).toEqual({
      lines: 1,
      plainBytes: 0,
      bytes: 0,
      ratio: null,
    });
  });
});
