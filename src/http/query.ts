/** The query of a request, as its parameters. */
import { HoldlineError } from '../errors.js';

/**
 * The parameters of a query, decoded as browsers encode them. uWebSockets' own decoding reads a
 * parameter once only and takes broken percent-encoding as it comes (native-notes/query-values.md).
 * Throws HOLDLINE_BAD_QUERY for what is not UTF-8.
 */
export class Query {
  /** Names and values in turn; the first of two with one name counts. */
  readonly #parameters: readonly string[];

  constructor(raw: string | undefined) {
    if (raw === undefined || raw === '') this.#parameters = NO_PARAMETERS;
    else if (ENCODED.test(raw)) this.#parameters = [...new URLSearchParams(raw)].flat();
    else this.#parameters = readPlain(raw);
  }

  get(name: string): string | undefined {
    const parameters = this.#parameters;
    for (let i = 0; i < parameters.length; i += 2) {
      if (parameters[i] !== name) continue;
      const value = parameters[i + 1] as string;
      if (value.includes('\uFFFD'))
        throw new HoldlineError(
          'HOLDLINE_BAD_QUERY',
          `${name} in the query is not percent-encoded UTF-8`,
        );
      return value;
    }
    return undefined;
  }

  /** `name=1` or `name=0`. Throws HOLDLINE_BAD_QUERY for anything else. */
  isSet(name: string): boolean {
    const value = this.get(name);
    if (value === undefined || value === '0') return false;
    if (value === '1') return true;
    throw new HoldlineError(
      'HOLDLINE_BAD_QUERY',
      `${name}=${JSON.stringify(value.slice(0, 32))} is not 0 or 1`,
    );
  }
}

const NO_PARAMETERS: readonly string[] = [];

/** What must be decoded. Most queries are plain, and a poll's is read with every request. */
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
