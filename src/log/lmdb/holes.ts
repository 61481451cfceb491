/**
 * Ids that may have been given and are not in the log: what `async` had answered and not committed
 * when its process was killed, and what came between a copy and the log that was made from it. Any
 * channel may have lost events there.
 */
import { LOG_HOLES_MAX } from '../../limits.js';
import type { Tables } from './environment.js';

/** The ids above `after`, up to `through`. */
export interface Hole {
  readonly after: number;
  readonly through: number;
}

const KEY = Buffer.from('holes');
const BYTES_EACH = 16;

/** In id order. */
export function readHoles({ facts }: Pick<Tables, 'facts'>): readonly Hole[] {
  const packed = facts.get(KEY) ?? Buffer.alloc(0);
  return Array.from({ length: Math.floor(packed.length / BYTES_EACH) }, (_, index) => ({
    after: packed.readDoubleBE(index * BYTES_EACH),
    through: packed.readDoubleBE(index * BYTES_EACH + 8),
  }));
}

export function writeHoles({ facts }: Pick<Tables, 'facts'>, holes: readonly Hole[]): void {
  const packed = Buffer.allocUnsafe(holes.length * BYTES_EACH);
  for (const [index, { after, through }] of holes.entries()) {
    packed.writeDoubleBE(after, index * BYTES_EACH);
    packed.writeDoubleBE(through, index * BYTES_EACH + 8);
  }
  void facts.put(KEY, packed);
}

/** With one more, above all others. Past LOG_HOLES_MAX the two oldest become one. */
export function withHole(holes: readonly Hole[], hole: Hole): readonly Hole[] {
  if (holes.length < LOG_HOLES_MAX) return [...holes, hole];
  const [first, second, ...others] = holes as [Hole, Hole, ...Hole[]];
  return [{ after: first.after, through: second.through }, ...others, hole];
}

/**
 * How far a page goes that begins behind `after` and is to end at `through`: no further than to
 * where a hole begins. One that begins in a hole lacks what was lost there.
 */
export function pageBetween(
  holes: readonly Hole[],
  after: number,
  through: number,
): { readonly through: number; readonly lostThrough: number } {
  let lostThrough = 0;
  for (const hole of holes) {
    if (hole.after > after) return { through: Math.min(through, hole.after), lostThrough };
    if (hole.through > after) lostThrough = hole.through;
  }
  return { through, lostThrough };
}

/** The end of the last hole that begins below `id`; 0 without one. */
export function lostInHoles(holes: readonly Hole[], id: number): number {
  return holes.findLast(({ after }) => after < id)?.through ?? 0;
}
