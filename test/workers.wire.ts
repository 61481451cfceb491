/** `serve --workers`: real processes on one port, and what is asked of all of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ChannelCompression } from '../src/core/channel-compression.js';
import { SPARE_SOCKETS_MAX } from '../src/limits.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { NatsServer } from './support/nats.js';
import { runHoldline, serverForTest, sharedServer } from './support/server.js';
import { codeOf, jsonOf } from './support/wire.js';
import {
  isRunning,
  linesOnAll,
  page,
  workerOf,
  type Connections,
  type Workers,
} from './support/workers.js';
import { until } from './support/until.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';

async function headersFor(user: string): Promise<Record<string, string>> {
  const now = Math.floor(Date.now() / 1000);
  const rights = { sub: user, iat: now - 60, exp: now + 600, holdline: { subscribe: ['c'] } };
  const token = await new SignJWT(rights)
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
  return { Authorization: `Bearer ${token}` };
}

test('what compressed lines were given does not become less when those of one worker leave', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', compress: 'shared' });
  const lines: { readonly socket: Socket; readonly worker: number }[] = [];
  onTestFinished(() => lines.forEach(({ socket }) => socket.destroy()));
  const workers = (): Set<number> => new Set(lines.map(({ worker }) => worker));
  const known = new Set<number>();
  while (lines.length < 40 && (lines.length < 4 || workers().size < 2)) {
    const socket = connect(server.port, '127.0.0.1').resume();
    socket.write('GET /packed HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n');
    const id = await until('its line', async () => {
      const { connections } = (await page(server, 'connections')) as unknown as Connections;
      return connections.find((one) => !known.has(one.id))?.id;
    });
    known.add(id);
    lines.push({ socket, worker: workerOf({ id }) });
  }
  expect(workers().size).toBe(2);
  const figures = async () => {
    const { compression, lines: open } = (await page(server, 'channels/packed')) as never as {
      compression: ChannelCompression;
      lines: number;
    };
    const { text } = await server.request('GET', '/-/metrics', { headers: server.opsHeaders });
    const metric = /^holdline_channel_compress_plain_bytes_total\{channel="packed"\} (\d+)$/m;
    return { open, plainBytes: compression.plainBytes, metric: Number(metric.exec(text)?.[1]) };
  };
  for (let i = 0; i < 20; i++) await server.publish('packed', 'x'.repeat(200));
  const given = await until('all was given', async () => {
    const now = await figures();
    return now.plainBytes > lines.length * 20 * 200 && now;
  });
  expect(given.metric).toBe(given.plainBytes);
  const [leaving] = workers();
  const staying = lines.filter(({ worker }) => worker !== leaving).length;
  for (const { socket, worker } of lines) if (worker === leaving) socket.destroy();
  const left = await until('they have left', async () => {
    const now = await figures();
    return now.open === staying && now;
  });
  expect(left).toEqual({ ...given, open: staying });
});

test('a deletion counts once, and has ended what every worker had', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  await server.publish('c', 'x');
  await server.request('DELETE', '/c', { headers: server.opsHeaders });
  const counts = async (): Promise<Record<string, number>> =>
    ((await page(server, 'stats')) as never as { counters: Record<string, number> }).counters;
  const counted = await until('both have', async () => {
    const counters = await counts();
    return counters['deletions_entered_total'] === 2 && counters;
  });
  expect(counted).toMatchObject({ deletions_total: 1, events_accepted_total: 1 });
});

test('--max-connections bounds the sockets of every worker, also those that say nothing', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', 'max-connections': 10 });
  let open = 0;
  let begun = 0;
  const sockets = Array.from({ length: 300 }, () => {
    const socket = connect(server.port, '127.0.0.1', () => (open++, begun++)).resume();
    return socket.on('error', () => {}).on('close', () => open--);
  });
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  await until('all have connected', () => begun === sockets.length);
  const isBounded = await until(
    'the others are closed',
    () => open <= 2 * (10 + SPARE_SOCKETS_MAX),
  );
  expect(isBounded).toBe(true);
});

describe('two workers', () => {
  const server = sharedServer({ workers: 2, 'ops-key': 'ops' });

  test('what is published through either reaches the lines of both, once and in order', async () => {
    const lines = await linesOnAll(server(), 'both');
    const ids: number[] = [];
    for (let i = 0; i < 30; i++) ids.push(await server().publish('both', `event ${i}`));
    for (const line of lines) {
      await line.waitForId(ids.at(-1)!);
      expect(line.ids).toEqual(ids);
    }
  });

  test('a line that comes later finds in either what was published before', async () => {
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await server().publish('before', 'x'));
    for (let i = 0; i < 8; i++) {
      const line = await SseLine.open(server().port, `/before?since=${ids[0]! - 1}`);
      onTestFinished(() => line.close());
      await line.waitForEvents(5);
      expect(line.ids).toEqual(ids);
    }
  });

  test('a batch of several channels and a deletion go through, and a repeat has one receipt', async () => {
    const batch = [1, 2, 3]
      .map((n) => JSON.stringify({ channel: `named-${n}`, data: n }))
      .join('\n');
    const answers = [];
    for (let i = 0; i < 6; i++) {
      const answer = await server().request('POST', '/-/publish', {
        headers: { 'Content-Type': 'application/x-ndjson', 'Idempotency-Key': 'one' },
        body: batch,
      });
      expect(answer.status).toBe(200);
      answers.push((jsonOf(answer) as { first: number }).first);
    }
    expect(new Set(answers).size).toBe(1);
    const lines = await linesOnAll(server(), 'deleted');
    await server().deleteChannel('deleted');
    await Promise.all(lines.map((line) => line.waitForEnd()));
  });

  test('figures are those of all workers, whichever is asked', async () => {
    const lines = await linesOnAll(server(), 'counted');
    await server().publish('counted', 'x');
    for (let i = 0; i < 4; i++) {
      const { workers, lines: sum } = (await page(server(), 'stats')) as never as {
        workers: Workers;
        lines: { open: number };
      };
      expect(workers).toMatchObject({ wanted: 2, serving: 2, silent: [] });
      expect(sum.open).toBeGreaterThanOrEqual(lines.length);
      const counted = (await page(server(), 'channels/counted')) as never as { lines: number };
      expect(counted.lines).toBe(lines.length);
      const { channels } = (await page(server(), 'channels?limit=1000')) as never as {
        channels: { name: string; lines: number; heldEvents: number }[];
      };
      expect(channels.find(({ name }) => name === 'counted')).toMatchObject({
        lines: lines.length,
        heldEvents: 1,
      });
      const memory = (await page(server(), 'memory')) as never as { lines: number };
      expect(memory.lines).toBeGreaterThanOrEqual(lines.length);
    }
    const metrics = await server().request('GET', '/-/metrics', { headers: server().opsHeaders });
    expect(metrics.text).toContain(`holdline_channel_lines{channel="counted"} ${lines.length}\n`);
    expect(metrics.text).toContain('holdline_workers_serving 2\n');
  });

  test('pages of channels follow each other over all workers', async () => {
    for (let i = 0; i < 7; i++) await server().publish(`paged-${i}`, 'x');
    const names: string[] = [];
    let after = '';
    for (;;) {
      const { channels, next } = (await page(
        server(),
        `channels?limit=3${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`,
      )) as never as { channels: { name: string }[]; next: string | null };
      names.push(...channels.map(({ name }) => name));
      if (next === null) break;
      after = next;
    }
    expect(names.filter((name) => name.startsWith('paged-'))).toHaveLength(7);
    expect(new Set(names).size).toBe(names.length);
  });

  test('lines are ended wherever they are: one by its id, all by their channel', async () => {
    const lines = await linesOnAll(server(), 'ended');
    const { connections } = (await page(
      server(),
      'connections?limit=1000',
    )) as never as Connections;
    const own = connections.filter(({ channels }) => channels.includes('ended'));
    expect(own).toHaveLength(lines.length);
    const end = async (query: string): Promise<number> => {
      const answer = await server().request('DELETE', `/-/connections?${query}`, {
        headers: server().opsHeaders,
      });
      return (jsonOf(answer) as { ended: number }).ended;
    };
    expect(await end(`id=${own[0]!.id}`)).toBe(1);
    await until(
      'one line has ended',
      async () => lines.filter((line) => line.complete).length === 1,
    );
    expect(await end('channel=ended')).toBe(lines.length - 1);
    await Promise.all(lines.map((line) => line.waitForEnd()));
  });

  test('publishers and watchers are told the subscribers of all workers', async () => {
    const over = new AbortController();
    onTestFinished(() => over.abort());
    const { body } = await fetch(`${server().url}/-/watch`, {
      headers: { ...server().opsHeaders, Accept: 'application/x-ndjson' },
      signal: over.signal,
    });
    let known = 0;
    const read = async (): Promise<void> => {
      for await (const line of createInterface({ input: Readable.fromWeb(body as never) }))
        known = Number(/"watched:7","subscribers":(\d+)/.exec(line)?.[1] ?? known);
    };
    void read().catch(() => {});
    const lines = await linesOnAll(server(), 'watched:7');
    await until('the watcher knows of all', async () => known === lines.length);
    for (let i = 0; i < 4; i++) {
      const answer = await server().post('watched:7', 'x');
      expect(jsonOf(answer)).toMatchObject({ subscribers: lines.length });
    }
  });

  test('a query that one worker refuses is refused, and an unknown channel is 404', async () => {
    const ask = (path: string) =>
      server().request('GET', `/-/${path}`, { headers: server().opsHeaders });
    for (const path of ['channels?sort=x', 'channels/c?user=1', 'connections?limit=x'])
      expect((await ask(path)).status).toBe(400);
    expect((await ask('channels/never-heard-of')).status).toBe(404);
  });
});

test('a user who is revoked through one worker is refused by all, also by one that starts later', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', 'jwt-secret': SECRET });
  const headers = await headersFor('ann');
  const lines: NdjsonLine[] = [];
  onTestFinished(() => lines.forEach((line) => line.close()));
  for (let i = 0; i < 12; i++) lines.push(await NdjsonLine.open(server.port, '/c', { headers }));
  const answer = await server.request('DELETE', '/-/connections?user=ann', {
    headers: server.opsHeaders,
  });
  expect(jsonOf(answer)).toEqual({ ended: lines.length, user: 'ann' });
  await Promise.all(lines.map((line) => line.waitForEnd()));
  const { pids } = (await page(server, 'stats')).workers;
  process.kill(pids[0]!, 'SIGKILL');
  await until('another one serves', async () => {
    const { workers } = await page(server, 'stats');
    return workers.serving === 2 && !workers.pids.includes(pids[0]!);
  });
  for (let i = 0; i < 8; i++) {
    const refused = await server.request('GET', '/c?poll=1', { headers });
    expect(codeOf(refused)).toBe('HOLDLINE_REVOKED');
  }
});

test('limits of a user, of waiting polls and of publishing are for all workers together', async () => {
  const server = await serverForTest({
    workers: 2,
    'ops-key': 'ops',
    'max-lines-per-user': 3,
    'jwt-secret': SECRET,
    'open-subscribe': true,
    'max-waiting-polls': 3,
    'publish-rate': 20,
  });
  const polls = new AbortController();
  onTestFinished(() => polls.abort());
  const statuses: number[] = [];
  const poll = async (): Promise<void> => {
    const { status } = await fetch(`${server.url}/polled?poll=1&wait=20`, { signal: polls.signal });
    statuses.push(status);
  };
  // One after another, so that each is known everywhere before the next.
  for (let i = 0; i < 12; i++) {
    void poll().catch(() => {});
    await until('it waits or is refused', async () => {
      const { lines } = await server.stats();
      return lines.byTransport.poll + statuses.length === i + 1;
    });
  }
  expect(statuses).toEqual(Array.from({ length: 9 }, () => 503));
  const opened: number[] = [];
  const headers = await headersFor('ann');
  for (let i = 0; i < 12; i++) {
    const line = await NdjsonLine.open(server.port, '/c', { headers });
    onTestFinished(() => line.close());
    opened.push(line.head.status);
    await sleep(20);
  }
  expect(opened.filter((status) => status === 200)).toHaveLength(3);
  expect(opened.slice(3)).toEqual(Array.from({ length: 9 }, () => 429));
  const begunMs = performance.now();
  const published: number[] = [];
  for (let i = 0; i < 120; i++) published.push((await server.post('c', 'x')).status);
  const seconds = (performance.now() - begunMs) / 1000;
  const accepted = published.filter((status) => status === 200).length;
  expect(published.filter((status) => status === 429)).toHaveLength(120 - accepted);
  // A burst of 2 s, and those of which the other worker had not heard.
  expect(accepted).toBeLessThanOrEqual(40 + 20 * Math.ceil(seconds) + 10);
});

test('on a log that keeps: the supervisor is killed, and readers go on where they were', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdline-workers-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const flags = { workers: 2, 'ops-key': 'ops', log: `lmdb:${directory}` };
  const before = await serverForTest(flags);
  const ids: number[] = [];
  for (let i = 0; i < 10; i++) ids.push(await before.publish('c', `event ${i}`));
  const { pids } = (await page(before, 'stats')).workers;
  before.kill();
  await until('no worker runs', async () => !pids.some(isRunning));
  const after = await serverForTest(flags);
  for (let i = 0; i < 6; i++) {
    const line = await SseLine.open(after.port, `/c?since=${ids[3]}`);
    onTestFinished(() => line.close());
    await line.waitForEvents(6);
    expect(line.ids).toEqual(ids.slice(4));
  }
  expect(await after.publish('c', 'next')).toBeGreaterThan(ids.at(-1)!);
  const { log } = (await page(after, 'stats')) as never as { log: { kind: string; up: boolean } };
  expect(log).toMatchObject({ kind: 'lmdb', up: true });
});

test('over NATS each worker has the log itself', async () => {
  const nats = await NatsServer.start();
  const server = await serverForTest({
    workers: 2,
    'ops-key': 'ops',
    log: `nats://${nats.url}`,
  });
  const lines = await linesOnAll(server, 'c');
  const ids: number[] = [];
  for (let i = 0; i < 10; i++) ids.push(await server.publish('c', `event ${i}`));
  for (const line of lines) {
    await line.waitForId(ids.at(-1)!);
    expect(line.ids).toEqual(ids);
  }
  const { log } = (await page(server, 'stats')) as never as { log: { kind: string; up: boolean } };
  expect(log).toMatchObject({ kind: 'nats', up: true });
});

test('a flooded channel delays no other, and loses nothing that was accepted', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
  const calm = await linesOnAll(server, 'calm');
  const floodIds: number[] = [];
  const control = await NdjsonLine.open(server.port, '/flood');
  onTestFinished(() => control.close());
  // Lines that read nothing for a while, on either worker.
  const paused: NdjsonLine[] = [];
  for (let i = 0; i < 6; i++)
    paused.push(await NdjsonLine.open(server.port, '/flood', { paused: true }));
  onTestFinished(() => paused.forEach((line) => line.close()));
  const body = 'x'.repeat(60_000);
  let isOver = false;
  const flooding = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      const answer = await server.post('flood', body);
      if (answer.status === 200) floodIds.push((jsonOf(answer) as { id: number }).id);
      else expect(answer.status).toBe(503);
    }
  });
  const delays: number[] = [];
  for (let i = 0; i < 60; i++) {
    const begunMs = performance.now();
    const id = await server.publish('calm', `event ${i}`);
    await Promise.all(calm.map((line) => line.waitForId(id)));
    delays.push(performance.now() - begunMs);
  }
  isOver = true;
  await Promise.all(flooding);
  expect(floodIds.length).toBeGreaterThan(10);
  // Far below the time for which a channel without room is waited for.
  expect(Math.max(...delays)).toBeLessThan(1000);
  const last = Math.max(...floodIds);
  await control.waitForId(last, 15_000);
  expect(floodIds.filter((id) => !control.ids.includes(id))).toEqual([]);
});

test('signals reach all workers, and a second server cannot take the port', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', drain: '200ms' });
  const other = runHoldline(['serve', '--workers', '2', '--port', String(server.port)]);
  expect(other.status).toBe(1);
  expect(other.stderr).toContain('the port is taken');
  server.signal('SIGHUP');
  await until('the configuration was read again', async () =>
    server.logs.some(({ msg }) => msg === 'reloaded'),
  );
  // To one of them alone it is the wish that another takes its place.
  const [leaving] = (await page(server, 'stats')).workers.pids;
  process.kill(leaving!, 'SIGTERM');
  const replaced = await until('another one serves', async () => {
    const { workers } = await page(server, 'stats');
    return workers.serving === 2 && !workers.pids.includes(leaving!) && workers;
  });
  expect(replaced.restarts).toBe(0);
  const { pids } = replaced;
  const lines = await linesOnAll(server, 'c');
  const last = await server.publish('c', 'x');
  const exited = server.stop('SIGTERM');
  for (const line of lines) {
    await line.waitForEnd();
    expect(line.ids).toEqual([last]);
  }
  expect(await exited).toBe(0);
  expect(pids.some(isRunning)).toBe(false);
});

test('a worker that cannot start says why once, and ends the server', () => {
  const { status, stderr } = runHoldline([
    'serve',
    '--workers',
    '3',
    '--port',
    '0',
    '--tls-cert',
    '/nowhere/cert.pem',
    '--tls-key',
    '/nowhere/key.pem',
  ]);
  expect(status).not.toBe(0);
  expect(stderr.match(/cannot be read/g)).toHaveLength(1);
});

test('--unix-socket cannot be shared', () => {
  const { status, stderr } = runHoldline([
    'serve',
    '--workers',
    '2',
    '--unix-socket',
    'holdline.sock',
  ]);
  expect(status).toBe(2);
  expect(stderr).toContain('--unix-socket exclude each other');
});
