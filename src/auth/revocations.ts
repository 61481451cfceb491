/** Revocations: for each revoked user the time up to which credentials are worth nothing. */
import type { Rights } from './rights.js';

export class Revocations {
  /** `lifetimeMs`: the longest that a credential may live; then its revocation is forgotten. */
  constructor(lifetimeMs: number, nowMs: () => number = Date.now) {
    void lifetimeMs;
    void nowMs;
  }

  /** Users that are revoked. */
  get size(): number {
    return 0;
  }

  /** Throws HOLDLINE_REVOCATIONS_FULL. */
  revoke(user: string, notBeforeMs?: number): void {
    void user;
    void notBeforeMs;
  }

  /** Throws HOLDLINE_REVOKED for credentials that were issued before their user was revoked. */
  check(rights: Rights): void {
    void rights;
  }
}
