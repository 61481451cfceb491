/**
 * Fills the figures in the documents from bench/results: blocks between `<!-- figures:NAME -->` and
 * `<!-- /figures -->`, and words between `<!-- figure:NAME -->` and `<!-- /figure -->`. A block
 * that breaks a rule (figures/rules.ts) stays as it is, is named, and makes the exit code 1. With
 * --check nothing is written, and figures that are out of date make it 1, too.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BLOCKS } from './figures/blocks.js';
import { fillBlocks } from './figures/fill.js';

const FILES = [
  'README.md',
  'ARCHITECTURE.md',
  'docs/operate.md',
  'bench/README.md',
  'bench/APPROACHES.md',
];
const ROOT = new URL('..', import.meta.url);

const checkOnly = process.argv.includes('--check');
const outOfDate: string[] = [];
let isRefused = false;
for (const name of FILES) {
  const file = fileURLToPath(new URL(name, ROOT));
  const before = readFileSync(file, 'utf8');
  const { text, refused } = fillBlocks(before, BLOCKS);
  for (const why of refused) console.error(`${name} keeps its old figures, ${why}`);
  isRefused ||= refused.length > 0;
  if (text === before) continue;
  outOfDate.push(name);
  if (!checkOnly) writeFileSync(file, text);
}
if (outOfDate.length > 0)
  console.log(
    `${outOfDate.join(', ')} ` +
      (checkOnly ? 'has figures that are out of date: npm run figures' : 'filled'),
  );
else if (!isRefused) console.log('the figures are up to date');
process.exitCode = isRefused || (checkOnly && outOfDate.length > 0) ? 1 : 0;
