/**
 * The kinds of option value around credentials: secrets, PEM, the JWKS URL, and the lists of
 * objects `keys` and `policies`, from JSON and from the library's caller.
 */

import { compilePattern } from '../auth/pattern.js';
import { ACTIONS, isUserName } from '../auth/rights.js';
import { HoldlineError } from '../errors.js';
import { PATTERNS_PER_ACTION_MAX, POLICIES_MAX, STATIC_KEYS_MAX } from '../limits.js';
import { unknownName } from '../spelling.js';
import { choice, form, integer, list, size, textMatching, time, type Kind } from './kinds.js';

/** A static key: what it may do, and never the key itself. A list that is left out: nothing. */
export interface StaticKey {
  /** 1 to 64 characters of A–Z a–z 0–9 . _ -, for logs; `publish` and `ops` are taken. */
  readonly name: string;
  /** SHA-256 of the key in hex: `printf %s "$KEY" | sha256sum`. */
  readonly sha256: string;
  /** Channels, or patterns of channels, that it may read. */
  readonly subscribe?: readonly string[];
  readonly publish?: readonly string[];
  readonly delete?: readonly string[];
  readonly watch?: readonly string[];
  /** True: as the ops key. */
  readonly ops?: boolean;
  /** Whom it stands for. */
  readonly user?: string;
}

/** What holds for channels whose name matches; what is left out is as for all channels. */
export interface ChannelPolicy {
  /** A name or a pattern. */
  readonly channels: string;
  /** Who may read: everyone, or those with a credential that says so. */
  readonly read?: 'open' | 'token';
  readonly replayEvents?: number;
  /** Bytes. */
  readonly replayBytes?: number;
  /** Milliseconds; in JSON a time such as `1h`. */
  readonly replayAge?: number;
  /** What a log that keeps events keeps of each of the channels; never more than of all. */
  readonly keepEvents?: number;
  /** Bytes. */
  readonly keepBytes?: number;
  /** Milliseconds; in JSON a time. */
  readonly keepAge?: number;
  readonly slow?: 'gap' | 'latest' | 'close';
}

/** How the value of a member is read; undefined when it is not accepted. */
interface Member {
  readonly accepted: string;
  read(this: void, value: unknown): unknown;
  readJson?(this: void, value: unknown): unknown;
  /** Of a number, so that it reads back from JSON. */
  toText?(this: void, value: never): string;
}

type Members<Item> = { readonly [Name in keyof Item]-?: Member };

const HOUR = 60 * 60 * 1000;

function textThat(accepted: string, accepts: (value: string) => boolean): Member {
  const read = (value: unknown): unknown =>
    typeof value === 'string' && accepts(value) ? value : undefined;
  return { accepted, read };
}

const isPattern = (value: unknown): boolean =>
  typeof value === 'string' && compilePattern(value) !== undefined;

const patterns: Member = {
  accepted: `an array of up to ${PATTERNS_PER_ACTION_MAX} channels or patterns such as "a", "tick-*" or "org/**"`,
  read: (value) =>
    Array.isArray(value) && value.length <= PATTERNS_PER_ACTION_MAX && value.every(isPattern)
      ? value
      : undefined,
};

const KEY_MEMBERS: Members<StaticKey> = {
  // The two other names are those of --publish-key and --ops-key.
  name: textThat(
    '1 to 64 characters of A–Z a–z 0–9 . _ -, and neither "publish" nor "ops"',
    (value) => /^(?!(?:publish|ops)$)[A-Za-z0-9._-]{1,64}$/.test(value),
  ),
  sha256: {
    accepted: 'the SHA-256 of the key in 64 hexadecimal digits',
    read: (value) =>
      typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value) ? value.toLowerCase() : undefined,
  },
  ...(Object.fromEntries(ACTIONS.map((action) => [action, patterns])) as Record<
    (typeof ACTIONS)[number],
    Member
  >),
  ops: {
    accepted: 'true or false',
    read: (value) => (typeof value === 'boolean' ? value : undefined),
  },
  user: textThat('1 to 128 characters that can be shown', isUserName),
};

const POLICY_MEMBERS: Members<ChannelPolicy> = {
  channels: textThat('a channel or a pattern such as "a", "tick-*" or "org/**"', isPattern),
  read: choice('', ['open', 'token']),
  replayEvents: integer(0, 1_000_000),
  replayBytes: size(0, 1024 ** 3),
  replayAge: time(1000, 24 * HOUR * 30),
  keepEvents: integer(1, 1_000_000_000_000),
  keepBytes: size(1024, 1024 ** 4),
  keepAge: time(60_000, 3660 * 24 * HOUR),
  slow: choice('', ['gap', 'latest', 'close']),
};

/** How a list of objects is told from others. */
interface ListParts<Item> {
  /** The name of the option, for its messages. */
  readonly option: string;
  readonly maxItems: number;
  readonly members: Members<Item>;
  readonly required: readonly (keyof Item & string)[];
  /** Members that no two items have in common. */
  readonly distinct: readonly (keyof Item & string)[];
}

/**
 * A list of objects with named members. A member that is not accepted throws HOLDLINE_BAD_OPTION
 * with its place and name, and without its value, which may be secret.
 */
