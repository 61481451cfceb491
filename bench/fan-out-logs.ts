/**
 * Fan-out with each log: the fan-out of the server in memory, beside the same with its events on a
 * disk and on NATS, turn by turn.
 */
import { fanOutWith } from './fan-out.js';

export const measureFanOutLogs = fanOutWith(
  {
    targets: ['holdline', 'holdline-lmdb', 'holdline-nats'],
    // The core has room, is just full, and has far more than it can do.
    ratesPerSecond: [5, 10, 1000],
    rounds: 3,
  },
  { freesThreads: true },
);
