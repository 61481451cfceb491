/**
 * The two kinds of client of an event stream, on the wire: what each is sent, and how each is
 * refused for a while.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { HELD_REFUSALS_MAX, SPARE_SOCKETS_MAX } from '../../src/limits.js';
import { SseLine, stalledLine } from '../support/line.js';
import { readMetrics } from '../support/prometheus.js';
import { hostedForTest, sharedHosted, type HostedServer } from '../support/hosted.js';
import type { ServerUnderTest } from '../support/server-under-test.js';
import { codeOf, HttpClient, RawConnection, requestBytes, type Answer } from '../support/wire.js';

/** What Node's fetch and every browser's send, and EventSource beside it. */
const FETCH = { Accept: 'text/event-stream', 'Sec-Fetch-Mode': 'cors' };
const EVENT_SOURCE = { ...FETCH, 'Cache-Control': 'no-cache' };

/** Opens a stream and gives what came, chunks taken apart, once it contains `mark`. */
async function readUntil(
  server: ServerUnderTest,
  path: string,
  headers: Readonly<Record<string, string>>,
  mark: string,
): Promise<string> {
  const connection = await RawConnection.open(server.port);
  onTestFinished(() => connection.destroy());
  connection.send(requestBytes(server.port, 'GET', path, { headers }));
  const text = (): string => connection.text.replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/g, '');
  await connection.waitFor(mark, () => text().includes(mark));
  return text().slice(connection.text.indexOf('\r\n\r\n') + 2);
}

describe('what it is sent', () => {
  const shared = sharedHosted({ heartbeat: '100ms' });

  test.each([
    ['EventSource', '', EVENT_SOURCE, true],
    ['fetch', '', FETCH, false],
    ['fetch with its cache switched off, and ?client=fetch', '?client=fetch', EVENT_SOURCE, false],
    ['fetch, and ?client=eventsource', '?client=eventsource', FETCH, true],
    ['nothing that tells', '', {}, true],
    ['?client=fetch alone', '?client=fetch', {}, false],
  ])('%s', async (name, query, headers, hasEmptyBlocks) => {
    const channel = `/${name.replaceAll(/\W/g, '')}`;
    const blank = hasEmptyBlocks ? '\n' : '';
    const reading = readUntil(shared(), channel + query, headers, 'data: x\n\n');
    await shared().statsUntil('its line alone', ({ lines }) => lines.open === 1);
    const beats = (await shared().stats()).counters.heartbeats_total;
    await shared().statsUntil(
      'heartbeats',
      ({ counters }) => counters.heartbeats_total > beats + 3,
    );
    await shared().publish(channel.slice(1), 'x');
    const text = await reading;
    const position = /^retry: \d+\nid: (\d+)\n/.exec(text.trimStart())?.[1];
    expect(position).toBeDefined();
    const events = text.split('\n\n').filter((block) => block.includes('data: '));
    expect(text.includes(`id: ${position}\n${blank}: keepalive\nid: `)).toBe(true);
    expect(text.split('\n\n').length - 1 - events.length > 0).toBe(hasEmptyBlocks);
  });

  test('several channels and ?envelope=1 as one channel: nothing but events ends a block', async () => {
    for (const path of ['/one,two', '/one?envelope=1']) {
      const reading = readUntil(shared(), path, FETCH, '"data":"x"}\n\n');
      await shared().statsUntil(
        'its line',
        ({ lines }) => lines.byTransport.sse > 0 && lines.open > 0,
      );
      await shared().publish('one', 'x');
      expect((await reading).trim().split('\n\n')).toHaveLength(1);
    }
  });

  test('an event stream of both kinds takes frames from one ring', async () => {
    const server = await hostedForTest();
    for (const headers of [EVENT_SOURCE, FETCH])
      void readUntil(server, '/c', headers, '\0').catch(() => {});
    await server.statsUntil('both lines', ({ lines }) => lines.open === 2);
    await server.publish('c', 'x'.repeat(10_000));
    const { channels } = await server.stats();
    expect(channels.ringBytes, 'the record and one frame').toBeLessThan(3 * 10_000 * 1.2);
  });

  test('client must be one of the two', async () => {
    const answer = await shared().request('GET', '/c?client=python');
    expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_QUERY']);
  });
});

/** A server without room for another line, and a request for one. */
async function fullServer(flags = {}): Promise<{ server: HostedServer; holder: SseLine }> {
  const server = await hostedForTest({ 'max-connections': 1, retry: '500ms', ...flags });
  const holder = await SseLine.open(server.port, '/c');
  onTestFinished(() => holder.close());
  return { server, holder };
}

interface Timed {
  readonly answer: Answer;
  readonly afterMs: number;
}

async function ask(
  server: ServerUnderTest,
  headers: Readonly<Record<string, string>> = FETCH,
): Promise<Timed> {
  const client = await HttpClient.open(server.port);
  onTestFinished(() => client.close());
  const startedMs = performance.now();
  const answer = await client.request('GET', '/c', { headers });
  return { answer, afterMs: performance.now() - startedMs };
}

