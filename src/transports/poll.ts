/** Polls: answered at once if there is something, else when it comes or the wait is over. */
import type { PollPort, DeliveryMode } from '../core/ports.js';
import { NDJSON, type Encoding } from '../core/frame.js';
import type { Hub } from '../core/hub.js';
import type { Polled } from '../core/waiting-polls.js';
import type { Owner } from '../core/owners.js';
import type { Position } from '../core/position.js';
import type { Headers } from '../http/answer.js';
import { VARIES_BY } from '../http/content-coding.js';
import type { Exchange } from '../http/exchange.js';

export interface PollRequest {
  readonly channels: readonly string[];
  readonly position: Position;
  readonly owner: Owner;
  /** 0: do not wait. */
  readonly waitMs: number;
  /** The most events in the answer; 0 answers with one bare object instead of an array. */
  readonly limit: number;
  /** The client takes a compressed body. */
  readonly mayGzip: boolean;
}

const VARY = ['Vary', VARIES_BY] as const;

/** Polls whose clients take compressed bodies are groups of their own. */
const GZIP_ENCODING: Encoding = { ...NDJSON, name: 'ndjson-gzip' };

/**
 * Delivery modes by limit, because polls that wait with the same limit get the same bytes. At most
 * POLL_EVENTS_MAX + 1.
 */
class Modes {
  readonly #encoding: Encoding;
  readonly #port: PollPort<Exchange>;
  readonly #byLimit = new Map<number, DeliveryMode<Exchange>>();

  constructor(encoding: Encoding, port: PollPort<Exchange>) {
    this.#encoding = encoding;
    this.#port = port;
  }

  of(limit: number): DeliveryMode<Exchange> {
    let mode = this.#byLimit.get(limit);
    if (mode === undefined) {
      mode = { transport: 'poll', encoding: this.#encoding, port: this.#port, limit };
      this.#byLimit.set(limit, mode);
    }
    return mode;
  }
}

function answerPoll(
  exchange: Exchange,
  body: Uint8Array | undefined,
  position: number,
  compressed: Uint8Array | undefined,
): void {
  const own: Headers = [['Holdline-Position', String(position)], VARY];
  if (body === undefined) exchange.answerNothing(own);
  else if (compressed === undefined) exchange.answer(200, 'application/json', body, own);
  else exchange.answerGzip('application/json', compressed, own);
}

/** The polls of a hub. */
export class Polling {
  readonly #hub: Pick<Hub<Exchange>, 'left' | 'polls'>;
  readonly #plain: Modes;
  readonly #gzip: Modes;

  constructor(hub: Pick<Hub<Exchange>, 'compressor' | 'left' | 'polls'>) {
    const { compressor } = hub;
    this.#hub = hub;
    this.#plain = new Modes(NDJSON, {
      kind: 'poll',
      answer: (exchange, body, position) => answerPoll(exchange, body, position, undefined),
    });
    this.#gzip = new Modes(GZIP_ENCODING, {
      kind: 'poll',
      answer: (exchange, body, position) =>
        answerPoll(exchange, body, position, body && compressor.gzip(body)),
    });
  }

  /**
   * Answers a poll in the cork that the caller's turn is, or holds it until an event comes or its
   * time is over, however long (native-notes/pending-answer.md). A HEAD never waits and is not
   * counted. Before a poll is held, `checkPlace` may refuse it. Where the log has to be read for it
   * the answer comes later, with a promise, if `checkGrant` does not refuse it then. Throws, or
   * rejects with, what these and `WaitingPolls.wait` throw; then nothing has been written.
   */
  answerOrWait(
    exchange: Exchange,
    { channels, position, owner, limit, waitMs, mayGzip }: PollRequest,
    checkPlace: () => void,
    checkGrant: () => void,
  ): Promise<void> | undefined {
    const hub = this.#hub;
    const mode = (mayGzip ? this.#gzip : this.#plain).of(limit);
    let isLater = false;
    const answer = (polled: Polled): void => {
      if (exchange.gone) return;
      if (isLater) checkGrant();
      const { answer: found, start } = polled;
      if (found !== undefined || waitMs === 0 || exchange.isHead) {
        if (!exchange.isHead) hub.polls.answered(polled);
        (mode.port as PollPort<Exchange>).answer(exchange, found?.body, polled.position);
      } else {
        checkPlace();
        exchange.hold(hub.polls.wait(exchange, channels, mode, start, waitMs, owner), hub);
      }
    };
    const looking = hub.polls.look(channels, position, limit, answer);
    if (looking === undefined) return undefined;
    isLater = true;
    exchange.watch();
    return looking;
  }
}
