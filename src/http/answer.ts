/** What an answer says: status and headers, and refusals as JSON. */
import { STATUS_CODES } from 'node:http';
import { BadCredential } from '../auth/bad-credential.js';
import { HoldlineError, internalError, isTemporary } from '../errors.js';
import type { HttpResponse } from '../native/uws.js';

/**
 * Further header fields. Their values are ours or were checked, because uWebSockets writes them
 * unchecked. native-notes/header-values-unchecked.md
 */
export type Headers = readonly (readonly [string, string])[];

export const NO_HEADERS: Headers = [];

/** Who sends `Upgrade` names it in `Connection` (RFC 9110, 7.8). */
const HANDSHAKE: Headers = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
];

/** The content codings that would be taken (RFC 9110, 12.5.3). */
const NO_CODING: Headers = [['Accept-Encoding', 'identity']];

const CHALLENGE: Headers = [['WWW-Authenticate', 'Bearer']];
/** A credential was shown: RFC 6750, 3.1. */
const BAD_TOKEN: Headers = [['WWW-Authenticate', 'Bearer error="invalid_token"']];

const NOT_STORED = 'no-store\r\nX-Content-Type-Options: nosniff';
const THEN_NOT_STORED = `\r\nCache-Control: ${NOT_STORED}`;
const JSON_NOT_STORED = `application/json${THEN_NOT_STORED}`;

/**
 * Writes the status and the headers of every answer, which is not to be stored; uWebSockets adds
 * Date and Content-Length (native-notes/added-headers.md). A call into native code costs 0.15 µs,
 * so one call writes them all: the others follow in the value of the first.
 */
export function writeAnswerHead(
  response: HttpResponse,
  status: number,
  contentType: string | undefined,
): void {
  if (status !== 200) response.writeStatus(`${status} ${STATUS_CODES[status] ?? 'Unknown'}`);
  if (contentType === undefined) response.writeHeader('Cache-Control', NOT_STORED);
  else
    response.writeHeader(
      'Content-Type',
      contentType === 'application/json' ? JSON_NOT_STORED : `${contentType}${THEN_NOT_STORED}`,
    );
}

/** Seconds until a client that got 503 should come back, random so that not all come at once. */
function retryAfterSeconds(): number {
  return 1 + Math.floor(Math.random() * 4);
}

/** The body of a refusal. */
export function refusalJson({ code, message }: HoldlineError): string {
  return JSON.stringify({ error: { code, message } });
}

/**
 * What a client needs for its next attempt: when to come back, how to authenticate, which coding to
 * send, or how to shake hands (RFC 9110, 10.2.3, 11.6.1 and 15.5.16; RFC 6750, 3; RFC 6455, 4.4).
 */
export function refusalHeaders(error: HoldlineError): Headers {
  if (isTemporary(error)) {
    const seconds = error.retryAfterSeconds ?? retryAfterSeconds();
    return [['Retry-After', String(seconds)]];
  }
  if (error.code === 'HOLDLINE_UNAUTHORIZED')
    return error instanceof BadCredential ? BAD_TOKEN : CHALLENGE;
  if (error.code === 'HOLDLINE_UNSUPPORTED_ENCODING') return NO_CODING;
  return error.code === 'HOLDLINE_BAD_HANDSHAKE' ? HANDSHAKE : NO_HEADERS;
}

/** The error that a client is shown: one that is not ours shows nothing of itself. */
export function knownError(error: unknown): HoldlineError {
  return error instanceof HoldlineError ? error : internalError();
}
