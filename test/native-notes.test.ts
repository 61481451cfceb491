/**
 * The native facts that src/native, the pump and the transports rest on, proven again on the build
 * that the server would take: one test a note in native-notes/, each probe in a process of its own.
 * Probes over 10 s (`slow` below) are run by hand. And notes and source are held against each
 * other: what a note names is there, and cites it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeSendLog, skipExitCode } from '../native-notes/probes/send-log.js';
import { BUILDS } from '../src/native/builds.js';
import { isThere, sourceFiles } from './support/source.js';

const notes = fileURLToPath(new URL('../native-notes/', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));

const slow = [
  'memory-per-connection',
  'pending-answer',
  'split-head',
  'ten-second-timer',
  'websocket-idle-timeout',
];
const facts = [
  'abort-is-synchronous',
  'body-outlives-response',
  'accept-filter',
  'added-headers',
  'chunked-requests',
  'closing-answers',
  'cork-callback',
  'cork-size',
  'dead-peer',
  'drain-in-writable',
  'early-answer',
  'emfile-busy-loop',
  'end-of-stream',
  'eventsource-clients',
  'exclusive-port',
  'file-limit-raised',
  'freed-memory-stays',
  'head-and-empty-bodies',
  'head-leaves-with-first-write',
  'header-limit',
  'header-values-unchecked',
  'kernel-buffers-before-stall',
  'listen-addresses',
  'listen-backlog',
  'nudged-collection',
  'one-closure-for-both',
  'one-cork-per-loop',
  'one-view-for-all',
  'oversized-cork-loses-bytes',
  'pending-end',
  'pipelined-requests',
  'proc-net-tcp',
  'proxy-on-this-machine',
  'proxy-protocol',
  'query-values',
  'quick-acknowledgements',
  'repeated-reads',
  'request-in-its-turn',
  'request-parsing',
  'responses-expose-no-descriptor',
  'socket-defaults',
  'socket-options',
  'stop-listening',
  'text-not-utf8',
  'tls',
  'tls-reload',
  'true-means-backlog-flushed',
  'unanswered-request-kills',
  'uncorked-write-is-four-sends',
  'unix-sockets',
  'upgrade-routing',
  'websocket-backpressure',
  'websocket-behaviours',
  'websocket-end',
  'websocket-protocol-errors',
  'websocket-send',
  'websocket-unfinished',
  'websocket-upgrade',
  'which-build',
  'worker-exit-aborts',
  'zero-copy-arguments',
];

/** Where the probes are compiled to, once for all, since to load tsx takes each half a second. */
const COMPILED = `${root}test/out/probes/`;
const COMPILE =
  '--ignoreConfig --noCheck --target es2023 --module nodenext --types node --verbatimModuleSyntax --rootDir .';

