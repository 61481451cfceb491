/**
 * How a batch is read: the bytes of `data` as they were sent, all or nothing, and in slices of
 * time. Over the wire: publish.wire.ts.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import type { NewEvent } from '../src/core/event.js';
import {
  BATCH_AT_ONCE_BYTES_MAX,
  BATCH_CHANNELS_MAX,
  BODY_BYTES_MAX,
  JSON_DEPTH_MAX,
  WORK_SLICE_MS,
} from '../src/limits.js';
import { readBatch } from '../src/transports/batch.js';
import { readEvents, type BodyFormat } from '../src/transports/publish.js';

const LIMIT = 64 * 1024;
const code = (name: string): unknown => expect.objectContaining({ code: name });

const BATCH: BodyFormat = { channel: 'c', kind: 'batch', type: undefined };

/** Reads a batch that is read at once. */
function readNow(...parameters: Parameters<typeof readEvents>): readonly NewEvent[] {
  const events = readEvents(...parameters);
  assert.ok(!(events instanceof Promise));
  return events;
}

/** Reads a batch that is read in slices. */
async function readLater(body: Buffer, maxEventBytes = LIMIT): Promise<readonly NewEvent[]> {
  const events = readEvents(BATCH, body, maxEventBytes);
  assert.ok(events instanceof Promise);
  return events;
}

function readLine(line: string): { type: string | undefined; data: string; json: boolean } {
  const [event, ...others] = readNow(BATCH, Buffer.from(line), LIMIT);
  assert.equal(others.length, 0);
  assert.equal(event!.channel, 'c');
  return { type: event!.type, data: Buffer.from(event!.data).toString(), json: event!.json };
}

/** White space of JSON without LF, which ends a line of a batch. */
const blanks = fc.string({ unit: fc.constantFrom(' ', '\t', '\r'), maxLength: 3 });

/**
 * JSON texts whose bytes say more than their value: long numbers, exponents, escapes, blanks,
 * repeated names, nested "data".
 */
const jsonTexts = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'json' },
    fc.constantFrom(
      '0',
      '-0',
      '1.0',
      '1e2',
      '1E+2',
      '12345678901234567890',
      '0.1000',
      'true',
      'false',
      'null',
    ),
    fc.constantFrom(
      '""',
      '"\\""',
      '"\\\\"',
      '"\\\\\\""',
      '"{"',
      '"]}"',
      '"\\u0064ata"',
      '",\\"data\\":1"',
      '"é😀\\ud83d\\ude00"',
      '"a:b,c"',
    ),
    fc
      .tuple(blanks, fc.array(tie('value'), { maxLength: 3 }), blanks)
      .map(([before, items, after]) => `[${before}${items.join(`${after},${before}`)}${after}]`),
    fc
      .array(
        fc.tuple(
          fc.constantFrom(
            '"data"',
            '"event"',
            '"a"',
            '"\\""',
            '"\\\\"',
            '"d\\u0061ta"',
            '"{"',
            '""',
          ),
          blanks,
          tie('value'),
        ),
        { maxLength: 3 },
      )
      .map(
        (members) =>
          `{${members.map(([name, blank, value]) => `${blank}${name}${blank}:${blank}${value}${blank}`).join(',')}}`,
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
          assert.deepEqual(read, {
            type: type === null ? undefined : (JSON.parse(type) as string),
            data: value,
            json: true,
          });
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('that is a string is its text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), blanks, (text, b) => {
        assert.deepEqual(readLine(`{"data"${b}:${b}${JSON.stringify(text)}}`), {
          type: undefined,
          data: text,
          json: false,
        });
      }),
    );
  });

  test('is the last of several members of that name, as JSON.parse takes it', () => {
    fc.assert(
      fc.property(fc.array(jsonTexts, { minLength: 1, maxLength: 4 }), (values) => {
        const last = values.at(-1)!;
        const read = readLine(`{${values.map((value) => `"data":${value}`).join(', ')}}`);
        if (last.startsWith('"'))
          assert.deepEqual(
            [read.data, read.json],
            [Buffer.from(JSON.parse(last) as string).toString(), false],
          );
        else assert.deepEqual([read.data, read.json], [last, true]);
      }),
      { numRuns: 300 },
    );
  });

  test('whose name is written with escapes is found all the same, also beside one that is not', () => {
    expect(readLine('{"d\\u0061ta": {"a":1}}')).toEqual({
      type: undefined,
      data: '{"a":1}',
      json: true,
    });
    for (const line of [
      '{"data":1,"d\\u0061ta":[2]}',
      '{"d\\u0061ta":1,"data":[2]}',
      '{"data":"text","\\u0064ata":[2]}',
    ]) {
      expect({ line, data: JSON.parse(readLine(line).data) as unknown }).toEqual({
        line,
        data: [2],
      });
    }
  });
});

