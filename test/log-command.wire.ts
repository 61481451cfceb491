/** `holdline log`: a log that is backed up while it is written, restored, upgraded and read. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { open } from 'lmdb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Room } from '../dist/log/lmdb/room.js';
import { LogReader, restore } from '../dist/log/lmdb/upkeep.js';
import { deletion, event, events, historyOf, namesOf, readAll } from './log-contract.js';
import { begunBefore } from './support/begun.js';
import { logDirectory, openLmdbLog } from './support/lmdb-log.js';
import { NatsServer } from './support/nats.js';
import { LogNode } from './support/nats-log.js';
import { runHoldline } from './support/server.js';

/** A copy to a port that nobody listens on: its exit code and what it says. */
const unanswered = begunBefore(async (atEnd) => {
  const place = logDirectory();
  atEnd(() => rmSync(place, { recursive: true, force: true }));
  const before = await openLmdbLog(join(place, 'log'));
  await before.append(events('a1'));
  await before.close();
  const main = join(import.meta.dirname, '../dist/main.js');
  const args = [main, 'log', 'copy', join(place, 'log'), 'nats://127.0.0.1:1'];
  return {
    value: new Promise((resolve) => {
      const copy = execFile(process.execPath, args, (_, __, said) =>
        resolve([copy.exitCode, said]),
      );
    }),
  };
});

let root: string;
let directory: string;
let target: string;
beforeEach(() => {
  root = logDirectory();
  directory = join(root, 'log');
  target = join(root, 'backup');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

function log(...args: string[]): string {
  const { status, stdout, stderr } = runHoldline(['log', ...args]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.trim();
}

/** Exit code and the sentence. */
function refused(...args: string[]): unknown[] {
  const { status, stdout, stderr } = runHoldline(['log', ...args]);
  expect(stdout).toBe('');
  return [status, stderr.trim()];
}

test('a backup while a server writes has everything up to one moment, and can be served', async () => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1', 'b1', 'a2'), { key: 'k', digest: 'd', subscribers: 0 });
  await running.rows.put('revocation', 'ann', '1', Date.now() + 3_600_000);
  const data = Buffer.alloc(2_000, 'x');
  let isDone = false;
  const writing = (async () => {
    while (!isDone) await running.append([event('c', { data }), event('d', { data })]);
  })();
  // Not in this process: its loop goes on writing meanwhile.
  const main = join(import.meta.dirname, '../dist/main.js');
  const args = [main, 'log', 'backup', directory, target];
  const { stdout: printed } = await promisify(execFile)(process.execPath, args);
  isDone = true;
  await writing;
  const last = running.lastId();
  await running.close();
  const [, count, newest] = /^copied (\d+) events, the newest with id (\d+) /.exec(printed)!;
  expect(Number(newest)).toBeLessThan(last);
  expect(statSync(join(target, 'data.mdb')).mode & 0o777).toBe(0o600);
  const restored = join(root, 'restored');
  expect(log('restore', target, restored)).toMatch(`restored ${count} events`);
  const next = await openLmdbLog(restored);
  const page = await readAll(next, ['a', 'b', 'c', 'd']);
  // Both events of each append, or neither.
  expect([page.events.length, page.events.at(-1)?.id]).toEqual([Number(count), Number(newest)]);
  expect(page.events.length % 2).toBe(1);
  expect(namesOf(page.events.slice(0, 3))).toEqual(['a1', 'b1', 'a2']);
  expect(await next.kept('k')).toMatchObject({ digest: 'd', receipt: { firstId: 1 } });
  expect(await next.rows.load('revocation')).toMatchObject([{ key: 'ann', value: '1' }]);
  // What the first server gave after the backup is not given again, and is told as lost.
  const [id] = await next.append(events('a3'));
  expect(id).toBeGreaterThan(last);
  const request = { channels: ['a'], through: id!, eventsMax: 9, bytesMax: 1e6 };
  const behind = await historyOf(next).read({ ...request, after: Number(newest) });
  expect([namesOf(behind.events), behind.lostThrough]).toEqual([['a3'], id! - 1]);
  await next.close();
});

test('no commit is lost while other processes open the log again and again', async () => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  // Each looks at the log, and says that a server runs.
  const upkeep = JSON.stringify(new URL('../dist/log/lmdb/upkeep.js', import.meta.url));
  const code = `import { upgrade } from ${upkeep};
    let looks = 0;
    for (; looks < 150; looks++) await upgrade(${JSON.stringify(directory)}).catch(() => {});
    console.log(looks);`;
  const looking = Promise.all(
    [1, 2].map(() =>
      promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code]),
    ),
  );
  let isDone = false;
  const given = [1];
  const writing = (async () => {
    while (!isDone) given.push(...(await running.append(events('b1', 'c1'))));
  })();
  const looks = (await looking).map(({ stdout }) => Number(stdout));
  isDone = true;
  await writing;
  expect(looks).toEqual([150, 150]);
  const page = await readAll(running, ['a', 'b', 'c']);
  expect(page.events.map(({ id }) => id)).toEqual(given);
  await running.close();
});

