/**
 * Plain tables for the terminal, without colours, since runs are kept in logs; and numbers as the
 * tables there and in the documents have them. NaN, which JSON keeps as null, is a figure without
 * a round.
 */
import Table from 'cli-table3';

export type Cell = string | number;

/** A figure as it was measured, or as JSON gives it back. */
export type Figure = number | null;

export function drawTable(head: string[], rows: Cell[][]): string {
  const table = new Table({ head, style: { head: [], border: [], compact: true } });
  table.push(...rows);
  return table.toString();
}

function isMissing(value: Figure): value is null {
  return value === null || Number.isNaN(value);
}

/** 9.8 ms, 43 ms, 1.2 s */
export function ms(value: Figure): string {
  if (isMissing(value)) return '–';
  if (value >= 1000) return `${fixed(value / 1000, value >= 10_000 ? 0 : 1)} s`;
  return `${fixed(value, value < 10 ? 1 : 0)} ms`;
}

/** 12 ns, 1.25 µs, 3.10 ms */
export function nanoseconds(value: Figure): string {
  if (isMissing(value)) return '–';
  if (value >= 1e6) return `${fixed(value / 1e6, 2)} ms`;
  return value >= 1e3 ? `${fixed(value / 1e3, 2)} µs` : `${fixed(value, 0)} ns`;
}

export function fixed(value: Figure, digits: number): string {
  return isMissing(value) ? '–' : value.toFixed(digits);
}

/** The ratios of all rounds, in turn: 0.94 · 1.03 · 0.96 */
export function ofRounds(ratios: readonly number[]): string {
  return ratios.map((ratio) => fixed(ratio, 2)).join(' · ');
}

/** 1.50 M, 228 k, 15,000, 560 */
export function short(value: Figure): string {
  if (isMissing(value)) return '–';
  if (value >= 1e6) return `${fixed(value / 1e6, 2)} M`;
  if (value >= 1e5) return `${fixed(value / 1e3, 0)} k`;
  return Math.round(value).toLocaleString('en-US');
}

/** 12 %, 1.2 % */
export function percent(share: Figure): string {
  return isMissing(share) ? '–' : `${fixed(share * 100, share < 0.1 ? 1 : 0)} %`;
}

/** 1.6 KiB */
export function kib(bytes: Figure): string {
  return isMissing(bytes) ? '–' : `${fixed(bytes / 1024, 1)} KiB`;
}
