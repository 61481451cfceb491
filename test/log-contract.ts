/**
 * What every log promises (core/event-log.ts), as tests that are run on each of them. A log that
 * keeps no history, or gives ids that do not follow one another, says so and is spared those tests.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { isDeletion, type LoggedEntry, type NewEntry, type NewEvent } from '../src/core/event.js';
import type { EventLog, History, HistoryPage } from '../src/core/event-log.js';

/** A log that the contract opened, and how it is opened again with what it keeps. */
export interface ContractLog {
  readonly log: EventLog;
  /** Closes it and opens what it left; absent when it leaves nothing. */
  reopen?(): Promise<ContractLog>;
  /** Frees what it took; the log is closed before. */
  remove(): Promise<void> | void;
}

export interface ContractSubject {
  /** A new log, opened. */
  make(): Promise<ContractLog>;
  /** False when others may give ids between those of one log. */
  readonly idsFollow: boolean;
  /** True when appends of several entries are all or nothing. */
  readonly isAtomic: boolean;
}

const WHOLE = { eventsMax: 1_000_000, bytesMax: 1_000_000_000 };

/** An event whose text names it; its channel is what stands before the first digit. */
export function event(name: string, more: Partial<NewEvent> = {}): NewEvent {
  return {
    channel: name.replace(/\d.*/, ''),
    type: undefined,
    data: Buffer.from(name),
    json: false,
    ...more,
  };
}

export const events = (...names: string[]): NewEvent[] => names.map((name) => event(name));

export const deletion = (channel: string): NewEntry => ({ channel, isDeletion: true });

export const namesOf = (entries: readonly LoggedEntry[]): string[] =>
  entries.map((entry) =>
    isDeletion(entry) ? `end of ${entry.channel}` : Buffer.from(entry.data).toString(),
  );

/** All that channels keep, read page by page as a server does. */
export async function readAll(
  log: EventLog,
  channels: readonly string[],
  after = log.floor(),
  bounds: { readonly eventsMax: number; readonly bytesMax: number } = WHOLE,
): Promise<HistoryPage> {
  const found: HistoryPage['events'][number][] = [];
  let at = after;
  let lostThrough = 0;
  const through = log.lastId();
  for (;;) {
    const page = await historyOf(log).read({ channels, after: at, through, ...bounds });
    found.push(...page.events);
    ({ lostThrough } = page);
    if (page.through >= through) return { events: found, through, lostThrough };
    expect(page.through).toBeGreaterThan(at);
    at = page.through;
  }
}

export function historyOf(log: EventLog): History {
  if (log.history === undefined) throw new Error('the log keeps no history');
  return log.history;
}

