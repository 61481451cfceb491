/**
 * DELETE of a channel over the wire: its history is gone, lines on this channel only end, others
 * stay and lose nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { createServer } from '../dist/index.js';
import { NdjsonLine, SseLine, stalledLine, type LineOptions } from './support/line.js';
import { holdPoll, holdPolls, poll } from './support/poll.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { KERNEL_BUFFERS, serverForTest, type BatchEvent } from './support/server.js';
import { openPackage, openUndici, stateUntil } from './support/sources.js';
import { openWebSocket } from './support/websocket.js';
import { codeOf, HttpClient, jsonOf, type Answer } from './support/wire.js';

const APP = 'https://app.example';
const SSE = { Accept: 'text/event-stream' };
const SSE_END = 'event: end\ndata: {"code":"deleted","reconnect":false}\n\n';
const NDJSON_END = '{"end":{"code":"deleted","reconnect":false}}';

async function openSse(
  server: ServerUnderTest,
  path: string,
  options?: LineOptions,
): Promise<SseLine> {
  const line = await SseLine.open(server.port, path, options);
  onTestFinished(() => line.close());
  return line;
}

async function openNdjson(
  server: ServerUnderTest,
  path: string,
  options?: LineOptions,
): Promise<NdjsonLine> {
  const line = await NdjsonLine.open(server.port, path, options);
  onTestFinished(() => line.close());
  return line;
}

/** Numbered events, each of about this many bytes. */
function numbered(count: number, bytes = 0): BatchEvent[] {
  return Array.from({ length: count }, (_, i) => ({ data: `${i + 1}`.padEnd(bytes, '.') }));
}

