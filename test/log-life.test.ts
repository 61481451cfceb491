/**
 * A server's log around its library: when it is opened and closed, how its commits are timed, what
 * an operator is told, and revocations that are kept in it.
 */
import { describe, expect, test } from 'vitest';
import { Revocations, type Revocation } from '../src/auth/revocations.js';
import { makeRights } from '../src/auth/rights.js';
import type { LogRow, LogRows } from '../src/core/event-log.js';
import { makeCounters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { KeptRevocations } from '../src/log/kept-revocations.js';
import { LateLog } from '../src/log/late-log.js';
import { makeLog } from '../src/log/make-log.js';
import { MemoryLog } from '../src/log/memory-log.js';
import { resolveOptions } from '../src/options/settings.js';
import { LogLife } from '../src/server/log-life.js';
import { LogWatch } from '../src/server/log-watch.js';
import { FakeClock } from './support/fake-clock.js';
import { KeepingLog, KeepingStore, type Faults } from './support/keeping-log.js';

const EVENT = { channel: 'c', type: undefined, data: Buffer.from('x'), json: false };
const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });
const BAD_LOG = new HoldlineError('HOLDLINE_BAD_LOG', 'the directory is of another program');

/** A late log over one that keeps in memory, with the clock that both have. */
function lateLog(faults: Faults = {}) {
  const clock = new FakeClock();
  const counters = makeCounters();
  const inner = new KeepingLog(new KeepingStore(5), faults, clock);
  let loads = 0;
  const load = (): Promise<KeepingLog> => {
    loads++;
    return Promise.resolve(inner);
  };
  const log = new LateLog(load, clock, counters);
  return { log, inner, clock, counters, loads: () => loads };
}

