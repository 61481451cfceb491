/** Static keys: known by the SHA-256 of each, which is all that the configuration holds. */
import { timingSafeEqual } from 'node:crypto';
import type { StaticKey } from '../options/credentials.js';
import { digest } from './digest.js';
import { compilePattern } from './pattern.js';
import { ACTIONS, makeRights, type Grants, type Rights } from './rights.js';

export type { StaticKey };

interface Held {
  readonly digest: Buffer;
  readonly rights: Rights;
}

export class StaticKeys {
  readonly #held: readonly Held[];

  /** `keys` as the option `keys` has checked them. */
  constructor(keys: readonly StaticKey[]) {
    this.#held = keys.map((key) => ({
      digest: Buffer.from(key.sha256, 'hex'),
      rights: makeRights({
        user: key.user,
        credential: `key:${key.name}`,
        grants: grantsOf(key),
        isOps: key.ops === true,
      }),
    }));
  }

  /**
   * The rights of a key as a request shows it; undefined if it is none of these. It is compared
   * with all of them, at most STATIC_KEYS_MAX at 0.2 µs each, so that the time tells nothing.
   */
  find(given: string): Rights | undefined {
    if (this.#held.length === 0) return undefined;
    const shown = digest(given);
    let found: Rights | undefined;
    for (const held of this.#held) if (timingSafeEqual(shown, held.digest)) found = held.rights;
    return found;
  }
}

function grantsOf(key: StaticKey): Grants {
  return Object.fromEntries(
    ACTIONS.map((action) => [action, key[action]?.map((text) => compilePattern(text)!)]),
  );
}
