/** What the load tool decodes gzip with: lines by themselves, and blocks that lines share. */

import { once } from 'node:events';
import { constants, createGzip, deflateRawSync, gzipSync } from 'node:zlib';
import { describe, expect, it, test } from 'vitest';
import { NDJSON, SSE, type EventShape } from '../src/tools/load/clients/encoding.js';
import { eventData, newRun, stampEvent } from '../src/tools/load/clients/event.js';
import { formatOf } from '../src/tools/load/clients/event-reader.js';
import { GzipReader, type Window } from '../src/tools/load/clients/gzip-reader.js';
import { inflateAfter, windowAfter } from '../src/tools/load/clients/inflate.js';
import { SharedBlocks, type Found } from '../src/tools/load/clients/shared-blocks.js';
import { Random } from './support/random.js';
import { ticks } from './support/ticks.js';

const EMPTY = Buffer.alloc(0);

function block(plain: Buffer, dictionary: Buffer = EMPTY): Buffer {
  return deflateRawSync(plain, {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary.length > 0 && { dictionary }),
  });
}

describe('a part of a stream', () => {
  const tick = ticks(1);
  const before = Buffer.from(Array.from({ length: 50 }, tick).join('\n'));
  const plain = Buffer.from(Array.from({ length: 5 }, tick).join('\n'));

  it('decodes with what was decoded before it, and says that it is whole', () => {
    const part = block(plain, before);
    expect(part.length).toBeLessThan(plain.length / 3);
    expect(inflateAfter(before, part)).toEqual({ plain, end: 'whole', usedBytes: part.length });
    // It is something else, or nothing, after anything else.
    const other = Buffer.from(before);
    other.reverse();
    expect(inflateAfter(other, part).plain).not.toEqual(plain);
    expect(() => inflateAfter(EMPTY, part)).toThrow('invalid distance too far back');
  });

  it('is open wherever else it is cut, whatever the bytes there are', () => {
    const part = Buffer.concat([block(plain, before), Buffer.from([0, 3, 0, 0xfc, 0xff, 1, 2, 3])]);
    const ends = new Set([part.length - 8, part.length]);
    const all = Buffer.concat([plain, Buffer.from([1, 2, 3])]);
    for (let cut = 1; cut <= part.length; cut++) {
      const { end, plain: decoded } = inflateAfter(before, part.subarray(0, cut));
      // The flush itself is an empty stored block, whose head begins within the byte before.
      const isRight = all.subarray(0, decoded.length).equals(decoded);
      expect([cut, end, isRight]).toEqual([cut, ends.has(cut) ? 'whole' : 'open', true]);
    }
  });

  it.each([
    ['stored', { level: 0 }],
    ['fixed', { strategy: constants.Z_FIXED }],
    ['dynamic', {}],
  ])('is open wherever the last block of a stream is cut: %s', (_kind, how) => {
    const part = deflateRawSync(plain, how);
    for (let cut = 1; cut < part.length; cut++) {
      const { end, plain: decoded } = inflateAfter(EMPTY, part.subarray(0, cut));
      expect([cut, end, plain.subarray(0, decoded.length).equals(decoded)]).toEqual([
        cut,
        'open',
        true,
      ]);
    }
  });

  it('is over where the stream is', () => {
    const part = deflateRawSync(plain);
    const more = Buffer.concat([part, Buffer.alloc(8, 7)]);
    expect(inflateAfter(EMPTY, more)).toEqual({ plain, end: 'over', usedBytes: part.length });
  });

  test('the window is the last 32 KiB', () => {
    const bytes = Buffer.from(Array.from({ length: 90_000 }, (_, nth) => nth % 251));
    for (const cut of [0, 10, 30_000, 50_000, 89_999])
      expect(
        windowAfter(windowAfter(EMPTY, bytes.subarray(0, cut)), bytes.subarray(cut)).equals(
          bytes.subarray(-32_768),
        ),
      ).toBe(true);
  });
});

