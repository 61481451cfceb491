/**
 * What a request asks for: transport, channels, position. The same over the wire is in
 * request.wire.ts and hostile.wire.ts.
 */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import type { Transport } from '../src/core/transport.js';
import type { HttpRequest } from '../src/native/uws.js';
import { checkFraming } from '../src/http/framing.js';
import { Head } from '../src/http/head.js';
import { checkIdempotencyKey, requestKeyOf } from '../src/http/idempotency-key.js';
import { Query } from '../src/http/query.js';
import {
  channelOf,
  channelsOf,
  limitOf,
  negotiate,
  positionOf,
  transportOf,
  waitMsOf,
} from '../src/http/request.js';

/** The head of a request as uWebSockets gives it. */
function headOf(...fields: readonly (readonly [name: string, value: string])[]): Head {
  const request = {
    getCaseSensitiveMethod: () => 'POST',
    getUrl: () => '/c',
    getQuery: () => undefined,
    forEach: (visit: (name: string, value: string) => void) =>
      fields.forEach(([name, value]) => visit(name, value)),
  };
  return new Head(request as unknown as HttpRequest);
}

describe('a head', () => {
  const head = headOf(['x-who', 'first'], ['x-who', 'second'], ['empty', ''], ['__proto__', 'p']);

  test('has the fields of a name joined, and tells one that is empty from none', () => {
    expect(['x-who', 'empty', 'none'].map((name) => head.get(name))).toEqual([
      'first, second',
      '',
      '',
    ]);
    expect([head.find('empty'), head.find('none')]).toEqual(['', undefined]);
    expect([...(head.repeated?.names ?? [])]).toEqual(['x-who']);
    expect(Object.entries(head.toObject())).toEqual([
      ['x-who', 'first, second'],
      ['empty', ''],
      ['__proto__', 'p'],
    ]);
  });

  test('has what repeats, however many fields are between, and one after the other', () => {
    const names = Array.from({ length: 60 }, (_, i) => `x-${i.toString(36)}`);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...names, 'accept', 'cookie'), { maxLength: 20 }),
        (all) => {
          const read = headOf(...all.map((name, i) => [name, `v${i}`] as const));
          const twice = new Set(all.filter((name, i) => all.indexOf(name) !== i));
          expect(read.repeated?.names ?? new Set()).toEqual(twice);
          for (const name of all) {
            const values = all.flatMap((one, i) => (one === name ? [`v${i}`] : []));
            expect(read.get(name)).toBe(values.join(name === 'cookie' ? '; ' : ', '));
          }
        },
      ),
    );
  });

  test.each([
    'authorization',
    'content-type',
    'idempotency-key',
    'last-event-id',
    'origin',
    'sec-fetch-site',
  ])('with two values of %s is refused, with one twice it has that one', (name) => {
    expect(() => checkFraming(headOf([name, 'a'], ['accept', '*/*'], [name, 'b']))).toThrow(
      expect.objectContaining({
        code: 'HOLDLINE_BAD_HEADER',
        message: expect.stringContaining(name) as string,
      }),
    );
    const same = headOf([name, 'a'], ['accept', '*/*'], [name, 'a']);
    expect(() => checkFraming(same)).not.toThrow();
    expect(same.get(name)).toBe('a');
  });

  test.each([
    [
      ['host', 'a'],
      ['host', 'a'],
    ],
    [
      ['content-length', '3'],
      ['content-length', '3'],
    ],
    [
      ['content-length', ''],
      ['content-length', '3'],
    ],
    [['content-length', '']],
    [['content-length', '+3']],
    [['content-length', '3, 3']],
    [['transfer-encoding', '']],
    [['transfer-encoding', 'identity']],
    [['transfer-encoding', 'chunked, gzip']],
    [
      ['transfer-encoding', 'chunked'],
      ['transfer-encoding', 'chunked'],
    ],
  ] as const)('with borders that are not certain is refused: %j', (...fields) => {
    expect(() => checkFraming(headOf(...fields))).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_FRAMING' }),
    );
  });

  test('with one length, or in chunks, is fine', () => {
    for (const fields of [[], [['content-length', '0']], [['transfer-encoding', 'Chunked']]] as [
      string,
      string,
    ][][]) {
      expect(() => checkFraming(headOf(...fields))).not.toThrow();
    }
  });
});