describe('a batch', () => {
  test('lines end with LF or CRLF, the last maybe with neither; blank lines are none', () => {
    const body = '\n{"data":"a"}\r\n   \n\r\n{"data":"b"}\n\t{"data":{"c":1}}';
    const events = readNow(BATCH, Buffer.from(body), LIMIT);
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
    ['{"data":\0}', 'HOLDLINE_BAD_BATCH'],
    ['\0', 'HOLDLINE_BAD_BATCH'],
    [`{"data":${'['.repeat(JSON_DEPTH_MAX)}${']'.repeat(JSON_DEPTH_MAX)}}`, 'HOLDLINE_BAD_BATCH'],
    [`{"data":1,"a":${'['.repeat(20_000)}`, 'HOLDLINE_BAD_BATCH'],
  ])('with %.40s on line 3 of 5 is refused whole, and the line is named', (line, expected) => {
    const body = ['{"data":1}', '{"data":2}', line, '{"data":4}', '{"data":5}'].join('\n');
    const read = (): unknown => readEvents(BATCH, Buffer.from(body), LIMIT);
    expect(read).toThrow(code(expected));
    expect(read).toThrow(/^line 3: /);
  });

  test('without an event, with blank lines only, or with a type for all is refused', () => {
    for (const body of ['', '\n', '\n \r\n\t'])
      expect(() => readEvents(BATCH, Buffer.from(body), LIMIT)).toThrow(code('HOLDLINE_BAD_BATCH'));
    expect(() => readEvents({ ...BATCH, type: 'note' }, Buffer.from('{"data":1}'), LIMIT)).toThrow(
      code('HOLDLINE_BAD_QUERY'),
    );
  });

  test('has at most 10,000 events', async () => {
    const body = (count: number): Buffer => Buffer.from('{"data":1}\n'.repeat(count));
    expect((await readLater(body(10_000))).length).toBe(10_000);
    await expect(readLater(body(10_001))).rejects.toEqual(code('HOLDLINE_TOO_LARGE'));
  });
});

