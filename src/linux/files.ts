/** The small text files of /proc and /sys, read whole. */

import { readFileSync } from 'node:fs';

/** The text of a file; undefined where it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** The integers in a file that holds nothing else; undefined for any other file. */
export function readNumbers(
  path: string,
  read: (path: string) => string | undefined = readText,
): number[] | undefined {
  const text = read(path)?.trim();
  return text !== undefined && /^-?\d+(?:\s+-?\d+)*$/.test(text)
    ? text.split(/\s+/).map(Number)
    : undefined;
}

/** The first of them. */
export function readNumber(path: string): number | undefined {
  return readNumbers(path)?.[0];
}