/** Lets promises that are settled be heard. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('a late log', () => {
  test('is not loaded before it is opened, and then once', async () => {
    const { log, loads } = lateLog();
    expect([loads(), log.isOpen, log.state.isUp]).toEqual([0, false, false]);
    await expect(log.append([EVENT])).rejects.toThrow(code('HOLDLINE_LOG_UNAVAILABLE'));
    await expect(log.kept('k')).rejects.toThrow(code('HOLDLINE_LOG_UNAVAILABLE'));
    await expect(log.history.idBefore(1)).rejects.toThrow(code('HOLDLINE_LOG_UNAVAILABLE'));
    await Promise.all([log.open(), log.open()]);
    await log.open();
    expect([loads(), log.isOpen, log.state.isUp, log.lastId(), log.floor()]).toEqual([
      1,
      true,
      true,
      4,
      4,
    ]);
    expect(await log.append([EVENT])).toEqual([5]);
  });

  test.each([
    ['HOLDLINE_LOG_UNAVAILABLE', 1],
    ['HOLDLINE_OUTCOME_UNKNOWN', 1],
    ['HOLDLINE_TOO_LARGE', 0],
    ['HOLDLINE_IDEMPOTENCY_MISMATCH', 0],
  ] as const)(
    'counts an append that ends with %s as %d failures of the log',
    async (refusal, count) => {
      const { log, inner, counters } = lateLog();
      await log.open();
      inner.append = () => Promise.reject(new HoldlineError(refusal, 'no'));
      await expect(log.append([EVENT])).rejects.toThrow(code(refusal));
      expect(counters.log_append_failures_total).toBe(count);
    },
  );

  test('that could not be opened may be opened again', async () => {
    let attempts = 0;
    const load = (): Promise<MemoryLog> => {
      if (attempts++ === 0) return Promise.reject(BAD_LOG);
      return Promise.resolve(new MemoryLog(new FakeClock(), makeCounters(), 1));
    };
    const log = new LateLog(load, new FakeClock(), makeCounters());
    await expect(log.open()).rejects.toThrow(BAD_LOG);
    await log.close();
    expect(log.isOpen).toBe(false);
    await log.open();
    expect(log.isOpen).toBe(true);
  });

  test('times commits and reads, and counts appends that fail', async () => {
    let fault: 'unavailable' | 'unknown' | undefined;
    const { log, clock, counters } = lateLog({
      appendMs: () => 40,
      readMs: () => 2,
      appendFault: () => fault,
    });
    await log.open();
    const append = log.append([EVENT]);
    await clock.run(40);
    await append;
    const read = log.history.newest('c', { through: 9, eventsMax: 1, bytesMax: 1 });
    await clock.run(2);
    expect((await read).events).toHaveLength(1);
    const { commit, read: reads } = log.times;
    const bucketOf = (seconds: number): number =>
      commit.bounds.findIndex((bound) => seconds <= bound);
    expect(commit.counts[bucketOf(0.041)]).toBe(1);
    expect(reads.counts[bucketOf(0.0021)]).toBe(1);
    for (fault of ['unavailable', 'unknown'] as const) {
      const failing = log.append([EVENT]).catch((error: unknown) => error);
      await clock.run(40);
      expect(await failing).toBeInstanceOf(HoldlineError);
    }
    expect(counters.log_append_failures_total).toBe(2);
    expect(commit.counts.reduce((sum, count) => sum + count)).toBe(1);
  });
});

describe('the log that the settings ask for', () => {
  const made = (options: Parameters<typeof resolveOptions>[0]) =>
    makeLog(resolveOptions(options), new FakeClock(), makeCounters());

  test('is in memory, and open, unless they say otherwise', () => {
    expect(made({})).toBeInstanceOf(MemoryLog);
    expect(made({ firstId: 7 }).floor()).toBe(6);
  });

  test.each(['lmdb:/nowhere/at/all', 'nats://127.0.0.1:1'])(
    '%s is made without its library',
    (log) => {
      const late = made({ log });
      expect(late).toBeInstanceOf(LateLog);
      expect(late.isOpen).toBe(false);
    },
  );

  test('names the option of a file that cannot be read', async () => {
    const log = made({ log: 'nats://127.0.0.1:1', natsCreds: '/nowhere/nats.creds' });
    await expect(log.open()).rejects.toThrow(
      /^--nats-creds: "\/nowhere\/nats.creds" cannot be read \(ENOENT/,
    );
  });
});

describe('the life of a log', () => {
  test('begins once, with whoever needs it first', async () => {
    const { log, clock } = lateLog({ openMs: () => 10 });
    let begun = 0;
    const life = new LogLife(log, () => void begun++);
    const first = life.opened();
    const second = life.opened();
    await turn();
    expect([begun, log.isOpen]).toEqual([0, false]);
    await clock.run(10);
    await Promise.all([first, second]);
    expect([begun, life.opened()]).toEqual([1, undefined]);
  });

  test('nobody waits for a log in memory', () => {
    const life = new LogLife(new MemoryLog(new FakeClock(), makeCounters()), () => {
      throw new Error('it has begun already');
    });
    expect(life.opened()).toBeUndefined();
  });

  test('goes on after a failure', async () => {
    let fails = true;
    const clock = new FakeClock();
    const log = new LateLog(
      () => {
        if (fails) return Promise.reject(BAD_LOG);
        return Promise.resolve(new MemoryLog(clock, makeCounters()));
      },
      clock,
      makeCounters(),
    );
    const life = new LogLife(log, () => {});
    await expect(life.opened()).rejects.toThrow(BAD_LOG);
    fails = false;
    await life.opened();
    expect(log.isOpen).toBe(true);
  });

  test('ends while it is opened: the log is closed when it is open, and never begins', async () => {
    const { log, clock } = lateLog({ openMs: () => 10 });
    const life = new LogLife(log, () => {
      throw new Error('it has ended');
    });
    const opening = life.opened();
    opening?.catch(() => {});
    const closing = life.close();
    await turn();
    await clock.run(10);
    await expect(opening).rejects.toThrow(code('HOLDLINE_DRAINING'));
    await closing;
    await expect(life.opened()).rejects.toThrow(code('HOLDLINE_DRAINING'));
  });

  test('ends in bounded time when the log does not', async () => {
    const { log } = lateLog({ openMs: () => 1e9 });
    const opened = lateLog();
    await opened.log.open();
    opened.inner.close = () => new Promise(() => {});
    const beganMs = performance.now();
    await new LogLife(opened.log, () => {}, 20).close();
    const life = new LogLife(log, () => {});
    const opening = life.opened()?.catch((error: unknown) => error);
    await turn();
    await life.close();
    expect(await opening).toEqual(code('HOLDLINE_DRAINING'));
    expect(performance.now() - beganMs).toBeLessThan(3_000);
  });
});

test('an operator is told once that the log is down, why, and for how long it was', async () => {
  const clock = new FakeClock();
  const log = { state: { isUp: true, problem: '' } };
  const told: string[] = [];
  const watch = new LogWatch(log, clock, (words) => told.push(words));
  watch.start();
  // The start failed for another reason, and was tried again.
  watch.start();
  await clock.run(3_000);
  log.state = { isUp: false, problem: 'the disk is full' };
  await clock.run(5_000);
  log.state = { isUp: true, problem: '' };
  await clock.run(1_000);
  expect(told).toEqual([
    'the log is down, and publishes are refused with 503: the disk is full',
    'the log takes events again, after 5 s',
  ]);
  watch.stop();
  log.state = { isUp: false, problem: 'later' };
  await clock.run(5_000);
  expect(told).toHaveLength(2);
});

/** Rows in memory that several servers share; each hears what others put. */
class SharedRows {
  readonly rows = new Map<string, LogRow>();
  readonly #members: LogRows[] = [];
  problem: Error | undefined;

