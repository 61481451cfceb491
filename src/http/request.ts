/** What a request asks for: channels, transport, position, and the two limits of a poll. */
import type { ClientTransport } from '../core/transport.js';
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
  POLL_EVENTS_MAX,
  POLL_WAIT_SECONDS_MAX,
  POLL_WAIT_DEFAULT_SECONDS,
} from '../limits.js';
import type { Head } from './head.js';
import { JSON_TYPES, NDJSON_TYPES } from './media-type.js';
import { badParameter, LAST_EVENT_ID, type Query } from './query.js';

/** Segments of characters that stand in a path as they are (RFC 3986, 3.3), with single dots. */
const CHANNEL_NAME = /^[\w~:@-]+(?:[./][\w~:@-]+)*$/;
/** What the name of a channel cannot have anywhere. */
const OTHER_CHARACTER = /[^\w.~:@/-]/;
/** Under it are the server's own pages. */
const RESERVED = '-/';

/**
 * Returns `name`, or throws HOLDLINE_BAD_CHANNEL. A name is one segment of a path or several, such
 * as `org/7/alerts`. Empty segments and dots at the ends of one are refused, because clients and
 * proxies resolve `.` and `..` in paths, and some make one slash of two.
 */
export function checkChannelName(name: string): string {
  if (name.length < 1 || name.length > CHANNEL_NAME_CHARS_MAX)
    throw badName(name, `has ${name.length} characters; allowed: 1 to ${CHANNEL_NAME_CHARS_MAX}`);
  if (!CHANNEL_NAME.test(name)) throw badName(name, problemOf(name));
  if (name.startsWith(RESERVED)) throw badName(name, `begins with ${RESERVED}, which is reserved`);
  return name;
}

function problemOf(name: string): string {
  if (OTHER_CHARACTER.test(name))
    return 'has a character that is not allowed; allowed: A–Z a–z 0–9 . _ ~ - : @ and / between segments (of percent-encoding only %7E is decoded)';
  return /^\/|\/\/|\/$/.test(name)
    ? 'has an empty segment'
    : 'has a segment with a leading, trailing or double dot';
}

function badName(name: string, problem: string): HoldlineError {
  const shown = JSON.stringify(name.slice(0, CHANNEL_NAME_CHARS_MAX));
  return new HoldlineError('HOLDLINE_BAD_CHANNEL', `the channel name ${shown} ${problem}`);
}

/** Paths that browsers and crawlers request from every server. */
const NOT_CHANNELS: ReadonlySet<string> = new Set(['/favicon.ico', '/robots.txt']);

/** Two slashes in a row, or one at the end that is not the whole path. */
const EMPTY_SEGMENT = /\/\/|(?!^)\/$/;

/** The last path and its channels: polls ask for the same one again and again. */
let lastPath = '';
let lastChannels: readonly string[] = [];

/**
 * The channels of a path such as `/a,org/7/b`, without duplicates: a comma separates whole names.
 * Throws HOLDLINE_BAD_CHANNEL, or HOLDLINE_NOT_FOUND for a path with two slashes in a row or one at
 * its end. native-notes/request-parsing.md
 */
export function channelsOf(path: string): readonly string[] {
  if (path !== lastPath) {
    lastChannels = readChannels(path);
    lastPath = path;
  }
  return lastChannels;
}

/**
 * `~`, which older encoders escape, is the only character that is decoded. A proxy in front may
 * have a rule for a path as it stands there, and one that stands for the same channel in another
 * spelling would pass the rule.
 */
const ESCAPED_TILDE = /%7e/gi;

function readChannels(raw: string): readonly string[] {
  const path = raw.includes('%') ? raw.replaceAll(ESCAPED_TILDE, '~') : raw;
  if (NOT_CHANNELS.has(path) || EMPTY_SEGMENT.test(path)) {
    throw new HoldlineError(
      'HOLDLINE_NOT_FOUND',
      `there is nothing at ${path.slice(0, 200)}; a channel is a path such as /notifications or /org/7/alerts, without an empty segment`,
    );
  }
  if (!path.includes(',')) return [checkChannelName(path.slice(1))];
  const names = new Set(path.slice(1).split(','));
  if (names.size > CHANNELS_PER_LINE_MAX) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `a line must have at most ${CHANNELS_PER_LINE_MAX} channels (got ${names.size})`,
    );
  }
  for (const name of names) checkChannelName(name);
  return [...names];
}

