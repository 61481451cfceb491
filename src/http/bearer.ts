/** Keys in a request: how one is sent, and what is wrong with one that is not right. */
import crypto from 'node:crypto';
import { HoldlineError } from '../errors.js';
import type { Head } from './head.js';

/** SHA-256 of a key: digests have one length, so comparing them takes the same time for any key. */
function digest(key: string): Buffer {
  // Node 20.12 and later: one call, in a third of the time.
  if (crypto.hash === undefined) return crypto.createHash('sha256').update(key).digest();
  return crypto.hash('sha256', key, 'buffer');
}

/** A key that a request may need, and its words. */
export interface Needed {
  readonly digest: Buffer;
  /** `publish` or `ops`. */
  readonly name: string;
  /** What needs it, at the beginning of a sentence. */
  readonly what: string;
  /** Where an operator finds it; empty where that is known. */
  readonly hint: string;
}

/** The key that publishing takes. */
export function publishKey(key: string): Needed {
  return { digest: digest(key), name: 'publish', what: 'publishing', hint: '' };
}

/** The key that operating takes. */
export function opsKey(key: string): Needed {
  const hint = ' (--ops-key, or the key logged at start)';
  return { digest: digest(key), name: 'ops', what: 'this', hint };
}

/**
 * Throws HOLDLINE_UNAUTHORIZED unless the request has the key. The message says whether none came,
 * one in a form that is not read, or a wrong one, and shows neither that key nor the right one.
 */
export function checkBearer(head: Head, needed: Needed): void {
  const authorization = head.get('authorization');
  const [, given] = /^bearer +(.+)$/i.exec(authorization) ?? [];
  if (given !== undefined && crypto.timingSafeEqual(digest(given), needed.digest)) return;
  throw new HoldlineError('HOLDLINE_UNAUTHORIZED', problemOf(authorization, given, needed));
}

function problemOf(
  authorization: string,
  given: string | undefined,
  { name, what, hint }: Needed,
): string {
  if (given !== undefined) return `the key in the header Authorization is not the ${name} key`;
  const problem =
    authorization === ''
      ? 'the request has no Authorization'
      : 'the Authorization of the request does not begin with Bearer and a key';
  return `${what} needs the header Authorization: Bearer with the ${name} key${hint}; ${problem}`;
}
