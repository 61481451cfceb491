/** Digests of secrets: of one length, so that comparing them takes the same time for any secret. */
import crypto from 'node:crypto';

/** SHA-256 of a text. */
export function digest(text: string): Buffer {
  // Node 20.12 and later: one call, in a third of the time.
  if (crypto.hash === undefined) return crypto.createHash('sha256').update(text).digest();
  return crypto.hash('sha256', text, 'buffer');
}
