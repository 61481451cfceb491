/** A log on a disk that is full, on a small file system of its own, which root may mount. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LmdbLog } from '../dist/log/lmdb/lmdb-log.js';
import { makeCounters } from '../src/counters.js';
import { deletion, event, events, namesOf, readAll } from './log-contract.js';
import { logDirectory, NO_BOUNDS, openLmdbLog, rulesOf } from './support/lmdb-log.js';
import { until } from './support/until.js';

const MB = 1024 * 1024;

let mounted = '';
let directory = '';

/** False, with a reason on the console, where nothing may be mounted. */
function mountSmallDisk(): boolean {
  mounted = logDirectory();
  directory = join(mounted, 'log');
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'holdline', mounted]);
  if (mount.status === 0) return true;
  console.warn(`not tested on a full disk: mount says ${String(mount.stderr).trim()}`);
  rmSync(mounted, { recursive: true });
  return false;
}

function unmount(): void {
  execFileSync('umount', [mounted]);
  rmSync(mounted, { recursive: true });
}

const mayMount = process.getuid?.() === 0 && mountSmallDisk();
if (mayMount) unmount();

const BALLAST = 2 * MB;

/** Waits until the room for deletions is taken. */
async function ballastTaken(): Promise<void> {
  const path = join(directory, 'ballast');
  await until(
    'the ballast is there',
    () => statSync(path, { throwIfNoEntry: false })?.size === BALLAST,
  );
}

/** A file that takes all that is left. */
function fillDisk(): string {
  const path = join(mounted, 'other');
  const { bavail, bsize } = statfsSync(mounted);
  writeFileSync(path, Buffer.alloc(bavail * bsize));
  return path;
}

/** Publishes 64 kB events, one after another, until one is refused; returns how many were taken. */
async function fill(log: LmdbLog): Promise<number> {
  for (let taken = 0; ; taken++) {
    try {
      await log.append([event('big', { data: Buffer.alloc(65_536, 'x') })]);
    } catch (error) {
      expect(error).toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
      return taken;
    }
  }
}

