/**
 * Keeps a log from being committed to while another process opens it to read it: a backup of a log
 * that a server writes. LMDB, as the package lmdb has it (3.5.6), sets the number of the newest
 * transaction, which all processes share, to the one that it has read a moment before; a commit in
 * that moment would be written over by the next one, and an acknowledged event be gone. The lock is
 * flock(2) on a file that is there where the server takes it.
 */
import { closeSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { asError } from '../../errors.js';
import { LOG_COMMIT_LOCK_MS_MAX } from '../../limits.js';
import { badLog } from './bad-log.js';
import { loadLogLibc, type LogLibc } from './libc.js';
import { isLockedElsewhere } from './lock.js';

export const COMMIT_LOCK_FILE = 'commits.lock';

/** Between two tries, ms. */
const PAUSE_MS = 1;

export class CommitLock {
  readonly #file: number | undefined;
  readonly #libc: LogLibc | undefined;

  private constructor(file: number | undefined, libc: LogLibc | undefined) {
    this.#file = file;
    this.#libc = libc;
  }

  /** For who writes the log. Without koffi there is no lock, and so no file. */
  static open(directory: string, libc: LogLibc | undefined): CommitLock {
    const path = join(directory, COMMIT_LOCK_FILE);
    try {
      if (libc !== undefined) return new CommitLock(openSync(path, 'a', 0o600), libc);
      rmSync(path, { force: true });
      return new CommitLock(undefined, undefined);
    } catch (error) {
      throw badLog(`${COMMIT_LOCK_FILE} cannot be used: ${asError(error).message}`);
    }
  }

  /** Commits while nobody opens the log. Throws when one does so for too long: nothing is done. */
  within<Result>(commit: () => Result): Result {
    if (this.#file === undefined || this.#libc === undefined) return commit();
    if (!take(this.#file, this.#libc)) throw new Error('another process is opening the log');
    try {
      return commit();
    } finally {
      this.#libc.unlock(this.#file);
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}

/**
 * For who only reads a log: opens it while nothing is committed. Rejects with HOLDLINE_BAD_LOG when
 * it is never so, or when that cannot be known.
 */
export async function whileNothingCommits<Result>(
  directory: string,
  open: () => Promise<Result>,
): Promise<Result> {
  const libc = await loadLogLibc();
  const file = libc === undefined ? undefined : openExisting(join(directory, COMMIT_LOCK_FILE));
  if (file === undefined || libc === undefined) {
    if (!isLockedElsewhere(directory)) return open();
    throw badLog(
      'a server writes this log, and one of us lacks the package koffi or is of an older version; stop the server first, or npm install koffi',
    );
  }
  try {
    if (!take(file, libc)) throw badLog('the log is written without a pause; try again');
    return await open();
  } finally {
    closeSync(file);
  }
}

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code, message } = asError(error) as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw badLog(`${COMMIT_LOCK_FILE} cannot be used: ${message}`);
  }
}

/** False when another process has it for too long. */
function take(file: number, libc: LogLibc): boolean {
  const untilMs = performance.now() + LOG_COMMIT_LOCK_MS_MAX;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (!libc.lock(file)) {
    if (performance.now() > untilMs) return false;
    Atomics.wait(cell, 0, 0, PAUSE_MS);
  }
  return true;
}
