/** Tables in Markdown, and where their figures are from. */
import type { Result } from '../../bench/results.js';

export const NOT_MEASURED = 'not measured';

export function cell<T>(value: T | undefined, draw: (value: T) => string): string {
  return value === undefined ? NOT_MEASURED : draw(value);
}

export function notMeasured(name: string, columns: number): string[] {
  return [name, ...Array.from({ length: columns - 1 }, () => NOT_MEASURED)];
}

export function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(head),
    line(head.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
  ].join('\n');
}

/** Markdown has one head row, so the name of a group is repeated in each of its columns. */
export function groupedTable(head: string[][], rows: string[][]): string {
  const [above, below] = head as [string[], string[]];
  let group = '';
  const joined = below.map((name, index) => {
    if (above[index] !== '') group = above[index]!;
    return index === 0 ? '' : [group, name].filter(Boolean).join('<br>');
  });
  return table(joined, rows);
}

export function withCaption(text: string, result: Result | undefined): string {
  return result === undefined ? text : `${text}\n\n<sub>${caption(result)}</sub>`;
}

export function caption(result: Result): string {
  const { machine } = result;
  return (
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, glibc ${machine.glibc}, ` +
    `Node ${machine.node}, ${machine.uWebSockets}; ` +
    `${machine.pinned}; send buffer: ${machine.sendBuffer}; ${result.startedAt.slice(0, 10)}, ` +
    `commit ${machine.commit}${machine.dirty ? ' with changes' : ''}.`
  );
}
