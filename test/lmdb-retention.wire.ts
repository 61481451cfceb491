/** What a log on disk forgets, and what it says of it. */
import { readFileSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LmdbLog } from '../dist/log/lmdb/lmdb-log.js';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { deletion, event, events, namesOf, readAll } from './log-contract.js';
import { logDirectory, NO_BOUNDS, openLmdbLog, rulesOf } from './support/lmdb-log.js';
import { until } from './support/until.js';

let directory: string;
let log: LmdbLog;
beforeEach(() => {
  directory = logDirectory();
});
afterEach(async () => {
  await log.close();
  rmSync(directory, { recursive: true, force: true });
});

async function kept(...channels: string[]): Promise<unknown[]> {
  const page = await readAll(log, channels);
  return [namesOf(page.events).join(' '), page.lostThrough];
}

describe('the whole log', () => {
  test('keeps its newest events, and a channel has lost what was its own', async () => {
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, events: 3 } });
    await log.append(events('a1', 'b1', 'a2', 'b2'));
    await log.append(events('a3'));
    expect(await kept('a')).toEqual(['a2 a3', 1]);
    expect(await kept('b')).toEqual(['b2', 2]);
    expect(await kept('a', 'b')).toEqual(['a2 b2 a3', 2]);
    expect(await kept('nobody')).toEqual(['', 0]);
    expect(log.figures?.events).toBe(3);
  });

  test('keeps no more bytes than it may, records counted whole', async () => {
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, bytes: 2_100 } });
    const data = Buffer.alloc(1_000 - 7);
    for (let i = 0; i < 5; i++) await log.append([event('a', { data })]);
    expect(log.figures).toEqual({ events: 2, bytes: 2_000 });
    expect((await readAll(log, ['a'])).lostThrough).toBe(3);
  });

  test('forgets what is too old, without a publish', async () => {
    let wallMs = Date.now() - 3_600_000;
    const clock = { ...SYSTEM_CLOCK, wallMs: () => wallMs };
    log = await openLmdbLog(directory, { clock });
    const old = Array.from({ length: 2_500 }, () => event('old'));
    await log.append([...old, ...events('a1')]);
    wallMs = Date.now();
    await log.append(events('a2'));
    await log.close();
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, ageMs: 1_800_000 } });
    await until('a2 is the oldest', async () => (await kept('a'))[0] === 'a2');
    expect(await kept('a')).toEqual(['a2', 2_501]);
    expect(await kept('old')).toEqual(['', 2_500]);
  });

  test('is brought to bounds that were lowered while it was closed', async () => {
    log = await openLmdbLog(directory);
    await log.append(Array.from({ length: 3_000 }, (_, index) => event(`a${index + 1}`)));
    await log.close();
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, events: 2 } });
    await until('two events are kept', () => log.figures?.events === 2);
    expect(await kept('a')).toEqual(['a2999 a3000', 2_998]);
  });
});

describe('a clock that was wrong', () => {
  const HOUR_MS = 3_600_000;
  const YEAR_MS = 365 * 24 * HOUR_MS;
  let wallMs: number;
  const clock = { ...SYSTEM_CLOCK, wallMs: () => wallMs };

  /** Appends events, each at its time from now. */
  async function appendAt(...given: readonly (readonly [name: string, fromNowMs: number])[]) {
    for (const [name, fromNowMs] of given) {
      wallMs = Date.now() + fromNowMs;
      await log.append(events(name));
    }
  }

  test.each(['the whole log', 'a channel'])(
    '%s forgets by age once it is set back',
    async (what) => {
      log = await openLmdbLog(directory, { clock });
      await appendAt(['a1', -2 * HOUR_MS], ['a2', YEAR_MS], ['a3', YEAR_MS + 1000]);
      await appendAt(['a4', -HOUR_MS], ['a5', -HOUR_MS + 1000], ['a6', 0]);
      await log.close();
      log = await openLmdbLog(
        directory,
        what === 'a channel'
          ? { policies: [{ channels: 'a', keepAge: HOUR_MS / 2 }] }
          : { retention: { ...NO_BOUNDS, ageMs: HOUR_MS / 2 } },
      );
      await until('a6 is the oldest', async () => (await kept('a'))[0] === 'a6');
      expect(await kept('a')).toEqual(['a6', 5]);
    },
  );

  test('what it gave goes by age without a publish, too', async () => {
    log = await openLmdbLog(directory, { clock });
    await appendAt(['a1', YEAR_MS]);
    await log.close();
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, ageMs: 100 } });
    await until('nothing is kept', async () => (await kept('a'))[0] === '');
    expect(await kept('a')).toEqual(['', 1]);
  });

  test('nothing goes for one that was behind for a while', async () => {
    log = await openLmdbLog(directory, { clock });
    await appendAt(['a1', -1000], ['a2', -50 * YEAR_MS], ['a3', 0]);
    expect(await log.history.idBefore(Date.now() - HOUR_MS)).toBe(0);
    await log.close();
    log = await openLmdbLog(directory, { retention: { ...NO_BOUNDS, ageMs: HOUR_MS } });
    await log.append(events('b1'));
    await log.append([deletion('b')]);
    await until('what is to go has gone', () => log.figures?.events === 3);
    expect(await kept('a')).toEqual(['a1 a2 a3', 0]);
  });

  test('times are found on both sides of where it was set back', async () => {
    log = await openLmdbLog(directory, { clock });
    await appendAt(['a1', -3 * HOUR_MS], ['a2', -2 * HOUR_MS], ['a3', YEAR_MS], ['a4', YEAR_MS]);
    await appendAt(['a5', -HOUR_MS], ['a6', -HOUR_MS / 2]);
    const before = (fromNowMs: number): Promise<number> =>
      log.history.idBefore(Date.now() + fromNowMs);
    expect(await before(-4 * HOUR_MS)).toBe(0);
    expect(await before(-2.5 * HOUR_MS)).toBe(1);
    expect(await before(-1.5 * HOUR_MS)).toBe(2);
    expect(await before(-0.75 * HOUR_MS)).toBe(5);
    expect(await before(0)).toBe(6);
    await log.close();
    log = await openLmdbLog(directory);
    expect(await before(-0.75 * HOUR_MS)).toBe(5);
    expect(await before(0)).toBe(6);
  });
});

