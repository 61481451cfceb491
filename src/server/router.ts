/** The router: decides what a request is, checks who may do it, and hands it on. */
import { checkEventType } from '../core/event.js';
import type { Hub } from '../core/hub.js';
import type { Idempotency } from '../core/idempotency.js';
import type { Published } from '../core/intake.js';
import type { Position } from '../core/position.js';
import { HoldlineError } from '../errors.js';
import { ACCEPTS_PER_SECOND, HELD_GUESS_MS, HELD_GUESSES_MAX } from '../limits.js';
import type { Receipt } from '../core/event-log.js';
import type { MessageSocket, UpgradeContext } from '../native/messages.js';
import type { HttpRequest, HttpResponse } from '../native/uws.js';
import { landingPage } from '../ops/landing.js';
import type { Memory } from '../ops/memory/memory.js';
import { pagesInWords, type OpsAnswer, type OpsPages } from '../ops/pages.js';
import type { Headers } from '../http/answer.js';
import { IncomingBody } from '../http/body.js';
import { Exchange, type Exchanges } from '../http/exchange.js';
import type { FailedKeys } from '../http/failed-keys.js';
import { checkFraming, contentLengthOf } from '../http/framing.js';
import type { Guard } from '../http/guard.js';
import { Head } from '../http/head.js';
import { checkIdempotencyKey, requestKeyOf } from '../http/idempotency-key.js';
import { Query } from '../http/query.js';
import { answerOrWait, type PollRequest } from '../transports/poll.js';
import {
  bodyKindOf,
  bodyLimit,
  checkContentEncoding,
  readEvents,
  receiptJson,
} from '../transports/publish.js';
import {
  channelOf,
  channelsOf,
  limitOf,
  positionOf,
  transportOf,
  waitMsOf,
} from '../http/request.js';
import {
  answerStreamHead,
  openStream,
  deliveryModeOf,
  type StreamRequest,
} from '../transports/stream.js';
import type { Messages, Session } from '../transports/websocket.js';

/** Whatever is held open. */
export type HeldSocket = HttpResponse | MessageSocket | Exchange;

export interface RouterOptions {
  readonly maxConnections: number;
  readonly maxEventBytes: number;
  readonly retryMs: number;
}

/** What the router hands requests to. */
export interface RouterParts {
  readonly hub: Hub<HeldSocket>;
  readonly messages: Messages;
  readonly idempotency: Idempotency;
  readonly guard: Guard;
  readonly pages: OpsPages;
  readonly memory: Pick<Memory, 'checkRoom'>;
  readonly exchanges: Exchanges;
  readonly failedKeys: FailedKeys;
}

/** A request that is not yet answered. */
interface Asked {
  readonly exchange: Exchange;
  readonly head: Head;
  /** Comes with what may become a WebSocket. */
  readonly context: UpgradeContext | undefined;
}

const ALLOWED_METHODS = 'GET, HEAD, POST, DELETE, OPTIONS';
const ALLOWED_OPS_METHODS = 'GET, HEAD';

/** What a page may send with a request to a channel of another origin. */
const PREFLIGHT: Headers = [
  ['Access-Control-Allow-Methods', ALLOWED_METHODS],
  ['Access-Control-Allow-Headers', 'Authorization, Content-Type, Idempotency-Key, Last-Event-ID'],
  ['Access-Control-Max-Age', '600'],
];

export class Router {
  readonly #parts: RouterParts;
  readonly #options: RouterOptions;
  /** Wrong keys whose answer is kept back. */
  #heldGuesses = 0;

  constructor(parts: RouterParts, options: RouterOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** True while the server drains: no line is opened and nothing is published any more. */
  get draining(): boolean {
    return this.#parts.exchanges.draining;
  }

  drain(): void {
    this.#parts.exchanges.draining = true;
    this.#parts.messages.draining = true;
  }

  /** Answers a request, in its turn of the loop or later. */
  readonly handle = (
    response: HttpResponse,
    request: HttpRequest,
    context?: UpgradeContext,
  ): void => {
    const { exchanges, guard } = this.#parts;
    exchanges.counters.requests_total++;
    const head = new Head(request);
    const exchange = new Exchange(exchanges, response, head, guard.corsHeaders(head));
    try {
      checkFraming(head);
      const answered = this.#route({ exchange, head, context });
      if (answered !== undefined)
        answered.catch((error: unknown) => this.#refuse(exchange, head, error));
    } catch (error) {
      this.#refuse(exchange, head, error);
    }
  };

  /**
   * A key that was given and is not the right one is counted, and slows further ones from its
   * address.
   */
  #refuse(exchange: Exchange, head: Head, error: unknown): void {
    const isWrongKey =
      error instanceof HoldlineError &&
      error.code === 'HOLDLINE_UNAUTHORIZED' &&
      head.get('authorization') !== '';
    const refusal =
      isWrongKey && exchange.isOpen ? this.#parts.failedKeys.failed(exchange.address) : undefined;
    if (refusal === undefined) {
      exchange.refuse(error);
      return;
    }
    exchange.closeAfter();
    if (this.#heldGuesses >= HELD_GUESSES_MAX) {
      exchange.refuse(refusal);
      return;
    }
    this.#heldGuesses++;
    exchange.watch();
    setTimeout(() => {
      this.#heldGuesses--;
      exchange.refuse(refusal);
    }, HELD_GUESS_MS).unref();
  }

  /** A promise where the answer comes later; the exchange is watched then. */
  #route(asked: Asked): Promise<void> | undefined {
    const { head } = asked;
    if (head.path.startsWith('/-/')) return this.#answerOps(asked);
    switch (head.method) {
      case 'POST':
        return this.#publish(asked);
      case 'DELETE':
        return this.#delete(asked);
      case 'GET':
      case 'HEAD':
        return this.#subscribe(asked);
      default:
        this.#answerOther(asked);
        return undefined;
    }
  }

