/** Rights: what the credential of a request may do, to which channels and until when. */
import { USER_CHARS_MAX } from '../limits.js';
import { matchesAny, type ChannelPattern } from './pattern.js';

/** What a credential is given by pattern; operating is a flag. */
export type Action = 'subscribe' | 'publish' | 'delete' | 'watch';

/** All of {@link Action}. */
export const ACTIONS = ['subscribe', 'publish', 'delete', 'watch'] as const;

/** To no channel, to some, or to every one. */
export type Reach = 'none' | 'some' | 'all';

/** What a request may do, whichever credential it showed. */
export interface Rights {
  /** The person or program behind the credential, where it names one. */
  readonly user: string | undefined;
  /**
   * Which credential, for the scope of idempotency keys, rates and logs: `key:NAME`, `jwt:USER`,
   * `ticket:USER`, `anonymous`; never the secret.
   */
  readonly credential: string;
  may(action: Action, channel: string): boolean;
  /** To how many channels it may do that. */
  reach(action: Action): Reach;
  /** True if it may use the pages under `/-/` that the ops key opens. */
  readonly isOps: boolean;
  /** Milliseconds since the epoch, as below; undefined where the credential has none. */
  readonly issuedAtMs: number | undefined;
  /** From then on it is worth nothing, and lines that it opened end. */
  readonly expiresAtMs: number | undefined;
}

/** The patterns for each action; one that is left out gives no right. */
export type Grants = { readonly [action in Action]?: readonly ChannelPattern[] };

/** The parts that {@link makeRights} takes. */
export interface RightsParts {
  readonly user: string | undefined;
  readonly credential: string;
  readonly grants: Grants;
  readonly isOps?: boolean;
  readonly issuedAtMs?: number | undefined;
  readonly expiresAtMs?: number | undefined;
}

/** Rights by patterns. */
export function makeRights({
  user,
  credential,
  grants,
  isOps = false,
  issuedAtMs,
  expiresAtMs,
}: RightsParts): Rights {
  return {
    user,
    credential,
    may: (action, channel) => {
      const patterns = grants[action];
      return patterns !== undefined && matchesAny(patterns, channel);
    },
    reach: (action) => {
      const patterns = grants[action] ?? [];
      if (patterns.some(({ text }) => text === '**')) return 'all';
      return patterns.length > 0 ? 'some' : 'none';
    },
    isOps,
    issuedAtMs,
    expiresAtMs,
  };
}

/** True for the name of a user: 1 to USER_CHARS_MAX characters that can be printed. */
export function isUserName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= USER_CHARS_MAX &&
    /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(value)
  );
}
