/**
 * What the rings of all channels take, and which go past the total: those of records of the least
 * recently published channel that no line needs, and of frames as core/frame-memory.ts says.
 */
import type { Counters } from '../counters.js';
import { CHANNELS_CHECKED_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import type { ChannelOrders } from './channel-orders.js';
import { FrameMemory } from './frame-memory.js';
import type { Group } from './group.js';

export class RingBudget {
  /** Bytes of all rings of records. */
  recordBytes = 0;
  /** Channels that have rings. */
  count = 0;
  /** True where a log keeps what a ring loses, so that it can be filled again. */
  isKept = false;

  readonly #counters: Counters;
  readonly #recordBytesMax: number;
  readonly #frames: FrameMemory;
  readonly #orders: ChannelOrders;

  /** `bytesMax`: of the rings of records; those of frames may take as much again. */
  constructor(counters: Counters, bytesMax: number, orders: ChannelOrders) {
    this.#counters = counters;
    this.#recordBytesMax = bytesMax;
    this.#frames = new FrameMemory(counters, bytesMax);
    this.#orders = orders;
  }

  /** Bytes of all rings of frames. */
  get frameBytes(): number {
    return this.#frames.bytes;
  }

  /** Bytes of all rings. */
  get bytes(): number {
    return this.recordBytes + this.#frames.bytes;
  }

  /** An event has entered the channel's rings. */
  entered(channel: Channel<Group>): void {
    this.#orders.used(channel);
    this.#frames.used(channel);
    this.recount(channel);
    this.#reclaim(channel);
  }

  /** The channel's rings have been filled from the log. */
  filled(channel: Channel<Group>): void {
    this.#orders.used(channel);
    this.evict(channel);
    this.#reclaim(channel);
  }

  /** A sweep is complete: what the channel's lines have been given may go. */
  evict(channel: Channel<Group>): void {
    this.#counters.events_evicted_total += channel.evict();
    this.recount(channel);
  }

  /**
   * Counts the channel's rings again, which grow where they are used. To be called after each
   * sweep, and when a group comes or goes: a ring that was needed when it was to be dropped may not
   * be any more.
   */
  recount(channel: Channel<Group>): void {
    const recordBytes = channel.rings?.recordBytes ?? 0;
    const { countedRecordBytes } = channel;
    this.recordBytes += recordBytes - countedRecordBytes;
    this.count += Number(recordBytes > 0) - Number(countedRecordBytes > 0);
    channel.countedRecordBytes = recordBytes;
    if (recordBytes > 0 && channel.order === undefined) this.#orders.putBack(channel);
    this.#frames.recount(channel);
  }

  /** Drops the channel's rings, if it has some: positions below its newest event become gaps. */
  drop(channel: Channel<Group>): void {
    if (channel.rings === undefined) return;
    this.#counters.events_evicted_total += channel.drop();
    channel.isUnread = this.isKept;
    this.recount(channel);
    this.#orders.emptied(channel);
  }

  /** The channel's rings lose everything up to `id`, of which the log may keep some. */
  loseThrough(channel: Channel<Group>, id: number): void {
    this.#counters.events_evicted_total += channel.loseThrough(id);
    channel.isUnread = this.isKept;
    this.recount(channel);
  }

  /**
   * Drops rings, the least recently published first, until the rest fits the total; never one that
   * a line still needs, nor that of `except`.
   */
  #reclaim(except: Channel<Group>): void {
    for (let checked = 0; checked < CHANNELS_CHECKED_MAX; checked++) {
      if (this.recordBytes <= this.#recordBytesMax) return;
      const channel = this.#orders.oldestWithRings;
      if (channel === undefined || channel === except) return;
      if (channel.isSwept) {
        this.drop(channel);
        this.#counters.rings_dropped_total++;
      } else {
        channel.order?.remove(channel);
      }
    }
  }
}