describe('a channel with a policy', () => {
  test('keeps its newest events or bytes, whatever the others keep', async () => {
    log = await openLmdbLog(directory, {
      policies: [
        { channels: 'few', keepEvents: 2 },
        { channels: 'small-*', keepBytes: 30 },
      ],
    });
    await log.append(events('few1', 'b1', 'small-x1', 'few2', 'small-x2', 'few3', 'small-x3'));
    expect(await kept('few')).toEqual(['few2 few3', 1]);
    // 8 bytes of data and 7 of the record's head.
    expect(await kept('small-x')).toEqual(['small-x2 small-x3', 3]);
    expect(await kept('b')).toEqual(['b1', 0]);
  });

  test('forgets what is too old, without a publish', async () => {
    const wallMs = Date.now() - 3_600_000;
    const clock = { ...SYSTEM_CLOCK, wallMs: () => wallMs };
    log = await openLmdbLog(directory, { clock });
    await log.append(events('a1', 'b1', 'a2'));
    await log.close();
    log = await openLmdbLog(directory, { policies: [{ channels: 'a', keepAge: 1_800_000 }] });
    await until('nothing is kept', async () => (await kept('a'))[0] === '');
    expect(await kept('a')).toEqual(['', 3]);
    expect(await kept('b')).toEqual(['b1', 0]);
  });
});

