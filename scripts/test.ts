/**
 * `npm test`: builds, runs every test file (or those named as arguments) and prints `N passed, N
 * failed` as the last line. CI reads that line and not vitest's own summary.
 */

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { run } from './run.js';

const REPORT = 'test/out/results.json';

/** The parts of vitest's JSON report that are counted. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

interface Count {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Passed and failed tests; a file that fails without a failed test (it does not load, a hook
 * throws) counts as one.
 */
function countOf(report: Report): Count {
  const brokenFiles = report.testResults.filter(
    (file) =>
      file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  return { passed: report.numPassedTests, failed: report.numFailedTests + brokenFiles.length };
}

function runTests(files: readonly string[]): Count {
  // Always: it takes less than a second, and what runs dist/ fails when that is stale.
  if (run('npm', ['run', '--silent', 'build']) !== 0) return { passed: 0, failed: 1 };
  mkdirSync(new URL(`../${dirname(REPORT)}`, import.meta.url), { recursive: true });
  rmSync(new URL(`../${REPORT}`, import.meta.url), { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
  const status = run('npx', ['--no-install', 'vitest', 'run', ...reporters, ...files]);
  let count: Count = { passed: 0, failed: 0 };
  try {
    count = countOf(
      JSON.parse(readFileSync(new URL(`../${REPORT}`, import.meta.url), 'utf8')) as Report,
    );
  } catch (error) {
    console.error(`no report was written: ${(error as Error).message}`);
  }
  if (count.failed > 0) return count;
  if (status !== 0) {
    // An error outside of every test, such as an unhandled rejection after the last one.
    console.error(`vitest ended with exit code ${status} although no test failed`);
    return { ...count, failed: 1 };
  }
  if (count.passed === 0) {
    console.error('no test ran');
    return { passed: 0, failed: 1 };
  }
  return count;
}

const { passed, failed } = runTests(process.argv.slice(2));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
