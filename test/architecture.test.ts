/**
 * How the source is built, read from its text: what may import what, and what stands in one place
 * only.
 */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  citedIn,
  citedInText,
  codeOf,
  importsOf,
  isCitable,
  literalsOf,
  sourceFiles,
  tooWideLines,
  type Import,
  type SourceFile,
} from './support/source.js';

/**
 * From the bottom to the top: a file imports from its own row and the rows above it. A new file or
 * folder needs a row.
 */
const LAYERS: readonly (readonly string[])[] = [
  // Runs in a page, and shares no code with the server.
  ['browser/'],
  // Small and without a side, for everyone.
  [
    'back-off',
    'clock',
    'counters',
    'errors',
    'ip',
    'libraries',
    'limits',
    'log-text',
    'moments',
    'spelling',
    'terminal',
    'throttle',
    'version',
    'worker-variable',
  ],
  ['linux/'],
  // Options are checked with it.
  ['auth/pattern', 'auth/rights'],
  ['options/'],
  ['core/'],
  ['auth/'],
  ['log/'],
  ['native/'],
  ['http/'],
  ['transports/'],
  ['ops/'],
  ['workers/'],
  ['server/'],
  ['index'],
  // The tools: no file of the server imports them.
  ['tools/keys'],
  ['tools/report/'],
  ['tools/load/books/'],
  ['tools/load/clients/'],
  ['tools/load/processes/'],
  ['tools/load/kinds', 'tools/load/options'],
  ['tools/load/run/'],
  ['tools/load/report/'],
  ['tools/load/'],
  ['tools/doctor/'],
  ['tools/token/'],
  ['tools/log/'],
  ['tools/capacity/'],
  ['refusal-log'],
  ['serve/'],
  ['main'],
];

/** As the formatter breaks code. */
const COLUMNS = 100;

const SOURCE = sourceFiles('src');
const EVERYTHING = [
  ...SOURCE,
  ...['bench', 'native-notes', 'scripts', 'test'].flatMap(sourceFiles),
];

function layerOf(path: string): number {
  const name = path.replace(/^src\//, '').replace(/\.ts$/, '');
  return LAYERS.findIndex((layer) =>
    layer.some((entry) => (entry.endsWith('/') ? name.startsWith(entry) : name === entry)),
  );
}

const isOfPage = (path: string): boolean => path.startsWith('src/browser/');

/** The paths of the files that break a rule. */
function pathsWhere(files: readonly SourceFile[], breaks: (file: SourceFile) => boolean): string[] {
  return files.filter(breaks).map(({ path }) => path);
}

/** "from → to" of the imports that break a rule. */
function importsWhere(
  files: readonly SourceFile[],
  breaks: (one: Import, from: string) => boolean,
): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((one) => breaks(one, file.path))
      .map(({ target }) => `${file.path} → ${target}`),
  );
}

describe('layers', () => {
  it('have a place for every file', () => {
    expect(pathsWhere(SOURCE, ({ path }) => layerOf(path) < 0)).toEqual([]);
  });

  it('import only downward', () => {
    const isUpward = ({ target }: Import, from: string): boolean =>
      target.startsWith('src/') && layerOf(target) > layerOf(from);
    expect(importsWhere(SOURCE, isUpward)).toEqual([]);
  });

  it('import in no circle, types among them', () => {
    const importedBy = new Map(SOURCE.map((file) => [file.path, importsOf(file)]));
    /** The files that lead back to the first of them; empty when none do. */
    const circleFrom = (trail: readonly string[], seen: Set<string>): readonly string[] => {
      for (const { target } of importedBy.get(trail.at(-1)!) ?? []) {
        if (target === trail[0]) return trail;
        if (seen.has(target)) continue;
        seen.add(target);
        const circle = circleFrom([...trail, target], seen);
        if (circle.length > 0) return circle;
      }
      return [];
    };
    const circles = SOURCE.map(({ path }) => circleFrom([path], new Set()));
    expect(circles.filter((circle) => circle.length > 0)).toEqual([]);
  });

  it('keep what runs in a page apart', () => {
    expect(
      importsWhere(
        SOURCE,
        ({ target }, from) => isOfPage(target) !== isOfPage(from) && target.startsWith('src/'),
      ),
    ).toEqual([]);
  });

  it('take nothing from beside src/', () => {
    expect(
      importsWhere(SOURCE, ({ target }) =>
        /^(?:\.|bench|native-notes|scripts|test)\b/.test(target),
      ),
    ).toEqual([]);
  });
});

