/** The libraries of the logs: optional in package.json, and loaded by the server that uses them. */
import { HoldlineError } from '../errors.js';
import { MANIFEST } from '../version.js';

/** Throws HOLDLINE_NO_LIBRARY if one is not installed, and says how to install what is missing. */
export function checkLogLibraries(log: string, names: readonly string[]): void {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const versions: Readonly<Record<string, string>> = MANIFEST.optionalDependencies;
  const wanted = missing.map((name) => `${name}@${versions[name] ?? 'latest'}`).join(' ');
  throw new HoldlineError(
    'HOLDLINE_NO_LIBRARY',
    `--log ${log} needs what is not installed here: npm install ${wanted}`,
  );
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}
