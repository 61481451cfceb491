/**
 * The scanner of clients' JSON, with JSON.parse as the oracle: what it accepts, and which bytes it
 * finds.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { JSON_DEPTH_MAX } from '../src/limits.js';
import { isNumber, isObject, isString, Members, scanJson } from '../src/transports/json.js';
import { stringBytes, stringOf } from '../src/transports/json-text.js';

function faultOf(text: string | Buffer, members?: Members): ReturnType<typeof scanJson> {
  const bytes = Buffer.from(text as string);
  return scanJson(bytes, 0, bytes.length, members);
}

/** Whether a JSON text has half of a surrogate pair as an escape. */
function hasHalf(text: string): boolean {
  const pair = /\\ud[89ab][\da-f]{2}\\ud[c-f][\da-f]{2}/gi;
  const escapes = text.replaceAll(/\\\\/g, '').replaceAll(pair, '');
  return /\\ud[89a-f]/i.test(escapes);
}

function parses(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

/** White space of JSON, all four kinds. */
const blanks = fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n'), maxLength: 3 });

/**
 * A string in one of its many spellings: as it is, with short escapes, or with some or all of its
 * units as \u.
 */
const strings = fc
  .tuple(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom('data', 'event', 'a', '', '"', '\\', '{', '😀', '\ud83d'),
    ),
    fc.infiniteStream(fc.nat(3)),
  )
  .map(([text, ways]) => {
    let out = '';
    for (const unit of text.split('')) {
      const hex = unit.charCodeAt(0).toString(16).padStart(4, '0');
      const mode = ways.next().value as number;
      const isHalf = /[\ud800-\udfff]/.test(unit);
      if (mode === 0 || isHalf) out += `\\u${mode === 0 ? hex : hex.toUpperCase()}`;
      else if (mode === 1 && unit === '/') out += '\\/';
      else out += JSON.stringify(unit).slice(1, -1);
    }
    return `"${out}"`;
  });

const numbers = fc.oneof(
  fc.constantFrom(
    '0',
    '-0',
    '1.0',
    '1e2',
    '1E+2',
    '-1.50e-07',
    '12345678901234567890',
    '0.1000',
    '9'.repeat(400),
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
);

const texts = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'json' },
    fc.constantFrom('true', 'false', 'null'),
    numbers,
    strings,
    fc
      .tuple(blanks, fc.array(tie('value'), { maxLength: 4 }), blanks)
      .map(([before, items, after]) => `[${before}${items.join(`${after},${before}`)}${after}]`),
    fc
      .array(fc.tuple(strings, blanks, tie('value'), blanks), { maxLength: 4 })
      .map(
        (all) =>
          `{${all.map(([name, a, value, b]) => `${a}${name}${b}:${a}${value}${b}`).join(',')}}`,
      ),
  ),
})).value;

const nested = (levels: number, open: string, inner: string, close: string): string =>
  open.repeat(levels) + inner + close.repeat(levels);

