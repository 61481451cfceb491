/**
 * The simulator's publishers: what they publish and delete, when they are answered, and in which
 * order the log is given it.
 */
import { isDeletion, type NewEntry, type NewEvent } from '../../src/core/event.js';
import type { Published } from '../../src/core/intake.js';
import { asError, HoldlineError } from '../../src/errors.js';
import {
  PUBLISH_WAIT_MS_MAX,
  BATCH_AT_ONCE_BYTES_MAX,
  QUEUED_EVENT_BYTES,
} from '../../src/limits.js';
import type { World } from './world.js';

/** A publish that has not been answered. */
interface Pending {
  /** Empty for a batch over several channels, which never waits. */
  readonly channel: string;
  readonly sinceMs: number;
  /** It may take several turns to be read. */
  readonly isSlow: boolean;
  turnsWithRoom: number;
}

/** What is known of a publish whose entries the log was given. */
interface Logged {
  readonly ids: readonly number[];
  readonly subscribers: number;
}

/** Texts that have gone wrong somewhere, once. */
const NASTY = [
  '',
  '\n',
  '\r',
  'a\r\nb',
  '\uFEFFbom',
  'id: 3',
  'event: gap\ndata: {}\n\n',
  '😀',
  '\0',
  'data',
  ': c',
  '\n\n\n',
  ' x ',
];
const PROSE =
  'It was a bright cold day in April, and the clocks were striking.\r\nNo line is held for ever\n'.repeat(
    800,
  );

export class Publishers {
  /** No batch is smaller than an entry. */
  largestBatchBytes = QUEUED_EVENT_BYTES;

  readonly #world: World;
  /** Lines on a channel now. */
  readonly #subscribersOf: (channel: string) => number;
  /** By the entries that were asked for. */
  readonly #logged = new WeakMap<readonly NewEntry[], Logged>();
  readonly #numbers = new WeakMap<readonly NewEntry[], number>();
  readonly #lastNumbers = new Map<string, number>();
  readonly #pending = new Set<Pending>();
  /** Events of another node. */
  foreignEvents = 0;
  /** Batches over several channels. */
  readonly #named = new WeakSet<readonly NewEntry[]>();
  /** Batches of another node. */
  readonly #foreign = new WeakSet<readonly NewEntry[]>();
  /** Deletions that the log has not been given yet, first to last. */
  #deletions: (readonly NewEntry[])[] = [];
  #count = 0;

  constructor(world: World, subscribersOf: (channel: string) => number) {
    this.#world = world;
    this.#subscribersOf = subscribersOf;
    world.onAppend = (entries) => this.#append(entries);
  }

  /** Publishes that have no answer yet. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Publishes once, now and then more often than fits. `told` returns who is told the first id. */
  publishSome(told: () => ((id: number) => void) | undefined): void {
    const { random } = this.#world;
    const count = random.chance(0.01) ? random.between(10, 60) : 1;
    for (let i = 0; i < count; i++) this.#publish(told());
  }

  /** Deletes a channel, now and then with something right behind it. */
  delete(): void {
    const { random, setting, hub } = this.#world;
    const channel = random.pick(setting.channels);
    this.#world.note(`delete ${channel}`);
    // Stands for what the hub will hand to the log.
    const entries: NewEntry[] = [{ channel, isDeletion: true }];
    this.#deletions.push(entries);
    this.#await(channel, entries, () => hub.deleteChannel(channel), undefined);
    if (random.chance(0.5)) this.#publish(undefined);
  }

