/** The query of a request: its parameters, decoded as browsers encode them. */
import { HoldlineError } from '../errors.js';

/**
 * uWebSockets' own decoding reads a parameter only once and accepts broken percent-encoding, so the
 * raw text is read here. native-notes/query-values.md
 */
export class Query {
  /** Names and values in turn; where a name repeats, the first counts. */
  readonly #parameters: readonly string[];

  constructor(raw: string | undefined) {
    if (raw === undefined || raw === '') this.#parameters = NO_PARAMETERS;
    else if (ENCODED.test(raw)) this.#parameters = [...new URLSearchParams(raw)].flat();
    else this.#parameters = readPlain(raw);
  }

  /** The decoded value. Throws HOLDLINE_BAD_QUERY if it is not UTF-8. */
  get(name: string): string | undefined {
    const parameters = this.#parameters;
    for (let i = 0; i < parameters.length; i += 2) {
      if (parameters[i] !== name) continue;
      const value = parameters[i + 1] as string;
      if (value.includes('\uFFFD'))
        throw new HoldlineError(
          'HOLDLINE_BAD_QUERY',
          `the query parameter ${name} must be percent-encoded UTF-8`,
        );
      return value;
    }
    return undefined;
  }

  /** True for `name=1`, false for `name=0` or none. Throws HOLDLINE_BAD_QUERY for anything else. */
  isSet(name: string): boolean {
    const value = this.get(name);
    if (value === undefined || value === '0') return false;
    if (value === '1') return true;
    throw badParameter(name, '0 or 1', value);
  }
}

/** HOLDLINE_BAD_QUERY: what a parameter must be, and what was given. */
export function badParameter(name: string, expected: string, given: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_QUERY',
    `the query parameter ${name} must be ${expected} (got ${JSON.stringify(given.slice(0, 32))})`,
  );
}

const NO_PARAMETERS: readonly string[] = [];

/** Most queries need no decoding, and every poll has one. */
const ENCODED = /[%+]/;

function readPlain(raw: string): readonly string[] {
  const parameters: string[] = [];
  for (let start = 0; start <= raw.length;) {
    const ampersand = raw.indexOf('&', start);
    const end = ampersand < 0 ? raw.length : ampersand;
    const equals = raw.indexOf('=', start);
    if (equals < 0 || equals > end) parameters.push(raw.slice(start, end), '');
    else parameters.push(raw.slice(start, equals), raw.slice(equals + 1, end));
    start = end + 1;
  }
  return parameters;
}
