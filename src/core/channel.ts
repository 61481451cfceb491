/**
 * A channel: a named sequence of events. What is held of it stands in one ring of records; what
 * came since an encoding is in use stands in a ring of that encoding's frames, too, and frames of
 * older events are made from the records when they are asked for. What is committed and has no room
 * in the ring yet waits in the channel's own queue.
 *
 * Entries have a *seq*, which rises by one from the ring's tail to the end of the queue, so that a
 * reader of several channels can read both as one sequence.
 */
import { CHANNEL_BYTES, CORK_WRITE_BYTES_MAX, IN_FLIGHT_WINDOW_CORKS_MAX } from '../limits.js';
import { ChannelSet } from './channel-set.js';
import { EntryQueue } from './entry-queue.js';
import { isDeletion, type LoggedEntry, type LoggedEvent } from './event.js';
import { ENCODINGS, scratch, type Encoding } from './frame.js';
import type { GraceBudget } from './grace.js';
import type { Order, Ordered, Place } from './order.js';
import type { PublishShare } from './publish-memory.js';
import { decodeRecord, encodeRecord } from './record.js';
import { Ring } from './ring.js';

/**
 * What a channel keeps for lines that come back; the ring holds more while its lines have not been
 * given it.
 */
export interface Replay {
  readonly events: number;
  readonly bytes: number;
}

/** What rings take, bytes. */
export interface RingMemory {
  /** Memory of the rings of records, channels' own among it, and of those of frames. */
  recordBytes: number;
  frameBytes: number;
  /** What of it is in buffers; the rest is on V8's heap. */
  bufferBytes: number;
  /** What of the buffers was ever written to. */
  touchedBytes: number;
  /** What of it is records and frames held. */
  heldBytes: number;
}

/** What a channel needs of the groups that its lines are on. */
export interface Reader {
  readonly encoding: Encoding;
  /** True when it reads the encoding's frames, which are kept while somebody does. */
  readonly readsFrames: boolean;
  /** Every healthy line of the group has been given everything up to this id. */
  readonly sweptThrough: number;
  /**
   * Every line of the group in grace has been given everything up to this id; Infinity while none
   * is.
   */
  readonly graceThrough: number;
  /**
   * True when it reads channels of which another one has entries that wait for room: this one does
   * not wait for it then.
   */
  isHeldBackBeside(channel: unknown): boolean;
}

/**
 * Rises with every loss of any channel, so that a line can tell a loss since it was last told from
 * an older one.
 */
let lossCount = 0;

/** How many times channels have lost events so far. */
export function lossesSoFar(): number {
  return lossCount;
}

export class Channel<Group extends Reader> implements Ordered<Channel<Group>> {
  readonly name: string;
  /** Groups with at least one line. */
  readonly groups: Group[] = [];
  /** Lines over all groups. */
  lineCount = 0;
  /**
   * True while only lines hold the name: nothing was ever published to it. Written by
   * core/channels.ts.
   */
  isOfReaders = false;
  /** Groups with a line in grace. Written by core/grace-windows.ts. */
  groupsInGrace = 0;
  /** Times that something may not enter, or go, for the sake of lines in grace. */
  graceRefusals = 0;
  /**
   * What it may still spend on lines in grace; undefined until something was spent. Written by
   * core/grace-windows.ts.
   */
  graceBudget: GraceBudget | undefined;
  /**
   * Rises whenever bytes of the rings may have moved or been overwritten; a view made under another
   * version is dead.
   */
  version = 0;
  /** Rises whenever the queue changes. */
  queueVersion = 0;
  /** Id of the newest event that entered, or 0. */
  newestId = 0;
  /** Id of the newest event that was committed, or 0: it may wait in the queue. */
  newestCommittedId = 0;
  /** True from a deletion until something is published again. */
  isDeleted = false;
  /**
   * Highest id that was dropped here, or may have been before this row was made: a position below
   * it has missed something.
   */
  lostThrough: number;
  /** What {@link lossesSoFar} became when that happened. */
  lostAt = 0;
  /** {@link recordBytes} and {@link frameBytes} as core/channels.ts has counted them. */
  countedRecordBytes = 0;
  countedFrameBytes = 0;
  /** What its publishes hold (core/publish-memory.ts). */
  readonly share: PublishShare = { heldBytes: 0 };
  /** Publishes that wait for room. Written by core/intake.ts. */
  waitingCount = 0;
  /**
   * True while a publish is being read: those that come after it wait. Written by core/intake.ts.
   */
  isReading = false;
  /**
   * True while the channel stands in the intake's list of those whose entries enter. Written by
   * core/intake.ts.
   */
  isEntering = false;
  /** The channel as a set of its own, for those who ask for it alone. */
  readonly alone: ChannelSet<Channel<Group>> = new ChannelSet([this]);
  /**
   * Where it stands among all channels (core/channels.ts), and its frames among all frames while it
   * has some.
   */
  order: Order<Channel<Group>> | undefined;
  older: Channel<Group> | undefined;
  newer: Channel<Group> | undefined;
  framesPlace: Place<Channel<Group>> | undefined;