test('commits wait for who opens the log; where a server does not wait, its log is not opened', async () => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  const path = join(directory, 'commits.lock');
  const holding = spawn('flock', [path, 'sh', '-c', 'echo held; cat'], { stdio: 'pipe' });
  await once(holding.stdout, 'data');
  let isCommitted = false;
  const appended = running.append(events('a2')).then(() => (isCommitted = true));
  await sleep(50);
  expect(isCommitted).toBe(false);
  holding.stdin.end();
  await appended;
  // As with a server that has no koffi.
  rmSync(path);
  expect(refused('backup', directory, target)).toEqual([
    2,
    expect.stringContaining('a server writes this log, and one of us lacks the package koffi'),
  ]);
  await running.close();
  expect(log('backup', directory, target)).toMatch('copied 2 events');
});

test('ids of a clock go on at the clock after a restore', async () => {
  const before = await openLmdbLog(directory, { firstId: undefined });
  await before.append(events('a1'));
  await before.close();
  log('backup', `lmdb:${directory}`, target);
  const beganMs = Date.now();
  log('restore', target, join(root, 'restored'));
  const next = await openLmdbLog(join(root, 'restored'));
  const [id] = await next.append(events('a2'));
  expect(id).toBeGreaterThan(beganMs * 1000);
  await next.close();
});

