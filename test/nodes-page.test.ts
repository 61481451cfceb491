/** The table of test/NODES.md: one row for each target, the last result, names of what failed. */

import { expect, it } from 'vitest';
import { withResult, type Result } from '../scripts/nodes/page.js';
import { DEFAULT_TARGETS, TARGETS } from '../scripts/nodes/targets.js';

const EMPTY = '# Title\n\n<!-- figures:nodes -->\n<!-- /figures -->\n\nThe end.\n';
const ORDER = TARGETS.map(({ name }) => name);

function result(target: string, others: Partial<Result> = {}): Result {
  return {
    target,
    node: '24.21.0',
    glibc: '2.41',
    build: '@uwsjs/core@20.69.0',
    passed: 1200,
    failed: 0,
    failedNames: [],
    minutes: 9.4,
    date: '2026-11-26',
    commit: '0123456789ab',
    ...others,
  };
}

it('has the last result of each target, in the order of the targets', () => {
  let page = withResult(EMPTY, result('24-debian-13'), ORDER);
  page = withResult(page, result('20', { node: '20.20.2', passed: 1199 }), ORDER);
  page = withResult(page, result('24-debian-13', { passed: 1201 }), ORDER);
  const rows = page.split('\n').filter((line) => /^\| \d/.test(line));
  expect(rows).toEqual([
    '| 20 | 20.20.2 | 2.41 | @uwsjs/core@20.69.0 | 1199 | 0 | 9 min | 2026-11-26, 0123456789ab |',
    '| 24-debian-13 | 24.21.0 | 2.41 | @uwsjs/core@20.69.0 | 1201 | 0 | 9 min | 2026-11-26, 0123456789ab |',
  ]);
  expect(page).toMatch(/^# Title\n[^]*\n<!-- \/figures -->\n\nThe end\.\n$/);
});

it('names what failed', () => {
  const failed = result('20', {
    failed: 2,
    failedNames: ['test/a.test.ts: a|b', 'test/b.test.ts: <c>'],
  });
  expect(withResult(EMPTY, failed, ORDER)).toContain(
    '| 2<br>test/a.test.ts: a\\|b<br>test/b.test.ts: &lt;c> |',
  );
});

it('is not filled where the page has no place for it', () => {
  expect(() => withResult('# Title\n', result('20'), ORDER)).toThrow('no block of figures:nodes');
});

it('every target that is run by default is one', () => {
  expect(DEFAULT_TARGETS.filter((name) => !ORDER.includes(name))).toEqual([]);
});
