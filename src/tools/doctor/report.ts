/** The findings as JSON and as text. */

import { inWords, type Finding, type Level } from './finding.js';
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

/** The report; `through` is what was seen and found on the way through a proxy. */
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
    through: through === undefined ? null : { url: through.seen.url, ...through },
  };
}

/**
 * The findings for people, in lines of so many characters, and what they come to in the last line.
 */
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
    ...findings.flatMap((finding) => linesOf(finding, width, columns)),
    '',
  ];
  return [
    ...section(`This machine, for ${inWords(lines)} lines`, machine),
    ...(through === null ? [] : section(`Through ${through.url}`, through.findings)),
    `${counted(problems, 'problem', 'problems')}, ${counted(advice, 'piece of advice', 'pieces of advice')}`,
    '',
  ].join('\n');
}

const MARKS: Readonly<Record<Level, string>> = { ok: 'ok', advice: 'advice', problem: 'PROBLEM' };
const MARK_WIDTH = MARKS.problem.length + 2;

/** Room for text beside the names, characters, however narrow the terminal. */
const LEAST_TEXT_WIDTH = 40;

function linesOf(
  { name, level, value, why, mend }: Finding,
  width: number,
  columns: number,
): string[] {
  const begin = `${MARKS[level].padEnd(MARK_WIDTH)}${name.padEnd(width + 2)}`;
  const indent = ' '.repeat(begin.length);
  const room = Math.max(LEAST_TEXT_WIDTH, columns - begin.length);
  const texts = [
    ...wrapped(value, room),
    ...wrapped(why, room),
    ...(mend === null ? [] : wrapped(`→ ${mend}`, room)),
  ];
  return texts.map((text, nth) => `${nth === 0 ? begin : indent}${text}`);
}

/** Text in lines of at most so many characters, where its words allow. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
