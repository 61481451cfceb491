/**
 * Frames against byte vectors written by hand and a parser that is not ours; and records, from
 * which frames are made again.
 */
import assert from 'node:assert/strict';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import type { LoggedEvent } from '../src/core/event.js';
import {
  ENCODINGS,
  largestFrameBytes,
  NDJSON,
  retryBlock,
  SSE,
  SSE_DATA,
  SSE_ENVELOPE,
  SSE_ENVELOPE_DATA,
  type Encoding,
} from '../src/core/frame.js';
import { decodeRecord, encodeRecord } from '../src/core/record.js';

const LAST_ID = Number.MAX_SAFE_INTEGER;

function eventOf(data: string | Uint8Array, more: Partial<LoggedEvent> = {}): LoggedEvent {
  return {
    id: 5,
    channel: 'c',
    type: undefined,
    json: false,
    ...more,
    data: typeof data === 'string' ? Buffer.from(data) : data,
  };
}

/** A copy: the next frame is made in the same buffer. */
function frameOf(encoding: Encoding, event: LoggedEvent): Buffer {
  return Buffer.from(encoding.encode(event));
}

/** What an EventSource dispatches for these bytes. */
function parse(bytes: Uint8Array): EventSourceMessage[] {
  const messages: EventSourceMessage[] = [];
  const parser = createParser({
    onEvent: (message) => void messages.push(message),
    onError: (error) => {
      throw error;
    },
  });
  parser.feed(Buffer.from(bytes).toString());
  return messages;
}

/** What a client of lines reads: one object a line, and nothing for an empty one. */
function parseLines(bytes: Uint8Array): unknown[] {
  const text = Buffer.from(bytes).toString();
  assert.ok(text.endsWith('\n'), 'ends with its line');
  const lines = text.slice(0, -1).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
}

/**
 * What a client makes of lines: HTML Standard, 9.2.6 — every data field is a line, and line ends
 * are LF.
 */
function asReceived(text: string): string {
  return text.replaceAll(/\r\n|\r|\n/g, '\n');
}

const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({
    unit: fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      ' ',
      ':',
      'a',
      'data: ',
      '\u0000',
      '\uFEFF',
      '\u2028',
      '😀',
      'é',
      '"',
      '\\',
    ),
    maxLength: 40,
  }),
);
const types = fc.option(
  fc.string({
    unit: fc.constantFrom('a', 'Z', ' ', ':', '"', '\\', 'é', '漢', '😀', '.'),
    minLength: 1,
    maxLength: 32,
  }),
  {
    nil: undefined,
  },
);
const ids = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.constant(LAST_ID),
  fc.maxSafeNat().map((id) => id + 1),
);
const jsonTexts = fc
  .tuple(fc.jsonValue(), fc.constantFrom(undefined, 2, '\r\n', '\t'))
  .map(([value, space]) =>
    JSON.stringify(
      value,
      null,
      space?.toString() === '2' ? 2 : (space as string | undefined),
    ).replaceAll('\n', '\r\n'),
  );