  readonly #replay: Replay;
  readonly #sweepWorkBytes: number;
  #records: Ring | undefined;
  /**
   * Rings of frames by encoding index, made with the first event: each holds the newest of what the
   * ring of records holds.
   */
  readonly #frames: (Ring | undefined)[] = [];
  /** True at the index of an encoding that a group reads. */
  readonly #inUse: boolean[] = [];
  #queue: EntryQueue | undefined;
  /**
   * Least `sweptThrough` of the groups that it waits for, when last looked at. An old value that is
   * too low is safe; one that is too high, since a group was held back then, lets in one in-flight
   * window more at the most, and eviction looks again.
   */
  #sweptThrough = 0;
  #sweptSeq = 0;

  /** `lostThrough` is what a channel of that name may have lost before (core/losses.ts). */
  constructor(name: string, replay: Replay, sweepWorkBytes: number, lostThrough: number) {
    this.name = name;
    this.#replay = replay;
    this.#sweepWorkBytes = sweepWorkBytes;
    this.lostThrough = lostThrough;
  }

  /** Events held. */
  get length(): number {
    return this.#records?.length ?? 0;
  }

  /** True from its first event until it is dropped, also while all events have been evicted. */
  get hasRing(): boolean {
    return this.#records !== undefined;
  }

  /** True while its row may not be forgotten: somebody is on it or publishes to it. */
  get isHeld(): boolean {
    return this.lineCount > 0 || this.isBusy;
  }

  /** True when forgetting its row loses nothing: it never held an event and was not deleted. */
  get isBlank(): boolean {
    return this.newestId === 0 && !this.isDeleted;
  }

  /** Bytes of memory of the ring of records, and of the channel that holds it. */
  get recordBytes(): number {
    return this.#records === undefined ? 0 : CHANNEL_BYTES + this.#records.memoryBytes;
  }

