/** Positions and gaps: what a client may ask for, and when it has missed something. */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import {
  isGap,
  lastFromQuery,
  parseId,
  positionFromHeader,
  positionFromQuery,
} from '../src/core/position.js';

const LAST_ID = Number.MAX_SAFE_INTEGER;

const UNREADABLE = [
  '', ' ', '-1', '+1', '-0', '00', '01', '1.0', '1e9', '0x10', '1_000', ' 1', '1 ', '1\n', '1\0', 'abc', 'NaN', 'Infinity', '\u0664', '\uFF11', '1n',
  '9007199254740992', '9007199254740993', '9999999999999999', '10000000000000000', '1'.repeat(400),
]; // prettier-ignore

describe('ids', () => {
  test('every id that can be given is read as it is written', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (id) => parseId(String(id)) === id));
    for (const id of [
      0,
      1,
      9,
      10,
      2 ** 31,
      2 ** 32,
      999_999_999_999_999,
      1_000_000_000_000_000,
      LAST_ID,
    ])
      expect(parseId(String(id))).toBe(id);
  });

  test.each(UNREADABLE)('%j is no id', (text) => {
    expect(parseId(text)).toBeUndefined();
  });

  test('a text is an id exactly when it is what an id would be written as', () => {
    const almost = fc.string({
      unit: fc.constantFrom('0', '1', '9', '-', '+', '.', 'e', ' ', 'x'),
      maxLength: 18,
    });
    fc.assert(
      fc.property(almost, (text) => {
        const number = Number(text);
        const isId =
          text !== '' &&
          Number.isSafeInteger(number) &&
          number >= 0 &&
          String(number) === text &&
          !Object.is(number, -0);
        return parseId(text) === (isId ? number : undefined);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('where a line starts', () => {
  test.each(UNREADABLE)(
    '%j in the header is foreign, in the query HOLDLINE_BAD_POSITION',
    (text) => {
      expect(positionFromHeader(text)).toEqual({ kind: 'foreign' });
      for (const name of ['since', 'last_event_id', 'lastEventId']) {
        expect(() => positionFromQuery(name, text)).toThrow(
          expect.objectContaining({ code: 'HOLDLINE_BAD_POSITION' }),
        );
      }
      expect(() => lastFromQuery(text)).toThrow(
        expect.objectContaining({ code: 'HOLDLINE_BAD_POSITION' }),
      );
    },
  );

  test('a refusal names the parameter and shortens what was given', () => {
    expect(() => positionFromQuery('since', 'x'.repeat(10_000))).toThrow(
      /^since .*\(got "x{32}"\)$/,
    );
    expect(() => lastFromQuery('y'.repeat(10_000))).toThrow(/^last .*\(got "y{32}"\)$/);
  });

  test('readable ones', () => {
    expect(positionFromHeader('0')).toEqual({ kind: 'after', id: 0 });
    expect(positionFromHeader(String(LAST_ID))).toEqual({ kind: 'after', id: LAST_ID });
    expect(positionFromQuery('since', '17')).toEqual({ kind: 'after', id: 17 });
    expect(positionFromQuery('since', 'latest')).toEqual({ kind: 'live' });
    expect(lastFromQuery('50')).toEqual({ kind: 'last', count: 50 });
  });

  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['10m', 600_000],
    ['10min', 600_000],
    ['36h', 129_600_000],
    ['999999999d', 999_999_999 * 86_400_000],
  ])('%s is so long ago', (text, ms) => {
    expect(positionFromQuery('since', text)).toEqual({ kind: 'ago', ms });
  });

  test.each([
    ['2026-11-26T20:15:00Z', Date.UTC(2026, 10, 26, 20, 15)],
    ['2026-11-26t20:15:00.250z', Date.UTC(2026, 10, 26, 20, 15, 0, 250)],
    ['2026-11-26T20:15:00+02:00', Date.UTC(2026, 10, 26, 18, 15)],
    // A plus that was not escaped in a query.
    ['2026-11-26T20:15:00 02:00', Date.UTC(2026, 10, 26, 18, 15)],
    ['2026-11-26T20:15:00-05:30', Date.UTC(2026, 10, 27, 1, 45)],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    // A leap second.
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
    ['2017-01-01T01:59:60.500+02:00', Date.UTC(2017, 0, 1)],
  ])('%s is a time', (text, wallMs) => {
    expect(positionFromQuery('since', text)).toEqual({ kind: 'time', wallMs });
  });

  test.each([
    '10 m',
    '-10m',
    '1.5h',
    '10minutes',
    '10M',
    'm',
    '1234567890s',
    '2026-11-26',
    '2026-11-26T20:15Z',
    '2026-11-26T20:15:00',
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-11-26T25:00:00Z',
    '2026-11-26T23:59:61Z',
    '2026-11-26T20:15:00.Z',
    '20261126T201500Z',
    '2026-11-26T20:15:00+0200',
  ])('%s is no time', (text) => {
    expect(() => positionFromQuery('since', text)).toThrow(/or a time such as 10m/);
  });

  test.each(['last_event_id', 'lastEventId'])('a time is a word of since, not of %s', (name) => {
    expect(() => positionFromQuery(name, '10m')).toThrow(/must be an id[^,]*, a whole number/);
    expect(positionFromHeader('10m')).toEqual({ kind: 'foreign' });
  });

  test.each(['last_event_id', 'lastEventId'])('"latest" is a word of since, not of %s', (name) => {
    expect(() => positionFromQuery(name, 'latest')).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_POSITION' }),
    );
  });
});

test.each<[id: number, lost: number, last: number, gap: boolean, why: string]>([
  [0, 0, 0, false, 'nothing has happened'],
  [0, 10, 20, false, 'position 0 asks for what is held'],
  [1, 10, 20, true, 'lost from 2 on'],
  [9, 10, 20, true, 'only 10 is lost'],
  [10, 10, 20, false, 'has seen all that is lost'],
  [11, 10, 20, false, 'within what is held'],
  [20, 10, 20, false, 'has seen everything'],
  [21, 10, 20, true, 'nobody here gave 21'],
  [LAST_ID, 0, LAST_ID, false, 'the last id of all'],
  [LAST_ID, 0, LAST_ID - 1, true, 'not given yet'],
])(
  'position %i with everything through %i lost and the last id %i: gap %s (%s)',
  (id, lost, last, gap) => {
    expect(isGap(id, lost, last)).toBe(gap);
  },
);
