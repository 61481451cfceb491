/** Revocations: what they refuse, for how long, and what a full table does. */
import { beforeEach, expect, test } from 'vitest';
import { Revocations } from '../src/auth/revocations.js';
import { makeRights, type Rights } from '../src/auth/rights.js';
import { REVOCATIONS_MAX } from '../src/limits.js';

const DAY_MS = 86_400_000;
let nowMs = 0;
/** How far the wall clock is set ahead. */
let aheadMs = 0;
beforeEach(() => {
  nowMs = 1_800_000_000_500;
  aheadMs = 0;
});

const revocations = (lifetimeMs = DAY_MS): Revocations =>
  new Revocations(lifetimeMs, { wallMs: () => nowMs + aheadMs, nowMs: () => nowMs });
const issued = (user: string | undefined, issuedAtMs: number | undefined): Rights =>
  makeRights({ user, credential: 'x', grants: {}, issuedAtMs });

const REVOKED: unknown = expect.objectContaining({ code: 'HOLDLINE_REVOKED' });

test('what was issued until then is refused, also in the same second, and nothing later', () => {
  const table = revocations();
  table.revoke('ann');
  expect(() => table.check(issued('ann', nowMs - 1))).toThrow(REVOKED);
  expect(() => table.check(issued('ann', 1_800_000_000_000))).toThrow(REVOKED);
  expect(() => table.check(issued('ann', nowMs))).toThrow(REVOKED);
  expect(() => table.check(issued('ann', 1_800_000_001_000))).not.toThrow();
});

test('others stay, and so does what has no user or no time of issue', () => {
  const table = revocations();
  table.revoke('ann');
  expect(() => table.check(issued('bob', 0))).not.toThrow();
  expect(() => table.check(issued(undefined, 0))).not.toThrow();
  expect(() => table.check(issued('ann', undefined))).not.toThrow();
});

test('a later one moves the time on, an earlier one never back', () => {
  const table = revocations();
  table.revoke('ann', 2_000);
  nowMs = 3_000;
  table.revoke('ann', 1_000);
  expect(() => table.check(issued('ann', 2_000))).toThrow(REVOKED);
  table.revoke('ann', 3_000);
  expect(() => table.check(issued('ann', 3_000))).toThrow(REVOKED);
  expect(table.entries()).toEqual([['ann', 3_000]]);
});

test('it says whether it is news: what is told twice ends nothing twice', () => {
  nowMs = 3_000;
  const table = revocations();
  expect([2_000, 2_000, 1_000, 3_000].map((ms) => table.revoke('ann', ms))).toEqual([
    true,
    false,
    false,
    true,
  ]);
});

test('it is held for as long as a credential may live, and dropped then', () => {
  const table = revocations();
  const iat = nowMs;
  table.revoke('ann');
  nowMs += DAY_MS + 5_000;
  expect(() => table.check(issued('ann', iat))).toThrow(REVOKED);
  expect(table.size).toBe(1);
  nowMs += 5_001;
  expect(table.size).toBe(0);
  expect(table.entries()).toEqual([]);
});

test('it is held for as long as a ticket may live where tokens live for less', () => {
  const table = revocations(60_000);
  table.revoke('ann');
  nowMs += 3_600_000;
  expect(table.size).toBe(1);
});

test('a clock that is ahead for a while forgets nobody', () => {
  const table = revocations();
  const iat = nowMs;
  table.revoke('ann');
  aheadMs = 365 * DAY_MS;
  expect(table.size).toBe(1);
  aheadMs = 0;
  expect(() => table.check(issued('ann', iat))).toThrow(REVOKED);
});

test('one that was given for an earlier time is dropped with those before it', () => {
  const table = revocations();
  table.revoke('new', nowMs);
  table.revoke('old', nowMs - DAY_MS);
  nowMs += DAY_MS + 10_000;
  expect(table.entries().map(([user]) => user)).toEqual(['new', 'old']);
  nowMs += 1;
  expect(table.entries()).toEqual([]);
});

test('a full table refuses the next one, and forgets nobody', () => {
  const table = revocations();
  const start = nowMs;
  for (let i = 0; i < REVOCATIONS_MAX; i++) table.revoke(`user-${i}`);
  expect(() => table.revoke('one-more')).toThrow(
    expect.objectContaining({ code: 'HOLDLINE_REVOCATIONS_FULL' }),
  );
  expect(() => table.check(issued('user-0', start))).toThrow(REVOKED);
  // Whoever is in it may be revoked again.
  nowMs += 1;
  table.revoke('user-0');
  expect(() => table.check(issued('user-0', nowMs))).toThrow(REVOKED);
  nowMs += DAY_MS + 10_001;
  table.revoke('one-more');
  expect(table.size).toBe(1);
});
