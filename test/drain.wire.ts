/**
 * The end of a server's life: an end event on every line, /-/ready answers 503, nothing new is
 * accepted, exit 0.
 */
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SseLine, stalledLine } from './support/line.js';
import { freePort } from '../bench/ports.js';
import { KERNEL_BUFFERS, serverForTest } from './support/server.js';
import { codeOf, HttpClient, jsonOf } from './support/wire.js';

const END = /\nretry: (?:1\d\d|200)\nevent: end\ndata: \{"code":"draining","reconnect":true\}\n\n$/;

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  test('every line gets what it is owed, the end event and the end of its stream; exit 0', async () => {
    const server = await serverForTest();
    const lines = await Promise.all(
      ['/a', '/b', '/a,b', '/a?envelope=1'].map((path) => SseLine.open(server.port, path)),
    );
    const [last] = await Promise.all([server.publish('a', 'to a'), server.publish('b', 'to b')]);
    expect(last).toBeGreaterThan(0);
    server.signal(signal);
    for (const line of lines) {
      await line.waitForEnd();
      expect(line.complete, 'the chunked body has its last chunk').toBe(true);
      expect(line.text).toMatch(END);
      expect(line.ids).toHaveLength(line.path === '/a,b' ? 2 : 1);
    }
    expect(await server.exited()).toBe(0);
  });

  test('what was accepted before it is delivered before the end, also where it has not entered a ring yet', async () => {
    const server = await serverForTest(KERNEL_BUFFERS);
    const lines = await Promise.all(
      Array.from({ length: 10 }, () => SseLine.open(server.port, '/a')),
    );
    const { last } = await server.publishBatch(
      'a',
      Array.from({ length: 5000 }, (_, i) => ({ data: `${i}`.padEnd(200, '.') })),
    );
    server.signal(signal);
    for (const line of lines) {
      await line.waitForEnd();
      expect([line.lastId, line.eventCount, line.gaps.length, line.endCode]).toEqual([
        last,
        5000,
        0,
        'draining',
      ]);
    }
    expect(await server.exited()).toBe(0);
  });

  test('without lines it ends at once with exit 0', async () => {
    const server = await serverForTest();
    expect(await server.stop(signal, 2_000)).toBe(0);
  });
});

test('while lines end evenly, publishes are accepted and reach the others, and answers close', async () => {
  const server = await serverForTest({ drain: '4s' });
  // A second for every hundred.
  const lines = await Promise.all(
    Array.from({ length: 250 }, () => SseLine.open(server.port, '/c')),
  );
  server.signal('SIGTERM');
  const hasEnded = (line: SseLine): boolean => line.endCode !== undefined;
  await server.waitFor('the first ends', () => lines.filter(hasEnded).length >= 10);
  const client = await HttpClient.open(server.port);
  const ready = await client.request('GET', '/-/ready');
  expect([ready.status, ready.headers.get('connection')]).toEqual([503, 'close']);
  const publisher = await HttpClient.open(server.port);
  const published = await publisher.request('POST', '/c', { body: 'late' });
  expect([published.status, published.headers.get('connection')]).toEqual([200, 'close']);
  const { id } = jsonOf(published) as { id: number };
  await Promise.all(lines.map((line) => line.waitForEnd()));
  const reached = lines.filter((line) => line.lastId === id).length;
  expect(reached).toBeGreaterThan(0);
  expect(reached).toBeLessThanOrEqual(240);
  expect(await server.exited()).toBe(0);
  const progress = server.logs.filter((entry) => entry['msg'] === 'draining');
  expect(progress.every((entry) => typeof entry['lines'] === 'number')).toBe(true);
});

