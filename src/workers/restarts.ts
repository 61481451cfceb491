/** When a worker that has died is started again, and when the server gives up. */
import {
  WORKER_DEATHS_MAX,
  WORKER_PAUSE_MS_MAX,
  WORKER_PAUSE_MS_MIN,
  WORKER_PROVEN_MS,
} from '../limits.js';

export class Restarts {
  /** Workers that were started in the place of one that died. */
  total = 0;
  /** Deaths in a row of workers that had not proven themselves. */
  #early = 0;

  /**
   * A worker has died that had served for `servedMs`, 0 if it never did. Returns the pause before
   * the next one starts, ms; undefined when too many have died at once.
   */
  died(servedMs: number): number | undefined {
    if (servedMs >= WORKER_PROVEN_MS) this.#early = 0;
    else this.#early++;
    if (this.#early >= WORKER_DEATHS_MAX) return undefined;
    this.total++;
    return Math.min(WORKER_PAUSE_MS_MAX, WORKER_PAUSE_MS_MIN * 2 ** Math.max(0, this.#early - 1));
  }

  /** A worker has served for WORKER_PROVEN_MS. */
  proven(): void {
    this.#early = 0;
  }
}
