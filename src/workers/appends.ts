/**
 * Appends of all workers, before they reach the log. Each waits until every channel that it writes
 * to has room in every worker (workers/credit.ts), in the order in which it came for its channels,
 * for as long as a publish may wait for room. The same idempotency key from two workers is
 * published once.
 */
import { giveUpAfter, type Clock } from '../clock.js';
import { queuedBytesOf } from '../core/entrance.js';
import type { NewEntry } from '../core/event.js';
import type { EventLog } from '../core/event-log.js';
import { HoldlineError, isOutcomeUnknown } from '../errors.js';
import { PUBLISH_WAIT_MS_MAX } from '../limits.js';
import type { Room } from './credit.js';
import type { AppendRequest } from './frames.js';

/**
 * Whether every worker has room for so many bytes more of a channel, beside those reserved of it
 * and of all channels.
 */
type RoomFor = (channel: string, bytes: number, reserved: number, reservedInAll: number) => Room;

interface Waiter {
  readonly from: unknown;
  readonly costs: ReadonlyMap<string, number>;
  /** Ends its wait. */
  readonly settle: (error?: HoldlineError) => void;
}

export class Appends {
  readonly #log: Pick<EventLog, 'append' | 'kept'>;
  readonly #clock: Clock;
  readonly #roomFor: RoomFor;
  /**
   * By channel, in the order in which they came. One with several channels is in several queues.
   */
  readonly #waiting = new Map<string, Waiter[]>();
  readonly #underWay = new Map<string, Promise<unknown>>();
  /** Bytes by channel that were let in and are not committed yet. */
  readonly #reserved = new Map<string, number>();
  #waitingCount = 0;
  #reservedBytes = 0;
  /** Something waits for what other channels have of the credit in all. */
  #isShort = false;

  constructor(log: Pick<EventLog, 'append' | 'kept'>, clock: Clock, roomFor: RoomFor) {
    this.#log = log;
    this.#clock = clock;
    this.#roomFor = roomFor;
  }

  /** Appends that wait for room. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** Bytes that were let in and are not committed yet. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Idempotency keys of appends that are under way. */
  get keyCount(): number {
    return this.#underWay.size;
  }

  /**
   * Appends entries for `from`; resolves as the log does, without ids when another worker has used
   * the key of the request. Rejects as the log does, and with HOLDLINE_PUBLISH_BUSY without room.
   */
  async append(
    from: unknown,
    entries: readonly NewEntry[],
    request?: AppendRequest,
  ): Promise<readonly number[]> {
    if (request === undefined) return this.#append(from, entries);
    const { key } = request;
    for (
      let first = this.#underWay.get(key);
      first !== undefined;
      first = this.#underWay.get(key)
    ) {
      const failure = await first.then(ignore, (error: unknown) => error);
      // Another failure is its own publisher's alone; this one tries again.
      if (isOutcomeUnknown(failure)) throw failure;
    }
    const attempt = this.#once(from, entries, request);
    this.#underWay.set(key, attempt);
    try {
      return await attempt;
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** What `from` still waits for is nobody's any more. */
  drop(from: unknown): void {
    const dropped = new Set(
      Array.from(this.#waiting.values())
        .flat()
        .filter((one) => one.from === from),
    );
    for (const waiter of dropped) waiter.settle(busy('a channel', 'its process has ended'));
  }

  /** There may be room again in the channels; without names, in any of them. */
  proceed(channels?: readonly string[]): void {
    if (this.#waitingCount === 0) return;
    const isAny = channels === undefined || this.#isShort;
    this.#isShort = false;
    for (const name of isAny ? Array.from(this.#waiting.keys()) : channels) this.#admit(name);
  }

  async #once(
    from: unknown,
    entries: readonly NewEntry[],
    request: AppendRequest,
  ): Promise<readonly number[]> {
    const kept = await this.#log.kept(request.key);
    return kept === undefined ? this.#append(from, entries, request) : [];
  }

  async #append(
    from: unknown,
    entries: readonly NewEntry[],
    request?: AppendRequest,
  ): Promise<readonly number[]> {
    const costs = new Map<string, number>();
    for (const entry of entries)
      costs.set(entry.channel, (costs.get(entry.channel) ?? 0) + queuedBytesOf(entry));
    let mustWait = false;
    for (const [channel, cost] of costs)
      mustWait ||= this.#waiting.has(channel) || !this.#fits(channel, cost);
    if (mustWait) await this.#wait(from, costs);
    else this.#reserve(costs, 1);
    try {
      return await this.#log.append(entries, request);
    } finally {
      // Committed, it counts as sent to each worker.
      this.#reserve(costs, -1);
      this.proceed([...costs.keys()]);
    }
  }

  #fits(channel: string, cost: number): boolean {
    const reserved = this.#reserved.get(channel) ?? 0;
    const room = this.#roomFor(channel, cost, reserved, this.#reservedBytes);
    if (room === 'all are full') this.#isShort = true;
    return room === 'room';
  }

  #reserve(costs: ReadonlyMap<string, number>, times: 1 | -1): void {
    for (const [channel, cost] of costs) {
      const reserved = (this.#reserved.get(channel) ?? 0) + times * cost;
      this.#reservedBytes += times * cost;
      if (reserved === 0) this.#reserved.delete(channel);
      else this.#reserved.set(channel, reserved);
    }
  }

  #wait(from: unknown, costs: ReadonlyMap<string, number>): Promise<void> {
    const [channel] = costs.keys() as IterableIterator<string>;
    return new Promise((resolve, reject) => {
      const cancel = giveUpAfter(this.#clock, PUBLISH_WAIT_MS_MAX, () =>
        waiter.settle(busy(channel as string, `had no room for ${PUBLISH_WAIT_MS_MAX} ms`)),
      );
      const waiter: Waiter = {
        from,
        costs,
        settle: (error) => {
          cancel();
          this.#remove(waiter);
          if (error === undefined) resolve();
          else reject(error);
          for (const name of costs.keys()) this.#clock.soon(() => this.#admit(name));
        },
      };
      this.#waitingCount++;
      for (const name of costs.keys()) {
        const queue = this.#waiting.get(name);
        if (queue === undefined) this.#waiting.set(name, [waiter]);
        else queue.push(waiter);
      }
    });
  }

  #remove(waiter: Waiter): void {
    this.#waitingCount--;
    for (const name of waiter.costs.keys()) {
      const queue = this.#waiting.get(name) as Waiter[];
      queue.splice(queue.indexOf(waiter), 1);
      if (queue.length === 0) this.#waiting.delete(name);
    }
  }

  /** Lets the first that waits for the channel go on, if all of its channels have room. */
  #admit(channel: string): void {
    const first = this.#waiting.get(channel)?.[0];
    if (first === undefined) return;
    for (const [name, cost] of first.costs)
      if (this.#waiting.get(name)?.[0] !== first || !this.#fits(name, cost)) return;
    this.#reserve(first.costs, 1);
    first.settle();
  }
}

function busy(channel: string, problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_PUBLISH_BUSY',
    `${channel} ${problem}, since lines in another process take less than is published; try again after Retry-After`,
  );
}

function ignore(): void {}
