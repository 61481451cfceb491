/** What may be done without any credential: what is open, by the options and the policies. */
import { compilePattern, type ChannelPattern } from './pattern.js';
import type { Rights } from './rights.js';

/** The settings that decide what is open. */
export interface OpenSettings {
  readonly jwtSecret: string | undefined;
  readonly jwtPublicKey: string | undefined;
  readonly jwtJwks: string | undefined;
  readonly ticketSecret: readonly string[];
  readonly keys: readonly { readonly subscribe?: readonly string[] }[];
  readonly policies: readonly { readonly channels: string; readonly read?: 'open' | 'token' }[];
  readonly openSubscribe: boolean;
  readonly openPublish: boolean;
}

/** True if anything says who may read: then a channel is closed unless something opens it. */
export function hasSubscribeRule(settings: Omit<OpenSettings, 'openPublish'>): boolean {
  const { jwtSecret, jwtPublicKey, jwtJwks, ticketSecret, keys, policies } = settings;
  return (
    (jwtSecret ?? jwtPublicKey ?? jwtJwks) !== undefined ||
    ticketSecret.length > 0 ||
    keys.some(({ subscribe }) => subscribe !== undefined && subscribe.length > 0) ||
    policies.some(({ read }) => read === 'token')
  );
}

/** A policy that says who may read its channels. */
interface ReadPolicy {
  readonly pattern: ChannelPattern;
  readonly read: 'open' | 'token' | undefined;
}

/**
 * The rights of a request without a credential. Of the policies the first that names the channel
 * counts; where it says nothing of reading, or none does, reading is open with `openSubscribe` or
 * if there is no subscribe rule at all.
 */
export function anonymousRights(settings: OpenSettings): Rights {
  const isOpen = settings.openSubscribe || !hasSubscribeRule(settings);
  const policies: readonly ReadPolicy[] = settings.policies.flatMap(({ channels, read }) => {
    const pattern = compilePattern(channels);
    return pattern === undefined ? [] : [{ pattern, read }];
  });
  const mayRead = (channel: string): boolean => {
    for (const { pattern, read } of policies)
      if (pattern.matches(channel)) return read === undefined ? isOpen : read === 'open';
    return isOpen;
  };
  const { openPublish } = settings;
  return {
    user: undefined,
    credential: ANONYMOUS,
    may: (action, channel) =>
      action === 'subscribe' ? mayRead(channel) : action === 'publish' && openPublish,
    reach: (action) => {
      if (action === 'subscribe') return policies.length > 0 ? 'some' : isOpen ? 'all' : 'none';
      return action === 'publish' && openPublish ? 'all' : 'none';
    },
    isOps: false,
    issuedAtMs: undefined,
    expiresAtMs: undefined,
  };
}

/** The `credential` of rights without one. */
export const ANONYMOUS = 'anonymous';