/** Asks so often, and waits until all have been refused or are held. */
async function askOften(server: ServerUnderTest, count: number): Promise<Promise<Timed>[]> {
  const asked = Array.from({ length: count }, () => ask(server));
  await server.statsUntil(
    `${count} refusals`,
    ({ counters }) => counters.refusals_held_total + counters.refused_total >= count,
  );
  return asked;
}

describe('a full server', () => {
  test('tells an EventSource at once, with 200: it waits by itself', async () => {
    const { server } = await fullServer();
    const { answer } = await ask(server, EVENT_SOURCE);
    expect([answer.status, answer.text]).toEqual([
      200,
      expect.stringMatching(/^retry: 5\d\d\n\n$/),
    ]);
    expect((await server.stats()).counters.refusals_held_total).toBe(0);
  });

  test('tells a fetch after `retry`, with 503, and keeps its connection', async () => {
    const { server } = await fullServer();
    const { answer, afterMs } = await ask(server);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_LINES_FULL']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(answer.headers.has('connection')).toBe(false);
    expect(afterMs).toBeGreaterThanOrEqual(495);
    const { counters } = await server.stats();
    expect([counters.refusals_held_total, counters.refusals_released_total]).toEqual([1, 0]);
    const metrics = await server.request('GET', '/-/metrics', { headers: server.opsHeaders });
    const metric = readMetrics(metrics.text).get('holdline_refusals_held_total');
    expect(metric?.samples.get('')).toBe(1);
  });

  test('holds no more than its bound, and tells the rest at once', async () => {
    const { server } = await fullServer({ retry: '3s' });
    const asked = await askOften(server, HELD_REFUSALS_MAX + 4);
    const { counters } = await server.stats();
    expect(counters.refusals_held_total).toBe(HELD_REFUSALS_MAX);
    const times = (await Promise.all(asked)).map(({ afterMs }) => afterMs);
    expect(times.filter((ms) => ms >= 2_990)).toHaveLength(HELD_REFUSALS_MAX);
  });

  test('forgets a held one whose client left: its place is free', async () => {
    const { server } = await fullServer({ retry: '60s' });
    const connections = await Promise.all(
      Array.from({ length: HELD_REFUSALS_MAX }, () => RawConnection.open(server.port)),
    );
    for (const connection of connections)
      connection.send(requestBytes(server.port, 'GET', '/c', { headers: FETCH }));
    await server.statsUntil(
      'all are held',
      ({ counters }) => counters.refusals_held_total === HELD_REFUSALS_MAX,
    );
    connections[0]!.destroy();
    await server.statsUntil('it is gone', ({ sockets }) => sockets.open <= HELD_REFUSALS_MAX + 2);
    const last = await RawConnection.open(server.port);
    onTestFinished(() => [...connections, last].forEach((one) => one.destroy()));
    last.send(requestBytes(server.port, 'GET', '/c', { headers: FETCH }));
    const { counters } = await server.statsUntil(
      'an answer, or that it is held',
      (stats) =>
        stats.counters.refusals_held_total + stats.counters.refused_total > HELD_REFUSALS_MAX,
    );
    expect([counters.refusals_held_total, counters.refused_total]).toEqual([
      HELD_REFUSALS_MAX + 1,
      0,
    ]);
  });

  test('gives the places of held ones up when sockets become few: none is refused at accept', async () => {
    const { server } = await fullServer({ retry: '60s' });
    const held = await askOften(server, HELD_REFUSALS_MAX);
    const others: HttpClient[] = [];
    onTestFinished(() => others.forEach((one) => one.close()));
    // With the holder, the held ones and these, all places would be taken.
    for (let i = 0; i < SPARE_SOCKETS_MAX - 2; i++) {
      const client = await HttpClient.open(server.port);
      others.push(client);
      expect((await client.request('GET', '/-/health')).status).toBe(200);
    }
    const answers = await Promise.all(held);
    for (const { answer } of answers)
      expect([answer.status, answer.headers.get('connection')]).toEqual([503, 'close']);
    const stats = await server.stats();
    expect(stats.counters.refusals_released_total).toBe(HELD_REFUSALS_MAX);
    expect(stats.counters.sockets_refused_total).toBe(0);
    // None is held as long as it would take one of the last places.
    expect((await ask(server)).afterMs).toBeLessThan(1_000);
  });

  test('that drains tells held ones at once, and holds no more', async () => {
    const { server, holder } = await fullServer({
      retry: '60s',
      'max-connections': 2,
      drain: '8s',
    });
    const stalled = await stalledLine(server);
    const client = await HttpClient.open(server.port);
    expect((await client.request('GET', '/-/ready')).status).toBe(200);
    const [held] = await askOften(server, 1);
    const drained = server.drain(10_000);
    const { answer } = await held!;
    expect([answer.status, answer.headers.get('connection')]).toEqual([503, 'close']);
    await holder.waitForEnd();
    const late = await client.request('GET', '/c', { headers: FETCH });
    expect([late.status, codeOf(late)]).toEqual([503, 'HOLDLINE_DRAINING']);
    stalled.close();
    await drained;
  });
});
