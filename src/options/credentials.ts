/** The options `keys` and `policies`: lists of objects, from JSON and from the library's caller. */

import { compilePattern } from '../auth/pattern.js';
import { ACTIONS, isUserName } from '../auth/rights.js';
import { HoldlineError } from '../errors.js';
import { PATTERNS_PER_ACTION_MAX, POLICIES_MAX, STATIC_KEYS_MAX } from '../limits.js';
import { unknownName } from '../spelling.js';
import { choice, integer, size, time, type Kind } from './kinds.js';

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
  readonly slow?: 'gap' | 'latest' | 'close';
}

/** How the value of a member is read; undefined when it is not accepted. */
interface Member {
  readonly accepted: string;
  read(this: void, value: unknown): unknown;
  readJson?(this: void, value: unknown): unknown;
}

type Members<Item> = { readonly [Name in keyof Item]-?: Member };

const HOUR = 60 * 60 * 1000;

function text(accepted: string, accepts: (value: string) => boolean): Member {
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
  name: text('1 to 64 characters of A–Z a–z 0–9 . _ -, and neither "publish" nor "ops"', (value) =>
    /^(?!(?:publish|ops)$)[A-Za-z0-9._-]{1,64}$/.test(value),
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
  user: text('1 to 128 characters that can be shown', isUserName),
};

const POLICY_MEMBERS: Members<ChannelPolicy> = {
  channels: text('a channel or a pattern such as "a", "tick-*" or "org/**"', isPattern),
  read: choice('', ['open', 'token']),
  replayEvents: integer(0, 1_000_000),
  replayBytes: size(0, 1024 ** 3),
  replayAge: time(1000, 24 * HOUR * 30),
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
    toText: (items) => (items.length === 0 ? '' : JSON.stringify(items)),
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
