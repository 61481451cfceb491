/**
 * Where a line or a poll starts among what is held, and where a poll goes on that was told nothing.
 */
import type { ChannelSet, Member } from './channel-set.js';
import { LAST_EVENTS_MAX } from '../limits.js';
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
  /**
   * Id up to which every entry of the channels can be read: whoever was given what there is has
   * been given everything up to it.
   */
  through(set: ChannelSet<Member>): number;
  /** The id that the log gave last. */
  readonly lastId: number;
}

/** Where a client that asks for `position` starts. */
export function startOf(set: ChannelSet<Member>, position: Position, progress: Progress): Start {
  const { lastId } = progress;
  const through = set.lostThrough;
  if (position.kind === 'after') {
    const { id } = position;
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

function everythingHeld(
  set: ChannelSet<Member>,
  gap: OwedGap | undefined,
  progress: Progress,
): Start {
  return before(set.firstIdAfter(0), gap, set, progress);
}

/** Right before the event `first`, or behind everything where there is none. */
function before(
  first: number | undefined,
  gap: OwedGap | undefined,
  set: ChannelSet<Member>,
  progress: Progress,
): Start {
  const cursor = first === undefined ? progress.through(set) : first - 1;
  return { cursor, continuesAfter: cursor, gap };
}

/**
 * The position that an empty answer tells: behind everything that can be read, `through`, so that
 * the client of a quiet channel does not fall behind what is lost. A gap that could not be told yet
 * must come about again from it.
 */
export function emptyPosition(
  set: ChannelSet<Member>,
  { cursor, gap }: Pick<Start, 'cursor' | 'gap'>,
  through: number,
): number {
  if (gap === undefined) return Math.max(cursor, through);
  const { lostThrough } = set;
  const { after } = gap;
  if (after !== null && after < lostThrough) return after;
  // Not an id of this log, or one that the log has reached meanwhile: nothing is held, so any
  // position below what is lost will do.
  return lostThrough > 1 ? lostThrough - 1 : cursor;
}