describe.runIf(mayMount)('a full disk', () => {
  let log: LmdbLog;
  beforeEach(() => {
    mountSmallDisk();
  });
  afterEach(async () => {
    await log.close();
    unmount();
  });

  test('refuses events, reads on, and takes deletions, which make room by themselves', async () => {
    const reported: unknown[] = [];
    log = await openLmdbLog(directory, {
      ballastBytes: BALLAST,
      report: (error) => void reported.push(error),
    });
    await ballastTaken();
    await log.append(events('a1'));
    const taken = await fill(log);
    expect(taken).toBeGreaterThan(100);
    await until('the log is down', () => !log.state.isUp);
    // Said by Holdline before LMDB writes: where LMDB meets a full disk, it may end the process.
    expect(log.state.problem).toMatch(
      /cannot be written: no room on the disk \(ENOSPC\).*tried again/,
    );
    expect(reported.length).toBeGreaterThan(0);
    expect(namesOf((await readAll(log, ['a'])).events)).toEqual(['a1']);
    expect((await readAll(log, ['big'])).events.length).toBe(taken);
    const [id] = await log.append([deletion('big')]);
    expect(id).toBe(taken + 2);
    await until('the log is up', () => log.state.isUp);
    expect(statSync(join(directory, 'ballast')).size).toBe(BALLAST);
    expect(await log.append(events('a2'))).toEqual([taken + 3]);
    expect(namesOf((await readAll(log, ['a', 'big'])).events)).toEqual(['a1', 'a2']);
    // And again: what was freed is used, and the ballast was there.
    expect(await fill(log)).toBeGreaterThan(50);
    await log.close();
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    expect(namesOf((await readAll(log, ['a'])).events)).toEqual(['a1', 'a2']);
  });

  test('that others filled is used again as soon as they make room', async () => {
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    await ballastTaken();
    await log.append(events('a1'));
    const other = fillDisk();
    await fill(log);
    await until('the log is down', () => !log.state.isUp);
    await expect(log.append(events('a2'))).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    // A revocation takes little, and has the room of the ballast.
    await log.rows.put('revocation', 'ann', '1', Date.now() + 1e6);
    rmSync(other);
    await until('the log is up', () => log.state.isUp);
    await log.append(events('a3'));
    expect(namesOf((await readAll(log, ['a'])).events)).toEqual(['a1', 'a3']);
  });

  test('is made room on by keeping less', async () => {
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    await ballastTaken();
    const taken = await fill(log);
    await until('the log is down', () => !log.state.isUp);
    log.keepTo(rulesOf({ retention: { ...NO_BOUNDS, events: 20 } }));
    await until('the log is up', () => log.state.isUp);
    await until('20 are left', () => log.figures?.events === 20);
    const [id] = await log.append(events('a1'));
    expect(id).toBe(taken + 1);
    expect(statSync(join(directory, 'ballast')).size).toBe(BALLAST);
  });

  test('is made room on by a channel that stands behind a thousand others', async () => {
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    await ballastTaken();
    const others = 1_500;
    for (let i = 0; i < others; i += 50)
      await log.append(
        Array.from({ length: 50 }, (_, index) => event('', { channel: `o${i + index}` })),
      );
    await fill(log);
    await until('the log is down', () => !log.state.isUp);
    log.keepTo(rulesOf({ policies: [{ channels: 'big', keepEvents: 20 }] }));
    await until('the log is up', () => log.state.isUp);
    await until('20 are left', () => log.figures?.events === others + 20);
    expect((await readAll(log, ['big'])).events).toHaveLength(20);
  });

  test('is filled and made room on again and again, by one channel and by many', async () => {
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    await ballastTaken();
    let least = Infinity;
    for (let round = 0; round < 4; round++) {
      least = Math.min(least, await fill(log));
      await until('the log is down', () => !log.state.isUp);
      expect(log.state.problem).toContain('(ENOSPC)');
      await log.append([deletion('big')]);
      await until('the log is up', () => log.state.isUp);
      const many = Array.from({ length: 50 }, (_, index) =>
        event('', { channel: `${round}/${index}` }),
      );
      expect(await log.append(many)).toHaveLength(50);
    }
    // What it keeps for itself does not dwindle.
    expect(least).toBeGreaterThan(50);
    expect(statSync(join(directory, 'ballast')).size).toBe(BALLAST);
  });

  test('with async: what was answered is written when there is room, in order', async () => {
    log = await openLmdbLog(directory, { durability: 'async', ballastBytes: BALLAST });
    await ballastTaken();
    const other = fillDisk();
    const given: string[] = [];
    for (let i = 1; log.state.isUp; i++) {
      const name = `a${i}`;
      const data = Buffer.concat([Buffer.from(`${name} `), Buffer.alloc(65_536, 'x')]);
      await log.append([event('a', { data })]).then(
        () => given.push(name),
        () => {},
      );
    }
    rmSync(other);
    await until('the log is up', () => log.state.isUp);
    const { events: found } = await readAll(log, ['a']);
    expect(namesOf(found).map((text) => text.split(' ')[0])).toEqual(given);
  });

  test('with async: what a full disk did not take until the end is a hole, whose ids stay given', async () => {
    const faults: string[] = [];
    const report = (error: unknown): void => void faults.push(String(error));
    const counters = makeCounters();
    log = await openLmdbLog(directory, { durability: 'async', report, counters });
    const [id] = await log.append(events('a1'));
    await readAll(log, ['a']);
    const other = fillDisk();
    // More than the room that is kept.
    const [given] = await log.append([event('b', { data: Buffer.alloc(8_000_000) })]);
    await until('the log is down', () => !log.state.isUp);
    await log.close();
    expect(faults.join()).toContain('that were acknowledged (--durability async) are lost');
    expect(counters.log_entries_lost_total).toBe(1);
    rmSync(other);
    log = await openLmdbLog(directory);
    const [next] = await log.append(events('a2'));
    expect(next).toBeGreaterThan(given!);
    const request = { channels: ['a'], through: next!, eventsMax: 9, bytesMax: 1e6 };
    const page = await log.history.read({ ...request, after: id! });
    expect(page.lostThrough).toBeGreaterThanOrEqual(given!);
  });

  test('with async: deletions are taken behind what was answered, and make room', async () => {
    log = await openLmdbLog(directory, { durability: 'async', ballastBytes: BALLAST });
    await ballastTaken();
    await log.append(events('a1'));
    let taken = 0;
    const data = Buffer.alloc(65_536, 'x');
    for (; log.state.isUp; taken++) {
      await log.append([event('big', { data })]);
      // A question has it written, so that few are answered ahead.
      await log.rows.load('none').catch(() => {});
    }
    expect(log.state.problem).toContain('(ENOSPC)');
    await expect(log.append(events('a2'))).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    const [deleted] = await log.append([deletion('big')]);
    expect(deleted).toBeGreaterThan(taken);
    await until('the log is up', () => log.state.isUp);
    const [next] = await log.append(events('a3'));
    expect(next).toBe(deleted! + 1);
    await log.close();
    log = await openLmdbLog(directory, { ballastBytes: BALLAST });
    expect(namesOf((await readAll(log, ['a', 'big'])).events)).toEqual(['a1', 'a3']);
  });

  test('ids of a lease are not given after a failed commit either', async () => {
    const before = await openLmdbLog(join(mounted, 'before'), { durability: 'async' });
    await before.append(events('a1'));
    await readAll(before, ['a']);
    // As a crash would leave it: the lease is not ended.
    cpSync(join(mounted, 'before'), directory, { recursive: true });
    await before.close();
    log = await openLmdbLog(directory);
    const other = fillDisk();
    const data = Buffer.alloc(8_000_000);
    await expect(log.append([event('b', { data })])).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    rmSync(other);
    await until('the log is up', () => log.state.isUp);
    const [id] = await log.append(events('b1'));
    expect(id).toBeGreaterThan(1_000_000);
  });
});
