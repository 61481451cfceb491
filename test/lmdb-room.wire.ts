/** Room on the disk behind the last page of a log: no transaction writes further. */
import { closeSync, fstatSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readHead, readPages } from '../dist/log/lmdb/data-file.js';
import { EndGate } from '../dist/log/lmdb/end-gate.js';
import { loadLogLibc } from '../dist/log/lmdb/libc.js';
import type { ThreadData } from '../dist/log/lmdb/messages.js';
import { packEntries, unpackEntries } from '../dist/log/lmdb/packing.js';
import { Room } from '../dist/log/lmdb/room.js';
import { Store, type Commitment } from '../dist/log/lmdb/store.js';
import type { NewEntry } from '../src/core/event.js';
import { deletion, event } from './log-contract.js';
import { logDirectory, NO_BOUNDS, PLAIN_LOG, rulesOf } from './support/lmdb-log.js';
import { Random } from './support/random.js';

let directory = '';
let store: Store;

function openStore(more: Partial<ThreadData> = {}): Promise<Store> {
  return Store.open({ ...PLAIN_LOG, directory, gateWord: new EndGate().word, ...more });
}

function path(): string {
  return join(directory, 'data.mdb');
}

function commitmentOf(entries: readonly NewEntry[]): Commitment {
  return { entries: [...unpackEntries(packEntries(entries, Date.now()))], receipt: undefined };
}

beforeEach(() => {
  directory = logDirectory();
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe('pages of the file', () => {
  const KINDS: readonly (readonly [string, Partial<ThreadData>])[] = [
    ['without bounds', {}],
    ['that keeps 300 events', { rules: rulesOf({ retention: { ...NO_BOUNDS, events: 300 } }) }],
    ['with policies', { rules: rulesOf({ policies: [{ channels: 'c*', keepEvents: 3 }] }) }],
  ];
  test.each(KINDS)('of a log %s: never more than was reserved', async (_, more) => {
    store = await openStore(more);
    const head = readHead(path());
    if (typeof head === 'string') throw new Error(head);
    const file = openSync(path(), 'r');
    const random = new Random(7);
    const below = (limit: number): number => random.below(limit);
    const sizes = [1, 20, 700, 1_900, 2_100, 5_000, 70_000];
    let mostAtOnce = 0;
    for (let round = 0; round < 150; round++) {
      const before = readPages(file, head.pageBytes);
      const channels = 1 + below(round % 3 === 0 ? 400 : 4);
      const entries = Array.from({ length: 1 + below(round % 5 === 0 ? 300 : 10) }, () => {
        const channel = `c${below(channels)}`;
        if (below(20) === 0) return deletion(channel);
        return event(channel, { data: Buffer.alloc(sizes[below(sizes.length)] ?? 1, 'x') });
      });
      store.commit([commitmentOf(entries)], Date.now());
      const pages = readPages(file, head.pageBytes);
      mostAtOnce = Math.max(mostAtOnce, pages - before);
      expect(pages).toBeLessThanOrEqual(store.room.pages);
      store.sweep(Date.now());
      expect(readPages(file, head.pageBytes)).toBeLessThanOrEqual(store.room.pages);
      expect(fstatSync(file).size).toBeGreaterThanOrEqual(store.room.pages * head.pageBytes);
    }
    expect(mostAtOnce).toBeGreaterThan(50);
    closeSync(file);
    await store.close();
    // What was not used is given back.
    expect(statSync(path()).size).toBe(readPagesOf(path()) * head.pageBytes);
  });
});

function readPagesOf(name: string): number {
  const head = readHead(name);
  return typeof head === 'string' ? 0 : head.pages;
}

test.each(['fallocate', 'zeros'])('room is disk that the file has, by %s', async (how) => {
  store = await openStore();
  await store.close();
  const room = Room.open(directory, how === 'zeros' ? undefined : await loadLogLibc());
  const before = room.pages;
  expect(room.reserve(1000)).toBeGreaterThanOrEqual(1000);
  const { size, blocks } = statSync(path());
  expect(size).toBeGreaterThanOrEqual((before + 1000) * room.pageBytes);
  expect(blocks * 512).toBeGreaterThanOrEqual(size);
  room.take(300);
  expect(room.pages).toBe(before + 300);
  room.giveBack();
  expect(statSync(path()).size).toBe(before * room.pageBytes);
  room.close();
  // And the log is what it was.
  store = await openStore();
  expect(store.newestId).toBe(0);
  await store.close();
});

test('what was written further than was thought is not cut off on a full disk', async () => {
  store = await openStore();
  const allocate = (): never => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  };
  const libc = await loadLogLibc();
  const room = Room.open(directory, libc && { ...libc, allocate });
  const before = room.pages;
  const data = Buffer.alloc(1_000_000, 'x');
  for (let i = 0; i < 30; i++) store.commit([commitmentOf([event('c', { data })])], Date.now());
  const written = readPagesOf(path());
  expect(written).toBeGreaterThan(before + 2000);
  expect(room.reserve(2000)).toBe(0);
  expect(statSync(path()).size).toBeGreaterThanOrEqual(written * room.pageBytes);
  expect(room.pages).toBe(written);
  room.close();
  await store.close();
});