describe('transport', () => {
  test.each<[accept: string, query: boolean, transport: Transport]>([
    ['', false, 'sse'],
    ['', true, 'poll'],
    ['*/*', false, 'sse'],
    ['*/*', true, 'poll'],
    ['text/event-stream', false, 'sse'],
    ['text/event-stream', true, 'sse'],
    ['application/x-ndjson', false, 'ndjson'],
    ['application/json', false, 'poll'],
    ['application/ndjson', false, 'ndjson'],
    ['application/jsonl; charset=utf-8', true, 'ndjson'],
    ['Application/X-JSONLines;q=0.9, application/json;q=0.8', false, 'ndjson'],
    ['application/json-lines', false, 'ndjson'],
    ['text/x-ndjson', false, 'ndjson'],
    ['application/json, text/event-stream', false, 'sse'],
    ['application/json, application/x-ndjson', false, 'ndjson'],
    ['application/json, text/event-stream;q=0.9', false, 'poll'],
    ['text/event-stream;q=0.5, application/x-ndjson;q=0.6', false, 'ndjson'],
    ['text/event-stream; charset=utf-8; q=0.5, application/json;q=0.4', false, 'sse'],
    ['text/event-stream;q=0', false, 'sse'],
    ['text/event-stream;q=0', true, 'poll'],
    ['application/json;q=0, text/event-stream;q=0.001', true, 'sse'],
    ['TEXT/Event-Stream', true, 'sse'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', false, 'sse'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', true, 'poll'],
    ['application/*', true, 'poll'],
    ['image/png', false, 'sse'],
    ['text/event-stream;q=nonsense, application/json;q=0.1', false, 'poll'],
    ['text/event-stream;q=7, application/x-ndjson', false, 'sse'],
    [',,;q=1,/', false, 'sse'],
  ])('Accept: %s with poll parameters %s is %s', (accept, query, transport) => {
    expect(negotiate('', accept, query)).toBe(transport);
  });

  test('an upgrade to websocket beats everything, another upgrade nothing', () => {
    expect(negotiate('websocket', 'text/event-stream', true)).toBe('websocket');
    expect(negotiate('WebSocket', '', false)).toBe('websocket');
    expect(negotiate('h2c', 'application/json', false)).toBe('poll');
  });

  test('since, wait and limit each ask for a poll where nothing else is accepted', () => {
    for (const name of ['since', 'wait', 'limit']) {
      expect(transportOf(headOf(), new Query(`${name}=1`))).toBe('poll');
      expect(transportOf(headOf(['accept', 'text/event-stream']), new Query(`${name}=1`))).toBe(
        'sse',
      );
    }
    expect(transportOf(headOf(), new Query('last=1&envelope=1&x=since'))).toBe('sse');
  });

  test('whatever is accepted there is an answer: one that is explicitly accepted with the highest q where there is one', () => {
    const known = ['text/event-stream', 'application/x-ndjson', 'application/json'];
    const ranges = fc.array(
      fc.tuple(
        fc.constantFrom(...known, '*/*', 'text/html', 'application/*'),
        fc.option(fc.constantFrom('0', '0.1', '0.5', '1.0')),
      ),
    );
    fc.assert(
      fc.property(ranges, fc.boolean(), (given, poll) => {
        const accept = given.map(([type, q]) => (q === null ? type : `${type};q=${q}`)).join(', ');
        const answered = negotiate('', accept, poll);
        const qOf = (type: string): number =>
          Math.max(0, ...given.filter(([name]) => name === type).map(([, q]) => Number(q ?? 1)));
        const best = Math.max(...known.map(qOf));
        if (best === 0) expect(answered).toBe(poll ? 'poll' : 'sse');
        else
          expect(answered).toBe(
            (['sse', 'ndjson', 'poll'] as const)[known.findIndex((type) => qOf(type) === best)],
          );
      }),
    );
  });
});

