/** The router: decides what a request is, checks who may do it, and hands it on. Everything it reads, it reads in the request's turn. */
import type { Counters } from './counters.js';
import { checkEventType } from './core/event.js';
import type { Hub } from './core/hub.js';
import { HoldlineError } from './errors.js';
import { ACCEPTS_PER_SECOND } from './limits.js';
import type { Holder, HttpRequest, HttpResponse } from './native/uws.js';
import { LANDING_PAGE, type Ops } from './ops/ops.js';
import { answer, answerJson, refuse, refuseStreamForNow, type Headers } from './transports/answer.js';
import type { Guard } from './transports/guard.js';
import { bodyKindOf, bodyLimit, publishedJson, readEvents, receiveBody } from './transports/publish.js';
import { channelOf, channelsOf, positionOf, Query, transportOf } from './transports/request.js';
import { openStream, writeStreamHead, type StreamRequest } from './transports/sse.js';

/** What `authorize` is told of a request. */
export interface AuthorizeRequest {
  readonly action: 'subscribe' | 'publish';
  readonly channels: readonly string[];
  /** Header fields by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** The query as it stands, without the question mark. */
  readonly query: string;
}

/** True lets the request through, false answers 403 HOLDLINE_FORBIDDEN. Runs after the keys have been checked. */
export type Authorize = (request: AuthorizeRequest) => boolean | Promise<boolean>;

export interface RouterOptions {
  readonly maxConnections: number;
  readonly maxEventBytes: number;
  readonly retryMs: number;
  readonly authorize: Authorize | undefined;
  /** Told of what is not the client's fault. */
  readonly report: (error: unknown) => void;
}

const ALLOWED_METHODS = 'GET, HEAD, POST, OPTIONS';
const ALLOWED_OPS_METHODS = 'GET, HEAD';

/** What a page may send with a request to a channel of another origin. */
const PREFLIGHT: Headers = [
  ['Access-Control-Allow-Methods', ALLOWED_METHODS],
  ['Access-Control-Allow-Headers', 'Authorization, Content-Type, Last-Event-ID'],
  ['Access-Control-Max-Age', '600'],
];

export class Router {
  /** Set while the server drains: no line is opened and nothing is published any more. */
  draining = false;

  readonly #hub: Hub<HttpResponse>;
  readonly #guard: Guard;
  readonly #ops: Ops;
  readonly #counters: Counters;
  readonly #holder: Holder;
  readonly #options: RouterOptions;

  constructor(hub: Hub<HttpResponse>, guard: Guard, ops: Ops, counters: Counters, holder: Holder, options: RouterOptions) {
    this.#hub = hub;
    this.#guard = guard;
    this.#ops = ops;
    this.#counters = counters;
    this.#holder = holder;
    this.#options = options;
  }

  /** Answers a request, in its turn of the loop or later. */
  readonly handle = (response: HttpResponse, request: HttpRequest): void => {
    this.#counters.requests_total++;
    const method = request.getMethod();
    const headers = this.#guard.corsHeaders(request);
    try {
      const path = request.getUrl();
      if (path.startsWith('/-/')) this.#handleOps(response, request, method, path, headers);
      else if (method === 'post') this.#handlePublish(response, request, path, headers);
      else if (method === 'get' || method === 'head') this.#handleGet(response, request, path, headers, method === 'head');
      else this.#handleOther(response, request, method, path, headers);
    } catch (error) {
      this.#refuse(response, error, headers, method === 'head');
    }
  };

  #refuse(response: HttpResponse, error: unknown, headers: Headers, isHead: boolean): void {
    if (!(error instanceof HoldlineError)) this.#options.report(error);
    refuse(response, error, this.#counters, headers, isHead);
  }

