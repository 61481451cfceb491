/**
 * The public keys behind a JWKS URL (RFC 7517, 5): fetched when they are needed, kept for
 * JWKS_AGE_MS_MAX, and fetched early for a key that is not among them, at most once in
 * JWKS_COOLDOWN_MS. While the URL does not answer, the keys that are known go on.
 */
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import * as errors from 'jose/errors';
import { createLocalJWKSet } from 'jose/jwks/local';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import {
  JWKS_AGE_MS_MAX,
  JWKS_BYTES_MAX,
  JWKS_COOLDOWN_MS,
  JWKS_FETCH_MS_MAX,
  JWKS_KEYS_MAX,
} from '../limits.js';

type KeySet = ReturnType<typeof createLocalJWKSet>;

/** What is counted and reported about fetches. */
export interface JwksEvents {
  fetched(): void;
  /** With a sentence. */
  failed(words: string): void;
}

/** Counts fetches, and lets `warn` say why one failed. */
export function jwksEvents(counters: Counters, warn: (words: string) => void): JwksEvents {
  return {
    fetched: () => {
      counters.jwks_fetches_total++;
    },
    failed: (words) => {
      counters.jwks_failures_total++;
      warn(words);
    },
  };
}

export class Jwks {
  readonly #url: string;
  readonly #events: JwksEvents;
  readonly #nowMs: () => number;
  #keys: KeySet | undefined;
  #fetchedAtMs = -Infinity;
  /** The last fetch that ended, well or not; then why it failed. */
  #triedAtMs = -Infinity;
  #fault: string | undefined;
  #fetching: Promise<void> | undefined;

  /** `nowMs` is a clock that never goes back. */
  constructor(url: string, events: JwksEvents, nowMs: () => number = () => performance.now()) {
    this.#url = url;
    this.#events = events;
    this.#nowMs = nowMs;
  }

  /**
   * The key of a token by its header. Rejects with HOLDLINE_TOKEN_KEYS_UNAVAILABLE if it is unknown
   * and cannot be asked for now, with jose's JWKSNoMatchingKey if it is not among those that the
   * URL has just given.
   */
  readonly keyOf: JWTVerifyGetKey = async (header, token) => {
    const before = this.#keys;
    if (this.#nowMs() - this.#fetchedAtMs >= JWKS_AGE_MS_MAX) {
      const refresh = this.#refresh();
      // While the URL fails, tokens whose key is known do not wait for it.
      if (this.#fault === undefined) await refresh;
    }
    const known = this.#keys;
    try {
      if (known !== undefined) return await known(header, token);
    } catch (error) {
      const mayBeNew = error instanceof errors.JWKSNoMatchingKey && known === before;
      if (!mayBeNew) throw error;
    }
    await this.#refresh();
    // Else the key may be one that the URL would give now.
    if (this.#keys === undefined || this.#keys === known) throw this.#unavailable();
    return this.#keys(header, token);
  };

  #unavailable(): HoldlineError {
    const reason =
      this.#fault === undefined
        ? `the keys were fetched less than ${JWKS_COOLDOWN_MS / 1000} s ago, and this one was not among them`
        : 'the keys cannot be fetched';
    return new HoldlineError(
      'HOLDLINE_TOKEN_KEYS_UNAVAILABLE',
      `the key of the token is not known now: ${reason}; try again`,
    );
  }

  /** Fetches, unless that was tried just now. Never rejects: whether it went well, #keys tells. */
  #refresh(): Promise<void> {
    if (this.#fetching !== undefined) return this.#fetching;
    if (this.#nowMs() - this.#triedAtMs < JWKS_COOLDOWN_MS) return Promise.resolve();
    this.#fetching = fetchKeys(this.#url)
      .then(
        (keys) => {
          this.#keys = keys;
          this.#fetchedAtMs = this.#nowMs();
          this.#fault = undefined;
          this.#events.fetched();
        },
        (error: unknown) => {
          this.#fault = reasonOf(error);
          this.#events.failed(`the keys at ${this.#url} cannot be fetched: ${this.#fault}`);
        },
      )
      .finally(() => {
        this.#triedAtMs = this.#nowMs();
        this.#fetching = undefined;
      });
    return this.#fetching;
  }
}

/** fetch() says "fetch failed", and why in the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = asError(error);
  return cause === undefined ? message : `${message} (${asError(cause).message})`;
}

/** A redirect is refused: it may lead to another host, or to one without TLS. */
async function fetchKeys(url: string): Promise<KeySet> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(JWKS_FETCH_MS_MAX),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the status is ${response.status}`);
  }
  const set = JSON.parse(await textOf(response)) as { readonly keys?: unknown };
  const { keys } = set;
  if (!Array.isArray(keys)) throw new Error('it is no JWKS: it has no array "keys"');
  if (keys.length > JWKS_KEYS_MAX)
    throw new Error(`it has ${keys.length} keys; at most ${JWKS_KEYS_MAX} are taken`);
  return createLocalJWKSet({ keys: keys as JSONWebKeySet['keys'] });
}

/** The body of an answer; throws when it is longer than JWKS_BYTES_MAX. */
async function textOf(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += piece.byteLength;
    if (bytes > JWKS_BYTES_MAX) throw new Error(`it has more than ${JWKS_BYTES_MAX} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}
