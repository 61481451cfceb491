/** Rows of workers without a log: how long the supervisor keeps them. */
import { expect, test } from 'vitest';
import { MemoryRows } from '../src/workers/rows.js';

const HOUR_MS = 3_600_000;

test('a clock that is ahead for a while removes no revocation, and time that goes by does', async () => {
  let [wallMs, nowMs] = [1_790_000_000_000, 0];
  const rows = new MemoryRows({ wallMs: () => wallMs, nowMs: () => nowMs });
  await rows.put('revocation', 'ann', '1', wallMs + HOUR_MS);
  wallMs += 24 * HOUR_MS;
  await rows.put('revocation', 'bob', '2', wallMs + HOUR_MS);
  wallMs -= 24 * HOUR_MS;
  expect((await rows.load('revocation')).map(({ key }) => key)).toEqual(['ann', 'bob']);
  wallMs += HOUR_MS;
  nowMs += HOUR_MS;
  expect((await rows.load('revocation')).map(({ key }) => key)).toEqual(['bob']);
});