describe('the gzip of a line', () => {
  it.each([
    ['flushed at whole bytes', constants.Z_SYNC_FLUSH, 3],
    ['flushed within bytes', constants.Z_PARTIAL_FLUSH, 4],
    ['not flushed', constants.Z_NO_FLUSH, 5],
  ])('is decoded however it is cut: %s', async (_how, flush, seed) => {
    const random = new Random(seed);
    const tick = ticks(seed);
    const gzip = createGzip({ flush });
    const made: Buffer[] = [];
    gzip.on('data', (bytes: Buffer) => made.push(bytes));
    const texts = Array.from({ length: 300 }, () => `${tick()}\n`);
    for (const text of texts)
      await new Promise<void>((resolve) => gzip.write(text, () => resolve()));
    const ended = once(gzip, 'end');
    gzip.end();
    await ended;
    const wire = Buffer.concat(made);
    for (let round = 0; round < 5; round++) {
      const reader = new GzipReader();
      const decoded: Buffer[] = [];
      for (let at = 0; at < wire.length;) {
        const end = Math.min(wire.length, at + random.between(1, 3_000));
        decoded.push(reader.feed(wire, at, end, random.chance(0.7) || end === wire.length));
        at = end;
      }
      expect(Buffer.concat(decoded).toString()).toBe(texts.join(''));
    }
  });

  it('is given on as soon as a write is there', () => {
    const reader = new GzipReader();
    const head = gzipSync('').subarray(0, 10);
    const first = block(Buffer.from('first'));
    const wire = Buffer.concat([head, first, block(Buffer.from(' second'), Buffer.from('first'))]);
    const headEnd = 10 + first.length;
    expect(reader.feed(wire, 0, 4, true).toString()).toBe('');
    expect(reader.feed(wire, 4, headEnd, true).toString()).toBe('first');
    expect(reader.isBetweenBlocks).toBe(true);
    expect(reader.feed(wire, headEnd, wire.length - 1, false).toString()).toBe('');
    expect(reader.feed(wire, wire.length - 1, wire.length, true).toString()).toBe(' second');
  });

  it('is the same window for all lines after what each begins with, which is known all the same', () => {
    const head = gzipSync('').subarray(0, 10);
    const [first, second, third] = ['first', 'second', 'third: the beginning of 3001'];
    const afterBeginning = (retryMs: number): { reader: GzipReader; beginning: Buffer } => {
      const reader = new GzipReader();
      const beginning = Buffer.from(`the beginning of ${retryMs}`);
      reader.leaveOutBeginning();
      const wire = Buffer.concat([head, block(beginning)]);
      expect(reader.feed(wire, 0, wire.length, true)).toEqual(beginning);
      reader.leaveOutBeginning();
      return { reader, beginning };
    };
    for (const retryMs of [3_000, 3_001]) {
      const { reader, beginning } = afterBeginning(retryMs);
      for (const [text, windowText, before] of [
        [first, first, ''],
        [second, first + second, first],
        // It refers to the beginning.
        [third, first + second + third, beginning + first + second],
      ] as const) {
        const bytes = block(Buffer.from(text), Buffer.from(before));
        expect(reader.feed(bytes, 0, bytes.length, true).toString()).toBe(text);
        expect(reader.window.bytes.toString()).toBe(windowText);
      }
    }
    // What is longer than a beginning stays in the window.
    const { reader } = afterBeginning(3_000);
    const long = block(Buffer.alloc(1_100, 'x'));
    reader.feed(long, 0, long.length, true);
    reader.leaveOutBeginning();
    expect(reader.window.bytes.length).toBe(1_100);
  });

  it('may have a header with everything, and must be gzip', () => {
    const plain = Buffer.from('hello');
    const extra = Buffer.from([3, 0, 1, 2, 3]);
    const header = Buffer.from([0x1f, 0x8b, 8, 4 + 8 + 16 + 2, 0, 0, 0, 0, 0, 3]);
    const whole = Buffer.concat([
      header,
      extra,
      Buffer.from('name\0comment\0'),
      Buffer.from([9, 9]),
      gzipSync(plain).subarray(10),
    ]);
    for (let cut = 0; cut < whole.length; cut++) {
      const reader = new GzipReader();
      const parts = [reader.feed(whole, 0, cut, true), reader.feed(whole, cut, whole.length, true)];
      expect(Buffer.concat(parts)).toEqual(plain);
      expect(() => reader.feed(whole, 0, 1, true)).toThrow('bytes follow the end of gzip');
    }
    expect(() => new GzipReader().feed(Buffer.from('id: 1\ndata: 1\n\n'), 0, 15, true)).toThrow(
      'what the server calls gzip is none',
    );
  });
});

