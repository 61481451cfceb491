/**
 * Names that clients have asked for and the log keeps nothing of, so that the log is not asked
 * again: a name is empty as long as it has lost nothing since. Bounded; the oldest go first.
 */
import { EMPTY_NAMES_MAX } from '../limits.js';

export class EmptyNames {
  readonly #byName = new Map<string, { readonly through: number; readonly lostThrough: number }>();

  /** The log keeps nothing of it up to `through`, and lost what it had up to `lostThrough`. */
  remember(name: string, through: number, lostThrough: number): void {
    this.#byName.delete(name);
    this.#byName.set(name, { through, lostThrough });
    if (this.#byName.size <= EMPTY_NAMES_MAX) return;
    for (const oldest of this.#byName.keys()) {
      this.#byName.delete(oldest);
      return;
    }
  }

  /** What the name has lost; undefined if it is not known to be empty. */
  lostThrough(name: string, losses: { lostThrough(name: string): number }): number | undefined {
    const known = this.#byName.get(name);
    return known?.through === losses.lostThrough(name) ? known.lostThrough : undefined;
  }
}
