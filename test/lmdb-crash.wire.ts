/** What a log on disk keeps when its process, or only its thread, ends in the middle of work. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { MessagePort, Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { LmdbLog } from '../dist/log/lmdb/lmdb-log.js';
import type { LoggedEntry } from '../src/core/event.js';
import { LOG_OUTCOME_MS_MAX, LOG_RESTART_MS_MAX } from '../src/limits.js';
import { event, events, namesOf, readAll } from './log-contract.js';
import { crashRound } from './support/crash-log.js';
import { FakeClock, settlePromises } from './support/fake-clock.js';
import { logDirectory, openLmdbLog, PLAIN_LOG } from './support/lmdb-log.js';
import { until } from './support/until.js';

const EXITING = fileURLToPath(new URL('support/exiting-appender.ts', import.meta.url));

let directory: string;
beforeEach(() => {
  directory = logDirectory();
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

test('a process that is killed loses nothing that was acknowledged, and gives no id twice', async () => {
  const known = new Map<number, string>();
  const faults: string[] = [];
  for (const [round, killAfter] of [1, 40, 300].entries()) {
    const result = await crashRound(directory, round, killAfter, known);
    faults.push(...result.faults);
    expect(result.acknowledged).toBeGreaterThanOrEqual(killAfter);
  }
  expect(faults).toEqual([]);
  expect(known.size).toBeGreaterThan(300);
});

test('a process that exits while its log writes does end', async () => {
  const ends = Array.from({ length: 4 }, async (_, index) => {
    const own = join(directory, String(index));
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', EXITING, own, String(20 + 15 * index)],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const kill = setTimeout(() => child.kill('SIGKILL'), 45_000);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(kill);
    return code;
  });
  expect(await Promise.all(ends)).toEqual(ends.map(() => 7));
});

describe('with async: what a crash may have lost', () => {
  /** As a process that is killed leaves a log: with the lease that it had. */
  async function crashed(from: string, name: string): Promise<string> {
    const log = await openLmdbLog(from, { durability: 'async' });
    await log.append(events(name));
    // A question has it committed.
    await readAll(log, ['a']);
    const left = `${from}.${name}`;
    cpSync(from, left, { recursive: true });
    await log.close();
    onTestFinished(() => rmSync(left, { recursive: true, force: true }));
    return left;
  }

  const pageOf = async (log: LmdbLog, after: number) => {
    const page = await log.history.read({
      channels: ['a'],
      after,
      through: log.lastId(),
      eventsMax: 9,
      bytesMax: 1e6,
    });
    return [namesOf(page.events), page.through, page.lostThrough];
  };

  test('is told behind the last event that is there, also after the next starts', async () => {
    const first = await crashed(directory, 'a1');
    const twice = await crashed(first, 'a2');
    for (const start of ['after the crash', 'in order']) {
      const log = await openLmdbLog(twice);
      if (start === 'after the crash') await log.append(events('a3'));
      const last = 2_000_003;
      expect(log.lastId()).toBe(last);
      const pages = [await pageOf(log, 0)];
      for (let end = 0; end < last; pages.push(await pageOf(log, end)))
        end = pages.at(-1)![1] as number;
      expect([start, ...pages]).toEqual([
        start,
        [['a1'], 1, 0],
        [['a2'], 1_000_002, 1_000_001],
        [['a3'], last, 2_000_002],
        // Whoever is behind the holes has lost nothing.
        [[], last, 0],
      ]);
      const bounds = { through: last, eventsMax: 9, bytesMax: 1e6 };
      const newest = await log.history.newest('a', bounds);
      expect([namesOf(newest.events), newest.lostThrough]).toEqual([['a1', 'a2', 'a3'], 2_000_002]);
      await log.close();
    }
  });

  test('is nothing where the log was closed', async () => {
    for (const name of ['a1', 'a2']) {
      const log = await openLmdbLog(directory, { durability: 'async' });
      await log.append(events(name));
      await log.close();
    }
    const log = await openLmdbLog(directory);
    expect(await pageOf(log, 0)).toEqual([['a1', 'a2'], 2, 0]);
    await log.close();
  });
});

/** The threads that logs have spoken to. */
function spyOnThreads(): Worker[] {
  const workers: Worker[] = [];
  // oxlint-disable-next-line typescript/unbound-method
  const { postMessage } = Worker.prototype;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function send(
    this: Worker,
    ...args
  ) {
    if (!workers.includes(this)) workers.push(this);
    postMessage.apply(this, args);
  });
  return workers;
}

/** Ends a thread by an error of its own, between two turns, as a fault in it would. */
async function crash(thread: Worker): Promise<void> {
  const ended = new Promise((resolve) => void thread.once('exit', resolve));
  thread.postMessage(undefined, []);
  await ended;
}

