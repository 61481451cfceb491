/**
 * A full core with sweeps of less than 0.2 s: as the fan-out at 1,000 events/s, with fewer lines. A
 * reader on this machine that hears nothing for longer makes the server's core acknowledge for it,
 * so that what makes a sweep a little longer seems to cost much more than it does.
 * native-notes/quick-acknowledgements.md
 */
import { fanOutWith } from './fan-out.js';

export const measureShortSweeps = fanOutWith(
  {
    targets: ['holdline', 'slice-loop', 'holdline-lmdb', 'holdline-nats'],
    ratesPerSecond: [1000],
    /** Swept in about 0.12 s, a cork each. */
    lines: 11_000,
    rounds: 3,
  },
  { freesThreads: true },
);
