/** When a load run takes its clients to have everything. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { emptyTally } from '../src/tools/load/clients/tally.js';
import { untilQuiet } from '../src/tools/load/processes/settling.js';
import { totalsOf, type FleetTotals } from '../src/tools/load/processes/totals.js';

const CHECKED = { checkedClients: 1, checkedDelivered: 1 };

/** Waits for one event. */
function untilQuietWith(readTotals: () => FleetTotals): Promise<void> {
  return untilQuiet({
    publishing: { published: { count: 1 } as never, pending: 0, answered: 1 },
    isOver: () => false,
    areAllChecked: false,
    stallMs: 5_000,
    readTotals: () => Promise.resolve(readTotals()),
  });
}

test('clients that only count bytes may stand still for a while before the last ones come', async () => {
  let countedBytes = 1_000;
  const last = sleep(350).then(() => (countedBytes = 1_100));
  await untilQuietWith(() => ({
    ...totalsOf([]),
    ...CHECKED,
    joined: 2,
    delivered: 1.9,
    tally: { ...emptyTally(), countedBytes },
  }));
  expect(countedBytes).toBe(1_100);
  await last;
});

test('clients that have the very bytes of every event are waited for no longer', async () => {
  const looksWith = async (delivered: number): Promise<number> => {
    let looks = 0;
    await untilQuietWith(() => {
      looks++;
      return { ...totalsOf([]), ...CHECKED, joined: 3, delivered };
    });
    return looks;
  };
  const looks = await Promise.all([3 + 1e-9, 3.01, 2.99].map(looksWith));
  expect(looks[0]).toBeLessThan(looks[1]!);
  expect(looks[1]).toBe(looks[2]);
});
