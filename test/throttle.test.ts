/** What is throttled is said at most once in its time. */
import { expect, test } from 'vitest';
import { throttle } from '../src/throttle.js';

test('the first word is said at once, the next after the time, with the number of those between', () => {
  let nowMs = 0;
  const said: [string, number][] = [];
  const say = throttle<string>(
    1000,
    (word, suppressed) => said.push([word, suppressed]),
    () => nowMs,
  );
  say('a');
  for (nowMs = 1; nowMs < 1000; nowMs += 100) say('b');
  nowMs = 1000;
  say('c');
  nowMs = 5000;
  say('d');
  expect(said).toEqual([
    ['a', 0],
    ['c', 10],
    ['d', 0],
  ]);
});
