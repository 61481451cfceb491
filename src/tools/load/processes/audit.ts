/** The balance of one process: what its clients were owed in a round, and what they were given. */

import type { Client } from '../clients/client.js';
import { packHistogram } from '../books/histogram.js';
import { isReportedLost, type Ledger } from '../books/ledger.js';
import { LineClient } from '../clients/line-client.js';
import type { Part } from '../books/books.js';
import type { Published } from '../books/published.js';

/** What is audited. */
export interface Audited {
  /** The clients of the round. */
  readonly clients: readonly Client[];
  readonly ledger: Ledger;
  /** The one of the slow clients. */
  readonly slowLedger: Ledger;
  /** What an event takes on a line, its share of heartbeats included. */
  readonly bytesPerEvent: number;
  readonly cutOffSlow: number;
  readonly cutOffStalled: number;
}

type Owed = Pick<Published, 'count' | 'bits' | 'ids' | 'answeredUs'>;

/** Balances the books against what was published. */
export function audit(audited: Audited, published: Owed): Omit<Part, 'lagMs' | 'cutOff'> {
  const { clients, ledger, slowLedger, bytesPerEvent, cutOffSlow, cutOffStalled } = audited;
  const normal = clients.filter(({ role }) => role === 'normal');
  const isChecked = (client: Client): boolean => client.ledger !== undefined;
  const gapsOf = (some: readonly Client[]): number =>
    some.reduce((sum, { gaps }) => sum + gaps.length, 0);
  const slow = clients.filter(({ role }) => role === 'slow');
  const checked = normal.filter(isChecked);
  return {
    checked: auditChecked(checked, ledger, published),
    counted: auditCounted(
      normal.filter((client) => !isChecked(client) && client instanceof LineClient) as LineClient[],
      bytesPerEvent,
      published,
    ),
    gaps: gapsOf(normal),
    uncompressed: clients.filter((client) => client instanceof LineClient && !client.isGzip).length,
    slow: {
      clients: slow.length,
      delivered: slowLedger.delivered,
      gaps: gapsOf(slow),
      cutOff: cutOffSlow,
    },
    stalled: { clients: clients.length - normal.length - slow.length, cutOff: cutOffStalled },
    packedUs: packHistogram(ledger.latencyUs),
    packedAcceptToDeliverUs: packAcceptToDeliver(ledger, published),
    herd: auditHerd(normal.filter(({ wasInHerd }) => wasInHerd)),
  };
}

function packAcceptToDeliver(ledger: Ledger, { answeredUs }: Owed): string | undefined {
  if (answeredUs.length === 0) return undefined;
  const histogram = ledger.acceptToDeliverUs(answeredUs);
  const packed = packHistogram(histogram);
  histogram.destroy();
  return packed;
}

function auditHerd(clients: readonly Client[]): Part['herd'] {
  const back = clients.filter(({ herdBackAtUs }) => herdBackAtUs !== 0);
  const latest = (timeOf: (client: Client) => number): number =>
    back.reduce((last, client) => Math.max(last, timeOf(client)), 0);
  const backAtUs = latest(({ herdBackAtUs }) => herdBackAtUs);
  return {
    clients: clients.length,
    back: back.length,
    backAtUs,
    caughtUpAtUs: Math.max(
      backAtUs,
      latest(({ herdCaughtUpAtUs }) => herdCaughtUpAtUs),
    ),
  };
}

function auditChecked(
  clients: readonly Client[],
  ledger: Ledger,
  published: Owed,
): Part['checked'] {
  let gapLost = 0;
  let losers = 0;
  let doublers = 0;
  let disordered = 0;
  let mostLost = 0;
  let underWay = 0;
  let wireBytes = 0;
  let leastDelivered = published.count;
  let leastWireBytes = Infinity;
  for (const { bookRow, gaps, wireBytes: ownBytes } of clients) {
    const given = ledger.deliveredTo(bookRow);
    const missing = published.count - given;
    const reported =
      missing === 0 || gaps.length === 0 ? 0 : ledger.lostInGaps(bookRow, gaps, published);
    gapLost += reported;
    if (missing > 0 && published.ids.length > 0) underWay += ledger.underWayTo(bookRow, published);
    wireBytes += ownBytes;
    leastDelivered = Math.min(leastDelivered, given);
    leastWireBytes = Math.min(leastWireBytes, ownBytes);
    if (missing > reported) losers++;
    if (ledger.doubledTo(bookRow) > 0) doublers++;
    if (ledger.outOfOrderTo(bookRow) > 0) disordered++;
    mostLost = Math.max(mostLost, missing - reported);
  }
  const { delivered, doubled, outOfOrder } = ledger;
  return {
    clients: clients.length,
    delivered,
    gapLost,
    doubled,
    outOfOrder,
    losers,
    doublers,
    disordered,
    mostLost,
    underWay,
    idMismatches: ledger.idMismatches(published.ids),
    wireBytes,
    deliveringShare: ledger.deliveringShare,
    leastDelivered,
    leastWireBytes: clients.length === 0 ? 0 : leastWireBytes,
  };
}

function auditCounted(
  clients: readonly LineClient[],
  eventBytes: number,
  { count, ids }: Owed,
): Part['counted'] {
  let delivered = 0;
  let gapLost = 0;
  let losers = 0;
  let mostLost = 0;
  let unplaced = 0;
  let disordered = 0;
  const sortedIds = ids.filter((id) => !Number.isNaN(id)).toSorted();
  for (const client of clients) {
    const { wasAway } = client;
    disordered += client.disordered;
    if (wasAway && (Number.isNaN(client.leftOffAt) || sortedIds.length < count)) {
      unplaced++;
      continue;
    }
    // What came again after a position that it had passed is no event more.
    const before = wasAway
      ? Math.min(client.eventsBefore(eventBytes), countUpTo(sortedIds, client.leftOffAt))
      : 0;
    const came = Math.round(before + client.eventsAt(eventBytes));
    const given = Math.min(count, came);
    disordered += came - given;
    const missing = count - given;
    const reported =
      missing === 0 || client.gaps.length === 0
        ? 0
        : sortedIds.filter((id) => isReportedLost(client.gaps, id)).length;
    const lost = missing - Math.min(reported, missing);
    delivered += given;
    gapLost += missing - lost;
    if (lost > 0) losers++;
    mostLost = Math.max(mostLost, lost);
  }
  return {
    clients: clients.length - unplaced,
    delivered,
    gapLost,
    losers,
    mostLost,
    unplaced,
    disordered,
    unread: 0,
  };
}

/** How many of the sorted ids are at most this one. */
function countUpTo(ids: Float64Array, id: number): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle]! <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}
