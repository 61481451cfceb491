/**
 * An exchange: one request and its answer, which leaves by one way whatever it is. What the socket
 * does not take at once stays here as a body and an offset, and until it has left, another request
 * on the connection closes it.
 */
import { STATUS_CODES } from 'node:http';
import type { Counters } from '../counters.js';
import { retryBlock } from '../core/frame.js';
import { statusOf, type HoldlineError } from '../errors.js';
import {
  BODILESS_ANSWERS_PER_CLOSE,
  CLOSE_LINGER_MS_MAX,
  CLOSING_BODY_BYTES_MAX,
  REFUSALS_PER_TURN_MAX,
  SMALL_ANSWER_BYTES_MAX,
  SMALL_ANSWERS_PER_CHECK,
} from '../limits.js';
import type { Holder, HttpResponse } from '../native/uws.js';
import {
  countRefusal,
  knownError,
  NO_HEADERS,
  refusalHeaders,
  refusalJson,
  type Headers,
} from './answer.js';
import type { Head } from './head.js';
import type { PendingAnswer, PendingAnswers } from './pending-answers.js';

/** What the exchanges of a server share. */
export interface Exchanges {
  readonly counters: Counters;
  readonly pending: PendingAnswers;
  /** Told of what is not the client's fault. */
  readonly report: (error: unknown) => void;
  /** True while the server drains: answers say that the connection closes. */
  draining: boolean;
  /** Requests that were refused in this turn of the loop. */
  refusedThisTurn: number;
}

/** Whoever receives a body. */
export interface Incoming {
  /** True when all of it has come. */
  readonly isWhole: boolean;
  take(piece: ArrayBuffer, isLast: boolean): void;
  left(): void;
}

/** An answer's body; for a HEAD its length is told, and for undefined there is none (204). */
type Body = string | Uint8Array | undefined;

export class Exchange implements PendingAnswer {
  readonly response: HttpResponse;
  readonly method: string;
  /** Header fields that every answer to this client has. */
  readonly headers: Headers;
  /**
   * True when the body has no length: the answer then closes the connection.
   * native-notes/chunked-requests.md
   */
  readonly isChunked: boolean;
  /**
   * True once the client is gone; the response may not be touched any more.
   * native-notes/abort-is-synchronous.md
   */
  gone = false;
  /** Told once when the client leaves before it was answered. */
  incoming: Incoming | undefined;
  /**
   * Set when a turn has passed since the last byte of a chunked body, and nothing had followed it.
   */
  isBodyAlone = false;
  /** What the socket has been given a part of. */
  pendingBody: Uint8Array | undefined;
  readonly #shared: Exchanges;
  #closes: boolean;
  #isUncertain = false;
  #isAnswered = false;
  #isWatched = false;
  /** Where the exchange stands among what is held open, −1 while it does not. */
  #handle = -1;
  #holder: Pick<Holder<Exchange>, 'left'> | undefined;
  /** False while a part of a chunked body is still to come. */
  #bodyCame = false;
  #isHearing = false;

  constructor(shared: Exchanges, response: HttpResponse, head: Head, headers: Headers) {
    this.#shared = shared;
    this.response = response;
    this.method = head.method;
    this.headers = headers;
    this.isChunked = head.get('transfer-encoding') !== '';
    this.#closes = this.isChunked || asksToClose(head.get('connection'));
  }

  get isHead(): boolean {
    return this.method === 'HEAD';
  }

  /** True while an answer may still be given. */
  get isOpen(): boolean {
    return !this.gone && !this.#isAnswered;
  }

  /** The client's address, in full; only while it is there. */
  get address(): string {
    return Buffer.from(this.response.getRemoteAddressAsText()).toString('latin1');
  }

  /** The connection is closed behind the answer. */
  closeAfter(): void {
    this.#closes = true;
  }

