/** Refusals in the log: what an entry has, which are left out, and what no entry has. */
import { expect, test } from 'vitest';
import { HoldlineError, type RefusalCode } from '../src/errors.js';
import { makeCounters } from '../src/counters.js';
import { reasonOf, Refusals, type RefusalInfo } from '../src/http/refusals.js';
import { REFUSAL_LOG_MS } from '../src/limits.js';
import { refusalLog } from '../src/refusal-log.js';

function refusal(code: RefusalCode, reason = 'why'): RefusalInfo {
  return { code, reason, method: 'GET', transport: 'sse', remoteAddress: '192.0.2.1' };
}

/** A log that keeps its entries, on a clock of the test's own. */
function logging(isDebug = false) {
  const entries: unknown[] = [];
  const keep =
    (level: string) =>
    (fields: unknown, message: string): void =>
      void entries.push({ level, ...(fields as object), message });
  const clock = { nowMs: 0 };
  const log = {
    info: keep('info'),
    warn: keep('warn'),
    isLevelEnabled: (level: string) => level !== 'debug' || isDebug,
  } as unknown as Parameters<typeof refusalLog>[0];
  const counters = makeCounters();
  return { entries, clock, counters, say: refusalLog(log, counters, () => clock.nowMs) };
}

test('of each code there is one entry a second, with the number of those left out before it', () => {
  const { entries, clock, counters, say } = logging();
  for (let i = 0; i < 5; i++) say(refusal('HOLDLINE_UNAUTHORIZED'));
  say(refusal('HOLDLINE_LINES_FULL'));
  clock.nowMs = REFUSAL_LOG_MS - 1;
  say(refusal('HOLDLINE_UNAUTHORIZED'));
  expect(counters.server_log_suppressed_total).toBe(5);
  clock.nowMs = REFUSAL_LOG_MS;
  say(refusal('HOLDLINE_UNAUTHORIZED', 'again'));
  const fields = { reason: 'why', method: 'GET', transport: 'sse', address: '192.0.2.1' };
  expect(entries).toEqual([
    { level: 'info', code: 'HOLDLINE_UNAUTHORIZED', ...fields, message: 'refused' },
    { level: 'warn', code: 'HOLDLINE_LINES_FULL', ...fields, message: 'refused' },
    {
      level: 'info',
      code: 'HOLDLINE_UNAUTHORIZED',
      ...fields,
      reason: 'again',
      suppressed: 5,
      message: 'refused',
    },
  ]);
});

test('at the level debug there is an entry for each', () => {
  const { entries, counters, say } = logging(true);
  for (let i = 0; i < 5; i++) say(refusal('HOLDLINE_UNAUTHORIZED'));
  expect(entries).toHaveLength(5);
  expect(counters.server_log_suppressed_total).toBe(0);
  expect(entries[4]).not.toHaveProperty('suppressed');
});

test('a refusal is counted by its code and its kind, and told without what the client sent', () => {
  const counters = makeCounters();
  const told: RefusalInfo[] = [];
  const refusals = new Refusals(counters, (one) => told.push(one));
  const from = { method: 'X'.repeat(100), transport: 'http', address: '' } as const;
  refusals.note('refused_total', new HoldlineError('HOLDLINE_BAD_JSON', 'no'), from);
  refusals.note('messages_refused_total', new HoldlineError('HOLDLINE_BAD_JSON', 'no'), from);
  expect(counters).toMatchObject({
    refused: { HOLDLINE_BAD_JSON: 2 },
    refused_total: 1,
    messages_refused_total: 1,
    refused_temporary_total: 0,
  });
  expect(told[0]).toEqual({
    code: 'HOLDLINE_BAD_JSON',
    reason: 'no',
    method: 'X'.repeat(32),
    transport: 'http',
    remoteAddress: undefined,
  });
});

test('the address is read only where somebody wants it', () => {
  const from = {
    method: 'GET',
    transport: 'http',
    get address(): string {
      throw new Error('read');
    },
  } as const;
  const error = new HoldlineError('HOLDLINE_NOT_FOUND', 'nothing');
  expect(() => new Refusals(makeCounters()).note('refused_total', error, from)).not.toThrow();
});

test.each([
  ['HOLDLINE_BAD_POSITION', 'since must be an id (got "s3cret")', 'since must be an id (got "…")'],
  ['HOLDLINE_BAD_QUERY', String.raw`"a\"s3cret\\" and "b"`, '"…" and "…"'],
  ['HOLDLINE_BAD_MESSAGE', '"data" is missing; "s3cret" is not', '"data" is missing; "…" is not'],
  ['HOLDLINE_BAD_HOST', 'the Host "example" is not served', 'the Host "example" is not served'],
] as const)('the reason of a %s shows no quoted text of the client', (code, message, reason) => {
  expect(reasonOf(new HoldlineError(code, message))).toBe(reason);
});