describe('channels', () => {
  const nameChars = fc.constantFrom(...'ABCZabcz0189_~-:@'.split(''));
  const goodSegments = fc
    .tuple(
      nameChars,
      fc.string({
        unit: fc.oneof(
          { weight: 9, arbitrary: nameChars },
          { weight: 1, arbitrary: fc.constant('.') },
        ),
        maxLength: 30,
      }),
      nameChars,
    )
    .map((parts) => parts.join('').replaceAll(/\.{2,}/g, '.'));
  const goodNames = fc
    .array(goodSegments, { minLength: 1, maxLength: 4 })
    .map((segments) =>
      segments
        .join('/')
        .slice(0, 128)
        .replace(/[./]+$/, ''),
    )
    .filter((name) => !name.startsWith('-/'));

  test('up to 16 names of the grammar are read as they stand, each once, in their order', () => {
    fc.assert(
      fc.property(
        fc.array(goodNames, { minLength: 1, maxLength: 16 }),
        fc.boolean(),
        (names, twice) => {
          expect(channelsOf(`/${(twice ? [...names, ...names] : names).join(',')}`)).toEqual([
            ...new Set(names),
          ]);
        },
      ),
    );
  });

  test('a name with one character of another kind is refused, wherever it stands', () => {
    const badChars = fc.oneof(
      fc.constantFrom(
        ...'%+ !"#$&\'()*;<=>?[\\]^`{|}'.split(''),
        '\0',
        '\n',
        '\x7f',
        'é',
        '漢',
        '％',
      ),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    );
    fc.assert(
      fc.property(
        goodNames,
        badChars,
        fc.nat(),
        fc.constantFrom('', 'a,', 'a,b,'),
        (name, bad, at, before) => {
          fc.pre(!/^[A-Za-z0-9._~:@,/-]$/.test(bad));
          const cut = at % name.length;
          const given = `/${before}${name.slice(0, cut)}${bad}${name.slice(cut)}`;
          expect(() => channelsOf(given)).toThrow(
            expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
          );
        },
      ),
    );
  });

  test.each([
    '/',
    '/,',
    '/a,',
    '/,a',
    '/a,,b',
    '/.',
    '/..',
    '/.a',
    '/a.',
    '/a..b',
    '/a,.b',
    '/a/./b',
    '/a/../b',
    '/a/..',
    '/a./b',
    '/a/.b',
    '/a/,b',
    '/a,/b',
    '/-/a',
    '/a,-/stats',
    `/${'x'.repeat(64)}/${'x'.repeat(64)}`,
    '/a%3Ab',
    '/a%40b',
    '/org%2F7/b',
    '/org/1%2Corg/2',
    `/${'x'.repeat(129)}`,
    '/%61',
    '/a%2Cb',
    '/a%2cb',
    '/a%2Fb',
    '/a%25b',
    '/a%257Eb',
    '/%2E%2E',
    '/a%7',
    '/a%',
  ])('%s is HOLDLINE_BAD_CHANNEL', (path) => {
    expect(() => channelsOf(path)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
    );
  });

  test('of percent-encoding only the tilde is decoded, in either case', () => {
    expect(channelsOf('/a%7Eb,%7e,%7E%7e')).toEqual(['a~b', '~', '~~']);
    expect(channelsOf('/a~b,a%7Eb')).toEqual(['a~b']);
    expect(channelOf('/%7Eme')).toBe('~me');
  });

  test('a comma separates whole names, which may have segments', () => {
    expect(channelsOf('/org/1/a,org/2/b')).toEqual(['org/1/a', 'org/2/b']);
    expect(channelsOf('/-,a/-,-a/b')).toEqual(['-', 'a/-', '-a/b']);
    expect(channelsOf('/user:7@eu,@,:/%7E')).toEqual(['user:7@eu', '@', ':/~']);
    expect(channelOf('/org/7/alerts')).toBe('org/7/alerts');
  });

  /** The grammar once more, a character at a time, as docs/use.md says it. */
  const isName = (name: string): boolean => {
    const segments = name.split('/');
    return (
      name.length <= 128 &&
      !(segments.length > 1 && segments[0] === '-') &&
      segments.every(
        (segment) =>
          segment.length > 0 &&
          segment.at(0) !== '.' &&
          segment.at(-1) !== '.' &&
          segment
            .split('')
            .every(
              (char, i) =>
                'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~-:@'.includes(
                  char,
                ) ||
                (char === '.' && segment[i + 1] !== '.'),
            ),
      )
    );
  };

  test('what is a name and what is not is as the words say, of paths made of its pieces', () => {
    const pieces = fc.array(
      fc.oneof(
        {
          weight: 6,
          arbitrary: fc.constantFrom('a', 'Z9', '-', ':', '@', '_', '~', 'x'.repeat(60)),
        },
        { weight: 3, arbitrary: fc.constantFrom('/', '.') },
        { weight: 1, arbitrary: fc.constantFrom('//', '..', '%2F', '%7F', '*', '\\', 'é', '\n') },
      ),
      { minLength: 1, maxLength: 9 },
    );
    fc.assert(
      fc.property(fc.array(pieces, { minLength: 1, maxLength: 3 }), (names) => {
        const given = names.map((name) => name.join(''));
        const path = `/${given.join(',')}`;
        const read = (): readonly string[] => channelsOf(path);
        if (path.includes('//') || path.endsWith('/'))
          expect(read).toThrow(expect.objectContaining({ code: 'HOLDLINE_NOT_FOUND' }));
        else if (given.every(isName)) expect(read()).toEqual([...new Set(given)]);
        else expect(read).toThrow(expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }));
      }),
      { numRuns: 3000 },
    );
  });

  test('17 different names are too many, 16 named twice are not', () => {
    const names = Array.from({ length: 17 }, (_, i) => `c${i}`);
    expect(() => channelsOf(`/${names.join(',')}`)).toThrow(/at most 16 channels.*17/);
    expect(channelsOf(`/${[...names.slice(1), ...names.slice(1)].join(',')}`)).toEqual(
      names.slice(1),
    );
  });

  test.each(['//', '//a', '/a//b', '/a/', '/a/b/', '/a,b/', '/favicon.ico', '/robots.txt'])(
    '%s is HOLDLINE_NOT_FOUND',
    (path) => {
      expect(() => channelsOf(path)).toThrow(
        expect.objectContaining({ code: 'HOLDLINE_NOT_FOUND' }),
      );
    },
  );

  test('a publish goes to one', () => {
    expect(channelOf('/a')).toBe('a');
    expect(channelOf('/a,a')).toBe('a');
    expect(() => channelOf('/a,b')).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
    );
  });
});

