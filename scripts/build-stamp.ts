/** Whether dist/ was built from what src/ holds now, by a hash that the build leaves in dist/. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const stampOf = (root: string): string => join(root, 'dist/.stamp');

/**
 * Names and contents of all files in src/, not their times: a checkout writes files that have not
 * changed.
 */
function hashOfSource(root: string): string {
  const folder = join(root, 'src');
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash('sha256');
  for (const path of paths.toSorted())
    hash
      .update(`${relative(folder, path)}\0`)
      .update(readFileSync(path))
      .update('\0');
  return hash.digest('hex');
}

/** Notes in dist/ what it was built from. */
export function writeStamp(root = ROOT): void {
  writeFileSync(stampOf(root), hashOfSource(root));
}

/** A sentence when dist/ is missing, or was built from another src/. */
export function staleness(root = ROOT): string | undefined {
  const stamp = stampOf(root);
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hashOfSource(root)
    ? undefined
    : 'dist/ was not built from what src/ holds now; run `npm run build` first';
}
