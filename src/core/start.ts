/** Where a line or a poll starts among what is held, and where a poll goes on that was told nothing. */
import type { ChannelSet, Member } from './channel-set.js';
import { LAST_EVENTS } from '../limits.js';
import type { OwedGap } from './poll.js';
import { isGap, type Position } from './position.js';

export interface Start {
  readonly cursor: number;
  /** The position that the client is told, and goes on with if nothing comes. */
  readonly continuesAfter: number;
  /** The gap that it is to be told; undefined when there is none. */
  readonly gap: OwedGap | undefined;
}

/** How far a server has come. */
export interface Progress {
  /** Id of the newest entry that entered. */
  readonly head: number;
  /** The id that the log gave last. */
  readonly lastId: number;
}

/** Where a client that asks for `position` starts. */
export function startOf(set: ChannelSet<Member>, position: Position, { head, lastId }: Progress): Start {
  const through = set.lostThrough;
  if (position.kind === 'after') {
    const { id } = position;
    const gap = isGap(id, through, lastId) ? { after: id, through } : undefined;
    return id === 0 || id > lastId ? everythingHeld(set, gap, head) : { cursor: id, continuesAfter: id, gap };
  }
  if (position.kind === 'foreign') return everythingHeld(set, { after: null, through }, head);
  const first = position.kind === 'last' ? set.firstOfNewest(Math.min(position.count, LAST_EVENTS)) : undefined;
  return before(first, undefined, head);
}

function everythingHeld(set: ChannelSet<Member>, gap: OwedGap | undefined, head: number): Start {
  return before(set.firstIdAfter(0), gap, head);
}

/** Right before the event `first`, or at the head where there is none. */
function before(first: number | undefined, gap: OwedGap | undefined, head: number): Start {
  const cursor = first === undefined ? head : first - 1;
  return { cursor, continuesAfter: cursor, gap };
}

/**
 * The position that an empty answer tells: behind everything that has entered, so that the client of a quiet channel does not fall
 * behind what is lost. A gap that could not be told yet must come about again from it.
 */
export function emptyPosition(
  set: ChannelSet<Member>,
  { cursor, gap }: Pick<Start, 'cursor' | 'gap'>,
  { head }: Pick<Progress, 'head'>,
): number {
  if (gap === undefined) return Math.max(cursor, head);
  const through = set.lostThrough;
  const { after } = gap;
  if (after !== null && after < through) return after;
  // Not an id of this log, or one that the log has reached meanwhile: nothing is held, so any position below what is lost will do.
  return through > 1 ? through - 1 : cursor;
}
