/** Acts that are each due at a time of their own. */

import { nowUs } from '../books/clock.js';

/** How often is looked whose turn it is. */
const LOOK_MS = 10;

/**
 * Acts when each turn is due, by the clock of event.ts; turns that were missed are made up for.
 * Returns what ends that.
 */
export function inTurns(dueUs: (turn: number) => number, act: (turn: number) => void): () => void {
  let turn = 0;
  const timer = setInterval(() => {
    const now = nowUs();
    for (; dueUs(turn) <= now; turn++) act(turn);
  }, LOOK_MS);
  return () => clearInterval(timer);
}
