/** Who may do what: keys, the program's own word, foreign pages, the Host header, and CORS. */
import crypto from 'node:crypto';
import { inspect } from 'node:util';
import { HoldlineError } from '../errors.js';
import { NO_HEADERS, type Headers } from './answer.js';
import type { Head } from './head.js';

/** What `authorize` is told of a request. */
export interface AuthorizeRequest {
  readonly action: 'subscribe' | 'publish' | 'delete';
  readonly channels: readonly string[];
  /** Header fields by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** The query as it stands, without the question mark. */
  readonly query: string;
}

/**
 * True lets the request through, false answers 403 HOLDLINE_FORBIDDEN; so does anything else, which
 * is reported as a fault. When it throws or rejects the answer is 500. Runs after the keys have
 * been checked.
 */
export type Authorize = (request: AuthorizeRequest) => boolean | Promise<boolean>;

/**
 * What a WebSocket's client may publish: an error is what it is told, whatever it publishes; a
 * function is asked for each publish, and throws or rejects with what the client is told; undefined
 * lets all through.
 */
export type RightToPublish =
  | HoldlineError
  | ((channel: string) => void | Promise<void>)
  | undefined;

export interface GuardOptions {
  readonly publishKey: string | undefined;
  readonly openPublish: boolean;
  readonly opsKey: string;
  readonly allowOrigin: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly authorize: Authorize | undefined;
  /** Told of what `authorize` should not answer. */
  readonly report: (error: unknown) => void;
}

/**
 * Names under which a server without keys may be asked: another name that resolves here is a DNS
 * rebinding page's.
 */
const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

const EXPOSED = 'Holdline-Position, Retry-After';

/** SHA-256 of a key: equal length, so that comparing takes the same time whatever was sent. */
function digest(key: string): Buffer {
  // One call where this Node has it (from 20.12 on), a third of the time of three.
  if (crypto.hash === undefined) return crypto.createHash('sha256').update(key).digest();
  return crypto.hash('sha256', key, 'buffer');
}

export class Guard {
  readonly #publishKey: Buffer | undefined;
  readonly #openPublish: boolean;
  readonly #opsKey: Buffer;
  readonly #origins: ReadonlySet<string>;
  /** Undefined when any Host is served: whoever may publish has a key. */
  readonly #hosts: ReadonlySet<string> | undefined;
  /** The last Host that was found good: nearly all requests have the same. */
  #lastHost: string | undefined;

  readonly #authorize: Authorize | undefined;
  readonly #report: (error: unknown) => void;

  constructor(options: GuardOptions) {
    this.#authorize = options.authorize;
    this.#report = options.report;
    this.#publishKey = options.publishKey === undefined ? undefined : digest(options.publishKey);
    this.#openPublish = options.openPublish;
    this.#opsKey = digest(options.opsKey);
    this.#origins = new Set(options.allowOrigin);
    this.#hosts =
      options.publishKey === undefined
        ? new Set([...LOCAL_HOSTS, ...options.allowedHosts])
        : undefined;
  }

