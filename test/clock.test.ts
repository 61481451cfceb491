/** The clock of the system: in which order its turns run what they were asked for. */
import { expect, test } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';

test('what is to be soonest comes first in the next turn, whenever it was asked for', async () => {
  const ran: string[] = [];
  const run = (name: string) => (): void => void ran.push(name);
  SYSTEM_CLOCK.soon(run('a'));
  SYSTEM_CLOCK.soon(() => {
    ran.push('b');
    SYSTEM_CLOCK.soonest(run('soonest of b'));
    SYSTEM_CLOCK.soon(run('soon of b'));
  });
  SYSTEM_CLOCK.soonest(run('1'));
  SYSTEM_CLOCK.soonest(run('2'));
  await new Promise((resolve) => setImmediate(resolve));
  expect(ran.slice(0, 4)).toEqual(['1', '2', 'a', 'b']);
  await new Promise((resolve) => setImmediate(resolve));
  expect(ran).toEqual(['1', '2', 'a', 'b', 'soonest of b', 'soon of b']);
});

test('nothing that is to be soonest runs in the turn that asks for it', async () => {
  let hasRun = false;
  SYSTEM_CLOCK.soonest(() => (hasRun = true));
  await Promise.resolve();
  expect(hasRun).toBe(false);
  await new Promise((resolve) => setImmediate(resolve));
  expect(hasRun).toBe(true);
});
