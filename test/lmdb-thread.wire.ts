/** What the thread of a log on disk answers when a write fails; here it is that of the test. */
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CommitLock } from '../dist/log/lmdb/commit-lock.js';
import { EndGate } from '../dist/log/lmdb/end-gate.js';
import { LogThread } from '../dist/log/lmdb/log-thread.js';
import type { Answer, FromThread, Question, ThreadData } from '../dist/log/lmdb/messages.js';
import { packedBytes, packEntries, unpackEvents } from '../dist/log/lmdb/packing.js';
import { NewestSearch } from '../dist/log/lmdb/pages.js';
import { Store } from '../dist/log/lmdb/store.js';
import { isDeletion, type NewEntry } from '../src/core/event.js';
import { event, events, readAll } from './log-contract.js';
import { logDirectory, openLmdbLog, PLAIN_LOG, rulesOf } from './support/lmdb-log.js';
import { until } from './support/until.js';

let directory: string;
let thread: LogThread;
let told: FromThread[];
beforeEach(() => {
  directory = logDirectory();
  told = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  rmSync(directory, { recursive: true });
});

async function open(more: Partial<ThreadData> = {}): Promise<void> {
  const data = { ...PLAIN_LOG, directory, gateWord: new EndGate().word, ...more };
  thread = new LogThread(data, (message) => void told.push(message));
  expect(await thread.open()).toBe(true);
}

/** Appends with the sequences 1, 2, 3 and so on, in one message. */
function append(...appends: readonly (readonly NewEntry[])[]): void {
  thread.take({
    kind: 'append',
    packed: packEntries(appends.flat(), Date.now()),
    appends: appends.map((entries, index) => ({
      sequence: index + 1,
      count: entries.length,
      bytes: entries.reduce((sum, entry) => sum + packedBytes(entry), 0),
      onlyDeletes: entries.every(isDeletion),
      receipt: undefined,
    })),
  });
}

/** What was answered, as `sequence: first id` and `sequence: code`. */
function answers(): string[] {
  return told.flatMap((message) => {
    if (message.kind === 'committed')
      return message.appends.map(({ sequence, firstId }) => `${sequence}: ${firstId}`);
    if (message.kind === 'refused')
      return message.sequences.map((sequence) => `${sequence}: ${message.failure.code}`);
    return [];
  });
}

/** The next commit writes the first half of its appends, as without room for more, and fails. */
function failAfterHalf(): void {
  // oxlint-disable-next-line typescript/unbound-method
  const { commit } = Store.prototype;
  vi.spyOn(Store.prototype, 'commit').mockImplementationOnce(function half(
    this: Store,
    appends,
    nowMs,
  ) {
    commit.call(this, appends.slice(0, appends.length >> 1), nowMs);
  });
  vi.spyOn(CommitLock.prototype, 'within').mockImplementationOnce((write) => {
    write();
    throw new Error('the write failed');
  });
}

function isUp(): boolean {
  const state = told.findLast((message) => message.kind === 'state');
  return state === undefined || state.state.isUp;
}

test('a commit of the first half that fails, and is on disk, acknowledges that half alone', async () => {
  await open();
  failAfterHalf();
  append(events('a1', 'a2'), events('b1'), events('c1'), events('d1'));
  await until('all are answered', () => answers().length === 4);
  const code = 'HOLDLINE_LOG_UNAVAILABLE';
  expect(answers()).toEqual(['1: 1', '2: 3', `3: ${code}`, `4: ${code}`]);
  await until('the log is up', isUp);
  append(events('e1'));
  await until('the next is answered', () => answers().length === 5);
  expect(answers().at(-1)).toBe('1: 4');
});

test('with async: what such a commit left out is written when the log is up, and once', async () => {
  await open({ durability: 'async' });
  append(events('a1', 'a2'), events('b1'), events('c1'), events('d1'));
  // Not the change that leases the ids, but the commit that follows.
  failAfterHalf();
  await until('the log is down', () => !isUp());
  await until('the log is up', isUp);
  append(events('e1'));
  expect(answers()).toEqual(['1: 1', '2: 3', '3: 4', '4: 5', '1: 6']);
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  const log = await openLmdbLog(directory);
  const { events: kept } = await readAll(log, ['a', 'b', 'c', 'd', 'e']);
  expect(kept.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6]);
  await log.close();
});

test('a clock that is ahead for a while removes no revocation', async () => {
  await open();
  const hourMs = 3_600_000;
  const ask = async (number: number, question: Question): Promise<Answer | undefined> => {
    thread.take({ kind: 'ask', number, question });
    const find = () => told.find((one) => one.kind === 'answer' && one.number === number);
    await until('it is answered', () => find() !== undefined);
    return (find() as Extract<FromThread, { kind: 'answer' }>).answer;
  };
  const untilMs = Date.now() + hourMs;
  const row = { kind: 'revocation', key: 'ann', value: '1', untilMs };
  await ask(1, { kind: 'put row', row });
  const sweep = vi.spyOn(Store.prototype, 'sweep');
  const aheadMs = Date.now() + 24 * hourMs;
  const ahead = vi.spyOn(Date, 'now').mockImplementation(() => aheadMs);
  append(events('a1'));
  thread.take({ kind: 'rules', rules: PLAIN_LOG.rules });
  await until('it looks for what is over', () =>
    sweep.mock.calls.some(([nowMs]) => nowMs === aheadMs),
  );
  ahead.mockRestore();
  expect(await ask(2, { kind: 'rows', rowKind: 'revocation' })).toEqual({
    kind: 'rows',
    rows: [row],
  });
});

