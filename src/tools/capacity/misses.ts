/** What did not come as it should in a round of the measurement. */

import type { Books } from '../load/books/books.js';

/** Deliveries that did not come as they should. */
export interface Misses {
  /** Doubled, out of order, or missing although a later event came: something is wrong. */
  readonly faults: number;
  /**
   * Had not come when the round was over: late, or lost. Which of the two, a client cannot tell,
   * as long as nothing came after them; and of a client whose bytes are counted it never can.
   */
  readonly undelivered: number;
}

/**
 * Tells what is wrong from what is late. `isCutShort`: nobody waited for what was under way, and
 * above the highest rate that is much.
 */
export function missesOf(
  books: Pick<
    Books,
    | 'published'
    | 'checkedClients'
    | 'checkedDelivered'
    | 'lost'
    | 'gaps'
    | 'doubled'
    | 'outOfOrder'
    | 'underWay'
  >,
  isCutShort: boolean,
): Misses {
  const { published, checkedClients, checkedDelivered, lost, gaps, doubled, outOfOrder } = books;
  const wrong = doubled + outOfOrder;
  // What is in a gap that the server announced is not missing without notice. Only checked clients
  // see gaps.
  if (isCutShort || gaps > 0 || lost <= 0) return { faults: wrong, undelivered: 0 };
  const skipped = Math.max(0, published * checkedClients - checkedDelivered - books.underWay);
  return { faults: wrong + skipped, undelivered: Math.max(0, lost - skipped) };
}
