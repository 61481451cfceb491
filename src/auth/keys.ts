/** Static keys: known by the SHA-256 of each, which is all that the configuration holds. */
import type { Rights } from './rights.js';

/** A static key as the option `keys` gives it; patterns as text. */
export interface StaticKey {
  readonly name: string;
  /** SHA-256 of the key in hex, 64 characters: `printf %s KEY | sha256sum`. */
  readonly sha256: string;
  readonly subscribe?: readonly string[];
  readonly publish?: readonly string[];
  readonly delete?: readonly string[];
  readonly watch?: readonly string[];
  readonly ops?: boolean;
  readonly user?: string;
}

export class StaticKeys {
  /** `keys` as the option has checked them. Throws HOLDLINE_BAD_OPTION for others. */
  constructor(keys: readonly StaticKey[]) {
    void keys;
  }

  /** The rights of a key as a request shows it; undefined if it is none of these. */
  find(given: string): Rights | undefined {
    void given;
    return undefined;
  }
}
