/** `serve --workers`: processes that are killed and stopped under load. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { freePort } from '../bench/ports.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { serverForTest, TEST_FLAGS, toArguments } from './support/server.js';
import { HttpClient, jsonOf } from './support/wire.js';
import { Follower, isRunning, page } from './support/workers.js';
import { until } from './support/until.js';

test('readers of a worker that is killed go on at another one, and workers end with the supervisor', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  const first = await server.publish('c', 'first');
  const followers = Array.from({ length: 8 }, () => new Follower(server, 'c', first));
  await server.statsUntil('all follow', ({ lines }) => lines.open === followers.length);
  const { workers } = await page(server, 'stats');
  const ids: number[] = [];
  let isOver = false;
  const publishing = (async () => {
    while (!isOver) {
      const id = await server.publish('c', 'x').catch(() => undefined);
      if (id !== undefined) ids.push(id);
    }
  })();
  for (const pid of workers.pids) {
    await sleep(100);
    process.kill(pid, 'SIGKILL');
    await until('another one serves', async () => {
      const now = (await page(server, 'stats')).workers;
      return now.serving === 2 && !now.pids.includes(pid);
    });
  }
  isOver = true;
  await publishing;
  const last = await server.publish('c', 'last');
  for (const follower of followers) {
    await until('the last event', async () => follower.all.includes(last));
    const got = follower.all;
    expect(got.filter((id, index) => index > 0 && id <= got[index - 1]!)).toEqual([]);
    expect(ids.filter((id) => !got.includes(id))).toEqual([]);
    expect(follower.allGaps).toBe(0);
    expect(follower.returns).toBeGreaterThan(0);
  }
  const after = (await page(server, 'stats')).workers;
  expect(after.restarts).toBe(2);

  // The supervisor is killed: the workers end.
  expect(after.pids.every(isRunning)).toBe(true);
  server.kill();
  await until('no worker runs', async () => !after.pids.some(isRunning));
});

test('a worker that hangs is replaced, and publishers do not wait for it', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  const { pids } = (await page(server, 'stats')).workers;
  const stopped = pids[0]!;
  // Connections that are there before: those of the worker that goes on are answered.
  const clients = await Promise.all(Array.from({ length: 10 }, () => HttpClient.open(server.port)));
  onTestFinished(() => clients.forEach((client) => client.connection.destroy()));
  process.kill(stopped, 'SIGSTOP');
  onTestFinished(() => {
    if (isRunning(stopped)) process.kill(stopped, 'SIGKILL');
  });
  const delays: number[] = [];
  const publishing = clients.map(async (client) => {
    for (let i = 0; i < 20; i++) {
      const begunMs = performance.now();
      const answer = await client.request('POST', '/c', { body: 'x' });
      expect(answer.status).toBe(200);
      delays.push(performance.now() - begunMs);
    }
  });
  void Promise.allSettled(publishing);
  await until('those of the other worker are answered', async () => delays.length >= 20, 4_000);
  expect(Math.max(...delays)).toBeLessThan(1_500);
  await until('it is gone', async () => !isRunning(stopped), 12_000);
  await until('another one serves', async () => {
    const { workers } = await page(server, 'stats');
    return workers.serving === 2 && workers.restarts === 1;
  });
  expect(server.logs.some(({ msg }) => msg === 'a worker hangs and is ended')).toBe(true);
});

test('while the supervisor stands still publishes are answered, the server is degraded, and lines stay', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  const line = await SseLine.open(server.port, '/c');
  onTestFinished(() => line.close());
  const before = await server.publish('c', 'before');
  server.signal('SIGSTOP');
  onTestFinished(() => server.signal('SIGCONT'));
  const publish = async (): Promise<number> =>
    (await server.request('POST', '/c', { body: 'x' })).status;
  // The supervisor may have it, and commit it later.
  expect(await publish()).toBe(504);
  await until('others are refused at once', async () => (await publish()) === 503);
  // Each worker notices by itself, one a moment after the other.
  await until('it says so', async () => {
    const { status } = jsonOf(await server.request('GET', '/-/ready', {})) as { status: string };
    return status === 'degraded';
  });
  server.signal('SIGCONT');
  await until('the log is up', async () => (await publish()) === 200);
  await until('it is given all', async () => line.ids.length >= 3);
  expect(line.ids[0]).toBe(before);
  expect(line.closed).toBe(false);
});

test('the lines of a dead worker can be held by the others: limits are lent, not divided', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', 'max-connections': 8 });
  const open = async (): Promise<SseLine[]> => {
    const lines: SseLine[] = [];
    onTestFinished(() => lines.forEach((line) => line.close()));
    await until('all 8 lines are held', async () => {
      const line = await NdjsonLine.open(server.port, '/c').catch(() => undefined);
      if (line?.head.status === 200) lines.push(line as never);
      else line?.close();
      return (await server.stats()).lines.open === 8;
    });
    return lines;
  };
  await open();
  const refused = await server.request('GET', '/c?poll=1&wait=5', {});
  expect(refused.status).toBe(503);
  const [pid] = (await page(server, 'stats')).workers.pids;
  process.kill(pid!, 'SIGKILL');
  await until('its lines are gone', async () => (await server.stats()).lines.open < 8);
  await open();
});

/**
 * The second worker of a server, stopped before it can listen. Before it runs a program of its own
 * its supervisor would stand still with it.
 */
