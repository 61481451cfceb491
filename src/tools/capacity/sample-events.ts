/**
 * Events by whose likeness compression is judged: those of a file, or made-up market ticks. How
 * much smaller bytes become says nothing without saying which.
 */

import { readFileSync } from 'node:fs';
import { HoldlineError } from '../../errors.js';

/** Events that are read of a file, and that are made up. */
export const SAMPLE_EVENTS = 2_000;

/** With fewer there is not enough to refer back to. */
const SAMPLE_EVENTS_MIN = 20;

/** What compression is judged by. */
export interface Sample {
  /** What the events are, in words. */
  readonly words: string;
  readonly isMadeUp: boolean;
  /** Data of an event each. */
  readonly events: readonly string[];
}

const SYMBOLS = ['AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOG', 'META', 'TSLA', 'AVGO', 'JPM', 'XOM'];
const VENUES = ['XNAS', 'ARCX', 'BATS', 'EDGX'];

/** Market ticks of about 200 bytes, always the same: names that repeat, numbers that move. */
export function marketTicks(count = SAMPLE_EVENTS): Sample {
  let state = 1;
  // Numerical Recipes' generator; the upper bits are random enough.
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const prices = SYMBOLS.map(() => 80 + below(40_000) / 100);
  let timeMs = 1_790_000_000_000;
  const events = Array.from({ length: count }, (_, nth) => {
    const i = below(SYMBOLS.length);
    const price = Math.max(1, prices[i]! + (below(41) - 20) / 100);
    prices[i] = price;
    timeMs += below(20);
    return JSON.stringify({
      symbol: SYMBOLS[i],
      venue: VENUES[below(VENUES.length)],
      sequence: 1_000_000 + nth,
      price: Number(price.toFixed(2)),
      size: (1 + below(20)) * 100,
      bid: Number((price - 0.01).toFixed(2)),
      ask: Number((price + 0.01).toFixed(2)),
      bidSize: (1 + below(30)) * 100,
      askSize: (1 + below(30)) * 100,
      time: new Date(timeMs).toISOString(),
      conditions: ['T'],
    });
  });
  return { words: 'made-up market ticks', isMadeUp: true, events };
}

/** The rows of a file, the first of them. Throws HOLDLINE_BAD_OPTION. */
export function sampleFile(
  path: string,
  readFile: (path: string) => string = (name) => readFileSync(name, 'utf8'),
): Sample {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--sample: "${path}" cannot be read (${(error as Error).message})`,
    );
  }
  const events = text
    .split('\n')
    .map((row) => row.trim())
    .filter((row) => row !== '')
    .slice(0, SAMPLE_EVENTS);
  if (events.length < SAMPLE_EVENTS_MIN)
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `--sample: "${path}" must have the data of an event in each row, and at least ` +
        `${SAMPLE_EVENTS_MIN} rows (got ${events.length})`,
    );
  return { words: `the ${events.length} events of ${path}`, isMadeUp: false, events };
}
