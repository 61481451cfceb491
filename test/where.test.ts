/** The table of ARCHITECTURE.md that says where things are decided: each row is one file. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isThere } from './support/source.js';

interface Row {
  readonly question: string;
  /** What stands in backticks: paths from src/. */
  readonly files: readonly string[];
}

/** The rows of the table under the heading `## Where is …`. */
function rowsOf(document: string): Row[] {
  const section = /^## Where is\b.*\n([\s\S]*?)(?=^## |$(?![\s\S]))/m.exec(document)?.[1] ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('|'));
  // The first two are the heading of the table and the line below it.
  return rows.slice(2).map((row) => ({
    question: row.split('|')[1]!.trim(),
    files: [...row.matchAll(/`([^`]+)`/g)].map(([, file]) => file!),
  }));
}

describe('the table', () => {
  const rows = rowsOf(readFileSync(new URL('../ARCHITECTURE.md', import.meta.url), 'utf8'));

  test('answers ten questions', () => {
    expect(rows.length).toBeGreaterThanOrEqual(10);
    expect(new Set(rows.map(({ question }) => question)).size).toBe(rows.length);
  });

  test('names one file in each answer, and it is there', () => {
    expect(rows.filter(({ files }) => files.length !== 1)).toEqual([]);
    expect(rows.flatMap(({ files }) => files).filter((file) => !isThere(`src/${file}`))).toEqual(
      [],
    );
  });
});

test('its reader takes the rows of that section, and what stands in backticks in them', () => {
  const table = '| question | file |\n|---|---|\n| who answers? | `core/poll.ts` |\n';
  const text = `# A\n\n${table}\n## Where is what decided?\n\nwords \`x.ts\`\n\n${table}| both | \`a.ts\`, \`b.ts\` |\n| no one | – |\n`;
  const rows: Row[] = [
    { question: 'who answers?', files: ['core/poll.ts'] },
    { question: 'both', files: ['a.ts', 'b.ts'] },
    { question: 'no one', files: [] },
  ];
  expect(rowsOf(text)).toEqual(rows);
  expect(rowsOf(`${text}\n## Next\n\n${table}`)).toEqual(rows);
  expect(rowsOf('# Where is it\n\n## Elsewhere\n')).toEqual([]);
});
