/**
 * A publish over HTTP, from its head to its receipt: what it asks for, its body, its events, and
 * the deletion of a channel, which is a publish without a body.
 */
import { isUtf8 } from 'node:buffer';
import type { Rights } from '../auth/rights.js';
import { checkEventType, type NewEvent } from '../core/event.js';
import type { Receipt, RequestKey } from '../core/event-log.js';
import type { Hub } from '../core/hub.js';
import type { Idempotency } from '../core/idempotency.js';
import type { Reservation } from '../core/publish-memory.js';
import type { Published } from '../core/intake.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { IncomingBody } from '../http/body.js';
import { scopeOf, type Soon } from '../http/credentials.js';
import type { Exchange } from '../http/exchange.js';
import { contentLengthOf } from '../http/framing.js';
import type { Grant, Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import { requestKeyOf, scopedKeyOf, type ScopedKey } from '../http/idempotency-key.js';
import { bodyKindOf, type BodyKind } from '../http/media-type.js';
import { rateSourceOf, type PublishRates } from '../http/publish-rates.js';
import { Query } from '../http/query.js';
import { BODY_BYTES_MAX } from '../limits.js';
import { readBatch } from './batch.js';
import { checkSize } from './event-size.js';
import { scanJson } from './json.js';

/** How a body becomes events. */
export interface BodyFormat {
  readonly channel: string;
  readonly kind: BodyKind;
  /** The type of a single event, undefined for none. */
  readonly type: string | undefined;
}

/** What the head of a publish asks for. */
export interface PublishRequest extends BodyFormat {
  readonly contentLength: number | undefined;
  readonly key: ScopedKey | undefined;
  /** Whose rate its events count against; undefined without a limit. */
  source: string | undefined;
}

/** What a publish needs of the server. */
export interface PublishingParts {
  readonly hub: Pick<Hub<never>, 'admit' | 'deleteChannel' | 'reserve' | 'reserveAhead' | 'submit'>;
  readonly idempotency: Pick<Idempotency, 'once'>;
  readonly counters: Counters;
  readonly rates: Pick<PublishRates, 'isOn' | 'published' | 'take'>;
  readonly guard: Pick<Guard, 'checkGrant'>;
}

export class Publishing {
  readonly #parts: PublishingParts;
  readonly #maxEventBytes: number;

  constructor(parts: PublishingParts, maxEventBytes: number) {
    this.#parts = parts;
    this.#maxEventBytes = maxEventBytes;
  }

  /** True where there is a rate that {@link takeRate} holds publishers to. */
  get isRated(): boolean {
    return this.#parts.rates.isOn;
  }

  /**
   * Takes one event of what the client may publish in a second. A client without a credential is
   * known by its address, of which `network` is what counts. Throws HOLDLINE_RATE.
   */
  takeRate(request: PublishRequest, rights: Pick<Rights, 'credential'>, network: string): void {
    takeRate(this.#parts.rates, request, rights, network);
  }

  /**
   * Receives, publishes and answers; called in the request's turn, because uWebSockets hands over a
   * body only if onData is set in that turn (native-notes/request-in-its-turn.md). `granted` is a
   * promise while it is not known whether the client may publish. A client that finds no room is
   * refused before its body is received, one that leaves gives up its place, and one whose
   * credential was revoked or has expired before its events are appended publishes nothing. Throws
   * as `Hub.reserve` does, which costs less than to reject when thousands are refused; rejects with
   * the error to send.
   */
  publish(
    exchange: Exchange,
    head: Head,
    request: PublishRequest,
    granted: Soon<Grant>,
  ): Promise<void> {
    const { hub } = this.#parts;
    const isAllowed = !(granted instanceof Promise);
    const reservation = isAllowed ? hub.reserve(request.channel) : hub.reserveAhead();
    return this.#receive(exchange, head, request, granted, reservation);
  }

  async #receive(
    exchange: Exchange,
    head: Head,
    request: PublishRequest,
    granted: Soon<Grant>,
    reservation: Reservation,
  ): Promise<void> {
    const { hub, counters, guard } = this.#parts;
    const { channel, kind, key } = request;
    const isAllowed = !(granted instanceof Promise);
    const incoming = new IncomingBody(
      exchange,
      request.contentLength,
      bodyLimit(kind, this.#maxEventBytes),
      reservation,
    );
    try {
      const received = incoming.receive();
      const grant = isAllowed ? granted : (await Promise.all([received, granted]))[1];
      if (isAllowed) await received;
      const { body } = incoming;
      // Nothing is published for a client that left meanwhile.
      if (exchange.gone) return;
      if (!isAllowed) hub.admit(channel, reservation);
      const submission = {
        reservation,
        read: () => {
          guard.checkGrant(grant);
          return readEvents(request, body, this.#maxEventBytes);
        },
      };
      const requestKey =
        key === undefined
          ? undefined
          : requestKeyOf(key, scopeOf(grant, head), [kind, request.type ?? '', body]);
      const receipt = await publishOnce(this.#parts, request, { reservation, requestKey }, () =>
        hub.submit(channel, submission, requestKey),
      );
      counters.publish_requests_total++;
      exchange.answerJson(receiptJson(receipt, kind));
    } finally {
      incoming.stop();
      reservation.release();
    }
  }

  /**
   * Deletes the channel's history, once it is granted, unless the credential is worth nothing any
   * more when there is room for it. Rejects as {@link publish} does.
   */
  async delete(exchange: Exchange, channel: string, granted: Soon<Grant>): Promise<void> {
    const { hub, guard } = this.#parts;
    exchange.watch();
    const grant = await granted;
    if (exchange.gone) return;
    const receipt = receiptOf(await hub.deleteChannel(channel, () => guard.checkGrant(grant)));
    exchange.answerJson(receiptJson(receipt, 'text'));
  }
}

/**
 * Takes one event of what the client may publish in a second; see {@link Publishing.takeRate}.
 * Throws HOLDLINE_RATE.
 */
export function takeRate(
  rates: Pick<PublishRates, 'isOn' | 'take'>,
  request: PublishRequest,
  rights: Pick<Rights, 'credential'>,
  network: string,
): void {
  if (!rates.isOn) return;
  request.source = rateSourceOf(rights, network);
  rates.take(request.source);
}

/**
 * Publishes by `submit`, once for the request's idempotency key if it has one, and counts against
 * the publisher's rate what was published. Rejects as `submit` does.
 */
export function publishOnce(
  { idempotency, rates }: Pick<PublishingParts, 'idempotency' | 'rates'>,
  { source }: PublishRequest,
  {
    reservation,
    requestKey,
  }: { readonly reservation: Reservation; readonly requestKey: RequestKey | undefined },
  submit: () => Promise<Published>,
): Promise<Receipt> {
  const publish = async (): Promise<Receipt> => {
    const receipt = receiptOf(await submit());
    if (source !== undefined) rates.published(source, receipt.count);
    return receipt;
  };
  return requestKey === undefined ? publish() : idempotency.once(requestKey, reservation, publish);
}

/**
 * Reads what a publish to `channel` asks for. Throws HOLDLINE_BAD_QUERY, HOLDLINE_BAD_EVENT_TYPE,
 * HOLDLINE_UNSUPPORTED_MEDIA_TYPE, HOLDLINE_UNSUPPORTED_ENCODING or HOLDLINE_BAD_IDEMPOTENCY_KEY.
 */
export function publishRequestOf(head: Head, channel: string): PublishRequest {
  const type = head.query === undefined ? undefined : typeOf(new Query(head.query));
  const kind = bodyKindOf(head.get('content-type'));
  checkContentEncoding(head.get('content-encoding'));
  return {
    channel,
    kind,
    type,
    contentLength: contentLengthOf(head),
    source: undefined,
    key: scopedKeyOf(head, channel),
  };
}

/** The event type in the query of a publish. */
function typeOf(query: Query): string | undefined {
  query.checkNames('POST');
  const type = query.get('event');
  return type === undefined ? undefined : checkEventType(type);
}

/** Throws HOLDLINE_UNSUPPORTED_ENCODING for a body that is encoded (RFC 9110, 8.4). */
function checkContentEncoding(encoding: string): void {
  if (encoding === '' || encoding.toLowerCase() === 'identity') return;
  throw new HoldlineError(
    'HOLDLINE_UNSUPPORTED_ENCODING',
    `the Content-Encoding ${JSON.stringify(encoding.slice(0, 32))} is not supported; send the body without one`,
  );
}

/** Body limit for a kind, bytes: a single event cannot be larger than its frame may be. */
export function bodyLimit(kind: BodyKind, maxEventBytes: number): number {
  return kind === 'batch' ? BODY_BYTES_MAX : Math.min(BODY_BYTES_MAX, maxEventBytes);
}

/**
 * Reads a body as events: a single event and a small batch at once, a large batch in slices of
 * time. Throws or rejects with HOLDLINE_NOT_UTF8, HOLDLINE_BAD_QUERY, HOLDLINE_BAD_JSON,
 * HOLDLINE_BAD_BATCH, HOLDLINE_BAD_EVENT_TYPE or HOLDLINE_TOO_LARGE; then nothing is published. The
 * events' data may be views of `body`.
 */
export function readEvents(
  { channel, kind, type }: BodyFormat,
  body: Buffer,
  maxEventBytes: number,
): readonly NewEvent[] | Promise<readonly NewEvent[]> {
  checkUtf8(body, 'body');
  // Text goes out as it came.
  const json = kind === 'text' ? body : withoutMark(body);
  if (kind === 'batch') {
    checkBatchType(type);
    return readBatch(channel, json, maxEventBytes);
  }
  if (kind === 'json') checkJson(json);
  const event: NewEvent = { channel, type, data: json, json: kind === 'json' };
  checkSize(event, maxEventBytes);
  return [event];
}

/** Throws HOLDLINE_BAD_QUERY for a batch that has a type for all of its events. */
export function checkBatchType(type: string | undefined): void {
  if (type === undefined) return;
  throw new HoldlineError(
    'HOLDLINE_BAD_QUERY',
    'the query parameter event cannot be used with a batch; give each line its own "event"',
  );
}

/** A body without the byte order mark of UTF-8, which may stand before JSON (RFC 8259, 8.1). */
export function withoutMark(body: Buffer): Buffer {
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  return hasMark ? body.subarray(3) : body;
}

/**
 * Throws HOLDLINE_NOT_UTF8, naming the bytes as `what`: one event that is not UTF-8 would make
 * every WebSocket reader close (RFC 6455, 8.1; native-notes/text-not-utf8.md).
 */
export function checkUtf8(bytes: Uint8Array, what: 'body' | 'data'): void {
  if (!isUtf8(bytes)) {
    const isUtf16 = /^(?:fffe|feff)/.test(Buffer.from(bytes.subarray(0, 2)).toString('hex'));
    const problem = isUtf16
      ? 'is not UTF-8, but begins as UTF-16 does; save it as UTF-8'
      : 'is not UTF-8; encode binary data, for example as base64';
    throw new HoldlineError('HOLDLINE_NOT_UTF8', `the ${what} ${problem}`);
  }
}

const PROBLEMS = {
  syntax: 'is not JSON',
  depth: 'is nested too deeply',
  surrogate: 'has text that is not Unicode',
} as const;

function checkJson(body: Buffer): void {
  const fault = scanJson(body, 0, body.length);
  if (fault === undefined) return;
  throw new HoldlineError(
    'HOLDLINE_BAD_JSON',
    `the body ${PROBLEMS[fault.kind]}: ${fault.message}`,
  );
}

/** What the log keeps of a publish, and what it is answered. */
export function receiptOf({ ids, subscribers }: Published): Receipt {
  return {
    firstId: ids[0] as number,
    lastId: ids.at(-1) as number,
    count: ids.length,
    subscribers,
  };
}

/** The answer to an accepted publish. */
export function receiptJson(
  { firstId, lastId, count, subscribers }: Receipt,
  kind: BodyKind,
): string {
  if (kind !== 'batch') return `{"id":${firstId},"subscribers":${subscribers}}`;
  return `{"first":${firstId},"last":${lastId},"count":${count},"subscribers":${subscribers}}`;
}
