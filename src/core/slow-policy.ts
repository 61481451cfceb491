/** What a line gets that stalled until the ring moved past it (`--slow`, and by channel). */
export type SlowPolicy = 'gap' | 'latest' | 'close';

/** From the mildest: a gap notice and the rest, the newest event only, the line's end. */
const BY_STRICTNESS: readonly SlowPolicy[] = ['gap', 'latest', 'close'];

/**
 * The policy of a line on channels with these: the strictest. A channel whose lines are ended, or
 * skip to the newest, must not be held in step by a line that is also on another channel.
 */
export function strictest(policies: readonly SlowPolicy[]): SlowPolicy {
  const rank = Math.max(0, ...policies.map((policy) => BY_STRICTNESS.indexOf(policy)));
  return BY_STRICTNESS[rank] as SlowPolicy;
}
