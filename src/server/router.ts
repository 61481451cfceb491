/** The router: decides what kind of request it is, checks who may make it, and hands it on. */
import { BadCredential } from '../auth/bad-credential.js';
import { HoldlineError, isTemporary } from '../errors.js';
import { NO_HEADERS } from '../http/answer.js';
import { andThen } from '../http/credentials.js';
import { checkPublishing, Exchange, type Exchanges } from '../http/exchange.js';
import type { FailedKeys } from '../http/failed-keys.js';
import { checkFraming } from '../http/framing.js';
import type { Guard } from '../http/guard.js';
import { Head } from '../http/head.js';
import { isNavigation } from '../http/origins.js';
import { Query } from '../http/query.js';
import { wantsPage } from '../http/refusal-page.js';
import { channelOf, channelsOf } from '../http/request.js';
import { PAGE_CONTENT_TYPE, PAGE_HEADERS } from '../http/small-page.js';
import type { UpgradeContext } from '../native/messages.js';
import type { HttpRequest, HttpResponse } from '../native/uws.js';
import { landingPage } from '../ops/landing.js';
import { pageNameOf, type OpsAnswer, type OpsPage, type OpsPages } from '../ops/page.js';
import { pagesInWords } from '../ops/pages.js';
import { publishRequestOf, type Publishing } from '../transports/publish.js';
import type { Subscribing } from '../transports/subscribe.js';

/** What the router hands requests to, and asks about them. */
export interface RouterParts {
  readonly exchanges: Exchanges;
  readonly guard: Guard;
  readonly failedKeys: FailedKeys;
  readonly pages: OpsPages;
  readonly actions: Actions;
  /** `--base-path`: everything is served below it; empty for the root. */
  readonly basePath: string;
  /** The server itself has the TLS. */
  readonly isTls: boolean;
  /** Operations have a port of their own, and are answered there only. */
  readonly hasOpsPort: boolean;
  readonly publishing: Publishing;
  readonly subscribing: Subscribing;
}

const ALLOWED_METHODS = 'GET, HEAD, POST, DELETE, OPTIONS';
const ALLOWED_PAGE_METHODS = 'GET, HEAD';
const ALLOWED_LANDING_METHODS = 'GET, HEAD, OPTIONS';

/**
 * What a method does at a path under `/-/` that is more than to show a page: it checks rights
 * itself, and answers, throws, or returns a promise if the answer comes later.
 */
export type Action = (exchange: Exchange, head: Head) => Promise<void> | undefined;

/** Actions by their path behind `/-/` (such as `tickets`), then by method. */
export type Actions = ReadonlyMap<string, ReadonlyMap<'GET' | 'POST' | 'DELETE', Action>>;

/** Actions of clients; all others are operations. */
const CLIENT_ACTIONS: ReadonlySet<string> = new Set(['tickets', 'publish', 'watch']);

export class Router {
  readonly #parts: RouterParts;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  /** Answers a request, in its turn of the loop or later. */
  readonly handle = (
    response: HttpResponse,
    request: HttpRequest,
    context?: UpgradeContext,
  ): void => this.#handle(response, request, context, false);

  /** Answers a request on the port of operations. */
  readonly handleOps = (response: HttpResponse, request: HttpRequest): void =>
    this.#handle(response, request, undefined, true);