function objects<Item>({
  option,
  maxItems,
  members,
  required,
  distinct,
}: ListParts<Item>): Kind<readonly Item[]> {
  const known = Object.keys(members);
  const refuse = (index: number, problem: string): HoldlineError =>
    new HoldlineError('HOLDLINE_BAD_OPTION', `${option}: entry ${index + 1}: ${problem}`);

  const readItem = (given: unknown, index: number, isJson: boolean): Item => {
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw refuse(index, 'it must be an object');
    const item: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(given)) {
      if (!known.includes(name)) throw refuse(index, unknownName('member', name, known));
      if (value === undefined) continue;
      const member = members[name as keyof Item];
      const read = (isJson ? member.readJson : undefined) ?? member.read;
      item[name] = read(value);
      if (item[name] === undefined) throw refuse(index, `${name} must be ${member.accepted}`);
    }
    const missing = required.find((name) => item[name] === undefined);
    if (missing !== undefined) throw refuse(index, `it has no ${missing}`);
    return Object.freeze(item) as Item;
  };

  const readList = (value: unknown, isJson: boolean): readonly Item[] | undefined => {
    if (!Array.isArray(value) || value.length > maxItems) return undefined;
    const items = value.map((given: unknown, index) => readItem(given, index, isJson));
    for (const name of distinct) {
      const values = items.map((item) => item[name]);
      const index = values.findIndex((one, at) => values.indexOf(one) < at);
      if (index >= 0) throw refuse(index, `its ${name} is that of another entry`);
    }
    return Object.freeze(items);
  };

  const withUnit = (name: string, value: unknown): unknown =>
    typeof value === 'number'
      ? (members[name as keyof Item].toText?.(value as never) ?? value)
      : value;

  const accepted = `an array of up to ${maxItems} objects with the members ${known.join(', ')}`;
  const readText = (given: string): readonly Item[] | undefined => {
    let value: unknown;
    try {
      value = JSON.parse(given);
    } catch {
      return undefined;
    }
    return readList(value, true);
  };
  return {
    placeholder: 'JSON',
    accepted: `JSON, ${accepted}`,
    acceptedValue: accepted,
    range: `up to ${maxItems} entries`,
    repeatable: false,
    read: (value) => readList(value, false),
    readText,
    readJson: (value) => (typeof value === 'string' ? readText(value) : readList(value, true)),
    toText: (items) => (items.length === 0 ? '' : JSON.stringify(items, withUnit)),
  };
}

/** The kind of the option `keys`. */
export const staticKeys = objects<StaticKey>({
  option: 'keys',
  maxItems: STATIC_KEYS_MAX,
  members: KEY_MEMBERS,
  required: ['name', 'sha256'],
  distinct: ['name', 'sha256'],
});

/** The kind of the option `policies`. */
export const channelPolicies = objects<ChannelPolicy>({
  option: 'policies',
  maxItems: POLICIES_MAX,
  members: POLICY_MEMBERS,
  required: ['channels'],
  distinct: [],
});

/** Visible ASCII, since an Authorization header cannot carry anything else. */
export const key = textMatching(
  'KEY',
  /^[\x21-\x7e]{1,1024}$/,
  '1 to 1024 visible ASCII characters without spaces',
);

/** HMAC-SHA-256 takes a key of at least its own size (RFC 7518, 3.2). */
export const signingSecret = textMatching(
  'SECRET',
  /^[\x21-\x7e]{32,1024}$/,
  '32 to 1024 visible ASCII characters without spaces; openssl rand -base64 48 makes one',
);

/** The first signs, and both are accepted, so that a secret can be replaced. */
export const ticketSecrets = list(
  'SECRET',
  2,
  'secrets, the new one first, each of 32 to 1024 visible ASCII characters without commas',
  (item) => (/^[\x21-\x2b\x2d-\x7e]{32,1024}$/.test(item) ? item : undefined),
);

/** On the command line a file (OptionRow.isFile). */
export const publicKeyPem = form(
  'FILE',
  'a file with a public key or a certificate in PEM (-----BEGIN PUBLIC KEY-----)',
  (text) =>
    /^-----BEGIN (?:RSA PUBLIC KEY|PUBLIC KEY|CERTIFICATE|[A-Z ]*PRIVATE KEY)-----\r?\n/.test(text)
      ? text
      : undefined,
  () => 'a key in PEM',
);

/** The keys decide who may read, so they come over TLS, or from this machine. */
export const jwksUrl = form(
  'URL',
  'an https URL of a JWKS without user and fragment; http only for localhost, 127.0.0.1 and [::1]',
  (text) => {
    // The pattern first: URL corrects many typing mistakes, and would then lead somewhere else.
    const isUrl = /^https?:\/\/[^\s/?#@]{1,255}\/[^\s#]*$/i.test(text) && URL.canParse(text);
    if (!isUrl) return undefined;
    const { protocol, hostname, href } = new URL(text);
    const isHere = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname);
    return protocol === 'https:' || isHere ? href : undefined;
  },
);

/** A claim that tokens must have. */
export const claim = textMatching(
  'TEXT',
  /^[^\p{C}]{1,255}$/u,
  '1 to 255 characters that can be shown',
);

/** RFC 6265, 4.1.1. */
export const cookieName = textMatching(
  'NAME',
  /^[\w!#$%&'*+.^`|~-]{1,64}$/,
  'the name of a cookie, 1 to 64 characters of a token',
);
