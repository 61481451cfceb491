/**
 * The head of a request: copied in one pass while uWebSockets has it, and valid afterwards. It also
 * tells whether a field is present at all, and what is there more than once, which uWebSockets does
 * not.
 */
import type { HttpRequest } from '../native/uws.js';
import { combine, mayRepeat, startHead, type Repeated } from './repeated-fields.js';

export class Head {
  /** Case-sensitive: gEt is not GET (RFC 9110, 9.1). */
  readonly method: string;
  /**
   * Undecoded, and without the base path; empty for what is not below that.
   * native-notes/request-parsing.md
   */
  readonly path: string;
  /** Undecoded, without the question mark; undefined if there is none. */
  readonly query: string | undefined;
  /** Names of fields that are there more than once; undefined if there are none. */
  readonly repeated: Repeated | undefined;
  /** Lower-case names and values in turn, each name once. */
  readonly #fields: readonly string[];

  /** In the request's turn. native-notes/request-in-its-turn.md */
  constructor(request: HttpRequest, basePath = '') {
    this.method = request.getCaseSensitiveMethod();
    this.path = basePath === '' ? request.getUrl() : pathBelow(basePath, request.getUrl());
    this.query = request.getQuery();
    fields = [];
    hasRepeats = false;
    startHead();
    request.forEach(takeField);
    this.repeated = hasRepeats ? combine(fields) : undefined;
    this.#fields = this.repeated?.fields ?? fields;
  }

  /** The field of that name; empty if there is none. */
  get(name: string): string {
    return this.find(name) ?? '';
  }

  /** The field of that name; undefined if there is none. */
  find(name: string): string | undefined {
    const all = this.#fields;
    for (let i = 0; i < all.length; i += 2) if (all[i] === name) return all[i + 1];
    return undefined;
  }

  /** Fields by name; where a name repeats, its values are joined (http/repeated-fields.ts). */
  toObject(): Record<string, string> {
    // No prototype, because __proto__ is a name like any other.
    const object = Object.create(null) as Record<string, string>;
    for (let i = 0; i < this.#fields.length; i += 2)
      object[this.#fields[i] as string] = this.#fields[i + 1] as string;
    return object;
  }
}

/** True if a field that is a list has that item, in any case (RFC 9110, 5.6.1). */
export function isListed(item: string, list: string): boolean {
  if (list === '') return false;
  return list.split(',').some((one) => one.trim().toLowerCase() === item);
}

/** The rest of a path behind the base path; the base path itself is `/`. */
function pathBelow(basePath: string, path: string): string {
  if (path === basePath) return '/';
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : '';
}

/** Set and filled in one synchronous call: a closure per request would be garbage per request. */
let fields: string[] = [];
let hasRepeats = false;

function takeField(name: string, value: string): void {
  if (mayRepeat(name)) hasRepeats = true;
  fields.push(name, value);
}
