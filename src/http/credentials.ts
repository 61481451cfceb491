/**
 * Credentials in a request: where each is shown, whose it is, and what is wrong with one that is
 * not right. `Authorization: Bearer` has a key or a token and counts for everything; a cookie with
 * either, and a ticket in the query, count for reading only, since a page of another origin, or
 * whoever sees a URL, could use them to change something.
 */
import { anonymousRights, ANONYMOUS, type OpenSettings } from '../auth/anonymous.js';
import { BadCredential } from '../auth/bad-credential.js';
import { digest } from '../auth/digest.js';
import type { JwksEvents } from '../auth/jwks.js';
import { StaticKeys } from '../auth/keys.js';
import type { Revocations } from '../auth/revocations.js';
import type { Action, Rights } from '../auth/rights.js';
import { Tickets } from '../auth/tickets.js';
import { Tokens, type TokenSettings } from '../auth/tokens.js';
import { HoldlineError } from '../errors.js';
import type { StaticKey } from '../options/credentials.js';
import { hasSubscribeRule } from '../options/settings.js';
import type { Head } from './head.js';
import { Query } from './query.js';

/** The settings that say which credentials count. */
export interface CredentialSettings extends OpenSettings, TokenSettings {
  readonly publishKey: string | undefined;
  readonly opsKey: string;
  readonly keys: readonly StaticKey[];
  readonly authCookie: string | undefined;
}

/** What a request wants to do; `ops` is to operate, `ticket` to get a ticket. */
export type Wanted = Action | 'ops' | 'ticket';

/** What a credential is needed for, at the beginning of a sentence. */
const DOING = {
  subscribe: 'subscribing',
  publish: 'publishing',
  delete: 'deleting a channel',
  watch: 'watching',
  ops: 'this',
  ticket: 'making a ticket',
} as const satisfies Record<Wanted, string>;

/** What a right lets do, in words. */
export const RIGHT_TO = {
  subscribe: 'subscribe to',
  publish: 'publish to',
  delete: 'delete',
  watch: 'watch',
  ops: 'operate (the ops key has)',
  ticket: 'make tickets for another user',
} as const satisfies Record<Wanted, string>;

/** A scheme and what follows it (RFC 6750, 2.1); the scheme in any case (RFC 9110, 11.1). */
const BEARER = /^bearer +(.+)$/i;

/** Later, or now where nothing must be waited for: most requests are served in their turn. */
export type Soon<T> = T | Promise<T>;

/** Goes on with what `soon` is, in this turn if it is known. */
export function andThen<T, U>(soon: Soon<T>, next: (value: T) => Soon<U>): Soon<U> {
  if (!(soon instanceof Promise)) return next(soon);
  return (async () => next(await soon))();
}

export class Credentials {
  /** What a request without a credential may do. */
  readonly anonymous: Rights;
  /** False if there are but the publish key and the ops key: reading looks at neither. */
  readonly areForReading: boolean;
  /** What publishing over HTTP takes: nothing, a credential, or it is off. */
  readonly publishing: 'open' | 'key' | 'off';
  /** False where there are credentials, and none of them has the right to publish. */
  readonly hasPublishers: boolean;
  /** Undefined if none are made. */
  readonly tickets: Tickets | undefined;
  readonly #keys: StaticKeys;
  readonly #tokens: Tokens | undefined;
  readonly #cookie: string | undefined;
  readonly #revocations: Revocations;
  /** What has the right to do something, in words. */
  readonly #holders: Readonly<Record<Wanted, string>>;

