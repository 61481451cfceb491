/** The guard: who may do what, by credentials, the program's `authorize`, Host and Origin. */
import { ANONYMOUS } from '../auth/anonymous.js';
import { BadCredential } from '../auth/bad-credential.js';
import type { JwksEvents } from '../auth/jwks.js';
import { Revocations, type Revocation, type RevocationStore } from '../auth/revocations.js';
import type { Action, Rights } from '../auth/rights.js';
import type { Tickets } from '../auth/tickets.js';
import { HoldlineError, internalError } from '../errors.js';
import { CHANNELS_PER_LINE_MAX } from '../limits.js';
import type { Authorize, AuthorizeRequest } from './authorize.js';
import {
  Credentials,
  forbidden,
  andThen,
  RIGHT_TO,
  type CredentialSettings,
  type Soon,
  type Wanted,
} from './credentials.js';
import { decisionOf } from './decision.js';
import type { Exchange } from './exchange.js';
import type { Head } from './head.js';
import { isNavigation, Origins } from './origins.js';

/**
 * What a WebSocket's client may publish. Undefined: everything. An error: nothing, and it answers
 * every publish. A function decides for each publish, and throws or rejects with the refusal.
 */
export type RightToPublish =
  | HoldlineError
  | ((channel: string) => void | Promise<void>)
  | undefined;

/** What can be changed while the server runs. */
export interface GuardSettings extends CredentialSettings {
  readonly allowedHosts: readonly string[];
  readonly allowOrigin: readonly string[];
}

export interface GuardOptions extends GuardSettings {
  readonly authorize: Authorize | undefined;
  /** The server itself has the TLS where it is given. */
  readonly tlsCert: string | undefined;
  readonly jwks: JwksEvents;
  /** Gets an answer of `authorize` that it may not give. */
  readonly report: (error: unknown) => void;
}

/** That a request may go on, on which channels, and whose it is. */
export interface Grant {
  readonly rights: Rights;
  /** Those asked for, or what the program's `authorize` gave for them. */
  readonly channels: readonly string[];
  readonly user: string | undefined;
  /** When its line ends, milliseconds since the epoch; Infinity for no end. */
  readonly endsAtMs: number;
}

/** True where the end of a grant is that of its ticket. */
export function endsWithTicket({ rights, endsAtMs }: Grant): boolean {
  return rights.credential.startsWith('ticket:') && endsAtMs === rights.expiresAtMs;
}

/**
 * The Host of a server without keys: any other name that resolves here may belong to a page that
 * uses DNS rebinding.
 */
const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

export class Guard {
  readonly #isTls: boolean;
  #origins: Origins;
  readonly #revocations: Revocations;
  readonly #jwks: JwksEvents;
  #credentials: Credentials;
  /** Undefined if any Host is served: publishing takes a credential that rebinding pages lack. */
  #hosts: ReadonlySet<string> | undefined;
  /** The last Host that was allowed: nearly all requests have the same. */
  #lastHost: string | undefined;
  readonly #authorize: Authorize | undefined;
  readonly #report: (error: unknown) => void;

  /** Throws HOLDLINE_BAD_OPTION for a key or a secret that is none. */
  constructor(options: GuardOptions) {
    this.#authorize = options.authorize;
    this.#report = options.report;
    this.#isTls = options.tlsCert !== undefined;
    this.#origins = new Origins(options.allowOrigin, this.#isTls);
    this.#revocations = new Revocations(options.jwtMaxLifetimeMs);
    this.#credentials = new Credentials(options, this.#revocations, options.jwks);
    this.#jwks = options.jwks;
    this.#hosts = hostsOf(options, this.#credentials);
  }

  /** What pages of other origins may do. */
  get origins(): Origins {
    return this.#origins;
  }