  /**
   * Nobody waits while there is room: the channel's queue is empty, and every line has been given
   * what the channel holds.
   */
  check(unswept: ReadonlySet<string>): void {
    const { clock, longestTurnMs } = this.#world;
    const slow = new Set<string>();
    for (const { channel, isSlow } of this.#pending) if (isSlow) slow.add(channel);
    for (const pending of this.#pending) {
      const { channel } = pending;
      const hasNoRoom =
        this.#world.pendingOf(channel).length > 0 || unswept.has(channel) || slow.has(channel);
      const waitedMs = clock.nowMs() - pending.sinceMs;
      // Its deadline is late, waits on as long as it was late, and is late again.
      if (waitedMs > PUBLISH_WAIT_MS_MAX + 3 * longestTurnMs && !pending.isSlow)
        throw new Error(`a publish on ${pending.channel} has had no answer for ${waitedMs} ms`);
      pending.turnsWithRoom = hasNoRoom ? 0 : pending.turnsWithRoom + 1;
      if (pending.turnsWithRoom > 3)
        throw new Error(`a publish on ${pending.channel} waits, and there is room`);
    }
  }

  #publish(told: ((id: number) => void) | undefined): void {
    const { random, setting, hub } = this.#world;
    if (random.chance(0.1)) {
      this.#publishNamed(told);
      return;
    }
    const channel = random.chance(0.5)
      ? (setting.channels[0] as string)
      : random.pick(setting.channels);
    const count = random.chance(0.85)
      ? 1
      : random.chance(0.985)
        ? random.between(2, 30)
        : random.between(1000, 2500);
    const events = Array.from({ length: count }, () => this.#newEvent(channel, count));
    const bytes = events.reduce((sum, event) => sum + event.data.length + QUEUED_EVENT_BYTES, 0);
    this.#world.note(`publish ${count} on ${channel}, ${bytes} bytes`);
    this.largestBatchBytes = Math.max(this.largestBatchBytes, bytes);
    const dice = random.next();
    if (dice < setting.floods) this.#flood(events);
    else if (dice < 0.8) this.#await(channel, events, () => hub.publish(channel, events), told);
    else this.#submit(channel, events, bytes, told);
  }

  /** A batch over several channels, which is read at once or in several turns of the loop. */
  #publishNamed(told: ((id: number) => void) | undefined): void {
    const { random, setting, hub, clock } = this.#world;
    const count = random.chance(0.98) ? random.between(1, 40) : random.between(1000, 2500);
    const events = Array.from({ length: count }, () =>
      this.#newEvent(random.pick(setting.channels), count),
    );
    const bytes = events.reduce((sum, event) => sum + event.data.length + QUEUED_EVENT_BYTES, 0);
    this.#world.note(`publish ${count} over the channels, ${bytes} bytes`);
    this.largestBatchBytes = Math.max(this.largestBatchBytes, bytes);
    const readMs = random.chance(0.3) ? random.below(20) : undefined;
    const leavesMs = random.chance(0.3) ? random.below(20) : undefined;
    const reservation = hub.batches.reserve(random.pick(['', 'Bearer x']));
    reservation.grow(bytes);
    if (leavesMs !== undefined) clock.later(leavesMs, () => reservation.release());
    const read = (): readonly NewEvent[] | Promise<readonly NewEvent[]> =>
      readMs === undefined
        ? events
        : new Promise((resolve) => {
            clock.later(readMs, () => resolve(events));
          });
    const publish = async (): Promise<Published> => {
      await hub.batches.read(read);
      // Others may have come while it was read, and may go first while it waits for what enters.
      this.#numbers.set(events, this.#count++);
      this.#named.add(events);
      return hub.batches.submit(events, reservation);
    };
    this.#await('', events, publish, told, true);
  }

