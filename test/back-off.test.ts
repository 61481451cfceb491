/** Back-off: the pause before something is tried again. */
import { expect, test } from 'vitest';
import { backOffMs } from '../src/back-off.js';

test('a pause doubles with each failure, up to the longest, however many there were', () => {
  const pauses = [0, 1, 2, 3, 4].map((failures) => backOffMs(failures, 100, 1_000));
  expect(pauses).toEqual([100, 200, 400, 800, 1_000]);
  expect(backOffMs(100_000, 100, 1_000)).toBe(1_000);
});
