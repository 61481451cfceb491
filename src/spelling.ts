/** The known name that a mistyped one most likely stands for, for refusals. */

/** Shorter words begin too many names. */
const BEGINNING_CHARS_MIN = 5;

/**
 * The most similar of `names`, which differs from `word` by at most a third of its characters; else
 * the first that begins with it, since mostly a unit is missing; or undefined. Case, `_` and `-` do
 * not count. `mistakesMax`: letters that may differ at the most.
 */
export function nearestName(
  word: string,
  names: Iterable<string>,
  mistakesMax = Infinity,
): string | undefined {
  // The distance costs the product of the two lengths, and a longer word is no typing mistake.
  if (word.length > 64) return undefined;
  const wanted = plainName(word);
  let longer: string | undefined;
  let nearest: string | undefined;
  let nearestDistance = Math.min(Math.floor(wanted.length / 3), mistakesMax) + 1;
  for (const name of names) {
    const known = plainName(name);
    if (wanted.length >= BEGINNING_CHARS_MIN && known.startsWith(wanted)) longer ??= name;
    // The lengths alone make them differ by this much.
    if (Math.abs(known.length - wanted.length) >= nearestDistance) continue;
    const distance = editDistance(wanted, known);
    if (distance < nearestDistance) {
      nearest = name;
      nearestDistance = distance;
    }
  }
  return nearest ?? longer;
}

/** Says that `kind` has another name than the known ones: the nearest, or all of them. */
export function unknownName(kind: string, given: string, known: readonly string[]): string {
  const near = nearestName(given, known);
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
  return `unknown ${kind} ${JSON.stringify(given.slice(0, 64))} (${hint})`;
}

/** A name without what does not count: case, `_` and `-`. */
export function plainName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '');
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let aboveThat: number[] = [];
  let above: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    [aboveThat, above, row] = [above, row, [i]];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
          ? aboveThat[j - 2]! + 1
          : Infinity;
      row.push(Math.min(replaced, swapped, above[j]! + 1, row[j - 1]! + 1));
    }
  }
  return row[b.length]!;
}
