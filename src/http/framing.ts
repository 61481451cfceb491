/**
 * Where a request ends: what its head says of the length of its body. Refused if another reader of
 * the same bytes might read it differently (RFC 9112, 6.3 and 11.2): uWebSockets takes the first of
 * two lengths, reads any transfer coding as chunked and an empty one as none.
 */
import { HoldlineError } from '../errors.js';
import type { Head } from './head.js';

const DIGITS = /^\d{1,15}$/;

/**
 * Throws HOLDLINE_BAD_FRAMING for two lengths, a length that is not a number, any Transfer-Encoding
 * but `chunked`, and a chunked body of a method that takes none. native-notes/request-parsing.md
 */
export function checkFraming(head: Head): void {
  const problem = lengthProblem(head) ?? codingProblem(head);
  if (problem !== undefined) throw new HoldlineError('HOLDLINE_BAD_FRAMING', problem);
}

function lengthProblem(head: Head): string | undefined {
  const length = head.find('content-length');
  if (length === undefined) return undefined;
  if (head.isTwice('content-length')) return 'the request has more than one Content-Length';
  return DIGITS.test(length) ? undefined : 'Content-Length must be a number of bytes';
}

function codingProblem(head: Head): string | undefined {
  const coding = head.find('transfer-encoding');
  if (coding === undefined) return undefined;
  if (head.isTwice('transfer-encoding')) return 'the request has more than one Transfer-Encoding';
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
