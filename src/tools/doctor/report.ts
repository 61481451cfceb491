/** The findings as JSON and as text. */

import { count, decimal } from '../report/words.js';
import type { Finding, Level } from './finding.js';
import type { ProxyPath } from './proxy-path.js';

/** What `--json` prints. */
export interface Report {
  readonly lines: number;
  readonly problems: number;
  readonly advice: number;
  readonly machine: readonly Finding[];
  /** Null without `--through`. */
  readonly through: {
    readonly url: string;
    readonly findings: readonly Finding[];
    readonly seen: ProxyPath;
  } | null;
}

/** The report; `through` has what was seen and found on the path through a proxy. */
export function reportOf(
  lines: number,
  machine: readonly Finding[],
  through?: { readonly findings: readonly Finding[]; readonly seen: ProxyPath },
): Report {
  const all = [...machine, ...(through?.findings ?? [])];
  return {
    lines,
    problems: all.filter(({ level }) => level === 'problem').length,
    advice: all.filter(({ level }) => level === 'advice').length,
    machine,
    through:
      through === undefined
        ? null
        : {
            url: through.seen.url,
            findings: through.findings,
            seen: through.seen,
          },
  };
}

/** The findings as text of at most so many columns. The last row counts them. */
export function textOf(
  { lines, problems, advice, machine, through }: Report,
  columns: number,
): string {
  const width = Math.max(
    ...[...machine, ...(through?.findings ?? [])].map(({ name }) => name.length),
  );
  const section = (title: string, findings: readonly Finding[]): string[] => [
    title,
    '',
    ...findings.flatMap((finding) => rowsOf(finding, width, columns)),
    '',
  ];
  return [
    ...section(`This machine, for ${decimal(lines)} lines`, machine),
    ...(through === null ? [] : section(`Through ${through.url}`, through.findings)),
    `${count(problems, 'problem', 'problems')}, ` +
      count(advice, 'piece of advice', 'pieces of advice'),
    '',
  ].join('\n');
}

const MARKS: Readonly<Record<Level, string>> = { ok: 'ok', advice: 'advice', problem: 'PROBLEM' };
const MARK_WIDTH = MARKS.problem.length + 2;

/** Columns for the text beside the names, however narrow the terminal is. */
const TEXT_WIDTH_MIN = 40;

function rowsOf(
  { name, level, value, why, mend }: Finding,
  width: number,
  columns: number,
): string[] {
  const begin = `${MARKS[level].padEnd(MARK_WIDTH)}${name.padEnd(width + 2)}`;
  const indent = ' '.repeat(begin.length);
  const room = Math.max(TEXT_WIDTH_MIN, columns - begin.length);
  const texts = [
    ...wrapped(value, room),
    ...wrapped(why, room),
    ...(mend === null ? [] : wrapped(`→ ${mend}`, room)),
  ];
  return texts.map((text, nth) => `${nth === 0 ? begin : indent}${text}`);
}

/** Text in rows of at most so many characters, where its words allow. */
function wrapped(text: string, width: number): string[] {
  const rows: string[] = [];
  let row = '';
  for (const word of text.split(' ')) {
    if (row !== '' && row.length + 1 + word.length > width) {
      rows.push(row);
      row = word;
    } else {
      row = row === '' ? word : `${row} ${word}`;
    }
  }
  return [...rows, row];
}
