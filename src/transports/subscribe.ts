/** Subscriptions: a GET of channels opens a stream or a WebSocket, or is answered as a poll. */
import { SSE } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import { NOBODY, type Owner } from '../core/owners.js';
import type { Position } from '../core/position.js';
import { ENDS, HoldlineError, isTemporary } from '../errors.js';
import type { ClientAddress } from '../http/address.js';
import { clientKindOf, type ClientKind } from '../http/client-kind.js';
import { checkHolding, type Exchange, type Exchanges } from '../http/exchange.js';
import { acceptsGzip } from '../http/content-coding.js';
import type { FailedKeys } from '../http/failed-keys.js';
import { endsWithTicket, type Grant, type Guard } from '../http/guard.js';
import { isListed, type Head } from '../http/head.js';
import type { HeldRefusals } from '../http/held-refusals.js';
import type { Places } from '../http/places.js';
import { rateSourceOf, type PublishRates } from '../http/publish-rates.js';
import { wantsPage } from '../http/refusal-page.js';
import { Query } from '../http/query.js';
import { limitOf, positionOf, transportOf, waitMsOf } from '../http/request.js';
import { ACCEPTS_PER_SECOND, ENDED_RETRY_MS } from '../limits.js';
import type { MessageSocket, UpgradeContext } from '../native/messages.js';
import type { HttpResponse } from '../native/uws.js';
import { Polling, type PollRequest } from './poll.js';
import { answerStreamHead, deliveryModeOf, openStream, type StreamRequest } from './stream.js';
import { hasTurnTime, inSlices } from './slices.js';
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
  readonly compress: 'off' | 'shared';
  readonly allowTransform: boolean;
}

/**
 * Opens the line, or answers the poll, of a client that may. A promise when that takes a look at
 * what the log keeps: it rejects with the error to send.
 */
export type Open = (grant: Grant) => Promise<void> | undefined;

interface WhenReady {
  readonly isEventStream?: boolean;
  /** A herd that comes back opens in slices of time, so that it does not hold up the loop. */
  readonly inTurns?: boolean;
  readonly refuse?: (error: unknown) => void;
}

export class Subscribing {
  readonly #parts: SubscribingParts;
  readonly #options: SubscribingOptions;
  readonly #polling: Polling;

  constructor(parts: SubscribingParts, options: SubscribingOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#polling = new Polling(parts.hub);
  }

