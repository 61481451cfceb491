/** The in-memory log: gives ids, keeps nothing. What is held is held by the rings, and a restart starts a new log. */
import type { Clock } from '../clock.js';
import type { LoggedEvent, NewEvent } from '../core/event.js';
import { HoldlineError } from '../errors.js';
import { LAST_POSSIBLE_ID } from '../limits.js';
import type { EventLog } from './log.js';

/** Ids a millisecond: a log that is started later starts above any id that an earlier one can have given by then. */
const IDS_PER_MS = 1000;

export class MemoryLog implements EventLog {
  readonly #floor: number;
  #lastId: number;
  #take: ((events: readonly LoggedEvent[]) => void | Promise<void>) | undefined;
  /** Set while the reader asked to be waited for; what is committed meanwhile. */
  #held: LoggedEvent[] | undefined;

  /** `firstId` defaults to the clock, ms × 1000, so that ids do not go back over a restart. */
  constructor(clock: Clock, firstId: number = clock.wallMs() * IDS_PER_MS) {
    this.#floor = firstId - 1;
    this.#lastId = this.#floor;
  }

  append(events: readonly NewEvent[]): Promise<readonly number[]> {
    if (this.#lastId + events.length > LAST_POSSIBLE_ID) {
      return Promise.reject(
        new HoldlineError(
          'HOLDLINE_INTERNAL',
          `the log has given its last id, ${LAST_POSSIBLE_ID}; restart it with a lower --first-id`,
        ),
      );
    }
    const logged: LoggedEvent[] = [];
    const ids: number[] = [];
    for (const { channel, type, data, json } of events) {
      const id = ++this.#lastId;
      ids.push(id);
      logged.push({ id, channel, type, data, json });
    }
    this.#hand(logged);
    return Promise.resolve(ids);
  }

  tail(from: number, take: (events: readonly LoggedEvent[]) => void | Promise<void>): () => void {
    if (from < this.#lastId)
      throw new HoldlineError('HOLDLINE_INTERNAL', `the memory log keeps nothing after ${from}; tail it from ${this.#lastId}`);
    this.#take = take;
    return () => {
      this.#take = undefined;
    };
  }

  read(): Promise<readonly LoggedEvent[]> {
    return Promise.resolve([]);
  }

  lastId(): number {
    return this.#lastId;
  }

  floor(): number {
    return this.#floor;
  }

  lostThrough(): number {
    return this.#lastId;
  }

  close(): Promise<void> {
    this.#take = undefined;
    return Promise.resolve();
  }

  #hand(events: LoggedEvent[]): void {
    if (this.#held !== undefined) {
      this.#held.push(...events);
      return;
    }
    const wait = this.#take?.(events);
    if (wait === undefined) return;
    this.#held = [];
    void wait.then(() => {
      const held = this.#held as LoggedEvent[];
      this.#held = undefined;
      if (held.length > 0) this.#hand(held);
    });
  }
}
