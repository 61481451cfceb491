/** Which directories a log on disk opens, and what it says of those that it does not. */
import { spawn } from 'node:child_process';
import { openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { open } from 'lmdb';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { event, events, namesOf, readAll } from './log-contract.js';
import { logDirectory, makeLmdbLog, openLmdbLog } from './support/lmdb-log.js';

let directory: string;
beforeEach(() => {
  directory = logDirectory();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const BINARY = { keyEncoding: 'binary', encoding: 'binary' } as const;

/** A log with `count` events of 1,000 bytes, closed. */
async function writeLog(count: number): Promise<void> {
  const log = await openLmdbLog(directory);
  const data = Buffer.alloc(1000, 'x');
  for (let left = count; left > 0; left -= 1_000)
    await log.append(Array.from({ length: Math.min(left, 1_000) }, () => event('a', { data })));
  await log.close();
}

async function expectRefused(words: RegExp): Promise<void> {
  await expect(makeLmdbLog(directory).open()).rejects.toMatchObject({
    name: 'HoldlineError',
    code: 'HOLDLINE_BAD_LOG',
    message: expect.stringMatching(words) as string,
  });
}

describe('a directory has one server', () => {
  test('the second is told the pid of the first, and opens it when that has closed', async () => {
    const log = await openLmdbLog(directory);
    await expectRefused(new RegExp(`another process \\(pid ${process.pid}\\) uses this log`));
    expect(await log.append(events('a1'))).toEqual([1]);
    await log.close();
    const next = await openLmdbLog(directory);
    expect(next.lastId()).toBe(1);
    await next.close();
  });

  test('one that was killed leaves it free', async () => {
    const script = `
      import { openLmdbLog } from './test/support/lmdb-log.js';
      await openLmdbLog(${JSON.stringify(directory)});
      console.log('open');
      setInterval(() => {}, 1000);`;
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout, 'data');
    await expectRefused(new RegExp(`pid ${child.pid}`));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const log = await openLmdbLog(directory);
    await log.close();
  });

  test('one that could not open it leaves it free', async () => {
    writeFileSync(join(directory, 'notes.txt'), '');
    await expectRefused(/"notes\.txt"/);
    rmSync(join(directory, 'notes.txt'));
    const log = await openLmdbLog(directory);
    await log.close();
  });
});

describe('refused in words are', () => {
  test('a directory with files of others', async () => {
    writeFileSync(join(directory, 'notes.txt'), 'mine');
    await expectRefused(/holds other files \("notes\.txt"\); give an empty one/);
  });

  test('an LMDB database of another program', async () => {
    const root = open<Buffer, Buffer>({ ...BINARY, path: directory });
    await root.put(Buffer.from('key'), Buffer.from('value'));
    await root.close();
    await expectRefused(/LMDB database of another program/);
  });

  test('a log of a newer schema', async () => {
    await writeLog(1);
    const root = open<Buffer, Buffer>({ ...BINARY, path: directory, overlappingSync: false });
    const facts = root.openDB<Buffer, Buffer>('facts', BINARY);
    facts.putSync(Buffer.from('schema'), Buffer.from('2'));
    await root.close();
    await expectRefused(/has schema 2 and this version knows schema 1/);
  });

  test('a path that is no directory, and one that cannot be made', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    const inFile = makeLmdbLog(join(file, 'log'));
    await expect(inFile.open()).rejects.toMatchObject({
      code: 'HOLDLINE_BAD_LOG',
      message: expect.stringContaining('cannot be made: it, or what it is in, is a file') as string,
    });
    // Where a directory takes none, mkdirSync with `recursive` never comes back.
    const inProc = makeLmdbLog('/proc/holdline/log');
    await expect(inProc.open()).rejects.toMatchObject({
      code: 'HOLDLINE_BAD_LOG',
      message: expect.stringContaining(
        '"/proc/holdline/log" cannot be made: the system makes none there',
      ) as string,
    });
  });

  test.each([
    ['that does not begin as one', (path: string) => writeFileSync(path, Buffer.alloc(8192, 7))],
    ['that ends within its first page', (path: string) => truncateSync(path, 100)],
    ['that was cut in half', (path: string) => truncateSync(path, statSync(path).size >> 1)],
    ['whose second half is zeros', zeroSecondHalf],
    ['whose second half is noise', (path: string) => zeroSecondHalf(path, 0xa7)],
  ])('a file %s', async (_, damage) => {
    await writeLog(500);
    const path = join(directory, 'data.mdb');
    damage(path);
    await expectRefused(/damaged/);
  });
});

function zeroSecondHalf(path: string, filling = 0): void {
  const { size } = statSync(path);
  const from = (size >> 13) << 12;
  writeSync(openSync(path, 'r+'), Buffer.alloc(size - from, filling), 0, size - from, from);
}

test('a log without the record that it says is its newest is refused as damaged', async () => {
  await writeLog(2);
  const root = open<Buffer, Buffer>({ ...BINARY, path: directory, overlappingSync: false });
  const records = root.openDB<Buffer, Buffer>('records', BINARY);
  records.removeSync([...records.getKeys()].at(-1)!);
  await root.close();
  await expectRefused(/damaged/);
});

describe('opened are', () => {
  test('a directory that is not there yet, for its owner alone', async () => {
    const log = await openLmdbLog(join(directory, 'a/b'));
    await log.append(events('a1'));
    await log.close();
    const modes = ['a/b', 'a/b/data.mdb', 'a/b/lock.mdb', 'a/b/holdline.lock'].map(
      (name) => statSync(join(directory, name)).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
  });

  test('one whose making was interrupted before anything was in it', async () => {
    const root = open<Buffer, Buffer>({ ...BINARY, path: directory, overlappingSync: false });
    root.openDB('facts', BINARY);
    root.openDB('names', BINARY);
    await root.close();
    const log = await openLmdbLog(directory, { firstId: 7 });
    expect(await log.append(events('a1'))).toEqual([7]);
    await log.close();
  });

  test('one of 30 MB as fast as an empty one', async () => {
    await writeLog(30_000);
    const beganMs = performance.now();
    const log = await openLmdbLog(directory);
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    expect(log.figures).toEqual({ events: 30_000, bytes: 30_000 * 1_007 });
    await log.close();
  });
});

describe('ids', () => {
  test('begin at the clock, and go on where they were, though the clock was set back', async () => {
    const at = (wallMs: number): object => ({
      firstId: undefined,
      clock: { ...SYSTEM_CLOCK, wallMs: () => wallMs },
    });
    const log = await openLmdbLog(directory, at(1_690_000_000_123));
    expect(await log.append(events('a1'))).toEqual([1_690_000_000_123_000]);
    await log.close();
    const next = await openLmdbLog(directory, at(1_680_000_000_000));
    expect(next.floor()).toBe(1_690_000_000_122_999);
    expect(await next.append(events('a2'))).toEqual([1_690_000_000_123_001]);
    // What was published before a time that a wrong clock gave is read rather than left out.
    expect(await next.history.idBefore(1_690_000_000_123)).toBe(next.floor());
    expect(await next.history.idBefore(1_690_000_000_124)).toBe(1_690_000_000_123_001);
    expect(namesOf((await readAll(next, ['a'])).events)).toEqual(['a1', 'a2']);
    await next.close();
  });

  test('end at 2^53 − 1, and a batch past it is refused whole', async () => {
    const log = await openLmdbLog(directory, { firstId: Number.MAX_SAFE_INTEGER - 1 });
    await expect(log.append(events('a1', 'a2', 'a3'))).rejects.toThrow(/last id/);
    const ids = await log.append(events('a1', 'a2'));
    expect(ids.at(-1)).toBe(Number.MAX_SAFE_INTEGER);
    expect(namesOf((await readAll(log, ['a'])).events)).toEqual(['a1', 'a2']);
    await log.close();
  });
});
