/** Market ticks of about 200 bytes: repeated names, symbols, and numbers that move slowly. */
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
