/**
 * `POST /-/publish`: a batch whose lines name their channels, from its head to its receipt. All of
 * it is published or nothing, and it never waits for room.
 */
import type { Rights } from '../auth/rights.js';
import type { NewEvent } from '../core/event.js';
import type { Hub } from '../core/hub.js';
import type { Idempotency } from '../core/idempotency.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { IncomingBody } from '../http/body.js';
import { andThen, scopeOf, type Soon } from '../http/credentials.js';
import { checkPublishing, type Exchange, type Exchanges } from '../http/exchange.js';
import type { Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import { requestKeyOf } from '../http/idempotency-key.js';
import type { PublishRates } from '../http/publish-rates.js';
import { BATCH_EVENTS_MAX, BODY_BYTES_MAX, QUEUED_EVENT_BYTES } from '../limits.js';
import { readBatch } from './batch.js';
import {
  checkBatchType,
  checkUtf8,
  publishOnce,
  publishRequestOf,
  receiptJson,
  takeRate,
  withoutMark,
  type PublishRequest,
} from './publish.js';
import { whileReserved } from './while-reserved.js';

/** Stands for the channel in the scope of an idempotency key; no channel has a name like it. */
const SCOPE = '/-/publish';

/** What batches need of the server. */
export interface NamedBatchParts {
  readonly hub: Pick<Hub<never>, 'batches'>;
  readonly guard: Pick<
    Guard,
    'checkGrant' | 'checkHost' | 'mayPublishAll' | 'mayPublishSome' | 'origins'
  >;
  readonly idempotency: Pick<Idempotency, 'once'>;
  readonly exchanges: Pick<Exchanges, 'ended' | 'report'>;
  readonly counters: Counters;
  readonly rates: Pick<PublishRates, 'isOn' | 'published' | 'take'>;
}

export class NamedBatchPublishing {
  readonly #parts: NamedBatchParts;
  readonly #maxEventBytes: number;

  constructor(parts: NamedBatchParts, maxEventBytes: number) {
    this.#parts = parts;
    this.#maxEventBytes = maxEventBytes;
  }

  /**
   * Checks that the client may publish at all, before its body is received. Throws what a publish
   * to one channel throws, and HOLDLINE_UNSUPPORTED_MEDIA_TYPE for a body that is no batch.
   */
  readonly publish = (exchange: Exchange, head: Head): Promise<void> => {
    const { guard, exchanges } = this.#parts;
    guard.checkHost(head);
    guard.origins.checkSite(head);
    const asking = guard.mayPublishSome(head);
    // It may reject while the request is refused for something else.
    if (asking instanceof Promise) asking.catch(ignore);
    const request = publishRequestOf(head, SCOPE);
    checkBatchType(request.type);
    if (request.kind !== 'batch') {
      throw new HoldlineError(
        'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
        'this takes Content-Type: application/x-ndjson, a line {"channel","event"?,"data"} for each event',
      );
    }
    checkPublishing(exchanges);
    return this.#publish(exchange, head, request, asking);
  };

  /** Receives, reads, asks for each channel, publishes, answers. Rejects with the error to send. */
  async #publish(
    exchange: Exchange,
    head: Head,
    request: PublishRequest,
    asking: Soon<Rights>,
  ): Promise<void> {
    const { hub, guard, counters, rates, exchanges } = this.#parts;
    const { contentLength, key } = request;
    const network = rates.isOn ? exchange.client.network : '';
    // Whose a token is may not be known yet.
    const reservation = hub.batches.reserve(head.get('authorization'));
    const incoming = new IncomingBody(exchange, contentLength, BODY_BYTES_MAX, reservation);
    try {
      const taking = andThen(asking, (rights) => {
        takeRate(rates, request, rights, network);
        return rights;
      });
      const [rights] = await Promise.all([taking, incoming.receive()]);
      if (exchange.gone) return;
      const { body } = incoming;
      reservation.grow(QUEUED_EVENT_BYTES * lineCountOf(body));
      const events = await hub.batches.read(() => this.#read(body));
      if (exchange.gone) return;
      const asked = guard.mayPublishAll(head, rights, channelsOf(events));
      const isAsked = asked instanceof Promise;
      // Rejects when the client leaves: nothing is published for it, and its batch is not kept.
      const grant = isAsked ? await whileReserved(asked, reservation, exchanges.report) : asked;
      const requestKey =
        key === undefined
          ? undefined
          : requestKeyOf(key, scopeOf(grant, head), ['batch', '', body]);
      const receipt = await publishOnce(this.#parts, request, { reservation, requestKey }, () =>
        hub.batches.submit(events, reservation, requestKey, () => guard.checkGrant(grant)),
      );
      counters.publish_requests_total++;
      exchange.answerJson(receiptJson(receipt, 'batch'));
    } finally {
      incoming.stop();
      reservation.release();
    }
  }

  #read(body: Buffer): readonly NewEvent[] | Promise<readonly NewEvent[]> {
    checkUtf8(body, 'body');
    return readBatch(undefined, withoutMark(body), this.#maxEventBytes);
  }
}

function ignore(): void {}

/** The channels of the events, each once. */
function channelsOf(events: readonly NewEvent[]): readonly string[] {
  return [...new Set(events.map(({ channel }) => channel))];
}

/** Lines of a body, blank ones among them, up to the most that a batch may have. */
function lineCountOf(body: Buffer): number {
  let count = 0;
  for (let at = 0; at < body.length && count < BATCH_EVENTS_MAX; count++) {
    const lineFeed = body.indexOf(0x0a, at);
    at = lineFeed < 0 ? body.length : lineFeed + 1;
  }
  return count;
}
