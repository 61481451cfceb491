/**
 * Market ticks of about 200 bytes: repeated names, symbols, and numbers that move slowly; and the
 * same fields with random values.
 */
import { Random } from './random.js';

const SYMBOLS = ['AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOG', 'META', 'TSLA', 'AVGO', 'JPM', 'XOM'];
const VENUES = ['XNAS', 'ARCX', 'BATS', 'EDGX'];

/** A generator of them as JSON, the same for the same seed. */
export function ticks(seed: number): () => string {
  const random = new Random(seed);
  const prices = SYMBOLS.map(() => 80 + random.below(40_000) / 100);
  let sequence = 1_000_000;
  let timeMs = 1_790_000_000_000;
  return () => {
    const i = random.below(SYMBOLS.length);
    const price = Math.max(1, (prices[i] as number) + (random.below(41) - 20) / 100);
    prices[i] = price;
    timeMs += random.below(20);
    return JSON.stringify({
      symbol: SYMBOLS[i],
      venue: random.pick(VENUES),
      sequence: ++sequence,
      price: Number(price.toFixed(2)),
      size: (1 + random.below(20)) * 100,
      bid: Number((price - 0.01).toFixed(2)),
      ask: Number((price + 0.01).toFixed(2)),
      bidSize: (1 + random.below(30)) * 100,
      askSize: (1 + random.below(30)) * 100,
      time: new Date(timeMs).toISOString(),
      conditions: ['T'],
    });
  };
}

/** Characters of each random value; the first digit of a number is not 0. */
const RANDOM_LETTERS = [4, 4, 1];
const RANDOM_DIGITS = [7, 6, 5, 6, 6, 5, 5];
const RANDOM_TIMES_MS = 10 * 365 * 86_400_000;

/** What no compressor can do without, bytes an event: the entropy of the random values. */
export const RANDOM_TICK_ENTROPY_BYTES =
  (RANDOM_LETTERS.map((count) => count * Math.log2(26)).reduce((sum, bits) => sum + bits) +
    RANDOM_DIGITS.map((count) => Math.log2(9 * 10 ** (count - 1))).reduce(
      (sum, bits) => sum + bits,
    ) +
    Math.log2(RANDOM_TIMES_MS)) /
  8;

/**
 * A generator of ticks with random values: each is drawn anew, every letter and digit of it alike.
 */
export function randomTicks(seed: number): () => string {
  const random = new Random(seed);
  const letters = (count: number): string =>
    Array.from({ length: count }, () => String.fromCharCode(65 + random.below(26))).join('');
  const digits = (count: number): number => random.between(10 ** (count - 1), 10 ** count - 1);
  // Not a number, whose last zeros JSON would leave out.
  const price = (): string => (digits(6) / 100).toFixed(2);
  return () =>
    `{"symbol":"${letters(4)}","venue":"${letters(4)}","sequence":${digits(7)},"price":${price()},` +
    `"size":${digits(5)},"bid":${price()},"ask":${price()},"bidSize":${digits(5)},` +
    `"askSize":${digits(5)},"time":"${new Date(1_577_836_800_000 + Math.floor(random.next() * RANDOM_TIMES_MS)).toISOString()}",` +
    `"conditions":["${letters(1)}"]}`;
}
