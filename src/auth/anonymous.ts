/** What may be done without any credential: what is open, by the options and the policies. */
import { hasSubscribeRule, type SubscribeRules } from '../options/settings.js';
import type { Settings } from '../options/table.js';
import { compilePattern, type ChannelPattern } from './pattern.js';
import type { Rights } from './rights.js';

/** The settings that decide what is open. */
export type OpenSettings = SubscribeRules & Pick<Settings, 'openPublish' | 'openSubscribe'>;

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