/** The tests. Call it in a test file of the log. */
export function logContract(name: string, subject: ContractSubject): void {
  let opened: ContractLog | undefined;
  const make = async (): Promise<EventLog> => {
    opened = await subject.make();
    return opened.log;
  };
  /** The same log after a restart; undefined when it leaves nothing. */
  const reopen = async (): Promise<EventLog | undefined> => {
    if (opened?.reopen === undefined) return undefined;
    opened = await opened.reopen();
    return opened.log;
  };
  afterEach(async () => {
    await opened?.log.close();
    await opened?.remove();
    opened = undefined;
  });

  describe(`${name}: ids and order`, () => {
    test('is open and up, and its last id is its floor', async () => {
      const log = await make();
      expect([log.isOpen, log.state.isUp, log.lastId()]).toEqual([true, true, log.floor()]);
    });

    test('ids rise over all channels, in the order of append, whoever waits for them', async () => {
      const log = await make();
      const seen: LoggedEntry[] = [];
      log.tail((batch) => void seen.push(...batch));
      const batches = await Promise.all([
        log.append(events('a1', 'b1')),
        log.append([]),
        log.append(events('c1')),
        log.append(events('a2', 'a3', 'b2')),
      ]);
      const ids = batches.flat();
      expect(batches.map((batch) => batch.length)).toEqual([2, 0, 1, 3]);
      expect(ids).toEqual(ids.toSorted((one, other) => one - other));
      expect(new Set(ids).size).toBe(6);
      expect(ids[0]).toBeGreaterThan(log.floor());
      if (subject.idsFollow) expect(ids).toEqual(ids.map((_, index) => log.floor() + 1 + index));
      expect(seen.map(({ id }) => id)).toEqual(ids);
      expect(namesOf(seen)).toEqual(['a1', 'b1', 'c1', 'a2', 'a3', 'b2']);
      expect(log.lastId()).toBe(ids.at(-1));
    });

    test('the tail has all of an event before the publisher hears its id', async () => {
      const log = await make();
      const seen: LoggedEntry[] = [];
      log.tail((batch) => void seen.push(...batch));
      const given = event('a1', { type: 'prix: 7 €', json: true, data: Buffer.from('{"a":"é"}') });
      const [id] = await log.append([given]);
      expect(seen).toEqual([{ ...given, id, data: Buffer.from('{"a":"é"}') }]);
    });

    test('a tail that was stopped hears nothing more', async () => {
      const log = await make();
      const seen: LoggedEntry[] = [];
      const stop = log.tail((batch) => void seen.push(...batch));
      await log.append(events('a1'));
      stop();
      await log.append(events('a2'));
      expect(namesOf(seen)).toEqual(['a1']);
    });

    test('a deletion has an id among the events, and is handed over as what it is', async () => {
      const log = await make();
      const seen: LoggedEntry[] = [];
      log.tail((batch) => void seen.push(...batch));
      await log.append(events('a1'));
      const [id] = await log.append([deletion('a')]);
      await log.append(events('a2'));
      expect(namesOf(seen)).toEqual(['a1', 'end of a', 'a2']);
      expect(seen[1]).toEqual({ id, channel: 'a', isDeletion: true });
    });

    test('many appends at once over many channels: each once, in one order', async () => {
      const log = await make();
      const seen: LoggedEntry[] = [];
      log.tail((batch) => void seen.push(...batch));
      const given = Array.from({ length: 200 }, (_, index) =>
        events(`${'abcdefgh'[index % 8]}${index}`, `x${index}`),
      );
      const ids = await Promise.all(given.map((batch) => log.append(batch)));
      expect(seen.map(({ id }) => id)).toEqual(ids.flat());
      expect(namesOf(seen)).toEqual(given.flat().map(({ data }) => Buffer.from(data).toString()));
    });
  });

  describe(`${name}: receipts`, () => {
    test('are found under their key, with their digest, and only there', async () => {
      const log = await make();
      await log.append(events('a1'));
      const ids = await log.append(events('b1', 'c1'), { key: 'k', digest: 'd', subscribers: 7 });
      expect(await log.kept('k')).toMatchObject({
        digest: 'd',
        receipt: { firstId: ids[0], lastId: ids[1], count: 2, subscribers: 7 },
      });
      expect(await log.kept('another')).toBeUndefined();
    });

    test('outlive a restart, as ids do', async () => {
      const log = await make();
      const ids = await log.append(events('a1', 'a2'), { key: 'k', digest: 'd', subscribers: 0 });
      const floor = log.floor();
      const next = await reopen();
      if (next === undefined) return;
      expect([next.floor(), next.lastId()]).toEqual([floor, ids[1]]);
      expect(await next.kept('k')).toMatchObject({ digest: 'd', receipt: { firstId: ids[0] } });
      const [id] = await next.append(events('a3'));
      expect(id).toBeGreaterThan(ids[1]!);
    });
  });

  describe(`${name}: the end`, () => {
    test('what was appended before close is committed, and nothing after it is', async () => {
      const log = await make();
      const given = Array.from({ length: 50 }, (_, index) => log.append(events(`a${index + 1}`)));
      await Promise.all([log.close(), log.close()]);
      const ids = (await Promise.all(given)).flat();
      expect(ids.length).toBe(50);
      const next = await reopen();
      if (next === undefined) return;
      await expect(log.append(events('a51'))).rejects.toMatchObject({
        code: 'HOLDLINE_LOG_UNAVAILABLE',
      });
      expect(next.lastId()).toBe(ids.at(-1));
      expect((await readAll(next, ['a'])).events.map(({ id }) => id)).toEqual(ids);
    });
  });

  describe(`${name}: history`, () => {
    /** Undefined for a log that keeps none. */
    const makeKeeping = async (): Promise<EventLog | undefined> => {
      const log = await make();
      return log.history === undefined ? undefined : log;
    };

    test('a page has the events of its channels in id order, and no others', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const given = events('a1', 'b1', 'c1', 'a2', 'c2', 'b2', 'a3');
      given[3] = event('a2', { type: 'tick', json: true, data: Buffer.from('[1]') });
      const ids = await log.append(given);
      const page = await readAll(log, ['a', 'b', 'nobody']);
      expect(page.events.map(({ id }) => id)).toEqual([0, 1, 3, 5, 6].map((index) => ids[index]));
      expect(page.events[2]).toEqual({ ...given[3], id: ids[3], data: Buffer.from('[1]') });
      expect([page.through, page.lostThrough]).toEqual([log.lastId(), log.floor()]);
    });

    test('a page is bounded by events, bytes and both ids, and the next one follows it', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const ids = await log.append(events('a1', 'b1', 'a2', 'b2', 'a3', 'b3'));
      const history = historyOf(log);
      const read = async (more: object): Promise<unknown[]> => {
        const page = await history.read({
          channels: ['a', 'b'],
          after: log.floor(),
          through: log.lastId(),
          ...WHOLE,
          ...more,
        });
        return [namesOf(page.events).join(' '), page.through];
      };
      expect(await read({})).toEqual(['a1 b1 a2 b2 a3 b3', ids[5]]);
      expect(await read({ eventsMax: 2 })).toEqual(['a1 b1', ids[1]]);
      expect(await read({ bytesMax: 5 })).toEqual(['a1 b1', ids[1]]);
      expect(await read({ bytesMax: 1 })).toEqual(['a1', ids[0]]);
      expect(await read({ after: ids[1] })).toEqual(['a2 b2 a3 b3', ids[5]]);
      expect(await read({ after: ids[1], through: ids[3] })).toEqual(['a2 b2', ids[3]]);
      expect(await read({ channels: ['a'], through: ids[3] })).toEqual(['a1 a2', ids[3]]);
      for (const eventsMax of [1, 2, 5])
        expect(
          namesOf((await readAll(log, ['b', 'a'], ids[0], { ...WHOLE, eventsMax })).events),
        ).toEqual(['b1', 'a2', 'b2', 'a3', 'b3']);
    });

    test('the newest of a channel are as many as fit, and the rest counts as not in it', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const ids = await log.append(events('a1', 'b1', 'a2', 'a3', 'b2'));
      const history = historyOf(log);
      const newest = async (channel: string, more: object): Promise<unknown[]> => {
        const bounds = { through: log.lastId(), ...WHOLE, ...more };
        const page = await history.newest(channel, bounds);
        return [namesOf(page.events).join(' '), page.lostThrough];
      };
      expect(await newest('a', {})).toEqual(['a1 a2 a3', log.floor()]);
      expect(await newest('a', { eventsMax: 2 })).toEqual(['a2 a3', ids[0]]);
      expect(await newest('a', { bytesMax: 2 })).toEqual(['a3', ids[2]]);
      expect(await newest('a', { eventsMax: 1, through: ids[2]! })).toEqual(['a2', ids[0]]);
      expect(await newest('nobody', {})).toEqual(['', log.floor()]);
    });

    test('a deletion takes what came before it, also after a restart', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      await log.append(events('a1', 'b1', 'a2'));
      const [deleted] = await log.append([deletion('a')]);
      await log.append(events('a3'));
      const expectGone = async (one: EventLog): Promise<void> => {
        const page = await readAll(one, ['a']);
        expect([namesOf(page.events), page.lostThrough]).toEqual([['a3'], deleted]);
        const newest = await historyOf(one).newest('a', { through: one.lastId(), ...WHOLE });
        expect([namesOf(newest.events), newest.lostThrough]).toEqual([['a3'], deleted]);
        const other = await readAll(one, ['b']);
        expect([namesOf(other.events), other.lostThrough]).toEqual([['b1'], one.floor()]);
      };
      await expectGone(log);
      const next = await reopen();
      if (next !== undefined) await expectGone(next);
    });

    test('a channel is deleted until something is published to it, also over a restart', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const areDeleted = async (one: EventLog): Promise<boolean[]> => {
        const bounds = { through: one.lastId(), ...WHOLE };
        const pages = ['a', 'b', 'c', 'd'].map((channel) => historyOf(one).newest(channel, bounds));
        return (await Promise.all(pages)).map(({ isDeleted }) => isDeleted === true);
      };
      await log.append(events('a1', 'b1', 'c1'));
      // Of `d` there was nothing.
      await log.append([deletion('a'), deletion('b'), deletion('d')]);
      await log.append(events('b2'));
      expect(await areDeleted(log)).toEqual([true, false, false, true]);
      const next = await reopen();
      if (next === undefined) return;
      expect(await areDeleted(next)).toEqual([true, false, false, true]);
      await next.append(events('a2', 'd1'));
      expect(await areDeleted(next)).toEqual([false, false, false, false]);
    });

    test('the id before a time: all, none, and between', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const beganMs = Date.now();
      const [first] = await log.append(events('a1'));
      const betweenMs = await laterThan(Date.now());
      const [second] = await log.append(events('b1'));
      const afterMs = await laterThan(Date.now());
      const history = historyOf(log);
      expect(await history.idBefore(afterMs + 1000)).toBe(second);
      expect(await history.idBefore(betweenMs)).toBe(first);
      expect(await history.idBefore(beganMs - 1000)).toBe(log.floor());
    });

    test('what one hears from the tail is found in the history', async () => {
      const log = await makeKeeping();
      if (log === undefined) return;
      const pages: Promise<HistoryPage>[] = [];
      log.tail((batch) => {
        const { id, channel } = batch[0]!;
        pages.push(
          historyOf(log).read({ channels: [channel], after: id - 1, through: id, ...WHOLE }),
        );
      });
      for (const one of ['a1', 'b1', 'a2']) await log.append(events(one));
      const found = (await Promise.all(pages)).flatMap((page) => namesOf(page.events));
      expect(found).toEqual(['a1', 'b1', 'a2']);
    });
  });
}

/** Waits until the clock has passed a time by 2 ms, and returns a time between. */
async function laterThan(atMs: number): Promise<number> {
  while (Date.now() < atMs + 3) await new Promise(setImmediate);
  return atMs + 2;
}
