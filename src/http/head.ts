/**
 * The head of a request, read once and in one pass while uWebSockets has it, and good for as long
 * as anybody wants it. What it has more than uWebSockets tells: whether a field is there at all,
 * and whether it is there twice.
 */
import type { HttpRequest } from '../native/uws.js';

export class Head {
  /** As it was sent, since GET is another method than gEt (RFC 9110, 9.1). */
  readonly method: string;
  /** Undecoded. native-notes/request-parsing.md */
  readonly path: string;
  /** As it stands, without the question mark; undefined where there is none. */
  readonly query: string | undefined;
  /** Names in small letters and values in turn. */
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

  /** The first field of that name; empty where there is none. */
  get(name: string): string {
    return this.find(name) ?? '';
  }

  /** The first field of that name; undefined where there is none. */
  find(name: string): string | undefined {
    const all = this.#fields;
    for (let i = 0; i < all.length; i += 2) if (all[i] === name) return all[i + 1];
    return undefined;
  }

  /** True when two fields have that name. */
  isTwice(name: string): boolean {
    const all = this.#fields;
    let found = 0;
    for (let i = 0; i < all.length; i += 2) if (all[i] === name) found++;
    return found > 1;
  }

  /** Fields by name; of two with one name the first counts, as it does for the keys. */
  toObject(): Record<string, string> {
    // Without a prototype, since __proto__ is a name like any other.
    const object = Object.create(null) as Record<string, string>;
    for (let i = 0; i < this.#fields.length; i += 2)
      object[this.#fields[i] as string] ??= this.#fields[i + 1] as string;
    return object;
  }
}

/** Set and filled in one synchronous call: a closure for each request would be garbage for each. */
let fields: string[] = [];

function takeField(name: string, value: string): void {
  fields.push(name, value);
}
