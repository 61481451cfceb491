/**
 * Rows beside the events, such as revocations, in the supervisor's memory, for workers that start
 * anew: those that no log keeps.
 */
import { steadyWall, SYSTEM_CLOCK, type Clock } from '../clock.js';
import type { LogRow, LogRows } from '../core/event-log.js';
import { WORKER_ROWS_MAX } from '../limits.js';

export class MemoryRows implements Pick<LogRows, 'load' | 'put'> {
  readonly #rows = new Map<string, LogRow>();
  /** A clock that is ahead for a while takes no row. */
  readonly #steadyMs: () => number;

  constructor(clock: Pick<Clock, 'nowMs' | 'wallMs'> = SYSTEM_CLOCK) {
    this.#steadyMs = steadyWall(clock);
  }

  load(kind: string): Promise<readonly LogRow[]> {
    this.#dropOld();
    return Promise.resolve([...this.#rows.values()].filter((row) => row.kind === kind));
  }

  put(kind: string, key: string, value: string, untilMs: number): Promise<void> {
    this.#dropOld();
    const name = `${kind} ${key}`;
    // To the end: the oldest goes when there are too many.
    this.#rows.delete(name);
    this.#rows.set(name, { kind, key, value, untilMs });
    if (this.#rows.size > WORKER_ROWS_MAX)
      this.#rows.delete(this.#rows.keys().next().value as string);
    return Promise.resolve();
  }

  #dropOld(): void {
    const nowMs = this.#steadyMs();
    for (const [name, { untilMs }] of this.#rows) if (untilMs <= nowMs) this.#rows.delete(name);
  }
}