  member(): LogRows {
    const member: LogRows = {
      onChange: undefined,
      load: (kind) => Promise.resolve([...this.rows.values()].filter((row) => row.kind === kind)),
      put: (kind, key, value, untilMs) => {
        if (this.problem !== undefined) return Promise.reject(this.problem);
        const row = { kind, key, value, untilMs };
        this.rows.set(`${kind} ${key}`, row);
        for (const other of this.#members) if (other !== member) other.onChange?.(row);
        return Promise.resolve();
      },
    };
    this.#members.push(member);
    return member;
  }
}

describe('revocations that are kept', () => {
  const DAY_MS = 86_400_000;
  const NOW_MS = 1_800_000_000_000;
  const CLOCK = { wallMs: () => NOW_MS, nowMs: () => 0 };
  const isRevoked = (table: Revocations, user: string, issuedAtMs = NOW_MS - 1_000): boolean => {
    try {
      table.check(makeRights({ user, credential: 'x', grants: {}, issuedAtMs }));
      return false;
    } catch (error) {
      expect(error).toEqual(code('HOLDLINE_REVOKED'));
      return true;
    }
  };
  const tableOn = async (shared: SharedRows) => {
    const table = new Revocations(DAY_MS, CLOCK);
    const heard: Revocation[] = [];
    await table.keepIn(new KeptRevocations(shared.member(), (one) => heard.push(one)));
    return { table, heard };
  };

  test('outlive the process, and reach servers that share the log', async () => {
    const shared = new SharedRows();
    const { table } = await tableOn(shared);
    const other = await tableOn(shared);
    table.revoke('ada');
    await table.keep('ada');
    const { untilMs } = shared.rows.get('revocation ada')!;
    expect(untilMs).toBeGreaterThan(NOW_MS + DAY_MS);
    expect(other.heard).toEqual([{ user: 'ada', notBeforeMs: NOW_MS }]);
    const { table: next } = await tableOn(shared);
    expect([isRevoked(next, 'ada'), isRevoked(next, 'bob')]).toEqual([true, false]);
    expect(isRevoked(next, 'ada', NOW_MS + 1_000)).toBe(false);
  });

  test('are taken in the order of their times, since the oldest is dropped first', async () => {
    const shared = new SharedRows();
    const rows = shared.member();
    await rows.put('revocation', 'late', String(NOW_MS), NOW_MS + DAY_MS);
    await rows.put('revocation', 'early', String(NOW_MS - 1_000), NOW_MS + DAY_MS);
    await rows.put('other', 'x', '1', NOW_MS + DAY_MS);
    await rows.put('revocation', 'odd', 'not a time', NOW_MS + DAY_MS);
    const { table } = await tableOn(shared);
    expect(table.entries().map(([user]) => user)).toEqual(['early', 'late']);
  });

  test('count here although the log could not keep them, and say so', async () => {
    const shared = new SharedRows();
    const { table } = await tableOn(shared);
    shared.problem = new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', 'no answer');
    table.revoke('ada');
    await expect(table.keep('ada')).rejects.toThrow(
      expect.objectContaining({
        code: 'HOLDLINE_LOG_UNAVAILABLE',
        message:
          'the user is revoked on this server, and that could not be kept (no answer); ask again',
      }),
    );
    expect(isRevoked(table, 'ada')).toBe(true);
  });

  test('without a log that keeps there is nothing to wait for', () => {
    const table = new Revocations(DAY_MS, CLOCK);
    table.revoke('ada');
    expect(table.keep('ada')).toBeUndefined();
  });
});
