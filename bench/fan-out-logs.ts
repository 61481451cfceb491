/**
 * Fan-out with each log: the fan-out of the server in memory, beside the same with its events on a
 * disk and on NATS, turn by turn.
 */
import { type FanOutParameters, measureFanOut } from './fan-out.js';
import type { FanOutRound, FanOutSummary } from './fan-out-figures.js';
import type { Measured, RunOptions } from './results.js';

const TARGETS = ['holdline', 'holdline-lmdb', 'holdline-nats'];
const RATES_PER_SECOND = [10, 1000];
const ROUNDS = 3;

export function measureFanOutLogs(
  options: RunOptions,
): Promise<Measured<FanOutParameters, FanOutRound, FanOutSummary>> {
  return measureFanOut(
    {
      ...options,
      targets: options.targets ?? TARGETS,
      ratesPerSecond: options.ratesPerSecond ?? RATES_PER_SECOND,
      rounds: options.rounds ?? (options.quick ? undefined : ROUNDS),
    },
    // A log has a thread of its own, which nobody keeps on the core of the loop.
    true,
  );
}
