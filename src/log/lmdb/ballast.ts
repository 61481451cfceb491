/**
 * A file of zeros beside the log that takes room for nothing, until the disk is full: then it is
 * given back, so that deletions have the room that they need.
 */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { BALLAST_FILE } from './environment.js';

const STEP_BYTES = 1024 * 1024;

export class Ballast {
  readonly #path: string;
  readonly #bytes: number;

  /** 0 bytes: there is none. */
  constructor(directory: string, bytes: number) {
    this.#path = join(directory, BALLAST_FILE);
    this.#bytes = bytes;
  }

  /** Takes the room, unless it is taken. Throws when there is not enough; then none is taken. */
  take(): void {
    const there = statSync(this.#path, { throwIfNoEntry: false })?.size;
    if (this.#bytes === 0) {
      if (there !== undefined) this.giveBack();
      return;
    }
    if (there === this.#bytes) return;
    const file = openSync(this.#path, 'w', 0o600);
    try {
      const zeros = Buffer.alloc(Math.min(STEP_BYTES, this.#bytes));
      for (let left = this.#bytes; left > 0;)
        left -= writeSync(file, zeros, 0, Math.min(left, zeros.length));
      // Only then a file system that gives room late has said whether there is any.
      fsyncSync(file);
    } catch (error) {
      this.giveBack();
      throw error;
    } finally {
      closeSync(file);
    }
  }

  giveBack(): void {
    rmSync(this.#path, { force: true });
  }
}