  /**
   * Reads all that is needed of the request, in its turn. Returns the function that opens the line
   * or answers the poll, to be called in a cork with what the client was granted. Both throw what
   * the client is to be answered. `context` comes with a request that may become a WebSocket.
   */
  opener(
    exchange: Exchange,
    head: Head,
    channels: readonly string[],
    context: UpgradeContext | undefined,
  ): Open {
    const { exchanges, guard, places } = this.#parts;
    const query = new Query(head.query);
    query.checkNames('GET');
    const transport = transportOf(head, query);
    exchange.transport = transport;
    const position = positionOf(head.find('last-event-id'), query);
    const { client: address } = exchange;
    const { compress, allowTransform: mayTransform } = this.#options;
    const mayGzip = compress === 'shared' && acceptsGzip(head.get('accept-encoding'));
    if (transport === 'websocket')
      return this.#upgrader(exchange, head, position, address, context);
    if (transport === 'poll') {
      const poll: Pick<PollRequest, 'limit' | 'waitMs'> = {
        waitMs: waitMsOf(query),
        limit: limitOf(query),
      };
      return (grant) => {
        const owner = ownerOf(grant, address);
        return this.#whenReady(exchange, grant, position, (ready) => {
          checkHolding(exchanges);
          const request = { ...poll, position: ready, channels: grant.channels, owner, mayGzip };
          return this.#polling.answerOrWait(
            exchange,
            request,
            () => places.checkPoll(owner),
            () => guard.checkGrant(grant),
          );
        });
      };
    }
    const client = clientKindOf(head, query);
    // By the channels that were asked for: those that are granted for them have other names.
    const envelope = query.isSet('envelope');
    const asPage = wantsPage(head);
    const isEventStream = transport === 'sse';
    return (grant) => {
      const owner = ownerOf(grant, address);
      const coding = mayGzip && grant.channels.length === 1 ? 'gzip' : 'plain';
      const mode = deliveryModeOf(transport, channels, envelope, client, coding);
      const { channels: granted } = grant;
      const stream = { position, mode, client, channels: granted, owner, mayTransform };
      if (exchange.isHead) {
        return this.#whenReady(
          exchange,
          grant,
          position,
          (ready) => {
            checkHolding(exchanges);
            places.askLine(owner);
            answerStreamHead(this.#parts.hub, exchange, { ...stream, position: ready });
          },
          { isEventStream },
        );
      }
      return this.#whenReady(
        exchange,
        grant,
        position,
        (ready) => this.#openStream(exchange, { ...stream, position: ready }, asPage),
        {
          isEventStream,
          inTurns: true,
          refuse: (error) => this.#refuseStream(exchange, stream, asPage, error),
        },
      );
    };
  }

  /**
   * Opens with the position that the client starts at: at once, or in a cork of a later turn when
   * the log had to be read for it. A client that left meanwhile is not opened. What goes wrong with
   * the read is handed to `refuse`. An event stream asks whether its channel was deleted.
   */
  #whenReady(
    exchange: Exchange,
    grant: Grant,
    position: Position,
    open: (position: Position) => void | Promise<void> | undefined,
    { isEventStream = false, inTurns = false, refuse = rethrow }: WhenReady = {},
  ): Promise<void> | undefined {
    const { hub, guard } = this.#parts;
    const openLater = (found: Position): void | Promise<void> | undefined => {
      let opened: void | Promise<void> | undefined;
      exchange.inCork(() => {
        guard.checkGrant(grant);
        opened = open(found);
      });
      return opened;
    };
    const ready = hub.ready(grant.channels, position, isEventStream);
    if (ready === undefined) {
      if (!inTurns || hasTurnTime()) return open(position) ?? undefined;
      exchange.watch();
      return inSlices(() => {
        void openLater(position);
        return true;
      });
    }
    exchange.watch();
    return ready.then(openLater, (error: unknown) => {
      if (exchange.isOpen) refuse(error);
    });
  }

  /**
   * Answers an EventSource whose ticket has expired in its stream, where its program can read why;
   * false for other clients. The request has been read before, so that nothing throws.
   */
  endExpired(exchange: Exchange, head: Head, error: HoldlineError): boolean {
    const query = new Query(head.query);
    if (head.method !== 'GET' || wantsPage(head)) return false;
    if (transportOf(head, query) !== 'sse') return false;
    if (clientKindOf(head, query) !== 'eventsource') return false;
    const { reconnect } = ENDS['ticket-expired'];
    exchange.refuseStreamForGood(error, SSE.end('ticket-expired', reconnect, ENDED_RETRY_MS));
    return true;
  }

  /**
   * Refuses an event stream for a temporary reason that was found before it was to be opened, such
   * as keys of tokens that cannot be fetched now; false where a status is to be answered. The
   * request has been read before, so that nothing throws.
   */
  refuseForNow(exchange: Exchange, head: Head, error: HoldlineError): boolean {
    if (exchange.isHead || wantsPage(head)) return false;
    this.#refuseStreamForNow(exchange, clientKindOf(head, new Query(head.query)), error);
    return true;
  }

  /** `asPage`: a person opens the channel in a tab, and is shown at once why it does not open. */
  #openStream(exchange: Exchange, stream: StreamRequest, asPage: boolean): void {
    try {
      this.#checkPlace(stream.owner);
      openStream(this.#parts.hub, exchange, stream, this.#retryMs());
    } catch (error) {
      this.#refuseStream(exchange, stream, asPage, error);
    }
  }

  /** Throws what is to be answered in the way of all requests. */
  #refuseStream(exchange: Exchange, stream: StreamRequest, asPage: boolean, error: unknown): void {
    const isSse = stream.mode.transport === 'sse';
    // What can never succeed is told once.
    if (!(error instanceof HoldlineError) || !isSse || asPage || !isTemporary(error)) throw error;
    this.#refuseStreamForNow(exchange, stream.client, error);
  }

  #refuseStreamForNow(exchange: Exchange, client: ClientKind, error: HoldlineError): void {
    if (client === 'eventsource') exchange.refuseStreamForNow(error, this.#retryMs());
    else this.#parts.heldRefusals.hold(exchange, error, this.#retryMs());
  }

  /** Checks a handshake (RFC 6455, 4.2.1); the function that it returns completes it. */
  #upgrader(
    exchange: Exchange,
    head: Head,
    position: Position,
    address: ClientAddress,
    context: UpgradeContext | undefined,
  ): Open {
    const { guard, messages, failedKeys, rates } = this.#parts;
    guard.origins.checkSite(head);
    const key = head.get('sec-websocket-key');
    // Without the option somebody on the way has passed on what was for himself (RFC 9110, 7.6.1).
    const isUpgrade = isListed('upgrade', head.get('connection'));
    if (context === undefined || !isUpgrade || head.get('sec-websocket-version') !== '13') {
      throw new HoldlineError(
        'HOLDLINE_BAD_HANDSHAKE',
        'a WebSocket handshake must be a GET with Connection: Upgrade, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 24 characters',
      );
    }
    const { headers } = exchange;
    const subprotocol = this.#agreeOn(head.get('sec-websocket-protocol'));
    return (grant) => {
      const { channels, rights } = grant;
      const mayPublish = guard.rightToPublish(head, rights, () => failedKeys.tolerates(address));
      const owner = ownerOf(grant, address);
      const source =
        rates.isOn && !(mayPublish instanceof HoldlineError)
          ? rateSourceOf(guard.publisherOn(head, rights), address.network)
          : undefined;
      const handshake = { key, subprotocol, headers, context, mayPublish, source };
      return this.#whenReady(exchange, grant, position, (ready) => {
        this.#checkPlace(owner);
        messages.open(exchange, { channels, position: ready, owner, ...handshake });
      });
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
    checkHolding(exchanges);
    places.checkLine(owner);
  }

  /** Throws where a line would be refused now; for the lines of the program itself. */
  checkPlace(): void {
    this.#checkPlace(NOBODY);
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

function rethrow(error: unknown): never {
  throw error;
}

/** Whose a line is, by what it was granted, and where it comes from. */
function ownerOf(grant: Grant, { group, shown }: ClientAddress): Owner {
  const { rights, user, endsAtMs } = grant;
  const from = { address: group, shownAddress: shown, credentialUser: rights.user };
  if (user === undefined && endsAtMs === Infinity) return { ...NOBODY, ...from };
  const endsWith = endsWithTicket(grant) ? 'ticket-expired' : 'expired';
  return { user, ...from, endsAtMs, endsWith };
}
