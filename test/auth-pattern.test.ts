/** Channel patterns: what each stands for, held against another matcher, and what is none. */
import { fc } from './support/properties.js';
import { describe, expect, it } from 'vitest';
import { compilePattern, matchesAny } from '../src/auth/pattern.js';

/** The rows of the table in the documents: pattern, names that match, names that do not. */
const TABLE: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['news', ['news'], ['new', 'news2', 'news/a', 'News', '']],
  ['*', ['a', 'news', 'a.b-c:d@e'], ['a/b', '']],
  ['tick-*', ['tick-1', 'tick-*'], ['tick-', 'tick-a/b', 'tick', 'xtick-1']],
  ['org/*', ['org/7'], ['org/', 'org', 'org/7/alerts', 'orgs/7']],
  ['org/*/alerts', ['org/7/alerts'], ['org//alerts', 'org/7/8/alerts', 'org/7/alert', 'org/7']],
  ['org/team-*/alerts', ['org/team-1/alerts'], ['org/team-/alerts', 'org/x/alerts']],
  ['org/**', ['org/7', 'org/7/alerts'], ['org', 'org/', 'orgs/7']],
  ['org/7**', ['org/70', 'org/7/alerts'], ['org/7', 'org/8/7']],
  ['*/x/**', ['a/x/b', 'a/x/b/c'], ['a/x', '/x/b', 'a/b/x/c']],
  ['**', ['a', 'a/b/c'], ['']],
];

describe.each(TABLE)('the pattern %s', (text, yes, no) => {
  const pattern = compilePattern(text)!;
  it.each(yes)('stands for %j', (name) => expect(pattern.matches(name)).toBe(true));
  it.each(no)('does not stand for %j', (name) => expect(pattern.matches(name)).toBe(false));
});

it.each([
  '',
  '***',
  '*a',
  'a*b',
  '**/a',
  'a/**/b',
  'a**b',
  'a//b',
  '/a',
  'a/',
  '.',
  '..',
  'a/../b',
  'a b',
  'a,b',
  'ä',
  'a\n',
  '%2a',
  'a?',
  `${'a'.repeat(128)}b`,
])('%j is no pattern', (text) => expect(compilePattern(text)).toBeUndefined());

/** Tries every way to cut the rest of a name: nothing in common with how it is done in fact. */
function stands(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  if (pattern.startsWith('**')) return name.length > 0;
  if (!pattern.startsWith('*'))
    return name.startsWith(pattern[0]!) && stands(pattern.slice(1), name.slice(1));
  for (let taken = 1; taken <= name.length && name[taken - 1] !== '/'; taken++)
    if (stands(pattern.slice(1), name.slice(taken))) return true;
  return false;
}

it('matches as an exhaustive search does', () => {
  const letters = fc.constantFrom('a', 'b', 'ab', '');
  const segment = fc.tuple(letters, fc.constantFrom('*', '')).map((parts) => parts.join(''));
  const pattern = fc
    .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.constantFrom('**', ''))
    .map(([segments, rest]) => segments.join('/') + rest);
  const name = fc.array(fc.constantFrom('a', 'b', '/', '*'), { maxLength: 9 });
  const seen = { true: 0, false: 0 };
  fc.assert(
    fc.property(pattern, name, (text, parts) => {
      const compiled = compilePattern(text);
      if (compiled === undefined) return;
      const expected = stands(text, parts.join(''));
      seen[`${expected}`]++;
      expect(compiled.matches(parts.join(''))).toBe(expected);
    }),
    { numRuns: 8_000 },
  );
  expect(Math.min(seen.true, seen.false)).toBeGreaterThan(200);
});

it('takes a time that grows with the name alone', () => {
  const name = `${'a/'.repeat(63)}b`;
  const worst = compilePattern(`${'*/'.repeat(63)}*`)!;
  const startMs = performance.now();
  for (let i = 0; i < 1_000; i++) expect(worst.matches(name)).toBe(true);
  expect(performance.now() - startMs).toBeLessThan(1_000);
});

it('one of several is enough, and none of none', () => {
  const patterns = ['a', 'b/*'].map((text) => compilePattern(text)!);
  expect(matchesAny(patterns, 'b/c')).toBe(true);
  expect(matchesAny(patterns, 'c')).toBe(false);
  expect(matchesAny([], 'a')).toBe(false);
});
