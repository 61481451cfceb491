/**
 * All channels of a hub by name: which names have a channel, and which channel goes when there is
 * no place for another.
 *
 * A channel is *published* from its first publish on, and *of readers* while only lines hold its
 * name. Each kind has a bound of its own, and a line makes a channel of the first kind only where
 * the log keeps events of it, so names that only readers hold displace nothing. A blank channel
 * goes with its last line. What other channels had lost when they are forgotten is remembered
 * (core/losses.ts).
 */
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import {
  CHANNELS_MAX,
  READER_CHANNELS_MAX,
  CORK_WRITE_BYTES_MAX,
  LARGE_SWEEP_WORK_BYTES_MAX,
  SWEEP_WORK_BYTES_MAX,
} from '../limits.js';
import { AbsentChannel } from './absent-channel.js';
import { Channel, type ChannelSettings } from './channel.js';
import { ChannelOrders } from './channel-orders.js';
import { ChannelPolicies, type ChannelRules, type PolicyOptions } from './channel-policies.js';
import type { Replay, RingMemory } from './channel-rings.js';
import { ChannelSet, type Member } from './channel-set.js';
import { EmptyNames, type EmptyName } from './empty-names.js';
import { isDeletion, type LoggedEntry, type LoggedEvent } from './event.js';
import type { HistoryPage } from './event-log.js';
import { RecentEvents } from './event-rates.js';
import type { Group } from './group.js';
import { LossClock } from './loss-clock.js';
import { Losses } from './losses.js';
import { RingBudget } from './ring-budget.js';
import type { SlowPolicy } from './slow-policy.js';

export interface ChannelsOptions {
  readonly replay: Replay;
  /** What a line gets that is slow; `gap` if absent. */
  readonly slow?: SlowPolicy;
  /** What differs by channel; nothing if absent. */
  readonly policies?: readonly PolicyOptions[];
  /**
   * Bytes of all rings of records. Those of frames may take as much again (core/ring-budget.ts).
   */
  readonly replayTotalBytes: number;
  /**
   * Bytes that one sweep may have to write. Here and below the default is the bound in limits.ts.
   */
  readonly sweepWorkBytes?: number;
  /** Bytes of the largest write to a stream; left out: CORK_WRITE_BYTES_MAX. */
  readonly writeBytesMax?: number;
  readonly channelsMax?: number;
  readonly readerChannelsMax?: number;
  readonly lostChannelsMax?: number;
}

export class Channels {
  readonly rings: RingBudget;
  readonly lossClock = new LossClock();

  readonly #counters: Counters;
  readonly #common: ChannelRules;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #sweepWorkBytes: number;
  readonly #writeBytesMax: number;
  #policies: ChannelPolicies;
  /** One object for all channels with the same rules. */
  readonly #settingsOf = new Map<ChannelRules, ChannelSettings>();
  readonly #publishedMax: number;
  readonly #ofReadersMax: number;
  readonly #rateWindows: { readonly current: number };
  readonly #losses: Losses;
  /** Names that the log keeps nothing of; undefined where it keeps nothing at all. */
  #emptyNames: EmptyNames | undefined;
  readonly #byName = new Map<string, Channel<Group>>();
  #ofReadersCount = 0;
  readonly #orders = new ChannelOrders();

