/** How a publish's body is read: the bytes of `data` are found as they stand. The same over the wire is in publish.wire.ts. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bodyKindOf, bodyLimit, memberBytes, readEvents, receiptJson } from '../src/transports/publish.js';

const LIMIT = 64 * 1024;
const code = (name: string): unknown => expect.objectContaining({ code: name });

function readLine(line: string): { type: string | undefined; data: string; json: boolean } {
  const [event, ...others] = readEvents('c', 'batch', undefined, Buffer.from(line), LIMIT);
  assert.equal(others.length, 0);
  assert.equal(event!.channel, 'c');
  return { type: event!.type, data: Buffer.from(event!.data).toString(), json: event!.json };
}

/** White space of JSON, less LF, which ends a line of a batch. */
const blanks = fc.string({ unit: fc.constantFrom(' ', '\t', '\r'), maxLength: 3 });

/** JSON texts whose bytes say more than their value: long numbers, exponents, escapes, blanks, repeated names, nested "data". */
const jsonTexts = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'json' },
    fc.constantFrom('0', '-0', '1.0', '1e2', '1E+2', '12345678901234567890', '0.1000', 'true', 'false', 'null'),
    fc.constantFrom(
      '""',
      '"\\""',
      '"\\\\"',
      '"\\\\\\""',
      '"{"',
      '"]}"',
      '"\\u0064ata"',
      '",\\"data\\":1"',
      '"é😀\\ud83d"',
      '"a:b,c"',
    ),
    fc
      .tuple(blanks, fc.array(tie('value'), { maxLength: 3 }), blanks)
      .map(([before, items, after]) => `[${before}${items.join(`${after},${before}`)}${after}]`),
    fc
      .array(
        fc.tuple(
          fc.constantFrom('"data"', '"event"', '"a"', '"\\""', '"\\\\"', '"d\\u0061ta"', '"{"', '""'),
          blanks,
          tie('value'),
        ),
        { maxLength: 3 },
      )
      .map(
        (members) => `{${members.map(([name, blank, value]) => `${blank}${name}${blank}:${blank}${value}${blank}`).join(',')}}`,
      ),
  ),
})).value;

