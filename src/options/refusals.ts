/** Errors for options: a value that is not accepted, and a name that is not known. */

import { inspect } from 'node:util';
import { HoldlineError } from '../errors.js';
import { nearestName } from '../spelling.js';

/** The error for a value that is not accepted; `accepted` completes "it must be". */
export function badOption(
  name: string,
  given: unknown,
  accepted: string,
  isSecret = false,
): HoldlineError {
  // An empty secret needs no hiding.
  const shown = isSecret && given !== '' ? 'a secret, not shown here' : show(given);
  return new HoldlineError('HOLDLINE_BAD_OPTION', `${name} must be ${accepted} (got ${shown})`);
}

/**
 * The user and password of a URL are left out, also of one that is mistyped: the refusal may be in
 * a log.
 */
export function show(given: unknown): string {
  const written =
    typeof given === 'string'
      ? JSON.stringify(given)
      : inspect(given, { breakLength: Infinity, depth: 1 });
  const shown = written
    .replace(/^"(?!\s*[[{])(\s*[a-z][a-z0-9+.-]*:(?:\/\/)?)?.*@/is, '"$1…@')
    .replaceAll(/:\/\/[^\s/?#]*@/g, '://…@');
  return shown.length > 200 ? `${shown.slice(0, 200)}…` : shown;
}

/**
 * The error for an unknown name. It suggests a similar name, or says `otherwise`; `shown` is the
 * name with its place.
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
