/** The guard: who may do what, by keys, the program's `authorize`, Host and Origin. */
import { inspect } from 'node:util';
import { HoldlineError } from '../errors.js';
import type { Authorize, AuthorizeRequest } from './authorize.js';
import { checkBearer, opsKey, publishKey, type Needed } from './bearer.js';
import type { Head } from './head.js';
import { Origins } from './origins.js';

/**
 * What a WebSocket's client may publish. Undefined: everything. An error: nothing, and it answers
 * every publish. A function decides for each publish, and throws or rejects with the refusal.
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
  /** Gets an answer of `authorize` that is neither true nor false. */
  readonly report: (error: unknown) => void;
}

/**
 * The Host of a server without keys: any other name that resolves here may belong to a page that
 * uses DNS rebinding.
 */
const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

export class Guard {
  readonly origins: Origins;
  readonly #publishKey: Needed | undefined;
  readonly #openPublish: boolean;
  readonly #opsKey: Needed;
  /** Undefined if any Host is served: with a publish key, rebinding pages cannot publish. */
  readonly #hosts: ReadonlySet<string> | undefined;
  /** The last Host that was allowed: nearly all requests have the same. */
  #lastHost: string | undefined;
  readonly #authorize: Authorize | undefined;
  readonly #report: (error: unknown) => void;

  constructor(options: GuardOptions) {
    this.#authorize = options.authorize;
    this.#report = options.report;
    this.#publishKey =
      options.publishKey === undefined ? undefined : publishKey(options.publishKey);
    this.#openPublish = options.openPublish;
    this.#opsKey = opsKey(options.opsKey);
    this.origins = new Origins(options.allowOrigin);
    this.#hosts =
      options.publishKey === undefined
        ? new Set([...LOCAL_HOSTS, ...options.allowedHosts])
        : undefined;
  }

  /** Who may publish over HTTP: everyone, clients with the key, or nobody. */
  get publishing(): 'open' | 'key' | 'off' {
    if (this.#openPublish) return 'open';
    return this.#publishKey === undefined ? 'off' : 'key';
  }

  /** The credential of whoever may publish; undefined where none is needed. */
  get publisher(): string | undefined {
    return this.#openPublish ? undefined : 'key:publish';
  }

  /** Throws HOLDLINE_BAD_HOST if there is no publish key and the Host is not the server's own. */
  checkHost(head: Head): void {
    if (this.#hosts === undefined) return;
    const host = head.get('host');
    if (host === this.#lastHost) return;
    const name = host.replace(/:\d*$/, '').toLowerCase();
    if (!this.#hosts.has(name)) {
      throw new HoldlineError(
        'HOLDLINE_BAD_HOST',
        `the Host ${JSON.stringify(host.slice(0, 200))} is not served without a publish key; use localhost, or start the server with --allowed-hosts or --publish-key`,
      );
    }
    this.#lastHost = host;
  }

  /**
   * Throws HOLDLINE_UNAUTHORIZED unless the request may publish. The key is read from a header and
   * never from the query, because queries end up in logs.
   */
  checkPublish(head: Head): void {
    if (this.#openPublish) return;
    if (this.#publishKey === undefined) {
      throw new HoldlineError(
        'HOLDLINE_UNAUTHORIZED',
        'publishing over HTTP is off; start the server with --publish-key KEY, or with --open-publish for everyone',
      );
    }
    checkBearer(head, this.#publishKey);
  }

  /**
   * Throws HOLDLINE_UNAUTHORIZED unless the request has the ops key. Neither an address nor a
   * forwarded header proves anything. native-notes/proxy-on-this-machine.md
   */
  checkOps(head: Head): void {
    checkBearer(head, this.#opsKey);
  }

  /**
   * Asks the embedding program's `authorize`. Returns undefined if the request may go on at once,
   * else a promise. Throws or rejects with HOLDLINE_FORBIDDEN, and with what the program throws.
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
    // A program may answer anything, whatever its type says.
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
          `authorize must answer true or false (got ${inspect(answered, { depth: 0 })}); the request was refused`,
        ),
      );
    }
    throw new HoldlineError(
      'HOLDLINE_FORBIDDEN',
      `this client is not allowed to ${action} on ${channels.join(',')}`,
    );
  }

  /**
   * What the client of a WebSocket may publish: as over HTTP, by the headers of its handshake.
   * Calls `wrongKey` if these have a wrong key.
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
}

/** What `authorize` may see of a request. */
function visiblePartOf(head: Head): Pick<AuthorizeRequest, 'headers' | 'query'> {
  return { headers: head.toObject(), query: head.query ?? '' };
}

/** True for a promise of any make. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
