/**
 * All channels of a server by name: who has a row, what the rings add up to, and who goes when
 * there is no more place.
 *
 * A row is *published* from its first publish on, or *of readers* while nothing was ever published
 * to its name. The two have a bound each, and lines never make a row of the first kind, so names
 * that only readers hold displace nothing. A row that nobody holds and that holds nothing goes with
 * its last line; what other rows had lost when they go is remembered (core/losses.ts).
 *
 * Published rows stand in one of three orders, or in none:
 *
 *   ringless   hold nothing any more; the first to be forgotten, in the order in which they came to hold nothing
 *   passed     hold events, and had lines when a row to forget was looked for; older than all in `published`
 *   published  hold events, in the order of last publish
 *   none       set aside by a search: of no use to the next one before `released`, `recount` or `entered` puts them back
 *
 * So each step of a search is paid for by what puts the row back, and all of it is O(1) an
 * operation; one search takes CHANNELS_CHECKED_MAX steps at the most.
 */
import type { Counters } from '../counters.js';
import {
  CHANNELS_CHECKED_MAX,
  CHANNELS_MAX,
  READER_CHANNELS_MAX,
  SWEEP_WORK_BYTES_MAX,
} from '../limits.js';
import { Channel, type Reader, type Replay, type RingMemory } from './channel.js';
import type { Member } from './channel-set.js';
import { Losses } from './losses.js';
import { Order, Place } from './order.js';

export interface ChannelsOptions {
  readonly replay: Replay;
  /**
   * Bytes of all rings of records: past it the least recently published channel's is dropped. The
   * rings of frames may take as much beside them; past it those that were not used for longest are
   * let go, which loses nothing.
   */
  readonly replayTotalBytes: number;
  /**
   * Bytes that one sweep may have to write. For this and what follows the default is the limit,
   * tests take less.
   */
  readonly sweepWorkBytes?: number;
  readonly channelsMax?: number;
  readonly readerChannelsMax?: number;
  readonly lostChannelsMax?: number;
}

/** Channels with a publish under way that a search for one to forget passes over. */
const BUSY_CHANNELS_MAX = 64;

export class Channels<Group extends Reader> {
  /** Bytes of all rings of records, and of all rings of frames. */
  recordBytes = 0;
  frameBytes = 0;
  /** Channels that hold a ring. */
  ringCount = 0;

  readonly #counters: Counters;
  readonly #options: ChannelsOptions;
  readonly #publishedMax: number;
  readonly #ofReadersMax: number;
  readonly #losses: Losses;
  readonly #byName = new Map<string, Channel<Group>>();
  #ofReadersCount = 0;
  readonly #ringless = new Order<Channel<Group>>();
  readonly #passed = new Order<Channel<Group>>();
  readonly #published = new Order<Channel<Group>>();
  /**
   * Channels that have frames, in the order of last use; out of it are those whose frames were
   * needed when they were looked at.
   */
  readonly #framed = new Order<Place<Channel<Group>>>();

  constructor(counters: Counters, options: ChannelsOptions, floor: number) {
    this.#counters = counters;
    this.#options = options;
    this.#publishedMax = options.channelsMax ?? CHANNELS_MAX;
    this.#ofReadersMax = options.readerChannelsMax ?? READER_CHANNELS_MAX;
    this.#losses = new Losses(counters, floor, options.lostChannelsMax);
  }

  /**
   * Positions at or below it may be of a channel of which nothing is remembered, or of another log.
   * Only grows.
   */
  get floor(): number {
    return this.#losses.floor;
  }

  /** Channels known by name. */
  get count(): number {
    return this.#byName.size;
  }

  /** Of these, names that only lines hold. */
  get ofReadersCount(): number {
    return this.#ofReadersCount;
  }

  /** Bytes of all rings. */
  get ringBytes(): number {
    return this.recordBytes + this.frameBytes;
  }