describe('what is native', () => {
  it('is imported as a value in one file, and there only when it listens', () => {
    const isNative = ({ target, typeOnly }: Import): boolean =>
      target.startsWith('uWebSockets.js') && !typeOnly;
    expect(importsWhere(SOURCE, isNative)).toEqual([
      'src/native/load.ts → uWebSockets.js',
      'src/native/load.ts → uWebSockets.js-20.69',
    ]);
    expect(importsWhere(SOURCE, (one) => isNative(one) && !one.lazy)).toEqual([]);
  });

  it('calls the C library from three files, which load koffi when a server wants it', () => {
    const isKoffi = ({ target, typeOnly }: Import): boolean => target === 'koffi' && !typeOnly;
    expect(importsWhere(SOURCE, isKoffi)).toEqual([
      'src/log/lmdb/libc.ts → koffi',
      'src/native/allocator.ts → koffi',
      'src/native/libc.ts → koffi',
    ]);
    expect(importsWhere(SOURCE, (one) => isKoffi(one) && !one.lazy)).toEqual([]);
  });

  it('keeps a log on disk through one file, which loads lmdb when it is opened', () => {
    const isLmdb = ({ target, typeOnly }: Import): boolean => target === 'lmdb' && !typeOnly;
    expect(importsWhere(SOURCE, isLmdb)).toEqual(['src/log/lmdb/environment.ts → lmdb']);
    expect(importsWhere(SOURCE, (one) => isLmdb(one) && !one.lazy)).toEqual([]);
  });

  it('is unknown to the core, and so are sockets', () => {
    const core = SOURCE.filter(({ path }) => path.startsWith('src/core/'));
    const sockets =
      /^(?:uWebSockets\.js.*|src\/(?:native|http|transports)\/.*|(?:node:)?(?:net|http|http2|https|tls|dgram|worker_threads|cluster))$/;
    expect(core.length).toBeGreaterThan(0);
    expect(importsWhere(core, ({ target }) => sockets.test(target))).toEqual([]);
  });

  it('is not loaded by the command line before it serves', () => {
    const byPath = new Map(SOURCE.map((file) => [file.path, file]));
    const reached = new Set(['src/main.ts', 'src/serve/command.ts']);
    for (const path of reached) {
      for (const { target, typeOnly, lazy } of importsOf(byPath.get(path)!)) {
        if (!typeOnly && !lazy && byPath.has(target)) reached.add(target);
      }
    }
    expect(reached).toContain('src/options/table.ts');
    const isLight = (path: string): boolean =>
      /^src\/(?:[\w-]+|(?:options|serve)\/[\w-]+|auth\/(?:pattern|rights)|linux\/file(?:s|-limit))\.ts$/.test(
        path,
      );
    expect([...reached].filter((path) => path === 'src/index.ts' || !isLight(path))).toEqual([]);
  });
});

describe('the grammar of text/event-stream', () => {
  // The load tool reads streams as a client of any server would, and shares no code with this one.
  it('is written in core/frame.ts, and read by the load tool on its own', () => {
    const fieldAtLineStart = /(?:^|\\n|\\r)(?:data|event|retry|id): /;
    expect(
      pathsWhere(SOURCE, (file) =>
        literalsOf(file).some((literal) => fieldAtLineStart.test(literal)),
      ),
    ).toEqual(['src/core/frame.ts', 'src/tools/load/clients/encoding.ts']);
  });
});

