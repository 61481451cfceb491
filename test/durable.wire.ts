/**
 * `holdline serve --log lmdb:DIR`: what a process that is killed had acknowledged is there for the
 * next one, and a log that cannot be used ends the command in words.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine } from './support/line.js';
import { runHoldline, serverForTest, type Flags, type TestServer } from './support/server.js';
import { until } from './support/until.js';
import { codeOf, jsonOf, type Answer } from './support/wire.js';

function directoryForTest(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdline-log-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A log of its own, and a server on it; `again` kills the server and starts another one. */
async function serverOnLog(flags: Flags = {}) {
  const log = `lmdb:${join(directoryForTest(), 'log')}`;
  const start = (): Promise<TestServer> =>
    serverForTest({ log, 'log-ballast': '1MiB', 'ops-key': 'ops', ...flags });
  const again = async (killed: TestServer): Promise<TestServer> => {
    killed.kill();
    await killed.exited();
    return start();
  };
  return { log, server: await start(), again };
}

interface Told {
  readonly id: number;
  readonly data: unknown;
}

async function poll(server: TestServer, path: string): Promise<readonly Told[]> {
  const answer = await server.request('GET', path);
  expect([answer.status, path]).toEqual([200, path]);
  return jsonOf(answer) as readonly Told[];
}

/** What polls are answered, each going on where the one before ended, until there is no more. */
async function pollOn(server: TestServer, path: string): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for (let next = `${path}&limit=100`; ;) {
    const answer = await server.request('GET', `${next}&wait=0`);
    if (answer.status === 204) return found;
    expect(answer.status).toBe(200);
    found.push(...(jsonOf(answer) as readonly Told[]).map(({ data }) => data));
    next = `${path.split('?')[0]}?limit=100&since=${answer.headers.get('holdline-position')}`;
  }
}