  #handle(
    response: HttpResponse,
    request: HttpRequest,
    context: UpgradeContext | undefined,
    isOpsPort: boolean,
  ): void {
    const { exchanges, guard, basePath } = this.#parts;
    exchanges.counters.requests_total++;
    const head = new Head(request, basePath);
    const exchange = new Exchange(exchanges, response, head, guard.origins.answerHeaders(head));
    try {
      checkFraming(head);
      const answered = this.#route(exchange, head, context, isOpsPort);
      if (answered !== undefined)
        answered.catch((error: unknown) => this.#refuse(exchange, head, error));
    } catch (error) {
      this.#refuse(exchange, head, error);
    }
  }

  /** A wrong key is counted, and slows down further ones from its address. */
  #refuse(exchange: Exchange, head: Head, error: unknown): void {
    const isWrongKey = error instanceof BadCredential && !error.isExpired;
    const { failedKeys, subscribing } = this.#parts;
    if (error instanceof BadCredential && error.isTicket && error.isExpired)
      if (subscribing.endExpired(exchange, head, error)) return;
    if (exchange.transport === 'sse' && isTemporary(error))
      if (subscribing.refuseForNow(exchange, head, error as HoldlineError)) return;
    const refusal = isWrongKey && exchange.isOpen ? failedKeys.failed(exchange.client) : undefined;
    const asPage = wantsPage(head);
    if (refusal === undefined) {
      exchange.refuse(error, NO_HEADERS, asPage);
      return;
    }
    exchange.closeAfter();
    exchange.watch();
    failedKeys.holdBack(() => exchange.refuse(refusal, NO_HEADERS, asPage));
  }

  /** Returns a promise if the answer comes later; the exchange is watched then. */
  #route(
    exchange: Exchange,
    head: Head,
    context: UpgradeContext | undefined,
    isOpsPort: boolean,
  ): Promise<void> | undefined {
    if (head.path.startsWith('/-/')) return this.#answerOps(exchange, head, isOpsPort);
    if (isOpsPort || head.path === '') throw this.#nothingAt(head, isOpsPort);
    if (head.path === '/') {
      this.#answerLanding(exchange, head);
      return undefined;
    }
    switch (head.method) {
      case 'POST':
        return this.#publish(exchange, head);
      case 'DELETE':
        return this.#delete(exchange, head);
      case 'GET':
      case 'HEAD':
        return this.#subscribe(exchange, head, context);
      default:
        this.#answerOther(exchange, head, ALLOWED_METHODS);
        return undefined;
    }
  }

  #subscribe(
    exchange: Exchange,
    head: Head,
    context: UpgradeContext | undefined,
  ): Promise<void> | undefined {
    const { guard, subscribing } = this.#parts;
    guard.checkHost(head);
    const channels = channelsOf(head.path);
    const open = subscribing.opener(exchange, head, channels, context);
    return guard.whenGranted(exchange, guard.maySubscribe(head, channels), open);
  }

  #publish(exchange: Exchange, head: Head): Promise<void> {
    const { exchanges, guard, publishing } = this.#parts;
    guard.checkHost(head);
    guard.origins.checkSite(head);
    const channel = channelOf(head.path);
    const granted = guard.mayPublish(head, [channel]);
    // It may reject while the request is refused for something else.
    if (granted instanceof Promise) granted.catch(ignore);
    const request = publishRequestOf(head, channel);
    checkPublishing(exchanges);
    const network = publishing.isRated ? exchange.client.network : '';
    const rated = andThen(granted, (grant) => {
      publishing.takeRate(request, grant.rights, network);
      return grant;
    });
    return publishing.publish(exchange, head, request, rated);
  }

  #delete(exchange: Exchange, head: Head): Promise<void> {
    const { exchanges, guard, publishing } = this.#parts;
    guard.checkHost(head);
    guard.origins.checkSite(head);
    const channel = channelOf(head.path);
    const granted = guard.mayDelete(head, channel);
    if (granted instanceof Promise) granted.catch(ignore);
    new Query(head.query).checkNames('DELETE');
    checkPublishing(exchanges);
    return publishing.delete(exchange, channel, granted);
  }

  #answerLanding(exchange: Exchange, head: Head): void {
    if (head.method !== 'GET' && !exchange.isHead) {
      this.#answerOther(exchange, head, ALLOWED_LANDING_METHODS);
      return;
    }
    const { guard, pages, basePath, isTls, hasOpsPort } = this.#parts;
    guard.checkHost(head);
    const { publishing } = guard;
    const page = landingPage({ pages, publishing, basePath, isTls, hasOpsPort }, head);
    exchange.answer(200, PAGE_CONTENT_TYPE, page, PAGE_HEADERS);
  }

  /** Answers OPTIONS, and refuses methods that the path does not have. */
  #answerOther(exchange: Exchange, head: Head, allowed: string): void {
    const { guard } = this.#parts;
    const preflight = guard.origins.preflight(head, allowed);
    if (preflight !== undefined) {
      exchange.answerNothing([['Allow', allowed], ...preflight]);
      return;
    }
    guard.checkHost(head);
    if (head.path !== '/') channelsOf(head.path);
    if (head.method === 'OPTIONS') exchange.answerNothing([['Allow', allowed]]);
    else refuseMethod(exchange, allowed);
  }

  /** True if what is at a path under `/-/` is answered on that port. */
  #isHere(name: string, isOpsPort: boolean): boolean {
    const { pages, hasOpsPort } = this.#parts;
    const access = pages.get(name)?.access;
    if (!hasOpsPort || access === 'open') return true;
    const isForClients = access === 'host' || CLIENT_ACTIONS.has(name);
    return isForClients !== isOpsPort;
  }

  /** The refusal of a path at which nothing is on this port. */
  #nothingAt(head: Head, isOpsPort: boolean): HoldlineError {
    const { pages, actions, basePath } = this.#parts;
    if (head.path === '') {
      const problem = `there is nothing outside of ${basePath}/ (--base-path)`;
      return new HoldlineError('HOLDLINE_NOT_FOUND', problem);
    }
    const name = head.path.slice('/-/'.length);
    const here = new Map([...pages].filter(([page]) => this.#isHere(page, isOpsPort)));
    const demo = isOpsPort || pages.has('demo') ? '' : `; with --demo also ${basePath}/-/demo`;
    const problem =
      !isOpsPort && (pages.has(pageNameOf(name)) || actions.has(name))
        ? 'operations are answered on a port of their own (--ops-listen)'
        : `there is nothing at ${basePath}${head.path.slice(0, 200)}${isOpsPort ? ' on the port of operations' : ''}`;
    return new HoldlineError(
      'HOLDLINE_NOT_FOUND',
      `${problem}; there are ${pagesInWords(here, basePath)}${demo}`,
    );
  }

  #answerOps(exchange: Exchange, head: Head, isOpsPort: boolean): Promise<void> | undefined {
    const { guard, pages, actions } = this.#parts;
    const { origins } = guard;
    const name = head.path.slice('/-/'.length);
    const pageName = pageNameOf(name);
    const isHere = this.#isHere(pageName, isOpsPort);
    const page = isHere ? pages.get(pageName) : undefined;
    const ofPath = isHere ? actions.get(name) : undefined;
    const allowed = methodsOf(page, ofPath);
    const preflight = origins.preflight(head, allowed);
    if (preflight !== undefined) {
      exchange.answerNothing([['Allow', allowed], ...preflight]);
      return undefined;
    }
    const isLoaded = page?.isForPages === true && origins.mayListen(head);
    if (!isLoaded && !isNavigation(head)) origins.checkSite(head);
    if (page === undefined && ofPath === undefined) throw this.#nothingAt(head, isOpsPort);
    if (head.method === 'OPTIONS') {
      exchange.answerNothing([['Allow', allowed]]);
      return undefined;
    }
    const action = ofPath?.get(head.method as 'GET');
    if (action !== undefined) {
      guard.checkHost(head);
      return action(exchange, head);
    }
    if (page === undefined || (head.method !== 'GET' && !exchange.isHead)) {
      refuseMethod(exchange, allowed);
      return undefined;
    }
    return this.#answerPage(exchange, head, page);
  }

  #answerPage(exchange: Exchange, head: Head, page: OpsPage): Promise<void> | undefined {
    const { exchanges, guard } = this.#parts;
    const name = head.path.slice('/-/'.length);
    const show = (): Promise<void> | undefined => {
      const shown = page.answer({
        query: new Query(head.query),
        draining: exchanges.draining,
        rest: name.slice(pageNameOf(name).length),
      });
      if (shown instanceof Promise) return shown.then(answer);
      answer(shown);
      return undefined;
    };
    const answer = ({ status = 200, contentType, body, headers }: OpsAnswer): void =>
      exchange.answer(status, contentType, body, headers);
    if (page.access !== 'open') guard.checkHost(head);
    const shown = page.access === 'key' ? andThen(guard.mayOperate(head), show) : show();
    if (shown instanceof Promise) exchange.watch();
    return shown as Promise<void> | undefined;
  }
}

function ignore(): void {}

/** The methods of a path under `/-/`, as the field Allow lists them. */
function methodsOf(page: OpsPage | undefined, actions: ReadonlyMap<string, Action> | undefined) {
  const shown = page === undefined && actions !== undefined ? [] : [ALLOWED_PAGE_METHODS];
  return [...shown, ...(actions?.keys() ?? [])].join(', ');
}

function refuseMethod(exchange: Exchange, allowed: string): void {
  const error = new HoldlineError(
    'HOLDLINE_METHOD_NOT_ALLOWED',
    `${exchange.method.slice(0, 32)} is not supported here; allowed: ${allowed}`,
  );
  exchange.refuse(error, [['Allow', allowed]]);
}