describe('every file', () => {
  it('exports by name', () => {
    expect(pathsWhere(EVERYTHING, (file) => /^export\s*\*/m.test(codeOf(file)))).toEqual([]);
  });

  it('begins with what it is', () => {
    expect(
      pathsWhere(EVERYTHING, ({ text }) => !/^\/[*/]/.test(text.replace(/^#!.*\n/, ''))),
    ).toEqual([]);
  });

  it('cites in its comments only files and documents that are there', () => {
    const missing = EVERYTHING.flatMap((file) =>
      citedIn(file)
        .filter((cited) => !isCitable(cited, file.path))
        .map((cited) => `${file.path}: ${cited}`),
    );
    expect(missing).toEqual([]);
  });

  it(`has comments of at most ${COLUMNS} columns`, () => {
    const wide = EVERYTHING.flatMap((file) =>
      tooWideLines(file, COLUMNS).map((line) => `${file.path}: ${line.trim()}`),
    );
    expect(wide).toEqual([]);
  });

  it('leaves no test out', () => {
    const leftOut = /\b(?:it|test|describe|suite|bench)(?:\.\w+)*\.(?:only|skip|todo|fails)\b/;
    expect(pathsWhere(EVERYTHING, (file) => leftOut.test(codeOf(file)))).toEqual([]);
  });
});

it.each(['ARCHITECTURE.md', 'SECURITY.md', 'native-notes/README.md'])(
  '%s names only files that are there',
  (path) => {
    const text = readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
    expect(citedInText(text).length).toBeGreaterThan(0);
    expect(citedInText(text).filter((cited) => !isCitable(cited, path))).toEqual([]);
  },
);

describe('package.json', () => {
  const KINDS = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;
  type Versions = { readonly [kind in (typeof KINDS)[number]]: Readonly<Record<string, string>> };
  const read = (path: string): unknown =>
    JSON.parse(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8'));
  const versions = read('package.json') as Versions;

  it('pins every version', () => {
    const all = KINDS.flatMap((kind) => Object.entries(versions[kind]));
    expect(all.filter(([, version]) => !/^(?:npm:.+@)?\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it('is what package-lock.json was made from', () => {
    const { packages } = read('package-lock.json') as { packages: Record<string, Versions> };
    expect(KINDS.map((kind) => packages['']![kind])).toEqual(KINDS.map((kind) => versions[kind]));
  });
});

describe('the reader of the source that these tests rest on', () => {
  const read = (text: string): SourceFile => ({ path: 'src/core/x.ts', text });

  it('sees imports of every form, and whether they are values', () => {
    const file = read(
      [
        "import a, { b } from './a.js';",
        "import type { c } from '../c.js';",
        "import { type d, type e } from 'd';",
        'import {\n  f, // "from" here\n  type g,\n} from "f";',
        "export type { h } from './h.js';",
        "export { i } from './i.js';",
        "import './j.js';",
        "const k = await import('./k.js');",
        "type L = typeof import('l');",
        "const text = `import m from 'm'; ${await import('n')}`;",
        "// import o from 'o'",
      ].join('\n'),
    );
    expect(importsOf(file).map(({ target, typeOnly, lazy }) => [target, typeOnly, lazy])).toEqual([
      ['src/core/a.ts', false, false],
      ['src/c.ts', true, false],
      ['d', true, false],
      ['f', false, false],
      ['src/core/h.ts', true, false],
      ['src/core/i.ts', false, false],
      ['src/core/j.ts', false, false],
      ['src/core/k.ts', false, true],
      ['l', true, true],
      ['n', false, true],
    ]);
  });

  it('tells literals from comments, regular expressions, divisions and code', () => {
    const file = read(
      "const a = 'one' /* 'no' */ + \"t\\\"wo\"; const b = /['\"`]/.test(`thr${{ c: `in${1 / 2}ner` }}ee`) ? 6 / 2 : 'four'; // 'no'",
    );
    expect(literalsOf(file)).toEqual(['one', 't\\"wo', 'in${}ner', 'thr${}ee', 'four']);
    expect(codeOf(file)).not.toMatch(/one|no|four|'/);
  });

  it('finds the files that comments cite, and no others', () => {
    const file = read(
      [
        "/** As core/ring.ts does; see README.md, 'x.ts' and `test/a-b.wire.ts`. */",
        "const a = 'not/in-code.ts'; // limits.ts, (pump.ts): native-notes/cork-size.md",
        '// *.soak.ts, <NAME>.ts, .test.ts, uWebSockets.js, net/ipv4/tcp_timer.c, @x/y.ts',
        '// https://example.com/page.html and a.ts/b, a.tsx, package.json',
      ].join('\n'),
    );
    expect(citedIn(file)).toEqual([
      'core/ring.ts',
      'README.md',
      'x.ts',
      'test/a-b.wire.ts',
      'limits.ts',
      'pump.ts',
      'native-notes/cork-size.md',
      'package.json',
    ]);
    expect(citedInText('NOWHERE.md, section 3')).toEqual(['NOWHERE.md']);
  });

  it('looks for what is cited from the root, from src/ and from the folders of who cites', () => {
    const from = 'src/tools/load/run/round.ts';
    const there = ['src/limits.ts', 'core/ring.ts', 'publisher.ts', 'load/run/publisher.ts'];
    expect(there.filter((path) => !isCitable(path, from))).toEqual([]);
    expect(
      ['ring.ts', 'NOWHERE.md', 'core/round.ts'].filter((path) => isCitable(path, from)),
    ).toEqual([]);
  });

  it('finds comments that are too wide and could be broken', () => {
    const file = read(
      [
        '// a comment of more',
        '// see https://a.io/b',
        '// oxlint-disable-next-line a/b',
        'f(); // and one behind',
        'const a = ddddddddd;',
        'const b = `line',
        '   // of text that is long',
        '`;',
        '/* within',
        '   a long block here',
        ' */',
      ].join('\n'),
    );
    expect(tooWideLines(file, 15)).toEqual([
      '// a comment of more',
      'f(); // and one behind',
      '   a long block here',
    ]);
  });
});
