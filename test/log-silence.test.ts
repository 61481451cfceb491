/** When the thread of a log on disk counts as silent. */
import { beforeEach, expect, test } from 'vitest';
import { Silence } from '../src/log/silence.js';
import { FakeClock } from './support/fake-clock.js';

const MOST_MS = 3_000;
/** A check may come a little later. */
const NEARLY_MS = MOST_MS - 200;
const MORE_MS = 400;

let clock: FakeClock;
let silence: Silence;
let isWaiting: boolean;
let silences: number;
beforeEach(() => {
  clock = new FakeClock();
  isWaiting = true;
  silences = 0;
  silence = new Silence(clock, {
    isWaiting: () => isWaiting,
    mostMs: () => MOST_MS,
    silent: () => {
      silences++;
    },
  });
});

test('one that has answered nothing of what waits for a while is silent, once', async () => {
  silence.watch();
  await clock.run(NEARLY_MS);
  expect(silences).toBe(0);
  await clock.run(MORE_MS);
  expect(silences).toBe(1);
  await clock.run(2 * MOST_MS);
  expect([silences, clock.timerCount]).toEqual([1, 0]);
});

test('one that answers now and then is not, however long others wait', async () => {
  silence.watch();
  for (let times = 0; times < 4; times++) {
    await clock.run(NEARLY_MS);
    silence.heard();
    silence.watch();
  }
  expect(silences).toBe(0);
});

test('one that nobody waits for is not, and nothing looks for it', async () => {
  silence.watch();
  isWaiting = false;
  await clock.run(2 * MOST_MS);
  expect([silences, clock.timerCount]).toEqual([0, 0]);
  isWaiting = true;
  silence.watch();
  await clock.run(NEARLY_MS);
  expect(silences).toBe(0);
});

test('the time in which this loop was held does not count', async () => {
  silence.watch();
  await clock.run(NEARLY_MS);
  clock.pass(10 * MOST_MS);
  clock.runTimers();
  expect(silences).toBe(0);
  // Now what was answered is read.
  silence.heard();
  await clock.run(NEARLY_MS);
  expect(silences).toBe(0);
});
