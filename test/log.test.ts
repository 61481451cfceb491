/** The log port, on the memory log: ids, order, and a tail that hands over each event once. */
import { describe, expect, test } from 'vitest';
import type { Clock } from '../src/clock.js';
import { isDeletion, type LoggedEntry, type NewEvent } from '../src/core/event.js';
import { makeCounters } from '../src/counters.js';
import { MemoryLog } from '../src/log/memory-log.js';

const AT: Clock = {
  wallMs: () => 1_790_000_000_123,
  nowMs: () => 0,
  soon: () => {},
  soonest: () => {},
  later: () => () => {},
};
const LAST_ID = Number.MAX_SAFE_INTEGER;

function events(...names: string[]): NewEvent[] {
  return names.map((name) => ({
    channel: name[0] ?? '',
    type: undefined,
    data: Buffer.from(name),
    json: false,
  }));
}

const names = (given: readonly LoggedEntry[]): string[] =>
  given.map((entry) =>
    isDeletion(entry) ? `end of ${entry.channel}` : Buffer.from(entry.data).toString(),
  );

describe('the memory log', () => {
  test('starts at the clock, ms × 1000, so that a later start is above any id before', async () => {
    const log = new MemoryLog(AT, makeCounters());
    expect(log.lastId()).toBe(1_790_000_000_122_999);
    expect(log.floor()).toBe(1_790_000_000_122_999);
    expect(await log.append(events('a', 'b'))).toEqual([
      1_790_000_000_123_000, 1_790_000_000_123_001,
    ]);
    const later = new MemoryLog({ ...AT, wallMs: () => AT.wallMs() + 1 }, makeCounters());
    expect(later.floor()).toBeGreaterThan(log.lastId());
  });

  test('starts at the first id given', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    expect([log.lastId(), log.floor()]).toEqual([0, 0]);
    expect(await log.append(events('a'))).toEqual([1]);
    expect([log.lastId(), log.floor()]).toEqual([1, 0]);
  });

  test('ids rise by one over all channels, in the order of append, whoever waits for them', async () => {
    const log = new MemoryLog(AT, makeCounters(), 10);
    const seen: LoggedEntry[] = [];
    log.tail((batch) => void seen.push(...batch));
    const batches = await Promise.all([
      log.append(events('a1', 'b1')),
      log.append([]),
      log.append(events('c1')),
      log.append(events('a2', 'a3', 'b2')),
    ]);
    expect(batches).toEqual([[10, 11], [], [12], [13, 14, 15]]);
    expect(seen.map((event) => event.id)).toEqual([10, 11, 12, 13, 14, 15]);
    expect(names(seen)).toEqual(['a1', 'b1', 'c1', 'a2', 'a3', 'b2']);
    expect(seen[1]).toEqual({
      id: 11,
      channel: 'b',
      type: undefined,
      data: Buffer.from('b1'),
      json: false,
    });
  });

  test('a tail sees what is committed before anyone hears its id', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    let seen = 0;
    log.tail((batch) => void (seen += batch.length));
    const pending = log.append(events('a', 'b'));
    expect(seen).toBe(2);
    await pending;
  });

  test('a tail that was stopped, or whose log was closed, hears nothing more', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    const seen: string[] = [];
    const stop = log.tail((batch) => void seen.push(...names(batch)));
    await log.append(events('a'));
    stop();
    await log.append(events('b'));
    log.tail((batch) => void seen.push(...names(batch)));
    await log.append(events('c'));
    await log.close();
    await log.append(events('d'));
    expect(seen).toEqual(['a', 'c']);
  });

  test('is open and up from the start, and keeps nothing', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    await log.open();
    expect([log.isOpen, log.state.isUp, log.history]).toEqual([true, true, undefined]);
  });

  test('the last id of all is given; a batch past it is refused whole', async () => {
    const log = new MemoryLog(AT, makeCounters(), LAST_ID - 1);
    const seen: LoggedEntry[] = [];
    log.tail((batch) => void seen.push(...batch));
    await expect(log.append(events('a', 'b', 'c'))).rejects.toThrow(/last id/);
    expect(seen).toEqual([]);
    expect(await log.append(events('a', 'b'))).toEqual([LAST_ID - 1, LAST_ID]);
    await expect(log.append(events('c'))).rejects.toThrow(
      expect.objectContaining({ code: 'HOLDLINE_INTERNAL' }),
    );
    expect(await log.append([])).toEqual([]);
    expect(names(seen)).toEqual(['a', 'b']);
  });

  test('a deletion is given an id among the events, and is handed over as what it is', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    const seen: LoggedEntry[] = [];
    log.tail((batch) => void seen.push(...batch));
    expect(await log.append(events('a1'))).toEqual([1]);
    expect(await log.append([{ channel: 'a', isDeletion: true }])).toEqual([2]);
    expect(await log.append(events('a2'))).toEqual([3]);
    expect(names(seen)).toEqual(['a1', 'end of a', 'a2']);
    expect(seen[1]).toEqual({ id: 2, channel: 'a', isDeletion: true });
  });
});

describe('receipts in the memory log', () => {
  test('are kept with the events that they are for, and only where a key was given', async () => {
    const log = new MemoryLog(AT, makeCounters(), 1);
    await log.append(events('a'));
    await log.append(events('b', 'c'), { key: 'k', digest: 'd', subscribers: 7 });
    expect(await log.kept('k')).toMatchObject({
      digest: 'd',
      receipt: { firstId: 2, lastId: 3, count: 2, subscribers: 7 },
    });
    expect(await log.kept('another')).toBeUndefined();
  });

  test('are not kept for what was refused', async () => {
    const log = new MemoryLog(AT, makeCounters(), LAST_ID);
    await expect(
      log.append(events('a', 'b'), { key: 'k', digest: 'd', subscribers: 0 }),
    ).rejects.toThrow(/last id/);
    expect(await log.kept('k')).toBeUndefined();
  });
});
