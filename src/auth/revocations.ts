/**
 * Revocations: for each revoked user the time up to which credentials are worth nothing. An entry
 * is dropped when nothing that it refuses can still be valid, and for no other reason: a full table
 * refuses the next revocation.
 */
import { steadyWall, SYSTEM_CLOCK, type Clock } from '../clock.js';
import { asError, HoldlineError } from '../errors.js';
import { CLOCK_TOLERANCE_MS, REVOCATIONS_MAX, TICKET_LIFETIME_MS_MAX } from '../limits.js';
import type { Rights } from './rights.js';

/** One revocation, as it is kept. */
export interface Revocation {
  readonly user: string;
  readonly notBeforeMs: number;
}

/** Where revocations outlive the process, and reach other servers. */
export interface RevocationStore {
  /** All that count. Rejects with HOLDLINE_LOG_UNAVAILABLE. */
  load(): Promise<readonly Revocation[]>;
  /** Resolves when it is kept. `untilMs`: when it may be forgotten. Rejects if it was not kept. */
  put(revocation: Revocation, untilMs: number): Promise<void>;
}

export class Revocations {
  #store: RevocationStore | undefined;
  readonly #keptMs: number;
  readonly #clock: Pick<Clock, 'wallMs'>;
  /** For what is dropped: a clock that is ahead for a while forgets nobody. */
  readonly #steadyMs: () => number;
  /** By user, in the order in which they were set; one set for an earlier time stays longer. */
  readonly #notBeforeMs = new Map<string, number>();

  /** `lifetimeMs`: the longest time from the issue of a token to its end. */
  constructor(lifetimeMs: number, clock: Pick<Clock, 'wallMs' | 'nowMs'> = SYSTEM_CLOCK) {
    this.#keptMs = Math.max(lifetimeMs, TICKET_LIFETIME_MS_MAX) + 2 * CLOCK_TOLERANCE_MS;
    this.#clock = clock;
    this.#steadyMs = steadyWall(clock);
  }

  /** Users that are revoked. */
  get size(): number {
    this.#dropOld();
    return this.#notBeforeMs.size;
  }

  /**
   * Refuses what was issued to the user until `notBeforeMs`, which never goes back. False when it
   * was refused already. Throws HOLDLINE_REVOCATIONS_FULL.
   */
  revoke(user: string, notBeforeMs: number = this.#clock.wallMs()): boolean {
    this.#dropOld();
    const before = this.#notBeforeMs.get(user);
    if (before !== undefined && before >= notBeforeMs) return false;
    if (before === undefined && this.#notBeforeMs.size >= REVOCATIONS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_REVOCATIONS_FULL',
        `${REVOCATIONS_MAX} users are revoked, and none is forgotten for another; the oldest is dropped when its tokens have expired`,
      );
    }
    // To the end, so that the first is the one to drop.
    this.#notBeforeMs.delete(user);
    this.#notBeforeMs.set(user, notBeforeMs);
    return true;
  }

  /** Takes what a store has; what is revoked from now on is kept there. Rejects as it does. */
  async keepIn(store: RevocationStore): Promise<void> {
    const found = [...(await store.load())].sort((a, b) => a.notBeforeMs - b.notBeforeMs);
    for (const { user, notBeforeMs } of found) this.revoke(user, notBeforeMs);
    this.#store = store;
  }

  /**
   * Resolves when the revocation of a user outlives this process; undefined where none does.
   * Rejects with HOLDLINE_LOG_UNAVAILABLE: it counts here, and should be asked for again.
   */
  keep(user: string): Promise<void> | undefined {
    const notBeforeMs = this.#notBeforeMs.get(user);
    if (this.#store === undefined || notBeforeMs === undefined) return undefined;
    return this.#store
      .put({ user, notBeforeMs }, notBeforeMs + this.#keptMs)
      .catch((error: unknown) => {
        throw new HoldlineError(
          'HOLDLINE_LOG_UNAVAILABLE',
          `the user is revoked on this server, and that could not be kept (${asError(error).message}); ask again`,
          { cause: error },
        );
      });
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
    const untilMs = this.#steadyMs() - this.#keptMs;
    for (const [user, notBeforeMs] of this.#notBeforeMs) {
      if (notBeforeMs >= untilMs) return;
      this.#notBeforeMs.delete(user);
    }
  }
}
