/** Appends that a log on disk has not answered: how many there are, and who is answered. */
import { expect, test } from 'vitest';
import { makeCounters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { KeptReceipts } from '../src/log/kept-receipts.js';
import { PendingAppends } from '../src/log/lmdb/pending-appends.js';
import { events } from './log-contract.js';
import { FakeClock } from './support/fake-clock.js';

function setUp() {
  const clock = new FakeClock();
  const handed: number[] = [];
  const pending = new PendingAppends(clock, new KeptReceipts(clock, makeCounters()), (logged) =>
    handed.push(...logged.map(({ id }) => id)),
  );
  const add = (...names: string[]): Promise<unknown> =>
    pending.add(events(...names)).catch((error: unknown) => (error as HoldlineError).code);
  return { pending, handed, add };
}

const ERROR = new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', 'the log is down');

test('entries count until they have ids, or were refused', async () => {
  const { pending, handed, add } = setUp();
  const answers = [add('a1', 'a2'), add('b1'), add('c1', 'c2', 'c3'), add('d1')];
  expect(pending.entries).toBe(7);
  pending.takeTurn();
  expect(pending.entries).toBe(7);
  pending.settle([{ sequence: 1, firstId: 1 }]);
  expect(pending.entries).toBe(5);
  pending.refuse([2], ERROR);
  expect(pending.entries).toBe(4);
  // It is still to be handed over if it is committed.
  pending.rejectSent(ERROR);
  expect(pending.entries).toBe(4);
  answers.push(add('e1'));
  pending.rejectTurn(ERROR);
  expect(pending.entries).toBe(4);
  pending.settleAfterRestart(5, 5, ERROR);
  expect([pending.entries, handed]).toEqual([0, [1, 2, 3, 4, 5]]);
  const { code } = ERROR;
  expect(await Promise.all(answers)).toEqual([[1, 2], code, code, code, code]);
});

test('what is answered before one that was skipped is handed over', async () => {
  const { pending, handed, add } = setUp();
  const answers = [add('a1'), add('b1'), add('c1')];
  pending.takeTurn();
  const skips = [
    { sequence: 1, firstId: 1 },
    { sequence: 3, firstId: 2 },
  ];
  expect(pending.settle(skips)).toBe(false);
  expect([handed, pending.areSent, pending.entries]).toEqual([[1], true, 2]);
  pending.rejectSent(ERROR);
  expect(await Promise.all(answers)).toEqual([[1], ERROR.code, ERROR.code]);
  expect(pending.areUnknown).toBe(true);
});