describe('what is JSON', () => {
  test('is what JSON.parse takes and UTF-8 can carry', () => {
    fc.assert(
      fc.property(blanks, texts, blanks, (before, text, after) => {
        const fault = faultOf(before + text + after);
        assert.equal(fault?.kind, hasHalf(text) ? 'surrogate' : undefined);
      }),
      { numRuns: 2000 },
    );
  });

  test('and nothing else: the same texts with bytes changed, left out and put in', () => {
    const change = fc.tuple(
      fc.nat(200),
      fc.nat(2),
      fc.oneof(
        fc.constantFrom(...Buffer.from('{}[]",:\\ue0123456789-+. \n\t\0truefalsn')),
        fc.nat(255),
      ),
    );
    fc.assert(
      fc.property(texts, fc.array(change, { minLength: 1, maxLength: 4 }), (text, changes) => {
        const bytes = [...Buffer.from(text)];
        for (const [at, kind, byte] of changes) {
          if (kind === 0) bytes.splice(at % (bytes.length + 1), 0, byte);
          else bytes.splice(at % (bytes.length + 1), 1, ...(kind === 1 ? [byte] : []));
        }
        const changed = Buffer.from(bytes);
        fc.pre(changed.equals(Buffer.from(changed.toString())));
        const isTaken = parses(changed) && !hasHalf(changed.toString());
        assert.equal(faultOf(changed) === undefined, isTaken);
      }),
      { numRuns: 10_000 },
    );
  });

  test.each([
    '',
    ' ',
    '{',
    '[',
    '"',
    '"\\',
    '"\\u',
    '"\\u12',
    '"\\u12g4"',
    '"\\ud83d\\ue.00"',
    '"\\ud83d\\u-e00"',
    '"\\x"',
    '-',
    '-a',
    '01',
    '1.',
    '.5',
    '1e',
    '1e+',
    '+1',
    '0x1',
  ])('%j is not JSON', (text) => expect(faultOf(text)).toMatchObject({ kind: 'syntax' }));

  test.each([
    'tru',
    'nul',
    'nulll',
    'True',
    'NaN',
    '[1,]',
    '[,1]',
    '{,}',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{a:1}',
    '[1 2]',
    '{]',
    '[}',
  ])('%j is not JSON', (text) => expect(faultOf(text)).toMatchObject({ kind: 'syntax' }));

  test('a part of a larger text is read to its end and no further', () => {
    const bytes = Buffer.from('[1,{"a":"b"},23]');
    expect(scanJson(bytes, 3, 12)).toBeUndefined();
    expect(scanJson(bytes, 13, 14)).toBeUndefined();
    expect(scanJson(bytes, 3, 11)).toMatchObject({ kind: 'syntax' });
    expect(scanJson(bytes, 3, 13)).toMatchObject({
      kind: 'syntax',
      message: 'unexpected "," at byte 9',
    });
  });
});

describe('half of a surrogate pair', () => {
  test.each([
    ['"\\ud800"', 1],
    ['"\\uD83D"', 1],
    ['"\\udc00"', 1],
    ['"\\uDFFF"', 1],
    ['"\\ude00\\ud83d"', 1],
    ['"\\ud83d\\ud83d\\ude00"', 1],
    ['"\\ud83d\\ude00\\ude00"', 13],
    ['"\\ud83dx\\ude00"', 1],
    ['"\\ud83d\\n\\ude00"', 1],
    ['"\\\\\\ud83d"', 3],
    ['{"a":[{"\\ud800":1}]}', 8],
    ['["😀","\\udbff"]', 9],
  ])('is a fault: %s at byte %i', (text, at) => {
    expect(faultOf(text)).toEqual({
      kind: 'surrogate',
      message: `half of a surrogate pair at byte ${at}; send both halves, or the character itself`,
    });
  });

  test.each([
    '"\\ud83d\\ude00"',
    '"\\uD83D\\uDE00"',
    '"\\ud7ff\\ue000"',
    '"\\\\ud83d"',
    '"\\u0d80\\uad8d"',
    '"😀"',
  ])('is none in %s', (text) => expect(faultOf(text)).toBeUndefined());

  test.each(['"\\ud83d', '"\\ud83d\\u"', '"\\ud83d\\ude0"', '["\\ud83d"'])(
    'is not looked for in what is not JSON: %s',
    (text) => expect(faultOf(text)).toMatchObject({ kind: 'syntax' }),
  );

  test('of one text is forgotten by the next', () => {
    expect([faultOf('"\\ud83d"')?.kind, faultOf('"a"')]).toEqual(['surrogate', undefined]);
  });
});