  constructor(
    counters: Counters,
    options: ChannelsOptions,
    floor: number,
    clock: Pick<Clock, 'nowMs'> = SYSTEM_CLOCK,
    rateWindows: { readonly current: number } = { current: 0 },
  ) {
    this.#rateWindows = rateWindows;
    const { replay, replayTotalBytes, slow = 'gap', policies = [] } = options;
    this.#counters = counters;
    this.#clock = clock;
    this.#common = { replay, slow };
    this.#policies = new ChannelPolicies(this.#common, policies);
    this.#writeBytesMax = options.writeBytesMax ?? CORK_WRITE_BYTES_MAX;
    this.#sweepWorkBytes =
      options.sweepWorkBytes ??
      (this.#writeBytesMax > CORK_WRITE_BYTES_MAX
        ? LARGE_SWEEP_WORK_BYTES_MAX
        : SWEEP_WORK_BYTES_MAX);
    this.rings = new RingBudget(counters, replayTotalBytes, this.#orders);
    this.#publishedMax = options.channelsMax ?? CHANNELS_MAX;
    this.#ofReadersMax = options.readerChannelsMax ?? READER_CHANNELS_MAX;
    this.#losses = new Losses(counters, floor, options.lostChannelsMax);
  }

  /**
   * Positions at or below it may be of a forgotten channel without a record, or of another log.
   * Only grows.
   */
  get floor(): number {
    return this.#losses.floor;
  }

  /**
   * What was committed up to `id` is in no ring; the log may keep it. To be called before there are
   * channels.
   */
  begin(id: number, isKept: boolean): void {
    this.#losses.rememberAll(id);
    this.rings.isKept = isKept;
    if (isKept) this.#emptyNames = new EmptyNames();
  }

  /** All channels, in no order. */
  [Symbol.iterator](): IterableIterator<Channel<Group>> {
    return this.#byName.values();
  }

  /** Channels known by name. */
  get count(): number {
    return this.#byName.size;
  }

  /** Those of them that only lines hold. */
  get ofReadersCount(): number {
    return this.#ofReadersCount;
  }

  /** Counts of channels and rings, for `/-/stats`. */
  get gauges() {
    return {
      channels: this.count,
      readerChannels: this.#ofReadersCount,
      rings: this.rings.count,
      ringBytes: this.rings.bytes,
    };
  }

  /** What the rings take, by kind. Walks all channels. */
  get ringMemory(): Readonly<RingMemory> {
    const sum = { recordBytes: 0, frameBytes: 0, bufferBytes: 0, touchedBytes: 0, heldBytes: 0 };
    for (const channel of this.#byName.values()) channel.rings?.addMemory(sum);
    return sum;
  }

  /** Bytes of what is remembered of forgotten channels. */
  get lossBytes(): number {
    return this.#losses.memoryBytes;
  }

  /** The channel of that name if it is known. */
  get(name: string): Channel<Group> | undefined {
    return this.#byName.get(name);
  }

  /**
   * The channel of an entry. Another node may have published to a name without a place here; lines
   * on it are given the entry all the same.
   */
  placeOf({ channel }: LoggedEntry): Channel<Group> | undefined {
    return this.#byName.get(channel) ?? this.#placeFor(channel);
  }

  /** The channel of that name if it is known; without a name all of them. */
  known(name: string | undefined): Iterable<Channel<Group>> {
    if (name === undefined) return this.#byName.values();
    const channel = this.#byName.get(name);
    return channel === undefined ? [] : [channel];
  }

  /** Policies of the channels that are made from now on. */
  usePolicies(policies: readonly PolicyOptions[]): void {
    this.#policies = new ChannelPolicies(this.#common, policies);
    this.#settingsOf.clear();
  }

  /** Evicts what is too old to be replayed; to be called before a replay begins. */
  expire(names: readonly string[]): void {
    for (const name of names) {
      const channel = this.#byName.get(name);
      if (channel?.mayExpire === true) this.rings.evict(channel);
    }
  }

  /**
   * The channels of those names, known or not, to be read; without what is too old. Makes no
   * channel.
   */
  setOf(names: readonly string[]): ChannelSet {
    this.expire(names);
    const [first] = names;
    const known = names.length === 1 ? this.#byName.get(first as string) : undefined;
    return known?.alone ?? new ChannelSet(names.map((name) => this.member(name)));
  }

  /** The channel of that name, known or not. Makes none. */
  member(name: string): Member {
    return this.#byName.get(name) ?? new AbsentChannel(this.#lostThrough(name));
  }

  /** True when the log may keep events that would fit the ring of that name. */
  isUnread(name: string): boolean {
    if (this.#emptyNames === undefined) return false;
    const known = this.#byName.get(name);
    return known === undefined ? this.#emptyOf(name) === undefined : known.isUnread;
  }

  /** True from the deletion of that channel until something is published to it. */
  isDeleted(name: string): boolean {
    const known = this.#byName.get(name);
    return known === undefined ? this.#emptyOf(name)?.isDeleted === true : known.isDeleted;
  }

  /**
   * False while only the log may know whether that channel was deleted: before the start, or in
   * what was not handed over.
   */
  knowsDeletion(name: string): boolean {
    const known = this.#byName.get(name);
    const hasMark = known !== undefined && known.newestId > 0 && !known.isMarkUnread;
    return hasMark || !this.isUnread(name);
  }

  /** What the ring of that name holds for clients that come back. */
  replayOf(name: string): Replay {
    return this.#policies.of(name).replay;
  }

  /**
   * Fills the ring of that name with the newest events that the log keeps up to `through`, which is
   * what it had lost when they were asked for. A name without any makes no channel. Nothing happens
   * if something was lost meanwhile.
   */
  refill(name: string, through: number, page: HistoryPage): void {
    const { lostThrough, isDeleted = false } = page;
    if (this.member(name).lostThrough !== through) {
      // The ring was full, and moved on.
      const moved = this.#byName.get(name);
      if (moved !== undefined && moved.length > 0) moved.isUnread = false;
      return;
    }
    const least = Math.min(through, lostThrough);
    // A ring has all that follows its first event: those below a loss stay in the log.
    const events = page.events.filter(({ id }) => id > least);
    if (events.length === 0 && !this.#byName.has(name)) {
      this.#emptyNames?.remember(name, { through, lostThrough: least, isDeleted });
      return;
    }
    const channel = this.#byName.get(name) ?? this.#placeFor(name);
    if (channel?.isUnread !== true) return;
    channel.isUnread = false;
    // What has entered since the start is newer than the mark.
    if (channel.newestId === 0 || channel.isMarkUnread) channel.isDeleted = isDeleted;
    channel.isMarkUnread = false;
    channel.refill(events, least);
    if (events.length === 0) return;
    if (channel.isOfReaders) this.#publish(channel);
    this.rings.filled(channel);
  }

  #lostThrough(name: string): number {
    return this.#emptyOf(name)?.lostThrough ?? this.#losses.lostThrough(name);
  }

  /** A name that the log keeps nothing of, as far as that is known. */
  #emptyOf(name: string): EmptyName | undefined {
    return this.#emptyNames?.get(name, this.#losses);
  }

  /**
   * The channel of that name for a publisher, made on first need. At the bound a channel that
   * nobody holds is forgotten for it; undefined when all are held.
   */
  place(name: string): Channel<Group> | undefined {
    const channel = this.#placeFor(name);
    if (channel === undefined) this.#counters.channels_refused_total++;
    return channel;
  }

  #placeFor(name: string): Channel<Group> | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined && !known.isOfReaders) return known;
    if (this.#byName.size - this.#ofReadersCount >= this.#publishedMax && !this.#forgetOne())
      return undefined;
    if (known !== undefined) {
      this.#publish(known);
      return known;
    }
    const channel = this.#make(name);
    this.#orders.emptied(channel);
    return channel;
  }

  /** False where {@link placeForLine} would be undefined for one of the names (distinct). */
  hasPlaceForLine(names: readonly string[]): boolean {
    const unknown = names.filter((name) => !this.#byName.has(name)).length;
    if (this.#ofReadersCount + unknown <= this.#ofReadersMax) return true;
    this.#counters.reader_channels_refused_total++;
    return false;
  }

  /**
   * The channel of that name for a line, made on first need. Nothing is forgotten for it: undefined
   * at the bound.
   */
  placeForLine(name: string): Channel<Group> | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (!this.hasPlaceForLine([name])) return undefined;
    const channel = this.#make(name);
    channel.isOfReaders = true;
    this.#ofReadersCount++;
    return channel;
  }

  /**
   * An entry enters its channel. Without one there was no place: the event is lost, and that is
   * remembered.
   */
  enter(channel: Channel<Group> | undefined, entry: LoggedEntry): void {
    if (isDeletion(entry)) {
      this.#counters.deletions_entered_total++;
      if (channel !== undefined) this.#delete(channel);
      return;
    }
    this.#counters.events_entered_total++;
    if (channel === undefined) {
      this.#counters.events_evicted_total++;
      this.#losses.remember(entry.channel, entry.id);
      return;
    }
    this.#counters.events_evicted_total += channel.enter(entry);
    (channel.recent ??= new RecentEvents()).count(this.#rateWindows.current, entry.data.length);
    if (channel.isOfReaders) this.#publish(channel);
    this.rings.entered(channel);
  }

  /**
   * Events that the log keeps pass the channel by: it has lost everything up to the last of them.
   */
  passBy(channel: Channel<Group>, events: readonly LoggedEvent[]): void {
    const last = events.at(-1);
    if (last === undefined) return;
    const recent = (channel.recent ??= new RecentEvents());
    for (const { data } of events) recent.count(this.#rateWindows.current, data.length);
    if (channel.isOfReaders) this.#publish(channel);
    channel.enteredCount += events.length;
    this.#counters.events_entered_total += events.length;
    this.#counters.events_evicted_total += events.length;
    this.rings.loseThrough(channel, last.id);
    this.#orders.emptied(channel);
  }

  /**
   * The log did not hand over what it had up to `id`, of one name or, without one, of all. Returns
   * the channels whose lines have missed something.
   */
  missed(id: number, name: string | undefined): readonly Channel<Group>[] {
    const missing = [...this.known(name)];
    if (name === undefined) this.#losses.rememberAll(id);
    else if (missing.length === 0) this.#losses.remember(name, id);
    for (const channel of missing) {
      this.rings.drop(channel);
      this.rings.loseThrough(channel, id);
      channel.isMarkUnread = this.rings.isKept;
    }
    return missing;
  }

  /**
   * The channel's last line has left, or the last publish that needed it is over. A blank channel
   * goes, and so does one that only lines held; another one may be forgotten from now on.
   */
  released(channel: Channel<Group>): void {
    if (channel.lineCount > 0 || this.#byName.get(channel.name) !== channel) return;
    if (channel.isBusy) {
      // Nothing reports the end of a publish that comes to nothing: a search finds it.
      if (!channel.isOfReaders) this.#orders.released(channel);
    } else if (channel.isBlank) this.#remove(channel);
    else if (channel.isOfReaders) {
      // It holds nothing, and was told that it may have missed something.
      this.#remove(channel);
      this.#losses.remember(channel.name, channel.lostThrough);
    } else {
      this.#orders.released(channel);
      this.#keepBound();
    }
  }

  #make(name: string): Channel<Group> {
    const settings = this.#settingsFor(this.#policies.of(name));
    const empty = this.#emptyOf(name);
    const lostThrough = empty?.lostThrough ?? this.#losses.lostThrough(name);
    const channel = new Channel<Group>(name, settings, lostThrough);
    channel.isUnread = this.#emptyNames !== undefined && empty === undefined;
    channel.isDeleted = empty?.isDeleted === true;
    this.#byName.set(name, channel);
    return channel;
  }

  #settingsFor(rules: ChannelRules): ChannelSettings {
    let settings = this.#settingsOf.get(rules);
    if (settings === undefined) {
      settings = {
        rules,
        sweepWorkBytes: this.#sweepWorkBytes,
        writeBytesMax: this.#writeBytesMax,
        lossClock: this.lossClock,
        clock: this.#clock,
      };
      this.#settingsOf.set(rules, settings);
    }
    return settings;
  }

  /** Something is published to a name that only lines held. */
  #publish(channel: Channel<Group>): void {
    channel.isOfReaders = false;
    this.#ofReadersCount--;
    this.#orders.emptied(channel);
    this.#keepBound();
  }

  /**
   * What the log hands over, or keeps, makes published channels of names that lines hold, and is
   * not refused: past the bound another channel goes for each, now or as soon as nobody holds one.
   */
  #keepBound(): void {
    if (this.#byName.size - this.#ofReadersCount > this.#publishedMax) this.#forgetOne();
  }

  /** The channel's history is over. It is marked as deleted until something is published. */
  #delete(channel: Channel<Group>): void {
    if (channel.isOfReaders) this.#publish(channel);
    this.rings.drop(channel);
    channel.isUnread = false;
    channel.isDeleted = true;
    channel.isMarkUnread = false;
  }

  #remove(channel: Channel<Group>): void {
    channel.order?.remove(channel);
    this.#byName.delete(channel.name);
    if (channel.isOfReaders) this.#ofReadersCount--;
  }

  /** Forgets a channel that nobody holds. False when none is found. */
  #forgetOne(): boolean {
    const channel = this.#orders.findUnheld();
    return channel !== undefined && this.#forget(channel);
  }

  #forget(channel: Channel<Group>): true {
    this.rings.drop(channel);
    this.#remove(channel);
    if (!channel.isBlank) this.#losses.remember(channel.name, channel.lostThrough);
    this.#counters.channels_forgotten_total++;
    return true;
  }
}

/** For a publish to a name that has no place. */
export function channelsFull(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_CHANNELS_FULL',
    `no place for another channel: ${CHANNELS_MAX} are known, and none in use can be forgotten now; publish to one of them or try again later`,
  );
}
