/**
 * An exchange: one request and its answer. What the socket does not take at once stays here as a
 * body and an offset; until it has left, another request on the connection closes the connection.
 * The exchange does not keep the head, because a poll that waits keeps its exchange.
 */
import type { Counters } from '../counters.js';
import { retryBlock } from '../core/frame.js';
import { HoldlineError, statusOf } from '../errors.js';
import {
  BODILESS_ANSWERS_PER_CLOSE,
  BODY_PIECES_PER_TURN_MAX,
  CHUNKED_LINGER_MS,
  CLOSE_LINGER_MS_MAX,
  CLOSING_BODY_BYTES_MAX,
  REFUSALS_PER_TURN_MAX,
  SMALL_ANSWER_BYTES_MAX,
  SMALL_ANSWERS_PER_CHECK,
} from '../limits.js';
import type { Holder, HttpResponse } from '../native/uws.js';
import type { Addresses, ClientAddress } from './address.js';
import {
  knownError,
  NO_HEADERS,
  refusalHeaders,
  refusalJson,
  writeAnswerHead,
  type Headers,
} from './answer.js';
import type { BodyTurns } from './body-turns.js';
import { writeClosing, type Body } from './closing-answer.js';
import { contentLengthOf } from './framing.js';
import { isListed, type Head } from './head.js';
import { refusalPage } from './refusal-page.js';
import type { Refusable, Refusals } from './refusals.js';
import { PAGE_CONTENT_TYPE, PAGE_HEADERS } from './small-page.js';
import type { PendingAnswer, PendingAnswers } from './pending-answers.js';

/** What the exchanges of a server share. */
export interface Exchanges {
  readonly counters: Counters;
  readonly addresses: Addresses;
  readonly pending: PendingAnswers;
  readonly bodyTurns: BodyTurns;
  readonly refusals: Refusals;
  /** Gets every error that is not the client's fault. */
  readonly report: (error: unknown) => void;
  /** The path of the page that says what the server offers. */
  readonly homePath: string;
  /** True while the server shuts down: no line is opened, every answer closes its connection. */
  draining: boolean;
  /** True at the end of that: nothing is published any more. */
  ended: boolean;
  /** Requests that were refused in this turn of the loop. */
  refusedThisTurn: number;
}

/** Throws HOLDLINE_DRAINING while the server shuts down: no line is opened, no poll answered. */
export function checkHolding({ draining }: { readonly draining: boolean }): void {
  if (draining) throw shuttingDown();
}

/** A person gets a page, an EventSource a stream that ends, and others JSON. */
const BY_ACCEPT: Headers = [['Vary', 'Accept']];

/** What ends a cork: `last` is the last thing in it, and `after` runs when it is over. */
interface Cork {
  last: () => void;
  after: () => void;
}

/** Throws HOLDLINE_DRAINING when nothing is published any more: later than no line is opened. */
export function checkPublishing({ ended }: { readonly ended: boolean }): void {
  if (ended) throw shuttingDown();
}

function shuttingDown(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_DRAINING',
    'the server is shutting down; try again after its restart, or at another server',
  );
}

/** The receiver of a request's body. */
export interface Incoming {
  /** True when all of it has come. */
  readonly isWhole: boolean;
  take(piece: ArrayBuffer, isLast: boolean): void;
  /** The client left before it was answered. */
  left(): void;
}

export class Exchange implements PendingAnswer, Refusable {
  readonly response: HttpResponse;
  readonly method: string;
  /** How the client asks for its channels, once that is read. */
  transport: Refusable['transport'] = 'http';
  /** Header fields that every answer to this client has. */
  readonly headers: Headers;
  /**
   * True if the body has no length: the answer then closes the connection.
   * native-notes/chunked-requests.md
   */
  readonly isChunked: boolean;
  /**
   * True once the response must not be touched any more: the client is gone, the response was
   * handed over, or its answer is complete, except for one that closes the connection later.
   * native-notes/abort-is-synchronous.md
   */
  gone = false;
  /** True when a turn has passed since the last byte of a chunked body and nothing followed it. */
  isBodyAlone = false;
  /** The body that the socket has taken a part of. */
  pendingBody: Uint8Array | undefined;
  readonly #shared: Exchanges;
  /** What listed proxies say of the client's address. */
  readonly #forwarded: string | undefined;
  #incoming: Incoming | undefined;
  #closes: boolean;
  /** True if uWebSockets closes by itself after the answer: `close` is all that is asked for. */
  readonly #closesNatively: boolean;
  /** True if the request's end is not certain. */
  #isUncertain = false;
  #isAnswered = false;
  /** The cork of {@link inCork}; undefined outside of one. */
  #cork: Cork | undefined;
  #isWatched = false;
  /** The handle of a held exchange, −1 if it is not held. */
  #handle = -1;
  #holder: Pick<Holder<Exchange>, 'left'> | undefined;
  /** True when the last byte of the body has come. */
  #bodyCame = false;
  #isListening = false;
  /** Pieces of the body in this turn of {@link BodyTurns}; the last one is not counted. */
  #pieces = 0;
  /** True if a body follows the head. */
  readonly #hasBody: boolean;

