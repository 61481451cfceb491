/**
 * The arithmetic of grace: what a budget lets be spent, how long windows last, and whom a line's
 * past makes of it.
 */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import {
  DISTRUSTED,
  GraceBudget,
  graceGoal,
  graceWindowMs,
  provenWindowMs,
  isUnblemished,
  PROVEN,
  trustedFromFailure,
  trustedFromOpening,
  trustedFromPause,
  trustOf,
  YOUNG,
} from '../src/core/grace.js';
import {
  GRACE_BUDGET_MS_MAX,
  GRACE_BUDGET_MS_PER_SECOND,
  GRACE_DEBT_MS_MAX,
  GRACE_DISTRUST_SECONDS,
  GRACE_MS_MIN,
  GRACE_MS,
  GRACE_TRUST_SECONDS,
  GRACE_YOUNG_MS_MIN,
} from '../src/limits.js';

describe('the budget', () => {
  test('is full at first, is spent, and fills with time', () => {
    const budget = new GraceBudget(5000);
    expect(budget.leftMs(5000)).toBe(GRACE_BUDGET_MS_MAX);
    budget.spend(5000, 5060);
    expect(budget.leftMs(5060)).toBe(GRACE_BUDGET_MS_MAX - 60);
    expect(budget.leftMs(5260)).toBeCloseTo(GRACE_BUDGET_MS_MAX - 40);
    expect(budget.leftMs(5060 + (1000 * 60) / GRACE_BUDGET_MS_PER_SECOND)).toBe(
      GRACE_BUDGET_MS_MAX,
    );
    expect(budget.leftMs(99_000)).toBe(GRACE_BUDGET_MS_MAX);
  });

  test('goes into debt, as far as that may go, and out of it', () => {
    const budget = new GraceBudget(0);
    budget.spend(0, GRACE_BUDGET_MS_MAX + 100);
    expect(budget.leftMs(GRACE_BUDGET_MS_MAX + 100)).toBe(-100);
    expect(budget.leftMs(GRACE_BUDGET_MS_MAX + 1100)).toBe(0);
    budget.spend(2000, 9_000);
    expect(budget.leftMs(9_000)).toBe(-GRACE_DEBT_MS_MAX);
    expect(budget.leftMs(9_000 + 1000 * (GRACE_DEBT_MS_MAX / GRACE_BUDGET_MS_PER_SECOND))).toBe(0);
  });

  test('pays once for time in which several groups held the channel', () => {
    const budget = new GraceBudget(0);
    budget.spend(1000, 1050);
    budget.spend(1000, 1050);
    budget.spend(1020, 1060);
    expect(budget.leftMs(1060)).toBeCloseTo(GRACE_BUDGET_MS_MAX - 60 + 1);
  });

  test('over time lets no more be spent than it fills, whoever looks first whether something is left', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(300), fc.nat(GRACE_MS)), { maxLength: 200 }),
        (tries) => {
          const budget = new GraceBudget(0);
          let nowMs = 0;
          let spentMs = 0;
          for (const [waitMs, forMs] of tries) {
            nowMs += waitMs;
            if (graceWindowMs(budget.leftMs(nowMs)) < GRACE_YOUNG_MS_MIN) continue;
            const windowMs = Math.min(forMs, graceWindowMs(budget.leftMs(nowMs)));
            budget.spend(nowMs, nowMs + windowMs);
            nowMs += windowMs;
            spentMs += windowMs;
            expect(spentMs).toBeLessThanOrEqual(
              GRACE_BUDGET_MS_MAX + (GRACE_BUDGET_MS_PER_SECOND * nowMs) / 1000 + 1e-6,
            );
          }
        },
      ),
    );
  });
});

