/** What travels between processes: frames under any split, entries as they were, questions. */
import { Duplex, type DuplexOptions } from 'node:stream';
import { fc } from './support/properties.js';
import { expect, test } from 'vitest';
import type { LoggedEntry } from '../src/core/event.js';
import { HoldlineError } from '../src/errors.js';
import { PIPE_FRAME_BYTES_MAX } from '../src/limits.js';
import { entriesSize, readEntries, writeEntries } from '../src/workers/entry-bytes.js';
import {
  appendedFrame,
  appendFrame,
  enteredFrame,
  FRAME,
  FrameReader,
  jsonFrame,
  pageFrame,
  readAppend,
  readAppended,
  readCounts,
  readJson,
  readPage,
  readRecords,
  recordsFrame,
  type Frame,
} from '../src/workers/frames.js';
import { Link, type LinkOwner } from '../src/workers/link.js';

const channelNames = fc.stringMatching(/^[\w.~-]{1,128}$/);
const ids = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

const entries: fc.Arbitrary<LoggedEntry> = fc.oneof(
  fc.record({ id: ids, channel: channelNames, isDeletion: fc.constant(true as const) }),
  fc.record({
    id: ids,
    channel: channelNames,
    type: fc.option(fc.string({ minLength: 1, maxLength: 64, unit: 'grapheme' }), {
      nil: undefined,
    }),
    data: fc.uint8Array({ maxLength: 300 }),
    json: fc.boolean(),
  }),
);

/** With data as plain numbers, so that a view and a copy are equal. */
function plain(entry: LoggedEntry): unknown {
  return 'data' in entry ? { ...entry, data: [...entry.data] } : entry;
}

/** The frames of these bytes, which come in pieces of such sizes. */
function framesOf(bytes: Buffer, sizes: readonly number[]): Frame[] {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : (sizes[i % sizes.length] as number);
    reader.take(bytes.subarray(at, at + size), (frame) => frames.push(frame));
    at += size;
  }
  return frames;
}

test('entries come back as they were', () => {
  fc.assert(
    fc.property(fc.array(entries, { maxLength: 20 }), (given) => {
      const bytes = Buffer.alloc(entriesSize(given) + 3);
      expect(writeEntries(bytes, 3, given)).toBe(bytes.length);
      expect(readEntries(bytes, 3).map(plain)).toEqual(given.map(plain));
    }),
  );
});

test('frames come back whole and in order, wherever the bytes were split', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 10 });
  const given = fc.array(fc.array(entries, { maxLength: 5 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(given, sizes, (batches, pieces) => {
      const bytes = Buffer.concat(batches.map((batch) => recordsFrame(batch)));
      const frames = framesOf(bytes, pieces);
      expect(frames.map(({ kind }) => kind)).toEqual(batches.map(() => FRAME.records));
      expect(frames.map((frame) => readRecords(frame).map(plain))).toEqual(
        batches.map((batch) => batch.map(plain)),
      );
    }),
  );
});

test('each kind of frame is read as it was written', () => {
  const one = (frame: Buffer): Frame => framesOf(frame, [7])[0] as Frame;
  const event = { channel: 'c', type: 'tïck', data: Buffer.from('{}'), json: true };
  const request = { key: 'ключ', digest: 'd', subscribers: 3 };
  const append = readAppend(one(appendFrame(7, [event], request)));
  expect(append).toMatchObject({ number: 7, request });
  expect(append.entries.map(plain)).toEqual([plain({ id: 0, ...event })]);
  expect(readAppend(one(appendFrame(8, [event], undefined))).request).toBeUndefined();
  expect(readAppended(one(appendedFrame(9, [4, 2 ** 53 - 1])))).toEqual({
    number: 9,
    ids: [4, 2 ** 53 - 1],
  });
  const events = [{ id: 5, ...event }];
  const isDeleted = true;
  const written = { events, through: 6, lostThrough: 4, isDeleted };
  for (const more of [{}, { lostByChannel: [3, 2 ** 53 - 1] }]) {
    const { number, page } = readPage(one(pageFrame(2, { ...written, ...more })));
    expect({ number, ...page, events: page.events.map(plain) }).toEqual({
      number: 2,
      events: events.map(plain),
      through: 6,
      lostThrough: 4,
      ...more,
      isDeleted,
    });
  }
  const entered: [string, number][] = [];
  readCounts(
    one(
      enteredFrame(
        new Map([
          ['a', 1],
          ['b.c', 70_000],
        ]),
      ),
    ),
    (...pair) => entered.push(pair),
  );
  expect(entered).toEqual([
    ['a', 1],
    ['b.c', 70_000],
  ]);
  expect(readJson(one(jsonFrame(FRAME.call, 1, { a: 'ü' })))).toEqual({
    number: 1,
    value: { a: 'ü' },
  });
});

