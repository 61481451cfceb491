/**
 * `npm run hostile`: attacks a server as test/hostile does in CI, at length, and writes what was
 * seen into test/RELIABILITY.md: for each promise the attack, the bound and the figure. A tree with
 * changes is not written from, unless `--draft` says that it is one. Names of kinds (`npm run
 * hostile -- turns memory`) attack with those only, and write nothing. `--short` takes the times of
 * CI.
 */

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { type Machine, describeMachine } from '../bench/machine.js';
import type { HostileRecord, Seen } from '../test/hostile/support/trial.js';
import { run } from './run.js';

const RECORDS = new URL('../test/out/hostile.ndjson', import.meta.url);
const PAGE = new URL('../test/RELIABILITY.md', import.meta.url);
const BLOCK = /(<!-- figures:hostile -->\n)[\s\S]*?(<!-- \/figures -->)/;

/** The times of CI, and one round where it keeps every bound. */
const isShort = process.argv.includes('--short');
const HOSTILE = { HOSTILE: isShort ? 'short' : 'long' };

/** Kinds in the order of the page, with the heading of their table. */
const KINDS: Readonly<Record<string, string>> = {
  input: 'The process',
  turns: 'Fair turns',
  floods: 'Floods and limits',
  memory: 'Memory',
  isolation: 'Isolation',
  http: 'HTTP',
  small: 'Small promises',
  fuzz: 'Fuzzing',
};

function readRecords(): HostileRecord[] {
  if (!existsSync(RECORDS)) return [];
  const lines = readFileSync(RECORDS, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as HostileRecord);
}

/** Text in a cell of a table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll(/\s+/g, ' ').trim();
}

function valueOf({ value, unit }: Seen): string {
  const shown =
    typeof value === 'number'
      ? value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
      : `\`${value}\``;
  return value === '' ? 'none' : `${shown} ${unit}`.trim();
}

/** A figure and its bound; one that must be nothing and is nothing is not worth a cell. */
function seenText(seen: Seen): string {
  const bound =
    seen.bound === undefined ? '' : ` (${seen.bound}${seen.unit === '' ? '' : ` ${seen.unit}`})`;
  const text = `${seen.figure}: ${valueOf(seen)}${bound}`;
  return seen.kept === false ? `**${text}**` : text;
}

function isNothing({ value, kept, bound }: Seen): boolean {
  return kept === true && (value === 0 || value === '') && (bound ?? '').startsWith('=');
}

function rowOf({ attack, promise, seen, kept }: HostileRecord): string {
  const told = seen.filter((one) => !isNothing(one)).map((one) => cell(seenText(one)));
  const figures = told.length === 0 ? 'nothing lost, nothing refused, no fault' : told.join('<br>');
  return `| ${cell(promise)} | ${cell(attack)} | ${figures} | ${kept ? 'kept' : '**not kept**'} |`;
}

/**
 * Kinds whose attacks are many and have no figures: a row for each promise names them all, and what
 * was seen where one was not kept.
 */
const GATHERED: ReadonlySet<string> = new Set(['input', 'http']);

function gatheredRows(records: readonly HostileRecord[]): string[] {
  const promises = [...new Set(records.map(({ promise }) => promise))];
  return promises.map((promise) => {
    const ofPromise = records.filter((record) => record.promise === promise);
    const broken = ofPromise.filter(({ kept }) => !kept);
    const words = broken.map(({ attack, seen }) => {
      const figures = seen.filter(({ kept }) => kept === false).map(seenText);
      return cell(`${attack}: ${figures.join('; ')}`);
    });
    const told =
      broken.length === 0
        ? `as it must be, ${ofPromise.length} of ${ofPromise.length}`
        : words.join('<br>');
    const attacks = ofPromise.map(({ attack }) => cell(attack)).join(' · ');
    return `| ${cell(promise)} | ${attacks} | ${told} | ${broken.length === 0 ? 'kept' : '**not kept**'} |`;
  });
}

function tables(records: readonly HostileRecord[]): string {
  const head = '| promise | attack | seen (bound) | |\n| --- | --- | --- | --- |';
  const parts = Object.entries(KINDS).flatMap(([kind, title]) => {
    const ofKind = records.filter((record) => record.kind === kind);
    const rows = GATHERED.has(kind) ? gatheredRows(ofKind) : ofKind.map(rowOf);
    return rows.length === 0 ? [] : [`## ${title}\n\n${head}\n${rows.join('\n')}`];
  });
  return parts.join('\n\n');
}

function caption(
  { cpu, cores, kernel, glibc, node, uWebSockets, commit, dirty }: Machine,
  seconds: number,
): string {
  const day = new Date().toISOString().slice(0, 10);
  const rounds = isShort
    ? ' (`--short`, the times of CI). One round where it keeps every bound, else the median of three'
    : '. Medians of five rounds';
  return (
    `<sub>${cpu}, ${cores} cores, Linux ${kernel}, glibc ${glibc}, Node ${node}, ${uWebSockets}; ${day}, ` +
    `commit ${commit}${dirty ? ' with changes' : ''}, ${Math.round(seconds / 60)} minutes${rounds}, each with a server ` +
    'of its own; beside every attack a control line was published to twenty times a second and lost, doubled and missed nothing ' +
    'where no figure says so.</sub>'
  );
}

const args = process.argv.slice(2);
const isDraft = args.includes('--draft');
const kinds = args.filter((arg) => !arg.startsWith('--'));
const unknown = kinds.find((kind) => !(kind in KINDS));
if (unknown !== undefined) {
  console.error(
    `hostile: there is no kind "${unknown}"; there are ${Object.keys(KINDS).join(', ')}`,
  );
  process.exit(2);
}
const machine = describeMachine();
if (machine.dirty && !isDraft && kinds.length === 0) {
  console.error(
    'hostile: the tree differs from its commit; commit first, or say --draft for figures that nobody may quote',
  );
  process.exit(2);
}
if (run('npm', ['run', '--silent', 'build']) !== 0) process.exit(1);
rmSync(RECORDS, { force: true });
const startMs = performance.now();
const files = (kinds.length > 0 ? kinds : Object.keys(KINDS)).map(
  (kind) => `test/hostile/${kind}.wire.ts`,
);
// One file after the other: an attack's neighbour would be in its figures.
let failed = 0;
for (const file of files) {
  if (run('npx', ['--no-install', 'vitest', 'run', '--no-file-parallelism', file], HOSTILE) !== 0)
    failed++;
}
const records = readRecords();
const broken = records.filter(({ kept }) => !kept);
if (kinds.length === 0 && records.length > 0) {
  const page = readFileSync(PAGE, 'utf8');
  if (!BLOCK.test(page))
    throw new Error('test/RELIABILITY.md has no block <!-- figures:hostile -->');
  const body = `${tables(records)}\n\n${caption(machine, (performance.now() - startMs) / 1_000)}`;
  writeFileSync(
    PAGE,
    page.replace(BLOCK, (_all, open: string, close: string) => `${open}${body}\n${close}`),
  );
  console.log('test/RELIABILITY.md filled');
}
console.log(`${records.length - broken.length} promises kept, ${broken.length} not kept`);
for (const { kind, attack } of broken) console.log(`not kept: ${kind}: ${attack}`);
process.exit(failed > 0 || broken.length > 0 ? 1 : 0);