  /**
   * `before` are those that these replace. Throws HOLDLINE_BAD_OPTION for a key, a secret or a
   * pattern that is none.
   */
  constructor(
    settings: CredentialSettings,
    revocations: Revocations,
    jwks: JwksEvents,
    before?: Credentials,
  ) {
    const { publishKey, opsKey, keys, ticketSecret, openPublish } = settings;
    this.anonymous = anonymousRights(settings);
    this.#keys = new StaticKeys([...ownKeys(publishKey, opsKey), ...keys]);
    const tokens = before === undefined ? undefined : before.#tokens;
    this.#tokens = Tokens.of(settings, Date.now, jwks, tokens);
    this.tickets = ticketSecret.length > 0 ? new Tickets(ticketSecret) : undefined;
    this.#cookie = settings.authCookie;
    this.#revocations = revocations;
    const hasOthers = keys.length > 0 || this.#tokens !== undefined;
    this.areForReading = hasOthers || hasSubscribeRule(settings);
    const mayPublish = hasOthers || publishKey !== undefined;
    this.publishing = openPublish ? 'open' : mayPublish ? 'key' : 'off';
    this.hasPublishers =
      openPublish ||
      publishKey !== undefined ||
      this.#tokens !== undefined ||
      keys.some(({ publish = [] }) => publish.length > 0);
    const orToken = this.#tokens === undefined ? '' : ' or token';
    const own = (name: string): string => (hasOthers ? `a key${orToken} with that right` : name);
    this.#holders = {
      subscribe: own('a credential'),
      publish: own('the publish key'),
      delete: own('the ops key'),
      watch: own('the ops key'),
      ops: 'the ops key',
      ticket: own('the ops key'),
    };
  }

  /** True if the request has the cookie that shows a credential. */
  hasCookie(head: Head): boolean {
    return this.#cookie !== undefined && this.#cookieOf(head) !== undefined;
  }

  /**
   * Whose the header is; anonymous without one. Throws or rejects with {@link BadCredential}, with
   * HOLDLINE_REVOKED, and with HOLDLINE_TOKEN_KEYS_UNAVAILABLE.
   */
  of(head: Head, wanted: Wanted): Soon<Rights> {
    const authorization = head.get('authorization');
    return authorization === '' ? this.anonymous : this.#ofHeader(authorization, wanted);
  }

  /**
   * Whose a request is that reads. Every credential that it shows must be right, as in {@link of}:
   * the header counts before the cookie, and the cookie before the ticket.
   */
  ofReader(head: Head): Soon<Rights> {
    if (!this.areForReading) return this.anonymous;
    let rights: Soon<Rights> | undefined;
    const add = (verify: () => Soon<Rights>): void => {
      rights =
        rights === undefined ? verify() : andThen(rights, (one) => andThen(verify(), () => one));
    };
    const authorization = head.get('authorization');
    if (authorization !== '') add(() => this.#ofHeader(authorization, 'subscribe'));
    const cookie = this.#cookieOf(head);
    if (cookie !== undefined)
      add(() => this.#verify(cookie, `the cookie ${this.#cookie}`, 'subscribe'));
    const { tickets } = this;
    const ticket =
      tickets === undefined || head.query === undefined
        ? undefined
        : new Query(head.query).get('ticket');
    if (ticket !== undefined) add(() => this.#checked((tickets as Tickets).verify(ticket)));
    return rights ?? this.anonymous;
  }

  /**
   * Throws HOLDLINE_UNAUTHORIZED without a credential, HOLDLINE_FORBIDDEN with one, unless the
   * rights or what is open to everyone let it do that to each channel.
   */
  check(rights: Rights, action: Action, channels: readonly string[]): void {
    for (const channel of channels) {
      if (rights.may(action, channel) || this.anonymous.may(action, channel)) continue;
      throw rights.credential === ANONYMOUS ? this.missing(action) : forbidden(action, channel);
    }
  }

  /** HOLDLINE_UNAUTHORIZED: what is needed, and how it is shown. */
  missing(wanted: Wanted): HoldlineError {
    if (wanted === 'publish' && this.publishing === 'off') return PUBLISHING_IS_OFF;
    return new HoldlineError(
      'HOLDLINE_UNAUTHORIZED',
      `${this.#needs(wanted)}; the request has no ${wanted === 'subscribe' ? 'credential' : 'Authorization'}`,
    );
  }

  #needs(wanted: Wanted): string {
    const hint = wanted === 'ops' ? ' (--ops-key, or the key logged at start)' : '';
    const others =
      wanted === 'subscribe'
        ? [
            ...(this.#cookie === undefined ? [] : [`the cookie ${this.#cookie}`]),
            ...(this.tickets === undefined ? [] : ['?ticket= with a ticket']),
          ]
        : [];
    const or = others.map((one) => `, or ${one}`).join('');
    return `${DOING[wanted]} needs the header Authorization: Bearer with ${this.#holders[wanted]}${hint}${or}`;
  }

  #ofHeader(authorization: string, wanted: Wanted): Soon<Rights> {
    const given = BEARER.exec(authorization)?.[1];
    if (given !== undefined) return this.#verify(given, 'the header Authorization', wanted);
    throw new BadCredential(
      `${this.#needs(wanted)}; the Authorization of the request does not begin with Bearer and a key`,
    );
  }

  /** A key first, which is known at once, whatever its form. */
  #verify(given: string, where: string, wanted: Wanted): Soon<Rights> {
    const rights = this.#keys.find(given);
    if (rights !== undefined) return this.#checked(rights);
    if (!Tokens.isToken(given))
      throw new BadCredential(`the key in ${where} is not ${this.#holders[wanted]}`);
    if (this.#tokens === undefined) {
      throw new BadCredential(
        `the token in ${where} is not ${this.#holders[wanted]}, and this server takes no tokens (--jwt-secret, --jwt-public-key or --jwt-jwks)`,
      );
    }
    return this.#tokens.verify(given).then((verified) => this.#checked(verified));
  }

  #checked(rights: Rights): Rights {
    this.#revocations.check(rights);
    return rights;
  }

  /** The value of the cookie; undefined if there is none. */
  #cookieOf(head: Head): string | undefined {
    const name = this.#cookie;
    const cookies = name === undefined ? '' : head.get('cookie');
    if (cookies === '') return undefined;
    let found: string | undefined;
    for (const pair of cookies.split(';')) {
      const equals = pair.indexOf('=');
      if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair
        .slice(equals + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1');
      // Another site of the same domain may have set one: nobody can tell which counts.
      if (found !== undefined && found !== value)
        throw new BadCredential(`the cookie ${name} is there twice, with different values`);
      found = value;
    }
    return found;
  }
}

