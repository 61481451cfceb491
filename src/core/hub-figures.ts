/** What operators ask of a hub: what is held now, by whom, and what it takes. */
import { busiestChannels, figuresOf, type ChannelFigures } from './channel-ranking.js';
import {
  detailsOf,
  listChannels,
  recentEventsOf,
  usersOf,
  type ChannelDetails,
  type ChannelOrder,
  type ChannelPage,
  type ChannelUsers,
  type ListPlace,
} from './channel-listing.js';
import type { RingMemory } from './channel-rings.js';
import type { Channels } from './channels.js';
import { compressedLines, type CompressedLines } from './compressed-lines.js';
import type { Compressor } from './compressor.js';
import type { DeliveryTimes } from './delivery-times.js';
import type { RateWindows } from './event-rates.js';
import type { Group } from './group.js';
import type { Groups } from './groups.js';
import type { Heartbeat } from './heartbeat.js';
import type { Histogram } from './histogram.js';
import type { Intake } from './intake.js';
import { lineLag } from './line-lag.js';
import { rankLines, unsentBytesOf, type LineFigures, type LineOrder } from './line-ranking.js';
import type { Lines } from './lines.js';
import type { Membership } from './membership.js';
import type { NamedBatches } from './named-batches.js';
import type { Progress } from './progress.js';
import type { Subscribers } from './subscribers.js';
import type { WaitingPolls } from './waiting-polls.js';
import type { Watchers } from './watchers.js';

/** Memory of the hub's own data, bytes, without objects on V8's heap. */
export interface HubMemory {
  readonly tables: {
    /** Rows of the groups, by the name that `/-/memory` gives them, and rows by handle. */
    readonly feedBytes: number;
    readonly handleBytes: number;
    /** Whose the lines are, and when they end, by handle. */
    readonly ownerBytes: number;
    readonly deadlineBytes: number;
    /** What is remembered of forgotten channels. */
    readonly lossBytes: number;
  };
  readonly rings: Readonly<RingMemory>;
  /** Compressed slices that are kept for lines of a sweep. */
  readonly compressedBytes: number;
}

/** The parts of the hub that are asked. */
export interface HubParts {
  readonly progress: Progress;
  readonly channels: Channels;
  readonly subscribers: Pick<Subscribers, 'get' | 'linesOn'>;
  readonly groups: Groups;
  readonly membership: Membership;
  readonly heartbeat: Heartbeat;
  readonly polls: WaitingPolls;
  readonly watchers: Watchers;
  readonly intake: Intake;
  readonly batches: NamedBatches;
  readonly rateWindows: RateWindows;
  readonly deliveryTimes: DeliveryTimes;
  readonly compressor: Pick<Compressor, 'keptBytes'>;
}

export class HubFigures {
  readonly #parts: HubParts;

  constructor(parts: HubParts) {
    this.#parts = parts;
  }

  /** Open lines, waiting polls among them. */
  get lines(): Lines<unknown, Group> {
    return this.#parts.membership.lines;
  }

  /** What is held now, for `/-/stats`. */
  get gauges() {
    const { progress, channels, groups, watchers, batches } = this.#parts;
    const intake = this.#parts.intake.gauges;
    return {
      head: progress.head,
      floor: channels.floor,
      linesOpen: this.lines.open,
      watchers: watchers.count,
      ...groups.gauges,
      ...channels.gauges,
      ...intake,
      readingPublishers: intake.readingPublishers + batches.underWay,
    };
  }

  /** What tables and rings take, for `/-/memory`. Walks all groups and all rings. */
  get memory(): HubMemory {
    const { channels, groups, membership, polls, compressor } = this.#parts;
    return {
      tables: {
        feedBytes: groups.memoryBytes,
        handleBytes: membership.lines.memoryBytes,
        ownerBytes: membership.owners.memoryBytes,
        deadlineBytes: polls.memoryBytes,
        lossBytes: channels.lossBytes,
      },
      rings: channels.ringMemory,
      compressedBytes: compressor.keptBytes,
    };
  }

  /** The first `limit` lines in that order, the largest first. */
  rankLines(order: LineOrder, limit: number): LineFigures[] {
    const { groups, heartbeat, membership } = this.#parts;
    return rankLines(groups.all, order, limit, {
      sinceWriteMs: (lastWrite) => heartbeat.sinceMs(lastWrite),
      ageMs: (openedSecond) => membership.sinceMs(openedSecond),
      owners: membership.owners,
    });
  }

  /** A page of all channels, see {@link listChannels}. */
  listChannels(order: ChannelOrder, limit: number, after?: ListPlace): ChannelPage {
    const { channels, rateWindows, subscribers } = this.#parts;
    return listChannels(channels, rateWindows, order, limit, after, (channel) =>
      subscribers.linesOn(channel),
    );
  }

  /** The channel of that name; undefined if it is not known. */
  channelDetails(name: string): ChannelDetails | undefined {
    const channel = this.#parts.channels.get(name);
    return channel === undefined ? undefined : detailsOf(channel, this.#parts.rateWindows);
  }

  /** By which the order `lines` goes: lines here, and in other processes of this server. */
  linesInAll(name: string): number {
    return this.#parts.subscribers.get(name)?.lineCount ?? 0;
  }

  /** By which the order `rate` goes, see {@link recentEventsOf}; 0 if it is not known. */
  recentEvents(name: string): number {
    const channel = this.#parts.channels.get(name);
    return channel === undefined ? 0 : recentEventsOf(channel, this.#parts.rateWindows.current);
  }

  /** Whose the lines of the channel are; undefined if it is not known. */
  channelUsers(name: string): ChannelUsers | undefined {
    const channel = this.#parts.channels.get(name);
    return channel === undefined ? undefined : usersOf(channel, this.#parts.membership.owners);
  }

  /** How long deliveries took, seconds; see {@link DeliveryTimes}. */
  get deliveryTimes(): Histogram {
    return this.#parts.deliveryTimes.histogram;
  }

  /** Lines by the events that they are behind; waiting polls count. Walks all lines. */
  lineLag(): Histogram {
    return lineLag(this.#parts.groups.all);
  }

  /** How many lines are compressed, and share their bytes. Walks all that are. */
  compressedLines(): CompressedLines {
    return compressedLines(this.#parts.groups.all);
  }

  /** The `limit` channels with most lines, the largest first. Walks all channels. */
  busiestChannels(limit: number): ChannelFigures[] {
    return busiestChannels(this.#parts.channels, limit);
  }

  /** Those of these channels that are known here. */
  channelsNamed(names: readonly string[]): ChannelFigures[] {
    return names.flatMap((name) => {
      const channel = this.#parts.channels.get(name);
      return channel === undefined ? [] : [figuresOf(channel)];
    });
  }

  /** Upper bound of the bytes that were written to lines and have not left the process. */
  get unsentBytes(): number {
    return unsentBytesOf(this.#parts.groups.all);
  }
}