test('rules that are changed while it runs count at once, without a publish', async () => {
  log = await openLmdbLog(directory, { policies: [{ channels: 'a', keepEvents: 3 }] });
  await log.append(events('a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'a4'));
  expect([await kept('a'), await kept('b')]).toEqual([
    ['a2 a3 a4', 1],
    ['b1 b2 b3', 0],
  ]);
  log.keepTo(rulesOf({ policies: [{ channels: 'b', keepEvents: 1 }] }));
  await until('b3 is the oldest', async () => (await kept('b'))[0] === 'b3');
  await log.append(events('a5'));
  expect(await kept('a')).toEqual(['a2 a3 a4 a5', 1]);
  log.keepTo(rulesOf({ retention: { ...NO_BOUNDS, events: 2 } }));
  await until('two are left', async () => (await kept('a'))[0] === 'a4 a5');
  expect(await kept('b')).toEqual(['', 6]);
});

test('a channel that has much to forget does so among thousands of others', async () => {
  log = await openLmdbLog(directory);
  await log.append(
    Array.from({ length: 2_500 }, (_, index) => event('', { channel: `o${index}` })),
  );
  await log.append(Array.from({ length: 30_000 }, (_, index) => event(`a${index + 1}`)));
  log.keepTo(rulesOf({ policies: [{ channels: 'a', keepEvents: 2 }] }));
  await until('two of its events are left', () => log.figures?.events === 2_502);
  expect(await kept('a')).toEqual(['a29999 a30000', 32_498]);
});

test('a commit over many channels forgets little of all of them together', async () => {
  log = await openLmdbLog(directory);
  const ofEach = (count: number) =>
    Array.from({ length: 200 * count }, (_, index) => event('', { channel: `c${index % 200}` }));
  for (let round = 0; round < 4; round++) await log.append(ofEach(50));
  const committed = log.append(ofEach(1)).then(() => log.figures?.events);
  // Right behind the append, before it is committed.
  setImmediate(() => log.keepTo(rulesOf({ policies: [{ channels: '*', keepEvents: 1 }] })));
  expect(await committed).toBeGreaterThanOrEqual(201 * 200 - 2 * 200 - 64);
  await until('one event of each is left', () => log.figures?.events === 200);
});

test('what a deletion leaves behind is removed in steps, and what comes after it is not', async () => {
  log = await openLmdbLog(directory);
  await log.append(Array.from({ length: 3_500 }, () => event('a')));
  await log.append([deletion('a')]);
  await log.append(events('a1', 'b1'));
  expect(await kept('a')).toEqual(['a1', 3_501]);
  await log.close();
  log = await openLmdbLog(directory);
  await until('two events are kept', () => log.figures?.events === 2);
  expect(await kept('a')).toEqual(['a1', 3_501]);
});

test('rows are kept until their time, by kind, and the last of a key counts', async () => {
  log = await openLmdbLog(directory);
  const laterMs = Date.now() + 3_600_000;
  await log.rows.put('revocation', 'ann', '1', laterMs);
  await log.rows.put('revocation', 'bob', '2', laterMs);
  await log.rows.put('revocation', 'ann', '3', laterMs);
  await log.rows.put('revocation', 'old', '4', Date.now() - 1);
  await log.rows.put('revocations', 'ann', '5', laterMs);
  await log.close();
  log = await openLmdbLog(directory);
  expect(await log.rows.load('revocation')).toEqual([
    { kind: 'revocation', key: 'ann', value: '3', untilMs: laterMs },
    { kind: 'revocation', key: 'bob', value: '2', untilMs: laterMs },
  ]);
});

test('a receipt whose time is over is not found again after a restart', async () => {
  const wallMs = Date.now() - 3_600_000;
  log = await openLmdbLog(directory, { clock: { ...SYSTEM_CLOCK, wallMs: () => wallMs } });
  await log.append(events('a1'), { key: 'k', digest: 'd', subscribers: 0 });
  await log.close();
  log = await openLmdbLog(directory);
  expect(await log.kept('k')).toBeUndefined();
});

test('a receipt that was kept before a restart has what was left of its time', async () => {
  let wallMs = Date.now() - 100_000;
  let nowMs = 0;
  const clock = { ...SYSTEM_CLOCK, wallMs: () => wallMs, nowMs: () => nowMs };
  log = await openLmdbLog(directory, { clock });
  await log.append(events('a1'), { key: 'k', digest: 'd', subscribers: 0 });
  await log.close();
  wallMs += 100_000;
  log = await openLmdbLog(directory, { clock });
  nowMs = 10_000;
  expect(await log.kept('k')).toMatchObject({ digest: 'd' });
  nowMs = 20_000;
  expect(await log.kept('k')).toBeUndefined();
});

test('a search that a deletion comes into has nothing from before it', async () => {
  log = await openLmdbLog(directory);
  const data = Buffer.alloc(3_000, 'x');
  await log.append(Array.from({ length: 3_000 }, () => event('a', { data })));
  const bounds = { through: log.lastId(), eventsMax: 3_000, bytesMax: 1e9 };
  const newest = log.history.newest('a', bounds);
  // Some of its slices are read by then.
  await new Promise((resolve) => setTimeout(resolve, 3));
  const [deleted] = await log.append([deletion('a')]);
  expect(await newest).toEqual({
    events: [],
    through: 3_000,
    lostThrough: deleted,
    isDeleted: true,
  });
});

test('pages and searches of many slices are whole, while events are appended', async () => {
  log = await openLmdbLog(directory);
  const data = Buffer.alloc(3_000, 'x');
  const given = Array.from({ length: 3_000 }, () => event('a', { data }));
  await log.append(given);
  const before = log.lastId();
  const newest = log.history.newest('a', { through: before, eventsMax: 2_900, bytesMax: 1e9 });
  const page = log.history.read({
    channels: ['a'],
    after: 0,
    through: before,
    eventsMax: 3_000,
    bytesMax: 1e9,
  });
  const appended = Array.from({ length: 20 }, () => log.append(events('a1')));
  // A slice at a time, so that commits have their turns.
  expect((await page).events.length).toBeLessThan(400);
  const found = await newest;
  expect([found.events.length, found.events[0]?.id, found.lostThrough]).toEqual([2_900, 101, 100]);
  await Promise.all(appended);
  expect((await readAll(log, ['a'])).events.length).toBe(3_020);
});

test('a log that is read and written counts little in the memory of the process', async () => {
  log = await openLmdbLog(directory);
  const mappedBytes = (): number =>
    1024 * Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  const before = mappedBytes();
  const data = Buffer.alloc(1024 * 1024, 'x');
  for (let i = 0; i < 15; i++)
    await log.append(Array.from({ length: 10 }, () => event('a', { data })));
  for (let after = 0; after < log.lastId(); after++)
    await log.history.read({
      channels: ['a'],
      after,
      through: after + 1,
      eventsMax: 1,
      bytesMax: 1,
    });
  expect(log.figures!.bytes).toBeGreaterThan(150_000_000);
  // Twice what may be touched: of written pages some are read as well.
  expect(mappedBytes() - before).toBeLessThan(128 * 1024 * 1024);
});
