/**
 * A full core with sweeps of less than 0.2 s: as the fan-out at 1,000 events/s, with fewer lines. A
 * reader on this machine that hears nothing for longer makes the server's core acknowledge for it,
 * so that what makes a sweep a little longer seems to cost much more than it does.
 * native-notes/quick-acknowledgements.md
 */
import { type FanOutParameters, measureFanOut } from './fan-out.js';
import type { FanOutRound, FanOutSummary } from './fan-out-figures.js';
import type { Measured, RunOptions } from './results.js';

const TARGETS = ['holdline', 'slice-loop', 'holdline-lmdb', 'holdline-nats'];
const RATE_PER_SECOND = 1000;
/** Swept in about 0.12 s, a cork each. */
const LINES = 11_000;
const ROUNDS = 3;

export function measureShortSweeps(
  options: RunOptions,
): Promise<Measured<FanOutParameters, FanOutRound, FanOutSummary>> {
  return measureFanOut(
    {
      ...options,
      lines: options.lines ?? (options.quick ? undefined : LINES),
      targets: options.targets ?? TARGETS,
      ratesPerSecond: options.ratesPerSecond ?? [RATE_PER_SECOND],
      rounds: options.rounds ?? (options.quick ? undefined : ROUNDS),
    },
    // A log has a thread of its own, which nobody keeps on the core of the loop.
    true,
  );
}
