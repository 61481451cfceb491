/**
 * `npx tsx scripts/write-options.ts` writes src/options/options.ts: the options of the library as
 * an interface, each with its words from the table. A type that is computed from the table would
 * have none, and an editor would show none. test/options.test.ts fails when it is stale.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { OPTIONS, type OptionRow } from '../src/options/table.js';

export const OPTIONS_FILE = new URL('../src/options/options.ts', import.meta.url);

const COLUMNS = 100;
const HEAD = `/**
 * The options of the library, so that an editor shows what they mean. Written from options/table.ts
 * by scripts/write-options.ts; not to be edited.
 */
import type { Settings } from './table.js';

/** What a program may set; what it does not set has its default. */
export interface Options {
`;

/** The text of src/options/options.ts, as the formatter leaves it. */
export function optionsSource(): string {
  const members = Object.entries<OptionRow>(OPTIONS).map(
    ([name, row]) =>
      `${comment([
        sentence(row.help),
        '',
        `${sentence(row.kind.acceptedValue)} On the command line \`--${row.flag}\`.`,
        '',
        `@default ${defaultOf(row)}`,
      ])}  readonly ${name}?: Settings['${name}'];\n`,
  );
  return `${HEAD}${members.join('')}}\n`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** In words where there are some, else as a program writes it, and with a unit where it has one. */
function defaultOf(row: OptionRow): string {
  if (row.defaultMeans !== undefined) return row.defaultMeans;
  if (row.default === undefined) return 'none';
  const value = JSON.stringify(row.default).replaceAll('"', "'");
  const text = row.kind.toText(row.default);
  return typeof row.default === 'number' && text !== value ? `${value} (${text})` : value;
}

/** A block comment, wrapped. */
function comment(paragraphs: readonly string[]): string {
  const lines = paragraphs.flatMap((paragraph) => wrapped(paragraph.replaceAll('*/', '*\\/')));
  return `  /**\n${lines.map((line) => `   * ${line}`.trimEnd() + '\n').join('')}   */\n`;
}

function wrapped(text: string): string[] {
  const width = COLUMNS - '   * '.length;
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

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(OPTIONS_FILE, optionsSource());
