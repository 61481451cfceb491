/** A plain table for the terminal: no colours, since runs are kept in logs. */
import Table from 'cli-table3';

export type Cell = string | number;

export function drawTable(head: string[], rows: Cell[][]): string {
  const table = new Table({ head, style: { head: [], border: [], compact: true } });
  table.push(...rows);
  return table.toString();
}

export function ms(value: number): string {
  if (Number.isNaN(value)) return '–';
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}

/** NaN is a figure of which no round is left. */
export function fixed(value: number, digits: number): string {
  return Number.isNaN(value) ? '–' : value.toFixed(digits);
}

/** 1.50 M, 150 k, 512 */
export function short(value: number): string {
  if (Number.isNaN(value)) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k`;
  return value.toFixed(0);
}

export function percent(share: number): string {
  if (Number.isNaN(share)) return '–';
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}
