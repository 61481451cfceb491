/**
 * The borders of a request: what its head says of its body, refused where another reader of the
 * same bytes might see it otherwise (RFC 9112, 6.3 and 11.2). uWebSockets takes the first of two
 * lengths, any transfer coding for chunked, and an empty one for none.
 */
import { HoldlineError } from '../errors.js';
import type { Head } from './head.js';

const DIGITS = /^\d{1,15}$/;

/**
 * Throws HOLDLINE_BAD_FRAMING for two lengths, one that is no number, any Transfer-Encoding but
 * `chunked`, and a chunked body where none is taken. native-notes/request-parsing.md
 */
export function checkFraming(head: Head): void {
  const problem = lengthProblem(head) ?? codingProblem(head);
  if (problem !== undefined) throw new HoldlineError('HOLDLINE_BAD_FRAMING', problem);
}

function lengthProblem(head: Head): string | undefined {
  const length = head.find('content-length');
  if (length === undefined) return undefined;
  if (head.isTwice('content-length'))
    return 'Content-Length stands twice in the head; it may stand once';
  return DIGITS.test(length) ? undefined : 'the Content-Length is not a number of bytes';
}

function codingProblem(head: Head): string | undefined {
  const coding = head.find('transfer-encoding');
  if (coding === undefined) return undefined;
  if (head.isTwice('transfer-encoding'))
    return 'Transfer-Encoding stands twice in the head; it may stand once';
  if (coding.toLowerCase() !== 'chunked') {
    return `the Transfer-Encoding ${JSON.stringify(coding.slice(0, 32))} is not supported; allowed: chunked`;
  }
  if (head.method !== 'POST')
    return `a ${head.method.slice(0, 32)} takes no chunked body; send it without one`;
  return undefined;
}

/**
 * The length of the body that a checked head tells; undefined where it is chunked or there is none.
 */
export function contentLengthOf(head: Head): number | undefined {
  const length = head.find('content-length');
  return length === undefined ? undefined : Number(length);
}
