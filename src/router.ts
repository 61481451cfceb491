/** The router: decides what a request is, checks who may do it, and hands it on. Everything it reads, it reads in the request's turn. */
import type { Counters } from './counters.js';
import { checkEventType } from './core/event.js';
import type { Hub } from './core/hub.js';
import type { Idempotency } from './core/idempotency.js';
import type { Published } from './core/intake.js';
import { HoldlineError } from './errors.js';
import { ACCEPTS_PER_SECOND } from './limits.js';
import type { Position } from './core/position.js';
import type { Receipt } from './log/log.js';
import type { MessageSocket, UpgradeContext } from './native/messages.js';
import type { HttpRequest, HttpResponse } from './native/uws.js';
import { landingPage } from './ops/landing.js';
import type { Memory } from './ops/memory.js';
import { pagesInWords, type OpsAnswer, type OpsPages } from './ops/pages.js';
import { answer, answerJson, answerNothing, NO_HEADERS, refuse, refuseStreamForNow, type Headers } from './transports/answer.js';
import type { AuthorizeRequest, Guard } from './transports/guard.js';
import { answerOrWait, type PollRequest, type WaitingPoll } from './transports/poll.js';
import { bodyKindOf, bodyLimit, readEvents, receiptJson, receiveBody } from './transports/publish.js';
import {
  channelOf,
  channelsOf,
  checkIdempotencyKey,
  limitOf,
  positionOf,
  Query,
  requestKeyOf,
  transportOf,
  waitMsOf,
} from './transports/request.js';
import { answerStreamHead, openStream, wayOf, type StreamRequest } from './transports/stream.js';
import type { Messages, Session } from './transports/websocket.js';

/** Whatever is held open. */
export type HeldSocket = HttpResponse | MessageSocket | WaitingPoll;

export interface RouterOptions {
  readonly maxConnections: number;
  readonly maxEventBytes: number;
  readonly retryMs: number;
  /** Told of what is not the client's fault. */
  readonly report: (error: unknown) => void;
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
  readonly #hub: Hub<HeldSocket>;
  readonly #messages: Messages;
  readonly #idempotency: Idempotency;
  readonly #guard: Guard;
  readonly #pages: OpsPages;
  readonly #memory: Pick<Memory, 'checkRoom'>;
  readonly #counters: Counters;
  readonly #options: RouterOptions;
  #draining = false;

  constructor(
    hub: Hub<HeldSocket>,
    messages: Messages,
    idempotency: Idempotency,
    guard: Guard,
    pages: OpsPages,
    memory: Pick<Memory, 'checkRoom'>,
    counters: Counters,
    options: RouterOptions,
  ) {
    this.#hub = hub;
    this.#messages = messages;
    this.#idempotency = idempotency;
    this.#guard = guard;
    this.#pages = pages;
    this.#memory = memory;
    this.#counters = counters;
    this.#options = options;
  }

  /** True while the server drains: no line is opened and nothing is published any more. */
  get draining(): boolean {
    return this.#draining;
  }

  drain(): void {
    this.#draining = true;
    this.#messages.draining = true;
  }

  /** Answers a request, in its turn of the loop or later. `context` comes with what may become a WebSocket. */
  readonly handle = (response: HttpResponse, request: HttpRequest, context?: UpgradeContext): void => {
    this.#counters.requests_total++;
    const method = request.getMethod();
    const headers = this.#guard.corsHeaders(request);
    try {
      const path = request.getUrl();
      if (path.startsWith('/-/')) this.#handleOps(response, request, method, path, headers);
      else if (method === 'post') this.#handlePublish(response, request, path, headers);
      else if (method === 'delete') this.#handleDelete(response, request, path, headers);
      else if (method === 'get' || method === 'head')
        this.#handleGet(response, request, path, headers, method === 'head', context);
      else this.#handleOther(response, request, method, path, headers);
    } catch (error) {
      this.#refuse(response, error, headers, method === 'head');
    }
  };

  #refuse(response: HttpResponse, error: unknown, headers: Headers, isHead: boolean): void {
    if (!(error instanceof HoldlineError)) this.#options.report(error);
    refuse(response, error, this.#counters, headers, isHead);
  }

