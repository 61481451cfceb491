/** Channels as operators see them: a page of all of them in an order, and one with its lines. */
import { LISTED_USERS_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import { compressionOf, type ChannelCompression } from './channel-compression.js';
import type { RateWindows } from './event-rates.js';
import type { Group } from './group.js';
import type { Owners } from './owners.js';
import { noLines, type Transport } from './transport.js';

/** The orders of `/-/channels`. Largest first, and by name where they are equal. */
export const CHANNEL_ORDERS = ['lines', 'rate'] as const;
export type ChannelOrder = (typeof CHANNEL_ORDERS)[number];

/** A channel in a list. */
export interface ListedChannel {
  readonly name: string;
  /** Open lines, waiting polls among them. */
  readonly lines: number;
  /** Id of the newest event that entered; 0 if there was none. */
  readonly newestId: number;
  /** Events held for replay, and their bytes. */
  readonly heldEvents: number;
  readonly heldBytes: number;
  /** Over the last 10 to 20 s, longer with long heartbeats; bytes of data as it was published. */
  readonly eventsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Null before it had compressed lines. */
  readonly compression: ChannelCompression | null;
}

/** A place in the list: behind the channel that had this value, and this name. */
export interface ListPlace {
  readonly value: number;
  readonly name: string;
}

/** A page of the list. */
export interface ChannelPage {
  readonly channels: readonly ListedChannel[];
  /** Where the next page begins; undefined when nothing follows. */
  readonly next: ListPlace | undefined;
}

/** One channel. */
export interface ChannelDetails extends ListedChannel {
  readonly linesByTransport: Readonly<Record<Transport, number>>;
  /** Events that have an id and wait for room. */
  readonly queuedEvents: number;
  /** True from a deletion until something is published. */
  readonly isDeleted: boolean;
}

/** The users who have lines on a channel. */
export interface ChannelUsers {
  /** Those with most lines first, LISTED_USERS_MAX at the most. */
  readonly users: readonly { readonly user: string; readonly lines: number }[];
  /** How many users there are. */
  readonly usersTotal: number;
  /** Lines of nobody who is known. */
  readonly linesWithoutUser: number;
}

type Candidate = ListPlace & { readonly channel: Channel<Group> };

/**
 * The first `limit` channels of the order that stand behind `after`. Walks all channels. Values
 * change between two pages, so a channel may be on both, or on neither. `linesOn`: by which the
 * order `lines` goes; with lines in other processes it counts those, too.
 */
export function listChannels(
  channels: Iterable<Channel<Group>>,
  windows: RateWindows,
  order: ChannelOrder,
  limit: number,
  after: ListPlace | undefined,
  linesOn: (channel: Channel<Group>) => number = ({ lineCount }) => lineCount,
): ChannelPage {
  const { current } = windows;
  let candidates: Candidate[] = [];
  let last: Candidate | undefined;
  for (const channel of channels) {
    const value = order === 'lines' ? linesOn(channel) : recentEventsOf(channel, current);
    const candidate = { value, name: channel.name, channel };
    if (after !== undefined && comparePlaces(candidate, after) <= 0) continue;
    if (last !== undefined && comparePlaces(candidate, last) > 0) continue;
    candidates.push(candidate);
    // Sorted now and then, so that the walk stays linear. One more tells whether a page follows.
    if (candidates.length <= 2 * (limit + 1)) continue;
    candidates = candidates.sort(comparePlaces).slice(0, limit + 1);
    last = candidates.at(-1);
  }
  candidates.sort(comparePlaces);
  const shown = candidates.slice(0, limit);
  const end = candidates.length > limit ? shown.at(-1) : undefined;
  return {
    channels: shown.map(({ channel }) => listed(channel, windows)),
    next: end === undefined ? undefined : { value: end.value, name: end.name },
  };
}

/** The order of places: the largest value first, then by name. */
export function comparePlaces(one: ListPlace, other: ListPlace): number {
  if (one.value !== other.value) return other.value - one.value;
  return one.name < other.name ? -1 : Number(one.name > other.name);
}

/** Events that entered the channel in the current window and the one before it. */
export function recentEventsOf({ recent }: Channel<Group>, current: number): number {
  return recent?.in(current).events ?? 0;
}

function listed(channel: Channel<Group>, windows: RateWindows): ListedChannel {
  const recent = channel.recent?.in(windows.current);
  const seconds = windows.timeMs / 1000;
  return {
    name: channel.name,
    lines: channel.lineCount,
    newestId: channel.newestId,
    heldEvents: channel.length,
    heldBytes: channel.rings?.records.heldBytes ?? 0,
    eventsPerSecond: rounded((recent?.events ?? 0) / seconds),
    bytesPerSecond: rounded((recent?.bytes ?? 0) / seconds),
    compression: compressionOf(channel),
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** One channel. Lines that are being ended because it was deleted are in no transport. */
export function detailsOf(channel: Channel<Group>, windows: RateWindows): ChannelDetails {
  const linesByTransport = noLines();
  for (const { mode, table } of channel.groups) linesByTransport[mode.transport] += table.count;
  return {
    ...listed(channel, windows),
    linesByTransport,
    queuedEvents: channel.queueLength,
    isDeleted: channel.isDeleted,
  };
}

/** Whose the lines of the channel are. Walks them, about 0.1 µs each. */
export function usersOf(channel: Channel<Group>, owners: Owners): ChannelUsers {
  const byUser = new Map<string, number>();
  let linesWithoutUser = 0;
  for (const { table } of channel.groups) {
    for (let row = 0; row < table.count; row++) {
      const user = owners.userOf(table.handles[row] as number);
      if (user === undefined) linesWithoutUser++;
      else byUser.set(user, (byUser.get(user) ?? 0) + 1);
    }
  }
  const users = [...byUser].map(([user, lines]) => ({ user, lines }));
  users.sort((one, other) => other.lines - one.lines || (one.user < other.user ? -1 : 1));
  return { users: users.slice(0, LISTED_USERS_MAX), usersTotal: users.length, linesWithoutUser };
}
