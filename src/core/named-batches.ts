/**
 * Batches whose events name their channels: reserved on every channel, then appended in one step,
 * or refused. They never wait for the room that lines take: one that waited on a channel would hold
 * up its others.
 */
import { giveUpAfter, type Clock } from '../clock.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { NAMED_BATCH_BYTES_MAX, NAMED_BATCH_WAIT_MS_MAX } from '../limits.js';
import type { Channel } from './channel.js';
import { channelsFull, type Channels } from './channels.js';
import { queuedBytesOf } from './entrance.js';
import { roomBytesOf } from './entry-queue.js';
import type { NewEvent } from './event.js';
import type { EventLog, RequestKey } from './event-log.js';
import type { Group } from './group.js';
import type { HeldBytes } from './held-bytes.js';
import { publisherLeft, type Intake, type Published } from './intake.js';
import { PublishMemory, Reservation, type PublishShare } from './publish-memory.js';

/** What batches need of the hub. */
interface BatchParts {
  readonly channels: Pick<Channels, 'get' | 'place' | 'released'>;
  readonly intake: Pick<Intake, 'goAhead' | 'hasRoomForBatch' | 'subscribersOf'>;
  /** That of publishes to one channel. */
  readonly memory: PublishMemory;
  /** Ends a flush interval early: a publisher finds no room. */
  readonly flush: () => void;
}

/** The batches of one credential. */
interface CredentialShare extends PublishShare {
  /** Reservations that are not released. */
  open: number;
}

/** The memory of a batch, and whose it is. */
class BatchReservation extends Reservation {
  readonly #ended: () => void;

  constructor(memory: PublishMemory, share: PublishShare, ended: () => void) {
    super(memory, share);
    this.#ended = ended;
  }

  override release(): void {
    if (this.isReleased) return;
    super.release();
    this.#ended();
  }
}

/** What the events of one channel take: of the memory of publishes, and of the channel's room. */
interface Need {
  memoryBytes: number;
  roomBytes: number;
}

/** A channel of a batch, and what the batch holds of it. */
interface Place {
  readonly channel: Channel<Group>;
  readonly reservation: Reservation;
  readonly roomBytes: number;
}

export class NamedBatches {
  readonly #parts: BatchParts;
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #counters: Counters;
  /** Room of their own: which channels a body is for is known when it has been read. */
  readonly #memory: PublishMemory;
  /** Of credentials with a batch under way. */
  readonly #shares = new Map<string, CredentialShare>();
  #underWay = 0;

