/**
 * The package as a program installs it: packed, installed from the archive into an empty folder,
 * and used there.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TOOL_LIBRARIES } from '../src/libraries.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MIB = 2 ** 20;
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
  peerDependencies: Record<string, string>;
};
const LIBRARIES = Object.keys(MANIFEST.peerDependencies);

let folder = '';

/** Sum of the files below a path, bytes. */
function sizeOf(path: string): number {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdline-package-'));
  // Without scripts: `prepare` would build again, under the feet of the tests beside this one.
  const npm = (...args: string[]): string =>
    execFileSync('npm', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const archive = npm('pack', ROOT, '--ignore-scripts', '--silent').trim();
  writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}');
  npm('install', `./${archive}`, '--prefer-offline', '--no-audit', '--no-fund');
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function holdline(...args: string[]) {
  return spawnSync(join(folder, 'node_modules/.bin/holdline'), args, {
    cwd: folder,
    encoding: 'utf8',
  });
}

test('a program that embeds the server installs none of the libraries of tools and logs, and at most 25 MB', () => {
  const installed = readdirSync(join(folder, 'node_modules'));
  expect(installed).toContain('pino');
  expect(installed.filter((name) => LIBRARIES.some((one) => one.startsWith(name)))).toEqual([]);
  expect(sizeOf(join(folder, 'node_modules')) / MIB).toBeLessThan(25);
});

test('nothing of ours runs while it is installed', () => {
  for (const script of ['preinstall', 'install', 'postinstall'])
    expect(MANIFEST.scripts).not.toHaveProperty(script);
});

test('a tool says which libraries it lacks, before it does anything; its help does not need them', () => {
  for (const command of ['load', 'capacity', 'doctor']) {
    const { status, stderr } = holdline(command);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^holdline: holdline \w+ needs libraries .*npm install cli-table3@/);
    for (const name of TOOL_LIBRARIES) expect(stderr).toContain(`${name}@`);
    expect(stderr).toContain('(HOLDLINE_NO_LIBRARY)');
    expect(holdline(command, '--help').status).toBe(0);
  }
});

test('a log says which libraries it lacks, before the server listens', () => {
  for (const [log, name] of [
    ['lmdb:events', 'lmdb'],
    ['nats://127.0.0.1', '@nats-io/jetstream'],
  ] as const) {
    const { status, stdout, stderr } = holdline('serve', '--port', '0', '--log', log);
    expect(status).toBe(1);
    expect(stdout + stderr).toContain('(HOLDLINE_NO_LIBRARY)');
    expect(stdout + stderr).toMatch(new RegExp(`npm install .*${name}@`));
  }
});

test('a program serves, and gets an event of its own', async () => {
  writeFileSync(
    join(folder, 'program.js'),
    `import { createServer } from 'holdline';
const server = createServer({ port: 0, openPublish: true });
const { port } = await server.listen();
const stream = await fetch(\`http://127.0.0.1:\${port}/c\`);
const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
await reader.read();
await server.channel('c').publish({ data: { answer: 42 } });
console.log((await reader.read()).value);
await server.close();
process.exit(0);
`,
  );
  const child = spawn(process.execPath, ['program.js'], { cwd: folder });
  let output = '';
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (output += text));
  await new Promise((resolve) => child.once('exit', resolve));
  expect(output).toContain('data: {"answer":42}');
});

test('its types compile without those of Node', () => {
  writeFileSync(
    join(folder, 'program.ts'),
    `import { createServer, HoldlineError, type Hooks, type Options, type Stats } from 'holdline';
const options: Options & Hooks = { port: 0, authorize: ({ headers }) => headers['cookie'] !== undefined };
const server = createServer(options);
const { port }: { port: number } = await server.listen();
const id: number = await server.channel('c').publish({ event: 'notice', data: { port } });
const stats: Stats = server.stats();
export const open: number = stats.lines.byTransport.sse + id;
const channel = server.channel('c');
const { events, gap, position } = await channel.history({ after: 0, limit: 10 });
for await (const item of channel.subscribe({ after: gap?.before ?? position })) {
  const before: number | null = item.gap === undefined ? item.id : item.gap.before;
  if (before === null || events.length + channel.subscribers > 0) break;
}
export const isOurs = (error: unknown): boolean => error instanceof HoldlineError;
`,
  );
  const compilerOptions = {
    strict: true,
    module: 'nodenext',
    target: 'es2023',
    lib: ['ES2023'],
    types: [],
    noEmit: true,
    skipLibCheck: false,
  };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['program.ts'] }),
  );
  const { stdout, status } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder], {
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

test.each([
  ['browsers', { lib: ['ES2023', 'DOM'], types: [] }],
  ['Node', { lib: ['ES2023'], types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }],
])('its client takes the handlers of an EventSource, with the types of %s', (_, lib) => {
  writeFileSync(
    join(folder, 'page.ts'),
    `import { HoldlineSource, type HoldlineEvent } from 'holdline/client';
const feed = new HoldlineSource('http://127.0.0.1/c', { since: 'latest', onGap: ({ after }) => void after });
const seen = (event: MessageEvent): string => event.lastEventId;
feed.onmessage = seen;
feed.addEventListener('notice', seen);
feed.addEventListener('notice', ({ data, channel }: HoldlineEvent) => data.length + channel.length);
feed.addEventListener('error', (event: Event) => void event.type);
`,
  );
  for (const module of ['nodenext', 'bundler']) {
    const compilerOptions = {
      strict: true,
      module: module === 'bundler' ? 'esnext' : module,
      moduleResolution: module,
      target: 'es2023',
      noEmit: true,
      skipLibCheck: false,
      ...lib,
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['page.ts'] }),
    );
    const { stdout } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder], {
      encoding: 'utf8',
    });
    expect(stdout).toBe('');
  }
});

test('its source maps hold the sources', () => {
  const dist = join(folder, 'node_modules/holdline/dist');
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' });
  const scripts = files.filter((file) => file.endsWith('.js'));
  expect(scripts.length).toBeGreaterThan(50);
  for (const file of scripts) {
    const map = /^\/\/# sourceMappingURL=(.+)$/m.exec(readFileSync(join(dist, file), 'utf8'))?.[1];
    if (map === undefined) continue;
    const { sources, sourcesContent } = JSON.parse(
      readFileSync(join(dist, file, '..', map), 'utf8'),
    ) as { sources: string[]; sourcesContent?: string[] };
    expect(sourcesContent).toHaveLength(sources.length);
  }
});