test('a backup, a restore and an upgrade say why not', async () => {
  expect(refused('backup', directory, target)).toEqual([
    2,
    `holdline: the directory "${directory}" cannot be used: it is not there (HOLDLINE_BAD_LOG)`,
  ]);
  // Each of the others that reads one says which.
  const noLog = [
    2,
    expect.stringContaining(`there is no log in the directory "${root}"`) as string,
  ];
  for (const args of [
    ['backup', root, target],
    ['restore', root, target],
    ['upgrade', root],
  ])
    expect(refused(...args)).toEqual(noLog);
  expect(refused('copy', `lmdb:${root}`, 'nats://127.0.0.1:1')).toEqual(noLog);
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  writeFileSync(join(root, 'file'), '');
  expect(refused('backup', directory, root)).toEqual([2, expect.stringMatching(/is not empty/)]);
  expect(refused('upgrade', directory)).toEqual([
    2,
    expect.stringMatching(/another process \(pid/),
  ]);
  await running.close();
  expect(log('upgrade', directory)).toBe('the log has schema 1, which is current: nothing to do');
  log('backup', directory, target);
  expect(refused('restore', target, directory)).toEqual([2, expect.stringMatching(/is not empty/)]);
  const newer = open<Buffer, Buffer>({
    path: target,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
  });
  const facts = newer.openDB<Buffer, Buffer>('facts', {
    keyEncoding: 'binary',
    encoding: 'binary',
  });
  facts.putSync(Buffer.from('schema'), Buffer.from('2'));
  await newer.close();
  expect(refused('restore', target, join(root, 'new'))).toEqual([
    2,
    expect.stringMatching(/has schema 2 and this version knows schema 1/),
  ]);
  expect(refused('upgrade', target)).toEqual([2, expect.stringMatching(/has schema 2/)]);
});

test('a copy that was cut is refused, wherever it was', async () => {
  const running = await openLmdbLog(directory);
  const data = Buffer.alloc(20_000, 'x');
  for (let batch = 0; batch < 4; batch++)
    await running.append(Array.from({ length: 50 }, () => event('a', { data })));
  await running.close();
  log('backup', directory, target);
  expect(readdirSync(target)).not.toContain('unfinished');
  const file = join(target, 'data.mdb');
  const whole = statSync(file).size;
  // LMDB alone ends the process with SIGBUS, or does not notice.
  for (const size of [whole - 4_096, whole >> 1, 1_048_576]) {
    truncateSync(file, size);
    expect(refused('restore', target, join(root, 'new'))).toEqual([
      2,
      expect.stringContaining(`the copy was cut: ${size} bytes are there of ${whole}`),
    ]);
  }
});

test('a log that was cut is refused by each command that reads it', async () => {
  const stopped = await openLmdbLog(directory);
  const data = Buffer.alloc(20_000, 'x');
  await stopped.append(Array.from({ length: 200 }, () => event('a', { data })));
  await stopped.close();
  const file = join(directory, 'data.mdb');
  const whole = statSync(file).size;
  truncateSync(file, whole >> 1);
  // LMDB alone ends the process with SIGBUS.
  const words: unknown = expect.stringContaining(
    `data.mdb is damaged, or no LMDB file (it was cut: ${whole >> 1} bytes are there of ${whole})`,
  );
  expect(refused('backup', directory, target)).toEqual([2, words]);
  expect(refused('upgrade', directory)).toEqual([2, words]);
  expect(refused('copy', `lmdb:${directory}`, 'nats://127.0.0.1:1')).toEqual([2, words]);
  expect(existsSync(target)).toBe(false);
  expect(statSync(file).size).toBe(whole >> 1);
});

test('a backup that is killed leaves no copy, or a whole one', async () => {
  const running = await openLmdbLog(directory);
  const data = Buffer.alloc(100_000, 'x');
  for (let batch = 0; batch < 10; batch++)
    await running.append(Array.from({ length: 50 }, () => event('a', { data })));
  await running.close();
  const main = join(import.meta.dirname, '../dist/main.js');
  const backup = spawn(process.execPath, [main, 'log', 'backup', directory, target]);
  const ended = new Promise((resolve) => backup.once('exit', resolve));
  await expect.poll(() => existsSync(target), { interval: 1 }).toBe(true);
  backup.kill('SIGKILL');
  await ended;
  if (existsSync(join(target, 'data.mdb')))
    expect(log('restore', target, join(root, 'new'))).toMatch('restored 500 events');
  else
    expect(refused('restore', target, join(root, 'new'))).toEqual([
      2,
      expect.stringContaining('there is no log in the directory'),
    ]);
});

test('a restore that is killed leaves no log, or one that gives no id twice', async () => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  log('backup', directory, target);
  await running.append(events('a2'));
  await running.close();
  const last = running.lastId();
  const restored = join(root, 'restored');
  const main = join(import.meta.dirname, '../dist/main.js');
  const restoring = spawn(process.execPath, [main, 'log', 'restore', target, restored]);
  const ended = new Promise((resolve) => restoring.once('exit', resolve));
  // From here on a server would start with it.
  await expect.poll(() => existsSync(join(restored, 'data.mdb')), { interval: 1 }).toBe(true);
  restoring.kill('SIGKILL');
  await ended;
  const next = await openLmdbLog(restored);
  const [id] = await next.append(events('a3'));
  expect(id).toBeGreaterThan(last);
  await next.close();
});

test.each(['room', 'totals'])('a restore that fails at the %s leaves nothing', async (what) => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  await running.close();
  log('backup', directory, target);
  if (what === 'room')
    vi.spyOn(Room, 'open').mockImplementationOnce(() => {
      throw new Error('EMFILE');
    });
  else
    vi.spyOn(Room.prototype, 'take').mockImplementationOnce(() => {
      throw new Error('ENOSPC');
    });
  const restored = join(root, 'restored');
  await expect(restore(target, restored, Date.now())).rejects.toMatchObject({
    code: 'HOLDLINE_BAD_LOG',
    message: expect.stringMatching(/^not restored: (EMFILE|ENOSPC)$/) as string,
  });
  expect(readdirSync(restored)).toEqual(['holdline.lock']);
  // Neither is its environment open.
  expect(readFileSync('/proc/self/maps', 'latin1')).not.toContain(restored);
});

test('arguments that are wrong are refused in words', () => {
  expect(refused()).toEqual([2, expect.stringMatching(/needs one of backup, restore/)]);
  expect(refused('bakup', 'a', 'b')).toEqual([2, expect.stringMatching(/did you mean backup\?/)]);
  expect(refused('backup', 'a')).toEqual([2, expect.stringMatching(/holdline log backup DIR/)]);
  expect(refused('copy', 'lmdb:a', 'memory')).toEqual([
    2,
    expect.stringMatching(/nats:\/\/HOST:PORT/),
  ]);
  expect(log('--help')).toMatch(/holdline log copy +lmdb:DIR/);
});