describe('position', () => {
  test.each<[header: string | undefined, query: string | undefined, position: unknown]>([
    [undefined, undefined, { kind: 'live' }],
    [undefined, '', { kind: 'live' }],
    ['1', 'lastEventId=3&since=4&last=5', { kind: 'after', id: 1 }],
    [undefined, 'last=5&since=4&lastEventId=2&last_event_id=2', { kind: 'after', id: 2 }],
    [undefined, 'Last-Event-ID=3', { kind: 'after', id: 3 }],
    [undefined, 'last-event-id=3&since=4', { kind: 'after', id: 3 }],
    [undefined, 'lastEventID=3', { kind: 'after', id: 3 }],
    [undefined, 'LAST_EVENT_ID=3', { kind: 'after', id: 3 }],
    [undefined, 'last%5Fevent%5Fid=3', { kind: 'after', id: 3 }],
    [undefined, 'since=4&since=4', { kind: 'after', id: 4 }],
    [undefined, 'last=5&since=4&lastEventId=3', { kind: 'after', id: 3 }],
    [undefined, 'last=5&since=4', { kind: 'after', id: 4 }],
    [undefined, 'last=5', { kind: 'last', count: 5 }],
    [undefined, 'since=latest&last=5', { kind: 'live' }],
    [undefined, 'since=0', { kind: 'after', id: 0 }],
    [undefined, 'since=%34', { kind: 'after', id: 4 }],
    ['abc', 'since=4', { kind: 'foreign' }],
    ['', 'since=4', { kind: 'foreign' }],
  ])('Last-Event-ID "%s" and ?%s', (header, query, position) => {
    expect(positionOf(header, new Query(query))).toEqual(position);
  });

  test.each([
    'since=4&since=5',
    'last_event_id=2&lastEventId=3',
    'lastEventId=3&x=1&Last-Event-ID=4',
    'last=1&last=2',
    'since=latest&since=4',
  ])('two that disagree are refused: ?%s', (query) => {
    expect(() => positionOf(undefined, new Query(query))).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_QUERY' }),
    );
  });

  test('a bad value in the query is refused even where something stronger beats it', () => {
    for (const query of [
      'since=-1',
      'last=x',
      'lastEventId=',
      'last_event_id=1e9',
      'since=1&last=1.0',
      'since=1%00',
      'since=+1',
    ]) {
      expect(() => positionOf('1', new Query(query))).toThrow(
        expect.objectContaining({ code: 'HOLDLINE_BAD_POSITION' }),
      );
    }
  });
});

