/** Which rounds a figure is from, and the cells of those without a round. */
import { roundsLeft } from '../../bench/verdict.js';
import { NOT_MEASURED } from './markdown.js';

/** A median of fewer rounds is no median. */
export const ROUNDS_MIN = 3;

/** In a cell where all rounds were discarded. No table with one is filled in. */
export const DISCARDED = 'discarded';

/** Both are missing in older results, in which no round was discarded. */
export interface KeptRounds {
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

/** The fewest rounds that any of the figures was made of; Infinity where none says. */
export function leastKept(figures: readonly KeptRounds[]): number {
  return Math.min(
    ...figures.map(({ rounds = Infinity, discardedRounds = 0 }) => rounds - discardedRounds),
  );
}

/** The figures that a table may show, and the words for those that it leaves out. */
export function enoughRounds<T extends KeptRounds>(
  figures: readonly T[],
  titleOf: (one: T) => string,
): { shown: T[]; note: string[] } {
  const shown = figures.filter((one) => leastKept([one]) >= ROUNDS_MIN);
  const left = figures.filter((one) => !shown.includes(one));
  const words = left.map((one) => `${titleOf(one)} (${keptRounds(one)})`).join(', ');
  return {
    shown,
    note:
      left.length === 0
        ? []
        : [`Left out, with fewer than ${ROUNDS_MIN} rounds that count: ${words}.`],
  };
}

export function discardedNote(figures: readonly KeptRounds[]): string[] {
  if (!figures.some(({ discardedRounds = 0 }) => discardedRounds > 0)) return [];
  return [
    'Rounds in which the load client was at its limit, or nobody was and yet something was ' +
      'missing, are discarded.',
  ];
}
