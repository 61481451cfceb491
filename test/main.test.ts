/**
 * The command line as its users meet it: a child process, its exit code, and what it says where.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { buildWords, thisHost } from '../src/native/builds.js';
import { runHoldline, serverForTest } from './support/server.js';
import { DEADLINE_MS, HttpClient } from './support/wire.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};

/** Longer than the time in which the same signal again counts as the first (src/terminal.ts). */
const SAME_SIGNAL_MS = 150;

/** What `--version` prints. */
const VERSION_LINE = `${version} (${buildWords(thisHost())})\n`;

/** Makes Node fail to find uWebSockets.js, as on a machine that no binary is made for. */
const hook =
  'export async function resolve(name, context, next) { if (name.startsWith("uWebSockets.js")) throw new Error("no binary here"); return next(name, context); }';
const registration = `import { register } from 'node:module'; register('data:text/javascript,${encodeURIComponent(hook)}');`;
const WITHOUT_NATIVE = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(registration)}`,
};

/** Hides the package with the binary, as npm leaves it out with --omit=optional. */
const hiding = `import Module from 'node:module';
const resolve = Module._resolveFilename;
Module._resolveFilename = (name, ...others) => resolve.call(Module, name.startsWith('@uwsjs/') ? name + '/hidden' : name, ...others);`;
const WITHOUT_BINARY = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hiding)}`,
};

describe('help and version', () => {
  it.each([
    [['--help'], /^Usage: holdline COMMAND \[options\]\n[^]*serve /],
    [['-h'], /^Usage: holdline COMMAND /],
    [['serve', '--help'], /^Usage: holdline serve \[options\]\n[^]*--replay-events N/],
    [['serve', '--no-such-option', '-h'], /^Usage: holdline serve /],
    [['help'], /^Usage: holdline COMMAND /],
    [['help', 'token'], /^Usage: holdline token /],
    [['serve', '--help'], /memory, lmdb:DIR on this disk, or nats:\/\/HOST:PORT for several/],
    [
      ['--version'],
      new RegExp(
        `^${version.replaceAll('.', '\\.')} \\(@uwsjs/core@20\\.(?:51\\.4|69\\.0), Node \\S+(?:, glibc [\\d.]+)?\\)\n$`,
      ),
    ],
  ])('%j goes to stdout, exit 0', (args, expected) => {
    const { status, stdout, stderr } = runHoldline(args);
    expect(stdout).toMatch(expected);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it('answers through the shebang', () => {
    const { status, stdout } = spawnSync(join(ROOT, 'dist/main.js'), ['--version'], {
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: VERSION_LINE });
  });
});

describe('a wrong command line', () => {
  it.each([
    [[], 'no command was given; holdline --help lists them, holdline serve starts a server'],
    [['srve'], '"srve" is not a command; did you mean serve?'],
    [['toString'], '"toString" is not a command; holdline --help lists them'],
    [['--port', '1'], '--port must come after a command, as in holdline serve --port'],
    [
      ['serve', '--threads', '2'],
      '--threads is not an option; holdline serve --help lists the options (HOLDLINE_BAD_OPTION)',
    ],
    [
      ['serve', '--port', '70000'],
      '--port must be an integer from 0 to 65535 (got "70000") (HOLDLINE_BAD_OPTION)',
    ],
  ])('%j is refused on stderr in one line, exit 2', (args, words) => {
    expect(runHoldline(args)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `holdline: ${words}\n`,
    });
  });

  it('may also be the environment', () => {
    expect(runHoldline(['serve'], { HOLDLINE_SLOW: 'drop' })).toMatchObject({
      status: 2,
      stderr:
        'holdline: HOLDLINE_SLOW must be one of gap, latest, close (got "drop") (HOLDLINE_BAD_OPTION)\n',
    });
  });
});

describe('--print-config', () => {
  it('prints what flag, environment and file come to, without secrets, and exits', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'holdline.json');
    writeFileSync(path, JSON.stringify({ port: 1, heartbeat: '30s', 'publish-key': 'hush' }));
    const { status, stdout } = runHoldline(
      ['serve', '--print-config', '--config', path, '--retry', '1s'],
      {
        HOLDLINE_PORT: '2',
      },
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^retry +1s +flag$/m);
    expect(stdout).toMatch(/^port +2 +environment$/m);
    expect(stdout.split('\n').find((line) => line.startsWith('heartbeat'))).toMatch(
      new RegExp(`^heartbeat +30s +file ${path}$`),
    );
    expect(stdout).toMatch(/^replay-events +1024 +default$/m);
    expect(stdout).toMatch(/^publish-key +\*{8} +file /m);
    expect(stdout).not.toContain('hush');
  });
});

