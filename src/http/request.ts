/** What a request asks for, read once while it is valid: channels, position, transport. */
import { createHash } from 'node:crypto';
import type { Transport } from '../core/ports.js';
import {
  positionFromHeader,
  positionFromQuery,
  lastFromQuery,
  LIVE,
  type Position,
} from '../core/position.js';
import { HoldlineError } from '../errors.js';
import {
  CHANNEL_NAME_CHARS_MAX,
  CHANNELS_PER_LINE_MAX,
  IDEMPOTENCY_KEY_CHARS_MAX,
  POLL_EVENTS_MAX,
  POLL_WAIT_SECONDS_MAX,
  POLL_WAIT_DEFAULT_SECONDS,
} from '../limits.js';
import type { RequestKey } from '../core/event-log.js';
import type { Head } from './head.js';

const CHANNEL_NAME = /^[A-Za-z0-9._~-]+$/;

/**
 * Returns `name`, or throws HOLDLINE_BAD_CHANNEL. Dots are limited because clients and proxies
 * resolve `.` and `..` in paths.
 */
export function checkChannelName(name: string): string {
  const shown = JSON.stringify(name.slice(0, CHANNEL_NAME_CHARS_MAX));
  if (name.length < 1 || name.length > CHANNEL_NAME_CHARS_MAX) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `the channel name ${shown} has ${name.length} characters; it takes 1 to ${CHANNEL_NAME_CHARS_MAX}`,
    );
  }
  if (!CHANNEL_NAME.test(name)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `the channel name ${shown} has a character beside A–Z a–z 0–9 . _ ~ - (percent-encoding is not read)`,
    );
  }
  if (name.startsWith('.') || name.endsWith('.') || name.includes('..')) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `the channel name ${shown} has a leading, trailing or double dot`,
    );
  }
  return name;
}

/** Paths that browsers and crawlers ask every server for. */
const NOT_CHANNELS: ReadonlySet<string> = new Set(['/favicon.ico', '/robots.txt']);

/** The last path and its channels: polls ask for the same one again and again. */
let lastPath = '';
let lastChannels: readonly string[] = [];

/**
 * The channels of a path such as `/a,b`, each once. Throws HOLDLINE_BAD_CHANNEL, or
 * HOLDLINE_NOT_FOUND for several segments. native-notes/request-parsing.md
 */
export function channelsOf(path: string): readonly string[] {
  if (path !== lastPath) {
    lastChannels = readChannels(path);
    lastPath = path;
  }
  return lastChannels;
}

function readChannels(path: string): readonly string[] {
  if (NOT_CHANNELS.has(path) || path.includes('/', 1)) {
    throw new HoldlineError(
      'HOLDLINE_NOT_FOUND',
      `nothing is at ${path.slice(0, 200)}; a channel is one path segment, as in /notifications`,
    );
  }
  if (!path.includes(',')) return [checkChannelName(path.slice(1))];
  const names = new Set(path.slice(1).split(','));
  if (names.size > CHANNELS_PER_LINE_MAX) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `${names.size} channels on one line; at most ${CHANNELS_PER_LINE_MAX}`,
    );
  }
  for (const name of names) checkChannelName(name);
  return [...names];
}

/** The one channel that a publish goes to. */
export function channelOf(path: string): string {
  const names = channelsOf(path);
  if (names.length > 1)
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `a publish goes to one channel, not to ${names.length}`,
    );
  return names[0] as string;
}

/**
 * The parameters of a query, decoded as browsers encode them. uWebSockets' own decoding reads a
 * parameter once only and takes broken percent-encoding as it comes (native-notes/query-values.md).
 * Throws HOLDLINE_BAD_QUERY for what is not UTF-8.
 */
export class Query {
  /** Names and values in turn; the first of two with one name counts. */
  readonly #parameters: readonly string[];

  constructor(raw: string | undefined) {
    if (raw === undefined || raw === '') this.#parameters = NO_PARAMETERS;
    else if (ENCODED.test(raw)) this.#parameters = [...new URLSearchParams(raw)].flat();
    else this.#parameters = readPlain(raw);
  }

