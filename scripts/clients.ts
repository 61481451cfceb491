/**
 * `npm run clients`: drives clients of all makes as test/clients does, and fills the matrix of
 * test/CLIENTS.md with what was seen. A tree with changes is not written from, unless `--draft`
 * says that it is one.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { type Machine, describeMachine } from '../bench/machine.js';
import type { CellRecord, Scenario } from '../test/clients/support/cells.js';
import { run } from './run.js';

const RECORDS = new URL('../test/out/clients.ndjson', import.meta.url);
const PAGE = new URL('../test/CLIENTS.md', import.meta.url);
const BLOCK = /(<!-- figures:clients -->\n)[\s\S]*?(<!-- \/figures -->)/;

/** The columns, in order. */
const SCENARIOS: readonly Scenario[] = [
  'connect',
  'replay',
  'quiet',
  'restart',
  'full',
  'drain',
  '204',
];

function readRecords(): CellRecord[] {
  if (!existsSync(RECORDS)) return [];
  const lines = readFileSync(RECORDS, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as CellRecord);
}

function table(records: readonly CellRecord[]): string {
  const cells = new Map<string, string>();
  for (const { make, scenario, cell } of records) cells.set(`${make} ${scenario}`, cell);
  const versions = new Map(records.map(({ make, version }) => [make, version]));
  const rows = [...versions].map(([make, version]) => {
    const seen = SCENARIOS.map((scenario) => cells.get(`${make} ${scenario}`) ?? 'not tried');
    return `| ${make} ${version} | ${seen.join(' | ')} |`;
  });
  const head = `| client | ${SCENARIOS.join(' | ')} |\n| --- |${' --- |'.repeat(SCENARIOS.length)}`;
  return `${head}\n${rows.join('\n')}`;
}

function caption({ kernel, glibc, node, uWebSockets, commit, dirty }: Machine): string {
  const day = new Date().toISOString().slice(0, 10);
  const tree = dirty ? ' with changes' : '';
  return `<sub>Linux ${kernel}, glibc ${glibc}, Node ${node}, ${uWebSockets}; ${day}, commit ${commit}${tree}.</sub>`;
}

const isDraft = process.argv.includes('--draft');
const machine = describeMachine();
if (machine.dirty && !isDraft) {
  console.error(
    'clients: the tree differs from its commit; commit first, or say --draft for a table that nobody may quote',
  );
  process.exit(2);
}
if (run('npm', ['run', '--silent', 'build']) !== 0) process.exit(1);
rmSync(RECORDS, { force: true });
const status = run('npx', ['--no-install', 'vitest', 'run', 'test/clients/matrix.wire.ts']);
const records = readRecords();
if (records.length === 0) process.exit(1);
const page = readFileSync(PAGE, 'utf8');
if (!BLOCK.test(page)) throw new Error('test/CLIENTS.md has no block <!-- figures:clients -->');
const body = `${table(records)}\n\n${caption(machine)}`;
writeFileSync(
  PAGE,
  page.replace(BLOCK, (_all, open: string, close: string) => `${open}${body}\n${close}`),
);
console.log('test/CLIENTS.md filled');
process.exit(status);
