/** What there is one of in a log: where ids stand, and how much is kept. */
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
] as const satisfies readonly (keyof Totals)[];

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
  };
}

/** Undefined when there are none, or they are cut short. */
export function readTotals({ facts }: Pick<Tables, 'facts'>): Totals | undefined {
  const packed = facts.get(KEY);
  if (packed === undefined || packed.length < FIELDS.length * 8) return undefined;
  return Object.fromEntries(
    FIELDS.map((field, index) => [field, packed.readDoubleBE(index * 8)]),
  ) as unknown as Totals;
}

export function writeTotals({ facts }: Pick<Tables, 'facts'>, totals: Totals): void {
  const packed = Buffer.allocUnsafe(FIELDS.length * 8);
  for (const [index, field] of FIELDS.entries()) packed.writeDoubleBE(totals[field], index * 8);
  void facts.put(KEY, packed);
}