test('a query is decoded once, as browsers encode it; what is not UTF-8 is refused when it is asked for', () => {
  const query = new Query('event=a%20b+c&plus=%2B&bad=%ff&broken=%zz&envelope=1&off=0&odd=yes');
  expect(['event', 'plus', 'broken', 'none'].map((name) => query.get(name))).toEqual([
    'a b c',
    '+',
    '%zz',
    undefined,
  ]);
  expect(['envelope', 'off', 'none'].map((name) => query.isSet(name))).toEqual([
    true,
    false,
    false,
  ]);
  for (const ask of [() => query.get('bad'), () => query.isSet('bad'), () => query.isSet('odd')]) {
    expect(ask).toThrow(expect.objectContaining({ code: 'HOLDLINE_BAD_QUERY' }));
  }
});

describe('wait', () => {
  test.each<[query: string, ms: number]>([
    ['', 25_000],
    ['limit=5', 25_000],
    ['wait=0', 0],
    ['wait=00', 0],
    ['wait=25', 25_000],
    ['wait=60', 60_000],
    ['wait=60.000', 60_000],
    ['wait=0.5', 500],
    ['wait=0.001', 1],
    ['wait=59.999', 59_999],
    ['wait=7&wait=7', 7_000],
  ])('?%s is %i ms', (query, ms) => {
    expect(waitMsOf(new Query(query))).toBe(ms);
  });

  test.each([
    '',
    '61',
    '60.001',
    '-1',
    '+1',
    '1e1',
    '0x5',
    '.5',
    '5.',
    '5.0000',
    ' 5',
    '5s',
    'latest',
    '100',
    'Infinity',
    '５',
  ])('wait=%s is HOLDLINE_BAD_QUERY, and what was given is told', (text) => {
    const wait = (): number => waitMsOf(new Query(`wait=${encodeURIComponent(text)}`));
    expect(wait).toThrow(expect.objectContaining({ code: 'HOLDLINE_BAD_QUERY' }));
    expect(wait).toThrow(`(got ${JSON.stringify(text)})`);
  });

  test('a text of any length is told in short', () => {
    expect(() => waitMsOf(new Query(`wait=${'9'.repeat(5000)}`))).toThrow(/^.{0,150}$/);
  });
});

test.each(['wait=7&wait=8', 'limit=1&limit=2', 'envelope=1&envelope=0', 'event=a&event=b'])(
  'a parameter with two values is refused: ?%s',
  (text) => {
    const name = text.split('=')[0] as string;
    expect(() => new Query(text).get(name)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_QUERY' }),
    );
  },
);