describe('where no native module loads', () => {
  it('help, version and mistakes answer all the same', () => {
    expect(runHoldline(['serve', '--help'], WITHOUT_NATIVE)).toMatchObject({
      status: 0,
      stderr: '',
    });
    expect(runHoldline(['--version'], WITHOUT_NATIVE)).toMatchObject({ status: 0, stderr: '' });
    expect(runHoldline(['serve', '--port', 'x'], WITHOUT_NATIVE).status).toBe(2);
    expect(runHoldline(['serve', '--print-config'], WITHOUT_NATIVE).status).toBe(0);
  });

  it('serving says so in words, exit 1', () => {
    const { status, stdout, stderr } = runHoldline(['serve', '--port', '0'], WITHOUT_NATIVE);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^holdline: .*no binary here.* \(HOLDLINE_NATIVE\)\n$/);
    expect(stderr).not.toMatch(/^ +at /m);
  });
});

it('where the binary was not installed, serving names it and what helps in its first line', () => {
  const { status, stdout, stderr } = runHoldline(['serve', '--port', '0'], WITHOUT_BINARY);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(
    /^holdline: @uwsjs\/\S+, the binary of @uwsjs\/core@\S+ for Node \d+, is not installed: run npm install .* without --omit=optional \(HOLDLINE_NATIVE\)\n$/,
  );
});

