/**
 * The `Idempotency-Key` of a publish: which key is allowed, for whom it counts, and the digest that
 * tells a repeat from another publish. core/idempotency.ts lets one publish at a time through,
 * log/kept-receipts.ts keeps what it was answered.
 */
import { createHash } from 'node:crypto';
import type { RequestKey } from '../core/event-log.js';
import { HoldlineError } from '../errors.js';
import { IDEMPOTENCY_KEY_CHARS_MAX } from '../limits.js';
import type { Head } from './head.js';

/** A key, which counts within one credential and one channel. */
export interface ScopedKey {
  readonly key: string;
  readonly channel: string;
}

/**
 * The key that a publish to `channel` came with, undefined for one without. Throws
 * HOLDLINE_BAD_IDEMPOTENCY_KEY, also for an empty one: it may have had bytes over 127, which
 * uWebSockets cuts off (native-notes/request-parsing.md).
 */
export function scopedKeyOf(head: Head, channel: string): ScopedKey | undefined {
  const key = head.find('idempotency-key');
  if (key === undefined) return undefined;
  return { key: checkIdempotencyKey(key), channel };
}

/** Printable ASCII, as a header can carry it. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]+$/;

/** Returns `key`, or throws HOLDLINE_BAD_IDEMPOTENCY_KEY. */
export function checkIdempotencyKey(key: string): string {
  if (key.length > IDEMPOTENCY_KEY_CHARS_MAX || !IDEMPOTENCY_KEY.test(key)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_IDEMPOTENCY_KEY',
      `Idempotency-Key must be 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters (got ${JSON.stringify(key.slice(0, 32))})`,
    );
  }
  return key;
}

/**
 * What the log keeps of a key and of what was asked with it: digests, because they are short and
 * show no credential. `credential` is whose key it is (http/credentials.ts, `scopeOf`).
 */
export function requestKeyOf(
  { key, channel }: ScopedKey,
  credential: string,
  asked: readonly (string | Uint8Array)[],
): RequestKey {
  return { key: digestOf([credential, channel, key]), digest: digestOf(asked) };
}

/** SHA-256 over the parts, each preceded by its length, so that their borders count. */
function digestOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('base64url');
}
