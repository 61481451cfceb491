/** What the doctor makes of what it saw through a proxy. Nothing here asks anything itself. */

import { inWords, timeInWords, type Finding, type Level } from './finding.js';
import { LATE_MS, type ProxyPath, type ProbeEvent } from './proxy-path.js';

/** An event that comes later than this is held back by something that waits for more, ms. */
const HELD_MS = 1_000;

/** What Holdline says of a stream in its head. */
const STREAM_TYPE = 'text/event-stream';
const STREAM_CACHE_CONTROL = ['no-cache', 'no-transform'];

const UNBUFFERED =
  'nginx: proxy_buffering off; gzip off; and no proxy_ignore_headers X-Accel-Buffering; haproxy: option http-no-delay; caddy: flush_interval -1';

const PATIENT =
  'nginx: proxy_read_timeout 1h; haproxy: timeout server 1h (timeout tunnel does not count here); or holdline serve --heartbeat at half the time or less';

type Check = (path: ProxyPath, lines: number) => Finding | undefined;

/** All findings about a way through a proxy, in the order of their reading. */
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
  checkStaysOpen,
];

/** A finding that is mended only where it is not ok. */
function found(name: string, level: Level, value: string, why: string, mend: string): Finding {
  return { name, level, value, why, mend: level === 'ok' ? null : mend };
}

/** True when a stream was opened. */
function isOpened({ head }: ProxyPath): boolean {
  return head?.status === 200;
}

function checkAnswer(
  { head, refusal, first, end, endCode, events }: ProxyPath,
  lines: number,
): Finding | undefined {
  const why = `what one stream is answered, ${inWords(lines)} are`;
  const problem = (value: string, mend: string): Finding =>
    found('answer', 'problem', value, why, mend);
  if (head === null) {
    // A publish was answered, so somebody is there and the stream is held back.
    if (events.length > 0) return undefined;
    if (end === null)
      return problem('none in time', 'see that the proxy runs, and that its server does');
    const mend = /certificate/i.test(end.how)
      ? 'NODE_EXTRA_CA_CERTS=FILE, with the certificate of who signed it'
      : 'see that the proxy listens there, and that its server runs';
    return problem(`none: ${end.how}`, mend);
  }
  const { status, afterMs } = head;
  if (status === 200 && first?.position === null && end !== null) {
    return problem(
      '200, and the end at once',
      'the server is full or draining, and tells clients to come back: see /-/ready and --max-connections',
    );
  }
  if (status === 200 && (first === null ? end !== null : first.position === null)) {
    return problem(
      '200, and no event stream of Holdline',
      'give the URL of a channel, such as http://proxy.example/notifications',
    );
  }
  if (status === 200) {
    const said = endCode === null ? '' : `; the server ended it: ${endCode}`;
    return found('answer', 'ok', `200 after ${timeInWords(afterMs)}${said}`, why, '');
  }
  const code = /HOLDLINE_\w+/.exec(refusal)?.[0];
  const words = refusal
    .replaceAll(/<[^>]*>|\s+/g, ' ')
    .replaceAll(/ +/g, ' ')
    .trim()
    .slice(0, 200);
  return problem(words === '' ? `${status}` : `${status}: ${words}`, mendOfStatus(status, code));
}

function mendOfStatus(status: number, code: string | undefined): string {
  if (code === 'HOLDLINE_BAD_HOST')
    return 'holdline serve --allowed-hosts NAME, with the name in the Host header; or --publish-key KEY';
  if (code === 'HOLDLINE_NOT_FOUND' || code === 'HOLDLINE_BAD_CHANNEL')
    return 'let the proxy take its prefix off the path: nginx proxy_pass http://…/; with a slash at the end';
  if (code !== undefined) return 'see the message';
  if (status === 204) return 'the channel was deleted: publish to it, or give another one';
  if (status === 505)
    return 'the proxy speaks HTTP/1.0 to the server: nginx proxy_http_version 1.1; proxy_set_header Connection "";';
  if (status >= 502 && status <= 504)
    return 'see that the server runs, and that the proxy has its address';
  return 'this is the word of the proxy, not of Holdline: see its configuration';
}

function checkHttpVersion(path: ProxyPath): Finding | undefined {
  const { head } = path;
  if (head === null || !isOpened(path)) return undefined;
  return found(
    'http-version',
    head.httpVersion === '1.0' ? 'advice' : 'ok',
    head.httpVersion,
    'under HTTP/1.0 a stream has no framing: a client cannot tell an end from a cut, and polls take a connection each',
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
    'take what sets Content-Type out of the way: nginx default_type and add_header, haproxy http-response set-header',
  );
}

function checkCompression(path: ProxyPath, lines: number): Finding | undefined {
  if (!isOpened(path)) return undefined;
  const encoding = path.head?.headers['content-encoding'];
  return found(
    'compression',
    encoding === undefined ? 'ok' : 'advice',
    encoding ?? 'none',
    `a compressor for each of ${inWords(lines)} streams takes some 100 KB and time at each event, and may hold events back`,
    'leave text/event-stream out of it: nginx gzip_types, haproxy compression type, caddy encode; Holdline asks for that by no-transform',
  );
}

