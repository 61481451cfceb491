/**
 * What differs from channel to channel, by its name: what it keeps for clients that come back, and
 * what its slow lines get. The first policy whose pattern matches counts, alone: what it leaves out
 * is as for all channels.
 */
import { compilePattern, type ChannelPattern } from '../auth/pattern.js';
import type { Replay } from './channel-rings.js';
import type { SlowPolicy } from './slow-policy.js';

/** A policy as it is given (options/credentials.ts); what is left out is as for all channels. */
export interface PolicyOptions {
  /** A name or a pattern. */
  readonly channels: string;
  readonly replayEvents?: number;
  /** Bytes. */
  readonly replayBytes?: number;
  /** Milliseconds. */
  readonly replayAge?: number;
  readonly slow?: SlowPolicy;
}

/** What holds for a channel; one object for all channels of a policy. */
export interface ChannelRules {
  readonly replay: Replay;
  readonly slow: SlowPolicy;
}

export class ChannelPolicies {
  readonly #common: ChannelRules;
  readonly #rules: readonly (ChannelRules & { readonly pattern: ChannelPattern })[];

  /** A pattern that is none matches nothing; options/credentials.ts refuses it. */
  constructor(common: ChannelRules, policies: readonly PolicyOptions[]) {
    const { replay, slow } = common;
    this.#common = common;
    this.#rules = policies.flatMap((policy) => {
      const pattern = compilePattern(policy.channels);
      if (pattern === undefined) return [];
      return {
        pattern,
        replay: {
          events: policy.replayEvents ?? replay.events,
          bytes: policy.replayBytes ?? replay.bytes,
          ageMs: policy.replayAge ?? replay.ageMs,
        },
        slow: policy.slow ?? slow,
      };
    });
  }

  /** The rules of the channel of that name. */
  of(name: string): ChannelRules {
    for (const rules of this.#rules) if (rules.pattern.matches(name)) return rules;
    return this.#common;
  }
}
