/** Streams, as server-sent events or as lines of JSON: opens a line and writes its beginning. */
import type { DeliveryMode } from '../core/ports.js';
import {
  NDJSON,
  SSE,
  SSE_DATA,
  SSE_ENVELOPE,
  SSE_ENVELOPE_DATA,
  type Encoding,
} from '../core/frame.js';
import { gzipped } from '../core/gzip.js';
import type { Hub } from '../core/hub.js';
import type { Owner } from '../core/owners.js';
import type { Position } from '../core/position.js';
import { hold, streamPort, type HttpResponse } from '../native/uws.js';
import type { ClientKind } from '../http/client-kind.js';
import { VARIES_BY } from '../http/content-coding.js';
import type { Exchange } from '../http/exchange.js';

/** What a request for a stream asks for. */
export interface StreamRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly owner: Owner;
  readonly mode: DeliveryMode<HttpResponse>;
  readonly client: ClientKind;
  /** Proxies may change the coding of the stream. */
  readonly mayTransform: boolean;
}

/** A mode, and the same within gzip. */
interface Coded {
  readonly plain: DeliveryMode<HttpResponse>;
  readonly gzip: DeliveryMode<HttpResponse>;
}

function coded(transport: 'sse' | 'ndjson', encoding: Encoding): Coded {
  return {
    plain: { transport, encoding, port: streamPort },
    gzip: { transport, encoding: gzipped(encoding), port: streamPort },
  };
}

function eventStream(encoding: Encoding): Coded {
  return coded('sse', encoding);
}

/** Delivery modes of event streams by kind of client. */
const EVENT_STREAMS = { eventsource: eventStream(SSE), fetch: eventStream(SSE_DATA) };
const ENVELOPED_STREAMS = {
  eventsource: eventStream(SSE_ENVELOPE),
  fetch: eventStream(SSE_ENVELOPE_DATA),
};
const NDJSON_STREAM = coded('ndjson', NDJSON);

/**
 * The delivery mode of a stream. On several channels each event names its channel, which takes the
 * envelope; lines of JSON always name it. `coding` is gzip on one channel only.
 */
export function deliveryModeOf(
  transport: 'sse' | 'ndjson',
  channels: readonly string[],
  envelope: boolean,
  client: ClientKind,
  coding: keyof Coded,
): DeliveryMode<HttpResponse> {
  if (transport === 'ndjson') return NDJSON_STREAM[coding];
  return (channels.length > 1 || envelope ? ENVELOPED_STREAMS : EVENT_STREAMS)[client][coding];
}

/** What differs in the heads of streams. */
export interface StreamHeadFields {
  /** The position after which the stream continues. */
  readonly continuesAfter?: number;
  readonly isGzip?: boolean;
  /** True with `--allow-transform`. */
  readonly mayTransform?: boolean;
}

/**
 * Writes the head of a stream. `no-transform` and `X-Accel-Buffering` keep proxies from compressing
 * or buffering it (native-notes/proxy-on-this-machine.md). The head of an NDJSON stream has the
 * position where it continues, which is in the first block of an event stream.
 */
export function writeStreamHead(
  { response, headers }: Exchange,
  transport: 'sse' | 'ndjson',
  { continuesAfter, isGzip = false, mayTransform = false }: StreamHeadFields = {},
): void {
  const isEvents = transport === 'sse';
  response.writeHeader('Content-Type', isEvents ? 'text/event-stream' : 'application/x-ndjson');
  response.writeHeader('Cache-Control', mayTransform ? 'no-cache' : 'no-cache, no-transform');
  if (isGzip) response.writeHeader('Content-Encoding', 'gzip');
  response.writeHeader('X-Accel-Buffering', 'no');
  response.writeHeader('X-Content-Type-Options', 'nosniff');
  if (!isEvents && continuesAfter !== undefined)
    response.writeHeader('Holdline-Position', String(continuesAfter));
  let vary = VARIES_BY;
  for (const [name, value] of headers) {
    if (name === 'Vary') vary += `, ${value}`;
    else response.writeHeader(name, value);
  }
  response.writeHeader('Vary', vary);
}

type StreamHub = Pick<
  Hub<HttpResponse>,
  'checkPlaces' | 'drained' | 'isDeleted' | 'join' | 'left' | 'startOf' | 'stalled'
>;

function transportOf({ mode }: StreamRequest): 'sse' | 'ndjson' {
  return mode.transport === 'ndjson' ? 'ndjson' : 'sse';
}

function fieldsOf({ mode, mayTransform }: StreamRequest, continuesAfter: number): StreamHeadFields {
  return { continuesAfter, isGzip: mode.encoding.isGzip === true, mayTransform };
}

/** True for an event stream of a deleted channel, which is not opened. */
function isOver(hub: StreamHub, { channels, mode }: StreamRequest): boolean {
  return mode.transport === 'sse' && hub.isDeleted(channels);
}

/**
 * Answers a HEAD with the head of a GET, and closes, because there is no length to send. Throws
 * what {@link openStream} throws.
 */
export function answerStreamHead(hub: StreamHub, exchange: Exchange, request: StreamRequest): void {
  if (isOver(hub, request)) {
    exchange.answerNothing([['Vary', VARIES_BY]]);
    return;
  }
  hub.checkPlaces(request.channels);
  const { continuesAfter } = hub.startOf(request.channels, request.position);
  exchange.answerHead(() =>
    writeStreamHead(exchange, transportOf(request), fieldsOf(request, continuesAfter)),
  );
}

/**
 * Opens a line: joins, and writes head, prelude and replay in one cork, which the caller's turn
 * already is. An event stream of a deleted channel is answered with 204, after which an EventSource
 * does not come back (HTML Standard, 9.2.3). Throws what `Hub.join` throws; then nothing has been
 * written. native-notes/head-leaves-with-first-write.md, native-notes/eventsource-clients.md
 */
export function openStream(
  hub: StreamHub,
  exchange: Exchange,
  request: StreamRequest,
  retryMs: number,
): void {
  if (isOver(hub, request)) {
    exchange.answerNothing([['Vary', VARIES_BY]]);
    return;
  }
  const { response } = exchange;
  const { channels, position, mode, owner } = request;
  const { handle, continuesAfter, opening } = hub.join(
    response,
    channels,
    mode,
    position,
    retryMs,
    owner,
  );
  exchange.handOver();
  hold(response, handle, hub);
  writeStreamHead(exchange, transportOf(request), fieldsOf(request, continuesAfter));
  if (!response.write(opening)) hub.stalled(handle, response);
}