  #handleGet(response: HttpResponse, request: HttpRequest, path: string, headers: Headers, isHead: boolean): void {
    this.#guard.checkHost(request);
    if (path === '/') {
      answer(response, 200, 'text/html; charset=utf-8', LANDING_PAGE, headers, isHead);
      return;
    }
    const channels = channelsOf(path);
    const query = new Query(request.getQuery());
    const transport = transportOf(request, query);
    if (transport !== 'sse') {
      const message = `this version answers with event streams only, not by ${transport}; ask with Accept: text/event-stream`;
      throw new HoldlineError('HOLDLINE_NOT_IMPLEMENTED', message);
    }
    const position = positionOf(request.getHeader('last-event-id'), query);
    const stream: StreamRequest = { channels, position, envelope: query.isSet('envelope'), headers };
    if (isHead) {
      writeStreamHead(response, headers);
      response.endWithoutBody();
      return;
    }
    this.#authorized(response, request, 'subscribe', channels, headers, () => this.#open(response, stream));
  }

  #open(response: HttpResponse, stream: StreamRequest): void {
    try {
      if (this.draining) throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down');
      if (this.#hub.lines.open >= this.#options.maxConnections) {
        throw new HoldlineError(
          'HOLDLINE_LINES_FULL',
          `${this.#options.maxConnections} lines are open already (--max-connections)`,
        );
      }
      openStream(this.#hub, this.#holder, response, stream, this.#retryMs());
    } catch (error) {
      if (!(error instanceof HoldlineError)) throw error;
      refuseStreamForNow(response, error, this.#retryMs(), this.#counters, stream.headers);
    }
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
    if (request.getHeader('idempotency-key') !== '') {
      throw new HoldlineError('HOLDLINE_NOT_IMPLEMENTED', 'this version does not keep idempotency keys; publish without one');
    }
    const queryType = new Query(request.getQuery()).get('event');
    const type = queryType === undefined ? undefined : checkEventType(queryType);
    const kind = bodyKindOf(request.getHeader('content-type'));
    if (this.draining)
      throw new HoldlineError('HOLDLINE_DRAINING', 'the server is shutting down; publish to another, or after its restart');
    const { maxEventBytes } = this.#options;

    let gone = false;
    const fail = (error: unknown): void => {
      if (!gone) this.#refuse(response, error, headers, false);
    };
    const publish = (body: Buffer): void => {
      this.#hub.publish(channel, readEvents(channel, kind, type, body, maxEventBytes)).then((published) => {
        this.#counters.publish_requests_total++;
        if (!gone) answerJson(response, publishedJson(published, kind), headers);
      }, fail);
    };
    let allowed = (): void => {};
    let body: Buffer | undefined;
    // The body comes whether or not `authorize` has answered: uWebSockets hands it over only in this turn's handlers.
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
    this.#whenAuthorized(request, 'publish', [channel], fail, () => {
      allowed = () => {
        try {
          publish(body as Buffer);
        } catch (error) {
          fail(error);
        }
      };
      if (body !== undefined) allowed();
    });
  }

  /** Runs `then` at once when nothing has to be asked, so that the common way costs nothing. */
  #whenAuthorized(
    request: HttpRequest,
    action: AuthorizeRequest['action'],
    channels: readonly string[],
    fail: (error: unknown) => void,
    then: () => void,
  ): void {
    const { authorize } = this.#options;
    if (authorize === undefined) {
      then();
      return;
    }
    const headers: Record<string, string> = {};
    request.forEach((name, value) => {
      headers[name] = value;
    });
    const decide = (allowed: boolean): void => {
      if (allowed) then();
      else fail(new HoldlineError('HOLDLINE_FORBIDDEN', `${action} on ${channels.join(',')} is not allowed to this client`));
    };
    const answered = authorize({ action, channels, headers, query: request.getQuery() ?? '' });
    if (typeof answered === 'boolean') decide(answered);
    else answered.then(decide, fail).catch(fail);
  }

  /** As {@link Router.#whenAuthorized} for a request without a body, whose response is held until the answer comes. */
  #authorized(
    response: HttpResponse,
    request: HttpRequest,
    action: AuthorizeRequest['action'],
    channels: readonly string[],
    headers: Headers,
    then: () => void,
  ): void {
    if (this.#options.authorize === undefined) {
      then();
      return;
    }
    let gone = false;
    response.onAborted(() => {
      gone = true;
    });
    const fail = (error: unknown): void => {
      if (!gone) this.#refuse(response, error, headers, false);
    };
    this.#whenAuthorized(request, action, channels, fail, () => {
      if (!gone) response.cork(then);
    });
  }

  #handleOther(response: HttpResponse, request: HttpRequest, method: string, path: string, headers: Headers): void {
    this.#guard.checkHost(request);
    if (path !== '/') channelsOf(path);
    if (method === 'options') {
      const isPreflight = headers.some(([name]) => name === 'Access-Control-Allow-Origin');
      answerEmpty(response, [...headers, ['Allow', ALLOWED_METHODS], ...(isPreflight ? PREFLIGHT : [])]);
      return;
    }
    if (method === 'delete') {
      throw new HoldlineError('HOLDLINE_NOT_IMPLEMENTED', 'this version does not delete channels');
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
    const page = path.slice('/-/'.length);
    if (page !== 'health' && page !== 'ready' && page !== 'stats') {
      throw new HoldlineError(
        'HOLDLINE_NOT_FOUND',
        `nothing is at ${path.slice(0, 200)}; there are /-/health, /-/ready and /-/stats`,
      );
    }
    if (method !== 'get' && !isHead) {
      this.#refuseMethod(response, method, ALLOWED_OPS_METHODS, headers);
      return;
    }
    if (page === 'health') {
      answerJson(response, '{"status":"ok"}', headers, isHead);
    } else if (page === 'ready') {
      const body = this.draining ? '{"status":"draining"}' : '{"status":"ready"}';
      answer(response, this.draining ? 503 : 200, 'application/json', body, headers, isHead);
    } else {
      this.#guard.checkHost(request);
      this.#guard.checkOps(request);
      answerJson(response, JSON.stringify(this.#ops.stats(this.draining)), headers, isHead);
    }
  }
}

function answerEmpty(response: HttpResponse, headers: Headers): void {
  response.writeStatus('204 No Content');
  response.writeHeader('Cache-Control', 'no-store');
  response.writeHeader('X-Content-Type-Options', 'nosniff');
  for (const [name, value] of headers) response.writeHeader(name, value);
  response.endWithoutBody();
}
