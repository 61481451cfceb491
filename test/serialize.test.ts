/** Serializers: objects published through the library. */
import { expect, test } from 'vitest';
import { compileSerializers } from '../src/core/serialize.js';

const PRICE = {
  type: 'object',
  properties: { symbol: { type: 'string' }, price: { type: 'number' } },
} as const;

test('with a schema for its type an object is written by it; without one, as JSON.stringify does', () => {
  const serialize = compileSerializers({ price: PRICE });
  const value = { price: 1.5, symbol: 'A"B', secret: 'not in the schema' };
  expect(JSON.parse(serialize('price', value))).toEqual({ symbol: 'A"B', price: 1.5 });
  expect(serialize('other', value)).toBe(JSON.stringify(value));
  expect(serialize(undefined, [1, null, 'x'])).toBe('[1,null,"x"]');
});

test('names that every object has are no schemas', () => {
  const serialize = compileSerializers({});
  for (const type of ['constructor', '__proto__', 'toString'])
    expect(serialize(type, { a: 1 })).toBe('{"a":1}');
});

test('what has no JSON form is HOLDLINE_BAD_JSON', () => {
  const serialize = compileSerializers({ price: PRICE });
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  const bad: unknown = expect.objectContaining({ code: 'HOLDLINE_BAD_JSON' });
  for (const value of [undefined, () => 1, Symbol('s'), 1n, circular])
    expect(() => serialize('any', value)).toThrow(bad);
  expect(() => serialize('price', { price: 'dear' })).toThrow(bad);
  expect(() => serialize('price', { price: 'dear' })).toThrow(/schema of "price"/);
});

test('what a schema would write that is no JSON is refused', () => {
  const serialize = compileSerializers({
    any: { type: 'object', properties: { a: {} } },
    list: { type: 'array' },
    unsafe: { type: 'object', properties: { a: { type: 'string', format: 'unsafe' } } },
  });
  const bad: unknown = expect.objectContaining({ code: 'HOLDLINE_BAD_JSON' });
  expect(() => serialize('any', { a: () => 1 })).toThrow(bad);
  expect(() => serialize('any', { a: { toJSON: () => undefined } })).toThrow(bad);
  expect(() => serialize('list', [1, undefined])).toThrow(bad);
  expect(() => serialize('unsafe', { a: 'a "quote"' })).toThrow(/schema of "unsafe"/);
  expect(serialize('any', { a: [undefined] })).toBe('{"a":[null]}');
  expect(serialize('unsafe', { a: 'plain' })).toBe('{"a":"plain"}');
});

test('a value that throws something else than an error is refused in words', () => {
  const serialize = compileSerializers({});
  for (const [thrown, words] of [
    [null, 'null'],
    ['too young', 'too young'],
  ] as const) {
    const toJSON = (): never => {
      // oxlint-disable-next-line typescript/only-throw-error -- That it is none is the point.
      throw thrown;
    };
    expect(() => serialize('any', { toJSON })).toThrow(
      expect.objectContaining({
        code: 'HOLDLINE_BAD_JSON',
        message: expect.stringContaining(words) as string,
      }),
    );
  }
});

test('a broken schema fails when it is compiled, and is named', () => {
  expect(() =>
    compileSerializers({
      fine: PRICE,
      broken: { type: 'object', properties: { a: { $ref: '#/nowhere' } } },
    }),
  ).toThrow(
    expect.objectContaining({
      code: 'HOLDLINE_BAD_OPTION',
      message: expect.stringContaining('"broken"') as string,
    }),
  );
});
