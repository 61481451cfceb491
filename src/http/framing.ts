/**
 * Where a request ends: what its head says of the length of its body. Refused if another reader of
 * the same bytes might read it differently (RFC 9112, 6.3 and 11.2): uWebSockets takes the first of
 * two lengths, reads any transfer coding as chunked and an empty one as none.
 */
import { HoldlineError } from '../errors.js';
import type { Head } from './head.js';

const DIGITS = /^\d{1,15}$/;

/**
 * Throws HOLDLINE_BAD_FRAMING for two lengths or hosts, a length that is not a number, any
 * Transfer-Encoding but `chunked`, and a chunked body of a method that takes none;
 * HOLDLINE_BAD_HEADER for another field that has two values and may have one.
 * native-notes/request-parsing.md
 */
export function checkFraming(head: Head): void {
  const problem = repeatProblem(head) ?? lengthProblem(head) ?? codingProblem(head);
  if (problem !== undefined) throw new HoldlineError('HOLDLINE_BAD_FRAMING', problem);
  const conflict = head.repeated?.conflict;
  if (conflict === undefined) return;
  throw new HoldlineError(
    'HOLDLINE_BAD_HEADER',
    `the request has the header ${conflict} more than once, with different values; send it once`,
  );
}

/** Fields that say where the request ends, and which server it is for (RFC 9112, 3.2). */
const ONCE = ['content-length', 'transfer-encoding', 'host'] as const;

function repeatProblem({ repeated }: Head): string | undefined {
  const name = repeated && ONCE.find((one) => repeated.names.has(one));
  return name && `the request has more than one ${name}`;
}

function lengthProblem(head: Head): string | undefined {
  const length = head.find('content-length');
  if (length === undefined) return undefined;
  return DIGITS.test(length) ? undefined : 'Content-Length must be a number of bytes';
}

function codingProblem(head: Head): string | undefined {
  const coding = head.find('transfer-encoding');
  if (coding === undefined) return undefined;
  if (coding.toLowerCase() !== 'chunked')
    return `Transfer-Encoding must be chunked (got ${JSON.stringify(coding.slice(0, 32))})`;
  if (head.method !== 'POST')
    return `${head.method.slice(0, 32)} takes no chunked body; send it without one`;
  return undefined;
}

/** The body's length in a checked head; undefined if it is chunked or there is none. */
export function contentLengthOf(head: Head): number | undefined {
  const length = head.find('content-length');
  return length === undefined ? undefined : Number(length);
}
