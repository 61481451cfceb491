/**
 * `npm run nodes`: runs the whole suite on each Node that the package supports, and keeps the last
 * results in test/NODES.md. Each has a clone of the commit, with what npm installs under that Node.
 * Targets may be named (`npm run nodes -- 20 24-debian-13`). With names of test files it runs only
 * those and writes nothing. A tree with changes is refused, because clones have the commit.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { withResult, type Result } from './nodes/page.js';
import {
  CACHE,
  DEFAULT_TARGETS,
  must,
  prepareNode,
  TARGETS,
  type Target,
} from './nodes/targets.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PAGE = new URL('../test/NODES.md', import.meta.url);

/** Time for npm install, and for the suite; then it counts as failed. */
const RUN_MINUTES_MAX = 60;

/** The parts of vitest's JSON report that are read. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

function git(...args: string[]): string {
  return must('git', args, ROOT).trim();
}

/**
 * What an outer `npm run` or `npx` has set about itself: it would point the inner npm at this tree.
 */
const OUTER_NPM = /^(?:npm_(?!config_)|npm_config_(?:local_prefix|call|package)$|INIT_CWD$|NODE$)/;

/** The environment in which `node` is the target's. */
function environmentOf(bin: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !OUTER_NPM.test(name));
  return { ...Object.fromEntries(own), PATH: `${bin}:${process.env['PATH'] ?? ''}`, CI: 'true' };
}

/**
 * The failed tests of a clone by file and name; a file that does not load is one, and so is a test
 * that did not come to its end, since its process ended before.
 */
function failedNames(clone: string): string[] {
  const report = JSON.parse(readFileSync(join(clone, 'test/out/results.json'), 'utf8')) as Report;
  return report.testResults.flatMap(({ name, status, assertionResults }) => {
    const file = name.slice(clone.length + 1);
    const failed = assertionResults.filter((test) => test.status === 'failed');
    const ended = assertionResults.filter((test) => test.status === 'pending');
    if (failed.length + ended.length > 0)
      return [
        ...failed.map(({ fullName }) => `${file}: ${fullName}`),
        ...ended.map(({ fullName }) => `${file}: ${fullName}: its process ended`),
      ];
    return status === 'failed' ? [`${file} does not run`] : [];
  });
}

/** Installs and tests the commit in a clone; the whole output is in a file beside it. */
function runSuite(target: Target, commit: string, files: readonly string[]): Result {
  const started = performance.now();
  const bin = prepareNode(target);
  const env = environmentOf(bin);
  const clone = join(CACHE, `clone-${target.name}`);
  rmSync(clone, { recursive: true, force: true });
  must('git', ['clone', '--quiet', '--no-checkout', ROOT, clone]);
  must('git', ['checkout', '--quiet', '--detach', commit], clone);
  const logPath = join(CACHE, `${target.name}.log`);
  const log = openSync(logPath, 'w');
  const run = (command: string, args: readonly string[]): number =>
    spawnSync(command, args, {
      cwd: clone,
      env,
      stdio: ['ignore', log, log],
      timeout: RUN_MINUTES_MAX * 60_000,
    }).status ?? 1;
  console.log(`${target.name}: ${logPath}`);
  try {
    const problems: string[] = [];
    if (run('npm', ['install', '--no-audit', '--no-fund']) !== 0) problems.push('npm install');
    const changed = must('git', ['status', '--porcelain'], clone).trim();
    if (changed !== '') problems.push(`npm install changed ${changed}`);
    const status = problems.length === 0 ? run('npm', ['test', '--', ...files]) : 1;
    const words = readFileSync(logPath, 'utf8');
    const summary = [...words.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1);
    if (summary !== undefined) problems.push(...failedNames(clone));
    else if (problems.length === 0) problems.push(`npm test ended with exit code ${status}`);
    const version = spawnSync(join(bin, 'node'), ['dist/main.js', '--version'], {
      cwd: clone,
      env,
      encoding: 'utf8',
    }).stdout;
    const [, build = 'none', node = 'unknown', glibc = 'unknown'] =
      /\((.*), Node ([^,)]+)(?:, glibc ([^)]+))?\)/.exec(version) ?? [];
    return {
      target: target.name,
      node,
      glibc,
      build,
      passed: Number(summary?.[1] ?? 0),
      failed: Math.max(Number(summary?.[2] ?? 0), problems.length),
      failedNames: problems,
      minutes: (performance.now() - started) / 60_000,
      date: new Date().toISOString().slice(0, 10),
      commit: commit.slice(0, 12),
    };
  } finally {
    closeSync(log);
  }
}

function main(args: readonly string[]): number {
  const files = args.filter((arg) => arg.endsWith('.ts'));
  const named = args.filter((arg) => !arg.endsWith('.ts'));
  const names = named.length === 0 ? DEFAULT_TARGETS : named;
  const unknown = names.filter((name) => !TARGETS.some((target) => target.name === name));
  if (unknown.length > 0) {
    const all = TARGETS.map(({ name }) => name).join(', ');
    console.error(`not a target: ${unknown.join(', ')}; there are ${all}`);
    return 2;
  }
  if (git('status', '--porcelain', '--', '.', ':!test/NODES.md') !== '') {
    console.error('the tree has changes: commit them first, since a result names a commit');
    return 2;
  }
  const commit = git('rev-parse', 'HEAD');
  mkdirSync(CACHE, { recursive: true });
  let failed = 0;
  for (const target of TARGETS.filter(({ name }) => names.includes(name))) {
    const result = runSuite(target, commit, files);
    failed += result.failed;
    console.log(
      `${target.name}: Node ${result.node}, glibc ${result.glibc}, ${result.build}: ` +
        `${result.passed} passed, ${result.failed} failed`,
    );
    for (const name of result.failedNames) console.log(`  ${name}`);
    if (files.length > 0) continue;
    const order = TARGETS.map(({ name }) => name);
    writeFileSync(PAGE, withResult(readFileSync(PAGE, 'utf8'), result, order));
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
