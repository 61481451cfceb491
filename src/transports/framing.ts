/**
 * The borders of a request: what its head says of its body, refused where another reader of the same bytes might see it otherwise
 * (RFC 9112, 6.3 and 11.2). uWebSockets takes the first of two lengths and any transfer coding for chunked.
 */
import { HoldlineError } from '../errors.js';
import type { HttpRequest } from '../native/uws.js';
import type { Exchange } from './exchange.js';

export interface Framing {
  /** Undefined where the body is chunked or there is none. */
  readonly contentLength: number | undefined;
  /** True when the client sent a Last-Event-ID, which may be empty: uWebSockets cuts bytes over 127 off its ends. */
  readonly hasLastEventId: boolean;
}

const DIGITS = /^\d{1,15}$/;

/**
 * Reads the borders of a request. Throws HOLDLINE_BAD_FRAMING, which closes the connection, for two lengths, one that is no number,
 * any Transfer-Encoding but `chunked`, and a chunked body where none is taken. native-notes/request-parsing.md
 */
export function readFraming(request: HttpRequest, exchange: Exchange): Framing {
  let length: string | undefined;
  let coding: string | undefined;
  let isTwice = false;
  let hasLastEventId = false;
  // Read in one pass, since getHeader() tells neither a second field of a name nor an empty one from none.
  request.forEach((name, value) => {
    if (name === 'content-length') {
      isTwice ||= length !== undefined;
      length = value;
    } else if (name === 'transfer-encoding') {
      isTwice ||= coding !== undefined;
      coding = value;
    } else if (name === 'last-event-id') {
      hasLastEventId = true;
    }
  });
  const problem = problemOf(length, coding, isTwice, exchange.method);
  if (problem !== undefined) {
    exchange.distrust();
    throw new HoldlineError('HOLDLINE_BAD_FRAMING', problem);
  }
  return { contentLength: length === undefined ? undefined : Number(length), hasLastEventId };
}

function problemOf(length: string | undefined, coding: string | undefined, isTwice: boolean, method: string): string | undefined {
  if (isTwice) return 'Content-Length or Transfer-Encoding stands twice in the head; it may stand once';
  if (length !== undefined && !DIGITS.test(length)) return 'the Content-Length is not a number of bytes';
  if (coding === undefined) return undefined;
  if (coding.toLowerCase() !== 'chunked') {
    return `the Transfer-Encoding ${JSON.stringify(coding.slice(0, 32))} is not supported; allowed: chunked`;
  }
  if (method !== 'POST') return `a ${method.slice(0, 32)} takes no chunked body; send it without one`;
  return undefined;
}
