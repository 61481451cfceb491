/**
 * The intake: how events come in. Publishes to a channel are read one after the other while it has
 * room, wait a while when it has none, and are refused after that. What the log has committed
 * enters the channel's ring as soon as there is room, or waits in the channel's queue. Room, queue
 * and waiting publishes are each channel's own, so that none holds up another.
 */
import type { Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import {
  BATCH_AT_ONCE_BYTES_MAX,
  CORK_WRITE_BYTES_MAX,
  ENTERED_PER_CHECK,
  ENTERED_PER_TURN_MAX,
  EVENT_COST_BYTES,
  PUBLISH_WAIT_MS_MAX,
  QUEUED_EVENT_BYTES,
  CONCURRENT_READS_MAX,
  SWEEP_SLICE_MS,
  WAITING_PUBLISHERS_MAX,
} from '../limits.js';
import type { EventLog, RequestKey } from './event-log.js';
import type { Channel, Reader } from './channel.js';
import { isDeletion, type LoggedEntry, type NewEntry } from './event.js';
import type { PublishMemory, Reservation } from './publish-memory.js';

/** A publish that was accepted. */
export interface Published {
  readonly ids: readonly number[];
  /** Lines on the channel when the events were accepted. */
  readonly subscribers: number;
}

/**
 * What a publisher hands over. It is read when its channel has room for it, so that what waits is
 * as large as what was sent.
 */
export interface Submission {
  /**
   * The memory that it holds; released when its entries are the log's or it failed, or by the
   * publisher when that leaves.
   */
  readonly reservation: Reservation;
  /**
   * True when the entries are there already: however many, they are not read in a turn of their
   * own.
   */
  readonly isRead?: true;
  /**
   * Reads the entries, at least one. Throws or rejects with what the publisher is told. Called at
   * most once.
   */
  read(this: void): readonly NewEntry[] | Promise<readonly NewEntry[]>;
}

/** What the intake asks of the hub. */
export interface IntakeOwner<Group extends Reader> {
  /** The channel of an entry; undefined when there is no place for it any more. */
  placeOf(entry: LoggedEntry): Channel<Group> | undefined;
  /** The entry waits in its channel's queue: who reads queues may read it. */
  queued(channel: Channel<Group>): void;
  /** The entry enters its channel, if it has one; ids rise from call to call of a channel. */
  enter(channel: Channel<Group> | undefined, entry: LoggedEntry): void;
  /** What waits to go out shall not wait for a flush interval. */
  flush(): void;
}

/** A publish that waits for room. */
interface WaitingPublish {
  readonly submission: Submission;
  readonly requestKey: RequestKey | undefined;
  /**
   * What its reservation held when it began to wait: a publisher that leaves has released it before
   * it is taken out.
   */
  readonly bytes: number;
  readonly resolve: (published: Promise<Published>) => void;
  readonly cancelDeadline: () => void;
}

/** What an entry counts for against its channel's room. */
function costOf(entry: NewEntry): number {
  return isDeletion(entry) ? EVENT_COST_BYTES : entry.data.length + EVENT_COST_BYTES;
}

/** What an entry takes while it is in memory and not in a ring. */
export function queuedBytesOf(entry: NewEntry): number {
  return isDeletion(entry) ? QUEUED_EVENT_BYTES : entry.data.length + QUEUED_EVENT_BYTES;
}

export class Intake<Group extends Reader> {
  readonly #owner: IntakeOwner<Group>;
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #memory: PublishMemory;
  readonly #stopTail: () => void;
  /** Id of the newest entry that the log has handed over. */
  #tailedId: number;
  /** Channels whose queue goes on entering in the next turn of the loop, in turn. */
  #entering: Channel<Group>[] = [];
  #enterScheduled = false;
  /** Large publishes that are to be read, in the order in which their channels had room. */
  readonly #toRead: (() => void)[] = [];
  /** Publishes that are being read, and those that are or are to be. */
  #readingNow = 0;
  #readingCount = 0;
  #queuedEvents = 0;
  #queuedBytes = 0;
  /** Publishes that wait for room, first come first. */
  readonly #waiting = new Map<Channel<Group>, WaitingPublish[]>();
  #waitingCount = 0;
  #waitingBytes = 0;

  constructor(
    owner: IntakeOwner<Group>,
    log: EventLog,
    clock: Clock,
    counters: Counters,
    memory: PublishMemory,
  ) {
    this.#owner = owner;
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#memory = memory;
    this.#tailedId = log.lastId();
    this.#stopTail = log.tail(this.#tailedId, (entries) => this.#take(entries));
  }

  /** Takes no more from the log. */
  stop(): void {
    this.#stopTail();
  }

  /** Id of the newest entry that the log has handed over. */
  get tailedId(): number {
    return this.#tailedId;
  }

  /** True when nothing accepted is left to enter and nobody waits. */
  get isEmpty(): boolean {
    return this.#waitingCount === 0 && this.#queuedEvents === 0 && this.#readingCount === 0;
  }

  get gauges() {
    return {
      queueEvents: this.#queuedEvents,
      queueBytes: this.#queuedBytes,
      readingPublishers: this.#readingCount,
      waitingPublishers: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
    };
  }

  /**
   * Throws HOLDLINE_PUBLISH_BUSY when a publish to the channel would be refused for the number of
   * those that wait.
   */
  checkPlace(channel: Channel<Group>): void {
    const own = channel.waitingCount;
    // As many as are still free, so that who takes all it can leaves as much for each of the
    // others.
    if (own < WAITING_PUBLISHERS_MAX - this.#waitingCount) return;
    throw new HoldlineError(
      'HOLDLINE_PUBLISH_BUSY',
      `${own} publishes to ${channel.name} wait for room already; try again after Retry-After`,
    );
  }

  /**
   * Publishes what a submission reads, all or nothing; resolves when it has its ids. While the
   * channel's lines have not been given what was accepted before, it waits, at most
   * PUBLISH_WAIT_MS_MAX; then it is refused with HOLDLINE_PUBLISH_BUSY.
   */
  submit(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    // Nothing is published that nobody is told of.
    if (submission.reservation.isReleased) return Promise.reject(publisherLeft());
    if (channel.waitingCount === 0 && this.#hasRoom(channel, submission))
      return this.#begin(channel, submission, requestKey);
    return this.#wait(channel, submission, requestKey);
  }

  /**
   * Room may have come in the channel: what waits there enters as far as there is some, then
   * publishes are let in.
   */
  proceed(channel: Channel<Group>): void {
    if (channel.queueLength > 0) this.#enter(channel);
    this.#admit(channel);
  }

  /**
   * Accepted entries go first, so nothing is read while some wait for the ring; a batch is let in
   * by its first bytes.
   */
  #hasRoom(channel: Channel<Group>, { reservation }: Submission): boolean {
    if (channel.queueLength > 0 || channel.isReading) return false;
    return channel.hasRoom(Math.min(reservation.bytes, CORK_WRITE_BYTES_MAX));
  }

  // ── publishes ──────────────────────────────────────────────────────────────────────────────────

  /** Reads and appends: at once, or over several turns of the loop. */
  #begin(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    const { reservation } = submission;
    // Many at a time would hold many times what was sent: what is read of a batch is larger than
    // the batch.
    if (
      reservation.bytes > BATCH_AT_ONCE_BYTES_MAX &&
      submission.isRead !== true &&
      this.#readingNow >= CONCURRENT_READS_MAX
    ) {
      return this.#readLater(channel, submission, requestKey);
    }
    let entries: ReturnType<Submission['read']>;
    try {
      entries = submission.read();
    } catch (error) {
      reservation.release();
      return Promise.reject(asError(error));
    }
    if (!(entries instanceof Promise))
      return this.#append(channel, entries, reservation, requestKey);
    this.#startsReading(channel);
    return this.#readOn(channel, entries, reservation, requestKey);
  }

  #startsReading(channel: Channel<Group>): void {
    channel.isReading = true;
    this.#readingCount++;
  }

  /** Waits until the entries have been read, and others with it on the channel. */
  async #readOn(
    channel: Channel<Group>,
    reading: Promise<readonly NewEntry[]>,
    reservation: Reservation,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    this.#readingNow++;
    let entries: readonly NewEntry[];
    try {
      entries = await reading;
      // Nothing is published that nobody is told of.
      if (reservation.isReleased) throw publisherLeft();
    } catch (error) {
      reservation.release();
      throw error;
    } finally {
      this.#readingNow--;
      this.#readingCount--;
      channel.isReading = false;
      // In a turn of its own: these entries go first.
      this.#clock.soon(() => {
        this.proceed(channel);
        this.#readNext();
      });
    }
    return this.#append(channel, entries, reservation, requestKey);
  }

  /** Its channel has room, but as many are being read as may. */
  #readLater(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    this.#startsReading(channel);
    return new Promise((resolve) => {
      this.#toRead.push(() => {
        const { reservation } = submission;
        const reading = reservation.isReleased
          ? Promise.reject(publisherLeft())
          : readNow(submission);
        resolve(this.#readOn(channel, reading, reservation, requestKey));
      });
    });
  }

  #readNext(): void {
    while (this.#readingNow < CONCURRENT_READS_MAX && this.#toRead.length > 0)
      (this.#toRead.shift() as () => void)();
  }

  async #append(
    channel: Channel<Group>,
    entries: readonly NewEntry[],
    reservation: Reservation,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    const subscribers = channel.lineCount;
    try {
      const ids = await this.#log.append(
        entries,
        requestKey === undefined ? undefined : { ...requestKey, subscribers },
      );
      for (const entry of entries) if (!isDeletion(entry)) this.#counters.events_accepted_total++;
      return { ids, subscribers };
    } finally {
      reservation.release();
    }
  }

  // ── waiting for room ───────────────────────────────────────────────────────────────────────────

  #wait(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    const { reservation } = submission;
    try {
      this.checkPlace(channel);
    } catch (error) {
      reservation.release();
      return Promise.reject(asError(error));
    }
    this.#counters.publish_waited_total++;
    this.#owner.flush();
    return new Promise<Published>((resolve, reject) => {
      const giveUp = (error: HoldlineError): void => {
        this.#unwait(channel, waiter);
        reservation.release();
        reject(error);
      };
      const cancelDeadline = this.#clock.later(PUBLISH_WAIT_MS_MAX, () => {
        giveUp(
          new HoldlineError(
            'HOLDLINE_PUBLISH_BUSY',
            `no room on ${channel.name} for ${PUBLISH_WAIT_MS_MAX} ms: its lines take less than is published; try again after Retry-After`,
          ),
        );
      });
      const waiter: WaitingPublish = {
        submission,
        requestKey,
        bytes: reservation.bytes,
        resolve,
        cancelDeadline,
      };
      reservation.onRelease = () => giveUp(publisherLeft());
      const waiters = this.#waiting.get(channel);
      if (waiters === undefined) this.#waiting.set(channel, [waiter]);
      else waiters.push(waiter);
      channel.waitingCount++;
      this.#waitingCount++;
      this.#waitingBytes += waiter.bytes;
    });
  }

  #unwait(channel: Channel<Group>, waiter: WaitingPublish): void {
    const waiters = this.#waiting.get(channel) as WaitingPublish[];
    waiters.splice(waiters.indexOf(waiter), 1);
    if (waiters.length === 0) this.#waiting.delete(channel);
    channel.waitingCount--;
    waiter.submission.reservation.onRelease = undefined;
    this.#waitingCount--;
    this.#waitingBytes -= waiter.bytes;
    waiter.cancelDeadline();
  }

  /** Lets in whoever has room now. */
  #admit(channel: Channel<Group>): void {
    const waiters = this.#waiting.get(channel);
    if (waiters === undefined) return;
    for (let first = waiters[0]; first !== undefined; first = waiters[0]) {
      if (!this.#hasRoom(channel, first.submission)) return;
      this.#unwait(channel, first);
      first.resolve(this.#begin(channel, first.submission, first.requestKey));
    }
  }

  // ── committed entries ──────────────────────────────────────────────────────────────────────────

  #take(entries: readonly LoggedEntry[]): void {
    let portion = ENTERED_PER_TURN_MAX;
    for (const entry of entries) {
      this.#tailedId = entry.id;
      const channel = this.#owner.placeOf(entry);
      if (
        channel === undefined ||
        (portion > 0 && channel.queueLength === 0 && this.#mayEnter(channel, entry))
      ) {
        portion--;
        this.#owner.enter(channel, entry);
        continue;
      }
      this.#enqueue(channel, entry);
    }
  }

  #enqueue(channel: Channel<Group>, entry: LoggedEntry): void {
    const bytes = queuedBytesOf(entry);
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

  #mayEnter(channel: Channel<Group>, entry: LoggedEntry): boolean {
    // What is deleted is given to the healthy lines before.
    return isDeletion(entry) ? channel.isSwept : channel.hasRoom(costOf(entry));
  }

  /** The channel's queue goes on entering in the next turn of the loop. */
  #enterSoon(channel: Channel<Group>): void {
    if (channel.isEntering) return;
    channel.isEntering = true;
    this.#entering.push(channel);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#enterScheduled) return;
    this.#enterScheduled = true;
    this.#clock.soon(this.#enterInTurn);
  }

  /**
   * Channels take turns for a slice of time; those that are left go first in the next turn of the
   * loop.
   */
  readonly #enterInTurn = (): void => {
    this.#enterScheduled = false;
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    const channels = this.#entering;
    this.#entering = [];
    let done = 0;
    do {
      const channel = channels[done++] as Channel<Group>;
      channel.isEntering = false;
      this.proceed(channel);
    } while (done < channels.length && this.#clock.nowMs() < untilMs);
    this.#entering.unshift(...channels.slice(done));
    if (this.#entering.length > 0) this.#schedule();
  };

  /**
   * Moves entries from the channel's queue into its ring as long as there is room; a large batch
   * enters in portions.
   */
  #enter(channel: Channel<Group>): void {
    const untilMs = this.#clock.nowMs() + SWEEP_SLICE_MS;
    for (let count = 0; ; count++) {
      const entry = channel.nextEntry;
      if (entry === undefined) return;
      if (!this.#mayEnter(channel, entry)) {
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
}

/** What the submission reads, as a promise also where it is read at once. */
async function readNow({ read }: Submission): Promise<readonly NewEntry[]> {
  return read();
}

/** Whom this is told has gone, so that nobody is. */
export function publisherLeft(): HoldlineError {
  return new HoldlineError('HOLDLINE_PUBLISH_BUSY', 'the publisher has left');
}