function checkCaching(path: ProxyPath): Finding | undefined {
  if (!isOpened(path)) return undefined;
  const { head, pollIsFresh } = path;
  const said = head?.headers['cache-control'] ?? 'none';
  const words = new Set(said.split(',').map((word) => word.trim().toLowerCase()));
  const missing = STREAM_CACHE_CONTROL.filter((word) => !words.has(word));
  // A proxy may write 0 for what it has just got.
  const age = Number(head?.headers['age'] ?? 0);
  const isCached = pollIsFresh === false || age > 0;
  const seen = [
    `Cache-Control: ${said}`,
    ...(age > 0 ? [`Age: ${age}`] : []),
    ...(pollIsFresh === null
      ? []
      : [
          pollIsFresh
            ? 'a poll told of what was published'
            : 'a poll was answered as before a publish',
        ]),
  ];
  return found(
    'caching',
    isCached ? 'problem' : missing.length > 0 ? 'advice' : 'ok',
    seen.join('; '),
    'a cached answer repeats what was; a header that is gone lets others on the way keep and change what comes',
    isCached
      ? 'nginx: proxy_cache off; and no proxy_ignore_headers Cache-Control; varnish: return (pipe)'
      : `pass Cache-Control on as it stands; missing is ${missing.join(', ')}`,
  );
}

function checkPublishing({ publishRefusal }: ProxyPath): Finding | undefined {
  if (publishRefusal === null) return undefined;
  return found(
    'publishing',
    'advice',
    publishRefusal,
    'without an event of its own the doctor sees first blocks and keepalives only',
    'give --publish-key, or let POST through for as long as it looks',
  );
}

function isLost({ afterMs }: ProbeEvent): boolean {
  return afterMs === null;
}

/** True when the events went to a server on which the stream is not. */
function isElsewhere({ events, first }: ProxyPath): boolean {
  return (
    first !== null &&
    events.length > 0 &&
    events.every((event) => isLost(event) && event.subscribers === 0)
  );
}

function checkOneServer(path: ProxyPath): Finding | undefined {
  if (!isElsewhere(path)) return undefined;
  return found(
    'one-server',
    'problem',
    'a publish was taken by a server that has no line on the channel, while a stream is open',
    'servers behind one URL share no events: a subscriber hears only what is published to its own',
    'let the proxy choose the server by the path, so that a channel has one: nginx hash $uri; haproxy balance uri',
  );
}

function checkBuffering(path: ProxyPath, lines: number): Finding | undefined {
  const { first, events, head, end } = path;
  const wasRefused = head === null ? events.length === 0 : !isOpened(path);
  if (wasRefused || isElsewhere(path) || (end !== null && events.every(isLost)))
    return undefined;
  const why = `what is held back is late for all ${inWords(lines)} lines, and a client may give up before anything comes`;
  if (first === null)
    return found(
      'buffering',
      'problem',
      'nothing of the stream came, not even its first block',
      why,
      UNBUFFERED,
    );
  if (events.length === 0)
    return found(
      'buffering',
      'ok',
      `first block after ${timeInWords(first.afterMs)}; no event was tried`,
      why,
      '',
    );
  const delaysMs = events.map(({ afterMs }) => afterMs ?? Infinity);
  const leastMs = Math.min(...delaysMs);
  const level = leastMs > HELD_MS ? 'problem' : leastMs > LATE_MS ? 'advice' : 'ok';
  const value =
    leastMs === Infinity
      ? 'the first block came, an event did not'
      : `an event comes ${timeInWords(leastMs)} after its publish was answered`;
  return found('buffering', level, value, why, UNBUFFERED);
}

function checkComeback({ comeback }: ProxyPath, lines: number): Finding | undefined {
  if (comeback === null) return undefined;
  const { askedAfter, opened, position, gap } = comeback;
  if (!opened) {
    return found(
      'second-stream',
      'problem',
      'a second stream on the channel was not opened while the first was',
      `${inWords(lines)} streams are to be open at once; something makes one request of several, or bounds them for each client`,
      'nginx: proxy_cache off; and see limit_conn; varnish: return (pipe)',
    );
  }
  const isHonoured = gap || (position !== null && position <= askedAfter);
  return found(
    'last-event-id',
    isHonoured ? 'ok' : 'problem',
    isHonoured ? 'passed on' : `asked for what follows ${askedAfter}, continued after ${position}`,
    `without it each of ${inWords(lines)} lines that comes back misses what was sent meanwhile, and is not told`,
    'pass Last-Event-ID on: no proxy_pass_request_headers off; no proxy_set_header Last-Event-ID ""; no header allowlist without it',
  );
}

function checkStaysOpen(path: ProxyPath, lines: number): Finding | undefined {
  const { first, idle, end, endCode, lateEvent } = path;
  // What has not begun, or was refused, is told of elsewhere.
  if (first === null || first.position === null) return undefined;
  const why =
    `a stream without events is silent but for a keepalive each --heartbeat; one that is cut sooner comes back, ` +
    `and ${inWords(lines)} of them do all the time`;
  const judged = (level: Level, value: string, mend: string): Finding =>
    found('stays-open', level, value, why, mend);
  if (endCode !== null)
    return judged('advice', `the server itself ended the stream: ${endCode}`, 'look again later');
  if (end !== null) {
    const how = end.how === 'ended' ? 'ended' : 'cut';
    const silent = `${timeInWords(end.silentMs)} after the last bytes of it`;
    return judged('problem', `${how} after ${timeInWords(end.afterMs)}, ${silent}`, PATIENT);
  }
  if (idle === null) return undefined;
  const asked = timeInWords(idle.askedMs);
  if (lateEvent !== null && isLost(lateEvent)) {
    return judged(
      'problem',
      `open after ${asked}, but an event does not come any more`,
      'something on the way has forgotten the connection (NAT, firewall): holdline serve --heartbeat at half its time or less',
    );
  }
  const came =
    idle.blocks === 0
      ? 'nothing came, keepalives included'
      : `${idle.blocks} blocks came, keepalives among them`;
  return judged('ok', `open after ${asked}; ${came}`, '');
}
