/**
 * Names that clients have asked for and the log keeps nothing of, so that the log is not asked
 * again: a name is empty as long as it has lost nothing since. Bounded; the oldest go first.
 */
import { EMPTY_NAMES_MAX } from '../limits.js';

/** What is known of an empty name. */
export interface EmptyName {
  /** The log keeps nothing of it up to here … */
  readonly through: number;
  /** … and lost what it had up to here. */
  readonly lostThrough: number;
  /** Its channel was deleted, and nothing was published to it since. */
  readonly isDeleted: boolean;
}

export class EmptyNames {
  readonly #byName = new Map<string, EmptyName>();

  remember(name: string, empty: EmptyName): void {
    this.#byName.delete(name);
    this.#byName.set(name, empty);
    if (this.#byName.size <= EMPTY_NAMES_MAX) return;
    for (const oldest of this.#byName.keys()) {
      this.#byName.delete(oldest);
      return;
    }
  }

  /** Undefined if the name is not known to be empty. */
  get(name: string, losses: { lostThrough(name: string): number }): EmptyName | undefined {
    const known = this.#byName.get(name);
    return known?.through === losses.lostThrough(name) ? known : undefined;
  }
}
