/** Files that a command writes. They are checked before it runs, since a run takes minutes. */

import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { HoldlineError } from '../../errors.js';

/** Paths by the flags that name them; undefined where none was given. */
export type FilesByFlag = Readonly<Record<string, string | undefined>>;

/**
 * Throws HOLDLINE_BAD_OPTION when one of the files cannot be written now, or when another option
 * names the same file, to write or to read it. Creates nothing.
 */
export function checkOutputs(written: FilesByFlag, read: FilesByFlag = {}): void {
  const flags = new Map<string, string>();
  for (const [flag, path] of Object.entries(read))
    if (path !== undefined) flags.set(resolve(path), flag);
  for (const [flag, path] of Object.entries(written)) {
    if (path === undefined) continue;
    const other = flags.get(resolve(path));
    if (other !== undefined)
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `${flag}: "${path}" is the file of ${other}, too, and would replace it`,
      );
    flags.set(resolve(path), flag);
    const failure = failureOf(flag, path, () => {
      const existing = statSync(path, { throwIfNoEntry: false });
      if (existing?.isDirectory()) throw new Error('it is a directory');
      accessSync(existing === undefined ? dirname(path) : path, constants.W_OK);
    });
    if (failure !== undefined) throw new HoldlineError('HOLDLINE_BAD_OPTION', failure);
  }
}

/** Writes a file; returns why it cannot be written, in words. Figures must outlive that. */
export function writeOutput(flag: string, path: string, text: string): string | undefined {
  return failureOf(flag, path, () => writeFileSync(path, text));
}

function failureOf(flag: string, path: string, task: () => void): string | undefined {
  try {
    task();
    return undefined;
  } catch (cause) {
    return `${flag}: "${path}" cannot be written (${(cause as Error).message})`;
  }
}
