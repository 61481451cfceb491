/** Which rounds a figure is from, and the cells of those without a round. */
import { roundsLeft } from '../../bench/verdict.js';
import { NOT_MEASURED } from './markdown.js';

const DISCARDED = 'discarded';

/** Both are missing in older results, in which no round was discarded. */
interface KeptRounds {
  rounds?: number;
  discardedRounds?: number;
}

/** True when all rounds were discarded. */
export function isDiscarded({ rounds, discardedRounds }: KeptRounds): boolean {
  return rounds !== undefined && discardedRounds === rounds;
}

/** A figure of the rounds that were kept. Where none was, the cell says so. */
export function keptCell<T extends KeptRounds>(
  figures: T | undefined,
  draw: (figures: T) => string,
  without = NOT_MEASURED,
): string {
  if (figures === undefined) return without;
  return isDiscarded(figures) ? DISCARDED : draw(figures);
}

export function keptRounds({ rounds, discardedRounds }: KeptRounds): string {
  return rounds === undefined || discardedRounds === undefined
    ? '–'
    : roundsLeft({ rounds, discardedRounds });
}

export function discardedNote(figures: readonly KeptRounds[]): string[] {
  if (!figures.some(({ discardedRounds = 0 }) => discardedRounds > 0)) return [];
  return [
    'Rounds in which the load client was at its limit, or nobody was and yet something was ' +
      'missing, are discarded.',
  ];
}
