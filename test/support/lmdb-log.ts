/** Logs on disk for tests: from dist/, because their threads run what was built. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbLog, type LmdbLogOptions } from '../../dist/log/lmdb/lmdb-log.js';
import { SYSTEM_CLOCK } from '../../src/clock.js';
import { makeCounters } from '../../src/counters.js';
import type { ContractLog } from '../log-contract.js';

export const NO_BOUNDS = { events: 0, bytes: 0, ageMs: 0 };

/** A directory that is removed at the end of a test. */
export function logDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'holdline-log-'));
}

/** Of a log without bounds, synchronous, with ids from 1. */
export const PLAIN_LOG = {
  durability: 'sync',
  firstId: 1,
  retention: NO_BOUNDS,
  policies: [],
  ballastBytes: 0,
} as const;

export function makeLmdbLog(
  directory: string,
  more: Partial<Omit<LmdbLogOptions, 'directory'>> = {},
): LmdbLog {
  return new LmdbLog({
    ...PLAIN_LOG,
    directory,
    clock: SYSTEM_CLOCK,
    counters: makeCounters(),
    report: () => {},
    ...more,
  });
}

export async function openLmdbLog(
  directory: string,
  more: Partial<Omit<LmdbLogOptions, 'directory'>> = {},
): Promise<LmdbLog> {
  const log = makeLmdbLog(directory, more);
  await log.open();
  return log;
}

/** For test/log-contract.ts. */
export async function contractLog(
  more: Partial<Omit<LmdbLogOptions, 'directory'>> = {},
  directory: string = logDirectory(),
): Promise<ContractLog> {
  const log = await openLmdbLog(directory, more);
  return {
    log,
    reopen: async () => {
      await log.close();
      return contractLog(more, directory);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
