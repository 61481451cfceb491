/**
 * Header fields that are there more than once. The values of a list are joined, as RFC 9110, 5.3
 * says. A field that has one value must have the same one each time: of two values one would be
 * taken, and a proxy in front may have taken the other.
 */

/** What was found in the fields of a head. */
export interface Repeated {
  /** Names and values in turn, each name once, with the values joined. */
  readonly fields: readonly string[];
  /** Names that are there more than once. */
  readonly names: ReadonlySet<string>;
  /** A name that may have one value and has two; undefined if there is none. */
  readonly conflict: string | undefined;
}

/** Fields that are no lists, and decide what a request is or who sent it. */
const SINGLE: ReadonlySet<string> = new Set([
  'authorization',
  'content-type',
  'idempotency-key',
  'last-event-id',
  'origin',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-websocket-key',
  'sec-websocket-version',
]);

// A head is looked at closer if two of its names fall into one of these slots, which differ by
// length, first and last letter. It costs a few ns a field, where comparing all names with each
// other costs that for each pair.
const SLOTS = 1024;
const seenIn = new Uint32Array(SLOTS);
let head = 0;

/** A head begins: no name was there yet. */
export function startHead(): void {
  head = (head + 1) >>> 0;
  // After 2^32 heads the numbers begin again.
  if (head === 0) seenIn.fill(head++);
}

/** True if the name may have been there before in this head. */
export function mayRepeat(name: string): boolean {
  const { length } = name;
  const letters = (name.charCodeAt(0) << 5) ^ name.charCodeAt(length - 1);
  const slot = ((length * 37) ^ letters) & (SLOTS - 1);
  const isSeen = seenIn[slot] === head;
  seenIn[slot] = head;
  return isSeen;
}

/** Joins the fields that repeat; undefined if none does. */
export function combine(fields: readonly string[]): Repeated | undefined {
  const values = new Map<string, string>();
  const names = new Set<string>();
  let conflict: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    const before = values.get(name);
    if (before === undefined) {
      values.set(name, value);
      continue;
    }
    names.add(name);
    if (!SINGLE.has(name)) values.set(name, `${before}${name === 'cookie' ? ';' : ','} ${value}`);
    else if (before !== value) conflict ??= name;
  }
  return names.size === 0 ? undefined : { fields: [...values].flat(), names, conflict };
}
