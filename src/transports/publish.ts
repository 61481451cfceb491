/** Publishing: reads a body as one event or as a batch, and words the receipt. */
import { isUtf8 } from 'node:buffer';
import type { NewEvent } from '../core/event.js';
import { HoldlineError } from '../errors.js';
import { BODY_BYTES_MAX } from '../limits.js';
import type { Receipt } from '../core/event-log.js';
import { readBatch } from './batch.js';
import { checkSize } from './event-size.js';
import { scanJson } from './json.js';

/** How a body is read, from its Content-Type. */
export type BodyKind = 'text' | 'json' | 'batch';

export function bodyKindOf(contentType: string): BodyKind {
  if (contentType === '') return 'text';
  switch (contentType.replace(/;.*/, '').trim().toLowerCase()) {
    case 'application/json':
      return 'json';
    case 'application/x-ndjson':
      return 'batch';
    default:
      return 'text';
  }
}

/** Throws HOLDLINE_UNSUPPORTED_ENCODING for a body that is not sent as it is (RFC 9110, 8.4). */
export function checkContentEncoding(encoding: string): void {
  if (encoding === '' || encoding.toLowerCase() === 'identity') return;
  throw new HoldlineError(
    'HOLDLINE_UNSUPPORTED_ENCODING',
    `the Content-Encoding ${JSON.stringify(encoding.slice(0, 32))} is not supported; send the body as it is`,
  );
}

/** Body limit for a kind: a single event cannot be larger than its frame may be. */
export function bodyLimit(kind: BodyKind, maxEventBytes: number): number {
  return kind === 'batch' ? BODY_BYTES_MAX : Math.min(BODY_BYTES_MAX, maxEventBytes);
}

/**
 * Reads a body as events for `channel`: a single event and a small batch at once, a large batch in
 * slices of time. Throws or rejects with HOLDLINE_NOT_UTF8, HOLDLINE_BAD_JSON, HOLDLINE_BAD_BATCH,
 * HOLDLINE_BAD_EVENT_TYPE or HOLDLINE_TOO_LARGE; then nothing is published. The events' data may be
 * views of `body`.
 */
export function readEvents(
  channel: string,
  kind: BodyKind,
  type: string | undefined,
  body: Buffer,
  maxEventBytes: number,
): readonly NewEvent[] | Promise<readonly NewEvent[]> {
  checkUtf8(body, 'body');
  if (kind === 'batch') {
    if (type !== undefined)
      throw new HoldlineError(
        'HOLDLINE_BAD_QUERY',
        'event= does not go with a batch; give each line its own "event"',
      );
    return readBatch(channel, body, maxEventBytes);
  }
  if (kind === 'json') checkJson(body);
  const event: NewEvent = { channel, type, data: body, json: kind === 'json' };
  checkSize(event, maxEventBytes);
  return [event];
}

/**
 * One event that is not UTF-8 would make every WebSocket reader close (RFC 6455, 8.1;
 * native-notes/text-not-utf8.md). `what` names the bytes in the error.
 */
export function checkUtf8(bytes: Uint8Array, what: 'body' | 'data'): void {
  if (!isUtf8(bytes)) {
    throw new HoldlineError(
      'HOLDLINE_NOT_UTF8',
      `the ${what} is not UTF-8; encode binary data, for example as base64`,
    );
  }
}

function checkJson(body: Buffer): void {
  const fault = scanJson(body, 0, body.length);
  if (fault === undefined) return;
  const what = fault.kind === 'syntax' ? `not JSON: ${fault.message}` : `refused: ${fault.message}`;
  throw new HoldlineError('HOLDLINE_BAD_JSON', `the body is ${what}`);
}

/** The answer to an accepted publish. */
export function receiptJson(
  { firstId, lastId, count, subscribers }: Receipt,
  kind: BodyKind,
): string {
  if (kind !== 'batch') return `{"id":${firstId},"subscribers":${subscribers}}`;
  return `{"first":${firstId},"last":${lastId},"count":${count},"subscribers":${subscribers}}`;
}
