/**
 * The entrance: what the log has committed enters its channel's rings at once when there is room,
 * and otherwise waits in the channel's queue. Each channel has its own room and queue, so none
 * holds up another.
 */
import type { Clock } from '../clock.js';
import {
  ENTERED_PER_CHECK,
  ENTERED_PER_TURN_MAX,
  EVENT_COST_BYTES,
  QUEUED_EVENT_BYTES,
  SWEEP_SLICE_MS,
} from '../limits.js';
import type { Channel } from './channel.js';
import { roomBytesOf } from './entry-queue.js';
import { isDeletion, type LoggedEntry, type NewEntry } from './event.js';
import type { EventLog } from './event-log.js';
import type { Group } from './group.js';
import type { Progress } from './progress.js';
import type { PublishMemory } from './publish-memory.js';

/** What the entrance asks of the hub. */
interface EntranceOwner {
  /** The channel of an entry; undefined when there is no place for it. */
  placeOf(entry: LoggedEntry): Channel<Group> | undefined;
  /** The log has committed an event; of those that it hands over at once only the last is told. */
  accepted(channel: Channel<Group>, id: number): void;
  /** The channel's queue has a new entry, which groups on several channels may read. */
  queued(channel: Channel<Group>): void;
  /** The entry enters its channel, if it has one. Ids rise within a channel. */
  enter(channel: Channel<Group> | undefined, entry: LoggedEntry): void;
  /**
   * The channel's queue is given up: its entries, which are kept by the log, pass the channel by.
   */
  passBy(channel: Channel<Group>, entries: readonly LoggedEntry[]): void;
  /** Ends a flush interval early: entries wait for room. */
  flush(): void;
  /**
   * The log did not hand over what it had up to an id, of one channel or, without a name, of all.
   * Nothing waits in their queues.
   */
  missed(throughId: number, name: string | undefined): void;
  /** The channels of a name, or all, as far as they are known. */
  known(name: string | undefined): Iterable<Channel<Group>>;
  /** It is the channel's turn: lets entries of its queue enter, and then publishers. */
  proceed(channel: Channel<Group>): void;
}

/** Memory of an entry that is not in a ring, bytes. */
export function queuedBytesOf(entry: NewEntry): number {
  return isDeletion(entry) ? QUEUED_EVENT_BYTES : entry.data.length + QUEUED_EVENT_BYTES;
}

export class Entrance {
  /** True where the log keeps what it hands over. Written by core/hub.ts. */
  isKept = false;

  readonly #owner: EntranceOwner;
  readonly #progress: Progress;
  readonly #clock: Clock;
  readonly #memory: PublishMemory;
  readonly #log: EventLog;
  #stopTail: (() => void) | undefined;
  /** Channels whose queues go on entering in the next turn of the loop, in this order. */
  #waiting: Channel<Group>[] = [];
  #isScheduled = false;
  #queuedEvents = 0;
  #queuedBytes = 0;

  constructor(
    owner: EntranceOwner,
    log: EventLog,
    progress: Progress,
    clock: Clock,
    memory: PublishMemory,
  ) {
    this.#owner = owner;
    this.#progress = progress;
    this.#clock = clock;
    this.#memory = memory;
    this.#log = log;
  }

