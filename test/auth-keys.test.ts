/** Static keys and rights: which key is found, what it may do, and what a user is. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { StaticKeys } from '../src/auth/keys.js';
import { compilePattern } from '../src/auth/pattern.js';
import { isUserName, makeRights } from '../src/auth/rights.js';

const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');

const KEYS = new StaticKeys([
  { name: 'ci', sha256: sha256('one'), publish: ['build/**'], user: 'robot' },
  { name: 'ui', sha256: sha256('two').toUpperCase(), subscribe: ['*'], watch: ['a'] },
  { name: 'root', sha256: sha256('three'), delete: ['**'], ops: true },
]);

test('a key has the rights of its entry and no others', () => {
  const ci = KEYS.find('one')!;
  expect(ci).toMatchObject({
    user: 'robot',
    credential: 'key:ci',
    isOps: false,
    issuedAtMs: undefined,
    expiresAtMs: undefined,
  });
  expect(ci.may('publish', 'build/7')).toBe(true);
  expect(ci.may('publish', 'build')).toBe(false);
  for (const action of ['subscribe', 'delete', 'watch'] as const)
    expect(ci.may(action, 'build/7')).toBe(false);
  const ui = KEYS.find('two')!;
  expect([ui.user, ui.may('subscribe', 'b'), ui.may('watch', 'a'), ui.may('watch', 'b')]).toEqual([
    undefined,
    true,
    true,
    false,
  ]);
  expect(KEYS.find('three')).toMatchObject({ isOps: true, credential: 'key:root' });
});

test.each(['', 'on', 'one ', 'One', sha256('one')])('%j is no key', (given) => {
  expect(KEYS.find(given)).toBeUndefined();
});

test('without keys there are none', () => {
  expect(new StaticKeys([]).find('one')).toBeUndefined();
});

test('an action that is left out is no right', () => {
  const grants = { subscribe: [compilePattern('a')!] };
  const rights = makeRights({ user: undefined, credential: 'x', grants });
  expect(rights.may('subscribe', 'a')).toBe(true);
  expect(rights.may('delete', 'a')).toBe(false);
});

test.each([
  ['ann', true],
  ['auth0|5f7c', true],
  ['Ann Lee', true],
  ['ü@example', true],
  ['x'.repeat(128), true],
  ['x'.repeat(129), false],
  ['', false],
  ['a\r\nb', false],
  ['a\u0000', false],
  ['a\u202e', false],
  ['a\u2028b', false],
  ['\ud800', false],
  [7, false],
  [undefined, false],
])('%j as a user: %s', (value, expected) => expect(isUserName(value)).toBe(expected));