  get(name: string): string | undefined {
    const parameters = this.#parameters;
    for (let i = 0; i < parameters.length; i += 2) {
      if (parameters[i] !== name) continue;
      const value = parameters[i + 1] as string;
      if (value.includes('\uFFFD'))
        throw new HoldlineError(
          'HOLDLINE_BAD_QUERY',
          `${name} in the query is not percent-encoded UTF-8`,
        );
      return value;
    }
    return undefined;
  }

  /** `name=1` or `name=0`. Throws HOLDLINE_BAD_QUERY for anything else. */
  isSet(name: string): boolean {
    const value = this.get(name);
    if (value === undefined || value === '0') return false;
    if (value === '1') return true;
    throw new HoldlineError(
      'HOLDLINE_BAD_QUERY',
      `${name}=${JSON.stringify(value.slice(0, 32))} is not 0 or 1`,
    );
  }
}

const NO_PARAMETERS: readonly string[] = [];

/** What must be decoded. Most queries are plain, and a poll's is read with every request. */
const ENCODED = /[%+]/;

function readPlain(raw: string): readonly string[] {
  const parameters: string[] = [];
  for (let start = 0; start <= raw.length;) {
    const ampersand = raw.indexOf('&', start);
    const end = ampersand < 0 ? raw.length : ampersand;
    const equals = raw.indexOf('=', start);
    if (equals < 0 || equals > end) parameters.push(raw.slice(start, end), '');
    else parameters.push(raw.slice(start, equals), raw.slice(equals + 1, end));
    start = end + 1;
  }
  return parameters;
}

/**
 * Names of a position in the query, strongest first. The last two are what EventSource polyfills
 * send.
 */
const POSITION_NAMES = ['last_event_id', 'lastEventId', 'since'] as const;

/**
 * Where a stream shall start. A header beats everything in the URL, because a reconnect repeats the
 * URL it was opened with. An empty header was not sent by anybody who had no position: it is what
 * uWebSockets leaves of bytes over 127, and foreign (native-notes/request-parsing.md). Throws
 * HOLDLINE_BAD_POSITION for a bad query value, even where the header beats it.
 */
export function positionOf(lastEventId: string | undefined, query: Query): Position {
  let position: Position | undefined;
  for (const name of POSITION_NAMES) {
    const text = query.get(name);
    if (text === undefined) continue;
    const read = positionFromQuery(name, text);
    position ??= read;
  }
  const last = query.get('last');
  if (last !== undefined) {
    const read = lastFromQuery(last);
    position ??= read;
  }
  return lastEventId === undefined ? (position ?? LIVE) : positionFromHeader(lastEventId);
}

/** What a client may accept by name, best first where it likes them equally. */
const MEDIA_TYPES: readonly (readonly [string, Transport])[] = [
  ['text/event-stream', 'sse'],
  ['application/x-ndjson', 'ndjson'],
  ['application/json', 'poll'],
];

/**
 * Upgrade; else an explicitly accepted type by highest q; else a poll if the query has one of its
 * parameters; else SSE. Never 406. A type with q=0 is not accepted (RFC 9110, 12.4.2).
 */
export function negotiate(upgrade: string, accept: string, hasPollQuery: boolean): Transport {
  if (upgrade.toLowerCase() === 'websocket') return 'websocket';
  if (accept !== lastAccept) {
    lastAccepted = acceptedBy(accept);
    lastAccept = accept;
  }
  return lastAccepted ?? (hasPollQuery ? 'poll' : 'sse');
}

/** The last Accept header and what it came to: clients of one kind all send the same. */
let lastAccept = '';
let lastAccepted: Transport | undefined;