  /** Bytes of memory of the rings of frames. */
  get frameBytes(): number {
    let bytes = 0;
    for (const ring of this.#frames) bytes += ring?.memoryBytes ?? 0;
    return bytes;
  }

  /**
   * Events held above `id`, and their bytes, at most: of its frames in the encoding where it has
   * them, else of its records.
   */
  heldAfter(id: number, encoding: Encoding): { readonly events: number; readonly bytes: number } {
    const records = this.#records;
    if (records === undefined) return { events: 0, bytes: 0 };
    const seq = records.seqAfter(id);
    const events = records.headSeq - seq;
    const frames = this.#frames[encoding.index];
    const hasFrames = frames !== undefined && frames.length >= events;
    return {
      events,
      bytes: hasFrames ? frames.bytesFrom(frames.headSeq - events) : records.bytesFrom(seq),
    };
  }

  /** Adds what the rings take to a sum. */
  addRingMemory(sum: RingMemory): void {
    const records = this.#records;
    if (records === undefined) return;
    sum.recordBytes += CHANNEL_BYTES + records.memoryBytes;
    sum.bufferBytes += records.bufferBytes;
    sum.touchedBytes += records.touchedBytes;
    sum.heldBytes += records.heldBytes;
    for (const ring of this.#frames) {
      if (ring === undefined) continue;
      sum.frameBytes += ring.memoryBytes;
      sum.bufferBytes += ring.bufferBytes;
      sum.touchedBytes += ring.touchedBytes;
      sum.heldBytes += ring.heldBytes;
    }
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Seq of the first entry above `id` in the ring, or with `queued` in ring and queue; {@link
   * endSeq} when there is none.
   */
  seqAfter(id: number, queued: boolean): number {
    const records = this.#records;
    const seq = records === undefined ? 0 : records.seqAfter(id);
    const ringEnd = this.#ringEnd;
    if (!queued || seq < ringEnd || this.#queue === undefined) return seq;
    return ringEnd + this.#queue.countThrough(id);
  }

  /** Seq behind the last entry of the ring, or with `queued` of the queue. */
  endSeq(queued: boolean): number {
    return this.#ringEnd + (queued ? this.queueLength : 0);
  }

  /** Events from a seq on, in the ring, or with `queued` in ring and queue. */
  eventsFrom(seq: number, queued: boolean): number {
    const ringEnd = this.#ringEnd;
    const entered = Math.max(0, ringEnd - seq);
    return queued && this.#queue !== undefined
      ? entered + this.#queue.eventsFrom(Math.max(0, seq - ringEnd))
      : entered;
  }

  /** Id of the entry at a seq that is held. */
  idAt(seq: number): number {
    const ringEnd = this.#ringEnd;
    return seq < ringEnd
      ? (this.#records as Ring).idAt(seq)
      : (this.#queue as EntryQueue).at(seq - ringEnd).id;
  }

  /** True when the entry at a seq that is held is a deletion, which waits in the queue. */
  isDeletionAt(seq: number): boolean {
    const ringEnd = this.#ringEnd;
    return seq >= ringEnd && isDeletion((this.#queue as EntryQueue).at(seq - ringEnd));
  }

  /**
   * The event at a seq that is held, decoded; undefined for a deletion. Its data is valid while
   * `version` stays.
   */
  eventAt(seq: number): LoggedEvent | undefined {
    const ringEnd = this.#ringEnd;
    if (seq >= ringEnd) {
      const entry = (this.#queue as EntryQueue).at(seq - ringEnd);
      return isDeletion(entry) ? undefined : entry;
    }
    const records = this.#records as Ring;
    return decodeRecord(records.idAt(seq), this.name, records.view(seq, seq + 1));
  }

  /**
   * The frame of the event at a seq that is held, undefined for a deletion. The bytes are the
   * ring's where it has the frame, else they are made from the event, and valid until the next
   * frame is made.
   */
  frameAt(seq: number, encoding: Encoding): Uint8Array | undefined {
    const frames = this.#frames[encoding.index];
    const behindEnd = this.#ringEnd - seq;
    if (frames !== undefined && behindEnd > 0 && behindEnd <= frames.length) {
      const frameSeq = frames.headSeq - behindEnd;
      return frames.view(frameSeq, frameSeq + 1);
    }
    const event = this.eventAt(seq);
    return event === undefined ? undefined : scratch.subarray(0, encoding.encode(event));
  }

  /**
   * The ring of frames in an encoding, when it has all that is in the ring of records behind `id`.
   */
  framesAfter(id: number, encoding: Encoding): Ring | undefined {
    const frames = this.#frames[encoding.index];
    const records = this.#records;
    if (frames === undefined || records === undefined) return undefined;
    if (frames.length === records.length) return frames;
    if (frames.length > 0 && frames.idAt(frames.tailSeq) <= id) return frames;
    return records.headSeq - records.seqAfter(id) <= frames.length ? frames : undefined;
  }

  get #ringEnd(): number {
    return this.#records?.headSeq ?? 0;
  }

  // ── the queue ──────────────────────────────────────────────────────────────────────────────────

  /** Entries that are committed and have not entered. */
  get queueLength(): number {
    return this.#queue?.length ?? 0;
  }

  /** The entry that enters next. */
  get nextEntry(): LoggedEntry | undefined {
    return this.#queue?.at(0);
  }

  /** Takes a committed entry that has no room yet. */
  enqueue(entry: LoggedEntry): void {
    (this.#queue ??= new EntryQueue()).push(entry);
    if (!isDeletion(entry)) this.newestCommittedId = entry.id;
    this.queueVersion++;
  }

  /** Takes the next entry, which must be there, out of the queue. */
  dequeue(): LoggedEntry {
    const queue = this.#queue as EntryQueue;
    const entry = queue.shift();
    if (queue.length === 0) this.#queue = undefined;
    this.queueVersion++;
    return entry;
  }

  /** Id up to which every entry has entered, of `tailedId` entries that the log has handed over. */
  through(tailedId: number): number {
    return this.#queue === undefined ? tailedId : this.#queue.at(0).id - 1;
  }

  /** True while a publish is under way, from the first byte of its body until it has entered. */
  get isBusy(): boolean {
    return (
      this.#queue !== undefined ||
      this.waitingCount > 0 ||
      this.isReading ||
      this.share.heldBytes > 0
    );
  }

  // ── room ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * Bytes that may be held beyond what every healthy line has been given: the more lines, the
   * longer a sweep takes to write them. Whole corks, since a short one costs a line nearly as much
   * as a full one.
   */
  get inFlightWindowBytes(): number {
    const corks = Math.floor(this.#sweepWorkBytes / this.lineCount / CORK_WRITE_BYTES_MAX);
    return CORK_WRITE_BYTES_MAX * Math.min(IN_FLIGHT_WINDOW_CORKS_MAX, Math.max(1, corks));
  }

  /**
   * True when `bytes` more may enter: what the healthy lines have not been given yet stays within
   * the in-flight window. One event may always enter a channel that is swept. This is what keeps a
   * healthy line from ever being lapped: unswept events are not evicted, and their number is
   * bounded by holding back the publishers.
   */
  hasRoom(bytes: number): boolean {
    const records = this.#records;
    if (records === undefined) return true;
    if (this.groupsInGrace > 0 && !this.#hasGraceRoom(records, bytes)) {
      this.graceRefusals++;
      return false;
    }
    const room = this.inFlightWindowBytes - bytes;
    if (this.#unsweptBytes(records) <= room) return true;
    this.#look(records);
    const unswept = this.#unsweptBytes(records);
    return unswept === 0 || unswept <= room;
  }

  /**
   * True when the lines in grace would find all they have not been given within the replay, or the
   * most in-flight window.
   */
  #hasGraceRoom(records: Ring, bytes: number): boolean {
    const owed = this.#bytesFrom(records, records.seqAfter(this.#graceThrough));
    return (
      owed === 0 ||
      owed + bytes <=
        Math.max(this.#replay.bytes, IN_FLIGHT_WINDOW_CORKS_MAX * CORK_WRITE_BYTES_MAX)
    );
  }

  /**
   * Takes an event, whose id is above all before it. Returns how many events were evicted for it.
   */
  enter(event: LoggedEvent): number {
    const records = (this.#records ??= new Ring());
    const record = encodeRecord(event);
    records.append(event.id, record, record.length);
    for (let index = 0; index < this.#inUse.length; index++) {
      if (this.#inUse[index] === true)
        appendFrame((this.#frames[index] ??= new Ring()), ENCODINGS[index] as Encoding, event);
    }
    this.newestId = event.id;
    this.newestCommittedId = Math.max(this.newestCommittedId, event.id);
    this.isDeleted = false;
    this.version++;
    return this.evict();
  }

  /**
   * Evicts what is beyond the replay and has been given to every line that is healthy or in grace.
   * Returns how many.
   */
  evict(): number {
    const records = this.#records;
    if (records === undefined || !this.#isOver(records)) return 0;
    this.#look(records);
    const through = Math.min(this.#sweptThrough, this.#graceThrough);
    let evicted = 0;
    while (this.#isOver(records) && records.idAt(records.tailSeq) <= through) {
      this.lostThrough = records.idAt(records.tailSeq);
      records.evict();
      for (const ring of this.#frames)
        if (ring !== undefined && ring.length > records.length) ring.evict();
      evicted++;
    }
    if (evicted > 0) {
      this.lostAt = ++lossCount;
      this.version++;
    }
    return evicted;
  }

  /**
   * True when nothing held is still owed to a line that is healthy or in grace, so that {@link
   * drop} loses nothing for it.
   */
  get isSwept(): boolean {
    if (this.#records === undefined) return true;
    this.#look(this.#records);
    if (this.newestId > this.#sweptThrough) return false;
    if (this.newestId <= this.#graceThrough) return true;
    this.graceRefusals++;
    return false;
  }

  /**
   * Drops everything up to the newest event, rings and all. Returns how many events were dropped.
   */
  drop(): number {
    const dropped = this.length;
    this.lostThrough = Math.max(this.lostThrough, this.newestId);
    // What was evicted before has been counted as a loss then.
    if (dropped > 0) this.lostAt = ++lossCount;
    this.#records = undefined;
    this.#sweptSeq = 0;
    this.#frames.length = 0;
    this.version++;
    return dropped;
  }

  /**
   * Lets the frames go if no healthy line needs them; they are made from the records when they are
   * needed. Returns bytes freed.
   */
  dropFrames(): number {
    if (!this.isSwept) return 0;
    const bytes = this.frameBytes;
    this.#frames.length = 0;
    this.version++;
    return bytes;
  }

  addGroup(group: Group): void {
    this.groups.push(group);
    if (group.readsFrames) this.#inUse[group.encoding.index] = true;
  }

  removeGroup(group: Group): void {
    this.groups.splice(this.groups.indexOf(group), 1);
    if (!this.groups.some((other) => other.readsFrames && other.encoding === group.encoding)) {
      this.#inUse[group.encoding.index] = false;
      this.#frames[group.encoding.index] = undefined;
    }
  }

  #isOver(records: Ring): boolean {
    return records.length > this.#replay.events || records.heldBytes > this.#replay.bytes;
  }

  /** Bytes that some healthy line may not have been given yet, in the encoding that has most. */
  #unsweptBytes(records: Ring): number {
    return this.#bytesFrom(records, Math.max(this.#sweptSeq, records.tailSeq));
  }

  /** Bytes from a record on, in the encoding that has most. */
  #bytesFrom(records: Ring, seq: number): number {
    const events = records.headSeq - seq;
    let bytes = records.bytesFrom(seq);
    for (const ring of this.#frames) {
      if (ring !== undefined)
        bytes = Math.max(bytes, ring.bytesFrom(Math.max(ring.tailSeq, ring.headSeq - events)));
    }
    return bytes;
  }

  /** Every line in grace has been given everything up to this id. */
  get #graceThrough(): number {
    let least = Infinity;
    if (this.groupsInGrace === 0) return least;
    for (const group of this.groups)
      if (!group.isHeldBackBeside(this)) least = Math.min(least, group.graceThrough);
    return least;
  }

  /** Looks at the groups again. */
  #look(records: Ring): void {
    let swept = Number.MAX_SAFE_INTEGER;
    for (const group of this.groups)
      if (!group.isHeldBackBeside(this)) swept = Math.min(swept, group.sweptThrough);
    this.#sweptThrough = swept;
    this.#sweptSeq = records.seqAfter(swept);
  }
}

function appendFrame(ring: Ring, encoding: Encoding, event: LoggedEvent): void {
  const length = encoding.encode(event);
  ring.append(event.id, scratch, length);
}
