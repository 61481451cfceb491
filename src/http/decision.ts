/** The answer of a program's `authorize`, checked: a program may answer anything. */
import { inspect } from 'node:util';
import { isUserName } from '../auth/rights.js';
import type { AuthorizeRequest } from './authorize.js';
import { checkChannelName } from './request.js';

/** What `authorize` decided. */
export interface Decision {
  readonly allow: boolean;
  readonly user: string | undefined;
  /** Milliseconds since the epoch; Infinity for no end. */
  readonly endsAtMs: number;
  /** The channels of the line: those asked for, unless others were given for them. */
  readonly channels: readonly string[];
}

const MEMBERS: ReadonlySet<string> = new Set(['allow', 'user', 'expiresAt', 'channels']);

/** Before this is no time of a token, in milliseconds: it must have been given in seconds. */
const FIRST_PLAUSIBLE_MS = Date.UTC(2001, 0, 1);

/** Reads an answer. Throws a TypeError that says what is wrong with it. */
export function decisionOf(answered: unknown, request: AuthorizeRequest): Decision {
  const { channels } = request;
  if (answered === true || answered === false)
    return { allow: answered, user: undefined, endsAtMs: Infinity, channels };
  if (typeof answered !== 'object' || answered === null || !('allow' in answered))
    throw wrongAnswer('true, false or an object { allow, user?, expiresAt?, channels? }', answered);
  for (const name of Object.keys(answered))
    if (!MEMBERS.has(name)) throw wrongAnswer(`no member "${name}"`, answered);
  const { allow, user, expiresAt, channels: mapped } = answered as Record<string, unknown>;
  if (typeof allow !== 'boolean') throw wrongAnswer('allow: true or false', allow);
  if (user !== undefined && !isUserName(user))
    throw wrongAnswer('user: a name of 1 to 128 characters that can be printed', user);
  return {
    allow,
    user,
    endsAtMs: endOf(expiresAt),
    channels: mapped === undefined ? channels : channelsOf(mapped, request),
  };
}

function endOf(expiresAt: unknown): number {
  if (expiresAt === undefined) return Infinity;
  const ms = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
  if (typeof ms === 'number' && ms >= FIRST_PLAUSIBLE_MS) return ms;
  throw wrongAnswer('expiresAt: a Date, or milliseconds since the epoch', expiresAt);
}

function channelsOf(mapped: unknown, { action, channels }: AuthorizeRequest): readonly string[] {
  if (action !== 'subscribe') throw wrongAnswer(`no channels for ${action}`, mapped);
  if (typeof mapped !== 'object' || mapped === null || Array.isArray(mapped))
    throw wrongAnswer('channels: an object with a name for each name', mapped);
  const names = channels.map((asked) => {
    if (!Object.hasOwn(mapped, asked)) return asked;
    const name: unknown = (mapped as Record<string, unknown>)[asked];
    try {
      if (typeof name === 'string') return checkChannelName(name);
    } catch {
      // Said below, with what was given.
    }
    throw wrongAnswer(`the name of a channel for "${asked}"`, name);
  });
  return [...new Set(names)];
}

function wrongAnswer(expected: string, given: unknown): TypeError {
  const shown = inspect(given, { breakLength: Infinity, depth: 0, maxStringLength: 64 });
  return new TypeError(
    `authorize must answer ${expected} (got ${shown.slice(0, 200)}); the request was refused`,
  );
}