  constructor(parts: BatchParts, log: EventLog, clock: Clock, counters: Counters, held: HeldBytes) {
    this.#parts = parts;
    this.#log = log;
    this.#clock = clock;
    this.#counters = counters;
    this.#memory = new PublishMemory(held, NAMED_BATCH_BYTES_MAX, {
      what: 'batches over several channels',
      ofShare: 'of this credential',
    });
  }

  /** Batches that are being read or appended. */
  get underWay(): number {
    return this.#underWay;
  }

  /**
   * Reserves memory for a batch before its body is received; it grows as the body arrives and is
   * read. `credential` tells whose it is.
   */
  reserve(credential: string): Reservation {
    const share = this.#shares.get(credential) ?? { heldBytes: 0, open: 0 };
    this.#shares.set(credential, share);
    share.open++;
    return new BatchReservation(this.#memory, share, () => {
      if (--share.open === 0) this.#shares.delete(credential);
    });
  }

  /** Reads a batch that has been received: the end of the server waits for it. */
  async read(
    reading: () => readonly NewEvent[] | Promise<readonly NewEvent[]>,
  ): Promise<readonly NewEvent[]> {
    this.#underWay++;
    try {
      return await reading();
    } finally {
      this.#underWay--;
    }
  }

  /**
   * Publishes the events, all or nothing, when those accepted before have entered; resolves when
   * they have their ids. The lines of all channels count as subscribers, one on several of them
   * once for each. With `requestKey` the log keeps the receipt. Releases the reservation. `check`
   * is asked last, since time has passed until then. Rejects with what it throws, with
   * HOLDLINE_PUBLISH_BUSY if one of the channels has no room, and with HOLDLINE_CHANNELS_FULL.
   */
  async submit(
    events: readonly NewEvent[],
    reservation: Reservation,
    requestKey?: RequestKey,
    check?: () => void,
  ): Promise<Published> {
    const places: Place[] = [];
    this.#underWay++;
    try {
      const needs = needsByChannel(events);
      await this.#othersEntered(needs, reservation);
      // The publisher has left: nothing is published without an answer.
      if (reservation.isReleased) throw publisherLeft();
      check?.();
      // From the first look at a channel until the log has the events it is one turn of the loop.
      this.#reserveEach(needs, places);
      return await this.#append(events, places, requestKey);
    } finally {
      this.#underWay--;
      reservation.release();
      this.#giveUp(places);
    }
  }

  /**
   * Resolves when no channel of the batch goes on entering by itself, when one of them has no room
   * whatever enters, when the publisher has left, or after NAMED_BATCH_WAIT_MS_MAX.
   */
  async #othersEntered(needs: ReadonlyMap<string, Need>, reservation: Reservation): Promise<void> {
    let entering = this.#enteringOf(needs);
    if (entering === undefined) return;
    let isOver = false;
    const cancel = giveUpAfter(this.#clock, NAMED_BATCH_WAIT_MS_MAX, () => (isOver = true));
    for (; entering !== undefined && !isOver; entering = this.#enteringOf(needs)) {
      // All are looked at again when this one is done, and not in each turn.
      while (entering.isEntering && !isOver && !reservation.isReleased)
        await new Promise<void>((resolve) => this.#clock.soon(resolve));
      if (reservation.isReleased) break;
    }
    cancel();
  }

  /** A channel whose queue goes on entering; undefined if there is none, or another is full. */
  #enteringOf(needs: ReadonlyMap<string, Need>): Channel<Group> | undefined {
    const { channels, intake } = this.#parts;
    let entering: Channel<Group> | undefined;
    for (const [name, { roomBytes }] of needs) {
      const channel = channels.get(name);
      if (channel === undefined || intake.hasRoomForBatch(channel, roomBytes)) continue;
      if (!channel.isEntering || channel.waitingCount > 0) return undefined;
      entering = channel;
    }
    return entering;
  }

  /**
   * Reserves room on every channel. Those that are known come first, so that none of them is
   * forgotten for a new one.
   */
  #reserveEach(needs: Map<string, Need>, places: Place[]): void {
    const { channels } = this.#parts;
    for (const [name, need] of needs) {
      const channel = channels.get(name);
      if (channel === undefined || channel.isOfReaders) continue;
      this.#reserve(channel, need, places);
      needs.delete(name);
    }
    for (const [name, need] of needs) {
      const channel = channels.place(name);
      if (channel === undefined) throw channelsFull();
      this.#reserve(channel, need, places);
    }
  }

  #reserve(channel: Channel<Group>, { memoryBytes, roomBytes }: Need, places: Place[]): void {
    const { intake, memory, flush } = this.#parts;
    const reservation = new Reservation(memory, channel.share);
    places.push({ channel, reservation, roomBytes });
    if (!intake.hasRoomForBatch(channel, roomBytes)) {
      flush();
      throw new HoldlineError(
        'HOLDLINE_PUBLISH_BUSY',
        `${channel.name} has no room now, and nothing of the batch was published; try again after Retry-After`,
      );
    }
    reservation.grow(memoryBytes);
  }

  async #append(
    events: readonly NewEvent[],
    places: readonly Place[],
    requestKey: RequestKey | undefined,
  ): Promise<Published> {
    const { intake } = this.#parts;
    const subscribers = places.reduce((sum, { channel }) => sum + intake.subscribersOf(channel), 0);
    const goAhead = (sign: number): void => {
      for (const { channel, roomBytes } of places) intake.goAhead(channel, sign * roomBytes);
    };
    goAhead(1);
    try {
      const ids = await this.#log.append(
        events,
        requestKey === undefined ? undefined : { ...requestKey, subscribers },
      );
      this.#counters.events_accepted_total += ids.length;
      return { ids, subscribers };
    } finally {
      goAhead(-1);
    }
  }

  /** Gives the room back. A channel that was made for the batch and got nothing goes again. */
  #giveUp(places: readonly Place[]): void {
    for (const { channel, reservation } of places) {
      reservation.release();
      if (channel.isBlank) this.#parts.channels.released(channel);
    }
  }
}

/** What the events of each channel take together, by its name. */
function needsByChannel(events: readonly NewEvent[]): Map<string, Need> {
  const needs = new Map<string, Need>();
  for (const event of events) {
    const need = needs.get(event.channel) ?? { memoryBytes: 0, roomBytes: 0 };
    needs.set(event.channel, need);
    need.memoryBytes += queuedBytesOf(event);
    need.roomBytes += roomBytesOf(event);
  }
  return needs;
}