describe('sse', () => {
  test.each<[what: string, event: LoggedEvent, bytes: string]>([
    ['a line', eventOf('hello'), 'id: 5\ndata: hello\n\n'],
    ['a type', eventOf('hello', { type: 'notice' }), 'id: 5\nevent: notice\ndata: hello\n\n'],
    ['no data', eventOf(''), 'id: 5\ndata: \n\n'],
    ['LF', eventOf('a\nb'), 'id: 5\ndata: a\ndata: b\n\n'],
    ['CR', eventOf('a\rb'), 'id: 5\ndata: a\ndata: b\n\n'],
    ['CRLF, one line end', eventOf('a\r\nb'), 'id: 5\ndata: a\ndata: b\n\n'],
    ['LFCR, two line ends', eventOf('a\n\rb'), 'id: 5\ndata: a\ndata: \ndata: b\n\n'],
    ['CRCRLF, two line ends', eventOf('a\r\r\nb'), 'id: 5\ndata: a\ndata: \ndata: b\n\n'],
    ['a trailing LF', eventOf('a\n'), 'id: 5\ndata: a\ndata: \n\n'],
    ['a trailing CR', eventOf('a\r'), 'id: 5\ndata: a\ndata: \n\n'],
    ['a trailing CRLF', eventOf('a\r\n'), 'id: 5\ndata: a\ndata: \n\n'],
    ['nothing but line ends', eventOf('\n\r\n\r'), 'id: 5\ndata: \ndata: \ndata: \ndata: \n\n'],
    [
      'what looks like fields',
      eventOf('id: 9\n\nevent: x\n:c'),
      'id: 5\ndata: id: 9\ndata: \ndata: event: x\ndata: :c\n\n',
    ],
    ['a leading blank', eventOf(' a'), 'id: 5\ndata:  a\n\n'],
    ['NUL', eventOf('a\0b'), 'id: 5\ndata: a\0b\n\n'],
    ['the largest id', eventOf('a', { id: LAST_ID }), 'id: 9007199254740991\ndata: a\n\n'],
    ['a type of two bytes a letter', eventOf('a', { type: 'é' }), 'id: 5\nevent: é\ndata: a\n\n'],
    ['U+2028, no line end here', eventOf('a\u2028b\u0085c'), 'id: 5\ndata: a\u2028b\u0085c\n\n'],
  ])('%s', (_what, event, bytes) => {
    expect(frameOf(SSE, event).toString()).toBe(bytes);
  });

  test('a BOM and characters of four bytes are sent as they stand', () => {
    const data = Buffer.from([0xef, 0xbb, 0xbf, 0xf0, 0x9f, 0x98, 0x80, 0x0a, 0xef, 0xbb, 0xbf]);
    const expected = Buffer.from([
      ...Buffer.from('id: 5\ndata: '),
      ...data.subarray(0, 7),
      ...Buffer.from('\ndata: '),
      ...data.subarray(8),
      10,
      10,
    ]);
    expect(frameOf(SSE, eventOf(data))).toEqual(expected);
  });

  test('64 KiB of line ends grow to their most and no further', () => {
    const frame = frameOf(SSE, eventOf('\n'.repeat(65_536), { id: LAST_ID }));
    expect(frame.length).toBe('id: 9007199254740991\ndata: \n\n'.length + 65_536 * 7);
    expect(parse(frame)[0]?.data).toBe('\n'.repeat(65_536));
  });

  test('a parser that is not ours reads every event back, and each frame is one event', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(ids, types, texts), { minLength: 1, maxLength: 4 }),
        (given) => {
          const frames = given.map(([id, type, text]) => frameOf(SSE, eventOf(text, { id, type })));
          assert.deepEqual(
            parse(Buffer.concat(frames)),
            given.map(([id, type, text]) => ({
              id: String(id),
              event: type,
              data: asReceived(Buffer.from(text).toString()),
            })),
          );
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('sse-env', () => {
  test.each<[what: string, event: LoggedEvent, bytes: string]>([
    ['text', eventOf('hello'), 'id: 5\ndata: {"id":5,"channel":"c","data":"hello"}\n\n'],
    [
      'a type',
      eventOf('hello', { type: 'a"b' }),
      'id: 5\nevent: a"b\ndata: {"id":5,"channel":"c","event":"a\\"b","data":"hello"}\n\n',
    ],
    ['no data', eventOf(''), 'id: 5\ndata: {"id":5,"channel":"c","data":""}\n\n'],
    [
      'line ends in text',
      eventOf('a\r\nb\n'),
      'id: 5\ndata: {"id":5,"channel":"c","data":"a\\r\\nb\\n"}\n\n',
    ],
    ['NUL in text', eventOf('\0'), 'id: 5\ndata: {"id":5,"channel":"c","data":"\\u0000"}\n\n'],
    [
      'JSON',
      eventOf('{"a":[1.0,1e2]}', { json: true }),
      'id: 5\ndata: {"id":5,"channel":"c","data":{"a":[1.0,1e2]}}\n\n',
    ],
    [
      'line ends between tokens',
      eventOf('{\r\n"a":\n1\r}', { json: true }),
      'id: 5\ndata: {"id":5,"channel":"c","data":{  "a": 1 }}\n\n',
    ],
    ['text that is JSON', eventOf('1'), 'id: 5\ndata: {"id":5,"channel":"c","data":"1"}\n\n'],
  ])('%s', (_what, event, bytes) => {
    expect(frameOf(SSE_ENVELOPE, event).toString()).toBe(bytes);
  });

  test('a BOM in text survives', () => {
    expect(frameOf(SSE_ENVELOPE, eventOf('\uFEFFa')).toString()).toBe(
      'id: 5\ndata: {"id":5,"channel":"c","data":"\uFEFFa"}\n\n',
    );
  });

  test('text comes back as the string it was, whatever is in it', () => {
    fc.assert(
      fc.property(ids, types, texts, (id, type, given) => {
        const text = Buffer.from(given).toString();
        const [message, ...others] = parse(frameOf(SSE_ENVELOPE, eventOf(text, { id, type })));
        assert.equal(others.length, 0);
        assert.equal(message?.id, String(id));
        assert.equal(message?.event, type);
        assert.deepEqual(JSON.parse(message?.data ?? ''), {
          id,
          channel: 'c',
          ...(type === undefined ? {} : { event: type }),
          data: text,
        });
      }),
      { numRuns: 400 },
    );
  });

  test('JSON is embedded byte for byte, line ends as blanks', () => {
    fc.assert(
      fc.property(jsonTexts, types, (json, type) => {
        const [message] = parse(frameOf(SSE_ENVELOPE, eventOf(json, { type, json: true })));
        const embedded = (message?.data ?? '').slice(
          `{"id":5,"channel":"c",${type === undefined ? '' : `"event":${JSON.stringify(type)},`}"data":`
            .length,
          -1,
        );
        assert.equal(
          embedded,
          Buffer.from(json)
            .toString()
            .replaceAll(/[\r\n]/g, ' '),
        );
      }),
      { numRuns: 400 },
    );
  });
});

describe('ndjson', () => {
  test.each<[what: string, event: LoggedEvent, bytes: string]>([
    ['text', eventOf('hello'), '{"id":5,"channel":"c","data":"hello"}\n'],
    [
      'a type',
      eventOf('hello', { type: 'a"b' }),
      '{"id":5,"channel":"c","event":"a\\"b","data":"hello"}\n',
    ],
    ['no data', eventOf(''), '{"id":5,"channel":"c","data":""}\n'],
    ['line ends in text', eventOf('a\r\nb\n'), '{"id":5,"channel":"c","data":"a\\r\\nb\\n"}\n'],
    ['U+2028, no line end in JSON', eventOf('\u2028'), '{"id":5,"channel":"c","data":"\u2028"}\n'],
    ['NUL in text', eventOf('\0'), '{"id":5,"channel":"c","data":"\\u0000"}\n'],
    ['a BOM in text', eventOf('\uFEFFa'), '{"id":5,"channel":"c","data":"\uFEFFa"}\n'],
    [
      'JSON',
      eventOf('{"a":[1.0,1e2]}', { json: true }),
      '{"id":5,"channel":"c","data":{"a":[1.0,1e2]}}\n',
    ],
    [
      'a long number',
      eventOf('12345678901234567890', { json: true }),
      '{"id":5,"channel":"c","data":12345678901234567890}\n',
    ],
    [
      'line ends between tokens',
      eventOf('{\r\n"a":\n1\r}', { json: true }),
      '{"id":5,"channel":"c","data":{  "a": 1 }}\n',
    ],
    ['text that is JSON', eventOf('1'), '{"id":5,"channel":"c","data":"1"}\n'],
    [
      'the largest id',
      eventOf('a', { id: LAST_ID }),
      '{"id":9007199254740991,"channel":"c","data":"a"}\n',
    ],
  ])('%s', (_what, event, bytes) => {
    expect(frameOf(NDJSON, event).toString()).toBe(bytes);
  });

  test('JSON.parse reads every event back, and each frame is one line', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(ids, types, texts), { minLength: 1, maxLength: 4 }),
        (given) => {
          const frames = given.map(([id, type, text]) =>
            frameOf(NDJSON, eventOf(text, { id, type })),
          );
          assert.deepEqual(
            parseLines(Buffer.concat(frames)),
            given.map(([id, type, text]) => ({
              id,
              channel: 'c',
              ...(type === undefined ? {} : { event: type }),
              data: Buffer.from(text).toString(),
            })),
          );
        },
      ),
      { numRuns: 400 },
    );
  });

  test('JSON is embedded byte for byte, line ends as blanks, and is the same value', () => {
    fc.assert(
      fc.property(jsonTexts, types, (json, type) => {
        const frame = frameOf(NDJSON, eventOf(json, { type, json: true })).toString();
        const before = `{"id":5,"channel":"c",${type === undefined ? '' : `"event":${JSON.stringify(type)},`}"data":`;
        assert.ok(frame.startsWith(before) && frame.endsWith('}\n'));
        assert.equal(
          frame.slice(before.length, -2),
          Buffer.from(json)
            .toString()
            .replaceAll(/[\r\n]/g, ' '),
        );
        const [object, ...others] = parseLines(Buffer.from(frame)) as { data: unknown }[];
        assert.equal(others.length, 0);
        assert.deepEqual(object?.data, JSON.parse(Buffer.from(json).toString()));
      }),
      { numRuns: 400 },
    );
  });

  test('is the object of the enveloped event stream, on a line of its own', () => {
    fc.assert(
      fc.property(ids, types, texts, fc.boolean(), (id, type, text, json) => {
        const event = eventOf(json ? JSON.stringify(text) : text, { id, type, json });
        const [message] = parse(frameOf(SSE_ENVELOPE, event));
        assert.equal(frameOf(NDJSON, event).toString(), `${message?.data}\n`);
      }),
    );
  });
});

