/**
 * How fast each credential may publish: a token bucket of events for each, in a bounded table. A
 * bucket that is full again is forgotten, because it says no more than a new one.
 */
import { ANONYMOUS } from '../auth/anonymous.js';
import type { Rights } from '../auth/rights.js';
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { RATE_BURST_SECONDS, RATE_BUCKETS_MAX, RATE_FORGET_MS } from '../limits.js';
import { TokenBucket } from './token-bucket.js';

/**
 * Whose rate a publish counts against: that of its credential, or of its address where it has none.
 */
export function rateSourceOf({ credential }: Pick<Rights, 'credential'>, network: string): string {
  return credential === ANONYMOUS ? network : credential;
}

export class PublishRates {
  /** Hears what is taken here, where other processes let the same sources publish. */
  onTaken: ((source: string, events: number) => void) | undefined;

  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #counters: Counters;
  /** By credential, in the order in which they were made. */
  readonly #buckets = new Map<string, TokenBucket>();
  #isForgetting = false;

  /** `perSecond`: events a second of one credential; 0 for no limit. */
  constructor(perSecond: number, clock: Clock, counters: Counters) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#counters = counters;
  }

  /** True when there is a limit: only then anything below needs to be called. */
  get isOn(): boolean {
    return this.#perSecond > 0;
  }

  /** Credentials that are remembered now. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one event for a publish by `source`. Throws HOLDLINE_RATE with the time to wait. */
  take(source: string): void {
    const nowMs = this.#clock.nowMs();
    const waitMs = this.#bucketOf(source, nowMs).take(nowMs);
    if (waitMs === 0) {
      this.onTaken?.(source, 1);
      return;
    }
    this.#counters.publishes_refused_rate_total++;
    const seconds = Math.max(1, Math.ceil(waitMs / 1000));
    throw new HoldlineError(
      'HOLDLINE_RATE',
      `this client published more than ${this.#perSecond} events a second (--publish-rate); try again in ${seconds} s`,
      { retryAfterSeconds: seconds },
    );
  }

  /**
   * The publish had `events` in all: those beyond the first are owed, since a batch is read only
   * when it has been let in.
   */
  published(source: string, events: number): void {
    if (events <= 1) return;
    this.#buckets.get(source)?.owe(events - 1, this.#clock.nowMs());
    this.onTaken?.(source, events - 1);
  }

  /** The source has taken so many in another process. */
  takenElsewhere(source: string, events: number): void {
    const nowMs = this.#clock.nowMs();
    this.#bucketOf(source, nowMs).owe(events, nowMs);
  }

  #bucketOf(source: string, nowMs: number): TokenBucket {
    return this.#buckets.get(source) ?? this.#make(source, nowMs);
  }

  #make(source: string, nowMs: number): TokenBucket {
    if (this.#buckets.size >= RATE_BUCKETS_MAX) this.#forgetFull(nowMs);
    // All of them publish now: the oldest gets a new bucket, at most one burst too much.
    if (this.#buckets.size >= RATE_BUCKETS_MAX) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    const bucket = new TokenBucket(this.#perSecond, this.#perSecond * RATE_BURST_SECONDS, nowMs);
    this.#buckets.set(source, bucket);
    this.#forgetLater();
    return bucket;
  }

  #forgetLater(): void {
    if (this.#isForgetting) return;
    this.#isForgetting = true;
    this.#clock.later(RATE_FORGET_MS, () => {
      this.#isForgetting = false;
      this.#forgetFull(this.#clock.nowMs());
      if (this.#buckets.size > 0) this.#forgetLater();
    });
  }

  #forgetFull(nowMs: number): void {
    for (const [source, bucket] of this.#buckets)
      if (bucket.isFull(nowMs)) this.#buckets.delete(source);
  }
}
