/** What there is one of in a log: where ids stand, and how much is kept. */
import { LOG_CLOCK_BACK_MS_MAX } from '../../limits.js';
import type { Tables } from './environment.js';

/** Written in every transaction. */
export interface Totals {
  /** First id − 1. */
  readonly floor: number;
  /** Highest id that was committed; the floor before any was. */
  newestId: number;
  /** When it was given, ms since 1970. */
  newestWallMs: number;
  /** No id up to this one is given again: those of `async` may be out before they are committed. */
  leaseEnd: number;
  events: number;
  bytes: number;
  channels: number;
  /** Highest number that a channel has had. */
  channelNumber: number;
  /** Highest id that was lost by a channel whose row is forgotten. */
  forgottenThrough: number;
  /** Ids up to this one were given before the clock was set back last; 0 when it never was. */
  setBackId: number;
  /** What the clock said then, ms since 1970. */
  setBackMs: number;
}

const KEY = Buffer.from('totals');

const FIELDS = [
  'floor',
  'newestId',
  'newestWallMs',
  'leaseEnd',
  'events',
  'bytes',
  'channels',
  'channelNumber',
  'forgottenThrough',
  'setBackId',
  'setBackMs',
] as const satisfies readonly (keyof Totals)[];

/** Logs of earlier versions end here; what follows is 0 in them. */
const FIELDS_MIN = FIELDS.indexOf('setBackId');

export function freshTotals(firstId: number): Totals {
  const floor = firstId - 1;
  return {
    floor,
    newestId: floor,
    newestWallMs: 0,
    leaseEnd: floor,
    events: 0,
    bytes: 0,
    channels: 0,
    channelNumber: 0,
    forgottenThrough: floor,
    setBackId: 0,
    setBackMs: 0,
  };
}

/** Undefined when there are none, or they are cut short. */
export function readTotals({ facts }: Pick<Tables, 'facts'>): Totals | undefined {
  const packed = facts.get(KEY);
  if (packed === undefined || packed.length < FIELDS_MIN * 8) return undefined;
  return Object.fromEntries(
    FIELDS.map((field, index) => [
      field,
      index * 8 < packed.length ? packed.readDoubleBE(index * 8) : 0,
    ]),
  ) as unknown as Totals;
}

export function writeTotals({ facts }: Pick<Tables, 'facts'>, totals: Totals): void {
  const packed = Buffer.allocUnsafe(FIELDS.length * 8);
  for (const [index, field] of FIELDS.entries()) packed.writeDoubleBE(totals[field], index * 8);
  void facts.put(KEY, packed);
}

/**
 * The clock says `wallMs`, and ids up to `id` have been given. Returns true when it has been set
 * back since the newest of them, which was from a clock that was ahead.
 */
export function noteTime(totals: Totals, wallMs: number, id: number): boolean {
  if (totals.newestWallMs - wallMs <= LOG_CLOCK_BACK_MS_MAX) return false;
  totals.setBackId = id;
  totals.setBackMs = wallMs;
  totals.newestWallMs = wallMs;
  return true;
}

/**
 * True when an event was given before a time, as it is known now: one whose own time is yet to come
 * was given before the clock was set back.
 */
export function isBefore(
  { setBackId, setBackMs }: Totals,
  event: { readonly id: number; readonly wallMs: number },
  wallMs: number,
  nowMs: number,
): boolean {
  const isAhead = event.wallMs > nowMs && event.id <= setBackId;
  return (isAhead ? setBackMs : event.wallMs) < wallMs;
}
