/** Ranges of ids that a log on disk may have lost, and how far pages go between them. */
import { expect, test } from 'vitest';
import { LOG_HOLES_MAX } from '../src/limits.js';
import { lostInHoles, pageBetween, withHole, type Hole } from '../src/log/lmdb/holes.js';

const HOLES: readonly Hole[] = [
  { after: 10, through: 20 },
  { after: 20, through: 30 },
  { after: 50, through: 60 },
];

test('a page ends where a hole begins, and one that begins in a hole says what it lacks', () => {
  const pages = [0, 9, 10, 15, 20, 29, 30, 49, 50, 59, 60, 70].map((after) => [
    after,
    pageBetween(HOLES, after, 100),
  ]);
  const page = (through: number, lostThrough: number) => ({ through, lostThrough });
  expect(pages).toEqual([
    [0, page(10, 0)],
    [9, page(10, 0)],
    [10, page(20, 20)],
    [15, page(20, 20)],
    [20, page(50, 30)],
    [29, page(50, 30)],
    [30, page(50, 0)],
    [49, page(50, 0)],
    [50, page(100, 60)],
    [59, page(100, 60)],
    [60, page(100, 0)],
    [70, page(100, 0)],
  ]);
  expect(pageBetween(HOLES, 0, 5)).toEqual(page(5, 0));
  expect(pageBetween([], 0, 5)).toEqual(page(5, 0));
});

test('the newest of a channel lack what the last hole below them has', () => {
  expect([5, 10, 11, 20, 21, 50, 51, 99].map((id) => lostInHoles(HOLES, id))).toEqual([
    0, 0, 20, 20, 30, 30, 60, 60,
  ]);
});

test('past the bound the two oldest become one: what lies between counts as lost, never as there', () => {
  let holes: readonly Hole[] = [];
  for (let i = 1; i <= LOG_HOLES_MAX; i++)
    holes = withHole(holes, { after: i * 10, through: i * 10 + 5 });
  expect(holes).toHaveLength(LOG_HOLES_MAX);
  const more = withHole(holes, { after: 1e6, through: 2e6 });
  expect(more).toHaveLength(LOG_HOLES_MAX);
  expect([more[0], more[1], more.at(-1)]).toEqual([
    { after: 10, through: 25 },
    { after: 30, through: 35 },
    { after: 1e6, through: 2e6 },
  ]);
});
