/** The counts of all processes of a fleet, added up. */

import { emptyTally, type Tally } from '../clients/tally.js';
import type { Counts } from './messages.js';

/** What all clients have been given. */
export interface FleetTotals {
  /** Clients that are subscribed. */
  readonly joined: number;
  readonly returning: number;
  readonly checkedClients: number;
  readonly checkedDelivered: number;
  /** Different events that came to the process that has the most of them. */
  readonly sequencesSeen: number;
  /**
   * Events that came in this round; for clients that are not checked they are derived from bytes.
   */
  readonly delivered: number;
  readonly tally: Tally;
  /** Of each process, in the order of the fleet's `pids`. */
  readonly processes: readonly Counts[];
}

/** Adds up what is known; a process that has sent nothing yet is left out. */
export function totalsOf(parts: readonly (Counts | undefined)[]): FleetTotals {
  const known = parts.filter((part) => part !== undefined);
  const sum = (of: (counts: Counts) => number): number =>
    known.reduce((total, counts) => total + of(counts), 0);
  const tally = emptyTally();
  for (const counts of known) {
    for (const name of Object.keys(tally) as (keyof Tally)[]) tally[name] += counts.tally[name];
  }
  return {
    joined: sum(({ joined }) => joined),
    returning: sum(({ returning }) => returning),
    checkedClients: sum(({ checkedClients }) => checkedClients),
    checkedDelivered: sum(({ checkedDelivered }) => checkedDelivered),
    delivered: sum(({ delivered }) => delivered),
    sequencesSeen: Math.max(0, ...known.map(({ sequencesSeen }) => sequencesSeen)),
    tally,
    processes: known,
  };
}