  constructor(shared: Exchanges, response: HttpResponse, head: Head, headers: Headers) {
    this.#shared = shared;
    this.response = response;
    this.method = head.method;
    this.headers = headers;
    this.isChunked = head.get('transfer-encoding') !== '';
    const { addresses } = shared;
    this.#forwarded = addresses.forwardedIn(head);
    this.#closesNatively = head.get('connection').toLowerCase() === 'close';
    this.#closes =
      this.isChunked || asksToClose(head.get('connection')) || addresses.isOneRequest(response);
    this.#hasBody = this.isChunked || (contentLengthOf(head) ?? 0) > 0;
  }

  get isHead(): boolean {
    return this.method === 'HEAD';
  }

  /** True while an answer may still be given. */
  get isOpen(): boolean {
    return !this.gone && !this.#isAnswered;
  }

  /** Where the request comes from; only while the client is there. */
  get client(): ClientAddress {
    return this.#shared.addresses.of(this.response, this.#forwarded);
  }

  /** The client's address as text; empty once it is gone. */
  get address(): string {
    return this.gone ? '' : this.client.shown;
  }

  /** Closes the connection after the answer. */
  closeAfter(): void {
    this.#closes = true;
  }

  /**
   * Watches for the client's leaving, which an answer in a later turn needs.
   * native-notes/unanswered-request-kills.md
   */
  watch(): void {
    if (this.#isWatched || this.gone) return;
    this.#isWatched = true;
    this.response.onAborted(() => this.#left());
    if (this.#hasBody) this.#listen();
  }

  /** Is held open until it is answered; `holder` hears of it if the client leaves before. */
  hold(handle: number, holder: Pick<Holder<Exchange>, 'left'>): void {
    this.#handle = handle;
    this.#holder = holder;
    this.watch();
  }

  /**
   * The response is a line's from now on, which alone touches it and hears of its end. A body that
   * may still come is discarded. native-notes/body-outlives-response.md
   */
  handOver(): void {
    this.resume();
    this.gone = true;
  }

  #left(): void {
    this.gone = true;
    if (this.pendingBody !== undefined) {
      this.#shared.pending.remove(this);
      this.#shared.counters.answers_unread_total++;
    }
    if (this.#isAnswered) return;
    if (this.#handle >= 0) this.#holder?.left(this.#handle, this);
    const incoming = this.#incoming;
    if (incoming === undefined) return;
    if (!incoming.isWhole) this.#shared.counters.publish_aborted_total++;
    incoming.left();
    this.#incoming = undefined;
  }

  /**
   * Hands over the body as it comes; to be called in the request's turn. The pieces are native
   * memory, gone after the call. native-notes/zero-copy-arguments.md
   */
  receive(incoming: Incoming): void {
    this.#incoming = incoming;
    this.watch();
    this.#listen();
  }

  /** Hears of the body, which is discarded if nobody receives it. */
  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.response.onData((bytes, isLast) => {
      if (isLast) this.#bodyCame = true;
      this.#takeTurns(isLast);
      if (!this.#isAnswered) this.#incoming?.take(bytes, isLast);
      else if (isLast) this.#complete();
    });
  }

  /** Lets others be read before more of a body that comes in very many pieces. */
  #takeTurns(isLast: boolean): void {
    if (this.gone) return;
    if (isLast) this.resume();
    else if (++this.#pieces === BODY_PIECES_PER_TURN_MAX) {
      this.response.pause();
      this.#shared.bodyTurns.wait(this);
    }
  }

  /** The body's turn has come, or it is complete, or it is answered. */
  resume(): void {
    if (this.gone || this.#pieces < BODY_PIECES_PER_TURN_MAX) return;
    this.#pieces = 0;
    this.response.resume();
  }

  /**
   * Runs `task` in a cork of the response, if the client is still there: all it writes leaves in
   * one piece. What it throws is thrown when the cork is over.
   */
  inCork(task: () => void): void {
    if (this.gone) return;
    const cork: Cork = { last: nothing, after: nothing };
    let failed: { readonly error: unknown } | undefined;
    this.#cork = cork;
    this.response.cork(() => {
      // An exception would pass through native code. native-notes/unanswered-request-kills.md
      try {
        task();
        cork.last();
      } catch (error) {
        failed = { error };
      }
    });
    this.#cork = undefined;
    if (failed !== undefined) throw failed.error;
    cork.after();
  }

  /**
   * Runs `last` as the last thing in the cork of {@link inCork}, and `after`, which must not throw,
   * when the cork is over; both at once where there is none.
   */
  endCork(last: () => void, after: () => void): void {
    if (this.#cork !== undefined) {
      this.#cork.last = last;
      this.#cork.after = after;
      return;
    }
    last();
    after();
  }

  // ── answers ────────────────────────────────────────────────────────────────────────────────────
  // From any turn of the loop. If the client is gone or was answered, they do nothing.

  answer(
    status: number,
    contentType: string,
    body: string | Uint8Array,
    extra: Headers = NO_HEADERS,
  ): void {
    this.#send(status, contentType, body, extra);
  }

  /** Answers 200 with a body within gzip, which a closing answer cannot carry. */
  answerGzip(contentType: string, body: Uint8Array, extra: Headers): void {
    this.#send(200, contentType, body, [...extra, ['Content-Encoding', 'gzip']], false);
  }

  answerJson(body: string): void {
    this.#send(200, 'application/json', body, NO_HEADERS);
  }

  /** Answers 204: no body, and no headers that describe one (RFC 9110, 15.3.5). */
  answerNothing(extra: Headers = NO_HEADERS): void {
    this.#send(204, undefined, undefined, extra);
  }

  /** Answers a HEAD with the head that the caller writes, which has no length. */
  answerHead(writeHead: () => void): void {
    if (!this.isOpen) return;
    this.resume();
    this.#isAnswered = true;
    this.response.cork(() => {
      writeHead();
      this.#endBodiless(undefined, undefined);
    });
  }

  /**
   * Answers with the error's status and code. An error that is not a HoldlineError is reported, and
   * answered as HOLDLINE_INTERNAL. In JSON, or as a page for a person.
   */
  refuse(error: unknown, extra: Headers = NO_HEADERS, asPage = false): void {
    const known = knownError(error);
    if (known !== error) this.#shared.report(error);
    if (!this.isOpen) return;
    if (known.code === 'HOLDLINE_BAD_FRAMING') {
      this.#closes = true;
      this.#isUncertain = true;
    }
    this.#shared.refusals.note('refused_total', known, this);
    if (this.#shared.refusedThisTurn++ === 0)
      setImmediate(() => (this.#shared.refusedThisTurn = 0));
    if (this.#shared.refusedThisTurn > REFUSALS_PER_TURN_MAX) this.closeAfter();
    const headers = [...extra, ...refusalHeaders(known)];
    if (this.method === 'GET' || this.isHead) headers.push(...BY_ACCEPT);
    if (asPage)
      this.#send(statusOf(known), PAGE_CONTENT_TYPE, refusalPage(known, this.#shared.homePath), [
        ...headers,
        ...PAGE_HEADERS,
      ]);
    else this.#send(statusOf(known), 'application/json', refusalJson(known), headers);
  }

  /**
   * Refuses an event stream for a temporary reason with 200, `retry` and the end: EventSource gives
   * up for good on any other status, and reconnects after the end of a stream.
   * native-notes/eventsource-clients.md
   */
  refuseStreamForNow(error: HoldlineError, retryMs: number): void {
    if (!this.isOpen) return;
    this.#shared.refusals.note('refused_temporary_total', error, this);
    this.#send(200, 'text/event-stream', retryBlock(retryMs), BY_ACCEPT);
  }

  /**
   * Answers an event stream that would end at once with its end event: an EventSource shows its
   * program nothing of a status but 200.
   */
  refuseStreamForGood(error: HoldlineError, endEvent: Uint8Array): void {
    if (!this.isOpen) return;
    this.#shared.refusals.note('refused_ended_total', error, this);
    this.#send(200, 'text/event-stream', endEvent, BY_ACCEPT);
  }

  /**
   * Sends an answer in one cork, which in the request's turn is the turn's own.
   * native-notes/one-cork-per-loop.md
   */
  #send(
    status: number,
    contentType: string | undefined,
    body: Body,
    extra: Headers,
    isText = true,
  ): void {
    if (!this.isOpen) return;
    this.resume();
    this.#isAnswered = true;
    const isLarge =
      this.#closes &&
      body !== undefined &&
      !this.isHead &&
      !(isText && Buffer.byteLength(body) <= CLOSING_BODY_BYTES_MAX);
    if (!isLarge || this.#closesNatively) {
      this.#write(status, contentType, body, extra, isLarge);
      return;
    }
    // Nothing behind it is read any more: what has come with the request closes the connection,
    // and the native timeout does when the answer is complete. native-notes/closing-answers.md
    this.watch();
    this.response.pause();
    setImmediate(() => {
      if (!this.gone) this.#write(status, contentType, body, extra, isLarge);
    });
  }

  #write(
    status: number,
    contentType: string | undefined,
    body: Body,
    extra: Headers,
    isLarge: boolean,
  ): void {
    const { response } = this;
    response.cork(() => {
      writeAnswerHead(response, status, contentType);
      for (const [name, value] of this.headers) response.writeHeader(name, value);
      let connection: string | undefined;
      for (const [name, value] of extra) {
        // What closes the connection says so in the same field.
        if (name === 'Connection') connection = value;
        else response.writeHeader(name, value);
      }
      if (body === undefined || this.isHead) this.#endBodiless(body, connection);
      else if (this.#closes && !isLarge) this.#endClosing(body, connection);
      else this.#writeBody(body, connection);
    });
  }

  get #mustClose(): boolean {
    return this.#closes || this.#shared.draining;
  }

  /**
   * Ends without a body, and closes the connection now and then: nothing tells whether the socket
   * took the answer, and a client that never reads would fill the memory. The length is a header,
   * because as an argument it would leave the answer open. native-notes/head-and-empty-bodies.md
   */
  #endBodiless(body: Body, connection: string | undefined): void {
    if (this.#mustClose || Math.random() * BODILESS_ANSWERS_PER_CLOSE < 1) {
      this.#endClosing(body, connection);
      return;
    }
    if (connection !== undefined) this.response.writeHeader('Connection', connection);
    if (body !== undefined)
      this.response.writeHeader('Content-Length', String(Buffer.byteLength(body)));
    this.response.endWithoutBody();
    this.gone = true;
  }

  /**
   * Gives the socket what it takes, and the rest when it takes more (native-notes/pending-end.md).
   * Checking whether the socket took a small answer costs 1.2 µs, so only some answers are checked:
   * anything unsent from earlier ones stops the next that is.
   */
  #writeBody(body: string | Uint8Array, connection: string | undefined): void {
    const { response } = this;
    if (this.#mustClose) response.writeHeader('Connection', closing(connection));
    else if (connection !== undefined) response.writeHeader('Connection', connection);
    const size = Buffer.byteLength(body);
    if (size <= SMALL_ANSWER_BYTES_MAX && Math.random() * SMALL_ANSWERS_PER_CHECK >= 1) {
      response.end(body);
      this.gone = true;
      return;
    }
    if (response.tryEnd(body, size)[1]) {
      this.gone = true;
      return;
    }
    const whole = typeof body === 'string' ? Buffer.from(body) : body;
    this.pendingBody = whole;
    this.watch();
    response.onWritable((offset) => {
      // A write that was not taken has let the socket be read again.
      if (this.#closes && !this.#closesNatively) response.pause();
      const [isTaken, isDone] = response.tryEnd(whole.subarray(offset), size);
      if (isDone) {
        this.#shared.pending.remove(this);
        this.pendingBody = undefined;
        this.gone = true;
      } else {
        this.#shared.pending.moved(this);
      }
      return isTaken;
    });
    this.#shared.pending.add(this);
  }

  // ── the end of the connection ──────────────────────────────────────────────────────────────────

  /**
   * Writes a closing answer, and closes when it has left. To close with bytes unread would reset
   * the connection, and the client might not read the answer: so the rest of a body is read first,
   * for at most CLOSE_LINGER_MS_MAX.
   */
  #endClosing(body: Body, connection: string | undefined): void {
    this.watch();
    this.#closes = true;
    const isAtOnce = (this.isChunked && !this.isBodyAlone) || this.#isUncertain;
    writeClosing(this.response, body, closing(connection), this.isHead, isAtOnce);
    if (!this.#hasBody || this.#bodyCame) this.#complete();
    else setTimeout(() => this.closeSocket(), CLOSE_LINGER_MS_MAX).unref();
  }

  /**
   * Request and answer are complete: closes, if this was the last of its connection. A chunked body
   * may still lack its final line break, which uWebSockets does not report. It comes in this time;
   * nothing is read meanwhile, since anything else would be answered with 505.
   */
  #complete(): void {
    if (!this.#closes || this.gone) return;
    if (!this.isChunked) {
      this.#closeSoon();
      return;
    }
    this.response.pause();
    setTimeout(() => this.closeSocket(), CHUNKED_LINGER_MS).unref();
  }

  /** Closes when this turn's cork has been flushed. */
  #closeSoon(): void {
    setImmediate(() => this.closeSocket());
  }

  /** Closes the socket. */
  closeSocket(): void {
    if (!this.gone) this.response.close();
  }
}

function nothing(): void {}

/** The field Connection of an answer that closes, with what else it lists. */
function closing(connection: string | undefined): string {
  return connection === undefined ? 'close' : `${connection}, close`;
}

/**
 * True if `close` is in the list (RFC 9110, 7.6.1); uWebSockets recognises `close` only as the
 * whole value.
 */
function asksToClose(connection: string): boolean {
  if (connection === '' || connection === 'keep-alive') return false;
  return isListed('close', connection);
}
