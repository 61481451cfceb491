/** Publishing: receives a body, reads it as one event or as a batch, and answers with the ids. */
import { isUtf8 } from 'node:buffer';
import { checkEventType, type NewEvent } from '../core/event.js';
import { largestFrameBytes } from '../core/frame.js';
import { HoldlineError } from '../errors.js';
import { BATCH_EVENTS, PUBLISH_BYTES, BODY_BYTES } from '../limits.js';
import type { Receipt } from '../log/log.js';
import type { HttpResponse } from '../native/uws.js';

/** How a body is read, from its Content-Type. */
export type BodyKind = 'text' | 'json' | 'batch';

export function bodyKindOf(contentType: string): BodyKind {
  switch (contentType.replace(/;.*/, '').trim().toLowerCase()) {
    case 'application/json':
      return 'json';
    case 'application/x-ndjson':
      return 'batch';
    default:
      return 'text';
  }
}

/** Bytes of bodies that are being received, over all requests of the process. */
let bodiesInFlightBytes = 0;

/**
 * Receives a body of at most `limitBytes`. One of `received` and `refused` is called, once; `refused` maybe before the body is
 * complete: what still comes is not taken for a request (native-notes/early-answer.md). `aborted` is called when the client goes
 * away, before or after.
 */
export function receiveBody(
  response: HttpResponse,
  limitBytes: number,
  received: (body: Buffer) => void,
  refused: (error: HoldlineError) => void,
  aborted: (wasComplete: boolean) => void,
): void {
  let chunks: Buffer[] | undefined;
  let bytes = 0;
  let done = false;
  const finish = (): void => {
    bodiesInFlightBytes -= bytes;
    done = true;
  };
  response.onAborted(() => {
    aborted(done);
    if (!done) finish();
  });
  response.onData((chunk, isLast) => {
    if (done) return;
    bytes += chunk.byteLength;
    bodiesInFlightBytes += chunk.byteLength;
    if (bytes > limitBytes) {
      finish();
      refused(new HoldlineError('HOLDLINE_TOO_LARGE', `the body is over ${limitBytes} bytes`));
      return;
    }
    if (bodiesInFlightBytes > PUBLISH_BYTES) {
      finish();
      refused(
        new HoldlineError(
          'HOLDLINE_PUBLISH_BUSY',
          `bodies of ${PUBLISH_BYTES} bytes are being received already; try again after Retry-After`,
        ),
      );
      return;
    }
    // The chunk's memory is native and gone after this call. native-notes/zero-copy-arguments.md
    const copy = Buffer.from(Buffer.from(chunk));
    if (!isLast) {
      (chunks ??= []).push(copy);
      return;
    }
    finish();
    received(chunks === undefined ? copy : Buffer.concat([...chunks, copy], bytes));
  });
}

/** Body limit for a kind: a single event cannot be larger than its frame may be. */
export function bodyLimit(kind: BodyKind, maxEventBytes: number): number {
  return kind === 'batch' ? BODY_BYTES : Math.min(BODY_BYTES, maxEventBytes);
}

/**
 * Reads a body as events for `channel`. Throws HOLDLINE_NOT_UTF8, HOLDLINE_BAD_JSON, HOLDLINE_BAD_BATCH, HOLDLINE_BAD_EVENT_TYPE
 * or HOLDLINE_TOO_LARGE; then nothing is published.
 */
export function readEvents(
  channel: string,
  kind: BodyKind,
  type: string | undefined,
  body: Buffer,
  maxEventBytes: number,
): readonly NewEvent[] {
  checkUtf8(body, 'body');
  if (kind === 'batch') {
    if (type !== undefined)
      throw new HoldlineError('HOLDLINE_BAD_QUERY', 'event= does not go with a batch; give each line its own "event"');
    return readBatch(channel, body, maxEventBytes);
  }
  if (kind === 'json') checkJson(body);
  const event: NewEvent = { channel, type, data: body, json: kind === 'json' };
  checkSize(event, maxEventBytes);
  return [event];
}

/**
 * One event that is not UTF-8 would make every WebSocket reader close (RFC 6455, 8.1; native-notes/text-not-utf8.md). `what` names
 * the bytes in the error.
 */
export function checkUtf8(bytes: Uint8Array, what: 'body' | 'data'): void {
  if (!isUtf8(bytes)) {
    throw new HoldlineError('HOLDLINE_NOT_UTF8', `the ${what} is not UTF-8; encode binary data, for example as base64`);
  }
}

function checkJson(body: Buffer): void {
  try {
    JSON.parse(body.toString());
  } catch (cause) {
    throw new HoldlineError('HOLDLINE_BAD_JSON', `the body is not JSON: ${(cause as Error).message}`, { cause });
  }
}

/** The limit is on the largest encoded frame, since that is what every subscriber's connection carries. */
export function checkSize(event: NewEvent, maxEventBytes: number, line?: number): void {
  const bytes = largestFrameBytes(event, maxEventBytes);
  if (bytes > maxEventBytes) {
    const where = line === undefined ? '' : `line ${line}: `;
    throw new HoldlineError(
      'HOLDLINE_TOO_LARGE',
      `${where}the event is ${bytes} bytes or more when it is encoded; at most ${maxEventBytes} (--max-event-bytes)`,
    );
  }
}

