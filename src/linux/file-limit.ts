/**
 * How many files this process may have open, which bounds its connections: each of them is a file.
 */

import { readText } from './files.js';

/**
 * The soft limit: Infinity for "unlimited", undefined where it cannot be read, as on anything but
 * Linux. Node raises the soft limit to the hard one when it starts, so the limit of the shell that
 * started it does not count. native-notes/file-limit-raised.md
 */
export function readFileLimit(): number | undefined {
  return parseFileLimit(readText('/proc/self/limits') ?? '');
}

/** "Max open files" in the text of /proc/self/limits. Its columns are name, soft, hard, unit. */
export function parseFileLimit(limits: string): number | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits)?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Infinity : Number(soft);
}
