/** Receipts in the tables of a log, in the order of their ends. */
import type { KeptReceipt } from '../../core/event-log.js';
import { IDEMPOTENCY_KEYS_MAX } from '../../limits.js';
import type { Tables } from './environment.js';
import { readId, untilKey } from './keys.js';
import type { FoundReceipt, NewReceipt } from './messages.js';

/** Within the transaction of its entries. */
export function keepReceipt(
  { receipts }: Tables,
  { key, digest, subscribers, untilMs }: NewReceipt,
  firstId: number,
  count: number,
): void {
  const receipt = { firstId, lastId: firstId + count - 1, count, subscribers };
  const packed = Buffer.from(JSON.stringify({ key, digest, receipt }));
  void receipts.put(untilKey(untilMs, firstId), packed);
}

/** Those whose time is not over, oldest first; of more than are kept in memory, the newest. */
export function findReceipts({ receipts }: Tables, nowMs: number): FoundReceipt[] {
  const found: FoundReceipt[] = [];
  for (const { key, value } of receipts.getRange({
    start: untilKey(Number.MAX_SAFE_INTEGER, 0),
    end: untilKey(nowMs, 0),
    reverse: true,
    limit: IDEMPOTENCY_KEYS_MAX,
  }))
    found.push({
      untilMs: readId(key),
      ...(JSON.parse(value.toString()) as KeptReceipt & { key: string }),
    });
  return found.toReversed();
}

/** Removes those whose time is over; returns how many went. */
export function forgetReceipts({ receipts }: Tables, nowMs: number, most: number): number {
  const over = [...receipts.getKeys({ end: untilKey(nowMs, 0), limit: most })];
  for (const key of over) void receipts.remove(key);
  return over.length;
}