describe('a server that is killed and started again', () => {
  test('resumes its readers with nothing missed, nothing twice and no gap', async () => {
    const { server, again } = await serverOnLog({ 'replay-events': 4 });
    const line = await SseLine.open(server.port, '/a');
    const { last } = await server.publishBatch('a', [{ data: 1 }, { data: 2 }]);
    await line.waitForId(last);
    // While the reader is away, and more than the ring holds.
    line.close();
    const missed = Array.from({ length: 20 }, (_, i) => ({ data: i }));
    const published = await server.publishBatch('a', missed);

    const next = await again(server);
    const headers = { 'Last-Event-ID': String(last) };
    const back = await SseLine.open(next.port, '/a', { headers });
    await back.waitForEvents(missed.length);
    const live = await next.publish('a', 'live');
    await back.waitForId(live);
    expect([back.ids.length, back.ids[0], back.ids.at(-1), back.gaps]).toEqual([
      21,
      published.first,
      live,
      [],
    ]);
    expect(live).toBeGreaterThan(published.last);
    back.close();
  });

  test('answers last, since and polls from what it kept', async () => {
    const { server, again } = await serverOnLog({ 'replay-events': 4 });
    const events = Array.from({ length: 12 }, (_, i) => ({ data: i }));
    const { first, last } = await server.publishBatch('a', events);
    await server.publish('other', 'x');
    const next = await again(server);
    expect(await pollOn(next, '/a?last=5')).toEqual([7, 8, 9, 10, 11]);
    expect(await pollOn(next, `/a?since=${first}`)).toEqual(
      events.slice(1).map(({ data }) => data),
    );
    expect(await pollOn(next, '/a?since=10m')).toHaveLength(12);
    const line = await SseLine.open(next.port, '/a?last=5');
    await line.waitForId(last);
    expect([line.ids.length, line.gaps]).toEqual([5, []]);
    line.close();
    expect((await next.request('GET', `/a?since=${last}&wait=0`)).status).toBe(204);
    expect(await next.stats()).toMatchObject({
      log: { kind: 'lmdb', up: true, problem: null, events: 13 },
    });
  });

  test('with async: tells its readers of a gap, and gives what it has kept', async () => {
    const { server, again } = await serverOnLog({ durability: 'async' });
    const { last } = await server.publishBatch('a', [{ data: 1 }, { data: 2 }]);
    // A read of the log has it committed.
    expect(await pollOn(server, '/a?since=10m')).toEqual([1, 2]);
    const next = await again(server);
    const headers = { 'Last-Event-ID': String(last) };
    const back = await SseLine.open(next.port, '/a', { headers });
    const newest = await SseLine.open(next.port, '/a?last=1');
    const live = await next.publish('a', 'live');
    await back.waitForId(live);
    await newest.waitForId(live);
    expect([back.ids, back.gaps.length]).toEqual([[live], 1]);
    expect([newest.ids, newest.gaps.length]).toEqual([[last, live], 1]);
    for (const line of [back, newest]) line.close();
    // Also by the start after the next one.
    expect(await pollOn(next, '/a?since=10m')).toEqual([1, 2, 'live']);
    const third = await again(next);
    expect(await poll(third, `/a?since=${last}&limit=9&wait=0`)).toMatchObject([
      { gap: { after: last, before: live }, id: live, data: 'live' },
    ]);
  });

  test('has no more of a channel that was deleted', async () => {
    const { server, again } = await serverOnLog();
    const before = await server.publish('a', 'before');
    await server.publish('a', 'lost');
    await server.deleteChannel('a');
    const after = await server.publish('a', 'after');
    const next = await again(server);
    expect(await poll(next, '/a?since=0&limit=9')).toMatchObject([{ id: after, data: 'after' }]);
    // A reader from before the deletion is told of it.
    expect(await poll(next, `/a?since=${before}&limit=9`)).toMatchObject([{ id: after, gap: {} }]);
  });

  test('answers a channel that was deleted as before, whoever asks', async () => {
    const { server, again } = await serverOnLog();
    const before = await server.publish('a', 'before');
    await server.publish('a', 'lost');
    const { id: deleted } = await server.deleteChannel('a');
    const sse = { Accept: 'text/event-stream' };
    const answers = async (one: TestServer) => {
      const asked: readonly (readonly ['GET' | 'HEAD', string, Record<string, string>])[] = [
        ['HEAD', '/a', sse],
        ['GET', '/a', sse],
        ['GET', '/a', { ...sse, 'Last-Event-ID': String(before) }],
        ['GET', '/a', { ...sse, 'Last-Event-ID': String(deleted) }],
        ['GET', `/a?since=${before}&wait=0`, {}],
        ['GET', `/a?since=${deleted}&wait=0`, {}],
      ];
      const found = await Promise.all(
        asked.map(async ([method, path, headers]) => one.request(method, path, { headers })),
      );
      return found.map(({ status, text }) => [status, text]);
    };
    const nothing = [204, ''];
    const expected = Array.from({ length: 6 }, () => nothing);
    expect(await answers(server)).toEqual(expected);
    const next = await again(server);
    expect(await answers(next)).toEqual(expected);
    // A stream that an EventSource does not read is opened, and lives.
    const line = await NdjsonLine.open(next.port, '/a');
    const id = await next.publish('a', 'again');
    await line.waitForId(id);
    line.close();
    const stream = await SseLine.open(next.port, '/a?since=0');
    await stream.waitForId(id);
    stream.close();
  });

  test('publishes once what its publisher sends again', async () => {
    const { server, again } = await serverOnLog();
    const headers = { 'Idempotency-Key': 'order-7', 'Content-Type': 'text/plain' };
    const first = await server.post('a', 'x', { headers });
    const next = await again(server);
    const repeated = await next.post('a', 'x', { headers });
    expect([repeated.status, jsonOf(repeated)]).toEqual([200, jsonOf(first)]);
    expect(codeOf(await next.post('a', 'y', { headers }))).toBe('HOLDLINE_IDEMPOTENCY_MISMATCH');
    expect(await poll(next, '/a?since=0&limit=9')).toHaveLength(1);
  });

  test('refuses the tokens that were revoked', async () => {
    const secret = 'a-secret-of-thirty-two-bytes-or-more';
    const { server, again } = await serverOnLog({ 'jwt-secret': secret });
    const iat = Math.floor(Date.now() / 1000) - 10;
    const token = await new SignJWT({
      sub: 'ada',
      iat,
      exp: iat + 600,
      holdline: { subscribe: ['**'] },
    })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(secret));
    const headers = { Authorization: `Bearer ${token}` };
    expect((await server.request('GET', '/a?wait=0', { headers })).status).toBe(204);
    const revoked = await server.request('DELETE', '/-/connections?user=ada', {
      headers: server.opsHeaders,
    });
    expect(revoked.status).toBe(200);
    const next = await again(server);
    expect(codeOf(await next.request('GET', '/a?wait=0', { headers }))).toBe('HOLDLINE_REVOKED');
  });
});