  /**
   * New keys, secrets and policies for the requests that come from now on; open lines stay. Throws
   * HOLDLINE_BAD_OPTION, and then nothing has changed.
   */
  reload(settings: GuardSettings): void {
    const before = this.#credentials;
    const credentials = new Credentials(settings, this.#revocations, this.#jwks, before);
    this.#credentials = credentials;
    this.#hosts = hostsOf(settings, credentials);
    this.#origins = new Origins(settings.allowOrigin, this.#isTls);
    this.#lastHost = undefined;
  }

  /**
   * Takes all rights from the credentials of a user that were issued until now, at once. Returns a
   * promise where that is kept over a restart, and rejects as `Revocations.keep` does. Throws
   * HOLDLINE_REVOCATIONS_FULL.
   */
  revoke(user: string, notBeforeMs?: number): Promise<void> | undefined {
    this.#revocations.revoke(user, notBeforeMs);
    return this.#revocations.keep(user);
  }

  /** Revokes what a store has, and keeps there what is revoked. Rejects as the store does. */
  keepRevocations(store: RevocationStore): Promise<void> {
    return this.#revocations.keepIn(store);
  }

  /**
   * Another server that shares the store has revoked a user. False when that was known already.
   * Throws HOLDLINE_REVOCATIONS_FULL.
   */
  revokedElsewhere({ user, notBeforeMs }: Revocation): boolean {
    return this.#revocations.revoke(user, notBeforeMs);
  }

  /** Who may publish over HTTP: everyone, clients with a credential, or nobody. */
  get publishing(): 'open' | 'key' | 'off' {
    const { publishing, hasPublishers } = this.#credentials;
    return hasPublishers ? publishing : 'off';
  }

  /** Undefined if the server makes no tickets. */
  get tickets(): Tickets | undefined {
    return this.#credentials.tickets;
  }

  /** Throws HOLDLINE_BAD_HOST if publishing takes no credential and the Host is not its own. */
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

  // ── who asks ───────────────────────────────────────────────────────────────────────────────────
  // At once for keys, later for tokens. Throws or rejects with what is wrong with a credential.

  /**
   * Who wants to publish, which is read from the header alone, and not at all where everyone may
   * and there are no credentials but the two keys. Keys never come in a query, which ends up in
   * logs. Throws as {@link Credentials.of} does.
   */
  publisher(head: Head): Soon<Rights> {
    const { publishing, areForReading, anonymous } = this.#credentials;
    if (publishing === 'off') throw this.#credentials.missing('publish');
    if (publishing === 'open' && !areForReading) return anonymous;
    return this.#credentials.of(head, 'publish');
  }

  /** Who wants something that needs a credential, by the header. */
  requester(head: Head, wanted: Wanted): Soon<Rights> {
    return andThen(this.#credentials.of(head, wanted), (rights) => {
      if (rights.credential === ANONYMOUS) throw this.#credentials.missing(wanted);
      return rights;
    });
  }

  // ── what it may ────────────────────────────────────────────────────────────────────────────────