describe.each([
  ['sse-data', SSE_DATA, SSE],
  ['sse-env-data', SSE_ENVELOPE_DATA, SSE_ENVELOPE],
])('without empty blocks, %s', (name, encoding, full) => {
  test('frames and their ring are the same', () => {
    expect([encoding.name, encoding.index]).toEqual([name, full.index]);
    const event = eventOf('a\nb', { id: 9, type: 'x' });
    expect(frameOf(encoding, event)).toEqual(frameOf(full, event));
  });

  test('nothing but an event ends a block, and the event has its own id', () => {
    expect(encoding.prelude(4, 3000)).toBe('retry: 3000\nid: 4\n');
    expect(encoding.heartbeat(7).toString()).toBe(': keepalive\nid: 7\n');
    expect(encoding.heartbeat(undefined).toString()).toBe(': keepalive\n');
    const stream = Buffer.concat([
      Buffer.from(encoding.prelude(4, 3000)),
      encoding.heartbeat(7),
      encoding.probe,
      frameOf(encoding, eventOf('x', { id: 9 })),
      encoding.heartbeat(undefined),
      encoding.gap(9, 12),
      encoding.heartbeat(12),
      encoding.end('draining', true),
    ]);
    expect(stream.toString().split('\n\n').slice(0, -1)).toHaveLength(3);
    expect(parse(stream).map(({ id }) => id)).toEqual(['9', undefined, '12']);
  });
});

