/** The contract of logs, on the log on disk in both durabilities, and on the log in memory. */
import { SYSTEM_CLOCK } from '../src/clock.js';
import { makeCounters } from '../src/counters.js';
import { MemoryLog } from '../src/log/memory-log.js';
import { logContract } from './log-contract.js';
import { contractLog } from './support/lmdb-log.js';

logContract('on disk, sync', { make: () => contractLog(), idsFollow: true, isAtomic: true });

logContract('on disk, async', {
  make: () => contractLog({ durability: 'async' }),
  idsFollow: true,
  isAtomic: true,
});

logContract('in memory', {
  make: () =>
    Promise.resolve({ log: new MemoryLog(SYSTEM_CLOCK, makeCounters(), 1), remove: () => {} }),
  idsFollow: true,
  isAtomic: true,
});
