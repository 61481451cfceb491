/**
 * Lines of users and addresses over all workers, for the limits of each. What another worker has
 * opened in this moment is not known yet: as many lines too many may be open.
 */
import { hash } from 'node:crypto';
import type { Elsewhere } from '../core/elsewhere.js';
import type { OwnerListener } from '../core/owners.js';

/** What is counted here. */
export interface CountedOwners {
  linesOfUser(user: string): number;
  linesOfAddress(address: string): number;
}

/** No name of a channel has a space (http/request.ts), and those are told the same way. */
const MARK = ' ';

export function isOwnerKey(name: string): boolean {
  return name.includes(MARK);
}

/** Users may have any name, and travel as digests; an address is short and plain. */
function keyOf(kind: 'user' | 'address', name: string): string {
  return kind === 'user'
    ? `u${MARK}${hash('sha256', name, 'hex').slice(0, 24)}`
    : `a${MARK}${name}`;
}

export class OwnerCounts implements CountedOwners {
  readonly #here: CountedOwners;
  readonly #elsewhere: Elsewhere;

  constructor(here: CountedOwners, elsewhere: Elsewhere) {
    this.#here = here;
    this.#elsewhere = elsewhere;
  }

  linesOfUser(user: string): number {
    return this.#here.linesOfUser(user) + this.#elsewhere.of(keyOf('user', user));
  }

  linesOfAddress(address: string): number {
    return this.#here.linesOfAddress(address) + this.#elsewhere.of(keyOf('address', address));
  }
}

/** Tells of owners as of channels; only of those that have a limit. */
export function ownerListener(
  { maxLinesPerUser, maxLinesPerAddress }: Record<'maxLinesPerUser' | 'maxLinesPerAddress', number>,
  tell: (key: string, lines: number) => void,
): OwnerListener | undefined {
  if (maxLinesPerUser === 0 && maxLinesPerAddress === 0) return undefined;
  return (kind, name, lines) => {
    if ((kind === 'user' ? maxLinesPerUser : maxLinesPerAddress) > 0)
      tell(keyOf(kind, name), lines);
  };
}
