/**
 * The intake: the way of events in. Publishers are let through while there is room, wait a while when there is none, and are
 * refused after that; what the log has given an id enters the rings in id order, whatever its channel.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { ENTERED_PER_TURN, EVENT_COST_BYTES, PUBLISH_WAIT_MS, WAITING_PUBLISHERS, WAITING_PUBLISH_BYTES } from '../limits.js';
import type { EventLog, RequestKey } from '../log/log.js';
import { isDeletion, type LoggedEntry, type NewEntry } from './event.js';
import type { Reservation } from './publish-memory.js';

/** A publish that was accepted. */
export interface Published {
  readonly ids: readonly number[];
  /** Lines on the channel when the events were accepted. */
  readonly subscribers: number;
}

/** What a publisher hands over. It is read when its channel has room for it, so that what waits is as large as what was sent. */
export interface Submission {
  /** The memory that it holds; released when its entries have entered or it failed, or by the publisher when that leaves. */
  readonly reservation: Reservation;
  /** Reads the entries, at least one. Throws or rejects with what the publisher is told. Called at most once. */
  read(this: void): readonly NewEntry[] | Promise<readonly NewEntry[]>;
}

/** What the intake asks of the hub. */
export interface IntakeOwner {
  /** Lines on the channel now. */
  subscribersOf(channel: string): number;
  /** True when an entry of that cost may enter its channel now: what its healthy lines have not been given stays bounded. */
  hasRoom(entry: NewEntry, bytes: number): boolean;
  /** The entry enters; ids rise from call to call. */
  enter(entry: LoggedEntry): void;
  /** What waits to go out shall not wait for a flush interval. */
  flush(): void;
}

/** A publish that waits for room. */
interface Waiter {
  readonly entries: readonly NewEntry[];
  readonly requestKey: RequestKey | undefined;
  readonly bytes: number;
  readonly resolve: (published: Promise<Published>) => void;
  readonly cancelDeadline: () => void;
}

/** What an entry counts for against room and queue. */
function costOf(entry: NewEntry): number {
  return isDeletion(entry) ? EVENT_COST_BYTES : entry.data.length + EVENT_COST_BYTES;
}

export class Intake {
  readonly #owner: IntakeOwner;
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #stopTail: () => void;
  /** Accepted entries that have not entered their ring yet, in id order from `#queueStart`. */
  #queue: LoggedEntry[] = [];
  #queueStart = 0;
  #queueBytes = 0;
  #enterScheduled = false;
  /** Publishers that wait for room, first come first, by channel name. */
  readonly #waiting = new Map<string, Waiter[]>();
  #waitingCount = 0;
  #waitingBytes = 0;

  constructor(owner: IntakeOwner, log: EventLog, clock: Clock, counters: Counters) {
    this.#owner = owner;
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#stopTail = log.tail(log.lastId(), (entries) => this.#take(entries));
  }

  /** Takes no more from the log. */
  stop(): void {
    this.#stopTail();
  }

  /** True when nothing accepted is left to enter and nobody waits. */
  get isEmpty(): boolean {
    return this.#waitingCount === 0 && this.#queueBytes === 0;
  }

  get gauges() {
    return {
      queueEvents: this.#queue.length - this.#queueStart,
      queueBytes: this.#queueBytes,
      waitingPublishers: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
    };
  }

  /**
   * Publishes a batch to one channel, all or nothing; resolves when it has its ids. While the channel's lines have not been given
   * what was accepted before, it waits, at most PUBLISH_WAIT_MS; then it is refused with HOLDLINE_PUBLISH_BUSY.
   */
  publish(channel: string, entries: readonly NewEntry[], requestKey?: RequestKey): Promise<Published> {
    if (!this.#waiting.has(channel) && this.#hasRoom(entries)) return this.#append(channel, entries, requestKey);
    return this.#wait(channel, entries, requestKey);
  }

  /** Room may have come: what waits enters as far as there is some. */
  proceed(): void {
    if (this.#queueStart < this.#queue.length) this.#enter();
    this.#admit();
  }

  /** Accepted entries go first, so none is admitted while some wait for a ring; a batch is admitted by its first entry. */
  #hasRoom(entries: readonly NewEntry[]): boolean {
    const first = entries[0];
    return this.#queueBytes === 0 && (first === undefined || this.#owner.hasRoom(first, costOf(first)));
  }

  async #append(channel: string, entries: readonly NewEntry[], requestKey: RequestKey | undefined): Promise<Published> {
    const subscribers = this.#owner.subscribersOf(channel);
    const ids = await this.#log.append(entries, requestKey === undefined ? undefined : { ...requestKey, subscribers });
    for (const entry of entries) if (!isDeletion(entry)) this.#counters.events_accepted_total++;
    return { ids, subscribers };
  }