describe('limit', () => {
  test('without one a poll takes one event, and not as an array', () => {
    expect(limitOf(new Query('since=0'))).toBe(0);
  });

  test.each([1, 9, 10, 999, 1000])('limit=%i is read', (limit) => {
    expect(limitOf(new Query(`limit=${limit}`))).toBe(limit);
  });

  test.each(['', '0', '00', '01', '1001', '9999', '10000', '-1', '+1', '1.0', '1e2', ' 1', 'all'])(
    'limit=%s is HOLDLINE_BAD_QUERY, and what was given is told',
    (text) => {
      const limit = (): number => limitOf(new Query(`limit=${encodeURIComponent(text)}`));
      expect(limit).toThrow(expect.objectContaining({ code: 'HOLDLINE_BAD_QUERY' }));
      expect(limit).toThrow(`(got ${JSON.stringify(text)})`);
    },
  );
});

describe('the idempotency key of a request', () => {
  const scope = { channel: 'c' };
  const whose = 'Bearer secret';

  test('is the same for the same request, and shows neither credential nor key', () => {
    const given = requestKeyOf({ ...scope, key: 'order 7' }, whose, [
      'text',
      '',
      Buffer.from('body'),
    ]);
    expect(
      requestKeyOf({ ...scope, key: 'order 7' }, whose, ['text', '', Buffer.from('body')]),
    ).toEqual(given);
    expect(JSON.stringify(given)).not.toMatch(/secret|order|body/);
  });

  test('differs with credential, channel and key; what else was asked makes the digest differ', () => {
    const requests = [
      requestKeyOf({ ...scope, key: 'k' }, whose, ['text', '', 'body']),
      requestKeyOf({ ...scope, key: 'k' }, '', ['text', '', 'body']),
      requestKeyOf({ ...scope, key: 'k', channel: 'd' }, whose, ['text', '', 'body']),
      requestKeyOf({ ...scope, key: 'l' }, whose, ['text', '', 'body']),
    ];
    expect(new Set(requests.map(({ key }) => key)).size).toBe(4);
    expect(new Set(requests.map(({ digest }) => digest)).size).toBe(1);
    const asked = [
      ['text', '', 'body'],
      ['json', '', 'body'],
      ['text', 'note', 'body'],
      ['text', '', 'bodz'],
      ['text', '', ''],
    ];
    const digests = asked.map((parts) => requestKeyOf({ ...scope, key: 'k' }, whose, parts).digest);
    expect(new Set(digests).size).toBe(asked.length);
  });

  test('takes the parts for what they are, wherever one ends and the next begins', () => {
    const parts = fc.array(
      fc.string({ unit: fc.constantFrom('a', ':', '1', '2', '0'), maxLength: 4 }),
      {
        minLength: 3,
        maxLength: 3,
      },
    );
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const keyOf = ([credential = '', channel = '', key = '']: string[]): string =>
          requestKeyOf({ key: `${key}k`, channel }, credential, []).key;
        expect(keyOf(one) === keyOf(other)).toBe(one.join('\n') === other.join('\n'));
        const digestOf = (asked: string[]): string =>
          requestKeyOf(
            { ...scope, key: 'k' },
            whose,
            asked.map((part) => Buffer.from(part)),
          ).digest;
        expect(digestOf(one) === digestOf(other)).toBe(one.join('\n') === other.join('\n'));
      }),
    );
  });
});

describe('an Idempotency-Key', () => {
  test.each(['x', '~', ' ', 'a b', 'x'.repeat(128), '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}'])(
    'may be %j',
    (key) => {
      expect(checkIdempotencyKey(key)).toBe(key);
      expect(requestKeyOf({ key, channel: 'c' }, '', []).key).toMatch(/^[\w-]{43}$/);
    },
  );

  test.each(['', 'x'.repeat(129), 'a\tb', '\x7f', 'é', 'a\nb', '\0'])(
    'that is %j is HOLDLINE_BAD_IDEMPOTENCY_KEY',
    (key) => {
      expect(() => checkIdempotencyKey(key)).toThrow(
        expect.objectContaining({ code: 'HOLDLINE_BAD_IDEMPOTENCY_KEY' }),
      );
    },
  );
});
