/** Admission by measured memory, with made-up readings. */
import { describe, expect, test } from 'vitest';
import type { HoldlineError } from '../src/errors.js';
import { MemoryBudget, type MemoryReading } from '../src/ops/memory/budget.js';

const BUDGET_BYTES = 1_000_000;
const EMPTY: MemoryReading = {
  rssBytes: 500_000,
  reusableBytes: 0,
  kernelBytes: 0,
  lineBytes: 1_000,
  openedTotal: 0,
};

function budgetWith(reading: Partial<MemoryReading> = {}): MemoryBudget {
  const budget = new MemoryBudget(BUDGET_BYTES);
  budget.update({ ...EMPTY, ...reading });
  return budget;
}

/** The code that a line is refused with, or 'admitted'. */
function ask(budget: MemoryBudget, openedTotal = 0): string {
  try {
    budget.checkRoom(openedTotal);
    return 'admitted';
  } catch (error) {
    return (error as HoldlineError).code;
  }
}

test('lines are admitted up to the budget and not past it, each counted for what one costs', () => {
  const budget = budgetWith({ openedTotal: 7 });
  let admitted = 0;
  while (admitted < 1_000 && ask(budget, 7 + admitted) === 'admitted') admitted++;
  expect(admitted).toBe((BUDGET_BYTES - EMPTY.rssBytes) / EMPTY.lineBytes);
  expect(budget.isFull).toBe(true);
});

test('kernel memory counts, and what closed lines left does not', () => {
  expect(ask(budgetWith({ kernelBytes: 499_000 }))).toBe('admitted');
  expect(ask(budgetWith({ kernelBytes: 499_001 }))).toBe('HOLDLINE_MEMORY_FULL');
  expect(ask(budgetWith({ rssBytes: 1_200_000, reusableBytes: 201_000 }))).toBe('admitted');
  expect(ask(budgetWith({ rssBytes: 1_200_000, reusableBytes: 200_999 }))).toBe(
    'HOLDLINE_MEMORY_FULL',
  );
  expect(
    budgetWith({ rssBytes: 1_200_000, reusableBytes: 300_000, kernelBytes: 50_000 }).usedBytes,
  ).toBe(950_000);
});

test('once full it admits again below 98 %, and not at once when a byte is free', () => {
  const budget = budgetWith({ rssBytes: 1_000_000 });
  expect(ask(budget)).toBe('HOLDLINE_MEMORY_FULL');
  budget.update({ ...EMPTY, rssBytes: 980_000 });
  expect(ask(budget)).toBe('HOLDLINE_MEMORY_FULL');
  budget.update({ ...EMPTY, rssBytes: 979_999 });
  expect(ask(budget)).toBe('admitted');
  expect(budget.isFull).toBe(false);
});

test('it is not full before a line finds no room', () => {
  const budget = budgetWith({ rssBytes: 999_000 });
  expect(budget.isFull).toBe(false);
  expect(ask(budget)).toBe('admitted');
  expect(ask(budget, 1)).toBe('HOLDLINE_MEMORY_FULL');
});

describe('what it says', () => {
  test('a refusal names what is in use and the flag', () => {
    expect(() => budgetWith({ rssBytes: 3 * 2 ** 20 }).checkRoom(0)).toThrow(
      /^about 3\.0 MiB of the 1\.0 MiB .*--memory-budget/,
    );
  });

  test('a budget that the process alone fills is refused at the start with both figures', () => {
    const budget = budgetWith({ rssBytes: 2.5 * 2 ** 20 });
    expect(() => budget.checkStart(0)).toThrow(
      /budget of 1\.0 MiB \(--memory-budget\) .* takes 2\.5 MiB/,
    );
    expect(() => budget.checkStart(0)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_OPTION' }) as Error,
    );
    expect(() => budgetWith().checkStart(0)).not.toThrow();
  });

  test('workers that are about to start count as much as the first one, which is no other', () => {
    // 300,000 each, and 350,000 elsewhere.
    const budget = budgetWith({ rssBytes: 400_000, reusableBytes: 100_000, kernelBytes: 350_000 });
    expect(() => budget.checkStart(1)).not.toThrow();
    expect(() => budget.checkStart(2)).toThrow(/workers and supervisor take about 1\.2 MiB/);
    expect(budget.processBytes).toBe(300_000);
  });
});
