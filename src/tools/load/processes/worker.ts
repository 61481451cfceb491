/** A client process of a run: follows the coordinator's orders, and ends when it does. */

import process from 'node:process';
import { outliveTerminal } from '../../../terminal.js';
import { Cohort } from './cohort.js';
import { loopRequests } from './request-loop.js';
import type { Ask, OrderName, Reply, Update } from './messages.js';

let cohort: Cohort | undefined;

/**
 * Sends to the coordinator. When that is gone (killed, or ended between an order and its answer)
 * nobody misses the message, and 'disconnect' ends this process; without the callback the failure
 * would be thrown, and its stack shown at the terminal.
 */
function tell(message: Reply | Update): void {
  process.send!(message, () => {});
}

/** Follows an order. The first one is to start, unless only requests are wanted. */
function follow(order: OrderName, body: never): unknown {
  if (order === 'requests') return loopRequests(body);
  if (order !== 'start') return cohort![order](body);
  cohort = new Cohort(body, tell);
  return undefined;
}

async function answer({ ask, order, body }: Ask): Promise<void> {
  let reply: Reply;
  try {
    reply = { ask, answer: await follow(order, body as never) };
  } catch (error) {
    reply = { ask, error: (error as Error).message };
  }
  tell(reply);
}

process.on('message', (ask: Ask) => void answer(ask));

outliveTerminal();
process.on('disconnect', () => process.exit(0));

// Ctrl-C reaches every process of the terminal. Only the coordinator heeds it: it ends the others
// when it has its figures.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