describe('a thread that ends', () => {
  test('is started again; each append in flight was committed whole or refused, in order', async () => {
    const workers = spyOnThreads();
    const reported: unknown[] = [];
    const log = await openLmdbLog(directory, { report: (error) => reported.push(error) });
    const seen: LoggedEntry[] = [];
    log.tail((batch) => void seen.push(...batch));
    await log.append(events('a1'));
    const given = Array.from({ length: 40 }, (_, index) => log.append([event(`a${index + 2}`)]));
    const question = log.history.newest('a', { through: 1, eventsMax: 1, bytesMax: 1 });
    await new Promise(setImmediate);
    const ended = Promise.allSettled([...given, question]);
    await crash(workers[0]!);
    await until('the log is down', () => !log.state.isUp);
    expect(log.state.problem).toMatch(/started again/);
    await expect(log.append(events('a99'))).rejects.toMatchObject({
      code: 'HOLDLINE_LOG_UNAVAILABLE',
    });
    await until('the log is up', () => log.state.isUp);
    const outcomes = await ended;
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: 'HOLDLINE_LOG_UNAVAILABLE' });
    const ids = outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' && !('events' in outcome.value) ? [...outcome.value] : [],
    );
    await log.append(events('b1'));
    expect(seen.map(({ id }) => id)).toEqual([1, ...ids, log.lastId()]);
    const page = await readAll(log, ['a', 'b']);
    expect(namesOf(page.events)).toEqual(namesOf(seen));
    expect(reported).toHaveLength(1);
    await log.close();
  });

  test('again and again: publishers hear that the outcome is unknown 3 s after the first end', async () => {
    const workers = spyOnThreads();
    const clock = new FakeClock();
    const faults: string[] = [];
    const report = (error: unknown): void => void faults.push(String(error));
    const log = await openLmdbLog(directory, { clock, report });
    log.keepTo(PLAIN_LOG.rules);
    const crashed = crash(workers[0]!);
    // It is sent when the thread has ended, and not known to have.
    let outcome: unknown;
    log.append(events('a1')).catch((error: unknown) => (outcome = error));
    clock.runSoon();
    await crashed;
    // Not while the thread has the file mapped: what is cut off there ends the process (SIGBUS).
    const file = join(directory, 'data.mdb');
    const whole = readFileSync(file);
    writeFileSync(file, 'damaged');
    for (let ends = 1; ends <= 5; ends++) {
      const ended = (): string[] => faults.filter((words) => words.includes('log ended'));
      await until('the thread has ended', () => ended().length === ends);
      // More than the pause before the next start.
      await clock.run(LOG_OUTCOME_MS_MAX / 4);
    }
    await settlePromises();
    expect(outcome).toMatchObject({ code: 'HOLDLINE_OUTCOME_UNKNOWN' });
    writeFileSync(file, whole);
    await until('the log is up', () => {
      clock.pass(LOG_RESTART_MS_MAX);
      clock.runTimers();
      return log.state.isUp;
    });
    const next = log.append(events('a2'));
    clock.runSoon();
    expect(await next).toEqual([1]);
    await log.close();
  });

  test('is started again, when the system has no thread for it at first', async () => {
    const workers = spyOnThreads();
    const reported: unknown[] = [];
    const log = await openLmdbLog(directory, { report: (error) => reported.push(error) });
    await log.append(events('a1'));
    await crash(workers[0]!);
    // A thread that is made is handed its program over a port; without one `new Worker` throws.
    const refused = vi.spyOn(MessagePort.prototype, 'postMessage').mockImplementationOnce(() => {
      throw new Error('EAGAIN');
    });
    await until('the log is up', () => refused.mock.calls.length > 0 && log.state.isUp);
    await log.append(events('a2'));
    expect(reported.map(String)).toEqual([
      expect.stringContaining('the thread of the log ended'),
      expect.stringContaining('EAGAIN'),
    ]);
    await log.close();
  });

  test('with async: ids that were given before are not given again', async () => {
    const workers = spyOnThreads();
    const log = await openLmdbLog(directory, { durability: 'async' });
    const given = await Promise.all([log.append(events('a1')), log.append(events('a2'))]);
    await crash(workers[0]!);
    await until('the log is down', () => !log.state.isUp);
    await until('the log is up', () => log.state.isUp);
    const [id] = await log.append(events('a3'));
    expect(given.flat()).toEqual([1, 2]);
    expect(id).toBeGreaterThan(1_000_000);
    expect(log.lastId()).toBe(id);
    await log.close();
  });
});
