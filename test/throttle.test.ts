/** What is throttled is said at most once in its time. */
import { expect, test } from 'vitest';
import { makeCounters } from '../src/counters.js';
import { throttle } from '../src/throttle.js';

test('the first word is said at once, the next after the time, with the number of those between', () => {
  let nowMs = 0;
  const counters = makeCounters();
  const said: [string, number][] = [];
  const say = throttle<string>(
    1000,
    (word, suppressed) => said.push([word, suppressed]),
    counters,
    () => nowMs,
  );
  say('a');
  for (nowMs = 1; nowMs < 1000; nowMs += 100) say('b');
  expect(counters.server_log_suppressed_total, 'counted before the next one tells').toBe(10);
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
