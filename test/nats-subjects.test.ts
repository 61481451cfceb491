/** Channels and subjects: one for one, for every name, and in tokens that NATS allows. */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { checkChannelName } from '../src/http/request.js';
import { Subjects } from '../src/log/nats/subjects.js';

const SUBJECTS = new Subjects('holdline');

/** Names that are allowed, with few characters so that near misses are met. */
const NAMES = fc
  .array(fc.stringMatching(/^[a~:@_-]{1,2}$/), { minLength: 1, maxLength: 5 })
  .chain((segments) =>
    fc
      .array(fc.constantFrom('.', '/'), {
        minLength: segments.length - 1,
        maxLength: segments.length - 1,
      })
      .map((between) => segments.map((segment, i) => segment + (between[i] ?? '')).join('')),
  )
  .filter((name) => !name.startsWith('-/'));

describe('the subject of a channel', () => {
  test.each([
    ['orders', 'holdline.orders'],
    ['orders.eu', 'holdline.orders.eu'],
    ['org/7/alerts', 'holdline.org./7./alerts'],
    ['a/b.c', 'holdline.a./b.c'],
  ])('%s → %s', (channel, subject) => {
    expect(SUBJECTS.ofEvents(channel)).toBe(subject);
    expect(SUBJECTS.meaningOf(subject)).toEqual({ channel, isDeletion: false });
  });

  test('leads back to the channel, for every name, and so does that of its deletions', () => {
    fc.assert(
      fc.property(NAMES, (name) => {
        expect(checkChannelName(name)).toBe(name);
        for (const isDeletion of [false, true]) {
          const subject = isDeletion ? SUBJECTS.ofDeletions(name) : SUBJECTS.ofEvents(name);
          expect(subject).toMatch(/^[^\s.*>]+(?:\.[^\s.*>]+)*$/);
          expect(SUBJECTS.meaningOf(subject)).toEqual({ channel: name, isDeletion });
        }
      }),
    );
  });

  test('is not that of another channel', () => {
    fc.assert(
      fc.property(NAMES, NAMES, (a, b) => {
        fc.pre(a !== b);
        expect(SUBJECTS.ofEvents(a)).not.toBe(SUBJECTS.ofEvents(b));
        expect(SUBJECTS.ofEvents(a)).not.toBe(SUBJECTS.ofDeletions(b));
      }),
    );
  });

  test('is of no channel when no channel leads to it', () => {
    for (const tokens of ['a/b', '/a', '$deleted', '$x.a', 'a.b/c'])
      expect([tokens, SUBJECTS.meaningOf(`holdline.${tokens}`)?.channel]).toEqual([
        tokens,
        undefined,
      ]);
  });
});

test('a subject beside the prefix is of others', () => {
  expect(SUBJECTS.meaningOf('holdlines.a')).toBeUndefined();
});

test.each([
  ['holdline', true],
  ['a.b-c.D_1', true],
  ['', false],
  ['a.', false],
  ['a.*', false],
  ['$JS', false],
  ['_INBOX', false],
  ['a b', false],
])('the prefix %j: %s', (prefix, isAccepted) => {
  expect(Subjects.accepts(prefix)).toBe(isAccepted);
});
