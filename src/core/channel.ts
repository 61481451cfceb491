/** A channel: a named sequence of events, held as one ring of records and one ring of frames for each dialect in use. */
import { CORK_WRITE_BYTES, WORKING_ROOM_CORKS_MOST } from '../limits.js';
import { ChannelSet } from './channel-set.js';
import type { LoggedEvent } from './event.js';
import { DIALECTS, scratch, type Dialect } from './frame.js';
import type { GraceBudget } from './grace.js';
import { decodeRecord, encodeRecord } from './record.js';
import { Ring } from './ring.js';

/** What a channel keeps for lines that come back; the ring holds more while its lines have not been given it. */
export interface Replay {
  readonly events: number;
  readonly bytes: number;
}

/** What rings take, bytes. */
export interface RingMemory {
  /** Memory of the rings of records, and of those of frames. */
  recordBytes: number;
  frameBytes: number;
  /** What of it was ever written to. */
  touchedBytes: number;
  /** What of it is records and frames held. */
  heldBytes: number;
}

/** What a channel needs of the feeds that its lines are on. */
export interface Reader {
  readonly dialect: Dialect;
  /** True when it reads the dialect's frames, which are kept while somebody does. */
  readonly readsFrames: boolean;
  /** Every healthy line of the feed has been given everything up to this id. */
  readonly sweptThrough: number;
  /** Every line of the feed in grace has been given everything up to this id; Infinity while none is. */
  readonly graceThrough: number;
}

/** Rises with every loss of any channel, so that a line can tell a loss since it was last told from an older one. */
let lossCount = 0;

/** How many times channels have lost events so far. */
export function lossesSoFar(): number {
  return lossCount;
}

export class Channel<Feed extends Reader> {
  readonly name: string;
  /** Feeds with at least one line. */
  readonly feeds: Feed[] = [];
  /** Lines over all feeds. */
  lineCount = 0;
  /** Feeds with a line in grace. Written by core/grace-windows.ts. */
  feedsInGrace = 0;
  /** Times that something may not enter, or go, for the sake of lines in grace. */
  graceRefusals = 0;
  /** What it may still spend on lines in grace; undefined until something was spent. Written by core/grace-windows.ts. */
  graceBudget: GraceBudget | undefined;
  /** Rises whenever bytes of the rings may have moved or been overwritten; a view made under another version is dead. */
  version = 0;
  /** Id of the newest event that entered, or 0. */
  newestId = 0;
  /** True from a deletion until something is published again. */
  isDeleted = false;
  /** Highest id that was dropped, or 0: a position below it has missed something. */
  lostThrough = 0;
  /** What {@link lossesSoFar} became when that happened. */
  lostAt = 0;
  /** Bytes of the rings as the hub has counted them. */
  countedBytes = 0;
  /** The channel as a set of its own, for those who ask for it alone. */
  readonly alone: ChannelSet<Channel<Feed>> = new ChannelSet([this]);
  /** Neighbours in the hub's order of last publish. */
  older: Channel<Feed> | undefined;
  newer: Channel<Feed> | undefined;

  readonly #replay: Replay;
  readonly #sweepWorkBytes: number;
  #records: Ring | undefined;
  /** Rings of frames by dialect index. */
  readonly #frames: (Ring | undefined)[] = [];
  /** Least `sweptThrough` of the feeds when last looked at; it only grows, so an old value is safe. */
  #sweptThrough = 0;
  #sweptSeq = 0;

  constructor(name: string, replay: Replay, sweepWorkBytes: number) {
    this.name = name;
    this.#replay = replay;
    this.#sweepWorkBytes = sweepWorkBytes;
  }

  /** Events held. */
  get length(): number {
    return this.#records?.length ?? 0;
  }

  /** True from its first event until it is dropped, also while all events have been evicted. */
  get hasRing(): boolean {
    return this.#records !== undefined;
  }