describe('serving', () => {
  it('says "listening" first, with where', async () => {
    const server = await serverForTest({ host: '127.0.0.1' });
    expect(server.logs[0]).toMatchObject({
      msg: 'listening',
      host: '127.0.0.1',
      port: server.port,
      url: server.url,
      version,
      build: expect.stringMatching(/^@uwsjs\/core@/) as string,
      node: process.versions.node,
    });
    expect(server.port).toBeGreaterThan(0);
    expect(server.errorOutput).toBe('');
  });

  it('makes an ops key for the run and says it, and never says one that was given', async () => {
    const [first, second, given] = await Promise.all([
      serverForTest(),
      serverForTest(),
      serverForTest({ 'ops-key': 'hush-hush' }),
    ]);
    expect(first.opsKey).toMatch(/^[\w-]{32}$/);
    expect(second.opsKey).not.toBe(first.opsKey);
    expect((await given.stats()).version).toBe(version);
    expect(JSON.stringify(given.logs)).not.toMatch(/hush-hush|ops key/);
  });

  it('cautions against ids that start again and against publishing that is open or closed to all', async () => {
    const [open, closed] = await Promise.all([
      serverForTest({ host: '0.0.0.0' }),
      serverForTest({ 'open-publish': false, 'first-id': false }),
    ]);
    const warnings = (server: typeof open): unknown[] =>
      server.logs.filter((log) => log['level'] === 40).map((log) => log['msg']);
    await Promise.all(
      [open, closed].map((server) => server.waitFor('warnings', () => warnings(server).length > 0)),
    );
    expect(warnings(open)).toEqual([
      'ids start at 1 again after a restart (--first-id): clients that come back may miss events without a gap notice',
      'everyone who reaches 0.0.0.0 may publish (--open-publish)',
      'everyone who reaches 0.0.0.0 may read every channel: nothing says who may (--keys-file, --jwt-…, --ticket-secret-file; --open-subscribe if that is meant)',
    ]);
    expect(warnings(closed)).toEqual([
      'nobody may publish: give --publish-key, --keys-file, --jwt-… or --open-publish',
    ]);
  });

  it('warns of an unknown HOLDLINE_ variable on stderr and serves', async () => {
    const server = await serverForTest({}, { HOLDLINE_HOSTT: 'x' });
    expect(server.errorOutput).toBe(
      'holdline: warning: the environment variable HOLDLINE_HOSTT is not an option and has no effect; did you mean HOLDLINE_HOST?\n',
    );
  });

  it('says in words that a port is taken, exit 1', async () => {
    const { port } = await serverForTest();
    const { status, stdout, stderr } = runHoldline(['serve', '--port', String(port)]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^holdline: .*${port}.* \\(HOLDLINE_LISTEN\\)\n$`));
  });

  it('reads its credentials again on SIGHUP, whether they are right or not, and drops no line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [path, config] = [join(folder, 'key'), join(folder, 'holdline.json')];
    writeFileSync(path, 'old-key\n');
    writeFileSync(config, '{}');
    const server = await serverForTest({
      'open-publish': false,
      'publish-key-file': path,
      config,
    });
    const line = connect(server.port, '127.0.0.1');
    onTestFinished(() => void line.destroy());
    let got = '';
    line.setEncoding('utf8').on('data', (text: string) => (got += text));
    line.write('GET /c HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n');
    await server.statsUntil('a line', ({ lines }) => lines.open === 1);
    const publish = async (key: string): Promise<number> =>
      (
        await fetch(`${server.url}/c`, {
          method: 'POST',
          body: key,
          headers: { authorization: `Bearer ${key}` },
        })
      ).status;
    const reload = async (words: string): Promise<Record<string, unknown>> => {
      const { length } = server.logs;
      server.signal('SIGHUP');
      const logged = (): Record<string, unknown> | undefined =>
        server.logs.slice(length).find((log) => String(log['msg']).startsWith(words));
      await server.waitFor(words, () => logged() !== undefined);
      return logged()!;
    };
    expect([await publish('old-key'), await publish('new-key')]).toEqual([200, 401]);

    writeFileSync(path, 'new-key\n');
    writeFileSync(config, JSON.stringify({ heartbeat: '9s', port: 1 }));
    expect(await reload('reloaded')).toMatchObject({ changed: ['--publish-key'] });
    expect([await publish('old-key'), await publish('new-key')]).toEqual([401, 200]);
    await server.waitFor('what needs a restart', () =>
      server.logs.some((log) => log['msg'] === 'changed, and needs a restart: --heartbeat'),
    );

    writeFileSync(config, JSON.stringify({ 'publish-key': 'x', 'open-publish': true }));
    const { msg: conflict } = await reload('not reloaded');
    expect(conflict).toMatch(/: --publish-key-file and "open-publish" in .* exclude each other/);
    writeFileSync(config, '{}');

    writeFileSync(path, 'not a key\n');
    const { msg, level } = await reload('not reloaded');
    expect(level).toBe(50);
    expect(msg).toMatch(/^not reloaded, what was read before counts on: --publish-key-file \(in /);
    expect(await publish('new-key')).toBe(200);
    expect(JSON.stringify(server.logs)).not.toMatch(/old-key|new-key|not a key/);
    // Its ops key was made at the start, and is still the same.
    await server.statsUntil('the line', ({ lines }) => lines.open === 1);
    await expect
      .poll(() => got.match(/data: .*/g))
      .toEqual(['data: old-key', 'data: new-key', 'data: new-key']);
  });

  it.each([
    ['one process', []],
    ['two workers', ['--workers', '2']],
  ])('ends in order when its terminal is gone: %s', async (_, flags) => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-terminal-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    // A shell, as a person has it: it passes the hangup on, and sees how its command ends. What it
    // runs beside itself would have no terminal as stdin.
    const command = [process.execPath, join(ROOT, 'dist/main.js'), 'serve', ...flags];
    const shell = `trap 'kill -HUP $pid' HUP
      ${command.map((word) => `'${word}'`).join(' ')} --open-publish --port 0 < /dev/tty 2> errors &
      pid=$!; echo $pid > pid; wait $pid; wait $pid; echo $? > code`;
    writeFileSync(join(folder, 'run'), shell);
    const terminal = spawn('script', ['-qefc', 'exec sh run', '/dev/null'], { cwd: folder });
    onTestFinished(() => void terminal.kill('SIGKILL'));
    let shown = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    await expect.poll(() => shown, { timeout: DEADLINE_MS }).toContain('listening');
    const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
    const code = join(folder, 'code');
    onTestFinished(() => void (existsSync(code) || process.kill(pid, 'SIGKILL')));
    terminal.kill('SIGKILL');
    await expect
      .poll(() => existsSync(code) && readFileSync(code, 'utf8'), { timeout: DEADLINE_MS })
      .toMatch(/\n$/);
    // What every process writes that Node aborts.
    const errors = readFileSync(join(folder, 'errors'), 'utf8');
    expect([readFileSync(code, 'utf8'), errors]).toEqual(['0\n', '']);
  });

  it('serves, and ends in order, where its log cannot be written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-full-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const socketPath = join(folder, 'socket');
    // Every write there fails with ENOSPC.
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    const child = spawn(
      process.execPath,
      [join(ROOT, 'dist/main.js'), 'serve', '--open-publish', '--unix-socket', socketPath],
      { stdio: ['ignore', full, 'inherit'] },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    const health = (): Promise<number | undefined> =>
      new Promise((resolve) => {
        get({ socketPath, path: '/-/health', timeout: 1000 }, (answer) =>
          resolve(answer.resume().statusCode),
        )
          .on('timeout', () => resolve(undefined))
          .on('error', () => resolve(undefined));
      });
    await expect.poll(health, { timeout: DEADLINE_MS }).toBe(200);
    // By then the first entry has failed, and the server has outlived it.
    await sleep(SAME_SIGNAL_MS);
    expect(await health()).toBe(200);
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  });

  it('counts what its log does not have: left out because it was said before, or dropped', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-full-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    const counted = async (level: string, requests: number): Promise<Record<string, number>> => {
      const socketPath = join(folder, level);
      const options = ['--open-publish', '--log-level', level, '--unix-socket', socketPath];
      const child = spawn(process.execPath, [join(ROOT, 'dist/main.js'), 'serve', ...options], {
        stdio: ['ignore', full, 'inherit'],
        env: { ...process.env, HOLDLINE_OPS_KEY: 'key' },
      });
      onTestFinished(() => void child.kill('SIGKILL'));
      const agent = new Agent({ keepAlive: true, maxSockets: 4 });
      onTestFinished(() => agent.destroy());
      const headers = { Authorization: 'Bearer key' };
      const ask = async (path: string): Promise<string> => {
        const [answer] = (await once(get({ socketPath, path, agent, headers }), 'response')) as [
          IncomingMessage,
        ];
        return readAll(answer);
      };
      await expect
        .poll(() => ask('/-/health').catch(() => ''), { timeout: DEADLINE_MS })
        .toMatch(/ok/);
      const asked = Array.from({ length: requests }, () => ask('/-/nothing'));
      await Promise.all(asked);
      return (JSON.parse(await ask('/-/stats')) as { counters: Record<string, number> }).counters;
    };
    const few = await counted('info', 9);
    expect(few['refused_total']).toBe(9);
    expect(few['server_log_suppressed_total']).toBeGreaterThan(0);
    expect(few['server_log_dropped_total']).toBe(0);
    // An entry has more than 200 bytes.
    const many = await counted('debug', 6_000);
    expect(many['server_log_suppressed_total']).toBe(0);
    expect(many['server_log_dropped_total']).toBeGreaterThan(0);
    expect(many['server_log_dropped_total']).toBeLessThan(6_000);
  });

  it('logs its end, flushes the log and exits 0', async () => {
    const server = await serverForTest();
    expect(await server.stop('SIGTERM')).toBe(0);
    await server.waitFor('the last log line', () => server.logs.at(-1)?.['msg'] === 'closed');
    expect(server.logs.at(-2)).toMatchObject({ signal: 'SIGTERM', drainMs: 10_000 });
  });

  it('logs text at a terminal, the demo on a line of its own, and ends with Ctrl-C', async () => {
    const main = join(ROOT, 'dist/main.js');
    // `exec`: a shell that stays, as dash does, would be ended by the signal itself.
    const run = `exec '${process.execPath}' '${main}' serve --demo --open-publish --port 0`;
    const terminal = spawn('script', ['-qefc', run, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '1' },
    });
    onTestFinished(() => void terminal.kill('SIGKILL'));
    let shown = '';
    const exit = new Promise((resolve) => terminal.once('exit', resolve));
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    await expect.poll(() => shown, { timeout: DEADLINE_MS }).toMatch(/ops key made .+\r\n$/);
    terminal.stdin.write('\u0003');
    expect(await exit).toBe(0);
    const lines = shown.replaceAll(/\d\d:\d\d:\d\d\.\d{3}/g, 'T').split('\r\n');
    const url = /url=(http:\/\/127\.0\.0\.1:\d+) /.exec(lines[0]!)?.[1];
    expect(lines[0]).toMatch(/^T info {2}listening host=127\.0\.0\.1 port=\d+ url=/);
    expect(lines.slice(1, 3)).toEqual(['T info  open the demo in a browser', `  ${url}/-/demo`]);
    expect(lines[3]).toMatch(/^T info {2}ops key made for this run opsKey=[\w-]{32}$/);
    expect(lines.slice(-3)).toEqual([
      expect.stringMatching(
        /T info {2}draining; a second signal hurries, a third one ends it at once signal=SIGINT drainMs=10000$/,
      ),
      'T info  closed',
      '',
    ]);
  });

  it.each([
    ['text', /^\d\d:\d\d:\d\d\.\d{3} info {2}listening /],
    ['json', /^\{"level":30,/],
    ['auto', /^\{"level":30,/],
  ])('--log-format %s in a file', async (format, expected) => {
    const child = spawn(
      process.execPath,
      [join(ROOT, 'dist/main.js'), 'serve', '--open-publish', '--port=0', '--log-format', format],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    let logged = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (logged += text));
    await expect.poll(() => logged, { timeout: DEADLINE_MS }).toMatch(expected);
    expect(logged).not.toContain('\u001b');
  });

  it('ends at once with exit 1 at a third signal while it drains', async () => {
    const server = await serverForTest({ drain: '1min' });
    const reader = connect(server.port, '127.0.0.1').pause();
    onTestFinished(() => void reader.destroy());
    reader.on('error', () => {});
    reader.write('GET /c HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n');
    await server.statsUntil('a line', ({ lines }) => lines.open === 1);
    const events = Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) }));
    for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled)
      await server.publishBatch('c', events);
    const held = await HttpClient.open(server.port);
    onTestFinished(() => held.close());
    await held.request('GET', '/-/health');
    // Twice at once is once: that is how Ctrl-C arrives under npm start.
    server.signal('SIGTERM');
    server.signal('SIGTERM');
    await server.waitFor('draining', () =>
      server.logs.some((log) => String(log['msg']).startsWith('draining')),
    );
    // However late another comes, the two did not hurry the server.
    await sleep(SAME_SIGNAL_MS);
    expect((await held.request('GET', '/-/ready')).status).toBe(503);
    server.signal('SIGINT');
    await server.waitFor('hurried', () =>
      server.logs.some((log) => log['msg'] === 'hurried by a second signal'),
    );
    expect(await server.stop('SIGTERM', 900)).toBe(1);
    await server.waitFor(
      'the last log line',
      () => server.logs.at(-1)?.['msg'] === 'ended by a third signal',
    );
  });
});
