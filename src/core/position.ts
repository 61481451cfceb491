/** Positions: what a client may ask for, how it is written, and when there is a gap. */
import { HoldlineError } from '../errors.js';
import { ID_MAX } from '../limits.js';

/**
 * What a client asks for.
 * - `live`: from now on.
 * - `after`: everything after `id`; 0 is the oldest event held.
 * - `last`: the newest `count` events of each channel, then live.
 * - `time`, `ago`: everything since then, as wall-clock time, ms since 1970, or ms before now. Only
 *   where the log keeps events.
 * - `foreign`: a position that is no id of ours: everything held, after a gap.
 */
export type Position =
  | { readonly kind: 'live' }
  | { readonly kind: 'after'; readonly id: number }
  | { readonly kind: 'last'; readonly count: number }
  | { readonly kind: 'time'; readonly wallMs: number }
  | { readonly kind: 'ago'; readonly ms: number }
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
  const id = parseId(text);
  if (id !== undefined) return { kind: 'after', id };
  const position = name === 'since' ? namedPosition(text) : undefined;
  if (position !== undefined) return position;
  throw new HoldlineError(
    'HOLDLINE_BAD_POSITION',
    `${name} must be an id, a whole number from 0 to ${ID_MAX} without leading zeros` +
      `${name === 'since' ? OTHER_POSITIONS : ''} (got ${JSON.stringify(text.slice(0, 32))})`,
  );
}

const OTHER_POSITIONS =
  ', or latest, or a time such as 10m (ms, s, m or min, h or d before now) or 2026-11-26T20:15:00Z';

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const AGO = /^(\d{1,9})(ms|s|m|min|h|d)$/;
/** RFC 3339, 5.6. In a query an unescaped + is read as a space. */
const DATE_TIME = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:[Zz]|([+ -])(\d\d:\d\d))$/;

/** A position that is no id: `latest`, or a time. */
function namedPosition(text: string): Position | undefined {
  if (text === 'latest') return LIVE;
  const [, count, unit] = AGO.exec(text) ?? [];
  if (unit !== undefined) return { kind: 'ago', ms: Number(count) * (UNIT_MS[unit] as number) };
  const parts = DATE_TIME.exec(text);
  if (parts === null) return undefined;
  const [, date, time, fraction = '', sign, offset] = parts;
  const zone = sign === undefined ? 'Z' : `${sign === '-' ? '-' : '+'}${offset}`;
  // A leap second is the second after it, as clocks of computers count.
  const isLeap = time?.endsWith(':60') === true;
  const clockTime = isLeap ? time?.replace(/60$/, '59') : time;
  const wallMs =
    Date.parse(`${date}T${clockTime}${isLeap ? '' : fraction}${zone}`) + (isLeap ? 1_000 : 0);
  // Date.parse takes February 30 for March 2.
  const day = new Date(`${date}T00:00:00Z`).toJSON() as string | null;
  return Number.isNaN(wallMs) || day?.slice(0, 10) !== date ? undefined : { kind: 'time', wallMs };
}

/** For a time where the log keeps no events. */
export function noTimes(): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_POSITION',
    'since cannot be a time here, because this server keeps no events (--log memory); use an id, or last=N',
  );
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
