/** Logs on disk for tests: from dist/, because their threads run what was built. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbLog, type LmdbLogOptions } from '../../dist/log/lmdb/lmdb-log.js';
import { SYSTEM_CLOCK } from '../../src/clock.js';
import { makeCounters } from '../../src/counters.js';
import type { KeepRules } from '../../src/core/event-log.js';
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
  rules: { retention: NO_BOUNDS, policies: [] },
  ballastBytes: 0,
} as const;

export function rulesOf({ retention = NO_BOUNDS, policies = [] }: Partial<KeepRules>): KeepRules {
  return { retention, policies };
}

type More = Partial<Omit<LmdbLogOptions, 'directory' | 'rules'> & KeepRules>;

export function makeLmdbLog(
  directory: string,
  { retention, policies, ...more }: More = {},
): LmdbLog {
  return new LmdbLog({
    ...PLAIN_LOG,
    rules: rulesOf({ ...(retention && { retention }), ...(policies && { policies }) }),
    directory,
    clock: SYSTEM_CLOCK,
    counters: makeCounters(),
    report: () => {},
    ...more,
  });
}

export async function openLmdbLog(directory: string, more: More = {}): Promise<LmdbLog> {
  const log = makeLmdbLog(directory, more);
  await log.open();
  return log;
}

/** For test/log-contract.ts. */
export async function contractLog(
  more: More = {},
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
