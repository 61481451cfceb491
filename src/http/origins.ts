/**
 * Origins: what pages of which origin may do, and the headers of CORS that tell their browsers.
 *
 * A browser sends what any page asks it to send, with the visitor's cookies, from inside the
 * visitor's network. So whatever changes something (POST, DELETE), reads with cookies past CORS
 * (WebSocket) or needs the ops key (`/-/`) is refused by the browser's own word, `Origin` and
 * `Sec-Fetch-Site`, unless the page's origin is listed by name (CSRF, cross-site WebSocket
 * hijacking). `*` lets every page listen and no more: without cookies, since a browser hands over
 * no answer with `*` to a request that had them. A page that has its own name resolve to this
 * address (DNS rebinding) is of this origin; it is stopped by its Host (guard.ts).
 */
import { HoldlineError } from '../errors.js';
import { PREFLIGHT_ECHO_CHARS_MAX } from '../limits.js';
import { NO_HEADERS, type Headers } from './answer.js';
import type { Head } from './head.js';

/** Answer headers that a page of another origin may read, beside those that CORS always allows. */
const EXPOSED: readonly [string, string] = [
  'Access-Control-Expose-Headers',
  'Holdline-Position, Retry-After',
];

const BY_ORIGIN: readonly [string, string] = ['Vary', 'Origin'];

/** Methods of a page that may only listen. */
const LISTENING = 'GET, HEAD';

/** Request headers that mean something here; a preflight allows them without being asked. */
const KNOWN_HEADERS = ['Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID'];

/** How long a browser remembers the answer to a preflight, seconds. */
const PREFLIGHT_MAX_AGE_SECONDS = 600;

/** A field name (RFC 9110, 5.1), but not `*`, which would stand for all names. */
const FIELD_NAME = /^(?!\*$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** An origin that can be shown as part of a command. */
const PLAIN_ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9.:[\]_-]{1,255}$/;

export class Origins {
  /** Headers of every answer to a page of a listed origin, by origin. */
  readonly #named = new Map<string, Headers>();
  /** Headers of every other answer. */
  readonly #others: Headers;
  readonly #everyPageListens: boolean;
  readonly #isTls: boolean;