async function stoppedSecond({ pid }: ChildProcess): Promise<number> {
  const commandOf = (one: number | undefined): string =>
    readFileSync(`/proc/${one}/cmdline`, 'latin1');
  const second = await until('the second worker', () => {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    const [, one] = children.map(Number);
    return one !== undefined && commandOf(one) !== commandOf(pid) && one;
  });
  process.kill(second, 'SIGSTOP');
  onTestFinished(() => {
    if (isRunning(second)) process.kill(second, 'SIGKILL');
  });
  return second;
}

test('SIGTERM while the last workers start ends in order what the first one serves', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdline-log-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const flags = { log: `lmdb:${directory}`, durability: 'async', port: await freePort() };
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'serve', '--workers=2', ...toArguments({ ...TEST_FLAGS, ...flags })],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const ended = once(child, 'exit');
  onTestFinished(() => void child.kill('SIGKILL'));
  await stoppedSecond(child);
  const line = await SseLine.open(flags.port, '/c');
  const client = await HttpClient.open(flags.port);
  const answer = await client.request('POST', '/c', { body: 'x' });
  const { id } = jsonOf(answer) as { id: number };
  child.kill('SIGTERM');
  await line.waitFor('the end', () => line.endCode !== undefined);
  expect([line.endCode, line.ids]).toEqual(['draining', [id]]);
  expect((await ended)[0]).toBe(0);
  expect(output).not.toContain('"listening"');
  const again = await serverForTest(flags);
  const kept = await again.request('GET', '/c?since=0&limit=9&wait=0');
  expect(jsonOf(kept)).toMatchObject([{ id, data: 'x' }]);
});

test('a worker that cannot start beside one that serves ends the server with its exit code, in order', async () => {
  const port = await freePort();
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'serve', '--workers=2', ...toArguments({ ...TEST_FLAGS, port })],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const second = await stoppedSecond(child);
  const line = await SseLine.open(port, '/c');
  process.kill(second, 'SIGKILL');
  await line.waitFor('the end', () => line.endCode !== undefined);
  expect(line.endCode).toBe('draining');
  expect((await ended)[0]).toBe(1);
});

test('a worker that takes the place of another runs with what the others do', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [config, keyFile] = [join(folder, 'holdline.json'), join(folder, 'ops')];
  writeFileSync(config, '{}');
  writeFileSync(keyFile, 'key-a');
  const server = await serverForTest({ workers: 2, 'ops-key-file': keyFile, config });
  /** Of twelve requests with the key, those that are served. */
  const served = async (key: string): Promise<number> => {
    const headers = { Authorization: `Bearer ${key}` };
    const answers = Array.from({ length: 12 }, () =>
      server.request('GET', '/-/connections', { headers }),
    );
    return (await Promise.all(answers)).filter(({ status }) => status === 200).length;
  };
  const [first, second] = (await page(server, 'stats')).workers.pids;

  // A key changes at once, the size of an event with a restart.
  writeFileSync(keyFile, 'key-b');
  writeFileSync(config, JSON.stringify({ 'max-event-bytes': '1KiB' }));
  server.signal('SIGHUP');
  const needsRestart = 'changed, and needs a restart: --max-event-bytes';
  await until('it was read', () => server.logs.some(({ msg }) => msg === needsRestart));
  expect(server.logs.find(({ msg }) => msg === 'reloaded')).toMatchObject({
    changed: ['--ops-key'],
  });
  server.opsKey = 'key-b';
  expect([await served('key-a'), await served('key-b')]).toEqual([0, 12]);

  // What is written now counts for nobody, be it right or wrong.
  writeFileSync(keyFile, 'key-c');
  writeFileSync(config, '{ "retry": ');
  for (const pid of [first, second]) {
    process.kill(pid!, 'SIGKILL');
    await until('another one serves', async () => {
      const { workers } = await page(server, 'stats');
      return workers.serving === 2 && !workers.pids.includes(pid!);
    });
  }
  const keys = ['key-a', 'key-b', 'key-c'];
  expect(await Promise.all(keys.map(served))).toEqual([0, 12, 0]);
  expect((await server.post('c', 'x'.repeat(3000))).status).toBe(200);
});
