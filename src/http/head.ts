/**
 * The head of a request: copied in one pass while uWebSockets has it, and valid afterwards. It also
 * tells whether a field is present at all, and whether it is there twice, which uWebSockets does
 * not.
 */
import type { HttpRequest } from '../native/uws.js';

export class Head {
  /** Case-sensitive: gEt is not GET (RFC 9110, 9.1). */
  readonly method: string;
  /** Undecoded. native-notes/request-parsing.md */
  readonly path: string;
  /** Undecoded, without the question mark; undefined if there is none. */
  readonly query: string | undefined;
  /** Lower-case names and values in turn. */
  readonly #fields: readonly string[];

  /** In the request's turn. native-notes/request-in-its-turn.md */
  constructor(request: HttpRequest) {
    this.method = request.getCaseSensitiveMethod();
    this.path = request.getUrl();
    this.query = request.getQuery();
    fields = [];
    request.forEach(takeField);
    this.#fields = fields;
  }

  /** The first field of that name; empty if there is none. */
  get(name: string): string {
    return this.find(name) ?? '';
  }

  /** The first field of that name; undefined if there is none. */
  find(name: string): string | undefined {
    const all = this.#fields;
    for (let i = 0; i < all.length; i += 2) if (all[i] === name) return all[i + 1];
    return undefined;
  }

  /** All fields of that name, whose value is a list, as one (RFC 9110, 5.2); empty without one. */
  all(name: string): string {
    const all = this.#fields;
    let joined = '';
    for (let i = 0; i < all.length; i += 2)
      if (all[i] === name) joined += joined === '' ? (all[i + 1] as string) : `, ${all[i + 1]}`;
    return joined;
  }

  /** True if two fields have that name. */
  isTwice(name: string): boolean {
    const all = this.#fields;
    let found = 0;
    for (let i = 0; i < all.length; i += 2) if (all[i] === name) found++;
    return found > 1;
  }

  /** Fields by name; where a name repeats, the first counts, as it does for the keys. */
  toObject(): Record<string, string> {
    // No prototype, because __proto__ is a name like any other.
    const object = Object.create(null) as Record<string, string>;
    for (let i = 0; i < this.#fields.length; i += 2)
      object[this.#fields[i] as string] ??= this.#fields[i + 1] as string;
    return object;
  }
}

/** Set and filled in one synchronous call: a closure per request would be garbage per request. */
let fields: string[] = [];

function takeField(name: string, value: string): void {
  fields.push(name, value);
}