const LF = 0x0a;

function readBatch(channel: string, body: Buffer, maxEventBytes: number): readonly NewEvent[] {
  const events: NewEvent[] = [];
  // In an ASCII body characters stand where bytes do, so one decoding serves all lines: half the cost of one for each.
  const whole = body.toString();
  const isAscii = whole.length === body.length;
  for (let start = 0, line = 1; start < body.length; line++) {
    const lineFeed = body.indexOf(LF, start);
    const end = lineFeed < 0 ? body.length : lineFeed;
    if (!isBlank(body, start, end)) {
      if (events.length === BATCH_EVENTS)
        throw new HoldlineError('HOLDLINE_TOO_LARGE', `the batch has more than ${BATCH_EVENTS} events`);
      const text = isAscii ? whole.slice(start, end) : body.toString('utf8', start, end);
      events.push(readLine(channel, text, body, start, end, line, maxEventBytes));
    }
    start = end + 1;
  }
  if (events.length === 0)
    throw new HoldlineError('HOLDLINE_BAD_BATCH', 'the batch has no events; send a line {"event"?,"data"} for each');
  return events;
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  while (start < end && (bytes[start] as number) <= SPACE) start++;
  return start === end;
}

function badLine(line: number, what: string, cause?: unknown): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_BATCH', `line ${line}: ${what}; nothing of the batch was published`, { cause });
}

function readLine(
  channel: string,
  text: string,
  body: Buffer,
  start: number,
  end: number,
  line: number,
  maxEventBytes: number,
): NewEvent {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw badLine(line, `not JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw badLine(line, 'not an object {"event"?,"data"}');
  const members = parsed as Record<string, unknown>;
  for (const name in members) {
    if (name !== 'event' && name !== 'data') throw badLine(line, `unknown member ${JSON.stringify(name.slice(0, 64))}`);
  }
  const { event: type, data } = members;
  if (data === undefined) throw badLine(line, '"data" is missing');
  if (type !== undefined) checkLineType(type, line);
  const event = eventOf(channel, type as string | undefined, data, body.subarray(start, end));
  checkSize(event, maxEventBytes, line);
  return event;
}

/** The event of an object that was parsed and checked: a string is text, anything else JSON as it stands in `object`. */
export function eventOf(channel: string, type: string | undefined, data: unknown, object: Buffer): NewEvent {
  const isText = typeof data === 'string';
  const bytes = isText ? Buffer.from(data) : (memberBytes(object, 'data') ?? Buffer.from(JSON.stringify(data)));
  return { channel, type, data: bytes, json: !isText };
}

function checkLineType(type: unknown, line: number): void {
  if (typeof type !== 'string') throw badLine(line, '"event" is not a string');
  try {
    checkEventType(type);
  } catch (cause) {
    throw new HoldlineError('HOLDLINE_BAD_EVENT_TYPE', `line ${line}: ${(cause as Error).message}`, { cause });
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const SPACE = 0x20;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;

/**
 * The bytes of a member's value in a JSON object that is known to be valid, as they stand: JSON.parse would read 1.0 as 1 and lose
 * digits of large numbers. The last one of that name, as JSON.parse takes it. Undefined where a name is written with escapes.
 */
export function memberBytes(object: Buffer, name: string): Buffer | undefined {
  let found: Buffer | undefined;
  let depth = 0;
  let isName = false;
  let nameStart = 0;
  let nameEnd = 0;
  let valueStart = 0;
  for (let i = 0; i < object.length; i++) {
    const byte = object[i];
    if (byte === QUOTE) {
      const start = i + 1;
      for (i = start; object[i] !== QUOTE; i++) {
        if (object[i] !== BACKSLASH) continue;
        if (isName) return undefined;
        i++;
      }
      if (isName) {
        nameStart = start;
        nameEnd = i;
        isName = false;
      }
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++depth === 1) isName = true;
    } else if (byte === COLON && depth === 1) {
      valueStart = i + 1;
    } else if ((byte === COMMA && depth === 1) || ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0)) {
      if (nameEnd - nameStart === name.length && object.toString('latin1', nameStart, nameEnd) === name)
        found = trimmed(object, valueStart, i);
      isName = true;
    }
  }
  return found;
}

/** JSON's white space is all ≤ U+0020, and nothing else in a JSON value is. */
function trimmed(bytes: Buffer, start: number, end: number): Buffer {
  while ((bytes[start] as number) <= SPACE) start++;
  while ((bytes[end - 1] as number) <= SPACE) end--;
  return bytes.subarray(start, end);
}

/** The answer to an accepted publish. */
export function receiptJson({ firstId, lastId, count, subscribers }: Receipt, kind: BodyKind): string {
  if (kind !== 'batch') return `{"id":${firstId},"subscribers":${subscribers}}`;
  return `{"first":${firstId},"last":${lastId},"count":${count},"subscribers":${subscribers}}`;
}