describe.each([
  ['sse', SSE],
  ['sse-env', SSE_ENVELOPE],
])('in-band, %s', (_name, encoding) => {
  test('prelude, heartbeat and probe dispatch nothing; gap and end dispatch themselves and carry no id', () => {
    expect(encoding.prelude(4, 3000)).toBe('retry: 3000\nid: 4\n\n');
    expect(encoding.heartbeat(7).toString()).toBe(': keepalive\nid: 7\n\n');
    expect(encoding.heartbeat(undefined).toString()).toBe(': keepalive\n\n');
    expect(retryBlock(250)).toBe('retry: 250\n\n');
    const quiet = Buffer.concat([
      Buffer.from(encoding.prelude(4, 3000)),
      encoding.heartbeat(7),
      encoding.heartbeat(undefined),
      encoding.probe,
      encoding.probe,
    ]);
    expect(parse(quiet)).toEqual([]);
    const loud = Buffer.concat([
      encoding.probe,
      encoding.gap(4, 118),
      encoding.probe,
      encoding.gap(null, null),
      encoding.end('slow', true),
    ]);
    expect(parse(loud)).toEqual([
      { id: undefined, event: 'gap', data: '{"after":4,"before":118}' },
      { id: undefined, event: 'gap', data: '{"after":null,"before":null}' },
      { id: undefined, event: 'end', data: '{"code":"slow","reconnect":true}' },
    ]);
  });

  test('a probe in front of anything changes nothing', () => {
    const event = frameOf(encoding, eventOf('x'));
    expect(parse(Buffer.concat([encoding.probe, event, encoding.probe, event]))).toEqual(
      parse(Buffer.concat([event, event])),
    );
  });
});