/** The one channel that a publish goes to. Throws as {@link channelsOf} does. */
export function channelOf(path: string): string {
  const names = channelsOf(path);
  if (names.length > 1) {
    throw new HoldlineError(
      'HOLDLINE_BAD_CHANNEL',
      `this request must name one channel (got ${names.length})`,
    );
  }
  return names[0] as string;
}

/**
 * Names of a position in the query, strongest first: a polyfill adds the first to a URL that may
 * have the other.
 */
const POSITION_NAMES = [LAST_EVENT_ID, 'since'] as const;

/**
 * Where a line starts. A header beats everything in the URL, because a reconnect repeats the URL it
 * was opened with. An empty header is a foreign position: uWebSockets leaves it empty when it had
 * bytes over 127 (native-notes/request-parsing.md). Throws HOLDLINE_BAD_POSITION for a bad query
 * value, even if the header beats it.
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

/** What a client may accept by name; the first wins when it likes several equally. */
const MEDIA_TYPES: readonly (readonly [ReadonlySet<string>, ClientTransport])[] = [
  [new Set(['text/event-stream']), 'sse'],
  [NDJSON_TYPES, 'ndjson'],
  [JSON_TYPES, 'poll'],
];

/**
 * Upgrade; else the explicitly accepted type with the highest q; else a poll if the query has one
 * of its parameters; else SSE. Never 406. A type with q=0 is not accepted (RFC 9110, 12.4.2).
 */
export function negotiate(upgrade: string, accept: string, hasPollQuery: boolean): ClientTransport {
  if (upgrade.toLowerCase() === 'websocket') return 'websocket';
  if (accept !== lastAccept) {
    lastAccepted = acceptedBy(accept);
    lastAccept = accept;
  }
  return lastAccepted ?? (hasPollQuery ? 'poll' : 'sse');
}

/** The last Accept header and what it means: clients of one kind all send the same. */
let lastAccept = '';
let lastAccepted: ClientTransport | undefined;

function acceptedBy(accept: string): ClientTransport | undefined {
  let best: ClientTransport | undefined;
  let bestQ = 0;
  if (!accept.includes('/') || accept === '*/*') return undefined;
  const accepted = accept.toLowerCase().split(',').map(readMediaRange);
  for (const [types, transport] of MEDIA_TYPES) {
    const q = Math.max(
      0,
      ...accepted.filter((range) => types.has(range.type)).map((range) => range.q),
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

export function transportOf(head: Head, query: Query): ClientTransport {
  const hasPollQuery =
    query.get('since') !== undefined ||
    query.get('wait') !== undefined ||
    query.get('limit') !== undefined;
  return negotiate(head.get('upgrade'), head.get('accept'), hasPollQuery);
}

/** Seconds with at most three decimals, such as 25 or 0.5. */
const SECONDS = /^\d{1,2}(?:\.\d{1,3})?$/;

/** How long a poll may wait, ms: `wait` in seconds. Throws HOLDLINE_BAD_QUERY. */
export function waitMsOf(query: Query): number {
  const text = query.get('wait');
  if (text === undefined) return POLL_WAIT_DEFAULT_SECONDS * 1000;
  const seconds = SECONDS.test(text) ? Number(text) : Infinity;
  if (seconds > POLL_WAIT_SECONDS_MAX) {
    const expected = `a number of seconds from 0 to ${POLL_WAIT_SECONDS_MAX}, such as 25 or 0.5`;
    throw badParameter('wait', expected, text);
  }
  return seconds * 1000;
}

/**
 * The most events that a poll takes in one answer: `limit`, or 0 for one event that is not in an
 * array. Throws HOLDLINE_BAD_QUERY.
 */
export function limitOf(query: Query): number {
  const text = query.get('limit');
  if (text === undefined) return 0;
  const limit = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : Infinity;
  if (limit > POLL_EVENTS_MAX)
    throw badParameter('limit', `an integer from 1 to ${POLL_EVENTS_MAX}`, text);
  return limit;
}
