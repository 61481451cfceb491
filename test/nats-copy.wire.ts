/** A log that is moved to NATS keeps its order, and its ids as far as they follow one another. */
import { expect, onTestFinished, test, vi } from 'vitest';
import type { LoggedEntry } from '../src/core/event.js';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { makeCounters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { copyTo } from '../src/log/nats/copy.js';
import { NatsLog } from '../src/log/nats/nats-log.js';
import { NatsServer } from './support/nats.js';
import { event, LogNode, texts } from './support/nats-log.js';

async function* given(entries: readonly LoggedEntry[]): AsyncIterable<LoggedEntry> {
  for (const entry of entries) yield await Promise.resolve(entry);
}

const optionsOf = (nats: NatsServer) => ({
  url: nats.url,
  stream: 'moved',
  prefix: 'moved',
  replicas: 1,
  retention: { events: 0, bytes: 0, ageMs: 0 },
  clock: SYSTEM_CLOCK,
  counters: makeCounters(),
  check: () => {},
  report: () => {},
});

const MOVED = { stream: 'moved', prefix: 'moved' };

test('entries keep their order and kind, ids are told as they change, rows go along', async () => {
  const nats = await NatsServer.start();
  const entries: LoggedEntry[] = [];
  for (let id = 5_000; id < 7_500; id++)
    if (id !== 7_000) entries.push({ id, ...event(`c${id % 2}`, String(id), { type: 'é' }) });
  entries.push({ id: 7_500, channel: 'c0', isDeletion: true });
  const untilMs = Date.now() + 60_000;
  const rows = [{ kind: 'revoked', key: 'user', value: 'x', untilMs }];
  const told: number[] = [];
  const options = { ...optionsOf(nats), firstId: 5_001 };
  const copied = await copyTo(given(entries), rows, options, (count) => told.push(count));
  expect(copied).toEqual({
    entries: 2_500,
    rows: 1,
    firstId: 5_001,
    lastId: 7_500,
    changed: 2_000,
    firstChanged: { from: 5_000, to: 5_001 },
  });
  expect(told).toEqual([1_000, 2_000, 2_500]);
  const { log } = await LogNode.open(nats.url, MOVED);
  const bounds = { after: 5_000, through: 7_500, eventsMax: 10_000, bytesMax: 1 << 20 };
  const page = await log.history!.read({ channels: ['c1'], ...bounds });
  const wanted = entries.filter(({ channel }) => channel === 'c1');
  expect(texts(page.events)).toEqual(texts(wanted));
  expect(page.events[0]).toEqual({ ...wanted[0], id: 5_002, data: Buffer.from('5001') });
  expect(page.events.at(-1)).toMatchObject({ id: 7_499 });
  const deleted = await log.history!.read({ channels: ['c0'], ...bounds });
  expect([deleted.events, deleted.lostThrough]).toEqual([[], 7_500]);
  expect(await log.rows!.load('revoked')).toMatchObject(rows);
  await expect(copyTo(given(entries), [], options)).rejects.toMatchObject({
    code: 'HOLDLINE_BAD_LOG',
  });
});

test('whoever comes with a position from before misses nothing', async () => {
  const nats = await NatsServer.start();
  // Retention has taken 10, and crashes 13 to 15 and what came behind 17.
  const ids = [8, 9, 11, 12, 16, 17];
  const lastGiven = 20;
  const entries = ids.map((id) => ({ id, ...event('a', String(id)) }));
  const firstId = lastGiven + 1 - ids.length;
  await copyTo(given(entries), [], { ...optionsOf(nats), firstId });
  const { log } = await LogNode.open(nats.url, MOVED);
  const [next] = await log.append([event('a', 'next')]);
  for (let after = 7; after <= lastGiven; after++) {
    const bounds = { after, through: next!, eventsMax: 9, bytesMax: 1 << 20 };
    const { events } = await log.history!.read({ channels: ['a'], ...bounds });
    const owed = ids.filter((id) => id > after).map((id) => `a: ${id}`);
    expect(texts(events)).toEqual(expect.arrayContaining([...owed, 'a: next']));
  }
});

test('a batch whose answer was lost is copied once, and its ids are told as they are', async () => {
  const nats = await NatsServer.start();
  const entries = [5_000, 5_001, 5_003].map((id) => ({ id, ...event('a', String(id)) }));
  // oxlint-disable-next-line typescript/unbound-method
  const { append } = NatsLog.prototype;
  const appends = vi.spyOn(NatsLog.prototype, 'append').mockImplementationOnce(async function lost(
    this: NatsLog,
    ...asked
  ) {
    await append.apply(this, asked);
    throw new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', 'NATS did not answer');
  });
  onTestFinished(() => appends.mockRestore());
  expect(await copyTo(given(entries), [], { ...optionsOf(nats), firstId: 5_001 })).toEqual({
    entries: 3,
    rows: 0,
    firstId: 5_001,
    lastId: 5_003,
    changed: 2,
    firstChanged: { from: 5_000, to: 5_001 },
  });
  expect(appends).toHaveBeenCalledTimes(2);
});
