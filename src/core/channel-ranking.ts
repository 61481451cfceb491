/** The channels with most lines: a bounded list for operators, made in one walk. */
import type { Channel } from './channel.js';
import { compressionOf, type ChannelCompression } from './channel-compression.js';
import type { Group } from './group.js';

/** A channel as operators see it. */
export interface ChannelFigures {
  readonly name: string;
  /** Open lines, waiting polls among them. */
  readonly lines: number;
  /** Events in its ring, and in its queue. */
  readonly heldEvents: number;
  readonly queuedEvents: number;
  /** Events that entered since it is known here; never falls. */
  readonly events: number;
  /** Null before it had compressed lines. */
  readonly compression: ChannelCompression | null;
}

/** The first `limit` channels that have lines, the one with most first. A comparison for each. */
export function busiestChannels(
  channels: Iterable<Channel<Group>>,
  limit: number,
): ChannelFigures[] {
  let candidates: Channel<Group>[] = [];
  let least = 0;
  const cut = (): void => {
    candidates = candidates.sort((one, other) => other.lineCount - one.lineCount).slice(0, limit);
  };
  for (const channel of channels) {
    if (channel.lineCount <= least) continue;
    candidates.push(channel);
    // Sorted now and then, so that the walk stays linear.
    if (candidates.length < 2 * limit) continue;
    cut();
    least = candidates.at(-1)!.lineCount;
  }
  cut();
  return candidates.map(figuresOf);
}

/** A channel as operators see it. */
export function figuresOf(channel: Channel<Group>): ChannelFigures {
  return {
    name: channel.name,
    lines: channel.lineCount,
    heldEvents: channel.length,
    queuedEvents: channel.queueLength,
    events: channel.enteredCount,
    compression: compressionOf(channel),
  };
}
