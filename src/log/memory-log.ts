/** The log in memory: gives ids and keeps no events; rings do. A restart starts a new log. */
import type { Clock } from '../clock.js';
import { isDeletion, type LoggedEntry, type NewEntry } from '../core/event.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { ID_MAX } from '../limits.js';
import { firstIdAt } from './first-id.js';
import { KeptReceipts } from './kept-receipts.js';
import { LOG_UP, type EventLog, type KeptReceipt, type RequestKey } from '../core/event-log.js';

export class MemoryLog implements EventLog {
  readonly #floor: number;
  readonly #receipts: KeptReceipts;
  #lastId: number;
  #take: ((entries: readonly LoggedEntry[]) => void) | undefined;

  readonly isOpen = true;
  readonly state = LOG_UP;
  readonly history = undefined;

  /** `firstId` defaults to the clock, ms × 1000, so that ids rise over restarts. */
  constructor(clock: Clock, counters: Counters, firstId: number = firstIdAt(clock.wallMs())) {
    this.#receipts = new KeptReceipts(clock, counters);
    this.#floor = firstId - 1;
    this.#lastId = this.#floor;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    if (this.#lastId + entries.length > ID_MAX) {
      return Promise.reject(
        new HoldlineError(
          'HOLDLINE_INTERNAL',
          `the log has given its last id, ${ID_MAX}; restart with a lower --first-id`,
        ),
      );
    }
    const logged: LoggedEntry[] = [];
    const ids: number[] = [];
    for (const entry of entries) {
      const id = ++this.#lastId;
      ids.push(id);
      if (isDeletion(entry)) {
        logged.push({ id, channel: entry.channel, isDeletion: true });
      } else {
        const { channel, type, data, json } = entry;
        logged.push({ id, channel, type, data, json });
      }
    }
    if (request !== undefined) {
      const { key, digest, subscribers } = request;
      const receipt = {
        firstId: ids[0] as number,
        lastId: this.#lastId,
        count: ids.length,
        subscribers,
      };
      this.#receipts.keep(key, { digest, receipt });
    }
    this.#take?.(logged);
    return Promise.resolve(ids);
  }

  kept(key: string): Promise<KeptReceipt | undefined> {
    return Promise.resolve(this.#receipts.get(key));
  }

  tail(take: (entries: readonly LoggedEntry[]) => void): () => void {
    this.#take = take;
    return () => {
      this.#take = undefined;
    };
  }

  lastId(): number {
    return this.#lastId;
  }

  floor(): number {
    return this.#floor;
  }

  close(): Promise<void> {
    this.#take = undefined;
    return Promise.resolve();
  }
}
