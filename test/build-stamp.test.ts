/** The stamp of a build, by which a test file notices that it would run another build. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { staleness, writeStamp } from '../scripts/build-stamp.js';

const STALE = 'dist/ was not built from what src/ holds now; run `npm run build` first';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'holdline-stamp-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'src/core'), { recursive: true });
  mkdirSync(join(root, 'dist'));
  writeFileSync(join(root, 'src/core/ring.ts'), 'one');
  writeFileSync(join(root, 'src/main.ts'), 'two');
  writeStamp(root);
});

test('what was just built is not stale, nor is it when files are written again as they were', () => {
  expect(staleness(root)).toBeUndefined();
  writeFileSync(join(root, 'src/main.ts'), 'two');
  utimesSync(join(root, 'src/core/ring.ts'), 1, 2e9);
  expect(staleness(root)).toBeUndefined();
});

test.each([
  ['changed', () => writeFileSync(join(root, 'src/main.ts'), 'three')],
  ['new', () => writeFileSync(join(root, 'src/page.css'), '')],
  ['gone', () => rmSync(join(root, 'src/main.ts'))],
  ['moved', () => renameSync(join(root, 'src/main.ts'), join(root, 'src/core/main.ts'))],
])('it is stale when a file of the source is %s', (_what, change) => {
  change();
  expect(staleness(root)).toBe(STALE);
});

test('nothing built is stale', () => {
  rmSync(join(root, 'dist'), { recursive: true });
  expect(staleness(root)).toBe(STALE);
});
