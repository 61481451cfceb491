/** The doctor's checks of a path through a proxy, given what it saw there. */

import { count, decimal, duration } from '../report/words.js';
import { checkAnswer } from './answer-check.js';
import { checkCompression } from './compression-check.js';
import { found, type Finding, type Level } from './finding.js';
import { checkOwnOrigin, checkWebSocket } from './page-checks.js';
import { PATIENT, UNBUFFERED } from './proxy-lines.js';
import { areElsewhere, isLost, LATE_MS } from './probe-publisher.js';
import type { ProxyPath } from './proxy-path.js';

/** An event that arrives later than this was held back by a buffer, ms. */
const HELD_MS = 1_000;

/** Headers of Holdline's streams. */
const STREAM_TYPE = 'text/event-stream';
const STREAM_CACHE_CONTROL = ['no-cache', 'no-transform'];

type Check = (path: ProxyPath, lines: number) => Finding | undefined;

/** All findings about a path, in the order in which they are shown. */
export function checkPath(path: ProxyPath, lines: number): Finding[] {
  return CHECKS.map((check) => check(path, lines)).filter((finding) => finding !== undefined);
}

const CHECKS: readonly Check[] = [
  checkAnswer,
  checkHttpVersion,
  checkContentType,
  checkCompression,
  checkCaching,
  checkPublishing,
  checkOneServer,
  checkBuffering,
  checkComeback,
  checkWebSocket,
  checkOwnOrigin,
  checkStaysOpen,
];

/** True when a stream was opened. */
function isOpened({ head }: ProxyPath): boolean {
  return head?.status === 200;
}

function checkHttpVersion(path: ProxyPath): Finding | undefined {
  const { head } = path;
  if (head === null || !isOpened(path)) return undefined;
  return found(
    'http-version',
    head.httpVersion === '1.0' ? 'advice' : 'ok',
    head.httpVersion,
    'a stream over HTTP/1.0 has no framing: a client cannot tell an end from a cut, and each ' +
      'poll needs a new connection',
    'let the proxy answer with HTTP/1.1',
  );
}

function checkContentType(path: ProxyPath): Finding | undefined {
  if (!isOpened(path)) return undefined;
  const type = path.head?.headers['content-type'] ?? 'none';
  return found(
    'content-type',
    type.split(';')[0]!.trim().toLowerCase() === STREAM_TYPE ? 'ok' : 'problem',
    type,
    `an EventSource gives up for good on anything but ${STREAM_TYPE}`,
    'remove what sets Content-Type: nginx default_type and add_header, haproxy http-response ' +
      'set-header',
  );
}

function checkCaching(path: ProxyPath): Finding | undefined {
  if (!isOpened(path)) return undefined;
  const { head, pollIsFresh } = path;
  const cacheControl = head?.headers['cache-control'] ?? 'none';
  const words = new Set(cacheControl.split(',').map((word) => word.trim().toLowerCase()));
  const missing = STREAM_CACHE_CONTROL.filter((word) => !words.has(word));
  // A proxy may write 0 for what it has just fetched.
  const age = Number(head?.headers['age'] ?? 0);
  const isCached = pollIsFresh === false || age > 0;
  const seen = [
    `Cache-Control: ${cacheControl}`,
    ...(age > 0 ? [`Age: ${age}`] : []),
    ...(pollIsFresh === null
      ? []
      : [
          pollIsFresh
            ? 'a poll returned what was just published'
            : 'a poll did not return what was just published',
        ]),
  ];
  return found(
    'caching',
    isCached ? 'problem' : missing.length > 0 ? 'advice' : 'ok',
    seen.join('; '),
    'a cached answer is out of date; without the header, others on the path may cache and ' +
      'change answers',
    isCached
      ? 'nginx: proxy_cache off; and no proxy_ignore_headers Cache-Control; varnish: return (pipe)'
      : `pass Cache-Control on unchanged; missing: ${missing.join(', ')}`,
  );
}

function checkPublishing({ publishRefusal }: ProxyPath): Finding | undefined {
  if (publishRefusal === null) return undefined;
  return found(
    'publishing',
    'advice',
    publishRefusal,
    'without an event of its own the doctor can check only first blocks and heartbeats',
    'give --publish-key, or let POST through during the check',
  );
}

/** True when the events went to a server that does not have the stream. */
function isElsewhere({ events, first }: ProxyPath): boolean {
  return first !== null && areElsewhere(events);
}

