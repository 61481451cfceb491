/** Fills the table of metrics in docs/operate.md: `npx tsx scripts/fill-metrics.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { METRICS } from '../src/ops/metrics.js';
import { WORKERS_METRICS } from '../src/workers/workers-rows.js';

const DOCUMENT = new URL('../docs/operate.md', import.meta.url);

const rows = Object.entries(METRICS).map(([name, { type, help, labels }]) => {
  const shown = labels === undefined ? name : `${name}{${labels.join()}}`;
  return `| \`${shown}\` | ${type} | ${help} |\n`;
});
const rowsOfWorkers = Object.entries(WORKERS_METRICS).map(
  ([name, { type, help }]) => `| \`${name}\` | ${type} | ${help} |\n`,
);
const table = `| metric | type | meaning |\n|---|---|---|\n${[...rows, ...rowsOfWorkers].join('')}`;
const text = readFileSync(DOCUMENT, 'utf8');
const filled = text.replace(
  /(<!-- metrics -->\n)[\s\S]*?(?=<!-- \/metrics -->)/,
  (_all, mark: string) => mark + table,
);
writeFileSync(DOCUMENT, filled);
