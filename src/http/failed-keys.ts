/**
 * Wrong keys, by the address they came from: past a few in a while an address is told 429 for each
 * further one, and its connection closes, so that a guess costs a connection. A right key is never
 * looked for here. The table is bounded; who was in it longest goes.
 */
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import {
  FAILED_KEY_ADDRESSES_MAX,
  FAILED_KEY_LOG_MS,
  FAILED_KEYS_MAX,
  FAILED_KEYS_MS,
} from '../limits.js';
import { throttle } from '../throttle.js';

/** The wrong keys of an address in its current while. */
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

  /** `warn` is told in words, at most once in FAILED_KEY_LOG_MS. */
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
        const others = suppressed === 0 ? '' : `, and ${suppressed} more since this was said last`;
        warn(`a wrong key came from ${address}${others}`);
      },
      nowMs,
    );
  }

  /** A wrong key came. Returns what its client is told where that is more than 401. */
  failed(address: string): HoldlineError | undefined {
    this.#counters.failed_keys_total++;
    this.#warn(address);
    const whose = networkOf(address);
    const now = this.#nowMs();
    let failures = this.#byAddress.get(whose);
    if (failures === undefined || now - failures.sinceMs >= FAILED_KEYS_MS) {
      this.#byAddress.delete(whose);
      failures = { sinceMs: now, count: 0 };
      this.#byAddress.set(whose, failures);
      if (this.#byAddress.size > FAILED_KEY_ADDRESSES_MAX) this.#forgetFirst();
    }
    failures.count++;
    if (failures.count <= FAILED_KEYS_MAX) return undefined;
    return new HoldlineError(
      'HOLDLINE_TOO_MANY_KEYS',
      `${FAILED_KEYS_MAX} wrong keys came from this address in ${FAILED_KEYS_MS / 1000} s; try again after Retry-After with the right one`,
    );
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
 * is as uWebSockets writes it, in full.
 */
function networkOf(address: string): string {
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
}
