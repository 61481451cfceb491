/** Channels that are asked for together: what is newest, oldest and lost over all of them. */
import type { LoggedEvent } from './event.js';

/** What a set asks of its channels (core/channel.ts). */
export interface Member {
  readonly newestId: number;
  readonly lostThrough: number;
  readonly lostAt: number;
  readonly version: number;
  firstIdAfter(id: number): number | undefined;
  firstEventAfter(id: number): LoggedEvent | undefined;
  newestIdAt(nth: number): number | undefined;
}

export class ChannelSet<One extends Member> {
  readonly channels: readonly One[];

  constructor(channels: readonly One[]) {
    this.channels = channels;
  }

  /** Id of the newest event over the channels, or 0. */
  get newestId(): number {
    let newest = 0;
    for (let i = 0; i < this.channels.length; i++) newest = Math.max(newest, this.channelAt(i).newestId);
    return newest;
  }

  /** Highest id that one of the channels has dropped, or 0. */
  get lostThrough(): number {
    let lost = 0;
    for (let i = 0; i < this.channels.length; i++) lost = Math.max(lost, this.channelAt(i).lostThrough);
    return lost;
  }

  /**
   * True when one of the channels has dropped an event above `id` since `losses` (core/channel.ts). The highest id lost over all
   * channels would not do: where one has lost more before the line joined, it would hide what another loses later.
   */
  hasLost(id: number, losses: number): boolean {
    for (let i = 0; i < this.channels.length; i++) {
      const channel = this.channelAt(i);
      if (channel.lostThrough > id && channel.lostAt > losses) return true;
    }
    return false;
  }

  /** Rises with every channel's version. */
  get version(): number {
    let version = 0;
    for (let i = 0; i < this.channels.length; i++) version += this.channelAt(i).version;
    return version;
  }

  /** Id of the oldest event held above `id` over the channels, or undefined. */
  firstIdAfter(id: number): number | undefined {
    let first: number | undefined;
    for (const channel of this.channels) {
      const candidate = channel.firstIdAfter(id);
      if (candidate !== undefined && (first === undefined || candidate < first)) first = candidate;
    }
    return first;
  }

  /** The oldest event held above `id` over the channels, or undefined. Its data is valid while `version` stays. */
  firstEventAfter(id: number): LoggedEvent | undefined {
    let first: number | undefined;
    let from: One | undefined;
    for (const channel of this.channels) {
      const candidate = channel.firstIdAfter(id);
      if (candidate !== undefined && (first === undefined || candidate < first)) {
        first = candidate;
        from = channel;
      }
    }
    return from?.firstEventAfter(id);
  }

  /** Id of the first of the newest `count` events over the channels, or undefined when there is none. */
  firstOfNewest(count: number): number | undefined {
    const nths = this.channels.map(() => 0);
    let first: number | undefined;
    for (let taken = 0; taken < count; taken++) {
      let best = -1;
      let bestId = -1;
      for (const [i, channel] of this.channels.entries()) {
        const id = channel.newestIdAt(nths[i] as number);
        if (id !== undefined && id > bestId) {
          best = i;
          bestId = id;
        }
      }
      if (best < 0) break;
      nths[best] = (nths[best] as number) + 1;
      first = bestId;
    }
    return first;
  }

  protected channelAt(index: number): One {
    return this.channels[index] as One;
  }
}