describe.each([
  ['one process', {}],
  ['workers', { workers: 2 }],
] as const)('SIGHUP to %s', (_name, flags) => {
  test('changes what channels keep, at once, and a mistake changes nothing', async () => {
    const policies = join(directoryForTest(), 'policies.json');
    const write = (keepEvents: unknown): void =>
      writeFileSync(policies, JSON.stringify([{ channels: 'a', keepEvents }]));
    write(8);
    const { server } = await serverOnLog({
      ...flags,
      'policies-file': policies,
      'replay-events': 1,
    });
    const keeps = (events: number) =>
      server.statsUntil(`${events} events`, ({ log }) => log.events === events);
    const says = (words: string) =>
      server.waitFor(words, () => server.logs.some(({ msg }) => String(msg).startsWith(words)));
    await server.publishBatch('b', [{ data: 1 }]);
    await server.publishBatch(
      'a',
      Array.from({ length: 10 }, (_, i) => ({ data: i })),
    );
    await keeps(9);
    write('a mistake');
    server.signal('SIGHUP');
    await says('not reloaded');
    write(3);
    server.signal('SIGHUP');
    await says('reloaded');
    await keeps(4);
    expect(await pollOn(server, '/a?since=0')).toEqual([7, 8, 9]);
  });
});

test('SIGHUP lets a log on disk keep more or less from then on', async () => {
  const config = join(directoryForTest(), 'holdline.json');
  const write = (more: object): void => writeFileSync(config, JSON.stringify(more));
  write({ 'log-events': 6 });
  const { server } = await serverOnLog({ config });
  const keeps = (events: number) =>
    server.statsUntil(`${events} events`, ({ log }) => log.events === events);
  const nine = Array.from({ length: 9 }, (_, i) => ({ data: i }));
  await server.publishBatch('a', nine);
  await keeps(6);
  write({ 'log-events': 2, 'log-ballast': '2MiB' });
  server.signal('SIGHUP');
  await keeps(2);
  const changed = server.logs.find(({ msg }) => msg === 'reloaded');
  expect(changed).toMatchObject({ changed: ['--log-events'] });
  write({ 'log-events': 4 });
  server.signal('SIGHUP');
  await server.waitFor(
    'it is read again',
    () => server.logs.filter(({ msg }) => msg === 'reloaded').length === 2,
  );
  await server.publishBatch('a', nine);
  await keeps(4);
});

test('SIGHUP says where keep… of policies has no effect', async () => {
  const policies = join(directoryForTest(), 'policies.json');
  writeFileSync(policies, '[]');
  const server = await serverForTest({ 'policies-file': policies });
  writeFileSync(policies, JSON.stringify([{ channels: 'a', keepEvents: 9 }]));
  server.signal('SIGHUP');
  const warning = /^keepEvents, .* have no effect without an lmdb log/;
  await expect
    .poll(() => server.logs.map(({ msg }) => msg))
    .toContainEqual(expect.stringMatching(warning));
});

