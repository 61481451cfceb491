/**
 * The intake: publishes to a channel are read and appended to the log one after another while the
 * channel has room. Without room they wait in its admission queue, and are refused after a while.
 * Each channel has its own room and queue, so none holds up another.
 */
import { giveUpAfter, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import {
  BATCH_AT_ONCE_BYTES_MAX,
  CONCURRENT_READS_MAX,
  CORK_WRITE_BYTES_MAX,
  PUBLISH_WAIT_MS_MAX,
  WAITING_PUBLISHERS_MAX,
} from '../limits.js';
import { AppendWindow } from './append-window.js';
import type { Channel } from './channel.js';
import type { Elsewhere } from './elsewhere.js';
import type { Entrance } from './entrance.js';
import { roomBytesOf } from './entry-queue.js';
import { isDeletion, type NewEntry } from './event.js';
import type { EventLog, RequestKey } from './event-log.js';
import type { Group } from './group.js';
import type { Reservation } from './publish-memory.js';

/** A publish that was accepted. */
export interface Published {
  /** Empty when another process has published the same request meanwhile. */
  readonly ids: readonly number[];
  /** Lines on the channel when the events were accepted. */
  readonly subscribers: number;
}

/**
 * What a publisher hands over. It is read when its channel has room, so what waits is as large as
 * what was sent.
 */
export interface Submission {
  /**
   * The memory that it holds. Released when its entries are in the log, when it fails, and by a
   * publisher that leaves.
   */
  readonly reservation: Reservation;
  /** True when its entries have been read: it is not counted among those that are being read. */
  readonly isRead?: true;
  /**
   * Reads the entries, at least one. Throws or rejects with the publisher's answer. Called once.
   */
  read(this: void): readonly NewEntry[] | Promise<readonly NewEntry[]>;
}

/** A publish that waits for room. */
interface WaitingPublish {
  readonly submission: Submission;
  readonly requestKey: RequestKey | undefined;
  /** What its reservation held when it began to wait; one that leaves has released it by then. */
  readonly bytes: number;
  readonly resolve: (published: Promise<Published>) => void;
  readonly cancelDeadline: () => void;
}

export class Intake {
  /** Lines that other processes of the server hold; undefined where there are none. */
  elsewhere: Elsewhere | undefined;

  readonly #entrance: Entrance;
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  /** Ends a flush interval early: publishers wait. */
  readonly #flush: () => void;
  /** Large publishes that are to be read, in the order in which their channels had room. */
  readonly #toRead: (() => void)[] = [];
  /** Publishes that are being read, and those with what is in `#toRead`. */
  #readingNow = 0;
  #readingCount = 0;
  /** The admission queues: publishes that wait for room, in the order in which they came. */
  readonly #waiting = new Map<Channel<Group>, WaitingPublish[]>();
  #waitingCount = 0;
  #waitingBytes = 0;
  /** Publishes that the log has been given and has not answered. */
  #appending = 0;
  /**
   * Bytes of them, by channel, where the log answers in a later turn: they take room as if they had
   * entered.
   */
  readonly #ahead = new Map<Channel<Group>, number>();
  readonly #appendWindow = new AppendWindow();

  constructor(
    entrance: Entrance,
    log: EventLog,
    clock: Clock,
    counters: Counters,
    flush: () => void,
  ) {
    this.#entrance = entrance;
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#flush = flush;
  }

  /** Lines on the channel, as a publisher is told. */
  subscribersOf(channel: Channel<Group>): number {
    const here = channel.lineCount;
    return this.elsewhere === undefined ? here : here + this.elsewhere.of(channel.name);
  }

  /** True when no publish waits, is read or appended, and everything accepted has entered. */
  get isEmpty(): boolean {
    return (
      this.#waitingCount === 0 &&
      this.#entrance.queuedEvents === 0 &&
      this.#readingCount === 0 &&
      this.#appending === 0
    );
  }

  /** True when the log has publishes that it has not answered, and no other waits for room. */
  get isAnswerAwaited(): boolean {
    return this.#appending > 0 && this.#waitingCount === 0;
  }

  get gauges() {
    return {
      queueEvents: this.#entrance.queuedEvents,
      queueBytes: this.#entrance.queuedBytes,
      readingPublishers: this.#readingCount,
      appendingPublishers: this.#appending,
      waitingPublishers: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
    };
  }

  /** Throws HOLDLINE_PUBLISH_BUSY when too many publishes wait to take another to the channel. */
  checkPlace(channel: Channel<Group>): void {
    const own = channel.waitingCount;
    // As many as places are still free: a channel that takes all it can leaves as many to others.
    if (own < WAITING_PUBLISHERS_MAX - this.#waitingCount) return;
    throw new HoldlineError(
      'HOLDLINE_PUBLISH_BUSY',
      `${this.#waitingCount} publishes already wait for room, ${own} of them to ${channel.name}; try again after Retry-After`,
    );
  }

  /**
   * Publishes what a submission reads, all or nothing; resolves when it has its ids. Without room
   * in the channel it waits for at most PUBLISH_WAIT_MS_MAX, then it is refused with
   * HOLDLINE_PUBLISH_BUSY.
   */
  submit(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    // The publisher has left: nothing is published without an answer.
    if (submission.reservation.isReleased) return Promise.reject(publisherLeft());
    const { bytes } = submission.reservation;
    if (channel.waitingCount === 0 && this.#mayBegin(channel, bytes))
      return this.#begin(channel, submission, requestKey);
    return this.#wait(channel, submission, requestKey);
  }

  /**
   * True when a batch over several channels, which does not wait, may take `bytes` of the room: no
   * publish to the channel is read, which it would overtake, and those that wait do so for the log
   * alone, as nearly always some do on a busy channel.
   */
  hasRoomForBatch(channel: Channel<Group>, bytes: number): boolean {
    const first = this.#waiting.get(channel)?.[0];
    const isForLog =
      first === undefined ||
      (this.#hasRoom(channel, first.bytes) && !this.#mayAppend(channel, first.bytes));
    return isForLog && this.#hasRoom(channel, bytes);
  }

  /** The channel may have room again: its queue goes on entering, then publishes are admitted. */
  proceed(channel: Channel<Group>): void {
    if (channel.queueLength > 0) this.#entrance.enter(channel);
    this.#admit(channel);
  }

  /**
   * For a batch there must be room for its first cork, behind the entries that were accepted and
   * wait. Where the log answers later, there must be when it answers, for what it has, too.
   */
  #hasRoom(channel: Channel<Group>, bytes: number, atLog = this.#ahead.get(channel) ?? 0): boolean {
    if (channel.isReading) return false;
    const first = Math.min(bytes, CORK_WRITE_BYTES_MAX);
    if (!this.#entrance.isKept || channel.lineCount === 0)
      return channel.queueLength === 0 && channel.hasRoom(first);
    const ahead = atLog + channel.queuedCostBytes;
    if (ahead + first > channel.inFlightWindowBytes) return false;
    return (
      channel.hasRoom(ahead + first) ||
      (channel.hasRoomSoon(ahead + first) && this.#entrance.mayQueue(channel, ahead + first))
    );
  }

  /** True when a publish of `bytes` may be read and appended, if none waits before it. */
  #mayBegin(channel: Channel<Group>, bytes: number): boolean {
    return this.#hasRoom(channel, bytes) && this.#mayAppend(channel, bytes);
  }

  /** False while the log has been given as much of the channel as it answers in good time. */
  #mayAppend(channel: Channel<Group>, bytes: number): boolean {
    return this.#appendWindow.hasRoom(this.#ahead.get(channel) ?? 0, bytes);
  }

  // ── publishes ──────────────────────────────────────────────────────────────────────────────────

  /** Reads and appends: at once, or over several turns of the loop. */
  #begin(
    channel: Channel<Group>,
    submission: Submission,
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    const { reservation } = submission;
    // What is read of a batch is larger than the batch: many at a time would take too much memory.
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

  /** Waits until the entries have been read; later publishes to the channel wait, too. */
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
      if (reservation.isReleased) throw publisherLeft();
    } catch (error) {
      reservation.release();
      throw error;
    } finally {
      this.#readingNow--;
      this.#readingCount--;
      channel.isReading = false;
      // In the next turn, so that these entries are appended first.
      this.#clock.soon(() => {
        this.proceed(channel);
        this.#readNext();
      });
    }
    return this.#append(channel, entries, reservation, requestKey);
  }

  /** The channel has room, but too many publishes are being read. */
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
    const subscribers = this.subscribersOf(channel);
    const { isKept } = this.#entrance;
    const bytes = isKept ? entries.reduce((sum, entry) => sum + roomBytesOf(entry), 0) : 0;
    this.#appending++;
    this.goAhead(channel, bytes);
    const beganMs = isKept ? this.#clock.nowMs() : 0;
    try {
      const ids = await this.#log.append(
        entries,
        requestKey === undefined ? undefined : { ...requestKey, subscribers },
      );
      if (ids.length > 0) this.#countAccepted(entries);
      if (isKept) {
        const isWanted = channel.waitingCount > 0;
        this.#appendWindow.committed(bytes, beganMs, this.#clock.nowMs(), isWanted);
      }
      return { ids, subscribers };
    } finally {
      this.#appending--;
      this.goAhead(channel, -bytes);
      reservation.release();
    }
  }

  #countAccepted(entries: readonly NewEntry[]): void {
    for (const entry of entries)
      if (isDeletion(entry)) this.#counters.deletions_total++;
      else this.#counters.events_accepted_total++;
  }

  /**
   * The log has been given so many bytes of the channel's room, or with a negative number has
   * answered.
   */
  goAhead(channel: Channel<Group>, bytes: number): void {
    // Any other log has handed them over by now.
    if (!this.#entrance.isKept) return;
    const ahead = (this.#ahead.get(channel) ?? 0) + bytes;
    if (ahead > 0) this.#ahead.set(channel, ahead);
    else this.#ahead.delete(channel);
    if (bytes < 0 && channel.waitingCount > 0) this.#clock.soon(() => this.proceed(channel));
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
    this.#flush();
    return new Promise<Published>((resolve, reject) => {
      const giveUp = (error: HoldlineError): void => {
        this.#unwait(channel, waiter);
        reservation.release();
        reject(error);
      };
      const cancelDeadline = giveUpAfter(this.#clock, PUBLISH_WAIT_MS_MAX, () => {
        const reason = this.#whyNoRoom(channel, waiter.bytes);
        giveUp(
          new HoldlineError(
            'HOLDLINE_PUBLISH_BUSY',
            `${channel.name} had no room for ${PUBLISH_WAIT_MS_MAX} ms, since ${reason}; try again after Retry-After`,
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

  /** What a publish of `bytes` that has waited in vain is told. */
  #whyNoRoom(channel: Channel<Group>, bytes: number): string {
    if (channel.isReading) return 'a large batch before it is still being read';
    if (this.#hasRoom(channel, bytes, 0)) return 'the log answers too slowly';
    return channel.lineCount === 0
      ? 'what was published before it has not entered yet'
      : 'its lines take less than is published';
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

  /** Admits publishes while there is room. */
  #admit(channel: Channel<Group>): void {
    const waiters = this.#waiting.get(channel);
    if (waiters === undefined) return;
    for (let first = waiters[0]; first !== undefined; first = waiters[0]) {
      const { bytes } = first.submission.reservation;
      if (!this.#mayBegin(channel, bytes)) return;
      this.#unwait(channel, first);
      first.resolve(this.#begin(channel, first.submission, first.requestKey));
    }
  }
}

/** What the submission reads, always as a promise. */
async function readNow({ read }: Submission): Promise<readonly NewEntry[]> {
  return read();
}

/** For a publish whose publisher has left: nobody reads it. */
export function publisherLeft(): HoldlineError {
  return new HoldlineError('HOLDLINE_PUBLISH_BUSY', 'the publisher has left');
}
