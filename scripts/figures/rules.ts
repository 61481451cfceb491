/** Which figures no document shows: a block of them that breaks a rule stays as it was. */
import type { Result, ResultName } from '../../bench/results.js';
import { DISCARDED, type KeptRounds, leastKept, ROUNDS_MIN } from './kept-rounds.js';
import { NOT_MEASURED } from './markdown.js';

/** A block as it would be filled in. */
export interface Draft {
  readonly text: string;
  /** The results it was drawn from. */
  readonly results: readonly Result[];
  /** The figures of them that it shows; without it all are held to the rules. */
  readonly figures?: readonly KeptRounds[] | undefined;
  /** True where a cell may be empty or a dash, since its column does not apply to each row. */
  readonly hasBlanks?: boolean | undefined;
  /** True for a subject that is measured in one run of thousands of samples. */
  readonly isOneRun?: boolean | undefined;
}

/** What a table draws: its text, and the figures that it shows. */
export type Drawn = Pick<Draft, 'text' | 'figures'>;

/** Why a block may not be filled in, in words; nothing when it may. */
export function refusalsOf(draft: Draft): string[] {
  return [
    ...draft.results.flatMap(refusedCommit),
    ...refusedCommits(draft.results),
    ...(draft.isOneRun === true ? [] : draft.results.flatMap((one) => refusedRounds(one, draft))),
    ...refusedCells(draft),
  ];
}

/** What measures a subject. */
export function commandOf(subject: ResultName): string {
  return subject === 'compare' ? 'npm run compare' : `npm run bench -- ${subject}`;
}

function refusedCommit({ subject, machine }: Result): string[] {
  const again = `commit, then ${commandOf(subject)}`;
  if (machine.commit === 'none') return [`${subject} was measured outside of any commit: ${again}`];
  if (!machine.dirty) return [];
  return [`${subject} was measured at commit ${machine.commit} with changes: ${again}`];
}

function refusedCommits(results: readonly Result[]): string[] {
  const commits = new Set(results.map(({ machine }) => machine.commit));
  if (commits.size <= 1) return [];
  const which = results.map(({ subject, machine }) => `${subject} at ${machine.commit}`);
  return [`its figures are of different commits: ${which.join(', ')}`];
}

function refusedRounds(result: Result, { figures }: Draft): string[] {
  const fewest = Math.min(roundsAskedFor(result, figures), leastKept(figures ?? figuresOf(result)));
  if (fewest >= ROUNDS_MIN) return [];
  const { subject } = result;
  return [
    `${subject} has a figure of ${fewest} ${fewest === 1 ? 'round' : 'rounds'} that count; ` +
      `a table takes ${ROUNDS_MIN}: ${commandOf(subject)} --rounds ${ROUNDS_MIN + 2}`,
  ];
}

/** How often the whole subject was measured; Infinity where each figure says it for itself. */
function roundsAskedFor({ parameters }: Result, figures: Draft['figures']): number {
  const { rounds } = parameters as { rounds?: number };
  return figures === undefined && rounds !== undefined ? rounds : Infinity;
}

function figuresOf({ summary }: Result): KeptRounds[] {
  const figures = (summary as { figures?: unknown } | null)?.figures ?? summary;
  return Array.isArray(figures) ? (figures as KeptRounds[]) : [];
}

/** The rows of all tables, without heads. */
function rowsOf(text: string): string[] {
  const isRule = (line: string | undefined): boolean => /^\|[|:\- ]+$/.test(line ?? '');
  return text
    .split('\n')
    .filter((line, at, all) => line.startsWith('|') && !isRule(line) && !isRule(all[at + 1]));
}

function refusedCells({ text, hasBlanks }: Draft): string[] {
  const refused: string[] = [];
  const rows = rowsOf(text);
  for (const row of rows) {
    const [name = '', ...cells] = row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
    const title = name.replaceAll('*', '') || '(a row without a name)';
    if (cells.some((cell) => cell.includes(DISCARDED)))
      refused.push(`${title}: every round was ${DISCARDED}; measure it again, or leave it out`);
    const isHole = (cell: string): boolean =>
      /^(?:not measured|failed|NaN.*)$/.test(cell) ||
      (hasBlanks !== true && (cell === '' || cell === '–'));
    if (cells.some(isHole)) refused.push(`${title}: a cell has no figure`);
  }
  if (rows.length === 0 && text.includes(NOT_MEASURED)) refused.push('it was not measured');
  if (rows.length === 0 && text.includes(DISCARDED)) refused.push(`every round was ${DISCARDED}`);
  return refused;
}