  // ── subscribing ────────────────────────────────────────────────────────────────────────────────

  #subscribe(asked: Asked): Promise<void> | undefined {
    const { exchange, head } = asked;
    const { guard, pages } = this.#parts;
    guard.checkHost(head);
    if (head.path === '/') {
      exchange.answer(200, 'text/html; charset=utf-8', landingPage(pages));
      return undefined;
    }
    const channels = channelsOf(head.path);
    const open = this.#opener(asked, channels);
    const allowed = guard.authorize(head, 'subscribe', channels);
    if (allowed === undefined) {
      open();
      return undefined;
    }
    exchange.watch();
    return allowed.then(() => exchange.inCork(open));
  }

  /**
   * What opens the line or answers the poll, once the client may have it: all that it needs of the
   * request is read here.
   */
  #opener(asked: Asked, channels: readonly string[]): () => void {
    const { exchange, head } = asked;
    const { hub } = this.#parts;
    const query = new Query(head.query);
    const transport = transportOf(head, query);
    const position = positionOf(head.find('last-event-id'), query);
    if (transport === 'websocket') return this.#upgrader(asked, channels, position);
    if (transport === 'poll') {
      const poll: PollRequest = {
        channels,
        position,
        waitMs: waitMsOf(query),
        limit: limitOf(query),
      };
      return () => {
        this.#checkServing();
        answerOrWait(hub, hub, exchange, poll, () => this.#checkPlace());
      };
    }
    const stream: StreamRequest = {
      channels,
      position,
      mode: deliveryModeOf(transport, channels, query.isSet('envelope')),
    };
    if (exchange.isHead) return () => answerStreamHead(hub, exchange, stream);
    return () => this.#openStream(exchange, stream);
  }

  #openStream(exchange: Exchange, stream: StreamRequest): void {
    const { hub } = this.#parts;
    try {
      this.#checkPlace();
      openStream(hub, hub, exchange, stream, this.#retryMs());
    } catch (error) {
      if (!(error instanceof HoldlineError) || stream.mode.transport !== 'sse') throw error;
      exchange.refuseStreamForNow(error, this.#retryMs());
    }
  }

  /** Throws while the server drains. */
  #checkServing(): void {
    if (this.draining) throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down');
  }

  /** Throws when nobody new can be held now. */
  #checkPlace(): void {
    this.#checkServing();
    if (this.#parts.hub.lines.open >= this.#options.maxConnections) {
      throw new HoldlineError(
        'HOLDLINE_LINES_FULL',
        `${this.#options.maxConnections} lines are open already (--max-connections)`,
      );
    }
    this.#parts.memory.checkRoom();
  }

  /**
   * Checks a handshake (RFC 6455, 4.2.1) while the request is valid; what is returned completes it.
   */
  #upgrader(
    { exchange, head, context }: Asked,
    channels: readonly string[],
    position: Position,
  ): () => void {
    const { guard, messages, failedKeys } = this.#parts;
    guard.checkSite(head);
    const key = head.get('sec-websocket-key');
    if (context === undefined || head.get('sec-websocket-version') !== '13') {
      throw new HoldlineError(
        'HOLDLINE_BAD_HANDSHAKE',
        'a WebSocket begins with a GET that has Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 24 characters',
      );
    }
    const mayPublish = guard.rightToPublish(head, () => failedKeys.failed(exchange.address));
    const session: Session = { mayPublish };
    const { response, headers } = exchange;
    return () => {
      this.#checkPlace();
      messages.open(response, { channels, position, key, headers, context, session });
    };
  }

  /**
   * Reconnect delay, uniform over the time that taking all lines back would need twice, so that a
   * crash is no stampede.
   */
  #retryMs(): number {
    const spreadMs = (2 * 1000 * this.#parts.hub.lines.open) / ACCEPTS_PER_SECOND;
    return Math.round(this.#options.retryMs + Math.random() * spreadMs);
  }

  // ── publishing ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Whoever has no right, or no room, is refused before the body is received; and the place of
   * whoever leaves is free.
   */
  async #publish({ exchange, head }: Asked): Promise<void> {
    const { hub, guard, idempotency, exchanges } = this.#parts;
    const { maxEventBytes } = this.#options;
    guard.checkHost(head);
    guard.checkSite(head);
    const channel = channelOf(head.path);
    guard.checkPublish(head);
    const queryType = head.query === undefined ? undefined : new Query(head.query).get('event');
    const type = queryType === undefined ? undefined : checkEventType(queryType);
    const kind = bodyKindOf(head.get('content-type'));
    checkContentEncoding(head.get('content-encoding'));
    const idempotencyKey = head.get('idempotency-key');
    const scope = { channel, credential: idempotencyKey === '' ? '' : head.get('authorization') };
    if (idempotencyKey !== '') checkIdempotencyKey(idempotencyKey);
    if (this.draining) {
      throw new HoldlineError(
        'HOLDLINE_DRAINING',
        'the server is shutting down; publish to another, or after its restart',
      );
    }
    const allowed = guard.authorize(head, 'publish', [channel]);
    // Heard below, unless there is no room to receive anything.
    allowed?.catch(() => {});
    const reservation = hub.reserve(channel);
    const incoming = new IncomingBody(
      exchange,
      contentLengthOf(head),
      bodyLimit(kind, maxEventBytes),
      reservation,
    );
    exchange.incoming = incoming;
    try {
      // In this turn, since uWebSockets hands a body over only to who listens by now.
      // native-notes/request-in-its-turn.md
      const received = incoming.receive();
      await (allowed === undefined ? received : Promise.all([received, allowed]));
      const { body } = incoming;
      // Who left while the program was asked is not published for.
      if (exchange.gone) return;
      const submission = {
        reservation,
        read: () => readEvents(channel, kind, type, body, maxEventBytes),
      };
      let receipt: Receipt;
      if (idempotencyKey === '') {
        receipt = receiptOf(await hub.submit(channel, submission));
      } else {
        const requestKey = requestKeyOf(idempotencyKey, scope, [kind, type ?? '', body]);
        receipt = await idempotency.once(requestKey, reservation, async () =>
          receiptOf(await hub.submit(channel, submission, requestKey)),
        );
      }
      exchanges.counters.publish_requests_total++;
      exchange.answerJson(receiptJson(receipt, kind));
    } finally {
      incoming.stop();
      reservation.release();
    }
  }

  /** Deletes a channel's history. */
  #delete({ exchange, head }: Asked): Promise<void> {
    const { hub, guard } = this.#parts;
    guard.checkHost(head);
    guard.checkSite(head);
    const channel = channelOf(head.path);
    guard.checkOps(head);
    this.#checkServing();
    const allowed = guard.authorize(head, 'delete', [channel]);
    exchange.watch();
    const remove = async (): Promise<void> => {
      await allowed;
      if (exchange.gone) return;
      exchange.answerJson(receiptJson(receiptOf(await hub.deleteChannel(channel)), 'text'));
    };
    return remove();
  }

  // ── the rest ───────────────────────────────────────────────────────────────────────────────────

  #answerOther({ exchange, head }: Asked): void {
    this.#parts.guard.checkHost(head);
    if (head.path !== '/') channelsOf(head.path);
    if (head.method === 'OPTIONS') {
      const isPreflight = exchange.headers.some(([name]) => name === 'Access-Control-Allow-Origin');
      exchange.answerNothing([['Allow', ALLOWED_METHODS], ...(isPreflight ? PREFLIGHT : [])]);
      return;
    }
    refuseMethod(exchange, ALLOWED_METHODS);
  }

  #answerOps({ exchange, head }: Asked): Promise<void> | undefined {
    const { guard, pages } = this.#parts;
    guard.checkSite(head);
    const page = pages.get(head.path.slice('/-/'.length));
    if (page === undefined) {
      throw new HoldlineError(
        'HOLDLINE_NOT_FOUND',
        `nothing is at ${head.path.slice(0, 200)}; there are ${pagesInWords(pages)}`,
      );
    }
    if (head.method !== 'GET' && !exchange.isHead) {
      refuseMethod(exchange, ALLOWED_OPS_METHODS);
      return undefined;
    }
    if (page.access !== 'open') guard.checkHost(head);
    if (page.access === 'key') guard.checkOps(head);
    const answer = ({ status = 200, contentType, body, headers }: OpsAnswer): void =>
      exchange.answer(status, contentType, body, headers);
    const answered = page.answer({ query: new Query(head.query), draining: this.draining });
    if (!(answered instanceof Promise)) {
      answer(answered);
      return undefined;
    }
    exchange.watch();
    return answered.then(answer);
  }
}

function refuseMethod(exchange: Exchange, allowed: string): void {
  const error = new HoldlineError(
    'HOLDLINE_METHOD_NOT_ALLOWED',
    `${exchange.method.slice(0, 32)} is not supported here; allowed: ${allowed}`,
  );
  exchange.refuse(error, [['Allow', allowed]]);
}

function receiptOf({ ids, subscribers }: Published): Receipt {
  return {
    firstId: ids[0] as number,
    lastId: ids.at(-1) as number,
    count: ids.length,
    subscribers,
  };
}