test('while draining, ready is 503, new work is told to come back, and no new connection is taken', async () => {
  const server = await serverForTest({ drain: '8s' });
  const bystander = await SseLine.open(server.port, '/c');
  await stalledLine(server);
  const [ready, health, stream, publisher, head, poll, shaking] = await Promise.all(
    Array.from({ length: 7 }, () => HttpClient.open(server.port)),
  );
  // A connection that has carried a request is certainly accepted.
  for (const client of [ready!, health!, stream!, publisher!, head!, poll!, shaking!])
    expect((await client.request('GET', '/-/ready')).status).toBe(200);
  server.signal('SIGTERM');
  await bystander.waitForEnd();
  const answer = await ready!.request('GET', '/-/ready');
  expect([answer.status, jsonOf(answer)]).toEqual([503, { status: 'draining', log: 'up' }]);
  expect((await health!.request('GET', '/-/health')).status).toBe(200);
  const line = await stream!.request('GET', '/c', { headers: { Accept: 'text/event-stream' } });
  expect(line.status, 'an EventSource gives up for good on anything but 200').toBe(200);
  expect(line.headers.get('content-type')).toBe('text/event-stream');
  expect(line.text).toMatch(/^retry: \d+\n\n$/);
  const upgrade = await shaking!.request('GET', '/c', { headers: { Upgrade: 'websocket' } });
  expect([upgrade.status, upgrade.headers.get('connection')]).toEqual([426, 'Upgrade, close']);
  for (const [client, type] of [
    [head!, 'text/event-stream'],
    [poll!, 'application/json'],
  ] as const) {
    const asked = await client.request('HEAD', '/c', { headers: { Accept: type } });
    expect([type, asked.status]).toEqual([type, 503]);
    expect(asked.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  }
  // A connection is refused from when the listener is closed, and publishes are, too.
  const isRefused = async (): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(server.port, '127.0.0.1');
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once('connect', () => {
        resolve('connected');
        socket.destroy();
      });
    });
  await expect.poll(isRefused).toBe('ECONNREFUSED');
  const publish = await publisher!.request('POST', '/c', { body: 'x' });
  expect([publish.status, codeOf(publish)]).toEqual([503, 'HOLDLINE_DRAINING']);
  expect(publish.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  // A second signal leaves the stalled line a second. It is the other signal, because npm and
  // terminals may send the same one twice.
  server.signal('SIGINT');
  expect(await server.exited()).toBe(0);
});

test('a stalled reader that reads on while the server drains has its stream to the end, and then the server ends', async () => {
  const server = await serverForTest({
    drain: '8s',
    'replay-events': 100_000,
    'replay-bytes': '64MiB',
  });
  const bystander = await SseLine.open(server.port, '/c');
  const line = await stalledLine(server);
  server.signal('SIGTERM');
  await bystander.waitForEnd();
  expect(server.exitCode).toBeUndefined();
  line.connection.resume();
  await line.waitForEnd();
  expect([line.complete, line.endCode]).toEqual([true, 'draining']);
  expect(line.ids).toEqual(line.ids.map((_, i) => i + 1));
  expect(await server.exited()).toBe(0);
});

test('a restart takes the port over at once, gives ids that have not been given before, and tells what was missed', async () => {
  // A port of its own choice: a socket bound to port 0 does not set SO_REUSEADDR, and an operator
  // does not ask for port 0 twice.
  const port = await freePort();
  const before = await serverForTest({ 'first-id': false, port });
  const first = await SseLine.open(before.port, '/c');
  const seen = await before.publish('c', 'seen');
  await first.waitForId(seen);
  const missed = await before.publish('c', 'missed');
  expect(await before.stop()).toBe(0);
  const after = await serverForTest({ 'first-id': false, port });
  const again = await SseLine.open(after.port, '/c', {
    headers: { 'Last-Event-ID': String(seen) },
  });
  onTestFinished(() => again.close());
  const id = await after.publish('c', 'new');
  await again.waitForId(id);
  expect(id).toBeGreaterThan(missed);
  expect(again.gaps).toEqual([{ after: seen, before: null }]);
  expect(again.events.map((event) => event.data)).toEqual(['new']);
});

test('a line that takes nothing holds the end up no longer than --drain', async () => {
  const server = await serverForTest({ drain: '500ms' });
  await stalledLine(server);
  expect(await server.stop('SIGTERM', 3_000)).toBe(0);
});
