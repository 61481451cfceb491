/** Receipts of publishes by idempotency key, kept as long as a publisher may repeat its request. */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_MS } from '../limits.js';
import type { KeptReceipt } from '../core/event-log.js';

export class KeptReceipts {
  readonly #clock: Clock;
  readonly #counters: Counters;
  /** In the order in which they were kept, in which they also expire. */
  readonly #byKey = new Map<string, KeptReceipt & { readonly untilMs: number }>();

  constructor(clock: Clock, counters: Counters) {
    this.#clock = clock;
    this.#counters = counters;
  }

  get(key: string): KeptReceipt | undefined {
    const kept = this.#byKey.get(key);
    return kept !== undefined && kept.untilMs > this.#clock.nowMs() ? kept : undefined;
  }

  /**
   * Keeps a receipt; one that was kept by an earlier process has less time left, and comes first.
   * Past IDEMPOTENCY_KEYS_MAX the oldest goes early.
   */
  keep(key: string, kept: KeptReceipt, forMs: number = IDEMPOTENCY_MS): void {
    const nowMs = this.#clock.nowMs();
    for (const [oldest, { untilMs }] of this.#byKey) {
      const expired = untilMs <= nowMs;
      if (!expired && this.#byKey.size < IDEMPOTENCY_KEYS_MAX) break;
      this.#byKey.delete(oldest);
      if (!expired) this.#counters.idempotency_evicted_total++;
    }
    // Deleted first, so that a key that expired and comes again goes to the end.
    this.#byKey.delete(key);
    this.#byKey.set(key, { ...kept, untilMs: nowMs + forMs });
  }
}