test('what is larger than any frame of ours is refused before it is received', () => {
  const head = Buffer.from([0xff, 0xff, 0xff, 0xff, 1]);
  expect(() => framesOf(head, [])).toThrow(HoldlineError);
});

test('data of a small event keeps no frame alive', () => {
  const small = { id: 1, channel: 'c', type: undefined, data: Buffer.from('x'), json: false };
  const large = { ...small, id: 2, data: Buffer.alloc(100_000) };
  const [first, second] = readRecords(framesOf(recordsFrame([small, large]), [])[0] as Frame);
  const bufferOf = (entry: LoggedEntry | undefined): number =>
    entry !== undefined && 'data' in entry ? entry.data.buffer.byteLength : 0;
  expect(bufferOf(first)).toBe(1);
  expect(bufferOf(second)).toBeGreaterThanOrEqual(100_000);
});

// ── links ────────────────────────────────────────────────────────────────────────────────────────

/** Two ends of a pipe. */
function pipe(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const options = (other: number): DuplexOptions => ({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      setImmediate(() => ends[other]!.push(chunk));
      done();
    },
    final(done) {
      setImmediate(() => ends[other]!.push(null));
      done();
    },
  });
  ends.push(new Duplex(options(1)), new Duplex(options(0)));
  return ends as [Duplex, Duplex];
}

function linked(owner: Partial<LinkOwner>): { asking: Link; asked: Link; reasons: string[] } {
  const [one, other] = pipe();
  const reasons: string[] = [];
  const nobody: LinkOwner = {
    frame() {},
    asked() {},
    ended: (reason) => reasons.push(reason),
  };
  return {
    asking: new Link(one, nobody),
    asked: new Link(other, { ...nobody, ...owner }),
    reasons,
  };
}

test('a question has its answer, and a refusal its code', async () => {
  const { asking } = linked({
    asked(name, value) {
      if (name === 'fail') throw new HoldlineError('HOLDLINE_PUBLISH_BUSY', 'busy');
      return Promise.resolve({ name, value });
    },
  });
  await expect(asking.ask('name', [1])).resolves.toEqual({ name: 'name', value: [1] });
  await expect(asking.ask('fail', 1)).rejects.toMatchObject({
    code: 'HOLDLINE_PUBLISH_BUSY',
    message: 'busy',
  });
});

test('a question without an answer fails in time, and when the other end goes', async () => {
  const { asking, asked, reasons } = linked({ asked: () => new Promise(() => {}) });
  const unavailable = { code: 'HOLDLINE_LOG_UNAVAILABLE' };
  await expect(asking.ask('name', 1, 20)).rejects.toMatchObject(unavailable);
  const left = asking.ask('name', 1);
  asked.close();
  await expect(left).rejects.toMatchObject(unavailable);
  expect(asking.isOpen).toBe(false);
  expect(reasons).toHaveLength(1);
  await expect(asking.ask('name', 1)).rejects.toMatchObject(unavailable);
});

test('what is told comes in its order among frames', async () => {
  const came: unknown[] = [];
  const { asking } = linked({
    asked: (name, value) => void came.push([name, value]),
    frame: ({ kind }) => void came.push(kind),
  });
  asking.tell('a', 1);
  asking.send(recordsFrame([]));
  asking.tell('b', 2);
  await expect.poll(() => came).toEqual([['a', 1], FRAME.records, ['b', 2]]);
});

test('what is larger than a frame is refused where it is sent, and ends nobody', async () => {
  const large = 'x'.repeat(PIPE_FRAME_BYTES_MAX);
  const { asking, reasons } = linked({ asked: (name) => (name === 'large' ? large : name) });
  const refused = { code: 'HOLDLINE_INTERNAL' };
  await expect(asking.ask('large', 1)).rejects.toMatchObject(refused);
  await expect(asking.ask('small', large)).rejects.toMatchObject(refused);
  await expect(asking.ask('small', 1)).resolves.toBe('small');
  expect(reasons).toEqual([]);
});
