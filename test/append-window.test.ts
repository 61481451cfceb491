/** What a log is given of a channel grows while it answers in time, and shrinks when not. */
import { expect, test } from 'vitest';
import { AppendWindow } from '../src/core/append-window.js';
import {
  APPEND_LATENCY_MS,
  APPEND_WINDOW_BYTES_MAX,
  APPEND_WINDOW_BYTES_MIN,
} from '../src/limits.js';

/** The most that it takes beside one byte, found by halving. */
function sizeOf(window: AppendWindow): number {
  let [low, high] = [0, 4 * APPEND_WINDOW_BYTES_MAX];
  while (low + 1 < high) {
    const middle = Math.floor((low + high) / 2);
    if (window.hasRoom(1, middle)) low = middle;
    else high = middle;
  }
  return low + 1;
}

test('a channel of which the log has nothing is always given', () => {
  expect(new AppendWindow().hasRoom(0, 100 * APPEND_WINDOW_BYTES_MAX)).toBe(true);
});

test('it grows only while publishes wait, up to its bound', () => {
  const window = new AppendWindow();
  for (let i = 0; i < 1_000; i++) window.answered(16_384, i, i + 1, false);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
  for (let i = 0; i < 4; i++) window.answered(16_384, i, i + 1, true);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN + 16_384);
  for (let i = 0; i < 10_000; i++) window.answered(16_384, i, i + 1, true);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX);
});

test('late answers of one moment make it smaller once, and it never falls below its bound', () => {
  const window = new AppendWindow();
  for (let i = 0; i < 10_000; i++) window.answered(16_384, i, i + 1, true);
  const lateMs = APPEND_LATENCY_MS + 1;
  for (let i = 0; i < 16; i++) window.answered(16_384, 20_000, 20_000 + lateMs, true);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX * 0.75);
  for (let i = 1; i < 100; i++)
    window.answered(16_384, 20_000 + i * lateMs, 20_000 + (i + 1) * lateMs, true);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
});
