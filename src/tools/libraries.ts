/**
 * The libraries of the tools. They are optional peers in package.json, so that a program that
 * embeds the server installs none of them; in a checkout `npm install` brings all.
 */
import { HoldlineError } from '../errors.js';
import { MANIFEST } from '../version.js';

/** Throws HOLDLINE_NO_LIBRARY if one is missing, and says how to install what is. */
export function checkLibraries(command: string): void {
  const missing = Object.entries(MANIFEST.peerDependencies).filter(([name]) => !isThere(name));
  if (missing.length === 0) return;
  const wanted = missing.map(([name, range]) => `${name}@${range.replace('^', '')}`).join(' ');
  throw new HoldlineError(
    'HOLDLINE_NO_LIBRARY',
    `holdline ${command} needs libraries that a server does not: npm install ${wanted}`,
  );
}

function isThere(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}