  /**
   * Lets a request read all of the channels, or throws or rejects: HOLDLINE_UNAUTHORIZED without a
   * credential or with a bad one, HOLDLINE_FORBIDDEN, HOLDLINE_REVOKED, what `authorize` throws,
   * and HOLDLINE_CROSS_SITE for a page of another origin whose browser sent the cookie by itself.
   */
  maySubscribe(head: Head, channels: readonly string[]): Soon<Grant> {
    if (this.#credentials.hasCookie(head) && !isNavigation(head)) this.origins.checkSite(head);
    return andThen(this.#credentials.ofReader(head), (rights) =>
      this.permit(head, rights, 'subscribe', channels),
    );
  }

  /** Lets a request publish to all of the channels, or refuses as {@link maySubscribe} does. */
  mayPublish(head: Head, channels: readonly string[]): Soon<Grant> {
    return andThen(this.publisher(head), (rights) =>
      this.permit(head, rights, 'publish', channels),
    );
  }

  /**
   * Lets a request hand over a batch that names its channels, which are known when it has been read
   * ({@link mayPublishAll}): refuses whoever may publish to no channel at all.
   */
  mayPublishSome(head: Head): Soon<Rights> {
    return andThen(this.publisher(head), (rights) => {
      this.#checkPublishesSomewhere(rights);
      return rights;
    });
  }

  /**
   * Lets whoever handed over a batch publish to all of its channels, in one decision, or refuses as
   * {@link mayPublish} does.
   */
  mayPublishAll(head: Head, rights: Rights, channels: readonly string[]): Soon<Grant> {
    return this.permit(head, rights, 'publish', channels);
  }

  /** Lets a request delete the channel, or refuses as {@link maySubscribe} does. */
  mayDelete(head: Head, channel: string): Soon<Grant> {
    return andThen(this.requester(head, 'delete'), (rights) =>
      this.permit(head, rights, 'delete', [channel]),
    );
  }

  /**
   * Lets a request operate, which takes the ops key or another key that may. Neither an address nor
   * a forwarded header proves anything. native-notes/proxy-on-this-machine.md
   */
  mayOperate(head: Head): Soon<Rights> {
    return andThen(this.requester(head, 'ops'), (rights) => {
      if (!rights.isOps) throw forbidden('ops');
      return rights;
    });
  }

  /**
   * Lets a request watch the counts of the channels that its credential has the right to watch, or
   * of all if it may operate; the program's `authorize` is not asked. Refuses as {@link
   * maySubscribe} does.
   */
  mayWatch(head: Head): Soon<Grant> {
    return andThen(this.requester(head, 'watch'), (rights) => {
      if (!rights.isOps && rights.reach('watch') === 'none')
        throw forbidden('watch', 'any channel');
      const { user, expiresAtMs = Infinity } = rights;
      return { rights, channels: [], user, endsAtMs: expiresAtMs };
    });
  }

  /** Throws as {@link Credentials.check} does unless the rights reach to each channel. */
  checkRights(rights: Rights, action: Action, channels: readonly string[]): void {
    this.#credentials.check(rights, action, channels);
  }

  /**
   * What somebody may, first by the rights and then by the program's `authorize`. Throws or rejects
   * with HOLDLINE_UNAUTHORIZED, HOLDLINE_FORBIDDEN, and with what the program throws.
   */
  permit(
    head: Head,
    rights: Rights,
    action: AuthorizeRequest['action'],
    channels: readonly string[],
  ): Soon<Grant> {
    this.#credentials.check(rights, action, channels);
    const { user, expiresAtMs = Infinity } = rights;
    if (this.#authorize === undefined) return { rights, channels, user, endsAtMs: expiresAtMs };
    return this.#ask({ ...visiblePartOf(head), action, channels, user }, rights);
  }

  /**
   * Throws if a grant is worth nothing any more: time has passed since it was given, in which its
   * user may have been revoked.
   */
  checkGrant(grant: Grant): void {
    const { rights, user, endsAtMs } = grant;
    if (rights.issuedAtMs !== undefined) {
      this.#revocations.check(rights);
      // The program may know the user by another name.
      if (user !== rights.user) this.#revocations.check({ ...rights, user });
    }
    if (endsAtMs === Infinity || endsAtMs > Date.now()) return;
    const isTicket = endsWithTicket(grant);
    const what = isTicket ? 'ticket' : 'credential';
    throw new BadCredential(`the ${what} of this request has expired`, {
      isExpired: true,
      isTicket,
    });
  }

  /**
   * Opens a line, in a cork of the request: in this turn if the grant is known, else when it comes
   * and is still worth something.
   */
  whenGranted(
    exchange: Pick<Exchange, 'inCork' | 'watch'>,
    granted: Soon<Grant>,
    open: (grant: Grant) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    if (!(granted instanceof Promise)) return open(granted);
    exchange.watch();
    return granted.then((grant) => {
      let opened: Promise<void> | undefined;
      exchange.inCork(() => {
        this.checkGrant(grant);
        opened = open(grant);
      });
      return opened;
    });
  }

  #ask(request: AuthorizeRequest, rights: Rights): Soon<Grant> {
    // A program may answer anything, whatever its type says, and change what it is given: the names
    // are its own copy, since those of the request are shared with later ones for the same path.
    const { channels } = request;
    let answered: unknown;
    try {
      answered = this.#authorize?.({ ...request, channels: [...channels] });
    } catch (error) {
      throw this.#faultOf(error);
    }
    if (!isThenable(answered)) return this.#decide(answered, request, rights);
    return Promise.resolve(answered).then(
      (later) => this.#decide(later, request, rights),
      (error: unknown) => {
        throw this.#faultOf(error);
      },
    );
  }

  /**
   * What `authorize` threw is a fault of the program's, also where it is an error of this library,
   * such as of an event that the program wanted to publish: its code is not the client's refusal.
   */
  #faultOf(thrown: unknown): unknown {
    if (!(thrown instanceof HoldlineError)) return thrown;
    this.#report(thrown);
    return internalError();
  }

