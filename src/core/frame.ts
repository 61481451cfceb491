/**
 * Frames: the bytes of one event, the same for every subscriber of an encoding. The only place that
 * knows the grammar of text/event-stream (HTML Standard, 9.2.5 "parsing an event stream") and what
 * stands on a line of NDJSON.
 */
import type { EndCode } from '../errors.js';
import type { LoggedEvent } from './event.js';

const EMPTY_LINE = Buffer.from('\n');

/**
 * One way to write events on a line. Frames are encoded into {@link scratch}, which the next call
 * overwrites.
 */
export interface Encoding {
  readonly name: 'sse' | 'sse-env' | 'ndjson';
  /** Index of the encoding's ring in a channel. */
  readonly index: number;
  /** Encodes an event at the start of {@link scratch}; returns the length in bytes. */
  encode(event: LoggedEvent): number;
  /**
   * The first bytes of a line: where it continues, and how long to wait before a reconnect (ms).
   */
  prelude(continuesAfter: number, retryMs: number): string;
  /**
   * Tells that the events after `after` and before `before` are no longer held. null: no such id.
   * Carries no id of its own.
   */
  gap(after: number | null, before: number | null): Buffer;
  /** Last words. Carries no id. */
  end(code: EndCode, reconnect: boolean): Buffer;
  /**
   * Keeps proxies and dead-peer detection busy; `head` moves a caught-up client's position without
   * dispatching anything. native-notes/eventsource-clients.md
   */
  heartbeat(head: number | undefined): Buffer;
  /**
   * The fewest bytes that mean nothing: asks a socket that has drained whether it takes bytes
   * again.
   */
  readonly probe: Buffer;
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/**
 * The next frame, before it is copied into a ring: one buffer for the process, grown to the largest
 * frame seen.
 */
export let scratch: Buffer = Buffer.allocUnsafe(64 * 1024);

function needScratch(bytes: number): void {
  if (scratch.length < bytes) scratch = Buffer.allocUnsafe(2 ** Math.ceil(Math.log2(bytes)));
}

/**
 * Bytes of `id: …\n`, `event: …\n` and the other fixed parts at the most, beside the type's and the
 * data's own.
 */
const FIXED_BYTES = 64;
/** A line break (1 byte) becomes `\ndata: ` (7). */
const WORST_SSE_GROWTH = 7;
/** A control character (1 byte) becomes `\u00xx` (6). */
const WORST_JSON_GROWTH = 6;
/** UTF-8 bytes of a UTF-16 unit at the most. */
const UTF8_PER_CHAR = 3;

function writeHead(event: LoggedEvent): number {
  const type = event.type;
  return type === undefined
    ? scratch.write(`id: ${event.id}\ndata: `, 0, 'latin1')
    : scratch.write(`id: ${event.id}\nevent: ${type}\ndata: `, 0);
}

/**
 * Copies `data` as one or more data fields behind `at`; CR, LF and CRLF each end a line. Returns
 * the end.
 */
function writeDataLines(data: Uint8Array, at: number): number {
  let lineStart = 0;
  for (let i = 0; i < data.length; i++) {
    const byte = data[i];
    if (byte !== LF && byte !== CR) continue;
    scratch.set(data.subarray(lineStart, i), at);
    at += i - lineStart;
    at += scratch.write('\ndata: ', at, 'latin1');
    if (byte === CR && data[i + 1] === LF) i++;
    lineStart = i + 1;
  }
  scratch.set(data.subarray(lineStart), at);
  return at + data.length - lineStart;
}

function encodeSse(event: LoggedEvent): number {
  const { data } = event;
  needScratch(
    FIXED_BYTES + UTF8_PER_CHAR * (event.type?.length ?? 0) + WORST_SSE_GROWTH * data.length,
  );
  let at = writeHead(event);
  // Two native scans find that most data has no line break, several times faster than the loop
  // would.
  if (data.indexOf(LF) < 0 && data.indexOf(CR) < 0) {
    scratch.set(data, at);
    at += data.length;
  } else {
    at = writeDataLines(data, at);
  }
  scratch[at] = LF;
  scratch[at + 1] = LF;
  return at + 2;
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Writes the event as one JSON object on one line behind `at`: `{"id","channel","event"?,"data"}`.
 * Returns the end.
 */
function writeObject(event: LoggedEvent, at: number): number {
  const type = event.type === undefined ? '' : `"event":${JSON.stringify(event.type)},`;
  // A channel name has no character that JSON escapes (http/request.ts).
  at += scratch.write(`{"id":${event.id},"channel":"${event.channel}",${type}"data":`, at);
  if (event.json) {
    scratch.set(event.data, at);
    // In a valid JSON text CR and LF stand only between tokens (RFC 8259, 2), so a blank says the
    // same.
    for (const end = at + event.data.length; at < end; at++) {
      if (scratch[at] === LF || scratch[at] === CR) scratch[at] = SPACE;
    }
  } else {
    at += scratch.write(JSON.stringify(utf8.decode(event.data)), at);
  }
  scratch[at] = 0x7d; // }
  return at + 1;
}

function objectBytesAtMost(event: LoggedEvent): number {
  return (
    2 * FIXED_BYTES +
    event.channel.length +
    WORST_JSON_GROWTH * (UTF8_PER_CHAR * (event.type?.length ?? 0) + event.data.length)
  );
}

function encodeSseEnvelope(event: LoggedEvent): number {
  needScratch(2 * FIXED_BYTES + objectBytesAtMost(event));
  let at = writeObject(event, writeHead(event));
  scratch[at++] = LF;
  scratch[at++] = LF;
  return at;
}

function encodeNdjson(event: LoggedEvent): number {
  needScratch(objectBytesAtMost(event));
  const at = writeObject(event, 0);
  scratch[at] = LF;
  return at + 1;
}

function makeSseEncoding(
  name: Encoding['name'],
  index: number,
  encode: Encoding['encode'],
): Encoding {
  return {
    name,
    index,
    encode,
    prelude: (continuesAfter, retryMs) =>
      `${retryBlock(retryMs).slice(0, -1)}id: ${continuesAfter}\n\n`,
    gap: (after, before) =>
      Buffer.from(`event: gap\ndata: ${JSON.stringify({ after, before })}\n\n`),
    end: (code, reconnect) =>
      Buffer.from(`event: end\ndata: ${JSON.stringify({ code, reconnect })}\n\n`),
    heartbeat: (head) =>
      Buffer.from(head === undefined ? ': keepalive\n\n' : `: keepalive\nid: ${head}\n\n`),
    probe: Buffer.from(':\n'),
  };
}

/** The event's data as it is: one channel on a line. */
export const SSE: Encoding = makeSseEncoding('sse', 0, encodeSse);

/**
 * `data:` is the NDJSON object, so that a client of several channels sees which one an event is
 * from.
 */
export const SSE_ENVELOPE: Encoding = makeSseEncoding('sse-env', 1, encodeSseEnvelope);

/**
 * One JSON object a line. An empty line means nothing: it is the first byte of a stream, which
 * brings the head to the client (native-notes/head-leaves-with-first-write.md), and the heartbeat.
 * The position stands in the head (`Holdline-Position`).
 */
export const NDJSON: Encoding = {
  name: 'ndjson',
  index: 2,
  encode: encodeNdjson,
  prelude: () => '\n',
  gap: (after, before) => Buffer.from(`{"gap":${JSON.stringify({ after, before })}}\n`),
  end: (code, reconnect) => Buffer.from(`{"end":${JSON.stringify({ code, reconnect })}}\n`),
  heartbeat: () => EMPTY_LINE,
  probe: EMPTY_LINE,
};

/** All encodings, at their index. */
export const ENCODINGS: readonly Encoding[] = [SSE, SSE_ENVELOPE, NDJSON];

/** A whole answer to an EventSource that shall come back in `retryMs`: it dispatches nothing. */
export function retryBlock(retryMs: number): string {
  return `retry: ${retryMs}\n\n`;
}

const WORST_ID = Number.MAX_SAFE_INTEGER;

/**
 * The length in bytes of the event's largest frame over all encodings, used or not, so that what a
 * publisher may send does not depend on who is listening. A cheap upper bound is returned instead
 * when it is ≤ `limitBytes`.
 */
export function largestFrameBytes(event: Omit<LoggedEvent, 'id'>, limitBytes: number): number {
  const bound =
    4 * FIXED_BYTES +
    event.channel.length +
    WORST_SSE_GROWTH * (UTF8_PER_CHAR * (event.type?.length ?? 0) + event.data.length);
  if (bound <= limitBytes) return bound;
  if (event.data.length > limitBytes) return event.data.length;
  const worst: LoggedEvent = { ...event, id: WORST_ID };
  let largest = 0;
  for (const encoding of ENCODINGS) largest = Math.max(largest, encoding.encode(worst));
  return largest;
}