describe('a log that cannot be used', () => {
  const serve = (log: string, ...more: string[]) =>
    runHoldline(['serve', '--port=0', '--open-publish', `--log=${log}`, ...more]);

  test('of a server that runs ends the second one with exit code 2, in one sentence', async () => {
    const { log, server } = await serverOnLog();
    const { status, stdout, stderr } = serve(log);
    expect([status, stdout.trim().split('\n').length]).toEqual([2, 1]);
    expect(stderr).toMatch(
      new RegExp(`^holdline: .*\\b${server.child.pid}\\b.*\\(HOLDLINE_BAD_LOG\\)\\n$`),
    );
    expect(await server.publish('a', 'still served')).toBeGreaterThan(0);
  });

  test('in a directory of something else is left alone, exit code 2', () => {
    const directory = directoryForTest();
    mkdirSync(join(directory, 'photos'));
    writeFileSync(join(directory, 'data.mdb'), 'not a database');
    const { status, stderr } = serve(`lmdb:${directory}`);
    expect(stderr).toMatch(/^holdline: .*\(HOLDLINE_BAD_LOG\)\n$/);
    expect(status).toBe(2);
  });
});

/** A small disk of the test's own; undefined, and a reason on the console, if none may be had. */
function smallDisk(): string | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'holdline-disk-'));
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'holdline', directory]);
  if (mount.status === 0) return directory;
  console.warn(`not tested on a full disk: ${String(mount.stderr).trim()}`);
  rmSync(directory, { recursive: true });
  return undefined;
}

const disk = smallDisk();
afterAll(() => {
  if (disk === undefined) return;
  spawnSync('umount', ['-l', disk]);
  rmSync(disk, { recursive: true, force: true });
});

test.runIf(disk !== undefined)(
  'a full disk refuses publishes with 503, readers are served, and it goes on when there is room',
  async () => {
    const log = `lmdb:${join(disk!, 'log')}`;
    const server = await serverForTest({ log, 'log-ballast': '1MiB', 'ops-key': 'ops' });
    const first = await server.publish('a', 'first');
    const filling = join(disk!, 'filling');
    // All that is left, of which another program is to blame.
    spawnSync('dd', ['if=/dev/zero', `of=${filling}`, 'bs=64k', 'count=1000'], { stdio: 'ignore' });
    let refused: Answer | undefined;
    for (let i = 0; i < 200 && refused === undefined; i++) {
      const answer = await server.post('b', 'x'.repeat(60_000));
      if (answer.status !== 200) refused = answer;
    }
    expect([refused?.status, codeOf(refused!)]).toEqual([503, 'HOLDLINE_LOG_UNAVAILABLE']);
    expect(Number(refused!.headers.get('retry-after'))).toBeGreaterThan(0);
    const ready = await server.request('GET', '/-/ready');
    expect(jsonOf(ready)).toMatchObject({ status: 'degraded', log: 'down' });
    expect(await poll(server, '/a?since=0&limit=9')).toMatchObject([{ id: first, data: 'first' }]);
    rmSync(filling);
    await server.statsUntil('the log takes events again', ({ log: { up } }) => up, 10_000);
    expect(await server.publish('a', 'second')).toBeGreaterThan(first);
  },
);

test('SIGTERM while the log is being opened ends the server in order', async () => {
  // Nobody answers there, and the server tries for a while.
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'serve', '--port=0', '--open-publish', '--log=nats://127.0.0.1:9'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const ended = once(child, 'exit');
  await until('the log is being opened', () => output.includes('opening the log'), 5_000);
  child.kill('SIGTERM');
  const [code] = (await ended) as [number | null];
  expect([code, output]).toEqual([0, expect.stringContaining('ended before it listened')]);
});