describe('depth', () => {
  test.each([
    ['arrays', '[', '1', ']'],
    ['empty arrays', '[', '', ']'],
    ['objects', '{"a":', '1', '}'],
    ['objects with escaped names', '{"\\u0061":', '1', '}'],
    ['both', '[{"":', '"[["', '}]'],
  ])(
    '%s are taken to the bound, and refused above it, however deep',
    (_name, open, inner, close) => {
      const levels = (open.match(/[[{]/g) ?? []).length;
      const most = JSON_DEPTH_MAX / levels;
      expect(faultOf(nested(most, open, inner, close))).toBeUndefined();
      for (const depth of [most + 1, 5_000, 20_000, 100_000])
        expect(faultOf(nested(depth, open, inner, close))).toMatchObject({ kind: 'depth' });
      expect(faultOf(open.repeat(100_000))).toMatchObject({ kind: 'depth' });
    },
  );

  test('many arrays beside each other are not deep', () => {
    expect(faultOf(`[${'[],{},'.repeat(100_000)}1]`)).toBeUndefined();
  });
});

describe('members of an object', () => {
  test('are the bytes that were sent, and mean what JSON.parse reads, with escaped names, repeated names and blanks', () => {
    const names = ['data', 'event', 'a'];
    const wanted = new Members(names);
    const name = fc.oneof(
      fc.constantFrom(
        '"data"',
        '"event"',
        '"a"',
        '"d\\u0061ta"',
        '"\\u0065\\u0076ent"',
        '"\\u0061"',
        '"dat"',
        '"data2"',
        '"é"',
      ),
      strings,
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, texts, blanks, blanks), { maxLength: 6 }),
        blanks,
        (all, around) => {
          fc.pre(!all.some(([one, value]) => hasHalf(one) || hasHalf(value)));
          const text = `${around}{${all.map(([one, value, a, b]) => `${a}${one}${b}:${a}${value}${b}`).join(',')}}${around}`;
          const bytes = Buffer.from(text);
          assert.equal(scanJson(bytes, 0, bytes.length, wanted), undefined);
          // Name by name: after an object whose second name is a backslash, JSON.parse of V8 13.6
          // (Node 24.21) reads the second name of {"data":1,"\\u0061":2} as a backslash, too.
          const oracle = new Map<string, unknown>(
            all.map(([spelled, value]) => [JSON.parse(spelled) as string, JSON.parse(value)]),
          );
          for (const [n, one] of names.entries()) {
            const start = wanted.starts[n]!;
            assert.equal(start >= 0, oracle.has(one));
            if (start < 0) continue;
            const found = bytes.toString('utf8', start, wanted.ends[n]);
            // The last one of that name, byte for byte.
            assert.equal(found, all.findLast(([spelled]) => JSON.parse(spelled) === one)![1]);
            assert.deepEqual(JSON.parse(found), oracle.get(one));
          }
          const others = all
            .map(([spelled]) => JSON.parse(spelled) as string)
            .filter((one) => !names.includes(one));
          assert.equal(wanted.unknownStart >= 0, others.length > 0);
          if (others.length > 0) {
            const unknown = stringOf(bytes, wanted.unknownStart - 1, wanted.unknownEnd + 1);
            assert.equal(unknown, Buffer.from(others[0]!).toString());
          }
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('are forgotten by the next scan', () => {
    const wanted = new Members(['a']);
    faultOf('{"a":1,"b":2}', wanted);
    expect([wanted.starts[0], wanted.unknownStart]).toEqual([5, 8]);
    faultOf('[{"a":1,"b":2}]', wanted);
    expect([wanted.starts[0], wanted.unknownStart]).toEqual([-1, -1]);
  });
});

describe('a string', () => {
  test('is its text in UTF-8', () => {
    fc.assert(
      fc.property(strings, (spelled) => {
        fc.pre(!hasHalf(spelled));
        const bytes = Buffer.from(`[${spelled}]`);
        assert.equal(scanJson(bytes, 0, bytes.length), undefined);
        const text = Buffer.from(JSON.parse(spelled) as string);
        assert.deepEqual(Buffer.from(stringBytes(bytes, 1, bytes.length - 1)), text);
        assert.equal(stringOf(bytes, 1, bytes.length - 1), text.toString());
      }),
      { numRuns: 3000 },
    );
  });

  test('without escapes is a view, whatever array holds it', () => {
    const bytes = new Uint8Array(Buffer.from('  "é😀"'));
    const data = stringBytes(bytes, 2, bytes.length);
    expect([data.buffer, stringOf(bytes, 2, bytes.length)]).toEqual([bytes.buffer, 'é😀']);
  });
});

test('the kind of a value is told by its first byte', () => {
  const kinds = (text: string): boolean[] =>
    [isString, isObject, isNumber].map((is) => is(Buffer.from(text), 0));
  expect(['"a"', '{}', '-1', '7', '[]', 'null'].map(kinds)).toEqual([
    [true, false, false],
    [false, true, false],
    [false, false, true],
    [false, false, true],
    [false, false, false],
    [false, false, false],
  ]);
});
