/**
 * One server to a directory: LMDB itself lets several write, and each would give the same ids. The
 * lock is flock(2), which the kernel gives up with the process, however it ends; a
 * process without koffi looks whether the one that is named in the file is there.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { badDirectory, badLog } from './bad-log.js';
import { loadLogLibc } from './libc.js';

export const LOCK_FILE = 'holdline.lock';

/**
 * Locks the directory, which must be there; returns what unlocks it. Rejects with HOLDLINE_BAD_LOG
 * when another process has it, and names that one.
 */
export async function lockDirectory(directory: string): Promise<() => void> {
  const libc = await loadLogLibc();
  let file: number;
  try {
    file = openSync(join(directory, LOCK_FILE), 'a+', 0o600);
  } catch (error) {
    throw badDirectory(directory, error);
  }
  const owner = readFileSync(file, 'latin1').trim();
  const isFree = libc === undefined ? !isRunning(owner) : libc.lock(file);
  if (!isFree) {
    closeSync(file);
    const [pid] = owner.split(' ');
    throw badLog(
      `another process (pid ${pid === '' ? 'unknown' : pid}) uses this log; give each server a directory of its own`,
    );
  }
  ftruncateSync(file);
  writeSync(file, `${nameOf(process.pid)}\n`);
  return () => {
    ftruncateSync(file);
    closeSync(file);
  };
}

/** True when another process has the directory, as far as its file tells. */
export function isLockedElsewhere(directory: string): boolean {
  try {
    const owner = readFileSync(join(directory, LOCK_FILE), 'latin1').trim();
    return owner !== nameOf(process.pid) && isRunning(owner);
  } catch {
    return false;
  }
}

/** Pid and time of start: a pid is used again. */
function nameOf(pid: number): string {
  return `${pid} ${startOf(pid) ?? ''}`.trim();
}

/** When a process started, in ticks since the machine did; undefined if there is none. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Behind the command, which may have spaces, this is field 22 of proc(5).
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function isRunning(owner: string): boolean {
  const pid = Number(owner.split(' ')[0]);
  return owner !== '' && pid > 0 && startOf(pid) !== undefined && nameOf(pid) === owner;
}