function checkOneServer(path: ProxyPath): Finding | undefined {
  if (!isElsewhere(path)) return undefined;
  return found(
    'one-server',
    'problem',
    'a publish reached a server without lines on the channel, while a stream is open',
    'servers behind one URL share no events: a subscriber receives only what is published to ' +
      'its own server',
    'let the proxy choose the server by the path, so that each channel has one server: nginx ' +
      'hash $uri; haproxy balance uri',
  );
}

function checkBuffering(path: ProxyPath, lines: number): Finding | undefined {
  const { first, events, head, end } = path;
  const wasRefused = head === null ? events.length === 0 : !isOpened(path);
  if (wasRefused || isElsewhere(path) || (end !== null && events.every(isLost))) return undefined;
  const why =
    `events that are held back are late for all ${decimal(lines)} lines, and a ` +
    'client may give up before anything arrives';
  if (first === null)
    return found(
      'buffering',
      'problem',
      'nothing of the stream arrived, not even its first block',
      why,
      UNBUFFERED,
    );
  if (events.length === 0)
    return found(
      'buffering',
      'ok',
      `first block after ${duration(first.afterMs)}; no event was published`,
      why,
      '',
    );
  const delaysMs = events.map(({ afterMs }) => afterMs ?? Infinity);
  const delayMs = Math.min(...delaysMs);
  const level = delayMs > HELD_MS ? 'problem' : delayMs > LATE_MS ? 'advice' : 'ok';
  const value =
    delayMs === Infinity
      ? 'the first block arrived, an event did not'
      : `an event arrives ${duration(Math.round(delayMs))} after its publish was answered`;
  return found('buffering', level, value, why, UNBUFFERED);
}

function checkComeback({ comeback }: ProxyPath, lines: number): Finding | undefined {
  if (comeback === null) return undefined;
  const { askedAfter, opened, position, gap } = comeback;
  if (!opened) {
    return found(
      'second-stream',
      'problem',
      'a second stream on the channel could not be opened beside the first',
      `${decimal(lines)} streams must be open at once; the proxy merges requests, or limits ` +
        'them for each client',
      'nginx: proxy_cache off; and see limit_conn; varnish: return (pipe)',
    );
  }
  const isHonoured = gap || (position !== null && position <= askedAfter);
  return found(
    'last-event-id',
    isHonoured ? 'ok' : 'problem',
    isHonoured ? 'passed on' : `asked to continue after ${askedAfter}, continued after ${position}`,
    `without it each of ${decimal(lines)} lines that reconnects misses what was sent ` +
      'meanwhile, without notice',
    'pass Last-Event-ID on: no proxy_pass_request_headers off; no proxy_set_header ' +
      'Last-Event-ID ""; no list of allowed headers without it',
  );
}

function checkStaysOpen(path: ProxyPath, lines: number): Finding | undefined {
  const { first, idle, end, endCode, lateEvent } = path;
  // A stream that never began is reported by other checks.
  if (first === null || first.position === null) return undefined;
  const why =
    'a stream without events carries only a heartbeat each --heartbeat; one that is cut sooner ' +
    'reconnects, ' +
    `and ${decimal(lines)} of them do so all the time`;
  const judged = (level: Level, value: string, mend: string): Finding =>
    found('stays-open', level, value, why, mend);
  if (endCode !== null)
    return judged('advice', `the server itself ended the stream: ${endCode}`, 'check again later');
  if (end !== null) {
    const how = end.how === 'ended' ? 'ended' : 'cut';
    const silent = `${duration(Math.round(end.silentMs))} after its last bytes`;
    return judged(
      'problem',
      `${how} after ${duration(Math.round(end.afterMs))}, ${silent}`,
      PATIENT,
    );
  }
  if (idle === null) return undefined;
  const asked = duration(idle.askedMs);
  if (lateEvent !== null && isLost(lateEvent)) {
    return judged(
      'problem',
      `open after ${asked}, but events no longer arrive`,
      'something on the path has forgotten the connection (NAT, firewall): holdline serve ' +
        '--heartbeat at half its time or less',
    );
  }
  const arrived =
    idle.blocks === 0
      ? 'nothing arrived, not even heartbeats'
      : `${count(idle.blocks, 'block', 'blocks')} arrived, heartbeats included`;
  return judged('ok', `open after ${asked}; ${arrived}`, '');
}
