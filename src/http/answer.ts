/** What answers say: the headers that every one has, and refusals as JSON. */
import type { Counters } from '../counters.js';
import { HoldlineError, isTemporary } from '../errors.js';

/**
 * Header fields beside the usual ones; values are ours or were checked, since uWebSockets writes
 * them as they are. native-notes/header-values-unchecked.md
 */
export type Headers = readonly (readonly [string, string])[];

export const NO_HEADERS: Headers = [];

const HANDSHAKE: Headers = [
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
];

/** Seconds that a client told 503 shall wait, spread so that all do not come back at once. */
function retryAfterSeconds(): number {
  return 1 + Math.floor(Math.random() * 4);
}

/** The body of a refusal. */
export function refusalJson({ code, message }: HoldlineError): string {
  return JSON.stringify({ error: { code, message } });
}

/**
 * What a client needs to know to do better: when to come back, who it must be, or how to shake
 * hands (RFC 9110, 10.2.3 and 11.6.1; RFC 6455, 4.4).
 */
export function refusalHeaders(error: HoldlineError): Headers {
  if (isTemporary(error)) return [['Retry-After', String(retryAfterSeconds())]];
  if (error.code === 'HOLDLINE_UNAUTHORIZED') return [['WWW-Authenticate', 'Bearer']];
  return error.code === 'HOLDLINE_BAD_HANDSHAKE' ? HANDSHAKE : NO_HEADERS;
}

/** What a client is told of an error: one that is not ours shows nothing of itself. */
export function knownError(error: unknown): HoldlineError {
  if (error instanceof HoldlineError) return error;
  return new HoldlineError('HOLDLINE_INTERNAL', 'internal error; see the server log');
}

/** Counts a refusal by its code. */
export function countRefusal(counters: Counters, error: HoldlineError): void {
  counters.refused[error.code] = (counters.refused[error.code] ?? 0) + 1;
}
