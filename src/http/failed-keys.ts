/**
 * Wrong keys, counted by the address they came from. Past FAILED_KEYS_MAX in FAILED_KEYS_MS an
 * address gets 429, held back for a while, and its connection closes: a guess costs a connection. A
 * right key is never refused for it. The table is bounded, the oldest address is forgotten first,
 * and all are when their time is over: nothing is kept for longer than twice FAILED_KEYS_MS.
 */
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import {
  FAILED_KEY_ADDRESSES_MAX,
  FAILED_KEY_LOG_MS,
  FAILED_KEYS_MAX,
  FAILED_KEYS_MS,
  HELD_GUESS_MS,
  HELD_GUESSES_MAX,
} from '../limits.js';
import { throttle } from '../throttle.js';
import type { ClientAddress } from './address.js';

/** The wrong keys of an address within FAILED_KEYS_MS. */
interface Failures {
  readonly sinceMs: number;
  count: number;
}

export class FailedKeys {
  readonly #counters: Counters;
  readonly #warn: (address: string) => void;
  readonly #clock: Pick<Clock, 'later' | 'nowMs'>;
  /** By address, in the order of their first failure. */
  readonly #byAddress = new Map<string, Failures>();
  #isForgetting = false;
  /** Refusals that are held back now. */
  #heldBack = 0;

  /** `warn` gets a sentence, at most once in FAILED_KEY_LOG_MS. */
  constructor(
    counters: Counters,
    warn: (words: string) => void,
    clock: Pick<Clock, 'later' | 'nowMs'> = SYSTEM_CLOCK,
  ) {
    this.#counters = counters;
    this.#clock = clock;
    this.#warn = throttle<string>(
      FAILED_KEY_LOG_MS,
      (address, suppressed) => {
        const others = suppressed === 0 ? '' : `, and ${suppressed} more since the last report`;
        warn(`a wrong key came from ${address}${others}`);
      },
      counters,
      () => clock.nowMs(),
    );
  }

  /** Counts a wrong key. Returns the refusal if it is more than the usual 401. */
  failed({ shown, network }: Pick<ClientAddress, 'network' | 'shown'>): HoldlineError | undefined {
    this.#counters.failed_keys_total++;
    this.#warn(shown);
    const now = this.#clock.nowMs();
    let failures = this.#recentOf(network, now);
    if (failures === undefined) {
      this.#byAddress.delete(network);
      failures = { sinceMs: now, count: 0 };
      this.#byAddress.set(network, failures);
      this.#forgetLater();
      if (this.#byAddress.size > FAILED_KEY_ADDRESSES_MAX) this.#forgetFirst();
    }
    failures.count++;
    if (failures.count <= FAILED_KEYS_MAX) return undefined;
    return new HoldlineError(
      'HOLDLINE_TOO_MANY_KEYS',
      `this address sent more than ${FAILED_KEYS_MAX} wrong keys in ${FAILED_KEYS_MS / 1000} s; try again after Retry-After with the right key`,
    );
  }

  /**
   * Counts a wrong key of a request that is served without the right it would give. False, and
   * nothing is counted, where the request is to be refused for it.
   */
  tolerates(address: Pick<ClientAddress, 'network' | 'shown'>): boolean {
    const failures = this.#recentOf(address.network, this.#clock.nowMs());
    if (failures !== undefined && failures.count >= FAILED_KEYS_MAX) return false;
    this.failed(address);
    return true;
  }

  /** Calls `refuse` after HELD_GUESS_MS, or at once if HELD_GUESSES_MAX are held back already. */
  holdBack(refuse: () => void): void {
    if (this.#heldBack >= HELD_GUESSES_MAX) {
      refuse();
      return;
    }
    this.#heldBack++;
    setTimeout(() => {
      this.#heldBack--;
      refuse();
    }, HELD_GUESS_MS).unref();
  }

  /** Addresses that are remembered now. */
  get size(): number {
    return this.#byAddress.size;
  }

  /** The wrong keys that count against an address now; undefined without any. */
  #recentOf(network: string, nowMs: number): Failures | undefined {
    const failures = this.#byAddress.get(network);
    return failures !== undefined && nowMs - failures.sinceMs < FAILED_KEYS_MS
      ? failures
      : undefined;
  }

  #forgetLater(): void {
    if (this.#isForgetting) return;
    this.#isForgetting = true;
    this.#clock.later(FAILED_KEYS_MS, () => {
      this.#isForgetting = false;
      const now = this.#clock.nowMs();
      for (const [network, { sinceMs }] of this.#byAddress) {
        if (now - sinceMs < FAILED_KEYS_MS) break;
        this.#byAddress.delete(network);
      }
      if (this.#byAddress.size > 0) this.#forgetLater();
    });
  }

  #forgetFirst(): void {
    for (const first of this.#byAddress.keys()) {
      this.#byAddress.delete(first);
      return;
    }
  }
}
