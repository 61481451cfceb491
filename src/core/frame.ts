/**
 * Frames: the bytes of one event, the same for every subscriber of an encoding. The only file of
 * the server that knows the grammar of text/event-stream (HTML Standard, 9.2.5 "parsing an event
 * stream") and the objects of an NDJSON stream.
 */
import type { EndCode } from '../errors.js';
import type { LoggedEvent } from './event.js';

const EMPTY_LINE = Buffer.from('\n');

type PlainName = 'sse' | 'sse-env' | 'sse-data' | 'sse-env-data' | 'ndjson';

/** How events are written to a line. */
export interface Encoding {
  readonly name: PlainName | `${PlainName}-gzip`;
  /** Lines are given gzip blocks (core/gzip.ts); `encode` gives the plain frame. */
  readonly isGzip?: true;
  /** Index of the encoding's ring in a channel; encodings with the same frames share one. */
  readonly index: number;
  /** The event's frame, valid until any encoding encodes the next event. */
  encode(event: LoggedEvent): Buffer;
  /** The first bytes of a line: where it continues, and the delay before a reconnect, ms. */
  prelude(continuesAfter: number, retryMs: number): string;
  /**
   * The gap notice: events after `after` and before `before` are no longer held; null stands for an
   * unknown id. It carries no id of its own.
   */
  gap(after: number | null, before: number | null): Buffer;
  /**
   * The end event. Carries no id. With `retryMs` an event stream is told first when to come back,
   * in place of what its prelude said; other encodings do not tell.
   */
  end(code: EndCode, reconnect: boolean, retryMs?: number): Buffer;
  /**
   * Keeps proxies and dead-peer detection busy. With `head` it also moves the position of a client
   * that has everything, without dispatching an event. native-notes/eventsource-clients.md
   */
  heartbeat(head: number | undefined): Buffer;
  /** The fewest bytes without a meaning: tests whether a drained socket takes bytes again. */
  readonly probe: Buffer;
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/** Holds the frame encoded last: one buffer for the process, grown to the largest frame seen. */
let scratch: Buffer = Buffer.allocUnsafe(64 * 1024);

function needScratch(bytes: number): void {
  if (scratch.length < bytes) scratch = Buffer.allocUnsafe(2 ** Math.ceil(Math.log2(bytes)));
}

/** Upper bound of a frame's fixed parts, such as `id: …\n`, beside its type and its data, bytes. */
const FIXED_BYTES = 64;
/** A line break (1 byte) becomes `\ndata: ` (7). */
const WORST_SSE_GROWTH = 7;
/** A control character (1 byte) becomes `\u00xx` (6). */
const WORST_JSON_GROWTH = 6;
/** Most UTF-8 bytes of a UTF-16 unit. */
const UTF8_PER_CHAR = 3;

function writeHead(event: LoggedEvent): number {
  const type = event.type;
  return type === undefined
    ? scratch.write(`id: ${event.id}\ndata: `, 0, 'latin1')
    : scratch.write(`id: ${event.id}\nevent: ${type}\ndata: `, 0);
}

/**
 * Copies `data` to `at` as one or more data fields; CR, LF and CRLF each end a line. Returns the
 * end.
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

function encodeSse(event: LoggedEvent): Buffer {
  const { data } = event;
  needScratch(
    FIXED_BYTES + UTF8_PER_CHAR * (event.type?.length ?? 0) + WORST_SSE_GROWTH * data.length,
  );
  let at = writeHead(event);
  // Most data has no line break: two native scans find that out several times faster than the loop.
  if (data.indexOf(LF) < 0 && data.indexOf(CR) < 0) {
    scratch.set(data, at);
    at += data.length;
  } else {
    at = writeDataLines(data, at);
  }
  scratch[at++] = LF;
  scratch[at++] = LF;
  return scratch.subarray(0, at);
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Writes the event to `at` as a JSON object without line breaks:
 * `{"id","channel","event"?,"data"}`. Returns the end.
 */
function writeObject(event: LoggedEvent, at: number): number {
  const type = event.type === undefined ? '' : `"event":${JSON.stringify(event.type)},`;
  // A channel name has no character that JSON escapes (http/request.ts).
  at += scratch.write(`{"id":${event.id},"channel":"${event.channel}",${type}"data":`, at);
  if (event.json) {
    scratch.set(event.data, at);
    // In valid JSON, CR and LF stand only between tokens (RFC 8259, 2), where a space means the
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

function objectBytesMax(event: LoggedEvent): number {
  return (
    2 * FIXED_BYTES +
    event.channel.length +
    WORST_JSON_GROWTH * (UTF8_PER_CHAR * (event.type?.length ?? 0) + event.data.length)
  );
}

function encodeSseEnvelope(event: LoggedEvent): Buffer {
  needScratch(2 * FIXED_BYTES + objectBytesMax(event));
  let at = writeObject(event, writeHead(event));
  scratch[at++] = LF;
  scratch[at++] = LF;
  return scratch.subarray(0, at);
}

function encodeNdjson(event: LoggedEvent): Buffer {
  needScratch(objectBytesMax(event));
  const at = writeObject(event, 0);
  scratch[at] = LF;
  return scratch.subarray(0, at + 1);
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
    // In one block, because parsers other than EventSource dispatch a block without data, too.
    end: (code, reconnect, retryMs) =>
      Buffer.from(
        `${retryMs === undefined ? '' : retryBlock(retryMs).slice(0, -1)}event: end\ndata: ${JSON.stringify({ code, reconnect })}\n\n`,
      ),
    heartbeat: (head) =>
      Buffer.from(head === undefined ? ': keepalive\n\n' : `: keepalive\nid: ${head}\n\n`),
    probe: Buffer.from(':\n'),
  };
}

/** The event's data as it was published: for lines on one channel. */
export const SSE: Encoding = makeSseEncoding('sse', 0, encodeSse);

/**
 * `data:` is the NDJSON object, which tells a client of several channels where an event is from.
 */
export const SSE_ENVELOPE: Encoding = makeSseEncoding('sse-env', 1, encodeSseEnvelope);

/**
 * The same frames without blocks that have no data. An EventSource needs the blank line behind an
 * id to take it as its position (HTML Standard, 9.2.6 "dispatch the event"); other parsers hand the
 * program an empty message at every blank line. Here id and `retry` stand at the beginning of the
 * next block: such parsers take them as they are read.
 */
function withoutEmptyBlocks(encoding: Encoding, name: Encoding['name']): Encoding {
  const openBlock = (block: string): string => block.slice(0, -1);
  return {
    ...encoding,
    name,
    prelude: (continuesAfter, retryMs) => openBlock(encoding.prelude(continuesAfter, retryMs)),
    heartbeat: (head) => encoding.heartbeat(head).subarray(0, -1),
  };
}

/** {@link SSE} without blocks that have no data. */
export const SSE_DATA: Encoding = withoutEmptyBlocks(SSE, 'sse-data');

/** {@link SSE_ENVELOPE} without blocks that have no data. */
export const SSE_ENVELOPE_DATA: Encoding = withoutEmptyBlocks(SSE_ENVELOPE, 'sse-env-data');

/**
 * One JSON object, then a line feed. A line feed alone is the heartbeat, and also the first byte of
 * a stream: without a byte the response head stays behind
 * (native-notes/head-leaves-with-first-write.md). The position is in the response head
 * (`Holdline-Position`).
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

/** The encodings whose frames differ, each at its index. */
export const ENCODINGS: readonly Encoding[] = [SSE, SSE_ENVELOPE, NDJSON];

/**
 * Makes an EventSource come back in `retryMs`, and dispatches nothing: the whole body of an answer.
 */
export function retryBlock(retryMs: number): string {
  return `retry: ${retryMs}\n\n`;
}

/**
 * An object as a message without an id, for streams of other things than events. With `retryMs` an
 * event stream is told first when to come back: in one block, because parsers other than
 * EventSource dispatch a block without data, too.
 */
export function messageText({ name }: Encoding, value: object, retryMs?: number): string {
  const json = JSON.stringify(value);
  if (name === 'ndjson') return `${json}\n`;
  const retry = retryMs === undefined ? '' : retryBlock(retryMs).slice(0, -1);
  return `${retry}data: ${json}\n\n`;
}

const WORST_ID = Number.MAX_SAFE_INTEGER;

/**
 * Bytes of the event's largest frame over all encodings, used or not: what a publisher may send
 * must not depend on who listens. Returns a cheap upper bound instead when that is ≤ `limitBytes`.
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
  for (const encoding of ENCODINGS) largest = Math.max(largest, encoding.encode(worst).length);
  return largest;
}
