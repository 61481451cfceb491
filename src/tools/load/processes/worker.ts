/** A client process of a run: does what the coordinator orders, and ends with it. */

import process from 'node:process';
import { Cohort } from './cohort.js';
import { loopRequests } from './request-loop.js';
import type { Ask, OrderName, Reply } from './messages.js';

let cohort: Cohort | undefined;

/** Does what an order says. The first one is to start, unless requests are all that is wanted. */
function follow(order: OrderName, body: never): unknown {
  if (order === 'requests') return loopRequests(body);
  if (order !== 'start') return cohort![order](body);
  cohort = new Cohort(body, (update) => process.send!(update));
  return undefined;
}

async function answer({ ask, order, body }: Ask): Promise<void> {
  let reply: Reply;
  try {
    reply = { ask, answer: await follow(order, body as never) };
  } catch (error) {
    reply = { ask, error: (error as Error).message };
  }
  process.send!(reply);
}

process.on('message', (ask: Ask) => void answer(ask));

process.on('disconnect', () => process.exit(0));

// Ctrl-C reaches every process of the terminal. It is for the coordinator, which ends the others
// when it has its figures.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