/** `--publish-key` and `--ops-key` as keys like any others; one key may be both. */
function ownKeys(publishKey: string | undefined, opsKey: string): readonly StaticKey[] {
  const all = ['**'];
  const ops = { sha256: digestOf(opsKey), delete: all, watch: all, ops: true };
  if (publishKey === opsKey) return [{ ...ops, name: 'publish', publish: all }];
  const own = [{ ...ops, name: 'ops' }];
  if (publishKey === undefined) return own;
  return [{ name: 'publish', sha256: digestOf(publishKey), publish: all }, ...own];
}

function digestOf(key: string): string {
  return digest(key).toString('hex');
}

const PUBLISHING_IS_OFF = new HoldlineError(
  'HOLDLINE_UNAUTHORIZED',
  'publishing over HTTP is off; start the server with --publish-key KEY, or with --open-publish for everyone',
);

/** HOLDLINE_FORBIDDEN: the credential is right and may not do that. */
export function forbidden(wanted: Wanted, channel?: string): HoldlineError {
  const what = channel === undefined ? RIGHT_TO[wanted] : `${RIGHT_TO[wanted]} ${channel}`;
  return new HoldlineError(
    'HOLDLINE_FORBIDDEN',
    `the credential of this request is right, but has no right to ${what}`,
  );
}

/**
 * The scope of an idempotency key: the same for all tokens of one user. What an open server does
 * not check still tells clients apart, and so does the user that the program's `authorize` names.
 */
export function scopeOf(
  { rights, user }: { readonly rights: Rights; readonly user: string | undefined },
  head: Head,
): string {
  const { credential } = rights;
  const shown = credential === ANONYMOUS ? `${ANONYMOUS} ${head.get('authorization')}` : credential;
  return user === rights.user ? shown : `${JSON.stringify(user)} ${shown}`;
}
