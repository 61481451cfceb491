/** The query of a request: its parameters, decoded as browsers encode them. */
import { HoldlineError } from '../errors.js';
import { QUERY_PARAMETERS_MAX } from '../limits.js';
import { nearestName, plainName } from '../spelling.js';

/**
 * Read in every spelling that differs in case, `-` and `_`: `lastEventId`, which EventSource
 * polyfills send, `Last-Event-ID`, `lastEventID`.
 */
export const LAST_EVENT_ID = 'last_event_id';
const LAST_EVENT_ID_PLAIN = plainName(LAST_EVENT_ID);

/** The parameters that a request to a channel may have. */
export const QUERY_NAMES = {
  GET: ['since', LAST_EVENT_ID, 'last', 'wait', 'limit', 'envelope', 'client'],
  POST: ['event'],
  DELETE: [],
} as const satisfies Record<string, readonly string[]>;

/** A method whose query is looked at. */
export type QueryMethod = keyof typeof QUERY_NAMES;

const ALL_NAMES: readonly string[] = Object.values(QUERY_NAMES).flat();

/** Shorter names are no mistyped ones: every cache buster (`_`, `t`, `v`) would be near one. */
const MISTYPED_CHARS_MIN = 4;
/** Those that are. */
const SHORT: Readonly<Record<string, string>> = { evt: 'event', lst: 'last', lim: 'limit' };
/** Letters that may differ: programs have names of their own, such as `client_id`. */
const MISTAKES_MAX = 1;

/**
 * uWebSockets' own decoding reads a parameter only once and accepts broken percent-encoding, so the
 * raw text is read here. native-notes/query-values.md
 */
export class Query {
  /** Names and values in turn. */
  readonly #parameters: readonly string[];

  constructor(raw: string | undefined) {
    if (raw === undefined || raw === '') this.#parameters = NO_PARAMETERS;
    else if (ENCODED.test(raw)) this.#parameters = [...new URLSearchParams(raw)].flat();
    else this.#parameters = readPlain(raw);
  }

  /** The query as text, encoded. */
  get text(): string {
    const pairs = new URLSearchParams();
    for (let i = 0; i < this.#parameters.length; i += 2)
      pairs.append(this.#parameters[i] as string, this.#parameters[i + 1] as string);
    return pairs.toString();
  }

  /**
   * The decoded value. Throws HOLDLINE_BAD_QUERY if it is not UTF-8, and if the parameter is there
   * twice with different values.
   */
  get(name: string): string | undefined {
    const parameters = this.#parameters;
    let found: string | undefined;
    for (let i = 0; i < parameters.length; i += 2) {
      if (!isNamed(parameters[i] as string, name)) continue;
      const value = parameters[i + 1] as string;
      if (value.includes('\uFFFD'))
        throw new HoldlineError(
          'HOLDLINE_BAD_QUERY',
          `the query parameter ${name} must be percent-encoded UTF-8`,
        );
      if (found !== undefined && found !== value)
        throw badParameter(name, `there once, or the same each time`, `${found}, ${value}`);
      found = value;
    }
    return found;
  }

  /** True for `name=1`, false for `name=0` or none. Throws HOLDLINE_BAD_QUERY for anything else. */
  isSet(name: string): boolean {
    const value = this.get(name);
    if (value === undefined || value === '0') return false;
    if (value === '1') return true;
    throw badParameter(name, '0 or 1', value);
  }

  /**
   * Throws HOLDLINE_BAD_QUERY for a parameter that only another method takes, and for one whose
   * name is close to a known one: it would be taken for nothing without a word. Any other name
   * passes, since pages add some against caches, and programs read theirs in `authorize`.
   */
  checkNames(method: QueryMethod): void {
    this.#check(QUERY_NAMES[method], ALL_NAMES, method);
  }

  /** The same for a request that takes `names`. */
  checkNamesAmong(names: readonly string[]): void {
    this.#check(names, names, 'GET');
  }

  #check(names: readonly string[], known: readonly string[], method: QueryMethod): void {
    const parameters = this.#parameters;
    if (parameters.length > 2 * QUERY_PARAMETERS_MAX) {
      throw new HoldlineError(
        'HOLDLINE_BAD_QUERY',
        `the query must have at most ${QUERY_PARAMETERS_MAX} parameters (got ${parameters.length / 2})`,
      );
    }
    for (let i = 0; i < parameters.length; i += 2) {
      const given = parameters[i] as string;
      if (!isAmong(given, names)) checkUnknown(given, known, names, method);
    }
  }
}

function isAmong(given: string, names: readonly string[]): boolean {
  for (const name of names) if (isNamed(given, name)) return true;
  return false;
}

function isNamed(given: string, name: string): boolean {
  return given === name || (name === LAST_EVENT_ID && isLastEventId(given));
}

function isLastEventId(given: string): boolean {
  return given.length >= LAST_EVENT_ID_PLAIN.length && plainName(given) === LAST_EVENT_ID_PLAIN;
}

function checkUnknown(
  given: string,
  known: readonly string[],
  names: readonly string[],
  method: QueryMethod,
): void {
  // A link that was copied out of HTML has `&amp;` in place of `&`; some write lists as `name[]`.
  const word = given.trim().replace(/^amp;|\[\]$/g, '');
  const near =
    plainName(word).length < MISTYPED_CHARS_MIN
      ? SHORT[word]
      : nearestName(word, known, MISTAKES_MAX);
  if (near === undefined) return;
  const shown = JSON.stringify(given.slice(0, 64));
  const takes = names.length === 0 ? 'none' : names.join(', ');
  throw new HoldlineError(
    'HOLDLINE_BAD_QUERY',
    isNamed(given, near)
      ? `the query parameter ${shown} means nothing to a ${method}, which takes ${takes}`
      : `the query parameter ${shown} is not known; did you mean ${near}?`,
  );
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