  /**
   * Throws HOLDLINE_BAD_HOST when a server without a publish key is asked under a name that is not
   * its own.
   */
  checkHost(head: Head): void {
    if (this.#hosts === undefined) return;
    const host = head.get('host');
    if (host === this.#lastHost) return;
    const name = host.replace(/:\d*$/, '').toLowerCase();
    if (!this.#hosts.has(name)) {
      throw new HoldlineError(
        'HOLDLINE_BAD_HOST',
        `the Host ${JSON.stringify(host.slice(0, 200))} is not served without a publish key; ask for localhost, or start with --allowed-hosts or --publish-key`,
      );
    }
    this.#lastHost = host;
  }

  /**
   * Throws HOLDLINE_CROSS_SITE when a page of another site asks for something that is more than
   * reading a channel.
   */
  checkSite(head: Head): void {
    const origin = head.get('origin');
    const isForeign = origin !== '' && origin.replace(/^https?:\/\//, '') !== head.get('host');
    if (!isForeign && head.get('sec-fetch-site') !== 'cross-site') return;
    // A star lets every page read; writing needs the origin by name.
    if (this.#origins.has(origin)) return;
    throw new HoldlineError(
      'HOLDLINE_CROSS_SITE',
      `a page of ${JSON.stringify(origin.slice(0, 200) || 'another site')} may not do this here; start with --allow-origin and that origin`,
    );
  }

  /**
   * Throws HOLDLINE_UNAUTHORIZED unless the request may publish. The key is a header, never a
   * query: queries end up in logs.
   */
  checkPublish(head: Head): void {
    if (this.#openPublish) return;
    if (this.#publishKey === undefined) {
      throw new HoldlineError(
        'HOLDLINE_UNAUTHORIZED',
        'nobody may publish over HTTP here; start with --publish-key KEY, or --open-publish for everyone',
      );
    }
    if (!bearerIs(head, this.#publishKey)) {
      throw new HoldlineError(
        'HOLDLINE_UNAUTHORIZED',
        'publishing takes the header Authorization: Bearer with the publish key',
      );
    }
  }

  /**
   * Throws HOLDLINE_UNAUTHORIZED unless the request has the ops key. An address or a forwarded
   * header proves nothing. native-notes/proxy-on-this-machine.md
   */
  checkOps(head: Head): void {
    if (!bearerIs(head, this.#opsKey)) {
      throw new HoldlineError(
        'HOLDLINE_UNAUTHORIZED',
        'this takes the header Authorization: Bearer with the ops key (--ops-key, or the one logged at start)',
      );
    }
  }

  /**
   * Asks the program that embeds the server. Undefined: it may, and nothing has to be waited for.
   * Throws or rejects with HOLDLINE_FORBIDDEN, and with what the program throws.
   */
  authorize(
    head: Head,
    action: AuthorizeRequest['action'],
    channels: readonly string[],
  ): Promise<void> | undefined {
    return this.#authorize === undefined
      ? undefined
      : this.#ask({ ...visiblePartOf(head), action, channels });
  }

  #ask(request: AuthorizeRequest): Promise<void> | undefined {
    // What a program answers may be anything, whatever its type says.
    const answered: unknown = this.#authorize?.(request);
    if (isThenable(answered))
      return Promise.resolve(answered).then((later) => this.#decide(later, request));
    this.#decide(answered, request);
    return undefined;
  }

  #decide(answered: unknown, { action, channels }: AuthorizeRequest): void {
    if (answered === true) return;
    if (answered !== false) {
      this.#report(
        new TypeError(
          `authorize answered ${inspect(answered, { depth: 0 })} in place of true or false: refused`,
        ),
      );
    }
    throw new HoldlineError(
      'HOLDLINE_FORBIDDEN',
      `${action} on ${channels.join(',')} is not allowed to this client`,
    );
  }

  /**
   * What the client of a WebSocket may publish: as over HTTP, by the headers of its handshake.
   * `wrongKey` is called for one that came with a key that is not the right one.
   */
  rightToPublish(head: Head, wrongKey: () => void): RightToPublish {
    try {
      this.checkPublish(head);
    } catch (error) {
      if (head.get('authorization') !== '') wrongKey();
      return error as HoldlineError;
    }
    if (this.#authorize === undefined) return undefined;
    const asked = visiblePartOf(head);
    return (channel) => this.#ask({ ...asked, action: 'publish', channels: [channel] });
  }

  /** Headers that let the asking page read the answer; none when its origin is not allowed. */
  corsHeaders(head: Head): Headers {
    if (this.#origins.size === 0) return NO_HEADERS;
    const origin = head.get('origin');
    if (this.#origins.has(origin)) {
      return [
        ['Access-Control-Allow-Origin', origin],
        ['Access-Control-Expose-Headers', EXPOSED],
        ['Vary', 'Origin'],
      ];
    }
    if (this.#origins.has('*')) {
      return [
        ['Access-Control-Allow-Origin', '*'],
        ['Access-Control-Expose-Headers', EXPOSED],
      ];
    }
    return [['Vary', 'Origin']];
  }
}

function bearerIs(head: Head, key: Buffer): boolean {
  const match = /^bearer +(.+)$/i.exec(head.get('authorization'));
  return match !== null && crypto.timingSafeEqual(digest(match[1] as string), key);
}

/** What a program may see of a request. */
function visiblePartOf(head: Head): Pick<AuthorizeRequest, 'headers' | 'query'> {
  return { headers: head.toObject(), query: head.query ?? '' };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
