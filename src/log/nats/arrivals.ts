/** Those who wait until this node has come to an id of the stream. */
import { giveUpAfter, type Clock } from '../../clock.js';

interface Waiter {
  readonly id: number;
  readonly settle: (isThere: boolean) => void;
}

export class Arrivals {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #lastId = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nobody waits. */
  get isEmpty(): boolean {
    return this.#waiters.size === 0;
  }

  /** Everything up to here has been handed over, or is lost. */
  arrived(id: number): void {
    this.#lastId = id;
    for (const waiter of this.#waiters) {
      if (waiter.id > id) continue;
      this.#waiters.delete(waiter);
      waiter.settle(true);
    }
  }

  /** Resolves to true when the id has arrived, to false when it has not for `ms`. */
  of(id: number, ms: number): Promise<boolean> | true {
    if (id <= this.#lastId) return true;
    return new Promise((resolve) => {
      const waiter: Waiter = {
        id,
        settle: (isThere) => {
          cancel();
          resolve(isThere);
        },
      };
      const cancel = giveUpAfter(this.#clock, ms, () => {
        this.#waiters.delete(waiter);
        resolve(false);
      });
      this.#waiters.add(waiter);
    });
  }
}
