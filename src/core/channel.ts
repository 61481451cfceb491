/**
 * A channel: its entries (core/channel-entries.ts), the groups of lines that read them, and between
 * the two when there is room for the next event, and what goes.
 */
import type { Clock } from '../clock.js';
import { CORK_WRITE_BYTES_MAX, IN_FLIGHT_WINDOW_CORKS_MAX } from '../limits.js';
import type { GivenBytes } from './channel-compression.js';
import type { ChannelRules } from './channel-policies.js';
import { ChannelEntries } from './channel-entries.js';
import { ChannelRings } from './channel-rings.js';
import { ChannelSet } from './channel-set.js';
import { EntryAges } from './entry-ages.js';
import type { RecentEvents } from './event-rates.js';
import type { LoggedEvent } from './event.js';
import type { Encoding } from './frame.js';
import type { GraceBudget } from './grace.js';
import type { LossClock } from './loss-clock.js';
import type { Order, Ordered, Place } from './order.js';
import type { PublishShare } from './publish-memory.js';
import type { SlowPolicy } from './slow-policy.js';

/** What a channel has in common with others of its hub, and of its policy. */
export interface ChannelSettings {
  readonly rules: ChannelRules;
  /** Bytes that one sweep may have to write. */
  readonly sweepWorkBytes: number;
  /** Bytes of the largest write to a line. */
  readonly writeBytesMax: number;
  readonly lossClock: LossClock;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/** What a channel asks of its groups (core/group.ts). */
export interface Reader {
  readonly encoding: Encoding;
  /**
   * True when its lines are given frames; a channel keeps frames of an encoding for such groups.
   */
  readonly readsFrames: boolean;
  /** Every healthy line of the group has been given everything up to this id. */
  readonly sweptThrough: number;
  /** The same as it will be when a sweep that has few lines left has ended. */
  readonly soonSweptThrough: number;
  /** True when it reads the queues of its channels, since it is on several. */
  readonly readsQueues: boolean;
  /** Every line in grace has been given everything up to this id; Infinity without such lines. */
  readonly graceThrough: number;
  /**
   * True when another channel of the group has entries in its queue. This channel does not wait for
   * the group then.
   */
  hasOtherQueue(channel: unknown): boolean;
}

/** An event of a channel whose delivery is being timed. Written by core/delivery-times.ts. */
export interface TimedEvent {
  /** 0 while none is timed. */
  id: number;
  /** When the log committed it, ms of the clock. */
  acceptedMs: number;
  /** Of the channel's groups, so many from the first on may not have been given it yet. */
  groupsLeft: number;
}

export class Channel<Group extends Reader = Reader>
  extends ChannelEntries
  implements Ordered<Channel<Group>>
{
  /** Groups with at least one line. */
  readonly groups: Group[] = [];
  /** Lines over all groups. */
  lineCount = 0;
  /** Of them, what compression saves a sweep, in whole lines. Written by core/group.ts. */
  savedLineCount = 0;
  /** Events that entered, or passed it by. Only grows. */
  enteredCount = 0;
  /** What compressed lines were given; undefined before the first. Made by core/groups.ts. */
  given: GivenBytes | undefined;
  /** True while nothing was ever published here and only lines hold the name. core/channels.ts */
  isOfReaders = false;
  /** Groups with a line in grace. Written by core/grace-windows.ts. */
  groupsInGrace = 0;
  /** Times that an entry could not enter, or a ring not go, for the sake of lines in grace. */
  graceRefusals = 0;
  /**
   * What the channel may still spend on lines in grace; undefined until something was spent.
   * Written by core/grace-windows.ts.
   */
  graceBudget: GraceBudget | undefined;
  /**
   * True while the log may keep events that came right before those of the ring, and that would
   * fit: nobody has asked for them yet. Written by core/channels.ts and core/ring-budget.ts.
   */
  isUnread = false;
  /** True from a deletion until something is published again. */
  isDeleted = false;
  /**
   * True while only the log knows whether it was deleted: not all was handed over, and nothing has
   * entered since. Written by core/channels.ts.
   */
  isMarkUnread = false;
  /** Bytes of memory of its rings as core/ring-budget.ts has counted them. */
  countedRecordBytes = 0;
  countedFrameBytes = 0;
  /** What its publishes hold (core/publish-memory.ts). */
  readonly share: PublishShare = { heldBytes: 0 };
  /** What entered lately; undefined until something did. Written by core/channels.ts. */
  recent: RecentEvents | undefined;
  /** Publishes that wait for room. Written by core/intake.ts. */
  waitingCount = 0;
  /** True while a publish is read: later ones wait for it. Written by core/intake.ts. */
  isReading = false;
  /** True while the channel is listed to go on entering. Written by core/entrance.ts. */
  isEntering = false;
  /** The event whose delivery is timed; undefined until one was. Made by core/delivery-times.ts. */
  timed: TimedEvent | undefined;
  /** The channel as a set of its own, for those who ask for it alone. */
  readonly alone: ChannelSet = new ChannelSet([this]);
  /** Its place among all channels (core/channels.ts), and that of its frames while it has some. */
  order: Order<Channel<Group>> | undefined;
  older: Channel<Group> | undefined;
  newer: Channel<Group> | undefined;
  framesPlace: Place<Channel<Group>> | undefined;

  readonly #settings: ChannelSettings;
  /** Bit i: a group reads frames of the encoding with index i. */
  #encodings = 0;
  /** Of its events; undefined where they are replayed however old, and while it holds none. */
  #ages: EntryAges | undefined;
  /**
   * Least `sweptThrough` of the groups that the channel waits for, when last asked, and its seq. A
   * stale value is too low, which is safe. It is too high only if a group was held up by another
   * queue then: at most one in-flight window too much enters, and eviction asks again.
   */
  #sweptThrough = 0;
  #sweptSeq = 0;
  /**
   * The group that had that value, the last one of several. While it is not further, nobody else is
   * asked: with as many groups as lines a sweep over all of them would ask all for each.
   */
  #slowest: Group | undefined;

  /** `lostThrough`: what a channel of this name may have lost before (core/losses.ts). */
  constructor(name: string, settings: ChannelSettings, lostThrough: number) {
    super(name, lostThrough);
    this.#settings = settings;
  }

  /** What its lines get when they are slow. */
  get slow(): SlowPolicy {
    return this.#settings.rules.slow;
  }

  /** True when some of its events may be too old to be replayed. */
  get mayExpire(): boolean {
    return this.#ages !== undefined;
  }

  /** True while it may not be forgotten: it has lines, or a publish is under way. */
  get isHeld(): boolean {
    return this.lineCount > 0 || this.isBusy;
  }

  /**
   * True when forgetting it loses nothing: it never held an event, and was not deleted, or the log
   * has the mark of that, since only lines hold the name.
   */
  get isBlank(): boolean {
    return this.newestId === 0 && (!this.isDeleted || this.isOfReaders);
  }

  /** True while a publish is under way, from the first byte of its body until it has entered. */
  get isBusy(): boolean {
    return (
      this.queueLength > 0 || this.waitingCount > 0 || this.isReading || this.share.heldBytes > 0
    );
  }

  // ── room ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * Bytes that may be held beyond what every healthy line has been given. More lines make it
   * smaller, since a sweep takes longer to write to them; of compressed ones it writes as many more
   * as it has fewer bytes for each. Whole writes, or whole corks where it is less than one write: a
   * short one costs a line nearly as much as a full one. native-notes/quick-acknowledgements.md
   */
  get inFlightWindowBytes(): number {
    const { sweepWorkBytes, writeBytesMax } = this.#settings;
    const lines = Math.max(1, this.lineCount - this.savedLineCount);
    const bytes = Math.min(
      sweepWorkBytes / lines,
      IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX,
    );
    const unit = bytes < writeBytesMax ? CORK_WRITE_BYTES_MAX : writeBytesMax;
    return unit * Math.max(1, Math.floor(bytes / unit));
  }

  /**
   * True when `bytes` more may enter: what healthy lines have not been given yet stays within the
   * in-flight window. When they have been given everything, one event may always enter.
   *
   * So a healthy line is never lapped: events that it has not been given are not evicted, and their
   * bytes are bounded by holding back the publishers.
   */
  hasRoom(bytes: number): boolean {
    const rings = this.rings;
    if (rings === undefined) return true;
    if (this.groupsInGrace > 0 && !this.#hasGraceRoom(rings, bytes)) {
      this.graceRefusals++;
      return false;
    }
    const room = this.inFlightWindowBytes - bytes;
    if (this.#unsweptBytes(rings) <= room) return true;
    // Of a group that reads queues, what has entered since may have been given before.
    this.#sweptSeq = rings.records.seqAfter(this.#sweptThrough);
    const least = this.#unsweptBytes(rings);
    if (least > Math.max(0, room) && this.#isBehind(this.#sweptThrough + 1)) return false;
    this.#updateSwept(rings);
    const unswept = this.#unsweptBytes(rings);
    return unswept === 0 || unswept <= room;
  }

  /**
   * True when `bytes` more may enter once the sweeps that have few lines left have ended. False
   * with a group that reads queues: other channels would not wait for it meanwhile.
   */
  hasRoomSoon(bytes: number): boolean {
    const { rings } = this;
    if (rings === undefined) return true;
    if (this.groupsInGrace > 0) return false;
    let through = Infinity;
    for (const group of this.groups) {
      if (group.readsQueues) return false;
      through = Math.min(through, group.soonSweptThrough);
    }
    const unswept = this.#unsweptBytes(rings, rings.records.seqAfter(through));
    return unswept === 0 || unswept + bytes <= this.inFlightWindowBytes;
  }

  /**
   * True when all that lines in grace have not been given would stay within the replay, or within
   * the largest in-flight window.
   */
  #hasGraceRoom(rings: ChannelRings, bytes: number): boolean {
    const owed = rings.mostBytesFrom(rings.records.seqAfter(this.#graceThrough));
    const windowBytesMax = IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX;
    return (
      owed === 0 || owed + bytes <= Math.max(this.#settings.rules.replay.bytes, windowBytesMax)
    );
  }

  /** Takes an event, whose id is above all before it. Returns how many events it evicted. */
  enter(event: LoggedEvent): number {
    (this.rings ??= new ChannelRings()).append(event, this.#encodings);
    const { rules, clock } = this.#settings;
    const { ageMs } = rules.replay;
    if (ageMs !== undefined) (this.#ages ??= new EntryAges(ageMs)).entered(event.id, clock.nowMs());
    this.enteredCount++;
    this.newestId = event.id;
    this.newestCommittedId = Math.max(this.newestCommittedId, event.id);
    this.isDeleted = false;
    this.isMarkUnread = false;
    this.version++;
    return this.evict();
  }

  /**
   * Evicts events beyond the replay, or too old for it, that every healthy line and every line in
   * grace has been given. Returns how many.
   */
  evict(): number {
    const rings = this.rings;
    const { rules, lossClock, clock } = this.#settings;
    const { replay } = rules;
    if (rings === undefined) return 0;
    const isOver = rings.exceed(replay);
    const ages = this.#ages;
    if (!isOver && ages === undefined) return 0;
    const { records } = rings;
    const expiredThrough = ages === undefined ? 0 : ages.expiredThrough(clock.nowMs());
    if (!isOver && (records.length === 0 || records.idAt(records.tailSeq) > expiredThrough))
      return 0;
    if (this.#isBehind(records.idAt(records.tailSeq))) return 0;
    this.#updateSwept(rings);
    const through = Math.min(this.#sweptThrough, this.#graceThrough);
    let evicted = 0;
    while (records.length > 0) {
      const id = records.idAt(records.tailSeq);
      if (id > through || (id > expiredThrough && !rings.exceed(replay))) break;

      this.lostThrough = id;
      rings.evict();
      evicted++;
    }
    if (evicted > 0) {
      this.lostAt = lossClock.tick();
      this.version++;
    }
    return evicted;
  }

  /**
   * Takes events that came right before those of the ring, with all of the channel's above
   * `lostThrough` among them.
   */
  refill(events: readonly LoggedEvent[], lostThrough: number): void {
    this.lostThrough = lostThrough;
    const last = events.at(-1);
    if (last === undefined) return;
    const rings = new ChannelRings();
    for (const event of events) rings.append(event, 0);
    const { records } = this.rings ?? rings;
    // Frames are made again when somebody asks for them.
    if (records !== rings.records)
      for (let seq = records.tailSeq; seq < records.headSeq; seq++)
        rings.records.append(records.idAt(seq), records.view(seq, seq + 1));
    this.rings = rings;
    // Nobody knows here how old they are: their age counts from now on. The log has them longer.
    const { rules, clock } = this.#settings;
    const { ageMs } = rules.replay;
    if (ageMs !== undefined && this.#ages === undefined) {
      this.#ages = new EntryAges(ageMs);
      this.#ages.entered(last.id, clock.nowMs());
    }
    this.newestId = Math.max(this.newestId, last.id);
    this.newestCommittedId = Math.max(this.newestCommittedId, last.id);
    this.#sweptSeq = 0;
    this.#slowest = undefined;
    this.version++;
  }

  /**
   * True when every healthy line and every line in grace has been given everything held, so that
   * {@link drop} loses nothing for them.
   */
  get isSwept(): boolean {
    if (this.rings === undefined) return true;
    if (this.#isBehind(this.newestId)) return false;
    this.#updateSwept(this.rings);
    if (this.newestId > this.#sweptThrough) return false;
    if (this.newestId <= this.#graceThrough) return true;
    this.graceRefusals++;
    return false;
  }

  /** Drops all events, and the rings. Returns how many events were dropped. */
  drop(): number {
    const dropped = this.length;
    this.lostThrough = Math.max(this.lostThrough, this.newestId);
    // Evictions ticked the clock already.
    if (dropped > 0) this.lostAt = this.#settings.lossClock.tick();
    this.rings = undefined;
    this.#ages = undefined;
    this.#sweptSeq = 0;
    this.#slowest = undefined;
    this.version++;
    return dropped;
  }

  /** Loses everything up to `id`, which was committed last. Returns as {@link drop}. */
  loseThrough(id: number): number {
    const dropped = this.drop();
    this.lostThrough = id;
    this.lostAt = this.#settings.lossClock.tick();
    this.newestId = id;
    this.newestCommittedId = id;
    this.isDeleted = false;
    this.isMarkUnread = false;
    // Its delivery is not seen any more.
    if (this.timed !== undefined) this.timed.id = 0;
    return dropped;
  }

  /** Drops the frames unless a healthy line still needs them. Returns bytes freed. */
  dropFrames(): number {
    if (!this.isSwept) return 0;
    const bytes = this.rings?.frameBytes ?? 0;
    this.rings?.dropFrames();
    this.version++;
    return bytes;
  }

  addGroup(group: Group): void {
    // The lines for which an event was timed are gone.
    if (this.groups.length === 0 && this.timed !== undefined) this.timed.id = 0;
    this.groups.push(group);
    if (group.readsFrames) this.#encodings |= 1 << group.encoding.index;
  }

  removeGroup(group: Group): void {
    const { encoding } = group;
    this.groups.splice(this.groups.indexOf(group), 1);
    if (this.#slowest === group) this.#slowest = undefined;
    const { index } = encoding;
    if (this.groups.some((other) => other.readsFrames && other.encoding.index === index)) return;
    this.#encodings &= ~(1 << index);
    this.rings?.dropFramesOf(encoding);
  }

  /** Bytes that some healthy line may not have been given yet, in the encoding that has most. */
  #unsweptBytes(rings: ChannelRings, sweptSeq = this.#sweptSeq): number {
    return rings.mostBytesFrom(Math.max(sweptSeq, rings.records.tailSeq));
  }

  /** Every line in grace has been given everything up to this id. */
  get #graceThrough(): number {
    let least = Infinity;
    if (this.groupsInGrace === 0) return least;
    for (const group of this.groups)
      if (!group.hasOtherQueue(this)) least = Math.min(least, group.graceThrough);
    return least;
  }

  /** True when the group that was the slowest has still not been given everything up to `id`. */
  #isBehind(id: number): boolean {
    const group = this.#slowest;
    return group !== undefined && group.sweptThrough < id && !group.hasOtherQueue(this);
  }

  /** Asks the groups how far they are. */
  #updateSwept({ records }: ChannelRings): void {
    let swept = Number.MAX_SAFE_INTEGER;
    let slowest: Group | undefined;
    for (const group of this.groups) {
      if (group.hasOtherQueue(this)) continue;
      const { sweptThrough } = group;
      // The last one of several is swept last.
      if (sweptThrough > swept) continue;
      swept = sweptThrough;
      slowest = group;
    }
    this.#slowest = slowest;
    this.#sweptThrough = swept;
    this.#sweptSeq = records.seqAfter(swept);
  }
}