  /** Takes from the log, which is open, what it commits from now on. */
  begin(): void {
    this.#stopTail = this.#log.tail(
      (entries) => this.#take(entries),
      (throughId, name) => this.#lose(throughId, name),
    );
  }

  /** Takes no more from the log. */
  stop(): void {
    this.#stopTail?.();
  }

  /** Events in the channels' queues. */
  get queuedEvents(): number {
    return this.#queuedEvents;
  }

  /** Memory of those events. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** True when entries that count for `bytes`, however small, may wait in the channel's queue. */
  mayQueue(channel: Channel<Group>, bytes: number): boolean {
    return this.#memory.mayHold(channel.share, (bytes * QUEUED_EVENT_BYTES) / EVENT_COST_BYTES);
  }

  /** Entries of the channel's queue enter while there is room; a large batch in portions. */
  enter(channel: Channel<Group>): void {
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    for (let count = 0; ; count++) {
      const entry = channel.nextEntry;
      if (entry === undefined) return;
      if (!mayEnter(channel, entry)) {
        this.#owner.flush();
        return;
      }
      const isTimeUp =
        count % ENTERED_PER_CHECK === 0 && count > 0 && this.#clock.nowMs() >= untilMs;
      if (count === ENTERED_PER_TURN_MAX || isTimeUp) {
        this.#enterSoon(channel);
        return;
      }
      channel.dequeue();
      const bytes = queuedBytesOf(entry);
      this.#memory.give(channel.share, bytes);
      this.#queuedEvents--;
      this.#queuedBytes -= bytes;
      this.#owner.enter(channel, entry);
    }
  }

  #take(entries: readonly LoggedEntry[]): void {
    let portion = ENTERED_PER_TURN_MAX;
    const last = entries.at(-1);
    for (const entry of entries) {
      this.#progress.tailedId = entry.id;
      const channel = this.#owner.placeOf(entry);
      if (channel !== undefined && entry === last && !isDeletion(entry))
        this.#owner.accepted(channel, entry.id);
      if (
        channel === undefined ||
        (portion > 0 && channel.queueLength === 0 && mayEnter(channel, entry))
      ) {
        portion--;
        this.#owner.enter(channel, entry);
        continue;
      }
      this.#enqueue(channel, entry);
    }
  }

  /**
   * What waits in a queue is older than what was lost: it is left to the log, like what the ring
   * held, so that nothing older than a loss enters behind it.
   */
  #lose(throughId: number, name: string | undefined): void {
    this.#progress.tailedId = Math.max(this.#progress.tailedId, throughId);
    for (const channel of this.#owner.known(name)) {
      if (channel.queueLength === 0) continue;
      for (const entry of this.#takeQueue(channel))
        if (isDeletion(entry)) this.#owner.enter(channel, entry);
      // Publishers may wait behind the queue.
      this.#enterSoon(channel);
    }
    this.#owner.missed(throughId, name);
  }

  #takeQueue(channel: Channel<Group>): LoggedEntry[] {
    const entries = channel.takeQueue();
    for (const queued of entries) {
      const bytes = queuedBytesOf(queued);
      this.#memory.give(channel.share, bytes);
      this.#queuedBytes -= bytes;
    }
    this.#queuedEvents -= entries.length;
    return entries;
  }

  #enqueue(channel: Channel<Group>, entry: LoggedEntry): void {
    const bytes = queuedBytesOf(entry);
    if (this.isKept && !this.#memory.mayHold(channel.share, bytes)) {
      this.#giveUp(channel, entry);
      return;
    }
    this.#memory.hold(channel.share, bytes);
    this.#queuedEvents++;
    this.#queuedBytes += bytes;
    channel.enqueue(entry);
    if (channel.queueLength === 1) {
      this.#owner.flush();
      this.#enterSoon(channel);
    }
    this.#owner.queued(channel);
  }

  /** The queue is past its share: its lines are given the rest from the log, at their own pace. */
  #giveUp(channel: Channel<Group>, entry: LoggedEntry): void {
    const entries = this.#takeQueue(channel);
    entries.push(entry);
    this.#owner.passBy(channel, entries);
    // Publishers may wait behind the queue.
    this.#enterSoon(channel);
  }

  #enterSoon(channel: Channel<Group>): void {
    if (channel.isEntering) return;
    channel.isEntering = true;
    this.#waiting.push(channel);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soon(this.#enterInTurn);
  }

  /** Channels take turns for a slice of time. The rest goes first in the next turn of the loop. */
  readonly #enterInTurn = (): void => {
    this.#isScheduled = false;
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    const channels = this.#waiting;
    this.#waiting = [];
    let done = 0;
    do {
      const channel = channels[done++] as Channel<Group>;
      channel.isEntering = false;
      this.#owner.proceed(channel);
    } while (done < channels.length && this.#clock.nowMs() < untilMs);
    this.#waiting.unshift(...channels.slice(done));
    if (this.#waiting.length > 0) this.#schedule();
  };
}

/**
 * A deletion enters when healthy lines have been given everything before it, an event when it fits.
 */
function mayEnter(channel: Channel<Group>, entry: LoggedEntry): boolean {
  return isDeletion(entry) ? channel.isSwept : channel.hasRoom(roomBytesOf(entry));
}
