/** All channels of a server by name: which holds a ring, what the rings add up to, and who goes when there is no more place. */
import type { Counters } from '../counters.js';
import { CHANNELS, SWEEP_WORK_BYTES } from '../limits.js';
import { Channel, type Reader, type Replay, type RingMemory } from './channel.js';

export interface ChannelsOptions {
  readonly replay: Replay;
  /** Bytes of all rings; past it the least recently published channel's is dropped. */
  readonly replayTotalBytes: number;
  /** Bytes that one sweep may have to write; the default is the limit, tests take less. */
  readonly sweepWorkBytes?: number;
}

export class Channels<Feed extends Reader> {
  /** Positions at or below it may be of a channel that was forgotten, or of another log. Only grows. */
  floor: number;
  /** Bytes of all rings. */
  ringBytes = 0;
  /** Channels that hold a ring. */
  ringCount = 0;

  readonly #counters: Counters;
  readonly #options: ChannelsOptions;
  readonly #byName = new Map<string, Channel<Feed>>();
  /** Ends of the order of last publish over the channels that hold a ring. */
  #oldest: Channel<Feed> | undefined;
  #newest: Channel<Feed> | undefined;

  constructor(counters: Counters, options: ChannelsOptions, floor: number) {
    this.#counters = counters;
    this.#options = options;
    this.floor = floor;
  }

  /** Channels known by name. */
  get count(): number {
    return this.#byName.size;
  }

  /** What the rings take, by kind. Walks all of them. */
  get ringMemory(): Readonly<RingMemory> {
    const sum: RingMemory = { recordBytes: 0, frameBytes: 0, bufferBytes: 0, touchedBytes: 0, heldBytes: 0 };
    for (let channel = this.#newest; channel !== undefined; channel = channel.older) channel.addRingMemory(sum);
    return sum;
  }

  /** The channel of that name if it is known. */
  get(name: string): Channel<Feed> | undefined {
    return this.#byName.get(name);
  }

  /** The channel of that name, made on first need; undefined when lines hold every place. */
  place(name: string): Channel<Feed> | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= CHANNELS && !this.#forgetOne()) return undefined;
    const channel = new Channel<Feed>(name, this.#options.replay, this.#options.sweepWorkBytes ?? SWEEP_WORK_BYTES);
    this.#byName.set(name, channel);
    return channel;
  }

  /** An event has entered the channel: it is the most recently published one, and others may have to make room. */
  entered(channel: Channel<Feed>): void {
    this.#touch(channel);
    this.recount(channel);
    if (this.ringBytes > this.#options.replayTotalBytes) this.#reclaim(channel);
  }

  /** Rings grow where they are used; what that adds up to is counted here. */
  recount(channel: Channel<Feed>): void {
    const bytes = channel.memoryBytes;
    this.ringBytes += bytes - channel.countedBytes;
    channel.countedBytes = bytes;
  }

  /** Drops the channel's ring, if it has one: positions below its newest event are gaps from here on. */
  dropRing(channel: Channel<Feed>): void {
    if (!channel.hasRing) return;
    this.#counters.events_evicted_total += channel.drop();
    this.recount(channel);
    this.ringCount--;
    this.#unlink(channel);
  }

  /** Forgets a channel without lines that holds nothing, has lost nothing and was not deleted: it is not worth a row. */
  forgetIfBlank(channel: Channel<Feed>): void {
    if (channel.lineCount === 0 && channel.newestId === 0 && !channel.isDeleted) this.#byName.delete(channel.name);
  }

  #touch(channel: Channel<Feed>): void {
    if (this.#newest === channel) return;
    if (channel.newer === undefined) this.ringCount++;
    else this.#unlink(channel);
    channel.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = channel;
    else this.#newest.newer = channel;
    this.#newest = channel;
  }

  #unlink(channel: Channel<Feed>): void {
    if (channel.older === undefined) this.#oldest = channel.newer;
    else channel.older.newer = channel.newer;
    if (channel.newer === undefined) this.#newest = channel.older;
    else channel.newer.older = channel.older;
    channel.older = undefined;
    channel.newer = undefined;
  }

  /** Drops rings of the least recently published channels until the rest fits `--replay-total`; never one that a line still needs. */
  #reclaim(except: Channel<Feed>): void {
    let channel = this.#oldest;
    while (channel !== undefined && this.ringBytes > this.#options.replayTotalBytes) {
      const next: Channel<Feed> | undefined = channel.newer;
      if (channel !== except && channel.isSwept) {
        this.dropRing(channel);
        this.#counters.rings_dropped_total++;
      }
      channel = next;
    }
  }

  /**
   * Forgets the channel without lines that was published to longest ago; false when all have lines. What it lost is in the floor
   * from here on.
   */
  #forgetOne(): boolean {
    let victim = this.#oldest;
    while (victim !== undefined && victim.lineCount > 0) victim = victim.newer;
    for (const channel of victim === undefined ? this.#byName.values() : []) {
      if (channel.lineCount === 0) {
        victim = channel;
        break;
      }
    }
    if (victim === undefined) return false;
    this.dropRing(victim);
    this.floor = Math.max(this.floor, victim.lostThrough);
    this.#byName.delete(victim.name);
    this.#counters.channels_forgotten_total++;
    return true;
  }
}
