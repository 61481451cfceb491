/**
 * The entries of a channel. Its newest events are held in its rings (core/channel-rings.ts);
 * committed entries for which the rings have no room yet wait in the channel's own queue.
 *
 * Each entry has a *seq*. It rises by one from the tail of the ring to the end of the queue, so a
 * reader of several channels can read ring and queue as one sequence.
 *
 * A class that core/channel.ts extends, and no object of its own: there may be 100,000 of them.
 */
import type { ChannelRings } from './channel-rings.js';
import type { Member } from './channel-set.js';
import { EntryQueue } from './entry-queue.js';
import { isDeletion, type LoggedEntry, type LoggedEvent } from './event.js';
import type { Encoding } from './frame.js';

export class ChannelEntries implements Member {
  readonly name: string;
  /** Rises when bytes of the rings may have moved or changed: older views of them are invalid. */
  version = 0;
  /** Rises whenever the queue changes. */
  queueVersion = 0;
  /** Id of the newest event that entered, or 0. */
  newestId = 0;
  /** Id of the newest event that was committed, or 0; it may be in the queue. */
  newestCommittedId = 0;
  /**
   * Highest id that was lost here, or may have been before this object was made. A position below
   * it has missed something.
   */
  lostThrough: number;
  /** What the loss clock stood at when that happened. */
  lostAt = 0;
  /** What it holds: from its first event until it is dropped. Written by core/channel.ts. */
  rings: ChannelRings | undefined;

  #queue: EntryQueue | undefined;

  /** `lostThrough`: what a channel of this name may have lost before (core/losses.ts). */
  constructor(name: string, lostThrough: number) {
    this.name = name;
    this.lostThrough = lostThrough;
  }

  /** Events held. */
  get length(): number {
    return this.rings?.records.length ?? 0;
  }

  /**
   * Seq of the first entry above `id`, in the ring or with `queued` in ring and queue; {@link
   * endSeq} when there is none.
   */
  seqAfter(id: number, queued: boolean): number {
    const seq = this.rings?.records.seqAfter(id) ?? 0;
    const ringEnd = this.#ringEnd;
    if (!queued || seq < ringEnd || this.#queue === undefined) return seq;
    return ringEnd + this.#queue.countThrough(id);
  }

  /** Seq that follows the last entry of the ring, or with `queued` of the queue. */
  endSeq(queued: boolean): number {
    return this.#ringEnd + (queued ? this.queueLength : 0);
  }

  /** Events from a seq on, in the ring or with `queued` in ring and queue. */
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
      ? (this.rings as ChannelRings).records.idAt(seq)
      : (this.#queue as EntryQueue).at(seq - ringEnd).id;
  }

  /** True when the entry at a seq that is held is a deletion; only the queue holds deletions. */
  isDeletionAt(seq: number): boolean {
    const ringEnd = this.#ringEnd;
    return seq >= ringEnd && isDeletion((this.#queue as EntryQueue).at(seq - ringEnd));
  }

  /**
   * The event at a seq that is held; undefined for a deletion. Its data is valid while `version`
   * stays.
   */
  eventAt(seq: number): LoggedEvent | undefined {
    return seq < this.#ringEnd
      ? (this.rings as ChannelRings).eventAt(seq, this.name)
      : this.#queuedEventAt(seq);
  }

  /**
   * The frame of the event at a seq that is held; undefined for a deletion. Valid until the next
   * frame is made, and while `version` stays.
   */
  frameAt(seq: number, encoding: Encoding): Uint8Array | undefined {
    if (seq < this.#ringEnd) return (this.rings as ChannelRings).frameAt(seq, this.name, encoding);
    const event = this.#queuedEventAt(seq);
    return event === undefined ? undefined : encoding.encode(event);
  }

  #queuedEventAt(seq: number): LoggedEvent | undefined {
    const entry = (this.#queue as EntryQueue).at(seq - this.#ringEnd);
    return isDeletion(entry) ? undefined : entry;
  }

  get #ringEnd(): number {
    return this.rings?.records.headSeq ?? 0;
  }

  // ── the queue ──────────────────────────────────────────────────────────────────────────────────

  /** Entries that are committed and have not entered. */
  get queueLength(): number {
    return this.#queue?.length ?? 0;
  }

  /** What those entries count for against the room, bytes. */
  get queuedCostBytes(): number {
    return this.#queue?.costBytes ?? 0;
  }

  /** The entry that enters next. */
  get nextEntry(): LoggedEntry | undefined {
    return this.#queue?.at(0);
  }

  /** Queues a committed entry for which there is no room yet. */
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

  /** Takes all entries out of the queue. */
  takeQueue(): LoggedEntry[] {
    const entries = this.#queue?.left ?? [];
    this.#queue = undefined;
    this.queueVersion++;
    return entries;
  }

  /** Id up to which every entry has entered, when the log has handed over all up to `tailedId`. */
  through(tailedId: number): number {
    return this.#queue === undefined ? tailedId : this.#queue.at(0).id - 1;
  }
}