describe('blocks that lines share', () => {
  const shape: EventShape = { run: newRun(), channel: 'c', sizeBytes: 100 };

  function eventOf(id: number, sequence = id, run = shape.run): Buffer {
    const data = eventData(run, shape.sizeBytes);
    stampEvent(data, 0, sequence, 1_000_000);
    return Buffer.concat([Buffer.from(`id: ${id}\ndata: `), data, Buffer.from('\n\n')]);
  }

  const eventsOf = (...ids: number[]): Buffer => Buffer.concat(ids.map((id) => eventOf(id)));
  const find = (blocks: SharedBlocks, window: Window, bytes: Buffer): Found | undefined =>
    blocks.find(window, bytes, 0, bytes.length);

  it('are inflated once for all lines that have decoded the same', () => {
    const blocks = new SharedBlocks(formatOf(SSE, shape));
    const before = eventsOf(1, 2);
    const bytes = block(eventsOf(3, 4, 5), before);
    const first = find(blocks, { bytes: before }, bytes)!;
    expect(first).toMatchObject({
      isFresh: true,
      reading: { events: 3, disordered: 0, firstId: 3, lastId: 5 },
    });
    expect(first.to.bytes).toEqual(eventsOf(1, 2, 3, 4, 5));
    // An equal window of another line is the same one.
    const second = find(blocks, { bytes: Buffer.from(before) }, Buffer.from(bytes))!;
    expect(second.isFresh).toBe(false);
    expect(second.reading).toBe(first.reading);
    expect(second.to).toBe(first.to);
    blocks.clear();
    expect(find(blocks, first.to, block(eventsOf(6)))!.isFresh).toBe(true);
    expect(find(blocks, { bytes: before }, bytes)!.isFresh).toBe(true);
  });

  it('are never taken for others: neither after another window nor with one bit changed', () => {
    const blocks = new SharedBlocks(formatOf(SSE, shape));
    const before = eventsOf(1, 2);
    const bytes = block(eventsOf(3, 4, 5), before);
    const right = find(blocks, { bytes: before }, bytes)!.reading;
    const shifted = Buffer.concat([before, Buffer.from(':\n\n')]);
    expect(find(blocks, { bytes: shifted }, bytes)?.isFresh).not.toBe(false);
    expect(find(blocks, { bytes: eventsOf(1) }, bytes)?.isFresh).not.toBe(false);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const found = find(blocks, { bytes: before }, flipped);
      expect(found?.reading).not.toBe(right);
      if (found !== undefined) expect(found.isFresh).toBe(true);
    }
    expect(find(blocks, { bytes: before }, bytes)!.reading).toBe(right);
  });

  it('say what is not in order, and leave to each line what is more than whole events', () => {
    const blocks = new SharedBlocks(formatOf(SSE, shape));
    const readingOf = (plain: Buffer | string): object | undefined =>
      find(blocks, { bytes: EMPTY }, block(Buffer.from(plain)))?.reading;
    expect(readingOf(eventsOf(1, 3, 2, 4))).toMatchObject({ events: 4, disordered: 1 });
    expect(readingOf(eventsOf(1, 1))).toMatchObject({ events: 2, disordered: 1 });
    expect(readingOf(Buffer.concat([eventsOf(1), Buffer.from(':\n\n')]))).toMatchObject({
      events: 1,
    });
    // Of another run, or of no run: they are not counted.
    expect(readingOf(eventOf(1, 1, newRun()))).toMatchObject({ events: 0 });
    expect(readingOf(eventsOf(1).subarray(0, -1))).toBeUndefined();
    expect(readingOf('event: gap\ndata: {"after":1,"before":3}\n\n')).toBeUndefined();
    expect(readingOf('id: 7\n\n')).toBeUndefined();
    expect(readingOf('garbage\n\n')).toBeUndefined();
    expect(find(blocks, { bytes: EMPTY }, Buffer.from([7, 7, 7, 7]))).toBeUndefined();
    expect(find(blocks, { bytes: EMPTY }, block(eventsOf(1)).subarray(0, -1))).toBeUndefined();
  });

  it('may be NDJSON', () => {
    const blocks = new SharedBlocks(formatOf(NDJSON, shape));
    const data = eventData(shape.run, shape.sizeBytes);
    const row = `{"id":8,"channel":"c","data":"${data.toString('latin1')}"}\n`;
    expect(find(blocks, { bytes: EMPTY }, block(Buffer.from(row)))!.reading).toMatchObject({
      events: 1,
      firstId: 8,
    });
  });
});