  /** Takes `--allow-origin`, and whether this server itself has the TLS. */
  constructor(allowed: readonly string[], isTls = false) {
    this.#isTls = isTls;
    const names = allowed.filter((origin) => origin !== '*');
    for (const origin of names) {
      this.#named.set(origin, [
        ['Access-Control-Allow-Origin', origin],
        ['Access-Control-Allow-Credentials', 'true'],
        EXPOSED,
        BY_ORIGIN,
      ]);
    }
    this.#everyPageListens = names.length < allowed.length;
    const vary = names.length > 0 ? [BY_ORIGIN] : NO_HEADERS;
    this.#others = this.#everyPageListens
      ? [['Access-Control-Allow-Origin', '*'], EXPOSED, ...vary]
      : vary;
  }

  /**
   * Headers that let the page read the answer, whatever it is; none of them if its origin is not
   * allowed.
   */
  answerHeaders(head: Head): Headers {
    if (this.#named.size === 0) return this.#others;
    return this.#named.get(head.get('origin')) ?? this.#others;
  }

  /** Throws HOLDLINE_CROSS_SITE for a page of another origin that is not listed by name. */
  checkSite(head: Head): void {
    const origin = head.get('origin');
    const isForeign = origin !== '' && !isOwn(origin, head.get('host'), this.#isTls);
    if (!isForeign && head.get('sec-fetch-site') !== 'cross-site') return;
    if (!this.#named.has(origin)) throw this.#refusal(origin);
  }

  /** True if the page may listen: `*` is enough for that. */
  mayListen(head: Head): boolean {
    return this.#everyPageListens || this.#named.has(head.get('origin'));
  }

  /**
   * What the answer to a preflight allows (Fetch Standard, CORS-preflight fetch); undefined if the
   * request is none. It allows any header, and names the methods that are not refused: the request
   * itself is checked when it comes, and its refusal can then be read, which that of a preflight
   * cannot. Throws HOLDLINE_CROSS_SITE for an origin that is not allowed anything.
   */
  preflight(head: Head, methods: string): Headers | undefined {
    if (head.method !== 'OPTIONS') return undefined;
    const origin = head.get('origin');
    const requested = head.get('access-control-request-headers');
    const isPreflight = head.get('access-control-request-method') !== '' || requested !== '';
    if (!isPreflight || origin === '' || isOwn(origin, head.get('host'), this.#isTls))
      return undefined;
    if (!this.mayListen(head)) throw this.#refusal(origin);
    const headers: [string, string][] = [
      ['Access-Control-Allow-Methods', this.#named.has(origin) ? methods : LISTENING],
      ['Access-Control-Allow-Headers', allowedHeaders(requested).join(', ')],
      ['Access-Control-Max-Age', String(PREFLIGHT_MAX_AGE_SECONDS)],
    ];
    // Asked by browsers that keep public pages from private addresses (Private Network Access).
    if (head.get('access-control-request-private-network') === 'true')
      headers.push(['Access-Control-Allow-Private-Network', 'true']);
    return headers;
  }

  #refusal(origin: string): HoldlineError {
    return new HoldlineError('HOLDLINE_CROSS_SITE', refusalOf(origin, this.#everyPageListens));
  }
}

/**
 * True for a person who follows a link, types an address or reloads, wherever the link was: a page
 * cannot make other requests look like it (Fetch Metadata). A frame is none, since what it shows
 * may be clicked on unknowingly.
 */
export function isNavigation(head: Head): boolean {
  if (head.method !== 'GET' || head.get('sec-fetch-mode') !== 'navigate') return false;
  const destination = head.get('sec-fetch-dest');
  return destination === '' || destination === 'document';
}

/**
 * True if the origin is the server's own. Where TLS ends in front of the server its scheme is not
 * known here. Where the server has the TLS, a page of plain HTTP is foreign: anybody on the way may
 * have written it. Proxies may name the default port, which an origin never does.
 */
function isOwn(origin: string, host: string, isTls: boolean): boolean {
  if (origin.startsWith('http://')) return !isTls && isSame(origin.slice(7), host, ':80');
  return origin.startsWith('https://') && isSame(origin.slice(8), host, ':443');
}

function isSame(originHost: string, host: string, defaultPort: string): boolean {
  return originHost === host || originHost + defaultPort === host;
}

/** The known headers and those that were asked for, as far as these are names and fit. */
function allowedHeaders(requested: string): string[] {
  const allowed = [...KNOWN_HEADERS];
  const seen = new Set(allowed.map((name) => name.toLowerCase()));
  let chars = 0;
  for (const item of requested.split(',')) {
    const name = item.trim();
    if (!FIELD_NAME.test(name) || seen.has(name.toLowerCase())) continue;
    chars += name.length;
    if (chars > PREFLIGHT_ECHO_CHARS_MAX) break;
    seen.add(name.toLowerCase());
    allowed.push(name);
  }
  return allowed;
}

/** What was refused to a page of that origin, and the flag that would allow it. */
function refusalOf(origin: string, everyPageListens: boolean): string {
  const limit = everyPageListens
    ? ": --allow-origin '*' lets them only listen, and not over WebSocket"
    : '';
  if (origin === 'null') {
    return (
      `pages without an origin (files, sandboxed frames) may not do this${limit}; ` +
      (everyPageListens ? '' : "to let them listen, start the server with --allow-origin '*'; ") +
      'to let the page do more, serve it over HTTP and give --allow-origin its origin'
    );
  }
  const shown = origin === '' ? 'another site' : JSON.stringify(origin.slice(0, 200));
  const name = PLAIN_ORIGIN.test(origin) ? origin : 'and their origin';
  return `pages of ${shown} may not do this${limit}; to allow it, start the server with --allow-origin ${name}`;
}
