/** Every bound in limits.ts says which file enforces it, and that file uses it. */

import { expect, test } from 'vitest';
import { sourceFiles } from './support/source.js';

const SOURCE = new Map(sourceFiles('src').map(({ path, text }) => [path, text]));

/** The bounds by name, each with the source files that its comment cites. */
function citations(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let cited: string[] = [];
  for (const [, comment, name] of text.matchAll(
    /^\/\*\*(.*?)\*\/$|^export const ([A-Z_]+) = /gms,
  )) {
    if (name === undefined) cited = comment!.match(/[\w/-]+\.ts\b/g) ?? [];
    else found.set(name, cited);
  }
  return found;
}

const CITATIONS = citations(SOURCE.get('src/limits.ts')!);

test('the bounds are found', () => {
  expect(CITATIONS.size).toBeGreaterThan(90);
});

test.each([...CITATIONS])('%s', (name, files) => {
  const users = files.filter((file) =>
    new RegExp(`\\b${name}\\b`).test(SOURCE.get(`src/${file}`) ?? ''),
  );
  expect(files).not.toEqual([]);
  expect(users).toEqual(files);
});
