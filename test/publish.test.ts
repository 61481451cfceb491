/**
 * How a publish's body is read: the bytes of `data` are those that were sent. The same over the
 * wire is in publish.wire.ts.
 */
import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import { bodyLimit, readEvents, receiptJson, type BodyFormat } from '../src/transports/publish.js';

const LIMIT = 64 * 1024;
const code = (name: string): unknown => expect.objectContaining({ code: name });

const TEXT: BodyFormat = { channel: 'c', kind: 'text', type: undefined };
const JSON_BODY: BodyFormat = { ...TEXT, kind: 'json' };

/** Reads a body that is small enough to be read at once. */
function readNow(...parameters: Parameters<typeof readEvents>): readonly NewEvent[] {
  const events = readEvents(...parameters);
  assert.ok(!(events instanceof Promise));
  return events;
}

describe('a single event', () => {
  test('JSON may begin with a byte order mark, which goes; text keeps it', () => {
    for (const json of ['1', '{"a":"\uFEFF"}', ' [] ']) {
      expect(readNow(JSON_BODY, Buffer.from(`\uFEFF${json}`), LIMIT)).toEqual([
        { channel: 'c', type: undefined, data: Buffer.from(json), json: true },
      ]);
    }
    const batch = { ...TEXT, kind: 'batch' } as const;
    const lines = Buffer.from('\uFEFF{"data":"a"}\n{"data":"\uFEFFb"}');
    expect(readNow(batch, lines, LIMIT).map(({ data }) => Buffer.from(data).toString())).toEqual([
      'a',
      '\uFEFFb',
    ]);
    expect(() => readEvents(batch, Buffer.from('{"data":1}\n\uFEFF{"data":2}'), LIMIT)).toThrow(
      code('HOLDLINE_BAD_BATCH'),
    );
  });

  test('what was saved as UTF-16 is refused in words', () => {
    for (const mark of [
      [0xff, 0xfe, 0x61, 0],
      [0xfe, 0xff, 0, 0x61],
    ])
      expect(() => readEvents(JSON_BODY, Buffer.from(mark), LIMIT)).toThrow(
        expect.objectContaining({
          code: 'HOLDLINE_NOT_UTF8',
          message: expect.stringContaining('UTF-16') as string,
        }),
      );
  });

  test('text and JSON are the body as it stands', () => {
    for (const body of ['', ' x\n', '{"a": 1.0}', '\uFEFF']) {
      expect(readNow({ ...TEXT, type: 'note' }, Buffer.from(body), LIMIT)).toEqual([
        { channel: 'c', type: 'note', data: Buffer.from(body), json: false },
      ]);
    }
    const json = ' {"a":\r\n 12345678901234567890 } ';
    expect(readNow(JSON_BODY, Buffer.from(json), LIMIT)).toEqual([
      { channel: 'c', type: undefined, data: Buffer.from(json), json: true },
    ]);
  });

  test.each([
    '',
    '{',
    '1 2',
    "{'a':1}",
    '1\uFEFF',
    '\uFEFF',
    '\uFEFF\uFEFF1',
    'NaN',
    '[1,]',
    '"\n"',
  ])('%j is not JSON', (body) => {
    expect(() => readEvents(JSON_BODY, Buffer.from(body), LIMIT)).toThrow(
      code('HOLDLINE_BAD_JSON'),
    );
  });

  test.each([
    [[0xff]],
    [[0xc0, 0x80]],
    [[0xed, 0xa0, 0x80]],
    [[0x61, 0xe6, 0xbc]],
    [[0xf4, 0x90, 0x80, 0x80]],
  ])('bytes %j are not UTF-8, whatever kind the body is', (bytes) => {
    for (const kind of ['text', 'json', 'batch'] as const) {
      const body =
        kind === 'text'
          ? Buffer.from(bytes)
          : Buffer.concat([Buffer.from('{"data":"'), Buffer.from(bytes), Buffer.from('"}')]);
      expect(() => readEvents({ ...TEXT, kind }, body, LIMIT)).toThrow(code('HOLDLINE_NOT_UTF8'));
    }
  });

  test('the limit is on the largest frame, not on the body', () => {
    expect(() => readEvents(TEXT, Buffer.from('\n'.repeat(9_500)), LIMIT)).toThrow(
      code('HOLDLINE_TOO_LARGE'),
    );
    expect(readNow(TEXT, Buffer.from('\n'.repeat(9_300)), LIMIT).length).toBe(1);
    expect(readNow(TEXT, Buffer.from('x'.repeat(65_400)), LIMIT).length).toBe(1);
  });
});

test('a batch may be larger than an event', () => {
  expect(bodyLimit('text', LIMIT)).toBe(LIMIT);
  expect(bodyLimit('batch', LIMIT)).toBe(4 * 1024 * 1024);
});

test('the answer to a publish', () => {
  const one = { firstId: 5, lastId: 5, count: 1, subscribers: 3 };
  expect(receiptJson(one, 'text')).toBe('{"id":5,"subscribers":3}');
  expect(receiptJson(one, 'json')).toBe('{"id":5,"subscribers":3}');
  expect(receiptJson(one, 'batch')).toBe('{"first":5,"last":5,"count":1,"subscribers":3}');
  const several = { firstId: 5, lastId: 9, count: 3, subscribers: 3 };
  expect(receiptJson(several, 'batch')).toBe('{"first":5,"last":9,"count":3,"subscribers":3}');
});