function ids(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** A server with `count` events on `c`, ids from 1, that are then deleted under the next id. */
async function withDeleted(count: number, flags = {}): Promise<ServerUnderTest> {
  const server = await hostedForTest(flags);
  await server.publishBatch('c', numbered(count));
  expect(await server.deleteChannel('c')).toEqual({ id: count + 1, subscribers: 0 });
  return server;
}

const from = (id: number | string): LineOptions => ({ headers: { 'Last-Event-ID': String(id) } });

describe('the request', () => {
  test('the answer is the id of the deletion, one of the log’s, and how many lines were there', async () => {
    const server = await hostedForTest();
    await server.publish('c', 'x');
    await openSse(server, '/c');
    await openNdjson(server, '/c,d');
    await holdPoll(server, '/c?wait=20');
    const answer = await server.request('DELETE', '/c', { headers: server.opsHeaders });
    expect([answer.status, answer.text]).toEqual([200, '{"id":2,"subscribers":3}']);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await server.publish('c', 'next')).toBe(3);
    expect((await server.stats()).counters).toMatchObject({
      deletions_total: 1,
      events_accepted_total: 2,
    });
  });

  test('a channel that nobody knows, or that is deleted already, can be deleted', async () => {
    const server = await hostedForTest();
    expect(await server.deleteChannel('unheard-of')).toEqual({ id: 1, subscribers: 0 });
    expect(await server.deleteChannel('unheard-of')).toEqual({ id: 2, subscribers: 0 });
    const connect = await server.request('GET', '/unheard-of', { headers: SSE });
    expect(connect.status).toBe(204);
  });

  test.each([
    ['no key', {}],
    ['a wrong key', { Authorization: 'Bearer wrong' }],
    ['another scheme', { Authorization: 'Basic ops-secret' }],
  ] as [string, Record<string, string>][])(
    'with %s it is 401, and nothing is gone',
    async (_name, headers) => {
      const server = await hostedForTest({
        'open-publish': false,
        'publish-key': 'sesame',
        'ops-key': 'ops-secret',
      });
      await server.publish('c', 'x');
      const answer = await server.request('DELETE', '/c', { headers });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
      const inQuery = await server.request('DELETE', '/c?ops-key=ops-secret&key=ops-secret');
      expect(inQuery.status).toBe(401);
      expect((await poll(server, '/c?since=0')).events[0]!.data).toBe('x');
    },
  );

  test('--open-publish opens publishing, not deleting', async () => {
    const server = await hostedForTest();
    expect((await server.request('DELETE', '/c')).status).toBe(401);
  });

  test('it is for one channel, of a name that a channel can have', async () => {
    const server = await hostedForTest();
    for (const [path, status, code] of [
      ['/a,b', 400, 'HOLDLINE_BAD_CHANNEL'],
      ['/a..b', 400, 'HOLDLINE_BAD_CHANNEL'],
      ['/a//b', 404, 'HOLDLINE_NOT_FOUND'],
      ['/org/7/a,org/7/b', 400, 'HOLDLINE_BAD_CHANNEL'],
    ] as const) {
      const answer = await server.request('DELETE', path, { headers: server.opsHeaders });
      expect([path, answer.status, codeOf(answer)]).toEqual([path, status, code]);
    }
  });

  test('a foreign page may not, a listed one may, and a preflight says so', async () => {
    const server = await hostedForTest({ 'allow-origin': APP });
    await server.publish('c', 'x');
    for (const headers of [
      { Origin: 'https://evil.example' },
      { 'Sec-Fetch-Site': 'cross-site' },
    ] as Record<string, string>[]) {
      const answer = await server.request('DELETE', '/c', {
        headers: { ...server.opsHeaders, ...headers },
      });
      expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_CROSS_SITE']);
    }
    const preflight = await server.request('OPTIONS', '/c', {
      headers: {
        Origin: APP,
        'Access-Control-Request-Method': 'DELETE',
        'Access-Control-Request-Headers': 'authorization',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-methods')?.split(/, */)).toContain('DELETE');
    expect(preflight.headers.get('allow')?.split(/, */)).toContain('DELETE');
    const listed = await server.request('DELETE', '/c', {
      headers: { ...server.opsHeaders, Origin: APP },
    });
    expect([listed.status, listed.headers.get('access-control-allow-origin')]).toEqual([200, APP]);
  });

  test('without a publish key a foreign Host is 403', async () => {
    const server = await hostedForTest();
    const answer = await server.request('DELETE', '/c', {
      headers: { ...server.opsHeaders, Host: 'evil.example' },
    });
    expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_BAD_HOST']);
  });

  test('at the end of a drain it is 503 with Retry-After', async () => {
    const server = await serverForTest({ drain: '8s' });
    const bystander = await openSse(server, '/c');
    await stalledLine(server);
    // Answers close their connections meanwhile, and at last no new one is accepted.
    const clients = await Promise.all(
      Array.from({ length: 50 }, () => HttpClient.open(server.port)),
    );
    onTestFinished(() => clients.forEach((client) => client.close()));
    for (const client of clients)
      expect((await client.request('GET', '/-/ready')).status).toBe(200);
    server.signal('SIGTERM');
    await bystander.waitForEnd();
    const remove = (): Promise<Answer> =>
      clients.pop()!.request('DELETE', '/c', { headers: server.opsHeaders });
    let answer = await remove();
    while (answer.status === 200) {
      await sleep(10);
      answer = await remove();
    }
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_DRAINING']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    server.signal('SIGINT');
    await server.exited();
  });
});

describe('lines on the channel alone', () => {
  test('an event stream ends with the reason, byte for byte', async () => {
    const server = await hostedForTest();
    const lines = [
      await openSse(server, '/c'),
      await openSse(server, '/c?envelope=1'),
      await openSse(server, '/c,c'),
    ];
    await server.publish('c', 'x');
    await server.deleteChannel('c');
    for (const line of lines) {
      await line.waitForEnd();
      expect(line.text.endsWith(`\n\n${SSE_END}`)).toBe(true);
      expect([line.eventCount, line.complete, line.gaps]).toEqual([1, true, []]);
    }
    expect((await server.stats()).lines.open).toBe(0);
  });

  test('an NDJSON stream ends with the reason, byte for byte', async () => {
    const server = await hostedForTest();
    const line = await openNdjson(server, '/c');
    await server.publish('c', 'x');
    await server.deleteChannel('c');
    await line.waitForEnd();
    expect(line.text).toBe(`\n{"id":1,"channel":"c","data":"x"}\n${NDJSON_END}\n`);
    expect(line.complete).toBe(true);
  });

  test('a WebSocket is given the reason and closed with 1000', async () => {
    const server = await hostedForTest();
    const line = await openWebSocket(server, '/c');
    await server.publish('c', 'x');
    await server.deleteChannel('c');
    await line.waitForClose();
    expect(line.lines).toEqual(['{"id":1,"channel":"c","data":"x"}', NDJSON_END]);
    expect(line.closeFrame?.code).toBe(1000);
  });

  test('a WebSocket of the package ws hears the reason and sees a clean close with 1000', async () => {
    const server = await hostedForTest();
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/c`);
    onTestFinished(() => socket.terminate());
    const messages: string[] = [];
    socket.on('message', (data) => messages.push((data as Buffer).toString()));
    await new Promise((resolve) => socket.once('open', resolve));
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    await server.deleteChannel('c');
    expect(await closed).toBe(1000);
    expect(messages.join('')).toBe(`${NDJSON_END}\n`);
  });

  test('polls that wait are answered 204, and go on from there without a gap', async () => {
    const server = await hostedForTest();
    await server.publishBatch('c', numbered(3));
    const held = await holdPolls(server, [
      '/c?since=3&wait=20',
      '/c?since=latest&wait=20&limit=10',
      '/c?wait=20',
    ]);
    const { id: deletion } = await server.deleteChannel('c');
    const positions = await Promise.all(
      held.map(async ({ answered }) => {
        const answer = await answered;
        expect(answer.status).toBe(204);
        return answer.position;
      }),
    );
    const id = await server.publish('c', 'next');
    for (const position of positions) {
      expect(position).toBeGreaterThanOrEqual(3);
      expect(position).toBeLessThanOrEqual(deletion);
      expect(
        (await poll(server, `/c?since=${position}`)).events.map((event) => [event.id, event.gap]),
      ).toEqual([[id, undefined]]);
    }
  });

  test('an event right behind the deletion is not lost to the polls that it answered', async () => {
    const server = await hostedForTest();
    const held = await holdPolls(
      server,
      Array.from({ length: 300 }, () => '/c?wait=20'),
    );
    const clients = await Promise.all([HttpClient.open(server.port), HttpClient.open(server.port)]);
    onTestFinished(() => clients.forEach((client) => client.close()));
    const [deletion, publish] = await Promise.all([
      clients[0].request('DELETE', '/c', { headers: server.opsHeaders }),
      clients[1].request('POST', '/c', { body: 'next' }),
    ]);
    const [deletedAt, id] = [deletion, publish].map(
      (answer) => (jsonOf(answer) as { id: number }).id,
    ) as [number, number];
    const seen = await Promise.all(
      held.map(async ({ poller, answered }) => {
        const first = await answered;
        const { events } =
          first.status === 204 ? await poller.poll(`/c?since=${first.position}&wait=1`) : first;
        return events[0]?.id;
      }),
    );
    const lost = seen.filter((one) => one !== id).length;
    // Where the publish came first there is nothing left to be lost.
    expect(deletedAt < id ? lost : 0, 'polls that lost it').toBe(0);
  });

  test('what was published just before is given first: healthy lines lose nothing', async () => {
    const server = await hostedForTest(KERNEL_BUFFERS);
    const sse = await Promise.all(Array.from({ length: 5 }, () => openSse(server, '/c')));
    const ndjson = await Promise.all(Array.from({ length: 5 }, () => openNdjson(server, '/c')));
    const sockets = await Promise.all(Array.from({ length: 5 }, () => openWebSocket(server, '/c')));
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    // More events than enter a ring in one turn of the loop, and then a deletion.
    const { last } = await server.publishBatch('c', numbered(5000, 200));
    expect((await client.request('DELETE', '/c', { headers: server.opsHeaders })).status).toBe(200);
    await Promise.all([
      ...sse.map((line) => line.waitForEnd()),
      ...ndjson.map((line) => line.waitForEnd()),
      ...sockets.map((line) => line.waitForClose()),
    ]);
    for (const line of [...sse, ...ndjson]) {
      expect([line.ids.length, line.lastId, line.gaps, line.endCode]).toEqual([
        5000,
        last,
        [],
        'deleted',
      ]);
    }
    for (const line of sockets) {
      expect([
        line.ids.length,
        line.lastId,
        line.gaps,
        line.end?.code,
        line.closeFrame?.code,
      ]).toEqual([5000, last, [], 'deleted', 1000]);
    }
  });

  test('one that takes nothing holds neither the deletion nor the next publish up', async () => {
    const server = await hostedForTest();
    const line = await openSse(server, '/c');
    const waiting = await openSse(server, '/other');
    line.connection.pause();
    for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled) {
      await server.publishBatch('c', numbered(1000, 1000));
    }
    await server.deleteChannel('c');
    const id = await server.publish('c', 'next');
    expect((await poll(server, '/c?since=0')).events.map((event) => event.id)).toEqual([id]);
    await waiting.waitForId(await server.publish('other', 'x'));
    line.connection.resume();
    await line.waitForEnd(20_000);
    expect(line.ids, 'what came, came in order from the first').toEqual(
      line.ids.map((_, i) => i + 1),
    );
    expect(line.ids, 'and nothing of the channel’s next life').not.toContain(id);
  });

  test('hundreds of lines end, and those beside them notice nothing', async () => {
    const server = await hostedForTest();
    const bystander = await openSse(server, '/other');
    const lines = await Promise.all(Array.from({ length: 300 }, () => openSse(server, '/c')));
    const { subscribers } = await server.deleteChannel('c');
    expect(subscribers).toBe(300);
    await Promise.all(lines.map((line) => line.waitForEnd()));
    expect(lines.every((line) => line.endCode === 'deleted' && line.complete)).toBe(true);
    const id = await server.publish('other', 'x');
    await bystander.waitForId(id);
    const { lines: open, counters } = await server.stats();
    expect(open).toMatchObject({ open: 1, byTransport: { sse: 1 } });
    expect(counters.lines_ended_total).toBe(300);
  });
});

describe('lines on several channels', () => {
  test('they stay, and get everything of both that comes later', async () => {
    const server = await hostedForTest();
    const sse = await openSse(server, '/c,d');
    const ndjson = await openNdjson(server, '/d,c');
    const socket = await openWebSocket(server, '/c,d');
    await server.publish('c', 'before');
    expect(await server.deleteChannel('c')).toEqual({ id: 2, subscribers: 3 });
    await server.publish('d', 'other');
    await server.publish('c', 'again');
    await Promise.all([sse.waitForId(4), ndjson.waitForId(4), socket.waitForId(4)]);
    for (const line of [sse, ndjson, socket])
      expect([line.ids, line.gaps]).toEqual([[1, 3, 4], []]);
    expect((await server.stats()).lines.open).toBe(3);
  });

  test('healthy ones lose nothing that was published before, however close', async () => {
    const server = await hostedForTest(KERNEL_BUFFERS);
    const sse = await Promise.all(Array.from({ length: 5 }, () => openSse(server, '/c,d')));
    const ndjson = await Promise.all(Array.from({ length: 5 }, () => openNdjson(server, '/c,d')));
    const sockets = await Promise.all(
      Array.from({ length: 5 }, () => openWebSocket(server, '/c,d')),
    );
    const expected: number[] = [];
    for (let round = 0; round < 3; round++) {
      const { first, last } = await server.publishBatch('c', numbered(2000, 200));
      await server.deleteChannel('c');
      const id = await server.publish('d', 'between');
      expected.push(...ids(first, last), id);
    }
    for (const line of [...sse, ...ndjson, ...sockets]) {
      await line.waitForId(expected.at(-1)!);
      expect(line.ids).toEqual(expected);
      expect(line.gaps).toEqual([]);
    }
  });

  test('one that fell behind is told that something is missing', async () => {
    const server = await hostedForTest({ 'replay-events': 100_000, 'replay-bytes': '64MiB' });
    const line = await openNdjson(server, '/c,d');
    line.connection.pause();
    let last = 0;
    for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled) {
      last = (await server.publishBatch('c', numbered(1000, 1000))).last;
    }
    for (let more = 0; more < 5; more++)
      last = (await server.publishBatch('c', numbered(1000, 1000))).last;
    await server.deleteChannel('c');
    const id = await server.publish('d', 'after');
    line.connection.resume();
    await line.waitForId(id, 20_000);
    expect(line.ids.at(-1)).toBe(id);
    const before = line.ids.slice(0, -1);
    expect(before).toEqual(before.map((_, i) => i + 1));
    expect(before.at(-1)!).toBeLessThan(last);
    expect(line.gaps).toEqual([{ after: before.at(-1), before: id }]);
  });

  test('a poll that waits on several goes on waiting, or goes on from where it is', async () => {
    const server = await hostedForTest();
    const { answered } = await holdPoll(server, '/c,d?wait=20');
    await server.deleteChannel('c');
    const id = await server.publish('d', 'after');
    expect((await answered).events.map((event) => [event.id, event.gap])).toEqual([
      [id, undefined],
    ]);
  });
});

describe('who comes later', () => {
  test('event streams are 204 until something is published again, with whatever position', async () => {
    const server = await withDeleted(3);
    for (const headers of [
      {},
      { 'Last-Event-ID': '1' },
      { 'Last-Event-ID': '3' },
      { 'Last-Event-ID': 'abc' },
    ] as Record<string, string>[]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await server.request(method, '/c', { headers: { ...SSE, ...headers } });
        expect([method, answer.status, answer.body.length]).toEqual([method, 204, 0]);
        expect(answer.headers.get('cache-control')).toBe('no-store');
        expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
      }
    }
    expect((await server.stats()).lines.open).toBe(0);
    const id = await server.publish('c', 'next');
    const line = await openSse(server, '/c?since=0');
    await line.waitForId(id);
    expect([line.ids, line.gaps]).toEqual([[id], []]);
  });

  test('a page of a listed origin may read the 204', async () => {
    const server = await withDeleted(1, { 'allow-origin': APP });
    const answer = await server.request('GET', '/c', { headers: { ...SSE, Origin: APP } });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, APP]);
  });

  test('event streams on it and another channel are opened', async () => {
    const server = await withDeleted(3);
    const line = await openSse(server, '/c,d');
    const id = await server.publish('c', 'next');
    await line.waitForId(id);
    expect([line.ids, line.gaps]).toEqual([[id], []]);
  });

  test('NDJSON streams and WebSockets are opened, and hear what is published next', async () => {
    const server = await withDeleted(3);
    const ndjson = await openNdjson(server, '/c');
    const socket = await openWebSocket(server, '/c');
    const id = await server.publish('c', 'next');
    for (const line of [ndjson, socket]) {
      await line.waitForId(id);
      expect([line.ids, line.gaps]).toEqual([[id], []]);
    }
  });

  test('nothing of before is replayed to anybody', async () => {
    const server = await withDeleted(3);
    expect((await poll(server, '/c?since=0&wait=0&limit=10')).status).toBe(204);
    expect((await poll(server, '/c?last=10&wait=0&limit=10')).status).toBe(204);
    const id = await server.publish('c', 'next');
    const { events } = await poll(server, '/c?last=10&limit=10');
    expect(events.map((event) => [event.id, event.data])).toEqual([[id, 'next']]);
  });

  test.each([
    [
      'event streams',
      async (server: ServerUnderTest, position: string) => openSse(server, '/c', from(position)),
    ],
    [
      'NDJSON streams',
      async (server: ServerUnderTest, position: string) => openNdjson(server, '/c', from(position)),
    ],
    [
      'WebSockets',
      async (server: ServerUnderTest, position: string) =>
        openWebSocket(server, '/c', from(position)),
    ],
  ])(
    '%s: a position before the last event is a gap, that of the last event is none',
    async (_name, open) => {
      const server = await withDeleted(3);
      const id = await server.publish('c', 'next');
      for (const [position, gaps] of [
        ['1', [{ after: 1, before: id }]],
        ['2', [{ after: 2, before: id }]],
        ['3', []],
        ['4', []],
        ['0', []],
        ['abc', [{ after: null, before: id }]],
      ] as const) {
        const line = await open(server, position);
        await line.waitForId(id);
        expect([position, line.ids, line.gaps]).toEqual([position, [id], gaps]);
      }
    },
  );

  test('polls: a position before the last event is a gap, told with the next event', async () => {
    const server = await withDeleted(3);
    expect((await poll(server, '/c?since=1&wait=0')).status).toBe(204);
    const held = await holdPolls(server, [
      '/c?since=1&wait=20',
      '/c?since=2&wait=20',
      '/c?since=3&wait=20',
      '/c?since=0&wait=20',
    ]);
    const id = await server.publish('c', 'next');
    const gaps = (await Promise.all(held.map((one) => one.answered))).map(
      ({ events }) => events[0]!.gap,
    );
    expect(gaps).toEqual([
      { after: 1, before: id },
      { after: 2, before: id },
      undefined,
      undefined,
    ]);
    const later = await poll(server, '/c?since=1');
    expect(later.text).toBe(
      `{"gap":{"after":1,"before":${id}},"id":${id},"channel":"c","data":"next"}`,
    );
  });

  test('on several channels a poll tells the same gap as a stream: up to what follows all that is gone', async () => {
    const server = await hostedForTest();
    await server.publishBatch('a', numbered(2));
    await server.publish('b', 'gone');
    await server.deleteChannel('b');
    const id = await server.publish('b', 'next');
    const line = await openNdjson(server, '/a,b', from(1));
    await line.waitForId(id);
    expect([line.gaps, line.ids]).toEqual([[{ after: 1, before: id }], [2, id]]);
    const { events } = await poll(server, '/a,b?since=1&limit=10');
    expect(events.map((event) => [event.id, event.gap])).toEqual([
      [2, { after: 1, before: id }],
      [id, undefined],
    ]);
  });

  test('a publish that is sent again under its idempotency key is answered as before, and does not come back', async () => {
    const server = await hostedForTest();
    const send = (): Promise<Answer> =>
      server.post('c', 'x', { headers: { 'Idempotency-Key': 'k' } });
    const first = await send();
    await server.deleteChannel('c');
    expect((await send()).text).toBe(first.text);
    expect((await poll(server, '/c?since=0&wait=0')).status).toBe(204);
  });

  test('another channel is as it was', async () => {
    const server = await hostedForTest();
    await server.publish('d', 'kept');
    await server.publish('c', 'x');
    await server.deleteChannel('c');
    const line = await openSse(server, '/d', from(1));
    const id = await server.publish('d', 'next');
    await line.waitForId(id);
    expect([line.ids, line.gaps]).toEqual([[id], []]);
    expect((await poll(server, '/d?since=0')).events[0]!.data).toBe('kept');
  });
});

describe.each([
  ['eventsource', openPackage],
  ['undici', openUndici],
])('EventSource of %s', (_name, open) => {
  test('hears the end, comes back once, is told 204 and stops for good', async () => {
    const server = await hostedForTest();
    const source = open(`${server.url}/c`);
    await stateUntil(source, 'open', (state) => state.readyState === 1);
    await server.publish('c', 'x');
    await server.deleteChannel('c');
    const stopped = await stateUntil(source, 'given up', (state) => state.readyState === 2);
    expect(stopped.received.map(({ type, data }) => [type, data])).toEqual([
      ['message', 'x'],
      ['end', '{"code":"deleted","reconnect":false}'],
    ]);
    const { requests_total: before } = (await server.stats()).counters;
    await server.publish('c', 'again');
    const answer = await openSse(server, '/c?since=0');
    await answer.waitForEvents(1);
    const { counters, lines } = await server.stats();
    expect(lines.open, 'only the one that was opened for this look').toBe(1);
    expect(counters.requests_total - before, 'a publish, a stream and a look').toBe(3);
  });
});

describe('library', () => {
  test('delete() resolves to the id, ends lines, and what follows is a new beginning', async () => {
    const server = createServer({ port: 0, firstId: 1 });
    onTestFinished(() => server.close({ drainMs: 0 }));
    const { port } = await server.listen();
    const line = await NdjsonLine.open(port, '/c');
    onTestFinished(() => line.close());
    const channel = server.channel('c');
    expect(await channel.publish({ data: 'x' })).toBe(1);
    expect(await channel.delete()).toBe(2);
    await line.waitForEnd();
    expect([line.ids, line.endCode]).toEqual([[1], 'deleted']);
    expect(await channel.publish({ data: 'y' })).toBe(3);
    const answer: Answer = await (await HttpClient.open(port)).request('GET', '/c?since=0');
    expect(jsonOf(answer)).toEqual({ id: 3, channel: 'c', data: 'y' });
    expect(server.stats().counters.deletions_total).toBe(1);
    await server.close({ drainMs: 0 });
    await expect(channel.delete()).rejects.toMatchObject({ code: 'HOLDLINE_DRAINING' });
  });
});

test('a deletion and an event in one turn of the loop: a poll that waited is answered, and the next one has the event', async () => {
  const server = createServer({ port: 0, firstId: 1 });
  onTestFinished(() => server.close({ drainMs: 0 }));
  const { port } = await server.listen();
  const channel = server.channel('c');
  const answered = poll({ port }, '/c?wait=20');
  await expect.poll(() => server.stats().lines.byTransport.poll).toBe(1);
  expect(await Promise.all([channel.delete(), channel.publish({ data: 'next' })])).toEqual([1, 2]);
  const { status, position } = await answered;
  expect(status).toBe(204);
  const { events } = await poll({ port }, `/c?since=${position}&wait=0`);
  expect(events.map((event) => [event.id, event.data])).toEqual([[2, 'next']]);
});

test('a deletion in the middle of everything: events, deletions and lines of four transports, in id order for each', async () => {
  const server = await hostedForTest();
  const lines = [
    await openSse(server, '/c,d'),
    await openNdjson(server, '/c,d'),
    await openWebSocket(server, '/c,d'),
  ] as const;
  const expected: number[] = [];
  for (let round = 0; round < 30; round++) {
    const answers = await Promise.all([
      server.post('c', `c${round}`),
      server.request('DELETE', '/c', { headers: server.opsHeaders }),
      server.post('d', `d${round}`),
      server.post('c', `c${round} again`),
    ]);
    const given = answers.map((answer) => (jsonOf(answer) as { id: number }).id);
    expect([...given].sort((a, b) => a - b)).toEqual(ids(round * 4 + 1, round * 4 + 4));
    expected.push(...given.filter((_, i) => i !== 1).sort((a, b) => a - b));
  }
  for (const line of lines) {
    await line.waitForId(expected.at(-1)!);
    expect(line.ids).toEqual(expected);
    expect(line.gaps).toEqual([]);
  }
});
