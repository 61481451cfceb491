/** Errors for options: a value that is not accepted, and a name that is not known. */

import { inspect } from 'node:util';
import { HoldlineError } from '../errors.js';
import { nearestName } from './spelling.js';

/** The error for a value that is not accepted. An empty secret is no secret. */
export function badOption(
  name: string,
  given: unknown,
  accepted: string,
  isSecret = false,
): HoldlineError {
  const shown = isSecret && given !== '' ? 'a secret that is not shown here' : show(given);
  return new HoldlineError(
    'HOLDLINE_BAD_OPTION',
    `${name}: ${shown} was given; accepted is ${accepted}`,
  );
}

function show(given: unknown): string {
  const shown =
    typeof given === 'string'
      ? JSON.stringify(given)
      : inspect(given, { breakLength: Infinity, depth: 1 });
  return shown.length > 200 ? `${shown.slice(0, 200)}…` : shown;
}

/**
 * The error for a name that is no option; `otherwise` says where the names are when none is near,
 * `shown` is the name in its place.
 */
export function unknownOption(
  name: string,
  known: readonly string[],
  otherwise: string,
  shown = name,
): HoldlineError {
  const nearest = nearestName(name, known);
  const hint = nearest === undefined ? otherwise : `did you mean ${nearest}?`;
  return new HoldlineError('HOLDLINE_BAD_OPTION', `${shown} is not an option; ${hint}`);
}