test('a closed log is read in id order, without what was deleted', async () => {
  const before = await openLmdbLog(directory);
  await before.append(Array.from({ length: 4_100 }, (_, index) => event(`a${index}`)));
  await before.append(events('b1', 'c1'));
  await before.append([deletion('b')]);
  await before.append([event('b2', { type: 'tick', json: true }), ...events('d1')]);
  await before.append([deletion('d'), deletion('never')]);
  await expect(LogReader.open(directory)).rejects.toMatchObject({ code: 'HOLDLINE_BAD_LOG' });
  await before.close();
  const reader = await LogReader.open(directory);
  const found = [];
  for await (const one of reader.records()) found.push(one);
  expect(found.length).toBe(4_105);
  // So that the last of them is 4,108.
  expect(reader.firstIdWithoutHoles()).toBe(4);
  expect(found.slice(-6)).toEqual([
    { ...event('a4099'), id: 4_100 },
    { ...event('c1'), id: 4_102 },
    { ...deletion('b'), id: 4_103 },
    { ...event('b2', { type: 'tick', json: true }), id: 4_104 },
    // Channels without an event since.
    { ...deletion('d'), id: 4_106 },
    { ...deletion('never'), id: 4_108 },
  ]);
  await reader.close();
});

test('what a channel has lost amid what others keep goes along: its history begins behind it', async () => {
  const before = await openLmdbLog(directory, {
    retention: { events: 4, bytes: 0, ageMs: 0 },
    policies: [{ channels: 'few', keepEvents: 1 }],
  });
  // The whole log forgets old1 and old2, below all that is kept.
  await before.append(events('old1', 'old2', 'a1', 'few1', 'a2', 'few2', 'old3', 'few3'));
  expect(namesOf((await readAll(before, ['a', 'few', 'old'])).events)).toEqual([
    'a1',
    'a2',
    'old3',
    'few3',
  ]);
  await before.close();
  const reader = await LogReader.open(directory);
  const found = [];
  for await (const one of reader.records()) found.push(one);
  expect(found.map(({ id }) => id)).toEqual([3, 5, 6, 7, 8]);
  expect(found[2]).toEqual({ ...deletion('few'), id: 6 });
  await reader.close();
});

test('a copy to NATS that does not answer says so: no command ends while it waits', async () => {
  expect(await unanswered().value.value).toEqual([
    2,
    'holdline: NATS cannot be reached: connection refused (HOLDLINE_BAD_LOG)\n',
  ]);
});

test('a log is copied to NATS: events and rows, and where ids change it says so', async () => {
  const before = await openLmdbLog(directory, { firstId: 5_000 });
  await before.append(events('a1', 'b1', 'a2'));
  await before.append([deletion('b')]);
  await before.append([event('a3', { type: 'tick', json: true, data: Buffer.from('[3]') })]);
  await before.rows.put('revocation', 'ann', '1', Date.now() + 3_600_000);
  await before.close();
  const nats = await NatsServer.start();
  const stream = ['--nats-stream', 'moved', '--nats-prefix', 'moved'];
  expect(log('copy', `lmdb:${directory}`, `nats://${nats.url}`, ...stream)).toBe(
    'copied 4 entries (ids 5001 to 5004), of which 1 have a higher id: 5000 is 5001 now, and 1 rows',
  );
  const { log: moved } = await LogNode.open(nats.url, { stream: 'moved', prefix: 'moved' });
  const page = await readAll(moved, ['a', 'b']);
  expect(namesOf(page.events)).toEqual(['a1', 'a2', '[3]']);
  expect(page.events[2]).toMatchObject({ type: 'tick', json: true, id: 5_004 });
  const bounds = { through: moved.lastId(), eventsMax: 9, bytesMax: 9 };
  expect((await historyOf(moved).newest('b', bounds)).isDeleted).toBe(true);
  expect(await moved.rows!.load('revocation')).toMatchObject([{ key: 'ann', value: '1' }]);
  expect(refused('copy', directory, `nats://${nats.url}`, ...stream)).toEqual([
    2,
    expect.stringMatching(/has had entries before/),
  ]);
});

test('a log that a server writes is no copy, and is not restored from', async () => {
  const running = await openLmdbLog(directory);
  await running.append(events('a1'));
  const restored = join(root, 'restored');
  expect(refused('restore', directory, restored)).toEqual([
    2,
    expect.stringMatching(/a server writes the log in .*holdline log backup/),
  ]);
  expect(existsSync(restored)).toBe(false);
  await running.close();
  expect(log('restore', directory, restored)).toMatch('restored 1 event,');
});
