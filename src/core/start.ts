/**
 * Where a line or a poll starts among the events held, and where a poll with an empty answer goes
 * on.
 */
import type { Counters } from '../counters.js';
import type { ChannelSet } from './channel-set.js';
import { OLDEST } from './line-table.js';
import { LAST_EVENTS_MAX } from '../limits.js';
import type { OwedGap } from './poll.js';
import { isGap, noTimes, type Position } from './position.js';
import type { Progress } from './progress.js';

export interface Start {
  readonly cursor: number;
  /** The position that the client is told, and goes on from if nothing comes. */
  readonly continuesAfter: number;
  /** The gap to report; undefined without one. */
  readonly gap: OwedGap | undefined;
  /** It starts below what the rings hold: with what the log keeps (core/history-lines.ts). */
  readonly isBehind?: true;
}

/** A client that joins, or a poll, is sent a gap notice. */
export function countGapAtJoin(counters: Counters): void {
  counters.gaps_total++;
  counters.gaps_at_join_total++;
}

/**
 * Throws HOLDLINE_BAD_POSITION for a time: where the log keeps events, core/past.ts has found an id
 * for it.
 */
export function checkStart({ kind }: Position): void {
  if (kind === 'time' || kind === 'ago') throw noTimes();
}

/** Where a client that asks for `position` starts. Throws what {@link checkStart} throws. */
export function startOf(set: ChannelSet, position: Position, progress: Progress): Start {
  checkStart(position);
  const { lastId } = progress;
  const through = set.lostThrough;
  if (position.kind === 'after') {
    const { id } = position;
    const behind = id > lastId ? undefined : behindRings(id, through, progress);
    if (behind !== undefined) return behind;
    const gap = isGap(id, through, lastId) ? { after: id, through } : undefined;
    return id === 0 || id > lastId
      ? everythingHeld(set, gap, progress)
      : { cursor: id, continuesAfter: id, gap };
  }
  if (position.kind === 'foreign') return everythingHeld(set, { after: null, through }, progress);
  const first =
    position.kind === 'last'
      ? set.firstOfNewest(Math.min(position.count, LAST_EVENTS_MAX))
      : undefined;
  return before(first, undefined, set, progress);
}

/** The start of a client whose next event may be in the log only; undefined for others. */
function behindRings(id: number, lostThrough: number, { keptFrom }: Progress): Start | undefined {
  if (keptFrom === undefined || lostThrough <= Math.max(id, id === 0 ? keptFrom : 0))
    return undefined;
  const cursor = id === 0 ? OLDEST : id;
  return { cursor, continuesAfter: id, gap: undefined, isBehind: true };
}

function everythingHeld(set: ChannelSet, gap: OwedGap | undefined, progress: Progress): Start {
  return before(set.firstIdAfter(0), gap, set, progress);
}

/** Right before the event `first`; without one, after everything. */
function before(
  first: number | undefined,
  gap: OwedGap | undefined,
  set: ChannelSet,
  progress: Progress,
): Start {
  const cursor = first === undefined ? progress.through(set) : first - 1;
  return { cursor, continuesAfter: cursor, gap };
}

/**
 * The position in an empty answer. Without a gap it is `through`, after everything that can be
 * read, so that the client of a quiet channel does not fall behind what is lost. A gap that could
 * not be reported yet must be found again from it.
 */
export function emptyPosition(
  set: ChannelSet,
  { cursor, gap }: Pick<Start, 'cursor' | 'gap'>,
  through: number,
  { keptFrom }: Progress,
): number {
  if (gap === undefined) return Math.max(cursor, through);
  const { lostThrough } = set;
  const { after } = gap;
  if (after !== null && after < lostThrough) return after;
  // `after` is no id of this log, or the log has reached it by now. Nothing is held, so any
  // position below what is lost will do; below the log's first id, where it keeps events.
  const least = keptFrom ?? lostThrough;
  return least > 1 ? least - 1 : cursor;
}