  #wait(channel: string, entries: readonly NewEntry[], requestKey: RequestKey | undefined): Promise<Published> {
    let bytes = 0;
    for (const entry of entries) bytes += costOf(entry);
    if (this.#waitingCount >= WAITING_PUBLISHERS || this.#waitingBytes + bytes > WAITING_PUBLISH_BYTES) {
      const error = new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${this.#waitingCount} publishers wait for room already; try again after Retry-After`,
      );
      return Promise.reject(error);
    }
    this.#counters.publish_waited_total++;
    this.#owner.flush();
    return new Promise<Published>((resolve, reject) => {
      const cancelDeadline = this.#clock.later(PUBLISH_WAIT_MS, () => {
        this.#unwait(channel, waiter);
        reject(
          new HoldlineError(
            'HOLDLINE_PUBLISH_BUSY',
            `no room on ${channel} for ${PUBLISH_WAIT_MS} ms: its lines take less than is published; try again after Retry-After`,
          ),
        );
      });
      const waiter: Waiter = { entries, requestKey, bytes, resolve, cancelDeadline };
      const line = this.#waiting.get(channel);
      if (line === undefined) this.#waiting.set(channel, [waiter]);
      else line.push(waiter);
      this.#waitingCount++;
      this.#waitingBytes += bytes;
    });
  }

  #unwait(channel: string, waiter: Waiter): void {
    const line = this.#waiting.get(channel) as Waiter[];
    line.splice(line.indexOf(waiter), 1);
    if (line.length === 0) this.#waiting.delete(channel);
    this.#waitingCount--;
    this.#waitingBytes -= waiter.bytes;
    waiter.cancelDeadline();
  }

  /** Lets in whoever has room now. */
  #admit(): void {
    if (this.#waitingCount === 0) return;
    for (const [channel, line] of this.#waiting) {
      for (let first = line[0]; first !== undefined && this.#hasRoom(first.entries); first = line[0]) {
        this.#unwait(channel, first);
        first.resolve(this.#append(channel, first.entries, first.requestKey));
      }
    }
  }

  #take(entries: readonly LoggedEntry[]): void {
    for (const entry of entries) {
      this.#queue.push(entry);
      this.#queueBytes += costOf(entry);
    }
    this.#enter();
  }

  /**
   * Moves accepted entries into their rings, in id order over all channels (a line on several channels is given rising ids), as
   * long as there is room. A large batch enters in portions.
   */
  #enter(): void {
    let portion = ENTERED_PER_TURN;
    while (this.#queueStart < this.#queue.length) {
      const entry = this.#queue[this.#queueStart] as LoggedEntry;
      const cost = costOf(entry);
      if (!this.#owner.hasRoom(entry, cost)) {
        this.#owner.flush();
        break;
      }
      if (portion-- === 0) {
        this.#enterSoon();
        break;
      }
      this.#queueStart++;
      this.#queueBytes -= cost;
      this.#owner.enter(entry);
    }
    // Compacted when the front half is done, so that a shift costs O(1) an entry.
    if (this.#queueStart * 2 >= this.#queue.length) {
      this.#queue = this.#queueStart === this.#queue.length ? [] : this.#queue.slice(this.#queueStart);
      this.#queueStart = 0;
    }
  }

  #enterSoon(): void {
    if (this.#enterScheduled) return;
    this.#enterScheduled = true;
    this.#clock.soon(() => {
      this.#enterScheduled = false;
      this.#enter();
      this.#admit();
    });
  }
}
