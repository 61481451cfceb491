/** Event streams: opens a line and writes what it starts with. */
import type { Dialect } from '../core/frame.js';
import { SSE, SSE_ENVELOPE } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Position } from '../core/position.js';
import { hold, type Holder, type HttpResponse } from '../native/uws.js';
import type { Headers } from './answer.js';

/** What a request for a stream asked for. */
export interface StreamRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly envelope: boolean;
  readonly headers: Headers;
}

/** Writes the head of a stream. `no-transform` and `X-Accel-Buffering` keep proxies from compressing or collecting it. */
export function writeStreamHead(response: HttpResponse, headers: Headers): void {
  response.writeHeader('Content-Type', 'text/event-stream');
  response.writeHeader('Cache-Control', 'no-cache, no-transform');
  response.writeHeader('X-Accel-Buffering', 'no');
  response.writeHeader('X-Content-Type-Options', 'nosniff');
  let vary = 'Accept, Accept-Encoding';
  for (const [name, value] of headers) {
    if (name === 'Vary') vary += `, ${value}`;
    else response.writeHeader(name, value);
  }
  response.writeHeader('Vary', vary);
}

/** A line on several channels tells which one an event is from. */
export function dialectOf({ channels, envelope }: StreamRequest): Dialect {
  return channels.length > 1 || envelope ? SSE_ENVELOPE : SSE;
}

/**
 * Opens a line: joins and writes head, prelude and replay in one cork, which the caller's turn already is. Throws what
 * `Hub.join` throws, before anything was written.
 */
export function openStream(
  hub: Hub<HttpResponse>,
  holder: Holder,
  response: HttpResponse,
  request: StreamRequest,
  retryMs: number,
): void {
  const { handle, opening } = hub.join(response, request.channels, dialectOf(request), request.position, retryMs);
  hold(response, handle, holder);
  writeStreamHead(response, request.headers);
  if (!response.write(opening)) hub.stalled(handle, response);
}