describe('a large batch', () => {
  const lines = (count: number, line = JSON.stringify({ data: 'x'.repeat(240) })): string =>
    `${line}\n`.repeat(count);

  test('is read whole, in order, as a small one is', async () => {
    const count = 8000;
    const body = Buffer.from(
      Array.from({ length: count }, (_, i) => `{"event":"e${i % 7}","data":{"n":${i}.0}}`).join(
        '\n',
      ),
    );
    assert.ok(body.length > BATCH_AT_ONCE_BYTES_MAX);
    const events = await readLater(body);
    assert.deepEqual(
      events.map(({ type, data, json }) => [type, Buffer.from(data).toString(), json]),
      Array.from({ length: count }, (_, i) => [`e${i % 7}`, `{"n":${i}.0}`, true]),
    );
  });

  test('with one bad line, the last, is refused whole, and the line is named', async () => {
    const body = Buffer.from(`${lines(400)}\n${lines(400)}{"data":}`);
    await expect(readLater(body)).rejects.toEqual(code('HOLDLINE_BAD_BATCH'));
    await expect(readLater(body)).rejects.toThrow(/^line 802: not JSON: unexpected "}" at byte 8/);
  });

  test('leaves the loop to others after every slice, however many are read', async () => {
    // As many as fill the bound on bodies, a megabyte each.
    const body = Buffer.from(lines(4000));
    const turnsMs: number[] = [];
    // Processor time, because the machine may be busy with other tests.
    const spentMs = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1000;
    let lastMs = spentMs();
    let reading = 16;
    const all = Array.from({ length: reading }, async () => {
      assert.equal((await readLater(body)).length, 4000);
      reading--;
    });
    while (reading > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      const nowMs = spentMs();
      turnsMs.push(nowMs - lastMs);
      lastMs = nowMs;
    }
    await Promise.all(all);
    // The median, because a garbage collection may fall into some of them.
    expect(turnsMs.length).toBeGreaterThan(5);
    expect(turnsMs.toSorted((a, b) => a - b)[turnsMs.length >> 1]).toBeLessThan(5 * WORK_SLICE_MS);
  });

  test('one that is short is not behind those that are long', async () => {
    const done: string[] = [];
    const long = Array.from({ length: 4 }, async () => {
      await readLater(Buffer.from(lines(10_000)));
      done.push('long');
    });
    await readLater(Buffer.from(lines(300)));
    done.push('short');
    await Promise.all(long);
    expect(done).toEqual(['short', 'long', 'long', 'long', 'long']);
  });

  test.each([
    ['an array', `{"data":[${'1,'.repeat(BODY_BYTES_MAX / 2 - 10)}1]}`],
    ['arrays in arrays', `{"data":${'['.repeat(BODY_BYTES_MAX - 20)}`],
    ['a string', `{"data":"${'x'.repeat(BODY_BYTES_MAX - 20)}"}`],
    ['an escaped name', `{"\\u0064ata":"${'x'.repeat(BODY_BYTES_MAX - 20)}"}`],
    ['no JSON', 'x'.repeat(BODY_BYTES_MAX)],
  ])('of one line of 4 MiB that is %s is refused unread', async (_name, line) => {
    const body = Buffer.from(line);
    const spentMs: number[] = [];
    for (let time = 0; time < 5; time++) {
      const began = process.cpuUsage();
      await expect(readLater(body)).rejects.toThrow(/^line 1: it must be at most \d+ bytes/);
      const { user, system } = process.cpuUsage(began);
      spentMs.push((user + system) / 1000);
    }
    // It was once 636 ms; what is left is the search for its end, and the check of its UTF-8. The
    // least, because a collection of what other tests left may fall into some of them.
    expect(Math.min(...spentMs)).toBeLessThan(50);
  });

  test('of blank lines costs no more than its bytes', async () => {
    const body = Buffer.from(
      `${'\n'.repeat(BODY_BYTES_MAX / 2)}${' \n'.repeat(100_000)}{"data":1}`,
    );
    expect((await readLater(body)).length).toBe(1);
    await expect(readLater(Buffer.alloc(BODY_BYTES_MAX, '\n'))).rejects.toEqual(
      code('HOLDLINE_BAD_BATCH'),
    );
  });

  test('a line of escapes as long as any event needs is read', async () => {
    const text = '\u0001'.repeat(9000);
    const line = JSON.stringify({ event: '\ud83d\ude00'.repeat(32), data: text }).replace(
      /[\ud800-\udfff]/g,
      (unit) => {
        return `\\u${unit.charCodeAt(0).toString(16)}`;
      },
    );
    const events = await readLater(Buffer.from(`${line}\n${lines(300)}`));
    expect([events[0]!.type, Buffer.from(events[0]!.data).toString()]).toEqual([
      '😀'.repeat(32),
      text,
    ]);
  });
});