beforeAll(() => {
  rmSync(COMPILED, { recursive: true, force: true });
  const probes = facts.map((name) => `native-notes/probes/${name}.ts`);
  execFileSync('node_modules/.bin/tsc', [...COMPILE.split(' '), '--outDir', COMPILED, ...probes], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  copyFileSync(`${notes}probes/shim.c`, `${COMPILED}native-notes/probes/shim.c`);
});

// Three at a time: the probes wait more than they compute, but the machine may have two cores only.
let free = 3;
const waiting: (() => void)[] = [];

async function runProbe(
  name: string,
): Promise<{ code: number | null; output: string; errors: string }> {
  if (free > 0) free--;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  // Given to all: a probe that finds no log starts itself a second time to get one.
  const log = makeSendLog();
  try {
    return await new Promise((resolve) => {
      const env = { ...process.env, ...log?.environment };
      const child = spawn(
        process.execPath,
        [`${COMPILED}native-notes/probes/${name}.js`, '--json'],
        { cwd: root, env },
      );
      let output = '';
      let errors = '';
      child.stdout.on('data', (data: Buffer) => {
        output += data.toString();
        // Its result is there. Node 24 may wait for ever in process.exit() for code that is being
        // compiled (nodejs/node#54918); websocket-send did in 5 of 100 runs.
        if (/^\{.*\}\n/m.test(output)) child.kill('SIGKILL');
      });
      child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
      child.on('close', (code) => resolve({ code, output, errors }));
    });
  } finally {
    log?.remove();
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }
}

test.concurrent.for(facts)(
  '%s holds on the build of this machine',
  { timeout: 60_000 },
  async (name, { skip }) => {
    const { code, output, errors } = await runProbe(name);
    skip(code === skipExitCode, output.trim());
    const line = output.split('\n').find((text) => text.startsWith('{'));
    expect(line, `the probe printed no result: ${errors}`).toBeDefined();
    const result = JSON.parse(line ?? '{}') as { claim: string; holds: boolean; rows: object[] };
    expect(
      result.holds,
      `refuted: ${result.claim}\n${result.rows.map((row) => JSON.stringify(row)).join('\n')}\n${errors}`,
    ).toBe(true);
  },
);

/** Names of notes: those of probes, and those that a probe of another note proves. */
const noteNames = readdirSync(notes)
  .filter((name) => name.endsWith('.md') && name !== 'README.md')
  .map((name) => name.slice(0, -'.md'.length));
const index = readFileSync(`${notes}README.md`, 'utf8');

test('every probe has its note and its line in the index, and is tested here or slow', () => {
  const probes = readdirSync(`${notes}probes`)
    .filter((name) => name.endsWith('.ts') && name !== 'support.ts' && name !== 'send-log.ts')
    .map((name) => name.slice(0, -'.ts'.length));
  expect(probes.toSorted()).toEqual([...facts, ...slow].toSorted());
  expect(probes.filter((name) => !noteNames.includes(name))).toEqual([]);
  expect(noteNames.filter((name) => !index.includes(`| [${name}](${name}.md) |`))).toEqual([]);
});

test.each(noteNames)('%s names every build that it was probed on', (name) => {
  const status = /^\*\*Status: .*$/m.exec(readFileSync(`${notes}${name}.md`, 'utf8'))?.[0] ?? '';
  const named = [...status.matchAll(/@uwsjs\/core@[\d.]+/g)].map(([build]) => build);
  // What is about Node or the C library alone names no build.
  const isOfNode = named.length === 0 && /\bNode \d/.test(status);
  const wanted = isOfNode ? [] : BUILDS.map((build) => build.name);
  expect(named.toSorted()).toEqual(wanted.toSorted());
});

/** What a note says rests on it: one paragraph. */
function restsOn(name: string): string {
  return (
    /^\*\*What rests on it:\*\*.*(?:\n.+)*/m.exec(
      readFileSync(`${notes}${name}.md`, 'utf8'),
    )?.[0] ?? ''
  );
}

/** The files of the project that a note names there. */
function filesOf(name: string): string[] {
  return [...restsOn(name).matchAll(/\bsrc\/[\w./-]+\.ts\b|\bpackage\.json\b/g)].map(
    ([path]) => path,
  );
}

const sources = sourceFiles('src');

describe.each(noteNames)('what the note %s says rests on it', (name) => {
  const cited = sources
    .filter(({ text }) => text.includes(`native-notes/${name}.md`))
    .map(({ path }) => path);

  test('is there: its files, and what it names in them', () => {
    const named = filesOf(name);
    expect(named.filter((path) => !isThere(path))).toEqual([]);
    const text = named.map((path) => readFileSync(`${root}${path}`, 'utf8')).join('\n');
    // `listenOn`, `streamPort.write`, `#refuse`: each part is a word of one of the files.
    const words = [...restsOn(name).matchAll(/`#?([A-Za-z_][\w.]*)`/g)].flatMap(([, path = '']) =>
      path.split('.'),
    );
    expect(words.filter((word) => !new RegExp(`\\b${word}\\b`).test(text))).toEqual([]);
  });

  test('names it: every file that cites the note, and one that does', () => {
    expect(cited.filter((path) => !filesOf(name).includes(path))).toEqual([]);
    // The index says of what nothing rests on.
    const idle = /^## Facts nothing rests on$.*?(?=^## )/ms.exec(index)?.[0] ?? '';
    expect(cited.length > 0).toBe(!idle.includes(`(${name}.md)`));
  });
});
