/** What bounds the entries on their way to workers, and what appends wait for. */
import { expect, test } from 'vitest';
import type { NewEntry } from '../src/core/event.js';
import type { KeptReceipt } from '../src/core/event-log.js';
import { HoldlineError } from '../src/errors.js';
import { PUBLISH_WAIT_MS_MAX, QUEUED_EVENT_BYTES } from '../src/limits.js';
import { Appends } from '../src/workers/appends.js';
import { Credit } from '../src/workers/credit.js';
import { Pool, Share } from '../src/workers/shares.js';
import { Restarts } from '../src/workers/restarts.js';
import { FakeClock } from './support/fake-clock.js';

function event(channel: string, bytes = 0): NewEntry {
  return { channel, type: undefined, data: new Uint8Array(bytes), json: false };
}

const COST = QUEUED_EVENT_BYTES;

test('a channel has room for its credit, and again for what has entered', () => {
  const credit = new Credit(3 * COST, 100 * COST);
  for (let i = 0; i < 3; i++) {
    expect(credit.roomFor('a', COST)).toBe('room');
    credit.sent(event('a'));
  }
  expect(credit.roomFor('a', COST)).toBe('channel is full');
  expect(credit.roomFor('b', COST)).toBe('room');
  credit.entered('a', COST);
  expect(credit.roomFor('a', COST)).toBe('room');
  expect(credit.roomFor('a', COST, COST)).toBe('channel is full');
  credit.entered('a', 2 * COST);
  expect([credit.bytes, credit.channels]).toEqual([0, 0]);
});

test('a flooded channel leaves as much of the credit in all as it has', () => {
  const credit = new Credit(1000 * COST, 10 * COST);
  while (credit.roomFor('flooded', COST) === 'room') credit.sent(event('flooded'));
  expect(credit.bytes).toBe(5 * COST);
  expect(credit.roomFor('other', COST)).toBe('room');
});

test('one publish of any size fits a channel of which nothing is on its way', () => {
  const credit = new Credit(COST, 10 * COST);
  expect(credit.roomFor('a', 5 * COST)).toBe('room');
  credit.sent(event('a', 20 * COST));
  expect(credit.roomFor('b', COST)).toBe('all are full');
});

interface Rig {
  readonly appends: Appends;
  readonly clock: FakeClock;
  readonly appended: string[];
  readonly kept: Map<string, KeptReceipt>;
  readonly full: Set<string>;
}

function rig(): Rig {
  const appended: string[] = [];
  const kept = new Map<string, KeptReceipt>();
  const full = new Set<string>();
  const clock = new FakeClock();
  const log: ConstructorParameters<typeof Appends>[0] = {
    kept: (key) => Promise.resolve(kept.get(key)),
    append(entries, request) {
      const firstId = appended.length + 1;
      for (const { channel } of entries) appended.push(channel);
      const ids = entries.map((_entry, index) => firstId + index);
      if (request !== undefined) {
        const { key, digest, subscribers } = request;
        const lastId = appended.length;
        kept.set(key, { digest, receipt: { firstId, lastId, count: ids.length, subscribers } });
      }
      return Promise.resolve(ids);
    },
  };
  return {
    appends: new Appends(log, clock, (channel) => (full.has(channel) ? 'channel is full' : 'room')),
    clock,
    appended,
    kept,
    full,
  };
}

/** Lets promises that are settled go on. */
async function turn({ clock }: Rig): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.runSoon();
  }
}

test('appends to a full channel wait in their order, and move no other channel', async () => {
  const it = rig();
  it.full.add('full');
  const waiting = [1, 2].map((count) =>
    it.appends.append(
      'w',
      Array.from({ length: count }, () => event('full')),
    ),
  );
  await expect(it.appends.append('w', [event('other')])).resolves.toEqual([1]);
  expect(it.appends.waitingCount).toBe(2);
  it.full.clear();
  it.appends.proceed(['full']);
  await turn(it);
  await expect(Promise.all(waiting)).resolves.toEqual([[2], [3, 4]]);
});

