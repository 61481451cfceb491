/**
 * Channels that are read together: what is newest, oldest and lost over all of them.
 *
 * A single channel is read from its ring; entries in its queue are not visible yet. Several
 * channels are read from their rings and queues, merged in id order: if the queues were left out,
 * the slowest channel would delay all others, since its next id would have to come first.
 */
import type { LoggedEvent } from './event.js';
import type { Encoding } from './frame.js';

/** What a set asks of its channels (core/channel.ts). */
export interface Member {
  readonly newestId: number;
  readonly newestCommittedId: number;
  readonly lostThrough: number;
  readonly lostAt: number;
  readonly version: number;
  readonly queueVersion: number;
  seqAfter(id: number, queued: boolean): number;
  endSeq(queued: boolean): number;
  eventsFrom(seq: number, queued: boolean): number;
  idAt(seq: number): number;
  isDeletionAt(seq: number): boolean;
  eventAt(seq: number): LoggedEvent | undefined;
  frameAt(seq: number, encoding: Encoding): Uint8Array | undefined;
  through(tailedId: number): number;
}

export class ChannelSet {
  readonly channels: readonly Member[];
  /** True when the channels' queues are read, too. */
  readonly readsQueues: boolean;

  constructor(channels: readonly Member[]) {
    this.channels = channels;
    this.readsQueues = channels.length > 1;
  }

  /** Id of the newest event that can be read, or 0. */
  get newestId(): number {
    const { channels, readsQueues } = this;
    let newest = 0;
    for (let i = 0; i < channels.length; i++) {
      const channel = channels[i] as Member;
      newest = Math.max(newest, readsQueues ? channel.newestCommittedId : channel.newestId);
    }
    return newest;
  }

  /**
   * Id up to which every entry of the channels can be read or has been dropped, when the log has
   * handed over everything up to `tailedId`.
   */
  through(tailedId: number): number {
    const one = this.channels[0];
    return one === undefined || this.readsQueues ? tailedId : one.through(tailedId);
  }

  /** Highest id that one of the channels has lost, or 0. */
  get lostThrough(): number {
    let lost = 0;
    for (const channel of this.channels) lost = Math.max(lost, channel.lostThrough);
    return lost;
  }

  /**
   * True when one of the channels has lost an event above `id` since the loss clock stood at
   * `losses`. The highest id lost over all channels does not tell: a channel that lost more before
   * the line joined would hide what another one loses later.
   */
  hasLost(id: number, losses: number): boolean {
    const { channels } = this;
    for (let i = 0; i < channels.length; i++) {
      const channel = channels[i] as Member;
      if (channel.lostThrough > id && channel.lostAt > losses) return true;
    }
    return false;
  }

  /** Rises with whatever may move or change what the set reads. */
  get version(): number {
    const { channels, readsQueues } = this;
    let version = 0;
    for (let i = 0; i < channels.length; i++) {
      const channel = channels[i] as Member;
      version += channel.version + (readsQueues ? channel.queueVersion : 0);
    }
    return version;
  }

  /** Id of the oldest event above `id` that can be read, or undefined. */
  firstIdAfter(id: number): number | undefined {
    if (!this.readsQueues) {
      const one = this.channels[0];
      if (one === undefined) return undefined;
      const seq = one.seqAfter(id, false);
      return seq === one.endSeq(false) ? undefined : one.idAt(seq);
    }
    const merge = new Merge(this, id);
    while (merge.next()) if (!merge.channel.isDeletionAt(merge.seq)) return merge.id;
    return undefined;
  }

  /**
   * Id of the oldest event among the newest `count` of each channel; undefined without events. Each
   * channel counts for itself, so that a busy one does not keep the others out.
   */
  firstOfNewest(count: number): number | undefined {
    if (count === 0) return undefined;
    let first = Infinity;
    for (const channel of this.channels) {
      const seq = this.#seqOfNewest(channel, count);
      if (seq < channel.endSeq(this.readsQueues)) first = Math.min(first, channel.idAt(seq));
    }
    return first === Infinity ? undefined : this.firstIdAfter(first - 1);
  }

  /**
   * Seq of the first of the channel's newest `count` events; of its first entry if it has no more.
   * By bisection: the time does not depend on `count`.
   */
  #seqOfNewest(channel: Member, count: number): number {
    const { readsQueues } = this;
    let low = channel.seqAfter(0, readsQueues);
    for (let high = channel.endSeq(readsQueues) - 1; low < high;) {
      const middle = low + Math.ceil((high - low) / 2);
      if (channel.eventsFrom(middle, readsQueues) >= count) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Where a merge stands in one channel. */
interface Head {
  readonly channel: Member;
  readonly endSeq: number;
  seq: number;
  id: number;
}

/** Reads the entries of a set above an id, in id order. Valid while the set's `version` stays. */
export class Merge {
  /** The entry that `next` went to. */
  channel!: Member;
  seq = 0;
  id = 0;

  readonly #heads: Head[] = [];
  #head: Head | undefined;

  constructor({ channels, readsQueues }: ChannelSet, afterId: number) {
    for (const channel of channels) {
      const seq = channel.seqAfter(afterId, readsQueues);
      const endSeq = channel.endSeq(readsQueues);
      if (seq < endSeq) this.#heads.push({ channel, endSeq, seq, id: channel.idAt(seq) });
    }
  }

  /** Goes to the next entry; false when there is none. */
  next(): boolean {
    const last = this.#head;
    if (last !== undefined) {
      last.seq++;
      last.id = last.seq < last.endSeq ? last.channel.idAt(last.seq) : Infinity;
    }
    let least: Head | undefined;
    for (const head of this.#heads) if (head.id < (least?.id ?? Infinity)) least = head;
    if (least === undefined) return false;
    this.#head = least;
    this.channel = least.channel;
    this.seq = least.seq;
    this.id = least.id;
    return true;
  }
}
