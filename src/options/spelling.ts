/**
 * The known name that a mistyped one most likely stands for, so that a refusal can say what would
 * work.
 */

/**
 * The one of `names` that differs from `word` by at most a third of its characters, or undefined;
 * case and `_`/`-` do not count.
 */
export function nearestName(word: string, names: Iterable<string>): string | undefined {
  // A longer word cannot be a slip of the finger, and the distance costs the product of the two
  // lengths.
  if (word.length > 64) return undefined;
  const wanted = plain(word);
  let nearest: string | undefined;
  let nearestDistance = Math.floor(wanted.length / 3) + 1;
  for (const name of names) {
    const distance = editDistance(wanted, plain(name));
    if (distance < nearestDistance) {
      nearest = name;
      nearestDistance = distance;
    }
  }
  return nearest;
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '');
}

/**
 * Insertions, deletions, replacements and swaps of neighbours that make `a` out of `b`, one row of
 * the table at a time.
 */
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