test('a duplicate of what nobody knows is not known either, and is not tried', async () => {
  let fail = (_error: Error): void => {};
  let tries = 0;
  const log: ConstructorParameters<typeof Appends>[0] = {
    kept: () => Promise.resolve(undefined),
    append: () => new Promise((_resolve, reject) => (tries++, (fail = reject))),
  };
  const appends = new Appends(log, new FakeClock(), () => 'room');
  const request = { key: 'k', digest: 'd', subscribers: 0 };
  const both = ['v', 'w'].map((from) => appends.append(from, [event('a')], request));
  const codes = Promise.all(
    both.map((one) => one.catch((error: unknown) => (error as HoldlineError).code)),
  );
  await new Promise((resolve) => setImmediate(resolve));
  fail(new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', 'the disk hangs'));
  expect(await codes).toEqual(['HOLDLINE_OUTCOME_UNKNOWN', 'HOLDLINE_OUTCOME_UNKNOWN']);
  expect([tries, appends.keyCount]).toEqual([1, 0]);
});

test('what waits for the credit of all channels goes on when another channel gives it free', async () => {
  const credit = new Credit(10 * COST, 2 * COST);
  credit.sent(event('large', COST));
  const log: ConstructorParameters<typeof Appends>[0] = {
    kept: () => Promise.resolve(undefined),
    append: () => Promise.resolve([1]),
  };
  const appends = new Appends(log, new FakeClock(), (...asked) => credit.roomFor(...asked));
  const waiting = appends.append('w', [event('other')]);
  expect(appends.waitingCount).toBe(1);
  credit.entered('large', 2 * COST);
  appends.proceed(['large']);
  await expect(waiting).resolves.toEqual([1]);
});

test('what is let in and not committed yet counts against the credit of all', () => {
  const credit = new Credit(10 * COST, 2 * COST);
  expect(credit.roomFor('a', COST, 0, COST)).toBe('room');
  expect(credit.roomFor('a', COST, 0, 2 * COST)).toBe('all are full');
});

test('a batch waits for all of its channels, and holds up none that is before it', async () => {
  const it = rig();
  it.full.add('b');
  const batch = it.appends.append('w', [event('a'), event('b')]);
  const behind = it.appends.append('w', [event('a')]);
  await turn(it);
  expect(it.appended).toEqual([]);
  it.full.clear();
  it.appends.proceed();
  await turn(it);
  await Promise.all([batch, behind]);
  expect(it.appended).toEqual(['a', 'b', 'a']);
});

test('without room in time a publish is refused, and those behind it go on', async () => {
  const it = rig();
  it.full.add('c');
  const refused = it.appends.append('w', [event('c')]);
  const settled = refused.catch((error: unknown) => error);
  await it.clock.run(PUBLISH_WAIT_MS_MAX + 10);
  await expect(settled).resolves.toMatchObject({ code: 'HOLDLINE_PUBLISH_BUSY' });
  expect(it.appends.waitingCount).toBe(0);
  it.full.clear();
  await expect(it.appends.append('w', [event('c')])).resolves.toEqual([1]);
});

test('what a worker waited for goes with it', async () => {
  const it = rig();
  it.full.add('c');
  const dead = it.appends.append('dead', [event('c')]).catch(() => 'dropped');
  const alive = it.appends.append('alive', [event('c')]);
  it.appends.drop('dead');
  await expect(dead).resolves.toBe('dropped');
  it.full.clear();
  it.appends.proceed();
  await turn(it);
  await expect(alive).resolves.toEqual([1]);
});

test('the same idempotency key from two workers is published once', async () => {
  const it = rig();
  const request = { key: 'k', digest: 'd', subscribers: 0 };
  const both = [1, 2].map((worker) => it.appends.append(worker, [event('c'), event('c')], request));
  await expect(Promise.all(both)).resolves.toEqual([[1, 2], []]);
  expect(it.appended).toHaveLength(2);
});

// ── what workers share ───────────────────────────────────────────────────────────────────────────

test('shares never add up to more than there is, and all of it can be used', () => {
  const total = 10;
  const pool = new Pool<string>(total);
  const inUse = { a: 0, b: 0 };
  const shares: Record<'a' | 'b', Share> = {} as never;
  const lend = (name: 'a' | 'b', count: number): void => {
    const lent = pool.lend(name, count);
    shares[name].lent(lent);
    if (lent === 0) shares[name === 'a' ? 'b' : 'a'].recall();
  };
  for (const name of ['a', 'b'] as const) {
    const first = pool.lend(name, total / 2);
    shares[name] = new Share(
      first,
      () => inUse[name],
      (count) => lend(name, count),
      (count) => {
        const next = pool.giveBack(name, count);
        if (next !== undefined) lend(next as 'a' | 'b', Math.ceil(pool.free / 2));
      },
    );
  }
  const open = (name: 'a' | 'b'): boolean => {
    if (!shares[name].hasRoom) return false;
    inUse[name]++;
    return true;
  };
  // One worker takes all it gets; what the other did not use is called back.
  for (let tries = 0; tries < 40; tries++) open('a');
  expect(inUse.a).toBe(total);
  expect(open('b')).toBe(false);
  expect(pool.lentTo('a') + pool.lentTo('b') + pool.free).toBe(total);
  // Lines close there, and the other one gets their places.
  inUse.a = 3;
  for (let tries = 0; tries < 40; tries++) open('b');
  expect(inUse.b).toBe(total - inUse.a);
  expect(open('a')).toBe(false);
});

test('what a dead worker had can be lent again', () => {
  const pool = new Pool<string>(4);
  while (pool.lend('dead', 4) > 0);
  expect(pool.lend('alive', 4)).toBe(0);
  expect(pool.gone('dead')).toBe('alive');
  let lent = 0;
  for (let more = pool.lend('alive', 4); more > 0; more = pool.lend('alive', 4)) lent += more;
  expect(lent).toBe(4);
});

test('one process is never lent more than it can hold', () => {
  const pool = new Pool<string>(100, 7);
  let lent = 0;
  for (let tries = 0; tries < 10; tries++) lent += pool.lend('a', 5);
  expect(lent).toBe(7);
  // It asks in vain, and nobody is to give back for it.
  expect(pool.giveBack('b', 1)).toBeUndefined();
});

test('workers that die at once again and again are given up, unless others serve', () => {
  const pauses = [50, 100, 200, 400, 800, 1600, 3200];
  const restarts = new Restarts();
  expect(pauses.map(() => restarts.died(1, 100, false))).toEqual(pauses);
  expect(restarts.died(1, 100, false)).toBeUndefined();
  const beside = new Restarts();
  expect(pauses.map(() => beside.died(1, 0, true))).toEqual(pauses);
  expect([beside.died(1, 0, true), beside.died(1, 0, true)]).toEqual([5000, 5000]);
  expect(beside.died(2, 0, true)).toBe(50);
  const proven = new Restarts();
  for (let i = 0; i < 20; i++) expect(proven.died(1, 60_000, false)).toBe(50);
});
