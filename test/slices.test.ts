/** Short work that comes in crowds has its time of a turn; the rest waits for a later one. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { WORK_SLICE_MS } from '../src/limits.js';
import { hasTurnTime, inSlices } from '../src/transports/slices.js';

function work(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('short work is done at once until it has had its time of the turn', async () => {
  await nextTurn();
  expect(hasTurnTime()).toBe(true);
  work(WORK_SLICE_MS + 0.1);
  expect(hasTurnTime()).toBe(false);
  await nextTurn();
  expect(hasTurnTime()).toBe(true);
});

test('what waits is done first, in its order, and not all of it in one turn', async () => {
  await nextTurn();
  const done: number[] = [];
  let turn = 0;
  const turns = new Set<number>();
  const all = Array.from({ length: 8 }, (_, index) =>
    inSlices(() => {
      work(WORK_SLICE_MS / 2);
      turns.add(turn);
      done.push(index);
      return true;
    }),
  );
  expect(hasTurnTime()).toBe(false);
  while (done.length < all.length) {
    await nextTurn();
    turn++;
  }
  await Promise.all(all);
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(turns.size).toBeGreaterThanOrEqual(3);
  expect(hasTurnTime()).toBe(true);
});
