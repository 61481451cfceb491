/** Files that a command writes. They are checked before it runs, since a run takes minutes. */

import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { HoldlineError } from '../../errors.js';

/**
 * Throws HOLDLINE_BAD_OPTION when the file that an option names cannot be written now. Creates
 * nothing.
 */
export function checkWritable(flag: string, path: string | undefined): void {
  if (path === undefined) return;
  attempt(flag, path, () => {
    const existing = statSync(path, { throwIfNoEntry: false });
    if (existing?.isDirectory()) throw new Error('it is a directory');
    accessSync(existing === undefined ? dirname(path) : path, constants.W_OK);
  });
}

/** Writes it. Throws HOLDLINE_BAD_OPTION when it cannot be written. */
export function writeOutput(flag: string, path: string, text: string): void {
  attempt(flag, path, () => writeFileSync(path, text));
}

function attempt(flag: string, path: string, task: () => void): void {
  try {
    task();
  } catch (cause) {
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `${flag}: "${path}" cannot be written (${(cause as Error).message})`,
      { cause },
    );
  }
}
