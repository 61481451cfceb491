/** Runs before each test file: one that runs dist/ fails in words when that is stale. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { staleness } from '../../scripts/build-stamp.js';

const path = expect.getState().testPath!;
const runsDist =
  path.endsWith('.wire.ts') ||
  /'\.\.\/dist\/|'\.\/support\/server\.js'/.test(readFileSync(path, 'utf8'));
const words = runsDist ? staleness() : undefined;
if (words !== undefined) throw new Error(words);
