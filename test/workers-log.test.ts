/** The log in a worker, on a supervisor with real links over a pipe in this process. */
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { SYSTEM_CLOCK } from '../src/clock.js';
import { Hub } from '../src/core/hub.js';
import type { LoggedEntry, NewEntry } from '../src/core/event.js';
import { LOG_UP, type LogRow, type LogRows, type Receipt } from '../src/core/event-log.js';
import { Idempotency } from '../src/core/idempotency.js';
import { makeCounters, type Counters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { LOG_SILENT_MS_MAX } from '../src/limits.js';
import { MemoryLog } from '../src/log/memory-log.js';
import { publishOnce, type PublishRequest } from '../src/transports/publish.js';
import { FRAME, readAppended, readPage } from '../src/workers/frames.js';
import { Link } from '../src/workers/link.js';
import { RingHistory } from '../src/workers/ring-history.js';
import { MemoryRows } from '../src/workers/rows.js';
import { Pool } from '../src/workers/shares.js';
import { Supervisor } from '../src/workers/supervisor.js';
import type { Welcome } from '../src/workers/talk.js';
import { WorkerLog } from '../src/workers/worker-log.js';
import type { WorkerProcess } from '../src/workers/worker-process.js';
import { FakeClock } from './support/fake-clock.js';
import { pipe } from './support/pipe.js';
import { welcomeOfAll } from './support/welcome.js';

/** A worker in this process. */
class FakeWorker {
  readonly link: Link;
  readonly child: ChildProcess;
  readonly rows: LogRow[] = [];
  log!: WorkerLog;

  constructor() {
    const [mine, theirs] = pipe();
    const child = Object.assign(new EventEmitter(), {
      stdio: [null, null, null, theirs],
      pid: 1,
      exitCode: null,
      kill: () => child.emit('exit', null, 'SIGKILL'),
    });
    this.child = child as unknown as ChildProcess;
    this.link = new Link(mine, {
      frame: (frame) => {
        if (frame.kind === FRAME.appended) {
          const { number, ids } = readAppended(frame);
          this.link.resolve(number, ids);
        } else if (frame.kind === FRAME.page) {
          const { number, page } = readPage(frame);
          this.link.resolve(number, page);
        } else if (frame.kind === FRAME.records) this.log.records(frame);
      },
      asked: (name, value) => {
        if (name === 'ping') {
          this.log.heard();
          this.link.tell('pong');
        }
        if (name === 'row') this.rows.push(value as LogRow);
        if (name === 'log') this.log.changed(value as never);
      },
      ended() {},
    });
  }

  async begin(): Promise<Welcome> {
    const welcome = await this.link.ask<Welcome>('hello', undefined);
    this.log = new WorkerLog(this.link, welcome.log);
    await this.log.open();
    const address = { host: '127.0.0.1', port: 1, opsPort: undefined };
    this.link.tell('listening', { address, build: null, problems: [] });
    return welcome;
  }
}

async function supervised(
  count = 2,
  rows?: LogRows,
): Promise<{
  readonly workers: FakeWorker[];
  readonly supervisor: Supervisor;
  readonly log: MemoryLog;
}> {
  const log = Object.assign(new MemoryLog(SYSTEM_CLOCK, makeCounters(), 101), { rows });
  const rings = new RingHistory(
    { replay: { events: 4, bytes: 1e6 }, replayTotalBytes: 1e7 },
    log.floor(),
  );
  const workers: FakeWorker[] = [];
  const supervisor = new Supervisor({
    log,
    history: rings,
    counters: makeCounters(),
    keep: (entries) => rings.take(entries),
    count,
    start() {
      const worker = new FakeWorker();
      workers.push(worker);
      setImmediate(() => void worker.begin());
      return worker.child;
    },
    welcome: welcomeOfAll(10),
    pools: { lines: new Pool<WorkerProcess>(10) },
    say() {},
  });
  await supervisor.start();
  onTestFinished(() => {
    supervisor.kill();
    supervisor.stop();
  });
  return { workers, supervisor, log };
}

function hubOn(log: WorkerLog, counters: Counters): Hub<object> {
  const hub = new Hub<object>(log, SYSTEM_CLOCK, counters, {
    replay: { events: 10, bytes: 1e6 },
    replayTotalBytes: 1e7,
    heartbeatMs: 10_000,
    flushIntervalMs: 0,
    slow: 'gap',
  });
  onTestFinished(() => hub.stop());
  return hub;
}

function event(data: string, channel = 'c'): NewEntry {
  return { channel, type: 'tick', data: Buffer.from(data), json: false };
}

/** What a log hands over from now on. */
function tailOf(log: WorkerLog): LoggedEntry[] {
  const taken: LoggedEntry[] = [];
  log.tail((entries) => taken.push(...entries));
  return taken;
}

const textOf = (entry: LoggedEntry): string =>
  'data' in entry ? Buffer.from(entry.data).toString() : 'deleted';

test('what any worker appends is handed to all in one order, before it is answered', async () => {
  const { workers } = await supervised();
  const tails = workers.map(({ log }) => tailOf(log));
  const ids = await Promise.all(
    Array.from({ length: 20 }, async (_none, index) => {
      const worker = index % 2;
      const [id] = await workers[worker]!.log.append([event(String(index))]);
      expect(tails[worker]!.some((entry) => entry.id === id)).toBe(true);
      return id;
    }),
  );
  await expect.poll(() => tails.map((tail) => tail.length)).toEqual([20, 20]);
  expect(tails[0]).toEqual(tails[1]);
  expect(tails[0]!.map(({ id }) => id)).toEqual(ids.toSorted((one, other) => one! - other!));
  expect(workers.map(({ log }) => log.lastId())).toEqual([120, 120]);
});

test('what is committed in one turn may be more than fits a frame', async () => {
  const { workers } = await supervised();
  const tails = workers.map(({ log }) => tailOf(log));
  const data = 'x'.repeat(3_000_000);
  await Promise.all(
    workers.map(({ log }, worker) => log.append([event(data), event(data), event(`w${worker}`)])),
  );
  await expect.poll(() => tails.map((tail) => tail.length)).toEqual([6, 6]);
  expect(tails[0]!.map(({ id }) => id)).toEqual([101, 102, 103, 104, 105, 106]);
});

test('history is read from the supervisor: pages, the newest, deletions, and what was lost', async () => {
  const { workers } = await supervised();
  const { log } = workers[0]!;
  tailOf(log);
  for (let i = 0; i < 3; i++) await log.append([event(`a${i}`, 'a'), event(`b${i}`, 'b')]);
  const channels = ['a', 'b'];
  const bounds = { through: log.lastId(), eventsMax: 4, bytesMax: 1e6 };
  const first = await log.history.read({ channels, after: 100, ...bounds });
  expect(first.events.map(textOf)).toEqual(['a0', 'b0', 'a1', 'b1']);
  expect(first).toMatchObject({ through: 104, lostThrough: 100 });
  const second = await log.history.read({ channels, after: first.through, ...bounds });
  expect(second.events.map(textOf)).toEqual(['a2', 'b2']);
  expect(second.through).toBe(106);
  const newest = await log.history.newest('a', { ...bounds, eventsMax: 2 });
  expect(newest.events.map(textOf)).toEqual(['a1', 'a2']);
  expect(newest.lostThrough).toBe(101);
  for (let i = 3; i < 6; i++) await log.append([event(`a${i}`, 'a')]);
  const later = { ...bounds, through: log.lastId() };
  const lapped = await log.history.read({ channels: ['a'], after: 100, ...later });
  expect(lapped.events.map(textOf)).toEqual(['a2', 'a3', 'a4', 'a5']);
  expect(lapped.lostThrough).toBe(103);
  await log.append([{ channel: 'a', isDeletion: true }]);
  const deleted = await log.history.read({ channels: ['a'], after: 100, ...later, through: 110 });
  expect(deleted.events).toEqual([]);
  expect(deleted.lostThrough).toBe(109);
  const areDeleted = (names: readonly string[]) =>
    Promise.all(names.map(async (name) => (await log.history.newest(name, later)).isDeleted));
  expect(await areDeleted(['a', 'b', 'never'])).toEqual([true, false, false]);
  await log.append([event('a6', 'a')]);
  expect(await areDeleted(['a'])).toEqual([false]);
  expect(await log.history.idBefore(Date.now() - 60_000)).toBe(100);
  expect(await log.history.idBefore(Date.now() + 60_000)).toBe(100);
});

test('times are found again as soon as a clock that was ahead is set back', async () => {
  let wallMs = 1_000_000;
  const clock = { ...SYSTEM_CLOCK, wallMs: () => wallMs };
  const replay = { events: 4, bytes: 1e6 };
  const rings = new RingHistory({ replay, replayTotalBytes: 1e7 }, 0, clock);
  for (const [index, atMs] of [1e6, 1e12, 1e12 + 5_000, 2e6, 3e6, 4e6].entries()) {
    wallMs = atMs;
    rings.take([{ ...event('x'), id: index + 1 }]);
  }
  expect(await rings.idBefore(999_999)).toBe(0);
  expect(await rings.idBefore(2.5e6)).toBe(3);
  expect(await rings.idBefore(3.5e6)).toBe(4);
});

test('receipts are those of all workers', async () => {
  const { workers } = await supervised();
  const request = { key: 'k', digest: 'd', subscribers: 2 };
  await workers[0]!.log.append([event('x')], request);
  expect(await workers[1]!.log.kept('other')).toBeUndefined();
  expect(await workers[1]!.log.kept('k')).toEqual({
    digest: 'd',
    receipt: { firstId: 101, lastId: 101, count: 1, subscribers: 2 },
  });
});

test('the same request to two workers at once is published, counted and charged for once', async () => {
  const { workers } = await supervised();
  const publishers = workers.map(({ log }) => {
    const counters = makeCounters();
    const hub = hubOn(log, counters);
    const idempotency = new Idempotency(log, counters);
    const published: number[] = [];
    const rates = {
      isOn: true,
      take() {},
      published: (_source: string, n: number) => published.push(n),
    };
    const publish = (digest: string): Promise<Receipt> => {
      const requestKey = { key: 'k', digest };
      const reservation = hub.reserve('c');
      const entries = [event('x'), event('y')];
      const submission = { reservation, read: () => entries };
      const request = { source: 'ann' } as PublishRequest;
      return publishOnce({ idempotency, rates }, request, { reservation, requestKey }, () =>
        hub.submit('c', submission, requestKey),
      );
    };
    return { counters, published, publish };
  });
  const receipts = await Promise.all(publishers.map(({ publish }) => publish('d')));
  const receipt = { firstId: 101, lastId: 102, count: 2, subscribers: 0 };
  expect(receipts).toEqual([receipt, receipt]);
  const sumOf = (name: 'events_accepted_total' | 'idempotent_repeats_total'): number =>
    publishers.reduce((sum, { counters }) => sum + counters[name], 0);
  expect([sumOf('events_accepted_total'), sumOf('idempotent_repeats_total')]).toEqual([2, 1]);
  const charged = publishers.flatMap(({ published }) => published).filter((count) => count > 0);
  expect(charged).toEqual([2]);
  for (const { publish } of publishers)
    await expect(publish('other')).rejects.toMatchObject({ code: 'HOLDLINE_IDEMPOTENCY_MISMATCH' });
});

test('rows of one worker reach the others, and a worker that begins later', async () => {
  const { workers } = await supervised();
  const untilMs = Date.now() + 60_000;
  await workers[0]!.log.rows.put('revocation', 'ann', '1', untilMs);
  await expect
    .poll(() => workers[1]!.rows)
    .toEqual([{ kind: 'revocation', key: 'ann', value: '1', untilMs }]);
  expect(workers[0]!.rows).toEqual([]);
  workers[1]!.child.kill();
  await expect.poll(() => workers.length).toBe(3);
  await expect.poll(() => workers[2]!.log).toBeDefined();
  expect(await workers[2]!.log.rows.load('revocation')).toHaveLength(1);
  expect(await workers[2]!.log.rows.load('other')).toEqual([]);
});

test('a row that the log cannot keep is refused, and counts until all have ended', async () => {
  const untilMs = Date.now() + 60_000;
  const kept: LogRow[] = [{ kind: 'revocation', key: 'bob', value: '1', untilMs }];
  const full = new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', 'no room');
  const { workers } = await supervised(2, {
    load: () => Promise.resolve(kept),
    put: () => Promise.reject(full),
    onChange: undefined,
  });
  await expect(workers[0]!.log.rows.put('revocation', 'ann', '1', untilMs)).rejects.toMatchObject({
    code: 'HOLDLINE_LOG_UNAVAILABLE',
  });
  await expect.poll(() => workers[1]!.rows.map(({ key }) => key)).toEqual(['ann']);
  workers[0]!.child.kill();
  await expect.poll(() => workers.length).toBe(3);
  await expect.poll(() => workers[2]!.log).toBeDefined();
  const found = await workers[2]!.log.rows.load('revocation');
  expect(found.map(({ key }) => key)).toEqual(['bob', 'ann']);
});

test('a clock that is ahead for a while takes no row', async () => {
  let [wallMs, nowMs] = [1e12, 0];
  const rows = new MemoryRows({ wallMs: () => wallMs, nowMs: () => nowMs });
  await rows.put('revocation', 'ann', '1', 1e12 + 60_000);
  wallMs += 120_000;
  await rows.put('revocation', 'bob', '1', 1e12 + 600_000);
  wallMs -= 120_000;
  expect(await rows.load('revocation')).toHaveLength(2);
  wallMs += 120_000;
  nowMs += 120_000;
  expect(await rows.load('revocation')).toHaveLength(1);
});

test('what a worker is handed while it closes holds up no publisher', async () => {
  const { workers, supervisor } = await supervised();
  const [one, other] = workers as [FakeWorker, FakeWorker];
  tailOf(one.log);
  const stop = other.log.tail(() => {});
  stop();
  await one.log.append([event('x')]);
  await expect.poll(() => supervisor.held.onTheWay).toBe(0);
});

test('a worker that began while the log was down for a moment hears that it is up', async () => {
  const { workers, supervisor, log } = await supervised();
  supervisor.pinging();
  Object.assign(log, { state: { isUp: false, problem: 'for a moment' } });
  workers[1]!.child.kill();
  await expect.poll(() => workers[2]?.log?.isOpen).toBe(true);
  expect(workers[2]!.log.state.isUp).toBe(false);
  Object.assign(log, { state: { isUp: true, problem: '' } });
  supervisor.pinging();
  await expect.poll(() => workers[2]!.log.state.isUp).toBe(true);
});

test('a channel whose lines in one worker take nothing waits in all, and no other does', async () => {
  const { workers } = await supervised();
  const [fast, slow] = workers as [FakeWorker, FakeWorker];
  tailOf(fast.log);
  let queued = 0;
  slow.log.tail((entries) => {
    queued += entries.filter(({ channel }) => channel === 'slow').length;
  });
  slow.log.queueLengthOf = (channel) => (channel === 'slow' ? queued : 0);
  const data = 'x'.repeat(100_000);
  let answered = 0;
  const publishes = Array.from({ length: 30 }, async () => {
    await fast.log.append([event(data, 'slow')]);
    answered++;
  });
  await expect.poll(() => answered).toBeGreaterThanOrEqual(10);
  for (let i = 0; i < 20; i++) await fast.log.append([event('x', 'other')]);
  expect(answered).toBe(10);
  // Its lines take everything: the rest goes on.
  slow.log.queueLengthOf = () => 0;
  await Promise.all(publishes);
  await expect.poll(() => queued).toBe(30);
});

test('a position that another worker has told is waited for, one of no worker is not', async () => {
  const { workers, log } = await supervised();
  const worker = workers[0]!;
  const hub = hubOn(worker.log, makeCounters());
  await worker.log.append([event('first')]);
  expect(hub.ready(['c'], { kind: 'after', id: 101 })).toBeUndefined();
  // Committed, and not here yet.
  const [id] = await log.append([event('second')]);
  const ready = hub.ready(['c'], { kind: 'after', id: id! });
  expect(worker.log.lastId()).toBe(101);
  await ready;
  expect(worker.log.lastId()).toBe(id);
  expect(hub.startOf(['c'], { kind: 'after', id: id! }).gap).toBeUndefined();
  await hub.ready(['c'], { kind: 'after', id: 9_999 });
});

test('when the supervisor is gone, what was asked is unknown, and what is asked is refused', async () => {
  const [mine, theirs] = pipe();
  const link = new Link(mine, { frame() {}, asked() {}, ended() {} });
  const state = { isUp: true, problem: '' };
  const log = new WorkerLog(link, { floor: 0, lastId: 0, state });
  const asked = log.append([event('x')]);
  theirs.destroy();
  await expect(asked).rejects.toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
  expect(log.state.isUp).toBe(false);
  const unavailable = { code: 'HOLDLINE_LOG_UNAVAILABLE' };
  await expect(log.append([event('x')])).rejects.toMatchObject(unavailable);
  await expect(log.kept('k')).rejects.toMatchObject(unavailable);
  await expect(log.history.idBefore(1)).rejects.toMatchObject(unavailable);
});

test('while the supervisor stands still its log is down, and a publish is answered', async () => {
  const [mine, theirs] = pipe();
  const facts = { floor: 100, lastId: 100, state: LOG_UP };
  const parent = new Link(theirs, { frame() {}, asked: () => facts, ended() {} });
  const link = new Link(mine, { frame() {}, asked() {}, ended() {} });
  onTestFinished(() => parent.close());
  const clock = new FakeClock();
  const log = new WorkerLog(link, facts, clock);
  await log.open();
  const pass = (ms: number): void => {
    for (const untilMs = clock.nowMs() + ms; clock.nowMs() < untilMs; clock.runTimers())
      clock.pass(100);
  };
  const appended = log.append([event('x')]).catch((error: unknown) => error);
  pass(LOG_SILENT_MS_MAX - 200);
  expect(log.state.isUp).toBe(true);
  log.heard();
  pass(LOG_SILENT_MS_MAX - 200);
  expect(log.state.isUp).toBe(true);
  pass(400);
  expect(log.state.problem).toBe('the process that keeps the log has said nothing for 6 s');
  expect(await appended).toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
  await expect(log.append([event('x')])).rejects.toMatchObject({
    code: 'HOLDLINE_LOG_UNAVAILABLE',
  });
  log.heard();
  expect(log.state.isUp).toBe(true);
  pass(LOG_SILENT_MS_MAX + 200);
  expect(log.state.isUp).toBe(false);
  await log.close();
});
