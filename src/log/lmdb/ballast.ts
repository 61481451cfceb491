/**
 * A file of zeros beside the log that takes room for nothing, until the disk is full: then it is
 * given back, so that deletions have the room that they need.
 */
import { closeSync, fstatSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { BALLAST_FILE } from './environment.js';

const STEP_BYTES = 64 * 1024;

export class Ballast {
  readonly #path: string;
  readonly #bytes: number;

  /** 0 bytes: there is none. */
  constructor(directory: string, bytes: number) {
    this.#path = join(directory, BALLAST_FILE);
    this.#bytes = bytes;
  }

  /**
   * Takes the room, unless it is taken. On a disk that is nearly full it may be less, down to half:
   * deletions have used some of it. Throws when there is not as much; then none is taken.
   */
  take(): void {
    const there = statSync(this.#path, { throwIfNoEntry: false })?.size;
    if (there === this.#bytes) return;
    this.giveBack();
    if (this.#bytes === 0) return;
    const file = openSync(this.#path, 'w', 0o600);
    try {
      this.#fill(file);
      // Only then a file system that gives room late has said whether there is any.
      fsyncSync(file);
    } catch (error) {
      if (fstatSync(file).size < this.#bytes / 2) {
        this.giveBack();
        throw error;
      }
    } finally {
      closeSync(file);
    }
  }

  #fill(file: number): void {
    const zeros = Buffer.alloc(Math.min(STEP_BYTES, this.#bytes));
    for (let left = this.#bytes; left > 0;)
      left -= writeSync(file, zeros, 0, Math.min(left, zeros.length));
  }

  giveBack(): void {
    rmSync(this.#path, { force: true });
  }
}