  #handleGet(
    response: HttpResponse,
    request: HttpRequest,
    path: string,
    headers: Headers,
    isHead: boolean,
    context: UpgradeContext | undefined,
  ): void {
    this.#guard.checkHost(request);
    if (path === '/') {
      answer(response, 200, 'text/html; charset=utf-8', landingPage(this.#pages), headers, isHead);
      return;
    }
    const channels = channelsOf(path);
    const query = new Query(request.getQuery());
    const transport = transportOf(request, query);
    const position = positionOf(request.getHeader('last-event-id'), query);
    let open: () => void;
    if (transport === 'websocket') {
      open = this.#upgrade(response, request, headers, channels, position, context);
    } else if (transport === 'poll') {
      const poll: PollRequest = { channels, position, waitMs: waitMsOf(query), limit: limitOf(query), headers };
      open = () => {
        this.#checkServing();
        answerOrWait(this.#hub, this.#hub, response, poll, isHead, () => this.#checkPlace());
      };
    } else {
      const way = wayOf(transport, channels, query.isSet('envelope'));
      const stream: StreamRequest = { channels, position, way, headers };
      open = () => {
        if (isHead) answerStreamHead(this.#hub, response, stream);
        else this.#open(response, stream);
      };
    }
    this.#whenAuthorized(response, request, 'subscribe', channels, headers, isHead, open);
  }

  #open(response: HttpResponse, stream: StreamRequest): void {
    try {
      this.#checkPlace();
      openStream(this.#hub, this.#hub, response, stream, this.#retryMs());
    } catch (error) {
      if (!(error instanceof HoldlineError) || stream.way.transport !== 'sse') throw error;
      refuseStreamForNow(response, error, this.#retryMs(), this.#counters, stream.headers);
    }
  }

  /** Throws while the server drains. */
  #checkServing(): void {
    if (this.#draining) throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down');
  }

  /** Throws when nobody new can be held now. */
  #checkPlace(): void {
    this.#checkServing();
    if (this.#hub.lines.open >= this.#options.maxConnections) {
      throw new HoldlineError(
        'HOLDLINE_LINES_FULL',
        `${this.#options.maxConnections} lines are open already (--max-connections)`,
      );
    }
    this.#memory.checkRoom();
  }

  /** Checks a handshake (RFC 6455, 4.2.1) while the request is valid; what is returned completes it. */
  #upgrade(
    response: HttpResponse,
    request: HttpRequest,
    headers: Headers,
    channels: readonly string[],
    position: Position,
    context: UpgradeContext | undefined,
  ): () => void {
    this.#guard.checkSite(request);
    const key = request.getHeader('sec-websocket-key');
    if (context === undefined || request.getHeader('sec-websocket-version') !== '13') {
      throw new HoldlineError(
        'HOLDLINE_BAD_HANDSHAKE',
        'a WebSocket begins with a GET that has Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 24 characters',
      );
    }
    const session: Session = { mayPublish: this.#guard.rightToPublish(request) };
    return () => {
      this.#checkPlace();
      this.#messages.open(response, { channels, position, key, headers, context, session });
    };
  }

  /** Reconnect delay, uniform over the time that taking all lines back would need twice, so that a crash is no stampede. */
  #retryMs(): number {
    const spreadMs = (2 * 1000 * this.#hub.lines.open) / ACCEPTS_PER_SECOND;
    return Math.round(this.#options.retryMs + Math.random() * spreadMs);
  }

  #handlePublish(response: HttpResponse, request: HttpRequest, path: string, headers: Headers): void {
    this.#guard.checkHost(request);
    this.#guard.checkSite(request);
    const channel = channelOf(path);
    this.#guard.checkPublish(request);
    const queryType = new Query(request.getQuery()).get('event');
    const type = queryType === undefined ? undefined : checkEventType(queryType);
    const kind = bodyKindOf(request.getHeader('content-type'));
    const idempotencyKey = request.getHeader('idempotency-key');
    const scope = { channel, credential: idempotencyKey === '' ? '' : request.getHeader('authorization') };
    if (idempotencyKey !== '') checkIdempotencyKey(idempotencyKey);
    if (this.#draining)
      throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down; publish to another, or after its restart');
    const { maxEventBytes } = this.#options;

    let gone = false;
    const fail = (error: unknown): void => {
      if (!gone) this.#refuse(response, error, headers, false);
    };
    const publish = async (body: Buffer): Promise<Receipt> => {
      const events = await readEvents(channel, kind, type, body, maxEventBytes);
      if (idempotencyKey === '') return receiptOf(await this.#hub.publish(channel, events));
      const requestKey = requestKeyOf(idempotencyKey, scope, [kind, type ?? '', body]);
      return this.#idempotency.once(requestKey, async () => receiptOf(await this.#hub.publish(channel, events, requestKey)));
    };
    const published = (receipt: Receipt): void => {
      this.#counters.publish_requests_total++;
      if (!gone) answerJson(response, receiptJson(receipt, kind), headers);
    };
    let allowed = (): void => {};
    let body: Buffer | undefined;
    // The body comes whether or not the program has answered: uWebSockets hands it over only in this turn's handlers.
    // native-notes/request-in-its-turn.md
    receiveBody(
      response,
      bodyLimit(kind, maxEventBytes),
      (received) => {
        body = received;
        allowed();
      },
      (error) => {
        fail(error);
        gone = true;
      },
      (wasComplete) => {
        gone = true;
        if (!wasComplete) this.#counters.publish_aborted_total++;
      },
    );
    const proceed = (): void => {
      allowed = () => void publish(body as Buffer).then(published, fail);
      if (body !== undefined) allowed();
    };
    const asked = this.#guard.authorize(request, 'publish', [channel]);
    if (asked === undefined) proceed();
    else asked.then(proceed, fail);
  }

  /** Runs `then` in a cork of the response, when the program allows what is asked for: at once where it is not asked. */
  #whenAuthorized(
    response: HttpResponse,
    request: HttpRequest,
    action: AuthorizeRequest['action'],
    channels: readonly string[],
    headers: Headers,
    isHead: boolean,
    then: () => void,
  ): void {
    const asked = this.#guard.authorize(request, action, channels);
    if (asked === undefined) {
      then();
      return;
    }
    let gone = false;
    response.onAborted(() => {
      gone = true;
    });
    const fail = (error: unknown): void => {
      if (!gone) this.#refuse(response, error, headers, isHead);
    };
    asked.then(() => {
      if (!gone) response.cork(() => attempt(then, fail));
    }, fail);
  }

  /** Deletes a channel's history. */
  #handleDelete(response: HttpResponse, request: HttpRequest, path: string, headers: Headers): void {
    this.#guard.checkHost(request);
    this.#guard.checkSite(request);
    const channel = channelOf(path);
    this.#guard.checkOps(request);
    this.#checkServing();
    this.#whenAuthorized(response, request, 'delete', [channel], headers, false, () => {
      let gone = false;
      response.onAborted(() => {
        gone = true;
      });
      this.#hub.deleteChannel(channel).then(
        (published) => {
          if (!gone) answerJson(response, receiptJson(receiptOf(published), 'text'), headers);
        },
        (error: unknown) => {
          if (!gone) this.#refuse(response, error, headers, false);
        },
      );
    });
  }

  #handleOther(response: HttpResponse, request: HttpRequest, method: string, path: string, headers: Headers): void {
    this.#guard.checkHost(request);
    if (path !== '/') channelsOf(path);
    if (method === 'options') {
      const isPreflight = headers.some(([name]) => name === 'Access-Control-Allow-Origin');
      answerNothing(response, [...headers, ['Allow', ALLOWED_METHODS], ...(isPreflight ? PREFLIGHT : [])]);
      return;
    }
    this.#refuseMethod(response, method, ALLOWED_METHODS, headers);
  }

  #refuseMethod(response: HttpResponse, method: string, allowed: string, headers: Headers): void {
    const error = new HoldlineError(
      'HOLDLINE_METHOD_NOT_ALLOWED',
      `${method.toUpperCase().slice(0, 32)} is not answered here; these are: ${allowed}`,
    );
    this.#refuse(response, error, [...headers, ['Allow', allowed]], method === 'head');
  }

  #handleOps(response: HttpResponse, request: HttpRequest, method: string, path: string, headers: Headers): void {
    this.#guard.checkSite(request);
    const isHead = method === 'head';
    const page = this.#pages.get(path.slice('/-/'.length));
    if (page === undefined) {
      throw new HoldlineError(
        'HOLDLINE_NOT_FOUND',
        `nothing is at ${path.slice(0, 200)}; there are ${pagesInWords(this.#pages)}`,
      );
    }
    if (method !== 'get' && !isHead) {
      this.#refuseMethod(response, method, ALLOWED_OPS_METHODS, headers);
      return;
    }
    if (page.access !== 'open') this.#guard.checkHost(request);
    if (page.access === 'key') this.#guard.checkOps(request);
    const write = ({ status = 200, contentType, body, headers: own = NO_HEADERS }: OpsAnswer): void =>
      answer(response, status, contentType, body, [...headers, ...own], isHead);
    const answered = page.answer({ query: new Query(request.getQuery()), draining: this.#draining });
    if (!(answered instanceof Promise)) {
      write(answered);
      return;
    }
    let gone = false;
    response.onAborted(() => {
      gone = true;
    });
    answered.then(
      (made) => {
        if (!gone) write(made);
      },
      (error: unknown) => {
        if (!gone) this.#refuse(response, error, headers, isHead);
      },
    );
  }
}

/** Runs a task whose exception would otherwise leave through native code. native-notes/unanswered-request-kills.md */
function attempt(task: () => void, failed: (error: unknown) => void): void {
  try {
    task();
  } catch (error) {
    failed(error);
  }
}

function receiptOf({ ids, subscribers }: Published): Receipt {
  return { firstId: ids[0] as number, lastId: ids.at(-1) as number, count: ids.length, subscribers };
}