describe('the data of a batch line', () => {
  test('is the source slice, byte for byte, whatever stands around it', () => {
    fc.assert(
      fc.property(
        jsonTexts,
        fc.option(fc.constantFrom('"note"', '"d\\u0061ta"', '"\\"data\\":"')),
        fc.boolean(),
        fc.array(blanks, { minLength: 6, maxLength: 6 }),
        (value, type, typeFirst, b) => {
          fc.pre(!value.startsWith('"'));
          const data = `${b[0]}"data"${b[1]}:${b[2]}${value}${b[3]}`;
          const event = type === null ? undefined : `${b[4]}"event"${b[5]}:${type}`;
          const members = event === undefined ? [data] : typeFirst ? [event, data] : [data, event];
          const read = readLine(`${b[4]}{${members.join(',')}}${b[5]}`);
          assert.deepEqual(read, { type: type === null ? undefined : (JSON.parse(type) as string), data: value, json: true });
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('that is a string is its text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), blanks, (text, b) => {
        assert.deepEqual(readLine(`{"data"${b}:${b}${JSON.stringify(text)}}`), { type: undefined, data: text, json: false });
      }),
    );
  });

  test('is the last of several members of that name, as JSON.parse takes it', () => {
    fc.assert(
      fc.property(fc.array(jsonTexts, { minLength: 1, maxLength: 4 }), (values) => {
        const last = values.at(-1)!;
        const read = readLine(`{${values.map((value) => `"data":${value}`).join(', ')}}`);
        if (last.startsWith('"'))
          assert.deepEqual([read.data, read.json], [Buffer.from(JSON.parse(last) as string).toString(), false]);
        else assert.deepEqual([read.data, read.json], [last, true]);
      }),
      { numRuns: 300 },
    );
  });

  test('whose name is written with escapes is found all the same, also beside one that is not', () => {
    expect(readLine('{"d\\u0061ta": {"a":1}}')).toEqual({ type: undefined, data: '{"a":1}', json: true });
    for (const line of ['{"data":1,"d\\u0061ta":[2]}', '{"d\\u0061ta":1,"data":[2]}', '{"data":"text","\\u0064ata":[2]}']) {
      expect({ line, data: JSON.parse(readLine(line).data) as unknown }).toEqual({ line, data: [2] });
    }
  });
});

describe('a member of an object', () => {
  test('is found by its name at the first level, whatever else has that name, and holds its own members', () => {
    fc.assert(
      fc.property(jsonTexts, jsonTexts, blanks, blanks, (data, other, before, after) => {
        const publish = `{"event":"e","data"${before}:${after}${data}}`;
        const message = Buffer.from(`${after}{"ref":${other},"publish"${after}:${before}${publish}${before}}`);
        const found = memberBytes(message, 'publish');
        assert.equal(found?.toString(), publish);
        assert.equal(memberBytes(found, 'data')?.toString(), data);
        assert.equal(memberBytes(message, 'publisher'), undefined);
      }),
      { numRuns: 300 },
    );
  });

  test('is not looked for where a name is written with escapes', () => {
    expect(memberBytes(Buffer.from('{"publish":1,"d\\u0061ta":2}'), 'publish')).toBeUndefined();
  });
});

describe('a batch', () => {
  test('lines end with LF or CRLF, the last maybe with neither; blank lines are none', () => {
    const body = '\n{"data":"a"}\r\n   \n\r\n{"data":"b"}\n\t{"data":{"c":1}}';
    const events = readEvents('c', 'batch', undefined, Buffer.from(body), LIMIT);
    expect(events.map((event) => [Buffer.from(event.data).toString(), event.json])).toEqual([
      ['a', false],
      ['b', false],
      ['{"c":1}', true],
    ]);
  });

  test.each([
    ['[1]', 'HOLDLINE_BAD_BATCH'],
    ['null', 'HOLDLINE_BAD_BATCH'],
    ['"data"', 'HOLDLINE_BAD_BATCH'],
    ['{}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1}{"data":2}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1,"id":7}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1,"__proto__":{}}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1,"event":2}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1,"event":null}', 'HOLDLINE_BAD_BATCH'],
    ['{"data":1,"event":""}', 'HOLDLINE_BAD_EVENT_TYPE'],
    ['{"data":1,"event":"gap"}', 'HOLDLINE_BAD_EVENT_TYPE'],
    ['\uFEFF{"data":1}', 'HOLDLINE_BAD_BATCH'],
    [`{"data":"${'x'.repeat(LIMIT)}"}`, 'HOLDLINE_TOO_LARGE'],
    [`{"data":"${'\\u0001'.repeat(LIMIT / 6)}"}`, 'HOLDLINE_TOO_LARGE'],
  ])('with %.40s on line 3 of 5 is refused whole, and the line is named', (line, expected) => {
    const body = ['{"data":1}', '{"data":2}', line, '{"data":4}', '{"data":5}'].join('\n');
    expect(() => readEvents('c', 'batch', undefined, Buffer.from(body), LIMIT)).toThrow(code(expected));
    expect(() => readEvents('c', 'batch', undefined, Buffer.from(body), LIMIT)).toThrow(/^line 3: /);
  });

  test('without an event, with blank lines only, or with a type for all is refused', () => {
    for (const body of ['', '\n', '\n \r\n\t'])
      expect(() => readEvents('c', 'batch', undefined, Buffer.from(body), LIMIT)).toThrow(code('HOLDLINE_BAD_BATCH'));
    expect(() => readEvents('c', 'batch', 'note', Buffer.from('{"data":1}'), LIMIT)).toThrow(code('HOLDLINE_BAD_QUERY'));
  });

  test('has at most 10,000 events', () => {
    const body = (count: number): Buffer => Buffer.from('{"data":1}\n'.repeat(count));
    expect(readEvents('c', 'batch', undefined, body(10_000), LIMIT).length).toBe(10_000);
    expect(() => readEvents('c', 'batch', undefined, body(10_001), LIMIT)).toThrow(code('HOLDLINE_TOO_LARGE'));
  });
});

describe('a single event', () => {
  test('text and JSON are the body as it stands', () => {
    for (const body of ['', ' x\n', '{"a": 1.0}', '\uFEFF']) {
      expect(readEvents('c', 'text', 'note', Buffer.from(body), LIMIT)).toEqual([
        { channel: 'c', type: 'note', data: Buffer.from(body), json: false },
      ]);
    }
    const json = ' {"a":\r\n 12345678901234567890 } ';
    expect(readEvents('c', 'json', undefined, Buffer.from(json), LIMIT)).toEqual([
      { channel: 'c', type: undefined, data: Buffer.from(json), json: true },
    ]);
  });

  test.each(['', '{', '1 2', "{'a':1}", '\uFEFF1', 'NaN', '[1,]', '"\n"'])('%j is not JSON', (body) => {
    expect(() => readEvents('c', 'json', undefined, Buffer.from(body), LIMIT)).toThrow(code('HOLDLINE_BAD_JSON'));
  });

  test.each([[[0xff]], [[0xc0, 0x80]], [[0xed, 0xa0, 0x80]], [[0x61, 0xe6, 0xbc]], [[0xf4, 0x90, 0x80, 0x80]]])(
    'bytes %j are not UTF-8, whatever kind the body is',
    (bytes) => {
      for (const kind of ['text', 'json', 'batch'] as const) {
        const body =
          kind === 'text' ? Buffer.from(bytes) : Buffer.concat([Buffer.from('{"data":"'), Buffer.from(bytes), Buffer.from('"}')]);
        expect(() => readEvents('c', kind, undefined, body, LIMIT)).toThrow(code('HOLDLINE_NOT_UTF8'));
      }
    },
  );

  test('the limit is on the largest frame, not on the body', () => {
    expect(() => readEvents('c', 'text', undefined, Buffer.from('\n'.repeat(9_500)), LIMIT)).toThrow(code('HOLDLINE_TOO_LARGE'));
    expect(readEvents('c', 'text', undefined, Buffer.from('\n'.repeat(9_300)), LIMIT).length).toBe(1);
    expect(readEvents('c', 'text', undefined, Buffer.from('x'.repeat(65_400)), LIMIT).length).toBe(1);
  });
});

test('the kind of a body is its media type, in any case, with any parameters', () => {
  expect(['application/json', 'Application/JSON; charset=utf-8', ' application/json'].map(bodyKindOf)).toEqual([
    'json',
    'json',
    'json',
  ]);
  expect(['application/x-ndjson', 'APPLICATION/X-NDJSON;x=y'].map(bodyKindOf)).toEqual(['batch', 'batch']);
  expect(['', 'text/plain', 'application/jsonp', 'application/x-www-form-urlencoded', ';'].map(bodyKindOf)).toEqual([
    'text',
    'text',
    'text',
    'text',
    'text',
  ]);
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