function acceptedBy(accept: string): Transport | undefined {
  let best: Transport | undefined;
  let bestQ = 0;
  if (!accept.includes('/') || accept === '*/*') return undefined;
  const accepted = accept.toLowerCase().split(',').map(readMediaRange);
  for (const [type, transport] of MEDIA_TYPES) {
    const q = Math.max(
      0,
      ...accepted.filter((range) => range.type === type).map((range) => range.q),
    );
    if (q > bestQ) {
      best = transport;
      bestQ = q;
    }
  }
  return best;
}

function readMediaRange(text: string): { type: string; q: number } {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim());
  const q = parameters.find((parameter) => parameter.startsWith('q='));
  const value = q === undefined ? 1 : Number(q.slice(2));
  return { type, q: Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0 };
}

export function transportOf(head: Head, query: Query): Transport {
  const hasPollQuery =
    query.get('since') !== undefined ||
    query.get('wait') !== undefined ||
    query.get('limit') !== undefined;
  return negotiate(head.get('upgrade'), head.get('accept'), hasPollQuery);
}

/** Seconds with at most three places, as in 25 or 0.5. */
const SECONDS = /^\d{1,2}(?:\.\d{1,3})?$/;

/** How long a poll may wait, ms: `wait` in seconds. Throws HOLDLINE_BAD_QUERY. */
export function waitMsOf(query: Query): number {
  const text = query.get('wait');
  if (text === undefined) return POLL_WAIT_DEFAULT_SECONDS * 1000;
  const seconds = SECONDS.test(text) ? Number(text) : Infinity;
  if (seconds > POLL_WAIT_SECONDS_MAX) {
    throw new HoldlineError(
      'HOLDLINE_BAD_QUERY',
      `wait=${JSON.stringify(text.slice(0, 32))} is not a time in seconds from 0 to ${POLL_WAIT_SECONDS_MAX}, such as 25 or 0.5`,
    );
  }
  return seconds * 1000;
}

/**
 * Events that a poll takes at once: `limit`, or 0 for one event that is no array. Throws
 * HOLDLINE_BAD_QUERY.
 */
export function limitOf(query: Query): number {
  const text = query.get('limit');
  if (text === undefined) return 0;
  const limit = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : Infinity;
  if (limit > POLL_EVENTS_MAX) {
    throw new HoldlineError(
      'HOLDLINE_BAD_QUERY',
      `limit=${JSON.stringify(text.slice(0, 32))} is not a whole number from 1 to ${POLL_EVENTS_MAX}`,
    );
  }
  return limit;
}

/** Throws HOLDLINE_UNSUPPORTED_ENCODING for a body that is not sent as it is (RFC 9110, 8.4). */
export function checkContentEncoding(encoding: string): void {
  if (encoding === '' || encoding.toLowerCase() === 'identity') return;
  throw new HoldlineError(
    'HOLDLINE_UNSUPPORTED_ENCODING',
    `the Content-Encoding ${JSON.stringify(encoding.slice(0, 32))} is not supported; send the body as it is`,
  );
}

/** Printable ASCII, as a header can carry it. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]+$/;

/** Returns an `Idempotency-Key`, or throws HOLDLINE_BAD_IDEMPOTENCY_KEY. */
export function checkIdempotencyKey(key: string): string {
  if (key.length > IDEMPOTENCY_KEY_CHARS_MAX || !IDEMPOTENCY_KEY.test(key)) {
    throw new HoldlineError(
      'HOLDLINE_BAD_IDEMPOTENCY_KEY',
      `the Idempotency-Key ${JSON.stringify(key.slice(0, 32))} is not 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters`,
    );
  }
  return key;
}

/**
 * What makes a publish the same as an earlier one: its key within a credential and a channel, and
 * all else that was asked. Kept as digests: they are short, and the credential is nobody's
 * business.
 */
export function requestKeyOf(
  key: string,
  { credential, channel }: { readonly credential: string; readonly channel: string },
  asked: readonly (string | Uint8Array)[],
): RequestKey {
  return { key: digestOf([credential, channel, key]), digest: digestOf(asked) };
}

/** SHA-256 over the parts, each with its length, so that their borders count. */
function digestOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('base64url');
}