  /** What the rings take, by kind. Walks all channels. */
  get ringMemory(): Readonly<RingMemory> {
    const sum: RingMemory = {
      recordBytes: 0,
      frameBytes: 0,
      bufferBytes: 0,
      touchedBytes: 0,
      heldBytes: 0,
    };
    for (const channel of this.#byName.values()) channel.addRingMemory(sum);
    return sum;
  }

  /** What is remembered of channels that were forgotten, bytes. */
  get lossBytes(): number {
    return this.#losses.memoryBytes;
  }

  /** The channel of that name if it is known. */
  get(name: string): Channel<Group> | undefined {
    return this.#byName.get(name);
  }

  /**
   * What who asks for the name is told: of the channel, or of what is remembered where it is not
   * known.
   */
  member(name: string): Member {
    return this.#byName.get(name) ?? new Absent(this.#losses.lostThrough(name));
  }

  /**
   * The channel of that name for who publishes to it, made on first need. At the bound a channel
   * that nobody holds is forgotten for it; undefined when all are held.
   */
  place(name: string): Channel<Group> | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined && !known.isOfReaders) return known;
    if (this.#byName.size - this.#ofReadersCount >= this.#publishedMax && !this.#forgetOne()) {
      this.#counters.channels_refused_total++;
      return undefined;
    }
    if (known !== undefined) {
      this.#publish(known);
      return known;
    }
    const channel = this.#make(name);
    this.#ringless.append(channel);
    return channel;
  }

  /**
   * The channel of that name for a line, made on first need; nothing is forgotten for it. Undefined
   * when there is no place.
   */
  placeForLine(name: string): Channel<Group> | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#ofReadersCount >= this.#ofReadersMax) {
      this.#counters.reader_channels_refused_total++;
      return undefined;
    }
    const channel = this.#make(name);
    channel.isOfReaders = true;
    this.#ofReadersCount++;
    return channel;
  }

  /**
   * An event has entered the channel: it is the most recently published one, and others may have to
   * make room.
   */
  entered(channel: Channel<Group>): void {
    if (channel.isOfReaders) this.#publish(channel);
    this.#published.append(channel);
    const { framesPlace } = channel;
    if (framesPlace?.order !== undefined) this.#framed.append(framesPlace);
    this.recount(channel);
    if (this.recordBytes > this.#options.replayTotalBytes) this.#reclaim(channel);
  }

  /** No place for an event of that name: it is lost, and remembered to be. */
  lost(name: string, id: number): void {
    this.#losses.remember(name, id);
  }

  /**
   * Rings grow where they are used; what that adds up to is counted here. To be called after each
   * sweep, and when a group comes or goes: a ring that was needed when it was to be dropped may not
   * be any more.
   */
  recount(channel: Channel<Group>): void {
    const { recordBytes, countedRecordBytes } = channel;
    this.recordBytes += recordBytes - countedRecordBytes;
    this.ringCount += Number(recordBytes > 0) - Number(countedRecordBytes > 0);
    channel.countedRecordBytes = recordBytes;
    if (channel.hasRing && channel.order === undefined) this.#published.prepend(channel);
    this.#recountFrames(channel);
  }

  /**
   * Drops the channel's ring, if it has one: positions below its newest event are gaps from here
   * on.
   */
  dropRing(channel: Channel<Group>): void {
    if (!channel.hasRing) return;
    this.#counters.events_evicted_total += channel.drop();
    this.recount(channel);
    this.#ringless.append(channel);
  }

  /**
   * The channel's history is over: its ring goes, and the mark stays until something is published.
   */
  delete(channel: Channel<Group>): void {
    if (channel.isOfReaders) this.#publish(channel);
    this.dropRing(channel);
    channel.isDeleted = true;
  }

  /**
   * The last line has left the channel, or the last publish that needed its row is over. A blank
   * one is not worth a row; another may be forgotten from here on.
   */
  released(channel: Channel<Group>): void {
    if (channel.isHeld || this.#byName.get(channel.name) !== channel) return;
    if (channel.isBlank) this.#remove(channel);
    else if (channel.order === undefined || channel.order === this.#passed) {
      (channel.hasRing ? this.#published : this.#ringless).prepend(channel);
    }
  }

  #make(name: string): Channel<Group> {
    const { replay, sweepWorkBytes = SWEEP_WORK_BYTES_MAX } = this.#options;
    const channel = new Channel<Group>(
      name,
      replay,
      sweepWorkBytes,
      this.#losses.lostThrough(name),
    );
    this.#byName.set(name, channel);
    return channel;
  }

  /** Something is published to a name that only lines held. */
  #publish(channel: Channel<Group>): void {
    channel.isOfReaders = false;
    this.#ofReadersCount--;
    this.#ringless.append(channel);
  }

  #remove(channel: Channel<Group>): void {
    channel.order?.remove(channel);
    this.#byName.delete(channel.name);
    if (channel.isOfReaders) this.#ofReadersCount--;
  }

  #recountFrames(channel: Channel<Group>): void {
    const { frameBytes, countedFrameBytes } = channel;
    if (frameBytes === countedFrameBytes && frameBytes === 0) return;
    this.frameBytes += frameBytes - countedFrameBytes;
    channel.countedFrameBytes = frameBytes;
    const place = (channel.framesPlace ??= new Place(channel));
    if (frameBytes === 0) place.order?.remove(place);
    else if (frameBytes > countedFrameBytes) this.#framed.append(place);
    else if (place.order === undefined) this.#framed.prepend(place);
    if (frameBytes > countedFrameBytes && this.frameBytes > this.#options.replayTotalBytes)
      this.#letGoFrames(place);
  }

  /**
   * Lets frames that were not used for longest go until the rest fits; never those that have just
   * been made.
   */
  #letGoFrames(except: Place<Channel<Group>>): void {
    for (let looks = 0; looks < CHANNELS_CHECKED_MAX; looks++) {
      const place = this.#framed.oldest;
      if (
        place === undefined ||
        place === except ||
        this.frameBytes <= this.#options.replayTotalBytes
      )
        return;
      this.#framed.remove(place);
      if (place.item.dropFrames() === 0) continue;
      this.#counters.frames_dropped_total++;
      this.recount(place.item);
    }
  }

  /**
   * Drops rings of the least recently published channels until the rest fits `--replay-total`;
   * never one that a line still needs.
   */
  #reclaim(except: Channel<Group>): void {
    for (let looks = 0; looks < CHANNELS_CHECKED_MAX; looks++) {
      const channel = this.#passed.oldest ?? this.#published.oldest;
      if (
        channel === undefined ||
        channel === except ||
        this.recordBytes <= this.#options.replayTotalBytes
      )
        return;
      if (channel.isSwept) {
        this.dropRing(channel);
        this.#counters.rings_dropped_total++;
      } else {
        channel.order?.remove(channel);
      }
    }
  }

  /**
   * Forgets a channel that nobody holds: one that holds nothing if there is one, else the one that
   * was published to longest ago. What it lost is remembered. False when none is found.
   */
  #forgetOne(): boolean {
    let busy = 0;
    for (let looks = 0; looks < CHANNELS_CHECKED_MAX; looks++) {
      const ringless = busy < BUSY_CHANNELS_MAX ? this.#ringless.oldest : undefined;
      const channel = ringless ?? this.#published.oldest;
      if (channel === undefined) return false;
      if (!channel.isHeld) return this.#forget(channel);
      if (channel.hasRing) this.#passed.append(channel);
      else if (channel.lineCount > 0) this.#ringless.remove(channel);
      else {
        // A publish is under way there: it is over soon, and nobody says so.
        busy++;
        this.#ringless.append(channel);
      }
    }
    return false;
  }

  #forget(channel: Channel<Group>): true {
    this.dropRing(channel);
    this.#remove(channel);
    if (!channel.isBlank) this.#losses.remember(channel.name, channel.lostThrough);
    this.#counters.channels_forgotten_total++;
    return true;
  }
}

/** A channel that is not known: it holds nothing, and has lost what is remembered. */
class Absent implements Member {
  readonly newestId = 0;
  readonly newestCommittedId = 0;
  readonly lostAt = 0;
  readonly version = 0;
  readonly queueVersion = 0;
  readonly lostThrough: number;

  constructor(lostThrough: number) {
    this.lostThrough = lostThrough;
  }

  seqAfter(): number {
    return 0;
  }

  endSeq(): number {
    return 0;
  }

  eventsFrom(): number {
    return 0;
  }

  idAt(): number {
    return 0;
  }

  isDeletionAt(): boolean {
    return false;
  }

  eventAt(): undefined {
    return undefined;
  }

  frameAt(): undefined {
    return undefined;
  }

  through(tailedId: number): number {
    return tailedId;
  }
}
