/** Where the log of a server is: a folder on a disk, or a nats-server of its own. */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './compile.js';
import { NatsServer, natsAbsence } from './nats-server.js';

export type LogTarget = 'holdline-lmdb' | 'holdline-nats';

/** Of statfs(2): a file system in memory, where a flush costs nothing. */
const TMPFS_MAGIC = 0x01021994;

export interface LogPlace {
  /** `--log`. */
  log: string;
  /** The process that keeps it; undefined: the server itself. */
  pid: number | undefined;
  /** When the server has ended. */
  remove(): Promise<void> | void;
}

export function isLogTarget(name: string): name is LogTarget {
  return name === 'holdline-lmdb' || name === 'holdline-nats';
}

/** Why there is no such log here; undefined when there is. */
export function logAbsence(name: LogTarget): string | undefined {
  const library = name === 'holdline-lmdb' ? 'lmdb' : '@nats-io/jetstream';
  try {
    import.meta.resolve(library);
  } catch {
    return `the npm package ${library} is not installed`;
  }
  return name === 'holdline-nats' ? natsAbsence() : undefined;
}

export async function makeLogPlace(name: LogTarget): Promise<LogPlace> {
  if (name === 'holdline-nats') {
    const nats = await NatsServer.start();
    return { log: `nats:127.0.0.1:${nats.port}`, pid: nats.pid, remove: () => nats.remove() };
  }
  const folder = logFolder();
  return {
    log: `lmdb:${folder}`,
    pid: undefined,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A new folder on the disk that logs are on here: that of `TMPDIR`. */
export function logFolder(): string {
  return mkdtempSync(join(temporaryDirectory(), 'log-'));
}

/** What must be said of a disk that is none. */
export function remarkOnDisk(): string[] {
  const folder = temporaryDirectory();
  if (statfsSync(folder).type !== TMPFS_MAGIC) return [];
  return [
    `${folder} is in memory (tmpfs), where a flush costs nothing: set TMPDIR to a folder on a disk`,
  ];
}