test('in-band, ndjson: prelude, heartbeat and probe are empty lines; gap and end are objects of their own and carry no id', () => {
  for (const quiet of [
    NDJSON.prelude(4, 3000),
    NDJSON.heartbeat(7),
    NDJSON.heartbeat(undefined),
    NDJSON.probe,
  ]) {
    expect(quiet.toString()).toBe('\n');
  }
  expect(NDJSON.gap(4, 118).toString()).toBe('{"gap":{"after":4,"before":118}}\n');
  expect(NDJSON.gap(null, null).toString()).toBe('{"gap":{"after":null,"before":null}}\n');
  expect(NDJSON.end('deleted', false).toString()).toBe(
    '{"end":{"code":"deleted","reconnect":false}}\n',
  );
});

test('each encoding stands at its index, under its name', () => {
  expect(ENCODINGS.map(({ name, index }) => [name, index])).toEqual([
    ['sse', 0],
    ['sse-env', 1],
    ['ndjson', 2],
  ]);
});

test('largestFrameBytes is no less than any real frame, and above a limit exactly when one is', () => {
  const limits = fc.oneof(fc.integer({ min: 256, max: 4096 }), fc.constant(65_536));
  fc.assert(
    fc.property(
      texts,
      fc.integer({ min: 1, max: 40 }),
      types,
      limits,
      fc.boolean(),
      (text, times, type, limit, json) => {
        const event = eventOf(json ? JSON.stringify(text.repeat(times)) : text.repeat(times), {
          id: LAST_ID,
          type,
          json,
          channel: 'x'.repeat(times),
        });
        const real = Math.max(...ENCODINGS.map((encoding) => encoding.encode(event).length));
        const told = largestFrameBytes(event, limit);
        assert.equal(
          told > limit,
          real > limit,
          `${told} was told of ${real} bytes, limit ${limit}`,
        );
        if (told <= limit) assert.ok(told >= real);
      },
    ),
    { numRuns: 1000 },
  );
});

test('at the limit to the byte: the largest event that fits is not above it, one byte more is', () => {
  const limit = 1000;
  const fixed = SSE_ENVELOPE.encode(eventOf('', { id: LAST_ID })).length;
  expect(largestFrameBytes(eventOf('x'.repeat(limit - fixed)), limit)).toBe(limit);
  expect(largestFrameBytes(eventOf('x'.repeat(limit - fixed + 1)), limit)).toBeGreaterThan(limit);
});

test('a record gives back the event it was made from, and so the same frames', () => {
  fc.assert(
    fc.property(
      ids,
      types,
      fc.uint8Array({ maxLength: 6000 }),
      fc.boolean(),
      (id, type, data, json) => {
        const event = eventOf(data, { id, type, json, channel: 'some.channel' });
        const record = Buffer.from(encodeRecord(event));
        encodeRecord(eventOf('another one, in the buffer that is used again'));
        const decoded = decodeRecord(id, 'some.channel', record);
        assert.deepEqual(
          { ...decoded, data: Uint8Array.from(decoded.data) },
          { ...event, data: Uint8Array.from(data) },
        );
      },
    ),
  );
});

test('a record tells no type from the shortest type', () => {
  for (const type of [undefined, 'a', '漢'.repeat(64)]) {
    expect(decodeRecord(1, 'c', Buffer.from(encodeRecord(eventOf('data', { type })))).type).toBe(
      type,
    );
  }
});
