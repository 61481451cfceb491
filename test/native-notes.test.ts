/**
 * The native facts that src/native, the pump and the transports rest on, proven again on the build that is installed: one test a
 * note in native-notes/, each probe in a process of its own. Probes over 3 s (`slow` below) are run by hand.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { makeSendLog, skipExitCode } from '../native-notes/probes/send-log.js';

const notes = fileURLToPath(new URL('../native-notes/', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));

const slow = ['memory-per-connection', 'pending-answer', 'ten-second-timer', 'websocket-idle-timeout'];
const facts = [
  'abort-is-synchronous',
  'accept-filter',
  'added-headers',
  'cork-size',
  'drain-in-writable',
  'end-of-stream',
  'exclusive-port',
  'head-and-empty-bodies',
  'header-limit',
  'header-values-unchecked',
  'kernel-buffers-before-stall',
  'one-closure-for-both',
  'one-cork-per-loop',
  'oversized-cork-loses-bytes',
  'pipelined-requests',
  'query-values',
  'request-parsing',
  'true-means-backlog-flushed',
  'unanswered-request-kills',
  'uncorked-write-is-four-sends',
  'upgrade-routing',
  'websocket-backpressure',
  'websocket-end',
  'websocket-protocol-errors',
  'websocket-send',
  'websocket-upgrade',
  'worker-exit-aborts',
  'zero-copy-arguments',
];

// Two at a time: the probes wait more than they compute, but the machine may have two cores only.
let free = 2;
const waiting: (() => void)[] = [];

async function runProbe(name: string): Promise<{ code: number | null; output: string; errors: string }> {
  if (free > 0) free--;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  // Given to all: a probe that finds no log starts itself a second time to get one.
  const log = makeSendLog();
  try {
    return await new Promise((resolve) => {
      const env = { ...process.env, ...log?.environment };
      const child = spawn(process.execPath, ['--import', 'tsx', `native-notes/probes/${name}.ts`, '--json'], { cwd: root, env });
      let output = '';
      let errors = '';
      child.stdout.on('data', (data: Buffer) => (output += data.toString()));
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

test.concurrent.for(facts)('%s holds on the installed build', { timeout: 60_000 }, async (name, { skip }) => {
  const { code, output, errors } = await runProbe(name);
  skip(code === skipExitCode, output.trim());
  const line = output.split('\n').find((text) => text.startsWith('{'));
  expect(line, `the probe printed no result: ${errors}`).toBeDefined();
  const result = JSON.parse(line ?? '{}') as { claim: string; holds: boolean; rows: object[] };
  expect(result.holds, `refuted: ${result.claim}\n${result.rows.map((row) => JSON.stringify(row)).join('\n')}\n${errors}`).toBe(
    true,
  );
});

test('every probe has its note and its line in the index, and is tested here or slow', () => {
  const probes = readdirSync(`${notes}probes`)
    .filter((name) => name.endsWith('.ts') && name !== 'support.ts' && name !== 'send-log.ts')
    .map((name) => name.slice(0, -'.ts'.length));
  const index = readFileSync(`${notes}README.md`, 'utf8');
  expect(probes.toSorted()).toEqual([...facts, ...slow].toSorted());
  for (const name of probes) {
    expect(existsSync(`${notes}${name}.md`), `native-notes/${name}.md`).toBe(true);
    expect(index, `native-notes/README.md`).toContain(`(${name}.md)`);
  }
});
