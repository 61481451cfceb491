/** Directories of a log and of its copies, readable by their owner only. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it; one that is there stays as it is. Throws the error of
 * mkdir(2). `recursive` of mkdirSync never returns where a directory takes none though it is there
 * (ENOENT below /proc), and no signal is answered meanwhile.
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || existsSync(parent)) throw error;
    makeDirectory(parent);
    makeDirectory(path);
  }
}
