/**
 * Revocations: for each revoked user the time up to which credentials are worth nothing. An entry
 * is dropped when nothing that it refuses can still be valid, and for no other reason: a full table
 * refuses the next revocation.
 */
import { HoldlineError } from '../errors.js';
import { CLOCK_TOLERANCE_MS, REVOCATIONS_MAX, TICKET_LIFETIME_MS_MAX } from '../limits.js';
import type { Rights } from './rights.js';

export class Revocations {
  readonly #keptMs: number;
  readonly #nowMs: () => number;
  /** By user, in the order in which they were set; one set for an earlier time stays longer. */
  readonly #notBeforeMs = new Map<string, number>();

  /** `lifetimeMs`: the longest time from the issue of a token to its end. */
  constructor(lifetimeMs: number, nowMs: () => number = Date.now) {
    this.#keptMs = Math.max(lifetimeMs, TICKET_LIFETIME_MS_MAX) + 2 * CLOCK_TOLERANCE_MS;
    this.#nowMs = nowMs;
  }

  /** Users that are revoked. */
  get size(): number {
    this.#dropOld();
    return this.#notBeforeMs.size;
  }

  /**
   * Refuses what was issued to the user until `notBeforeMs`, which never goes back. Throws
   * HOLDLINE_REVOCATIONS_FULL.
   */
  revoke(user: string, notBeforeMs: number = this.#nowMs()): void {
    this.#dropOld();
    const before = this.#notBeforeMs.get(user);
    if (before !== undefined && before >= notBeforeMs) return;
    if (before === undefined && this.#notBeforeMs.size >= REVOCATIONS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_REVOCATIONS_FULL',
        `${REVOCATIONS_MAX} users are revoked, and none is forgotten for another; the oldest is dropped when its tokens have expired`,
      );
    }
    // To the end, so that the first is the one to drop.
    this.#notBeforeMs.delete(user);
    this.#notBeforeMs.set(user, notBeforeMs);
  }

  /**
   * Throws HOLDLINE_REVOKED for credentials issued until their user was revoked. Times of issue are
   * in whole seconds: what is issued in the second of the revocation is refused, too. Credentials
   * without a time of issue, such as static keys, are never revoked: they are taken out of the
   * configuration.
   */
  check({ user, issuedAtMs }: Rights): void {
    if (this.#notBeforeMs.size === 0 || user === undefined || issuedAtMs === undefined) return;
    const notBeforeMs = this.#notBeforeMs.get(user);
    if (notBeforeMs === undefined || issuedAtMs > notBeforeMs) return;
    throw new HoldlineError(
      'HOLDLINE_REVOKED',
      'the credential was issued before its user was revoked; it takes a new one',
    );
  }

  /** What is held, in the order in which it was set. */
  entries(): readonly (readonly [user: string, notBeforeMs: number])[] {
    this.#dropOld();
    return [...this.#notBeforeMs];
  }

  #dropOld(): void {
    const untilMs = this.#nowMs() - this.#keptMs;
    for (const [user, notBeforeMs] of this.#notBeforeMs) {
      if (notBeforeMs >= untilMs) return;
      this.#notBeforeMs.delete(user);
    }
  }
}
