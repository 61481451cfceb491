/**
 * The libraries of the tools and of the logs. They are optional peers in package.json, so that a
 * program that embeds the server installs none of them; in a checkout `npm install` brings all.
 */
import { HoldlineError } from './errors.js';
import { MANIFEST } from './version.js';

export const TOOL_LIBRARIES = [
  'cli-table3',
  'eventsource-parser',
  'hdr-histogram-js',
  'uplot',
] as const;
export const LMDB_LIBRARIES = ['lmdb'] as const;
export const NATS_LIBRARIES = ['@nats-io/transport-node', '@nats-io/jetstream'] as const;

/**
 * Throws HOLDLINE_NO_LIBRARY if one of them is missing, and says how to install what is. `who`
 * needs them, in words.
 */
export function checkLibraries(who: string, names: readonly string[]): void {
  const missing = names.filter((name) => !isThere(name));
  if (missing.length === 0) return;
  const ranges = MANIFEST.peerDependencies;
  const wanted = missing.map((name) => `${name}@${(ranges[name] as string).replace(/^[~^]/, '')}`);
  throw new HoldlineError(
    'HOLDLINE_NO_LIBRARY',
    `${who} needs libraries that a server by itself does not: npm install ${wanted.join(' ')}`,
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