test('a window lasts half of what is left, and for a proven line some time at least', () => {
  const leftMs = [-500, 0, GRACE_MS_MIN, 3 * GRACE_MS_MIN, 1000];
  expect(leftMs.map(graceWindowMs)).toEqual([
    -250,
    0,
    GRACE_MS_MIN / 2,
    1.5 * GRACE_MS_MIN,
    GRACE_MS,
  ]);
  expect(leftMs.map(provenWindowMs)).toEqual([
    GRACE_MS_MIN,
    GRACE_MS_MIN,
    GRACE_MS_MIN,
    1.5 * GRACE_MS_MIN,
    GRACE_MS,
  ]);
});

test('a line that comes back and fails for ever leaves some grace to a line that has just opened', () => {
  const budget = new GraceBudget(0);
  for (let nowMs = 0; nowMs < 60_000; nowMs += 400) {
    const windowMs = graceWindowMs(budget.leftMs(nowMs));
    expect(windowMs).toBeGreaterThanOrEqual(2 * GRACE_YOUNG_MS_MIN);
    budget.spend(nowMs, nowMs + windowMs);
    expect(graceWindowMs(budget.leftMs(nowMs + windowMs))).toBeGreaterThan(GRACE_YOUNG_MS_MIN);
  }
});

test('the pace asked for is the same however long a window is', () => {
  expect(graceGoal(100, 1100, GRACE_MS)).toBe(1100);
  expect(graceGoal(100, 1100, GRACE_MS / 2)).toBe(600);
  expect(graceGoal(100, 101, GRACE_MS / 2), 'an event that is owed alone is owed at the end').toBe(
    100,
  );
  expect(graceGoal(2 ** 53 - 1001, 2 ** 53 - 1, GRACE_MS)).toBe(2 ** 53 - 1);
});

describe('a line', () => {
  test('that has just opened is young, and proven some time later', () => {
    const from = trustedFromOpening(7);
    expect(trustOf(from, 7, 7)).toBe(YOUNG);
    expect(trustOf(from, 7, 7 + GRACE_TRUST_SECONDS - 1)).toBe(YOUNG);
    expect(trustOf(from, 7, 7 + GRACE_TRUST_SECONDS)).toBe(PROVEN);
    expect(isUnblemished(from, 7)).toBe(true);
  });

  test('that failed, also in its first second, is given nothing at first, then what a young one is, and no success shortens that', () => {
    for (const second of [7, 8, 500]) {
      const from = trustedFromFailure(second);
      expect(isUnblemished(from, 7)).toBe(false);
      expect(trustOf(from, 7, second)).toBe(DISTRUSTED);
      expect(trustOf(from, 7, second + GRACE_DISTRUST_SECONDS)).toBe(DISTRUSTED);
      expect(trustOf(from, 7, second + GRACE_DISTRUST_SECONDS + 1)).toBe(YOUNG);
      expect(trustOf(from, 7, second + GRACE_TRUST_SECONDS)).toBe(YOUNG);
      expect(trustOf(from, 7, second + GRACE_TRUST_SECONDS + 1)).toBe(PROVEN);
    }
  });

  test('whose pause the budget could not pay for is young for a time that grows with the pause', () => {
    const short = trustedFromPause(100, GRACE_MS_MIN / 5, 0, 7);
    expect(trustOf(short, 7, 100)).toBe(YOUNG);
    expect(trustOf(short, 7, 100 + GRACE_TRUST_SECONDS / 5)).toBe(YOUNG);
    expect(trustOf(short, 7, 101 + GRACE_TRUST_SECONDS / 5)).toBe(PROVEN);
    for (const pauseMs of [GRACE_MS_MIN, GRACE_MS])
      expect(trustedFromPause(100, pauseMs, 0, 7)).toBe(trustedFromFailure(100));
    expect(trustedFromPause(100, GRACE_MS_MIN / 5, 111, 7), 'never sooner than before').toBe(111);
    const fresh = trustedFromPause(100, GRACE_MS_MIN / 5, trustedFromOpening(99), 99);
    expect(isUnblemished(fresh, 99), 'no success erases it').toBe(false);
  });
});
