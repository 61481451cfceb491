/**
 * Wrong keys, counted by the address they came from. Past FAILED_KEYS_MAX in FAILED_KEYS_MS an
 * address gets 429, held back for a while, and its connection closes: a guess costs a connection. A
 * right key is never refused for it. The table is bounded; the oldest address is forgotten first.
 */
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

/** The wrong keys of an address within FAILED_KEYS_MS. */
interface Failures {
  readonly sinceMs: number;
  count: number;
}

export class FailedKeys {
  readonly #counters: Counters;
  readonly #warn: (address: string) => void;
  readonly #nowMs: () => number;
  /** By address, in the order of their first failure. */
  readonly #byAddress = new Map<string, Failures>();
  /** Refusals that are held back now. */
  #heldBack = 0;

  /** `warn` gets a sentence, at most once in FAILED_KEY_LOG_MS. */
  constructor(
    counters: Counters,
    warn: (words: string) => void,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#counters = counters;
    this.#nowMs = nowMs;
    this.#warn = throttle<string>(
      FAILED_KEY_LOG_MS,
      (address, suppressed) => {
        const others = suppressed === 0 ? '' : `, and ${suppressed} more since the last report`;
        warn(`a wrong key came from ${address}${others}`);
      },
      nowMs,
    );
  }

  /** Counts a wrong key. Returns the refusal if it is more than the usual 401. */
  failed(address: string): HoldlineError | undefined {
    this.#counters.failed_keys_total++;
    this.#warn(address);
    const network = networkOf(address);
    const now = this.#nowMs();
    let failures = this.#byAddress.get(network);
    if (failures === undefined || now - failures.sinceMs >= FAILED_KEYS_MS) {
      this.#byAddress.delete(network);
      failures = { sinceMs: now, count: 0 };
      this.#byAddress.set(network, failures);
      if (this.#byAddress.size > FAILED_KEY_ADDRESSES_MAX) this.#forgetFirst();
    }
    failures.count++;
    if (failures.count <= FAILED_KEYS_MAX) return undefined;
    return new HoldlineError(
      'HOLDLINE_TOO_MANY_KEYS',
      `this address sent more than ${FAILED_KEYS_MAX} wrong keys in ${FAILED_KEYS_MS / 1000} s; try again after Retry-After with the right key`,
    );
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

  #forgetFirst(): void {
    for (const first of this.#byAddress.keys()) {
      this.#byAddress.delete(first);
      return;
    }
  }
}

/**
 * What one client has to itself: an IPv4 address, or the first half of an IPv6 address. `address`
 * is written in full, as uWebSockets does.
 */
function networkOf(address: string): string {
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
}
