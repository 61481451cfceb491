/** Short answers: JSON, refusals, and the headers that every answer has. */
import { STATUS_CODES } from 'node:http';
import type { Counters } from '../counters.js';
import { retryBlock } from '../core/frame.js';
import { HoldlineError, isTemporary, statusOf } from '../errors.js';
import type { HttpResponse } from '../native/uws.js';

/** Header fields beside the usual ones; values are ours or were checked, since uWebSockets writes them as they are. native-notes/header-values-unchecked.md */
export type Headers = readonly (readonly [string, string])[];

export const NO_HEADERS: Headers = [];

/** Writes status and headers of an answer that is not to be stored; uWebSockets adds Date and Content-Length. native-notes/added-headers.md */
function writeHead(response: HttpResponse, status: number, contentType: string, headers: Headers): void {
  if (status !== 200) response.writeStatus(`${status} ${STATUS_CODES[status] ?? 'Unknown'}`);
  response.writeHeader('Content-Type', contentType);
  response.writeHeader('Cache-Control', 'no-store');
  response.writeHeader('X-Content-Type-Options', 'nosniff');
  for (const [name, value] of headers) response.writeHeader(name, value);
}

/** Answers with a body in one cork, also outside the request's own turn. HEAD: the same without the body. */
export function answer(
  response: HttpResponse,
  status: number,
  contentType: string,
  body: string | Uint8Array,
  headers: Headers,
  isHead = false,
): void {
  response.cork(() => writeAnswer(response, status, contentType, body, headers, isHead));
}

/** As {@link answer}, where the response is corked already, as it is in its request's turn. */
export function writeAnswer(
  response: HttpResponse,
  status: number,
  contentType: string,
  body: string | Uint8Array,
  headers: Headers,
  isHead: boolean,
): void {
  writeHead(response, status, contentType, headers);
  if (isHead) endHead(response, body);
  else response.end(body);
}

/** Answers 204 in one cork: no body, and nothing that would describe one (RFC 9110, 15.3.5). */
export function answerNothing(response: HttpResponse, headers: Headers): void {
  response.cork(() => writeNothing(response, headers));
}

/** As {@link answerNothing}, where the response is corked already. */
export function writeNothing(response: HttpResponse, headers: Headers): void {
  response.writeStatus('204 No Content');
  response.writeHeader('Cache-Control', 'no-store');
  response.writeHeader('X-Content-Type-Options', 'nosniff');
  for (const [name, value] of headers) response.writeHeader(name, value);
  response.endWithoutBody();
}

/** Ends the answer to a HEAD. The length goes in as a header: given as an argument it leaves the answer open. native-notes/head-and-empty-bodies.md */
function endHead(response: HttpResponse, body: string | Uint8Array): void {
  response.writeHeader('Content-Length', String(Buffer.byteLength(body)));
  response.endWithoutBody();
}

export function answerJson(response: HttpResponse, body: string, headers: Headers, isHead = false): void {
  answer(response, 200, 'application/json', body, headers, isHead);
}

const HANDSHAKE: Headers = [
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
];

/** Seconds that a client told 503 shall wait, spread so that all do not come back at once. */
function retryAfterSeconds(): number {
  return 1 + Math.floor(Math.random() * 4);
}

/** Answers with the error's status and code. What is not ours is logged by the caller and told as HOLDLINE_INTERNAL. */
export function refuse(response: HttpResponse, error: unknown, counters: Counters, headers: Headers, isHead = false): void {
  const status = statusOf(error);
  const known = knownError(error);
  countRefusal(counters, known);
  counters.refused_total++;
  const body = JSON.stringify({ error: { code: known.code, message: known.message } });
  answer(response, status, 'application/json', body, [...headers, ...headersFor(known, status)], isHead);
}

/** What a client needs to know to do better: when to come back, who it must be, or how to shake hands (RFC 9110, 10.2.3 and 11.6.1; RFC 6455, 4.4). */
function headersFor(error: HoldlineError, status: number): Headers {
  if (isTemporary(error)) return [['Retry-After', String(retryAfterSeconds())]];
  if (status === 401) return [['WWW-Authenticate', 'Bearer']];
  return error.code === 'HOLDLINE_BAD_HANDSHAKE' ? HANDSHAKE : NO_HEADERS;
}

/**
 * Refuses an event stream for a temporary reason: 200, `retry` and the end, because EventSource gives up for good on any other
 * status and reconnects after the end of a stream. native-notes/eventsource-clients.md
 */
export function refuseStreamForNow(
  response: HttpResponse,
  error: HoldlineError,
  retryMs: number,
  counters: Counters,
  headers: Headers,
): void {
  countRefusal(counters, error);
  counters.refused_temporary_total++;
  answer(response, 200, 'text/event-stream', retryBlock(retryMs), headers);
}

/** What a client is told of an error: one that is not ours shows nothing of itself. */
export function knownError(error: unknown): HoldlineError {
  if (error instanceof HoldlineError) return error;
  return new HoldlineError('HOLDLINE_INTERNAL', 'the server made a mistake; it is in its log');
}

/** Counts a refusal by its code. */
export function countRefusal(counters: Counters, error: HoldlineError): void {
  counters.refused[error.code] = (counters.refused[error.code] ?? 0) + 1;
}
