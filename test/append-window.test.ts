/** What a log is given of a channel grows while it answers in time, and shrinks when not. */
import { expect, test } from 'vitest';
import { AppendWindow } from '../src/core/append-window.js';
import {
  APPEND_LATE_MS,
  APPEND_LATE_TIMES,
  APPEND_PROBE_MS,
  APPEND_WINDOW_BYTES_MAX,
  APPEND_WINDOW_BYTES_MIN,
} from '../src/limits.js';

const BYTES = 16_384;

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

/** Commits of the same latency, one after the other, until `untilMs`. */
function commit(window: AppendWindow, fromMs: number, untilMs: number, latencyMs: number): void {
  for (let ms = fromMs; ms + latencyMs <= untilMs; ms += latencyMs)
    window.committed(BYTES, ms, ms + latencyMs, true);
}

test('a channel of which the log has nothing is always given', () => {
  expect(new AppendWindow().hasRoom(0, 100 * APPEND_WINDOW_BYTES_MAX)).toBe(true);
});

test('it grows only while publishes wait, up to its bound', () => {
  const window = new AppendWindow();
  for (let ms = 0; ms < 1_000; ms++) window.committed(BYTES, ms, ms + 1, false);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
  commit(window, 1_000, 1_004, 1);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN + 4 * BYTES);
  commit(window, 1_004, 5_000, 1);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX);
});

test('it grows by what was committed until the log was late, then by a quarter of that', () => {
  const window = new AppendWindow();
  // The first was given before the window was made.
  commit(window, 0, 11, 1);
  window.committed(BYTES, 11, 21, true);
  const bytes = (APPEND_WINDOW_BYTES_MIN + 10 * BYTES) / 2;
  expect(sizeOf(window)).toBe(bytes);
  commit(window, 21, 25, 1);
  expect(sizeOf(window)).toBe(bytes + BYTES);
  window.committed(BYTES, 25, 35, true);
  expect(sizeOf(window)).toBe((bytes + BYTES) * 0.75);
});

test('a channel that always wants more does not make a log slow that is looked at again', () => {
  const window = new AppendWindow();
  const bytes = 1_024;
  const given: number[] = [];
  let nowMs = 0;
  let largest = 0;
  // It commits one after the other, 20 KB a ms, and answers a ms later.
  while (nowMs < 8 * APPEND_PROBE_MS) {
    while (window.hasRoom(given.length * bytes, bytes)) given.push(nowMs);
    nowMs += bytes / 20_000;
    window.committed(bytes, given.shift()! - 1, nowMs, true);
    if (nowMs > 2 * APPEND_PROBE_MS) largest = Math.max(largest, sizeOf(window));
  }
  expect(largest).toBeLessThan(160 * 1024);
});

test('a log at a long way has all of its window within seconds, after each look at its speed', () => {
  const window = new AppendWindow();
  const rttMs = 200;
  for (let round = 0; round < 3; round++) {
    const fromMs = round * APPEND_PROBE_MS;
    for (let ms = fromMs; ms < fromMs + 2_000; ms += rttMs) {
      // A round trip's worth of entries, of which the first was alone.
      const bytes = ms === fromMs ? BYTES : sizeOf(window);
      window.committed(bytes, ms - rttMs, ms, true);
    }
    expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX);
  }
});

test('late commits of one moment make it smaller once, and it never falls below its bound', () => {
  const window = new AppendWindow();
  commit(window, 0, 5_000, 1);
  const lateMs = 2 + APPEND_LATE_TIMES;
  for (let i = 0; i < 16; i++) window.committed(BYTES, 5_000, 5_000 + lateMs, true);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX / 2);
  commit(window, 5_000 + lateMs, 8_000, lateMs);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
});

test('commits that are late among others in good time do not make it smaller', () => {
  const window = new AppendWindow();
  commit(window, 0, 5_000, 1);
  for (let ms = 5_000; ms < 6_000; ms++) {
    window.committed(BYTES, ms, ms + 1, true);
    // The log stood still for a moment, of which what had been given then tells.
    if (ms % 10 === 0) window.committed(BYTES, ms - 20, ms + 1, true);
  }
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX);
});

test('a log that answers in a moment may be late by a ms', () => {
  const window = new AppendWindow();
  window.committed(BYTES, 0, 0, true);
  commit(window, 0, 2_000, APPEND_LATE_MS);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MAX);
  commit(window, 2_000, 5_000, APPEND_LATE_MS * 1.1);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
});

test('late is later than the log can be: a slow one is given as much as a fast one', () => {
  const window = new AppendWindow();
  commit(window, 0, 9_000, 50);
  expect(sizeOf(window)).toBeGreaterThan(8 * APPEND_WINDOW_BYTES_MIN);
});

test('how fast the log is is seen again: when it has become slow, the window grows again', () => {
  const window = new AppendWindow();
  commit(window, 0, 5_000, 1);
  commit(window, 5_000, APPEND_PROBE_MS, 50);
  expect(sizeOf(window)).toBe(APPEND_WINDOW_BYTES_MIN);
  commit(window, APPEND_PROBE_MS, APPEND_PROBE_MS + 9_000, 50);
  expect(sizeOf(window)).toBeGreaterThan(8 * APPEND_WINDOW_BYTES_MIN);
});
