/** Positions: what a client may ask for, how it is written, and when there is a gap. */
import { HoldlineError } from '../errors.js';
import { ID_MAX } from '../limits.js';

/**
 * What a client asks for.
 * - `live`: from now on.
 * - `after`: everything after `id`; 0 is the oldest event held.
 * - `last`: the newest `count` events of each channel, then live.
 * - `foreign`: a position that is no id of ours: everything held, after a gap.
 */
export type Position =
  | { readonly kind: 'live' }
  | { readonly kind: 'after'; readonly id: number }
  | { readonly kind: 'last'; readonly count: number }
  | { readonly kind: 'foreign' };

export const LIVE: Position = { kind: 'live' };
const FOREIGN: Position = { kind: 'foreign' };

/** An id on the wire; `Number` alone would also read 1e9, 0x10, +5 and blanks. */
const ID_TEXT = /^(?:0|[1-9]\d{0,15})$/;

/** The id in `text`, or undefined. */
export function parseId(text: string): number | undefined {
  if (!ID_TEXT.test(text)) return undefined;
  const id = Number(text);
  return id <= ID_MAX ? id : undefined;
}

/**
 * The position in a `Last-Event-ID` header. The client repeats what some server sent it, so an
 * unreadable one is foreign and no error.
 */
export function positionFromHeader(text: string): Position {
  const id = parseId(text);
  return id === undefined ? FOREIGN : { kind: 'after', id };
}

/**
 * The position in the query parameter `name`. Somebody typed it, so an unreadable one is
 * HOLDLINE_BAD_POSITION.
 */
export function positionFromQuery(name: string, text: string): Position {
  if (name === 'since' && text === 'latest') return LIVE;
  const id = parseId(text);
  if (id === undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_POSITION',
      `${name} must be an id, a whole number from 0 to ${ID_MAX} without leading zeros` +
        `${name === 'since' ? ', or latest' : ''} (got ${JSON.stringify(text.slice(0, 32))})`,
    );
  }
  return { kind: 'after', id };
}

/** `last=N`: the newest N events of each channel. */
export function lastFromQuery(text: string): Position {
  const count = parseId(text);
  if (count === undefined) {
    throw new HoldlineError(
      'HOLDLINE_BAD_POSITION',
      `last must be a whole number of events (got ${JSON.stringify(text.slice(0, 32))})`,
    );
  }
  return { kind: 'last', count };
}

/**
 * True when a client at `id` has missed events that are no longer held, or the log never gave that
 * id. 0 asks for what is held and misses nothing.
 */
export function isGap(id: number, lostThrough: number, lastId: number): boolean {
  return id > lastId || (id > 0 && id < lostThrough);
}
