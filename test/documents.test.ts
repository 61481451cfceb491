/** The documents: every link leads somewhere, and the README's first screen is one. */
import { expect, test } from 'vitest';
import { posix } from 'node:path';
import {
  anchorsOf,
  codeBlocks,
  documents,
  GUIDES,
  linksOf,
  readDocument,
} from './support/documents.js';
import { isThere } from './support/source.js';

/** What is wrong with a link of a document; undefined when it leads somewhere. */
function faultOf(link: string, from: string): string | undefined {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? from : posix.join(posix.dirname(from), path);
  if (!isThere(target)) return `${from}: ${link}: there is no ${target}`;
  if (anchor === undefined || !target.endsWith('.md')) return undefined;
  return anchorsOf(readDocument(target)).has(anchor)
    ? undefined
    : `${from}: ${link}: ${target} has no such heading`;
}

test('every link of every document leads to a file and a heading that are there', () => {
  const all = documents();
  expect(all).toEqual(expect.arrayContaining(['README.md', 'docs/use.md', 'docs/operate.md']));
  const links = all.flatMap((from) => linksOf(readDocument(from)).map((link) => ({ from, link })));
  expect(links.length).toBeGreaterThan(100);
  const faults = links.map(({ from, link }) => faultOf(link, from));
  expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
});

test('a link to a file or a heading that is not there is found', () => {
  expect(faultOf('docs/use.md#publish', 'README.md')).toBeUndefined();
  expect(faultOf('nowhere.md', 'docs/use.md')).toMatch(/there is no docs\/nowhere\.md$/);
  expect(faultOf('#no-such', 'docs/use.md')).toMatch(/docs\/use\.md has no such heading$/);
  expect(linksOf('[a](x.md) `[b](y.md)` [c](https://z)\n```\n[d](d.md)\n```\n')).toEqual(['x.md']);
  expect([...anchorsOf('# A `b|c` & D\n## E, f\n## E, f\n')]).toEqual(['a-bc--d', 'e-f', 'e-f-1']);
});

test('the words of our own are linked to the glossary where a document first needs them', () => {
  for (const path of GUIDES) {
    const [opening] = readDocument(path).split('\n## ');
    expect(opening, `of ${path}`).toMatch(/ARCHITECTURE\.md#glossary\)/);
  }
});

test('the first screen of the README: two sentences, three commands, a picture, two figures a row', () => {
  const [opening = ''] = readDocument('README.md').split('\n## ');
  const [, sentences = ''] = opening.split('\n\n');
  expect(sentences.match(/[.?!](?=\*\*|\s|$)/g)).toHaveLength(2);
  const [commands] = codeBlocks(opening);
  expect(commands?.code.split('\n')).toHaveLength(3);
  expect(opening).toContain('(docs/demo.png)');
  const heads = [...opening.matchAll(/^\|(.*)\|\n\|(?:[ :-]+\|)+$/gm)].map(([, head]) => head!);
  expect(heads.map((head) => head.split('|').length)).toEqual([3]);
  // GitHub shows so many columns of code without a scroll bar.
  const wide = codeBlocks(readDocument('README.md')).flatMap(({ code }) =>
    code.split('\n').filter((line) => line.length > 100),
  );
  expect(wide).toEqual([]);
});
