/** The key and the digest of a publish that may be repeated. */
import { createHash } from 'node:crypto';
import type { RequestKey } from '../core/event-log.js';
import { HoldlineError } from '../errors.js';
import { IDEMPOTENCY_KEY_CHARS_MAX } from '../limits.js';

/** Printable ASCII, as a header can carry it. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]+$/;

/** Returns an `Idempotency-Key`, or throws HOLDLINE_BAD_IDEMPOTENCY_KEY. */
export function checkIdempotencyKey(key: string): string {
  if (key.length > IDEMPOTENCY_KEY_CHARS_MAX || !IDEMPOTENCY_KEY.test(key)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_IDEMPOTENCY_KEY',
      `the Idempotency-Key ${JSON.stringify(key.slice(0, 32))} is not 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters`,
    );
  }
  return key;
}

/**
 * What makes a publish the same as an earlier one: its key within a credential and a channel, and
 * all else that was asked. Kept as digests: they are short, and the credential is nobody's
 * business.
 */
export function requestKeyOf(
  key: string,
  { credential, channel }: { readonly credential: string; readonly channel: string },
  asked: readonly (string | Uint8Array)[],
): RequestKey {
  return { key: digestOf([credential, channel, key]), digest: digestOf(asked) };
}

/** SHA-256 over the parts, each with its length, so that their borders count. */
function digestOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('base64url');
}