  /** Another node of the same log has published: nobody has asked whether there is room. */
  #flood(events: readonly NewEvent[]): void {
    this.#world.note('…from elsewhere');
    this.#numbers.set(events, this.#count++);
    this.#foreign.add(events);
    this.foreignEvents += events.length;
    void this.#world.log.append(events);
  }

  /**
   * As the transports publish: read when there is room, some in several turns of the loop; and some
   * publishers leave before.
   */
  #submit(
    channel: string,
    events: readonly NewEvent[],
    bytes: number,
    told: ((id: number) => void) | undefined,
  ): void {
    const { random, clock, hub } = this.#world;
    const readMs = random.chance(0.3) ? random.below(20) : undefined;
    const leavesMs = random.chance(0.3) ? random.below(50) : undefined;
    this.#await(
      channel,
      events,
      () => {
        try {
          const reservation = hub.reserve(channel);
          reservation.grow(bytes);
          if (leavesMs !== undefined) clock.later(leavesMs, () => reservation.release());
          const read = (): readonly NewEvent[] | Promise<readonly NewEvent[]> =>
            readMs === undefined
              ? events
              : new Promise((resolve) => {
                  clock.later(readMs, () => resolve(events));
                });
          return hub.submit(channel, { reservation, read });
        } catch (error) {
          return Promise.reject(asError(error));
        }
      },
      told,
      readMs !== undefined || bytes > BATCH_AT_ONCE_BYTES_MAX,
    );
  }

  #await(
    channel: string,
    entries: readonly NewEntry[],
    publish: () => Promise<Published>,
    told: ((id: number) => void) | undefined,
    isSlow = false,
  ): void {
    const world = this.#world;
    this.#numbers.set(entries, this.#count++);
    const pending: Pending = { channel, sinceMs: world.clock.nowMs(), isSlow, turnsWithRoom: 0 };
    this.#pending.add(pending);
    publish().then(
      ({ ids, subscribers }) => {
        this.#pending.delete(pending);
        const logged = this.#logged.get(entries);
        if (logged?.ids.join() !== ids.join())
          world.fault(new Error('a publish was told other ids than its events have'));
        else if (logged.subscribers !== subscribers)
          world.fault(
            new Error(
              `a publish was told of ${subscribers} subscribers, not of ${logged.subscribers}`,
            ),
          );
        world.catchFault(() => told?.(ids[0] as number));
      },
      (error: unknown) => {
        this.#pending.delete(pending);
        this.#deletions = this.#deletions.filter((deletion) => deletion !== entries);
        if (this.#logged.has(entries))
          world.fault(new Error('a publish was refused and its events were accepted'));
        if (!(error instanceof HoldlineError) || error.code !== 'HOLDLINE_PUBLISH_BUSY')
          world.fault(error as Error);
      },
    );
  }

  /** The log is given a batch, or a deletion. */
  #append(entries: readonly NewEntry[]): void {
    const [first] = entries as [NewEntry];
    const channels = new Set(entries.map(({ channel }) => channel));
    let asked = entries;
    if (isDeletion(first)) {
      asked = this.#deletions.find(
        ([deletion]) => deletion?.channel === first.channel,
      ) as readonly NewEntry[];
      this.#deletions = this.#deletions.filter((deletion) => deletion !== asked);
    }
    this.#logged.set(asked, {
      ids: this.#world.model.accept(entries),
      subscribers: [...channels].reduce((sum, channel) => sum + this.#subscribersOf(channel), 0),
    });
    if (this.#foreign.has(asked)) return;
    const number = this.#numbers.get(asked) as number;
    for (const channel of channels) {
      const last = this.#lastNumbers.get(channel) ?? -1;
      if (number < last && !this.#named.has(asked))
        throw new Error(`publishers on ${channel} overtook each other`);
      this.#lastNumbers.set(channel, Math.max(number, last));
    }
  }

  #newEvent(channel: string, count: number): NewEvent {
    const { random } = this.#world;
    const type = random.chance(0.3)
      ? random.pick(['note', 'é', 'a b', '"q"', 'x'.repeat(64)])
      : undefined;
    const size = count > 100 ? random.below(60) : this.#newSize(count);
    const text = random.chance(0.1)
      ? random.pick(NASTY)
      : PROSE.slice(random.below(90)).slice(0, size);
    const json = random.chance(0.2);
    const data = json
      ? JSON.stringify({ n: random.below(1e9), text }, null, random.pick([0, 1]))
      : text;
    return { channel, type, data: Buffer.from(data), json };
  }

  #newSize(count: number): number {
    const { random, setting } = this.#world;
    const dice = random.next();
    if (dice < 0.8) return random.below(300);
    if (dice < 0.97) return random.below(3000);
    // Larger than a cork, and with many lines or in a batch seldom, or the run is all copying.
    return random.chance(10 / (10 + setting.lines * count)) ? random.between(10_000, 60_000) : 0;
  }
}