  /**
   * Where the request ends is not certain: the connection is closed behind the answer, whatever
   * follows.
   */
  #distrust(): void {
    this.#closes = true;
    this.#isUncertain = true;
  }

  /**
   * Takes note of the client's leaving, for an answer that comes in a later turn.
   * native-notes/unanswered-request-kills.md
   */
  watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.response.onAborted(() => this.#left());
  }

  /**
   * Stands among what is held open until it is answered; `holder` is told when the client leaves
   * before.
   */
  hold(handle: number, holder: Pick<Holder<Exchange>, 'left'>): void {
    this.#handle = handle;
    this.#holder = holder;
    this.watch();
  }

  #left(): void {
    this.gone = true;
    if (this.pendingBody !== undefined) {
      this.#shared.pending.remove(this);
      this.#shared.counters.answers_unread_total++;
    }
    if (this.#isAnswered) return;
    if (this.#handle >= 0) this.#holder?.left(this.#handle, this);
    const { incoming } = this;
    if (incoming === undefined) return;
    if (!incoming.isWhole) this.#shared.counters.publish_aborted_total++;
    incoming.left();
    this.incoming = undefined;
  }

  /**
   * Hands over the body as it comes, in the request's turn only. The pieces are native memory, gone
   * after the call. native-notes/zero-copy-arguments.md
   */
  hear(incoming: Incoming): void {
    this.watch();
    this.#isHearing = true;
    this.response.onData((bytes, isLast) => {
      if (isLast) this.#bodyCame = true;
      if (!this.#isAnswered) incoming.take(bytes, isLast);
      else if (isLast && this.isChunked) this.#closeSoon();
    });
  }

  /**
   * Runs `task` in a cork of the response, if the client is still there: what is written there
   * leaves in one piece.
   */
  inCork(task: () => void): void {
    if (this.gone) return;
    let failed: { readonly error: unknown } | undefined;
    this.response.cork(() => {
      // An exception would leave through native code. native-notes/unanswered-request-kills.md
      try {
        task();
      } catch (error) {
        failed = { error };
      }
    });
    if (failed !== undefined) this.refuse(failed.error);
  }

  // ── answers ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Answers with a body, from any turn of the loop. Where the client is gone, or was answered, this
   * does nothing.
   */
  answer(
    status: number,
    contentType: string,
    body: string | Uint8Array,
    own: Headers = NO_HEADERS,
  ): void {
    this.#send(status, contentType, body, own);
  }

  answerJson(body: string): void {
    this.#send(200, 'application/json', body, NO_HEADERS);
  }

  /** Answers 204: no body, and nothing that would describe one (RFC 9110, 15.3.5). */
  answerNothing(own: Headers = NO_HEADERS): void {
    this.#send(204, undefined, undefined, own);
  }

  /** Answers a HEAD with a head of the caller's own, which has no length. */
  answerHead(writeHead: () => void): void {
    if (!this.isOpen) return;
    this.#isAnswered = true;
    this.response.cork(() => {
      writeHead();
      this.#endBodiless(undefined);
    });
  }

  /**
   * Answers with the error's status and code. What is not ours is reported, and told as
   * HOLDLINE_INTERNAL.
   */
  refuse(error: unknown, own: Headers = NO_HEADERS): void {
    const known = knownError(error);
    if (known !== error) this.#shared.report(error);
    if (!this.isOpen) return;
    if (known.code === 'HOLDLINE_BAD_FRAMING') this.#distrust();
    countRefusal(this.#shared.counters, known);
    this.#shared.counters.refused_total++;
    if (this.#shared.refusedThisTurn++ === 0)
      setImmediate(() => (this.#shared.refusedThisTurn = 0));
    if (this.#shared.refusedThisTurn > REFUSALS_PER_TURN_MAX) this.closeAfter();
    this.#send(statusOf(known), 'application/json', refusalJson(known), [
      ...own,
      ...refusalHeaders(known),
    ]);
  }

  /**
   * Refuses an event stream for a temporary reason: 200, `retry` and the end, because EventSource
   * gives up for good on any other status and reconnects after the end of a stream.
   * native-notes/eventsource-clients.md
   */
  refuseStreamForNow(error: HoldlineError, retryMs: number): void {
    if (!this.isOpen) return;
    countRefusal(this.#shared.counters, error);
    this.#shared.counters.refused_temporary_total++;
    this.#send(200, 'text/event-stream', retryBlock(retryMs), NO_HEADERS);
  }

  /**
   * The one way out. In one cork, which in the request's turn is the turn's own.
   * native-notes/one-cork-per-loop.md
   */
  #send(status: number, contentType: string | undefined, body: Body, own: Headers): void {
    if (!this.isOpen) return;
    this.#isAnswered = true;
    this.response.cork(() => {
      this.#writeHead(status, contentType, own);
      if (body === undefined || this.isHead) this.#endBodiless(body);
      else if (this.#closes && Buffer.byteLength(body) <= CLOSING_BODY_BYTES_MAX)
        this.#writeClosing(textOf(body));
      else this.#writeBody(body);
    });
  }

  get #mustClose(): boolean {
    return this.#closes || this.#shared.draining;
  }

  /**
   * Status and headers of an answer that is not to be stored; uWebSockets adds Date and
   * Content-Length. native-notes/added-headers.md. Each call into native code costs 0.15 µs, so
   * what every answer has goes in behind the first header's value.
   */
  #writeHead(status: number, contentType: string | undefined, own: Headers): void {
    const { response } = this;
    if (status !== 200) response.writeStatus(`${status} ${STATUS_CODES[status] ?? 'Unknown'}`);
    if (contentType === undefined) response.writeHeader('Cache-Control', NOT_STORED);
    else
      response.writeHeader(
        'Content-Type',
        contentType === 'application/json' ? JSON_NOT_STORED : `${contentType}${THEN_NOT_STORED}`,
      );
    for (const [name, value] of this.headers) response.writeHeader(name, value);
    for (const [name, value] of own) response.writeHeader(name, value);
  }

  /**
   * Ends without a body, and closes the connection now and then: nothing tells whether the socket
   * took the answer, so that who never reads would fill the memory. The length goes in as a header:
   * given as an argument it leaves the answer open. native-notes/head-and-empty-bodies.md
   */
  #endBodiless(body: Body): void {
    if (this.#mustClose || Math.random() * BODILESS_ANSWERS_PER_CLOSE < 1) {
      this.#writeClosing(body);
      return;
    }
    if (body !== undefined)
      this.response.writeHeader('Content-Length', String(Buffer.byteLength(body)));
    this.response.endWithoutBody();
  }

  /**
   * Gives the socket what it takes, and the rest when it takes more. native-notes/pending-end.md.
   * Whether it takes a small answer is only looked at now and then, since that costs 1.2 µs: what
   * has piled up by then stops the next one that is looked at.
   */
  #writeBody(body: string | Uint8Array): void {
    const { response } = this;
    if (this.#mustClose) response.writeHeader('Connection', 'close');
    const size = Buffer.byteLength(body);
    if (size <= SMALL_ANSWER_BYTES_MAX && Math.random() * SMALL_ANSWERS_PER_CHECK >= 1) {
      response.end(body);
      return;
    }
    if (response.tryEnd(body, size)[1]) return;
    const whole = typeof body === 'string' ? Buffer.from(body) : body;
    this.pendingBody = whole;
    this.watch();
    response.onWritable((offset) => {
      const [isTaken, isDone] = response.tryEnd(whole.subarray(offset), size);
      if (isDone) {
        this.#shared.pending.remove(this);
        this.pendingBody = undefined;
      } else {
        this.#shared.pending.moved(this);
      }
      return isTaken;
    });
    this.#shared.pending.add(this);
  }

  /**
   * Writes a whole answer and leaves it open as far as uWebSockets knows, so that whatever follows
   * on the connection closes it and is never a request; then closes it. The end of the head, and
   * the body, go in behind the last header's value; the line break that uWebSockets writes after a
   * value is the last of the head or, counted, of the body. native-notes/closing-answers.md
   */
  #writeClosing(body: Body): void {
    const { response } = this;
    this.watch();
    response.writeHeader('Date', new Date().toUTCString());
    if (body === undefined) {
      response.writeHeader('Connection', 'close\r\n');
    } else {
      response.writeHeader('Connection', 'close');
      const whole = this.#mustLeaveAtOnce && !this.isHead ? `${body as string}${PADDING}` : body;
      const length = Buffer.byteLength(whole);
      if (this.isHead) response.writeHeader('Content-Length', `${length}\r\n`);
      else
        response.writeHeader(
          'Content-Length',
          `${length + END_OF_LINE.length}\r\n\r\n${whole as string}`,
        );
    }
    if (!this.isChunked || this.#bodyCame) {
      this.#closeSoon();
      return;
    }
    // Closed with bytes unread the connection would be reset, and the client might not read the
    // answer.
    if (!this.#isHearing) this.#hearRest();
    setTimeout(() => this.giveUp(), CLOSE_LINGER_MS_MAX).unref();
  }

  /**
   * True while bytes may be parsed behind the answer before its cork is flushed: if they are a
   * request, the close drops the cork.
   */
  get #mustLeaveAtOnce(): boolean {
    return (this.isChunked && !this.isBodyAlone) || this.#isUncertain;
  }

  /** A refusal in the request's own turn, before anybody listened to its body. */
  #hearRest(): void {
    this.response.onData((_, isLast) => {
      if (isLast) this.#closeSoon();
    });
  }

  /** Closes when this turn's cork has been flushed. */
  #closeSoon(): void {
    setImmediate(() => this.giveUp());
  }

  /** Closes the socket. */
  giveUp(): void {
    if (!this.gone) this.response.close();
  }
}

/**
 * Makes an answer larger than the cork, which it then leaves within the call: blanks behind JSON
 * mean nothing. native-notes/cork-size.md
 */
const PADDING = ' '.repeat(16 * 1024);

const END_OF_LINE = '\r\n';

const NOT_STORED = `no-store${END_OF_LINE}X-Content-Type-Options: nosniff`;
const THEN_NOT_STORED = `${END_OF_LINE}Cache-Control: ${NOT_STORED}`;
const JSON_NOT_STORED = `application/json${THEN_NOT_STORED}`;

/** Every body is UTF-8. */
function textOf(body: string | Uint8Array): string {
  return typeof body === 'string'
    ? body
    : Buffer.from(body.buffer, body.byteOffset, body.length).toString();
}

/**
 * True when `close` is in the list (RFC 9110, 7.6.1); uWebSockets looks for that one word alone.
 */
function asksToClose(connection: string): boolean {
  if (connection === '' || connection === 'keep-alive') return false;
  return connection.split(',').some((option) => option.trim().toLowerCase() === 'close');
}
