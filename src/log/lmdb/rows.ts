/** What is kept beside the events in the tables of a log, such as revocations. */
import { steadyWall, SYSTEM_CLOCK } from '../../clock.js';
import type { LogRow } from '../../core/event-log.js';
import { HoldlineError } from '../../errors.js';
import { LOG_ROWS_MAX } from '../../limits.js';
import type { Tables } from './environment.js';

/** Those whose time is not over; of all kinds unless one is given. */
export function findRows({ rows }: Tables, nowMs: number, kind?: string): LogRow[] {
  const found: LogRow[] = [];
  for (const { value } of rows.getRange({})) {
    const row = JSON.parse(value.toString()) as LogRow;
    if (row.untilMs > nowMs && (kind === undefined || row.kind === kind)) found.push(row);
  }
  return found;
}

/** Throws HOLDLINE_LOG_UNAVAILABLE when there are too many. */
export function putRow({ rows }: Tables, row: LogRow): void {
  const key = Buffer.from(`${row.kind}\0${row.key}`);
  const { entryCount } = rows.getStats() as { readonly entryCount: number };
  if (entryCount >= LOG_ROWS_MAX && !rows.doesExist(key))
    throw new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', `the log keeps ${LOG_ROWS_MAX} rows`);
  void rows.put(key, Buffer.from(JSON.stringify(row)));
}

/** A clock that is ahead for a while takes no row: what it removes does not come back with it. */
const wallMs = steadyWall(SYSTEM_CLOCK);

/** What is looked at in one step. */
const ROWS_PER_STEP = 500;

/** Removes rows whose time is over, by turns: a step looks at those behind the one before it. */
export class RowSweep {
  #after: Buffer | undefined;

  /** Returns how many went; no more than `most`. */
  step({ rows }: Tables, most: number): number {
    const limit = Math.min(ROWS_PER_STEP, most);
    const start = this.#after === undefined ? {} : { start: this.#after, exclusiveStart: true };
    const seen = [...rows.getRange({ ...start, limit })];
    this.#after = seen.length < limit ? undefined : seen.at(-1)?.key;
    const nowMs = wallMs();
    let gone = 0;
    for (const { key, value } of seen)
      if ((JSON.parse(value.toString()) as LogRow).untilMs <= nowMs) {
        void rows.remove(key);
        gone++;
      }
    return gone;
  }
}
