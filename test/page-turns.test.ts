/** Pages for lines of several shelves share one slice of time in a turn of the loop. */
import { expect, test } from 'vitest';
import { PageTurns } from '../src/core/page-turns.js';
import { HISTORY_READS_MAX, SWEEP_SLICE_MS } from '../src/limits.js';
import { FakeClock } from './support/fake-clock.js';

/** As long as a line's corks take. */
const VISIT_MS = 0.1;

test('however many pages are given, a turn takes one slice, and each page has its turn', async () => {
  const clock = new FakeClock();
  const turns = new PageTurns(clock);
  const visits = Array.from({ length: HISTORY_READS_MAX }, () => 0);
  let done = 0;
  for (const [page] of visits.entries())
    void turns
      .give([1, 2, 3], () => {
        clock.pass(VISIT_MS);
        visits[page]! += 1;
        return visits[page]! <= 30;
      })
      .then(() => done++);
  expect(visits).toEqual(visits.map(() => 0));
  let turnsTaken = 0;
  while (done < visits.length) {
    const beforeMs = clock.nowMs();
    clock.runSoon();
    expect(clock.nowMs() - beforeMs).toBeLessThan(SWEEP_SLICE_MS + 2 * VISIT_MS);
    expect(Math.max(...visits) - Math.min(...visits)).toBeLessThanOrEqual(1);
    await Promise.resolve();
    expect(++turnsTaken).toBeLessThan(1_000);
  }
  // Three lines, each until it is told that there is no more.
  expect(visits).toEqual(visits.map(() => 33));
  expect(clock.isIdle).toBe(true);
});

test('a page that comes while none is given begins in the next turn, one without lines ends there', async () => {
  const clock = new FakeClock();
  const turns = new PageTurns(clock);
  for (let page = 0; page < 2; page++) {
    const seen: number[] = [];
    const giving = turns.give([7, 8], (handle) => seen.push(handle) < 3);
    expect(seen).toEqual([]);
    clock.runSoon();
    await giving;
    expect(seen).toEqual([7, 8, 7, 8]);
  }
  const empty = turns.give([], () => true);
  clock.runSoon();
  await empty;
});
