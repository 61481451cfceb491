/** Subscriptions: a GET of channels opens a stream or a WebSocket, or is answered as a poll. */
import type { Hub } from '../core/hub.js';
import { NOBODY, type Owner } from '../core/owners.js';
import type { Position } from '../core/position.js';
import { HoldlineError } from '../errors.js';
import { clientKindOf } from '../http/client-kind.js';
import { checkServing, type Exchange, type Exchanges } from '../http/exchange.js';
import type { FailedKeys } from '../http/failed-keys.js';
import type { Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import type { HeldRefusals } from '../http/held-refusals.js';
import type { Places } from '../http/places.js';
import type { PublishRates } from '../http/publish-rates.js';
import { wantsPage } from '../http/refusal-page.js';
import { Query } from '../http/query.js';
import { limitOf, positionOf, transportOf, waitMsOf } from '../http/request.js';
import { ACCEPTS_PER_SECOND } from '../limits.js';
import type { MessageSocket, UpgradeContext } from '../native/messages.js';
import type { HttpResponse } from '../native/uws.js';
import { answerOrWait, type PollRequest } from './poll.js';
import { answerStreamHead, deliveryModeOf, openStream, type StreamRequest } from './stream.js';
import type { Messages } from './websocket.js';

/** Whatever is held open. */
export type HeldSocket = HttpResponse | MessageSocket | Exchange;

/** What a subscription needs of the server. */
export interface SubscribingParts {
  readonly hub: Hub<HeldSocket>;
  readonly messages: Pick<Messages, 'open'>;
  readonly guard: Guard;
  readonly failedKeys: FailedKeys;
  readonly exchanges: Exchanges;
  readonly places: Places;
  readonly heldRefusals: HeldRefusals;
  readonly rates: Pick<PublishRates, 'isOn'>;
}

export interface SubscribingOptions {
  readonly subprotocols: readonly string[];
  readonly retryMs: number;
}

/** Where a line starts, on what, and whose it is. */
interface Start {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly owner: Owner;
}

export class Subscribing {
  readonly #parts: SubscribingParts;
  readonly #options: SubscribingOptions;

  constructor(parts: SubscribingParts, options: SubscribingOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * Reads all that is needed of the request, in its turn. Returns the function that opens the line
   * or answers the poll, to be called in a cork once the client is allowed to. Both throw what the
   * client is to be answered. `context` comes with a request that may become a WebSocket.
   */
  opener(
    exchange: Exchange,
    head: Head,
    channels: readonly string[],
    context: UpgradeContext | undefined,
  ): () => void {
    const { hub, exchanges, places } = this.#parts;
    const query = new Query(head.query);
    query.checkNames('GET');
    const transport = transportOf(head, query);
    const position = positionOf(head.find('last-event-id'), query);
    const { group, shown } = exchange.address;
    const owner: Owner = { ...NOBODY, address: group, shownAddress: shown };
    const start: Start = { channels, position, owner };
    if (transport === 'websocket') return this.#upgrader(exchange, head, start, context);
    if (transport === 'poll') {
      const poll: PollRequest = { ...start, waitMs: waitMsOf(query), limit: limitOf(query) };
      return () => {
        checkServing(exchanges);
        answerOrWait(hub, exchange, poll, () => places.checkPoll(owner));
      };
    }
    const client = clientKindOf(head, query);
    const mode = deliveryModeOf(transport, channels, query.isSet('envelope'), client);
    const stream: StreamRequest = { ...start, mode, client };
    if (exchange.isHead) return () => answerStreamHead(hub, exchange, stream);
    const asPage = wantsPage(head);
    return () => this.#openStream(exchange, stream, asPage);
  }

  /** `asPage`: a person opens the channel in a tab, and is shown at once why it does not open. */
  #openStream(exchange: Exchange, stream: StreamRequest, asPage: boolean): void {
    try {
      this.#checkPlace(stream.owner);
      openStream(this.#parts.hub, exchange, stream, this.#retryMs());
    } catch (error) {
      if (!(error instanceof HoldlineError) || stream.mode.transport !== 'sse' || asPage)
        throw error;
      if (stream.client === 'eventsource') exchange.refuseStreamForNow(error, this.#retryMs());
      else this.#parts.heldRefusals.hold(exchange, error, this.#retryMs());
    }
  }

  /** Checks a handshake (RFC 6455, 4.2.1); the function that it returns completes it. */
  #upgrader(
    exchange: Exchange,
    head: Head,
    start: Start,
    context: UpgradeContext | undefined,
  ): () => void {
    const { guard, messages, failedKeys } = this.#parts;
    guard.origins.checkSite(head);
    const key = head.get('sec-websocket-key');
    if (context === undefined || head.get('sec-websocket-version') !== '13') {
      throw new HoldlineError(
        'HOLDLINE_BAD_HANDSHAKE',
        'a WebSocket handshake must be a GET with Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 24 characters',
      );
    }
    const mayPublish = guard.rightToPublish(head, () => failedKeys.failed(exchange.address));
    const source =
      guard.publisher ?? (this.#parts.rates.isOn ? exchange.address.network : undefined);
    const { response, headers } = exchange;
    const subprotocol = this.#agreeOn(head.get('sec-websocket-protocol'));
    return () => {
      this.#checkPlace(start.owner);
      const handshake = { key, subprotocol, headers, context };
      messages.open(response, { ...start, ...handshake, mayPublish, source });
    };
  }

  /**
   * The first offered subprotocol that is allowed; empty if there is none. The handshake goes on
   * without one (RFC 6455, 4.2.2), and a client that insists on it closes: browsers do.
   */
  #agreeOn(offered: string): string {
    if (offered === '') return '';
    const { subprotocols } = this.#options;
    const names = offered.split(',').map((name) => name.trim());
    return names.find((name) => subprotocols.includes(name)) ?? '';
  }

  /** Throws the refusal if no more lines can be opened now. */
  #checkPlace(owner: Owner): void {
    const { exchanges, places } = this.#parts;
    checkServing(exchanges);
    places.checkLine(owner);
  }

  /**
   * Reconnect delay. It is uniform over twice the time that it would take to accept all lines
   * again, so that a crash does not bring them all back at once.
   */
  #retryMs(): number {
    const spreadMs = (2 * 1000 * this.#parts.hub.lines.open) / ACCEPTS_PER_SECOND;
    return Math.round(this.#options.retryMs + Math.random() * spreadMs);
  }
}