  /** Bytes of memory of all rings. */
  get memoryBytes(): number {
    let bytes = this.#records?.memoryBytes ?? 0;
    for (const ring of this.#frames) bytes += ring?.memoryBytes ?? 0;
    return bytes;
  }

  /** Events held above `id`, and their bytes, at most: of its frames in the dialect where it has them, else of its records. */
  heldAfter(id: number, dialect: Dialect): { readonly events: number; readonly bytes: number } {
    const ring = this.#frames[dialect.index] ?? this.#records;
    if (ring === undefined) return { events: 0, bytes: 0 };
    const seq = ring.seqAfter(id);
    return { events: ring.headSeq - seq, bytes: ring.bytesFrom(seq) };
  }

  /** Adds what the rings take to a sum. */
  addRingMemory(sum: RingMemory): void {
    const records = this.#records;
    if (records === undefined) return;
    sum.recordBytes += records.memoryBytes;
    sum.touchedBytes += records.touchedBytes;
    sum.heldBytes += records.heldBytes;
    for (const ring of this.#frames) {
      if (ring === undefined) continue;
      sum.frameBytes += ring.memoryBytes;
      sum.touchedBytes += ring.touchedBytes;
      sum.heldBytes += ring.heldBytes;
    }
  }

  /** Id of the oldest event held above `id`, or undefined. */
  firstIdAfter(id: number): number | undefined {
    const records = this.#records;
    if (records === undefined) return undefined;
    const seq = records.seqAfter(id);
    return seq === records.headSeq ? undefined : records.idAt(seq);
  }

  /** Id of the `nth` newest event held (0 is the newest), or undefined. */
  newestIdAt(nth: number): number | undefined {
    const records = this.#records;
    return records === undefined || nth >= records.length ? undefined : records.idAt(records.headSeq - 1 - nth);
  }

  /** The oldest event held above `id`, decoded, or undefined. Its data is valid while `version` stays. */
  firstEventAfter(id: number): LoggedEvent | undefined {
    const records = this.#records;
    if (records === undefined) return undefined;
    const seq = records.seqAfter(id);
    return seq === records.headSeq ? undefined : this.#eventAt(records, seq);
  }

  /** The channel's frames in a dialect, made from its records on first need; undefined while the channel holds nothing. */
  frames(dialect: Dialect): Ring | undefined {
    return this.#frames[dialect.index] ?? this.#makeFrames(dialect);
  }

  /**
   * Bytes that may be held beyond what every healthy line has been given: the more lines, the longer a sweep takes to write them.
   * Whole corks, since a short one costs a line nearly as much as a full one.
   */
  get workingRoomBytes(): number {
    const corks = Math.floor(this.#sweepWorkBytes / this.lineCount / CORK_WRITE_BYTES);
    return CORK_WRITE_BYTES * Math.min(WORKING_ROOM_CORKS_MOST, Math.max(1, corks));
  }

  /**
   * True when `bytes` more may enter: what the healthy lines have not been given yet stays within the working room. One event may
   * always enter a channel that is swept. This is what keeps a healthy line from ever being lapped: unswept events are not
   * evicted, and their number is bounded by holding back the publishers.
   */
  hasRoom(bytes: number): boolean {
    const records = this.#records;
    if (records === undefined) return true;
    if (this.feedsInGrace > 0 && !this.#hasGraceRoom(records, bytes)) {
      this.graceRefusals++;
      return false;
    }
    const room = this.workingRoomBytes - bytes;
    if (this.#unsweptBytes(records) <= room) return true;
    this.#look(records);
    const unswept = this.#unsweptBytes(records);
    return unswept === 0 || unswept <= room;
  }

  /** True when the lines in grace would find all they have not been given within the replay, or the most working room. */
  #hasGraceRoom(records: Ring, bytes: number): boolean {
    const owed = this.#bytesFrom(records, records.seqAfter(this.#graceThrough));
    return owed === 0 || owed + bytes <= Math.max(this.#replay.bytes, WORKING_ROOM_CORKS_MOST * CORK_WRITE_BYTES);
  }

  /** Takes an event, whose id is above all before it. Returns how many events were evicted for it. */
  enter(event: LoggedEvent): number {
    const records = (this.#records ??= new Ring());
    const record = encodeRecord(event);
    records.append(event.id, record, record.length);
    for (let index = 0; index < this.#frames.length; index++) {
      const ring = this.#frames[index];
      if (ring !== undefined) appendFrame(ring, DIALECTS[index] as Dialect, event);
    }
    this.newestId = event.id;
    this.isDeleted = false;
    this.version++;
    return this.evict();
  }

  /** Evicts what is beyond the replay and has been given to every line that is healthy or in grace. Returns how many. */
  evict(): number {
    const records = this.#records;
    if (records === undefined || !this.#isOver(records)) return 0;
    this.#look(records);
    const through = Math.min(this.#sweptThrough, this.#graceThrough);
    let evicted = 0;
    while (this.#isOver(records) && records.idAt(records.tailSeq) <= through) {
      this.lostThrough = records.idAt(records.tailSeq);
      records.evict();
      for (const ring of this.#frames) ring?.evict();
      evicted++;
    }
    if (evicted > 0) {
      this.lostAt = ++lossCount;
      this.version++;
    }
    return evicted;
  }

  /** True when nothing held is still owed to a line that is healthy or in grace, so that {@link drop} loses nothing for it. */
  get isSwept(): boolean {
    if (this.#records === undefined) return true;
    this.#look(this.#records);
    if (this.newestId > this.#sweptThrough) return false;
    if (this.newestId <= this.#graceThrough) return true;
    this.graceRefusals++;
    return false;
  }

  /** Drops everything up to the newest event, rings and all. Returns how many events were dropped. */
  drop(): number {
    const dropped = this.length;
    this.lostThrough = Math.max(this.lostThrough, this.newestId);
    // What was evicted before has been counted as a loss then.
    if (dropped > 0) this.lostAt = ++lossCount;
    this.#records = undefined;
    this.#frames.length = 0;
    this.#sweptSeq = 0;
    this.version++;
    return dropped;
  }

  addFeed(feed: Feed): void {
    this.feeds.push(feed);
  }

  removeFeed(feed: Feed): void {
    this.feeds.splice(this.feeds.indexOf(feed), 1);
    if (!this.feeds.some((other) => other.readsFrames && other.dialect === feed.dialect)) {
      this.#frames[feed.dialect.index] = undefined;
    }
  }

  #isOver(records: Ring): boolean {
    return records.length > this.#replay.events || records.heldBytes > this.#replay.bytes;
  }

  /** Bytes that some healthy line may not have been given yet, in the dialect that has most. */
  #unsweptBytes(records: Ring): number {
    return this.#bytesFrom(records, Math.max(this.#sweptSeq, records.tailSeq));
  }

  /** Bytes from a record on, in the dialect that has most. */
  #bytesFrom(records: Ring, seq: number): number {
    const events = records.headSeq - seq;
    let bytes = records.bytesFrom(seq);
    for (const ring of this.#frames) if (ring !== undefined) bytes = Math.max(bytes, ring.bytesFrom(ring.headSeq - events));
    return bytes;
  }

  /** Every line in grace has been given everything up to this id. */
  get #graceThrough(): number {
    let least = Infinity;
    if (this.feedsInGrace > 0) for (const feed of this.feeds) least = Math.min(least, feed.graceThrough);
    return least;
  }

  /** Looks at the feeds again. */
  #look(records: Ring): void {
    let swept = Number.MAX_SAFE_INTEGER;
    for (const feed of this.feeds) swept = Math.min(swept, feed.sweptThrough);
    this.#sweptThrough = swept;
    this.#sweptSeq = records.seqAfter(swept);
  }

  #makeFrames(dialect: Dialect): Ring | undefined {
    const records = this.#records;
    if (records === undefined) return undefined;
    const ring = new Ring();
    for (let seq = records.tailSeq; seq < records.headSeq; seq++) {
      appendFrame(ring, dialect, this.#eventAt(records, seq));
    }
    this.#frames[dialect.index] = ring;
    return ring;
  }

  #eventAt(records: Ring, seq: number): LoggedEvent {
    return decodeRecord(records.idAt(seq), this.name, records.view(seq, seq + 1));
  }
}

function appendFrame(ring: Ring, dialect: Dialect, event: LoggedEvent): void {
  const length = dialect.encode(event);
  ring.append(event.id, scratch, length);
}