  #decide(answered: unknown, request: AuthorizeRequest, rights: Rights): Grant {
    let allowed: Grant | undefined;
    try {
      const { allow, user = rights.user, endsAtMs, channels } = decisionOf(answered, request);
      const earliestMs = Math.min(endsAtMs, rights.expiresAtMs ?? Infinity);
      if (allow) allowed = { rights, channels, user, endsAtMs: earliestMs };
    } catch (error) {
      this.#report(error);
    }
    if (allowed !== undefined) {
      // An end that has passed already: not even what is held may be read.
      this.checkGrant(allowed);
      return allowed;
    }
    throw new HoldlineError(
      'HOLDLINE_FORBIDDEN',
      `this client is not allowed to ${RIGHT_TO[request.action]} ${inWords(request.channels)}`,
    );
  }

  /**
   * Who publishes over a WebSocket, see {@link rightToPublish}. Throws HOLDLINE_UNAUTHORIZED where
   * nobody may without a right key.
   */
  publisherOn(head: Head, reader: Rights): Rights {
    const { anonymous, areForReading } = this.#credentials;
    // With credentials for reading, the header has been read already; else it has a key.
    if (!areForReading) return this.publisher(head) as Rights;
    return head.get('authorization') === '' ? anonymous : reader;
  }

  /** Throws HOLDLINE_UNAUTHORIZED or HOLDLINE_FORBIDDEN for whoever may publish to no channel. */
  #checkPublishesSomewhere(rights: Rights): void {
    const { anonymous } = this.#credentials;
    if (rights.reach('publish') !== 'none' || anonymous.reach('publish') !== 'none') return;
    throw rights.credential === ANONYMOUS
      ? this.#credentials.missing('publish')
      : forbidden('publish', 'any channel');
  }

  /**
   * What the client of a WebSocket may publish, by the header of its handshake: a cookie or a
   * ticket is for reading. `reader` is whom the line was opened for. Throws for a wrong one that is
   * not tolerated.
   */
  rightToPublish(head: Head, reader: Rights, toleratesWrongKey: () => boolean): RightToPublish {
    const { anonymous } = this.#credentials;
    let rights: Rights;
    try {
      rights = this.publisherOn(head, reader);
      this.#checkPublishesSomewhere(rights);
    } catch (error) {
      if (error instanceof BadCredential && !toleratesWrongKey()) throw error;
      return error as HoldlineError;
    }
    const isEverything = rights.reach('publish') === 'all' || anonymous.reach('publish') === 'all';
    if (this.#authorize === undefined) {
      if (isEverything) return undefined;
      return (channel) => this.checkRights(rights, 'publish', [channel]);
    }
    const asked = { ...visiblePartOf(head), action: 'publish', user: rights.user } as const;
    return (channel) => {
      this.checkRights(rights, 'publish', [channel]);
      const answered = this.#ask({ ...asked, channels: [channel] }, rights);
      return answered instanceof Promise ? answered.then(ignore) : undefined;
    };
  }
}

/** Names for a message: a batch may have many. */
function inWords(channels: readonly string[]): string {
  const shown = channels.slice(0, CHANNELS_PER_LINE_MAX).join(',');
  return channels.length > CHANNELS_PER_LINE_MAX ? `${shown} and others` : shown;
}

function ignore(): void {}

/** What `authorize` may see of a request. */
function visiblePartOf(head: Head): Pick<AuthorizeRequest, 'headers' | 'query'> {
  return { headers: head.toObject(), query: head.query ?? '' };
}

function hostsOf(
  { allowedHosts }: GuardSettings,
  { publishing }: Credentials,
): ReadonlySet<string> | undefined {
  return publishing === 'key' ? undefined : new Set([...LOCAL_HOSTS, ...allowedHosts]);
}

/** True for a promise of any make. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