describe('a batch whose lines name their channels', () => {
  /** Channel, type and data of each event. */
  const read = (body: string): unknown[] => {
    const events = readBatch(undefined, Buffer.from(body), LIMIT);
    assert.ok(Array.isArray(events));
    return (events as NewEvent[]).map(({ channel, type, data, json }) => [
      channel,
      type,
      Buffer.from(data).toString(),
      json,
    ]);
  };

  test('has each event on its own, whatever the order and the escapes of the members', () => {
    const body = [
      '{"channel":"a","data":1.0}',
      '{ "data" : "text" , "event":"e", "channel" : "org/7/b" }',
      '{"ch\\u0061nnel":"org\\/7\\u002fb","data":{"channel":"x"}}',
      '{"channel":"x","channel":"a","data":1,"data":2}',
    ].join('\n');
    expect(read(body)).toEqual([
      ['a', undefined, '1.0', true],
      ['org/7/b', 'e', 'text', false],
      ['org/7/b', undefined, '{"channel":"x"}', true],
      ['a', undefined, '2', true],
    ]);
  });

  test.each([
    ['{"data":1}', 'HOLDLINE_BAD_BATCH', '"channel" is missing'],
    ['{"channel":"a"}', 'HOLDLINE_BAD_BATCH', '"data" is missing'],
    ['{"channel":1,"data":1}', 'HOLDLINE_BAD_BATCH', '"channel" must be a string'],
    ['{"channel":["a"],"data":1}', 'HOLDLINE_BAD_BATCH', '"channel" must be a string'],
    ['{"channel":null,"data":1}', 'HOLDLINE_BAD_BATCH', '"channel" must be a string'],
    ['{"channels":"a","data":1}', 'HOLDLINE_BAD_BATCH', 'channel'],
    ['{"channel":"a","data":1,"__proto__":{}}', 'HOLDLINE_BAD_BATCH', '__proto__'],
    ['{"channel":"a","channel":"","data":1}', 'HOLDLINE_BAD_CHANNEL', '0 characters'],
    ['{"channel":"a,b","data":1}', 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
    ['{"channel":"/a","data":1}', 'HOLDLINE_BAD_CHANNEL', 'an empty segment'],
    ['{"channel":"a/../b","data":1}', 'HOLDLINE_BAD_CHANNEL', 'a leading, trailing or double dot'],
    ['{"channel":"-/stats","data":1}', 'HOLDLINE_BAD_CHANNEL', 'reserved'],
    ['{"channel":"a%7Eb","data":1}', 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
    ['{"channel":"\\u0000","data":1}', 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
    [`{"channel":"${'x'.repeat(129)}","data":1}`, 'HOLDLINE_BAD_CHANNEL', '129 characters'],
    ['{"channel":"\\ud800","data":1}', 'HOLDLINE_BAD_BATCH', 'half of a surrogate pair'],
    ['{"channel":"a","data":1,"event":"gap"}', 'HOLDLINE_BAD_EVENT_TYPE', 'gap'],
    ['["a",1]', 'HOLDLINE_BAD_BATCH', 'must be an object {"channel","event"?,"data"}'],
    [`{"channel":${'['.repeat(JSON_DEPTH_MAX)}`, 'HOLDLINE_BAD_BATCH', 'levels'],
  ])('with %.40s on line 2 of 3 is refused whole as %s', (line, expected, words) => {
    const body = `{"channel":"a","data":1}\n${line}\n{"channel":"b","data":2}`;
    const reading = (): unknown => read(body);
    expect(reading).toThrow(code(expected));
    expect(reading).toThrow(/^line 2: /);
    expect(reading).toThrow(words);
  });

  test('without an event says what a line is', () => {
    expect(() => read('\n')).toThrow('send a line {"channel","event"?,"data"} for each event');
  });

  test('names at most 1,000 channels, each of them as often as it likes', () => {
    const names = Array.from({ length: BATCH_CHANNELS_MAX }, (_, i) => `c${i}`);
    const body = (all: readonly string[]): string =>
      all.map((name) => `{"channel":"${name}","data":1}\n`).join('');
    expect(read(body([...names, ...names]))).toHaveLength(2 * BATCH_CHANNELS_MAX);
    expect(() => read(body([...names, 'more']))).toThrow(code('HOLDLINE_TOO_LARGE'));
  });

  test('of a single channel has members of another name, as before', () => {
    expect(() => readEvents(BATCH, Buffer.from('{"channel":"a","data":1}'), LIMIT)).toThrow(
      code('HOLDLINE_BAD_BATCH'),
    );
  });
});
