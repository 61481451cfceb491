/**
 * Channel patterns: a channel name in which `*` at the end of a segment stands for the rest of that
 * segment and `**` at the end for any rest, both for one character or more. Matching looks at each
 * character of the name once, whatever the pattern.
 */
import { CHANNEL_NAME_CHARS_MAX } from '../limits.js';

/** A pattern that was read; `text` is what was given. */
export interface ChannelPattern {
  readonly text: string;
  /** True if the name of a channel is one that the pattern stands for. */
  matches(channel: string): boolean;
}

/** A segment: characters of channel names, and perhaps one star behind them. */
const SEGMENT = /^(?:[A-Za-z0-9._~:@-]+\*?|\*)$/;
/** What may stand before the `**` in its segment. */
const PREFIX = /^[A-Za-z0-9._~:@-]*$/;

/** Reads a pattern such as `tick-*` or `org/7/**`; undefined if it is none. */
export function compilePattern(text: string): ChannelPattern | undefined {
  if (text.length < 1 || text.length > CHANNEL_NAME_CHARS_MAX) return undefined;
  const anyRest = text.endsWith('**');
  const segments = (anyRest ? text.slice(0, -2) : text).split('/');
  const last = segments.length - 1;
  for (const [index, segment] of segments.entries()) {
    const form = anyRest && index === last ? PREFIX : SEGMENT;
    // No channel has such a segment, and a client or proxy may resolve it in a path.
    if (!form.test(segment) || segment === '.' || segment === '..') return undefined;
  }
  if (!text.includes('*')) return { text, matches: (channel) => channel === text };
  return { text, matches: (channel) => matchesAll(segments, anyRest, channel) };
}

function matchesAll(segments: readonly string[], anyRest: boolean, channel: string): boolean {
  const last = segments.length - 1;
  let start = 0;
  for (let index = 0; index < last; index++) {
    const end = channel.indexOf('/', start);
    if (end < 0 || !matchesSegment(segments[index]!, channel, start, end)) return false;
    start = end + 1;
  }
  const final = segments[last]!;
  if (anyRest) return channel.startsWith(final, start) && channel.length > start + final.length;
  return !channel.includes('/', start) && matchesSegment(final, channel, start, channel.length);
}

function matchesSegment(segment: string, channel: string, start: number, end: number): boolean {
  if (!segment.endsWith('*'))
    return segment.length === end - start && channel.startsWith(segment, start);
  const prefixLength = segment.length - 1;
  return (
    end - start > prefixLength &&
    channel.startsWith(prefixLength === 0 ? '' : segment.slice(0, -1), start)
  );
}

/** True if one of the patterns stands for the channel. */
export function matchesAny(patterns: readonly ChannelPattern[], channel: string): boolean {
  for (const pattern of patterns) if (pattern.matches(channel)) return true;
  return false;
}
