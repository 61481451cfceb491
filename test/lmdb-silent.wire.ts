/** A log on disk whose thread hangs in a write, as it does where the disk hangs. */
import { closeSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadLogLibc } from '../dist/log/lmdb/libc.js';
import type { LmdbLog } from '../dist/log/lmdb/lmdb-log.js';
import { PendingAppends } from '../dist/log/lmdb/pending-appends.js';
import type { LoggedEntry, NewEntry } from '../src/core/event.js';
import { LOG_SILENT_MS_MAX } from '../src/limits.js';
import { deletion, events, namesOf, readAll } from './log-contract.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';
import { logDirectory, openLmdbLog } from './support/lmdb-log.js';
import { until } from './support/until.js';

let directory: string;
let clock: FakeClock;
let log: LmdbLog;
let faults: string[];
beforeEach(async () => {
  directory = logDirectory();
  clock = new FakeClock();
  faults = [];
  const report = (error: unknown): void => void faults.push(String(error));
  log = await openLmdbLog(directory, { clock, report });
});
afterEach(async () => {
  await log.close();
  rmSync(directory, { recursive: true });
});

/** No commit goes on until what is returned is called; for less than LOG_COMMIT_LOCK_MS_MAX. */
async function hang(): Promise<() => void> {
  const libc = await loadLogLibc();
  const file = openSync(join(directory, 'commits.lock'), 'a');
  await until('nothing is committed', () => libc?.lock(file));
  return () => closeSync(file);
}

/** Appends, and sends it at once. */
function append(entries: readonly NewEntry[], key?: string): Promise<readonly number[]> {
  const request = key === undefined ? undefined : { key, digest: 'd', subscribers: 0 };
  const ids = log.append(entries, request);
  clock.runSoon();
  return ids;
}

/** The code with which something was refused; undefined while it was not. */
function refusalOf(asked: Promise<unknown>): { code: unknown } {
  const refusal: { code: unknown } = { code: undefined };
  asked.catch((error: unknown) => (refusal.code = (error as { code: unknown }).code));
  return refusal;
}

test('it is down until the thread answers; what was in flight is kept, under its id', async () => {
  const seen: LoggedEntry[] = [];
  log.tail((batch) => void seen.push(...batch));
  await append(events('a1'));
  const goOn = await hang();
  const inFlight = [refusalOf(append(events('a2'), 'k')), refusalOf(append(events('a3')))];
  const bounds = { through: 1, eventsMax: 1, bytesMax: 1 };
  const question = refusalOf(log.history.newest('a', bounds));
  await clock.run(LOG_SILENT_MS_MAX - 200);
  expect(log.state.isUp).toBe(true);
  expect([...inFlight, question].map(({ code }) => code)).toEqual(Array(3).fill(undefined));
  await clock.run(400);
  expect(log.state).toEqual({
    isUp: false,
    problem: 'the log does not answer; its disk may hang',
  });
  expect(faults).toHaveLength(1);
  const unknown = 'HOLDLINE_OUTCOME_UNKNOWN';
  const unavailable = 'HOLDLINE_LOG_UNAVAILABLE';
  expect([...inFlight, question].map(({ code }) => code)).toEqual([unknown, unknown, unavailable]);
  const refused = [append(events('a4')), append([deletion('a')]), log.history.newest('a', bounds)];
  const refusals = refused.map(refusalOf);
  await settlePromises();
  expect(refusals.map(({ code }) => code)).toEqual(Array(3).fill(unavailable));
  goOn();
  await until('the log is up', () => log.state.isUp);
  expect(await log.kept('k')).toMatchObject({ receipt: { firstId: 2 } });
  expect(await append(events('a5'))).toEqual([4]);
  expect(namesOf(seen)).toEqual(['a1', 'a2', 'a3', 'a5']);
  expect(namesOf((await readAll(log, ['a'])).events)).toEqual(namesOf(seen));
});

test('a commit that takes long, and is done in time, is nothing', async () => {
  const goOn = await hang();
  const ids = append(events('a1'));
  await clock.run(LOG_SILENT_MS_MAX - 200);
  goOn();
  expect(await ids).toEqual([1]);
  await clock.run(LOG_SILENT_MS_MAX);
  expect([log.state.isUp, faults]).toEqual([true, []]);
});

test('a thread that answers out of order is not believed: what it has is unknown, and the log down', async () => {
  const settle = vi.spyOn(PendingAppends.prototype, 'settle').mockReturnValueOnce(false);
  await expect(append(events('a1'))).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
  settle.mockRestore();
  expect(log.state.isUp).toBe(false);
  expect(faults[0]).toContain('out of order');
  await expect(append(events('a2'))).rejects.toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
});
