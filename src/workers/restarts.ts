/** When a worker that has died is started again, and when the server gives up. */
import { backOffMs } from '../back-off.js';
import {
  WORKER_DEATHS_MAX,
  WORKER_PAUSE_MS_MAX,
  WORKER_PAUSE_MS_MIN,
  WORKER_PROVEN_MS,
} from '../limits.js';

export class Restarts {
  /** Workers that were started in the place of one that died. */
  total = 0;
  /** By place: deaths in a row of workers that had not served for WORKER_PROVEN_MS. */
  readonly #early = new Map<number, number>();

  /**
   * The worker of a place has died that had served for `servedMs`, 0 if it never did. Returns the
   * pause before the next one starts, ms; undefined when too many have died at once, and none of
   * the `others` serves.
   */
  died(place: number, servedMs: number, othersServe: boolean): number | undefined {
    const early = servedMs >= WORKER_PROVEN_MS ? 0 : (this.#early.get(place) ?? 0) + 1;
    this.#early.set(place, early);
    if (early >= WORKER_DEATHS_MAX && !othersServe) return undefined;
    this.total++;
    return backOffMs(Math.max(0, early - 1), WORKER_PAUSE_MS_MIN, WORKER_PAUSE_MS_MAX);
  }
}
