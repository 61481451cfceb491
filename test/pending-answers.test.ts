/**
 * Answers that wait for their sockets: how they are counted, and which one is given up when they
 * are too many.
 */
import { expect, test } from 'vitest';
import { makeCounters } from '../src/counters.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { POLL_BODY_BYTES_MAX } from '../src/limits.js';
import { PendingAnswers, type PendingAnswer } from '../src/http/pending-answers.js';

const LIMIT = 100_000;

function setUp() {
  const counters = makeCounters();
  const held = makeHeldBytes();
  const pending = new PendingAnswers(counters, held, LIMIT);
  const gone: string[] = [];
  const answer = (name: string, body: Uint8Array): PendingAnswer => {
    const one: PendingAnswer = {
      pendingBody: body,
      closeSocket() {
        gone.push(name);
        pending.remove(one);
      },
    };
    pending.add(one);
    return one;
  };
  return { counters, held, pending, gone, answer };
}

test('a body that several wait with counts once, until the last of them is gone', () => {
  const { held, pending, answer } = setUp();
  const body = Buffer.alloc(30_000);
  const answers = ['a', 'b', 'c'].map((name) => answer(name, body));
  expect(held.answers).toBe(30_000);
  pending.remove(answers[0]!);
  pending.remove(answers[0]!);
  pending.remove(answers[1]!);
  expect(held.answers).toBe(30_000);
  pending.remove(answers[2]!);
  expect(held.answers).toBe(0);
});

test('past the bound the one that has not moved for longest is given up, and never the newest', () => {
  const { counters, held, pending, gone, answer } = setUp();
  const [a] = ['a', 'b', 'c'].map((name) => answer(name, Buffer.alloc(30_000)));
  pending.moved(a!);
  answer('d', Buffer.alloc(30_000));
  expect(gone).toEqual(['b']);
  answer('e', Buffer.alloc(2 * LIMIT));
  expect(gone).toEqual(['b', 'c', 'a', 'd']);
  expect(held.answers).toBe(2 * LIMIT);
  expect(counters).toMatchObject({ answers_pending_total: 5, answers_given_up_total: 4 });
});

test('the next answers are shorter while half the bound is not read', () => {
  const { pending, answer } = setUp();
  expect(pending.bodyBytesMax).toBe(POLL_BODY_BYTES_MAX);
  const waiting = answer('a', Buffer.alloc(LIMIT / 2));
  expect(pending.bodyBytesMax).toBe(64 * 1024);
  pending.remove(waiting);
  expect(pending.bodyBytesMax).toBe(POLL_BODY_BYTES_MAX);
});
