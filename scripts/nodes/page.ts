/** The table in test/NODES.md: a row for each Node, which a later run replaces. */

/** What the suite did on a Node. */
export interface Result {
  /** The name of the target, which the row is found by. */
  readonly target: string;
  readonly node: string;
  readonly glibc: string;
  readonly build: string;
  readonly passed: number;
  readonly failed: number;
  readonly failedNames: readonly string[];
  readonly minutes: number;
  readonly date: string;
  readonly commit: string;
}

const BLOCK = /(<!-- figures:nodes -->\n)([\s\S]*?)(<!-- \/figures -->)/;
const HEAD =
  '| target | Node | glibc | build | passed | failed | took | date, commit |\n' +
  '| --- | --- | --- | --- | ---: | --- | ---: | --- |';

/** The page with a result in place of the last one of its target; rows stay in the given order. */
export function withResult(page: string, result: Result, order: readonly string[]): string {
  const rows = new Map(rowsOf(page).map((row) => [row.split(' ')[1]!, row]));
  rows.set(result.target, rowOf(result));
  const sorted = [...rows].toSorted(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  const table = [HEAD, ...sorted.map(([, row]) => row)].join('\n');
  return page.replace(
    BLOCK,
    (_all, open: string, _old, close: string) => `${open}${table}\n${close}`,
  );
}

function rowsOf(page: string): string[] {
  const table = BLOCK.exec(page)?.[2];
  if (table === undefined) throw new Error('the page has no block of figures:nodes');
  return table.split('\n').filter((line) => line.startsWith('| ') && !HEAD.includes(line));
}

function rowOf(result: Result): string {
  const names = result.failedNames.map((name) =>
    name.replaceAll('|', '\\|').replaceAll('<', '&lt;'),
  );
  const failed = [String(result.failed), ...names].join('<br>');
  const cells = [result.target, result.node, result.glibc, result.build, result.passed, failed];
  const when = `${result.date}, ${result.commit}`;
  return `| ${[...cells, `${result.minutes.toFixed(0)} min`, when].join(' | ')} |`;
}
