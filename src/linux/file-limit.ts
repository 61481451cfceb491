/**
 * The number of files that this process may have open: it bounds the connections, since every one
 * is a file.
 */

import { readFileSync } from 'node:fs';

/**
 * The soft limit, as the kernel tells it; undefined where it cannot be read (anything but Linux),
 * Infinity for "unlimited". Node raises the soft limit to the hard one when it starts
 * (native-notes/file-limit-raised.md), so what counts is the limit inside this process and not the
 * one of the shell that started it.
 */
export function readFileLimit(): number | undefined {
  try {
    return parseFileLimit(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * The soft "Max open files" in the text of /proc/self/limits, whose columns are name, soft, hard,
 * unit.
 */
export function parseFileLimit(limits: string): number | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits)?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Infinity : Number(soft);
}
