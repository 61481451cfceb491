/** Actions that are each due at a time of their own. */

import { nowUs } from '../books/clock.js';

/** How often it is checked whose turn it is. */
const CHECK_MS = 10;

/**
 * Acts when each turn is due, by clock.ts; a late turn is made up for. Returns a function that ends
 * this.
 */
export function inTurns(dueUs: (turn: number) => number, act: (turn: number) => void): () => void {
  let turn = 0;
  const timer = setInterval(() => {
    const now = nowUs();
    for (; dueUs(turn) <= now; turn++) act(turn);
  }, CHECK_MS);
  return () => clearInterval(timer);
}
