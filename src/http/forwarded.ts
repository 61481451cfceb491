/**
 * The fields in which proxies pass addresses on: `X-Forwarded-For`, which nearly all of them write,
 * and `Forwarded` (RFC 7239). Both are lists with the nearest hop at the right end.
 */

/**
 * The addresses of an `X-Forwarded-For`, from the right, without brackets and ports; undefined for
 * an entry that has none. Whoever asks no further leaves the rest unread.
 */
export function* readForwardedFor(value: string): Generator<string | undefined> {
  for (let end = value.length; end >= 0;) {
    const comma = value.lastIndexOf(',', end - 1);
    const start = end === 0 ? -1 : comma;
    yield nodeOf(value.slice(start + 1, end).trim());
    if (start < 0) return;
    end = start;
  }
}

/**
 * The addresses of a `Forwarded` (RFC 7239, 4), from the right; undefined for an element without
 * `for` or with one that names no address (`unknown`, `_hidden`). One undefined alone for a value
 * that breaks the grammar: a quote that its client left open may have swallowed what a proxy added.
 */
export function* readForwarded(value: string): Generator<string | undefined> {
  const elements = elementsOf(value);
  if (elements === undefined) yield undefined;
  else
    for (const node of elements.toReversed()) yield node === undefined ? undefined : nodeOf(node);
}

/**
 * A pair, and what separates it from the next one. Blanks without a pair are matched in one place:
 * in two, a long row of them is split in every way before it is refused.
 */
const PAIR =
  /[ \t]*(?:([!#$%&'*+.^`|~\w-]+)=(?:([!#$%&'*+.^`|~\w-]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?(;|,|$)/y;

/** The `for` of each element, undefined where it has none; undefined if the grammar is broken. */
function elementsOf(value: string): (string | undefined)[] | undefined {
  const nodes: (string | undefined)[] = [];
  let node: string | undefined;
  PAIR.lastIndex = 0;
  for (let end = -1; end < value.length;) {
    const pair = PAIR.exec(value);
    if (pair === null) return undefined;
    const [, name, token, quoted, separator] = pair;
    if (name?.toLowerCase() === 'for') {
      // Twice in one element is an error (RFC 7239, 4): it is not certain who wrote which.
      if (node !== undefined) return undefined;
      node = token ?? quoted?.replace(/\\(.)/g, '$1');
    }
    if (separator !== ';') {
      nodes.push(node);
      node = undefined;
    }
    if (separator === '') return nodes;
    end = PAIR.lastIndex;
  }
  return [...nodes, node];
}

/**
 * The address in `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:80`;
 * undefined for what is in no such form. What is in it is not checked.
 */
function nodeOf(text: string): string | undefined {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text);
  if (bracketed !== null) return bracketed[1];
  return (
    /^([\d.]+)(?::\d{1,5})?$/.exec(text)?.[1] ?? (/^[\da-f:.]+$/i.test(text) ? text : undefined)
  );
}
