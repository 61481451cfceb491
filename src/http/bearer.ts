/** Keys in a request: how one is sent, and what is wrong with one that is not right. */
import crypto from 'node:crypto';
import { HoldlineError } from '../errors.js';
import type { Head } from './head.js';

/** SHA-256 of a key: digests have one length, so comparing them takes the same time for any key. */
export function digest(key: string): Buffer {
  // Node 20.12 and later: one call, in a third of the time.
  if (crypto.hash === undefined) return crypto.createHash('sha256').update(key).digest();
  return crypto.hash('sha256', key, 'buffer');
}

/**
 * Throws HOLDLINE_UNAUTHORIZED unless the request has the key. The message says whether none came,
 * one in a form that is not read, or a wrong one, and nothing of either key. `name` is the key's,
 * and `needs` completes "needs the header Authorization: Bearer with".
 */
export function checkBearer(head: Head, key: Buffer, name: string, needs: string): void {
  const authorization = head.get('authorization');
  const [, given] = /^bearer +(.+)$/i.exec(authorization) ?? [];
  if (given !== undefined && crypto.timingSafeEqual(digest(given), key)) return;
  throw new HoldlineError('HOLDLINE_UNAUTHORIZED', problemOf(authorization, given, name, needs));
}

function problemOf(
  authorization: string,
  given: string | undefined,
  name: string,
  needs: string,
): string {
  if (given !== undefined) return `the key in the header Authorization is not the ${name} key`;
  const form = `the header Authorization: Bearer with ${needs}`;
  return authorization === ''
    ? `this needs ${form}; the request has no Authorization`
    : `this needs ${form}; the Authorization of the request does not begin with Bearer and a key`;
}
