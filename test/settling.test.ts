/** When a load run takes its clients to have everything. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { emptyTally } from '../src/tools/load/clients/tally.js';
import { untilQuiet } from '../src/tools/load/processes/settling.js';
import { totalsOf } from '../src/tools/load/processes/totals.js';

test('clients that only count bytes may stand still for a while before the last ones come', async () => {
  let countedBytes = 1_000;
  const last = sleep(350).then(() => (countedBytes = 1_100));
  await untilQuiet({
    publishing: { published: { count: 1 } as never, pending: 0, answered: 1 },
    isOver: () => false,
    areAllChecked: false,
    stallMs: 5_000,
    readTotals: () =>
      Promise.resolve({
        ...totalsOf([]),
        checkedClients: 1,
        checkedDelivered: 1,
        tally: { ...emptyTally(), countedBytes },
      }),
  });
  expect(countedBytes).toBe(1_100);
  await last;
});
