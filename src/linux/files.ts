/** Small text files read whole: those of /proc and /sys, and those that options name. */

import { readFileSync, statSync } from 'node:fs';

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

/** The text of a file of any kind, for a start: it may be a pipe. Throws as Node does. */
export function readAnyFile(path: string): string {
  return readFileSync(path, 'utf8');
}

/**
 * The text of a regular file, for a server that runs: reading a pipe would stop it until somebody
 * writes. Throws an Error that says why it cannot be read.
 */
export function readRegularFile(path: string): string {
  if (!statSync(path).isFile()) throw new Error('it is no regular file');
  return readFileSync(path, 'utf8');
}