test('with async: what comes behind a deletion that waits for its commit is not answered before it', async () => {
  await open({ durability: 'async' });
  append(events('a1'));
  failAfterHalf();
  await until('the log is down', () => !isUp());
  // The deletion comes while the log recovers, and the event in the moment in which it is up.
  vi.spyOn(Store.prototype, 'settle').mockImplementationOnce(() => {
    append([{ channel: 'a', isDeletion: true }]);
  });
  const push = told.push.bind(told);
  told.push = (...messages) => {
    const count = push(...messages);
    const [message] = messages;
    if (message?.kind === 'state' && message.state.isUp) append(events('b1'), events('b2'));
    return count;
  };
  await until('all are answered', () => answers().length === 4);
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  const log = await openLmdbLog(directory);
  const { events: kept } = await readAll(log, ['a', 'b']);
  // The event before, the deletion, and the two behind it.
  expect(answers()).toEqual(['1: 1', '1: 2', '1: 3', '2: 4']);
  expect(kept.map(({ id, channel }) => [id, channel])).toEqual([
    [3, 'b'],
    [4, 'b'],
  ]);
  await log.close();
});

test('policies that change while a failed write is mended count from then on', async () => {
  await open();
  append(events('a1', 'a2', 'a3'));
  await until('they are kept', () => answers().length === 1);
  // oxlint-disable-next-line typescript/unbound-method
  const openStore = Store.open;
  vi.spyOn(Store, 'open').mockImplementationOnce(async (...asked) => {
    const store = await openStore.apply(Store, asked);
    thread.take({
      kind: 'rules',
      rules: rulesOf({ policies: [{ channels: 'a', keepEvents: 1 }] }),
    });
    return store;
  });
  failAfterHalf();
  append(events('b1'), events('c1'));
  await until('the log is down', () => !isUp());
  await until('the log is up', isUp);
  append(events('a4'));
  await until('it is kept', () => answers().length === 4);
  const last = told.findLast((message) => message.kind === 'committed');
  // One of the channel, and one of another.
  expect(last?.figures.events).toBe(2);
});

test('the newest events are read on when a write fails between two slices of them', async () => {
  await open();
  append(Array.from({ length: 600 }, (_, index) => event(`a${index + 1}`)));
  await until('they are kept', () => answers().length === 1);
  // oxlint-disable-next-line typescript/unbound-method
  const { step } = NewestSearch.prototype;
  vi.spyOn(NewestSearch.prototype, 'step').mockImplementationOnce(function slice(
    this: NewestSearch,
    ...asked
  ) {
    failAfterHalf();
    append(events('b1'), events('c1'));
    return step.apply(this, asked);
  });
  const bounds = { through: 600, eventsMax: 600, bytesMax: 1_000_000 };
  thread.take({ kind: 'ask', number: 1, question: { kind: 'newest', channel: 'a', ...bounds } });
  const find = () => told.find((one) => one.kind === 'answer');
  await until('it is answered', () => find() !== undefined);
  const { answer } = find() as Extract<FromThread, { kind: 'answer' }>;
  expect(isUp()).toBe(false);
  expect(answer).toMatchObject({ kind: 'page', through: 600, lostThrough: 0 });
  const { packed } = answer as Extract<Answer, { kind: 'page' }>;
  expect(unpackEvents(Buffer.from(packed), ['a'])).toHaveLength(600);
  await until('the log is up', isUp);
});

test('with async: the end comes where nothing can be written, and says what is lost', async () => {
  await open({ durability: 'async' });
  append(events('a1', 'a2'), events('b1'));
  expect(answers()).toEqual(['1: 1', '2: 3']);
  const commit = vi.spyOn(Store.prototype, 'commit').mockImplementation(() => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  });
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  // Once, and once into the room that is kept for it.
  expect(commit).toHaveBeenCalledTimes(2);
  const words = expect.stringMatching(
    /^3 entries that were acknowledged .* are lost: .*ENOSPC/,
  ) as string;
  expect(told.filter(({ kind }) => ['fault', 'lost'].includes(kind))).toEqual([
    { kind: 'lost', entries: 3, words },
  ]);
});

test('the end does not wait until all is forgotten that is above the bounds', async () => {
  await open();
  append(Array.from({ length: 5_000 }, () => event('a')));
  await until('they are kept', () => answers().length === 1);
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  told = [];
  const sweep = vi.spyOn(Store.prototype, 'sweep');
  await open({ rules: rulesOf({ retention: { events: 1, bytes: 0, ageMs: 0 } }) });
  thread.take({ kind: 'close' });
  await until('the log is closed', () => told.some(({ kind }) => kind === 'closed'));
  expect(sweep.mock.calls.length).toBeLessThan(2);
});
