/** WebSockets on the wire: handshake, messages, replay, gap and end. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { hostedForTest, hostedWithEvents, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { KERNEL_BUFFERS, serverForTest } from './support/server.js';
import {
  acceptOf,
  handshakeBytes,
  KEY,
  MESSAGE_BYTES,
  openWebSocket,
  WsClient,
  type HandshakeHeaders,
} from './support/websocket.js';
import { codeOf, exchange, HttpClient, RawConnection, type Answer } from './support/wire.js';

/**
 * A server that no longer holds most of what was published to `c`: the last id, and the oldest that
 * is held.
 */
async function withLosses(): Promise<{ server: ServerUnderTest; last: number; oldest: number }> {
  const server = await hostedForTest({ 'replay-events': 5, 'replay-bytes': '1KiB' });
  let last = 0;
  for (let round = 0; round < 20; round++) {
    const events = Array.from({ length: 100 }, (_, i) => ({
      data: `${round}.${i} ${'x'.repeat(200)}`,
    }));
    last = (await server.publishBatch('c', events)).last;
  }
  const held = await SseLine.open(server.port, '/c?since=0');
  onTestFinished(() => held.close());
  await held.waitForId(last);
  return { server, last, oldest: held.ids[0]! };
}

const ids = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** A handshake that is answered as HTTP: the refusal. */
function refusal(port: number, path: string, headers: HandshakeHeaders = {}): Promise<Answer> {
  return exchange(port, handshakeBytes(port, path, headers));
}

/** Opens a WebSocket, closes it, and gives the status of its handshake. */
async function openAndClose(server: ServerUnderTest): Promise<number> {
  const line = await openWebSocket(server, '/c');
  line.close();
  await line.waitForClose();
  return line.head.status;
}

describe('handshake', () => {
  const shared = sharedHosted();

  test('the 101 is the documented set of headers and nothing else', async () => {
    const server = await hostedWithEvents('c', 3);
    const line = await openWebSocket(server, '/c', {
      headers: {
        'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
        'Sec-WebSocket-Protocol': 'chat, superchat',
      },
    });
    expect(line.head.raw.split('\r\n')[0]).toBe('HTTP/1.1 101 Switching Protocols');
    const headers = Object.fromEntries(line.head.headers);
    delete headers['date'];
    delete headers['uwebsockets'];
    expect(headers, 'no extension and no protocol, whatever was offered').toEqual({
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      'holdline-position': '3',
    });
  });

  test('the accept value is that of RFC 6455, 4.2.2 for any key', async () => {
    expect(acceptOf(KEY), "the RFC's example").toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    for (const key of [
      'AAAAAAAAAAAAAAAAAAAAAA==',
      '/+/+/+/+/+/+/+/+/+/+/w==',
      Buffer.from('holdline holdlin').toString('base64'),
    ]) {
      const line = await openWebSocket(shared(), '/c', { headers: { 'Sec-WebSocket-Key': key } });
      expect(line.head.headers.get('sec-websocket-accept')).toBe(acceptOf(key));
    }
  });

  test.each([
    ['Connection: keep-alive, Upgrade, as of Firefox', { Connection: 'keep-alive, Upgrade' }],
    ['Connection: upgrade', { connection: 'upgrade' }],
    [
      'names and values in upper case',
      {
        UPGRADE: 'WEBSOCKET',
        CONNECTION: 'UPGRADE',
        'SEC-WEBSOCKET-KEY': KEY,
        'SEC-WEBSOCKET-VERSION': '13',
      },
    ],
    [
      'names in lower case',
      {
        upgrade: 'WebSocket',
        connection: 'Upgrade',
        'sec-websocket-key': KEY,
        'sec-websocket-version': '13',
      },
    ],
    ['an Accept that names other transports', { Accept: 'text/event-stream, application/json' }],
  ])('%s is a WebSocket', async (_name, headers: HandshakeHeaders) => {
    const line = await openWebSocket(shared(), '/c', { headers });
    const id = await shared().publish('c', 'x');
    await line.waitForId(id);
    expect(line.events.at(-1)!.raw).toBe(`{"id":${id},"channel":"c","data":"x"}`);
  });

  test('`ws`, which offers compression and reads strictly, gets no extension and no protocol', async () => {
    const client = await WsClient.open(shared(), '/c');
    expect([client.socket.extensions, client.socket.protocol]).toEqual(['', '']);
    const id = await shared().publish('c', 'grüße 😀');
    await client.waitForLines(1);
    expect(client.messages).toEqual([`{"id":${id},"channel":"c","data":"grüße 😀"}\n`]);
  });

  test.each([
    ['version 8', { 'Sec-WebSocket-Version': '8' }],
    ['version 14', { 'Sec-WebSocket-Version': '14' }],
    ['no version', { 'Sec-WebSocket-Version': undefined }],
    ['no key', { 'Sec-WebSocket-Key': undefined }],
    ['an empty key', { 'Sec-WebSocket-Key': '' }],
    ['a key of 23 characters', { 'Sec-WebSocket-Key': KEY.slice(1) }],
    ['a key of 25 characters', { 'Sec-WebSocket-Key': `A${KEY}` }],
    ['no Connection', { Connection: undefined }],
    ['Connection: keep-alive', { Connection: 'keep-alive' }],
    ['Connection: keep-alive, upgraded', { Connection: 'keep-alive, upgraded' }],
  ])('%s is 426 and says which version there is', async (_name, headers: HandshakeHeaders) => {
    const before = (await shared().stats()).counters;
    const answer = await refusal(shared().port, '/c', headers);
    expect([answer.status, codeOf(answer), answer.headers.get('sec-websocket-version')]).toEqual([
      426,
      'HOLDLINE_BAD_HANDSHAKE',
      '13',
    ]);
    // RFC 9110, 7.8: who sends Upgrade names it in Connection.
    expect([answer.headers.get('upgrade'), answer.headers.get('connection')]).toEqual([
      'websocket',
      'Upgrade',
    ]);
    const after = (await shared().stats()).counters;
    expect([
      after.refused_total - before.refused_total,
      after.lines_opened_total - before.lines_opened_total,
    ]).toEqual([1, 0]);
  });

  test.each(['Upgrade', 'Upgrade, close', 'close'])(
    'a refusal of one with Connection: %s has one field of that name',
    async (asked) => {
      const connection = await RawConnection.open(shared().port);
      onTestFinished(() => connection.destroy());
      const headers = { Connection: asked, 'Sec-WebSocket-Version': '8' };
      connection.send(handshakeBytes(shared().port, '/c', headers));
      await connection.waitFor('the refusal', () => /\}\}\s*$/.test(connection.text));
      expect(connection.text).toMatch(/^HTTP\/1\.1 426 /);
      expect(connection.text.match(/\r\nConnection: [^\r]*/gi)).toEqual([
        `\r\nConnection: ${asked === 'Upgrade' ? 'Upgrade' : 'Upgrade, close'}`,
      ]);
    },
  );

  test.each([
    ['a foreign Origin', '/c', { Origin: 'https://evil.example' }, 403, 'HOLDLINE_CROSS_SITE'],
    ['an opaque Origin', '/c', { Origin: 'null' }, 403, 'HOLDLINE_CROSS_SITE'],
    ['a cross-site fetch', '/c', { 'Sec-Fetch-Site': 'cross-site' }, 403, 'HOLDLINE_CROSS_SITE'],
    ['a foreign Host', '/c', { Host: 'rebound.example' }, 403, 'HOLDLINE_BAD_HOST'],
    ['a bad position', '/c?since=abc', {}, 400, 'HOLDLINE_BAD_POSITION'],
    ['a bad last_event_id', '/c?last_event_id=-1', {}, 400, 'HOLDLINE_BAD_POSITION'],
    ['a bad last', '/c?last=1e3', {}, 400, 'HOLDLINE_BAD_POSITION'],
    [
      'a bad position that a header beats',
      '/c?since=abc',
      { 'Last-Event-ID': '1' },
      400,
      'HOLDLINE_BAD_POSITION',
    ],
    ['a bad channel', '/a..b', {}, 400, 'HOLDLINE_BAD_CHANNEL'],
    ['an empty channel name', '/a,,b', {}, 400, 'HOLDLINE_BAD_CHANNEL'],
    [
      '17 channels',
      `/${ids(1, 17)
        .map((i) => `c${i}`)
        .join()}`,
      {},
      400,
      'HOLDLINE_BAD_CHANNEL',
    ],
    ['a path with an empty segment', '/a//b', {}, 404, 'HOLDLINE_NOT_FOUND'],
    ['a path of our own', '/-/c', {}, 404, 'HOLDLINE_NOT_FOUND'],
  ] as [string, string, HandshakeHeaders, number, string][])(
    '%s is refused before the upgrade',
    async (_name, path, headers, status, code) => {
      const before = (await shared().stats()).counters;
      const answer = await refusal(shared().port, path, headers);
      expect([answer.status, codeOf(answer)]).toEqual([status, code]);
      expect(answer.headers.get('content-type')).toBe('application/json');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      const after = (await shared().stats()).counters;
      expect((after.refused[code] ?? 0) - (before.refused[code] ?? 0)).toBe(1);
      expect(after.lines_opened_total).toBe(before.lines_opened_total);
    },
  );

  test('its own Origin and a listed one are welcome', async () => {
    const server = await hostedForTest({ 'allow-origin': 'https://app.example' });
    for (const origin of [`http://127.0.0.1:${server.port}`, 'https://app.example']) {
      const line = await openWebSocket(server, '/c', { headers: { Origin: origin } });
      expect(line.head.status).toBe(101);
    }
    const answer = await refusal(server.port, '/c', { Origin: 'https://other.example' });
    expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_CROSS_SITE']);
  });

  test.each([
    ['no Upgrade', { Upgrade: undefined, Connection: undefined }],
    ['an Upgrade to something else', { Upgrade: 'h2c' }],
  ])(
    '%s, though there is a Sec-WebSocket-Key, is a GET like any other',
    async (_name, headers: HandshakeHeaders) => {
      const { port } = shared();
      const connection = await RawConnection.open(port);
      onTestFinished(() => connection.destroy());
      connection.send(handshakeBytes(port, '/c', headers));
      await connection.waitFor('a prelude', () => connection.text.includes('retry: '));
      expect(connection.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(connection.text).toMatch(/\r\nContent-Type: text\/event-stream\r\n/i);
      const poll = await exchange(
        port,
        handshakeBytes(port, '/c?wait=0&since=0&limit=1', {
          ...headers,
          Accept: 'application/json',
        }),
      );
      expect([200, 204]).toContain(poll.status);
    },
  );

  test('more than --max-connections is 503 and when to come back; a place that is left is free', async () => {
    const server = await hostedForTest({ 'max-connections': 2 });
    const lines = [await openWebSocket(server, '/c'), await openWebSocket(server, '/d')];
    const answer = await refusal(server.port, '/c');
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_LINES_FULL']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect((await server.stats()).lines).toMatchObject({
      open: 2,
      byTransport: { sse: 0, ndjson: 0, websocket: 2, poll: 0 },
    });
    lines[0]!.close(1000);
    await lines[0]!.waitForClose();
    await server.statsUntil('the place is free', (stats) => stats.lines.open === 1);
    expect((await openWebSocket(server, '/c')).head.status).toBe(101);
  });

  test('while draining it is 503 and when to come back', async () => {
    const server = await serverForTest({ drain: '8s' });
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    expect((await client.request('GET', '/-/ready')).status).toBe(200);
    // A reader that never answers the close frame delays the end.
    const held = await SseLine.open(server.port, '/held');
    onTestFinished(() => held.close());
    held.connection.pause();
    const events = Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) }));
    while ((await server.stats()).lines.stalled === 0) await server.publishBatch('held', events);
    const bystander = await openWebSocket(server, '/c');
    server.signal('SIGTERM');
    await bystander.waitForClose();
    const answer = await client.exchange(handshakeBytes(server.port, '/c'));
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_DRAINING']);
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    server.signal('SIGINT');
    await server.exited();
  });

  test('150 WebSockets, one after the other and ended in every mode, leave no socket counted: the cap holds 2', async () => {
    const server = await hostedForTest({ 'max-connections': 2 });
    for (let round = 0; round < 50; round++) {
      const lines = await Promise.all(ids(1, 2).map(() => openWebSocket(server, '/c')));
      if (round % 4 === 0) lines[0]!.close(1000);
      else if (round % 4 === 1) lines[0]!.connection.socket.end();
      else if (round % 4 === 2) lines[0]!.send('not JSON');
      else lines[0]!.connection.socket.resetAndDestroy();
      await lines[0]!.waitForClose();
      lines[1]!.destroy();
      await server.statsUntil('both are counted out', (stats) => stats.lines.open === 0);
      expect(await openAndClose(server)).toBe(101);
      await server.statsUntil('so is the third', (stats) => stats.lines.open === 0);
    }
    // The connection that asks counts too.
    await server.statsUntil('no socket is left', (stats) => stats.sockets.open === 1);
    const { counters } = await server.stats();
    expect(counters).toMatchObject({
      lines_opened_total: 150,
      lines_closed_total: 150,
      sockets_refused_total: 0,
    });
  });

  test('100 refused handshakes leave no line and no channel behind', async () => {
    const server = shared();
    const before = await server.stats();
    await Promise.all(ids(1, 50).map((i) => refusal(server.port, `/good${i}?since=bad`)));
    await Promise.all(
      ids(1, 50).map((i) => refusal(server.port, `/other${i}`, { 'Sec-WebSocket-Version': '12' })),
    );
    const after = await server.stats();
    expect(after.counters.refused_total - before.counters.refused_total).toBe(100);
    expect(after.channels.known).toBe(before.channels.known);
    expect(after.counters.lines_opened_total).toBe(before.counters.lines_opened_total);
  });
});

describe('live', () => {
  test('each event is the line of the NDJSON encoding, byte for byte', async () => {
    const server = await hostedForTest();
    const line = await openWebSocket(server, '/c');
    const client = await WsClient.open(server, '/c');
    await server.publish('c', 'hello', 'notice');
    await server.publish('c', 'two "quoted"\nlines');
    await server.post('c', '{"n": 1.0,\r\n"big":12345678901234567890}', {
      headers: { 'Content-Type': 'application/json' },
    });
    await server.publish('other', 'not this');
    await server.publish('c', '');
    await line.waitForId(5);
    await client.waitForLines(4);
    const expected = [
      '{"id":1,"channel":"c","event":"notice","data":"hello"}',
      '{"id":2,"channel":"c","data":"two \\"quoted\\"\\nlines"}',
      '{"id":3,"channel":"c","data":{"n": 1.0,  "big":12345678901234567890}}',
      '{"id":5,"channel":"c","data":""}',
    ];
    expect(line.lines).toEqual(expected);
    expect(client.messages.join('')).toBe(expected.map((text) => `${text}\n`).join(''));
  });

  test('several channels come on one line in id order; one that is named twice comes once', async () => {
    const server = await hostedForTest();
    const line = await openWebSocket(server, '/a,b,a');
    for (let i = 1; i <= 30; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    const expected = ids(1, 30).filter((id) => (id * 7) % 3 < 2);
    await line.waitForId(expected.at(-1)!);
    expect(line.ids).toEqual(expected);
    expect(new Set(line.events.map((event) => event.channel))).toEqual(new Set(['a', 'b']));
    expect((await server.stats()).lines).toMatchObject({ open: 1, byTransport: { websocket: 1 } });
  });

  test('a quiet line is sent no message: heartbeats are for streams', async () => {
    const server = await hostedForTest({ heartbeat: '100ms' });
    const line = await openWebSocket(server, '/c');
    const sse = await SseLine.open(server.port, '/c');
    onTestFinished(() => sse.close());
    await sse.waitFor(
      'three heartbeats of an event stream',
      () => sse.blocks.filter((block) => block.comment).length >= 3,
    );
    await line.roundTrip();
    expect(line.messageCount).toBe(0);
  });
});

describe('replay', () => {
  test.each([
    ['Last-Event-ID: 4', '/c', { 'Last-Event-ID': '4' }],
    ['last_event_id=4', '/c?last_event_id=4', {}],
    ['lastEventId=4', '/c?lastEventId=4', {}],
    ['since=4', '/c?since=4', {}],
    ['last=3', '/c?last=3', {}],
  ])(
    '%s continues with 5, 6, 7 and goes on live without a seam',
    async (_name, path, headers: HandshakeHeaders) => {
      const server = await hostedWithEvents('c', 7);
      const line = await openWebSocket(server, path, { headers });
      const client = await WsClient.open(server, path, {
        headers: headers as Record<string, string>,
      });
      expect(line.head.headers.get('holdline-position')).toBe('4');
      await server.publish('c', 'n8');
      await line.waitForId(8);
      expect(line.lines).toEqual(
        ids(5, 8).map((id) => `{"id":${id},"channel":"c","data":"n${id}"}`),
      );
      await client.waitForLines(4);
      expect(client.ids).toEqual([5, 6, 7, 8]);
    },
  );

  test.each([
    [
      'the header beats every position in the URL',
      '/c?last_event_id=2&since=1&last=7',
      { 'Last-Event-ID': '6' },
      7,
    ],
    ['last_event_id beats since and last', '/c?last=7&since=2&last_event_id=5', {}, 6],
    ['since beats last', '/c?last=7&since=3', {}, 4],
  ])('%s', async (_name, path, headers: HandshakeHeaders, firstId) => {
    const server = await hostedWithEvents('c', 7);
    const line = await openWebSocket(server, path, { headers });
    await line.waitForId(7);
    expect(line.ids).toEqual(ids(firstId, 7));
    expect(line.gaps).toEqual([]);
  });

  test.each([
    ['no position', '/c'],
    ['since=latest', '/c?since=latest'],
    ['last=0', '/c?last=0'],
  ])('%s is live from now', async (_name, path) => {
    const server = await hostedWithEvents('c', 7);
    const line = await openWebSocket(server, path);
    expect(line.head.headers.get('holdline-position')).toBe('7');
    await server.publish('c', 'n8');
    await line.waitForId(8);
    expect(line.ids).toEqual([8]);
  });

  test('position 0 is everything held, and no gap even where older events are gone', async () => {
    const { server, last, oldest } = await withLosses();
    for (const [path, headers] of [
      ['/c?since=0', {}],
      ['/c', { 'Last-Event-ID': '0' }],
    ] as [string, HandshakeHeaders][]) {
      const line = await openWebSocket(server, path, { headers });
      await line.waitForId(last);
      expect([line.ids, line.gaps]).toEqual([ids(oldest, last), []]);
    }
  });

  test('over several channels it is in id order, and so is what follows', async () => {
    const server = await hostedForTest();
    for (let i = 1; i <= 30; i++) await server.publish('abc'[(i * 7) % 3]!, `n${i}`);
    const line = await openWebSocket(server, '/c,a,b?since=10');
    for (let i = 31; i <= 40; i++) await server.publish('abc'[(i * 5) % 3]!, `n${i}`);
    await line.waitForId(40);
    expect(line.ids).toEqual(ids(11, 40));
    const newest = await openWebSocket(server, '/a,b,c?last=1');
    await newest.waitForId(40);
    expect(newest.ids).toEqual([38, 39, 40]);
  });

  test('10,000 events come in messages of whole lines, none over 16,376 bytes', async () => {
    const server = await hostedForTest({ 'replay-events': 20_000, 'replay-bytes': '16MiB' });
    const events = Array.from({ length: 10_000 }, (_, i) => ({
      data: `${i}:${'é'.repeat(i % 200)}`,
    }));
    await server.publishBatch('c', events);
    const line = await openWebSocket(server, '/c?since=0');
    await line.waitForId(10_000);
    expect(line.ids).toEqual(ids(1, 10_000));
    expect(line.events.map(({ data }) => data)).toEqual(events.map(({ data }) => data));
    expect(line.largestMessageBytes).toBeLessThanOrEqual(MESSAGE_BYTES);
    expect(line.messageCount, 'a message holds many lines').toBeLessThan(500);
    const client = await WsClient.open(server, '/c?since=0');
    await client.waitForLines(10_000);
    expect(client.ids).toEqual(ids(1, 10_000));
    for (const message of client.messages) {
      expect(Buffer.byteLength(message)).toBeLessThanOrEqual(MESSAGE_BYTES);
      expect(message.endsWith('\n')).toBe(true);
    }
  });

  test('a line of more than 16,376 bytes is a message of its own, in a replay and live', async () => {
    const server = await hostedForTest({ 'replay-events': 1000, 'replay-bytes': '4MiB' });
    const lineBytes = [
      100,
      MESSAGE_BYTES,
      100,
      MESSAGE_BYTES + 1,
      100,
      20_000,
      60_000,
      60_000,
      100,
    ];
    const sent: string[] = [];
    const publish = async (): Promise<void> => {
      for (const bytes of lineBytes) {
        const around = `{"id":${sent.length + 1},"channel":"c","data":""}\n`.length;
        sent.push('x'.repeat(bytes - around));
        await server.publish('c', sent.at(-1)!);
      }
    };
    await publish();
    const line = await openWebSocket(server, '/c?since=0');
    const merged = await openWebSocket(server, '/c,d?since=0');
    await line.waitForId(sent.length);
    await publish();
    for (const one of [line, merged]) {
      await one.waitForId(sent.length);
      expect(one.events.map(({ data }) => data)).toEqual(sent);
    }
    const bytes = line.messages.map((message) => message.length);
    expect(bytes.filter((size) => size > MESSAGE_BYTES)).toEqual([
      MESSAGE_BYTES + 1,
      20_000,
      60_000,
      60_000,
      MESSAGE_BYTES + 1,
      20_000,
      60_000,
      60_000,
    ]);
    expect(
      bytes.filter((size) => size === MESSAGE_BYTES),
      'a line that just fits is one message',
    ).toHaveLength(2);
  });
});

describe('gap and end', () => {
  test('a position before what is lost is told the gap first, then everything held', async () => {
    const { server, last, oldest } = await withLosses();
    expect(oldest).toBeGreaterThan(5);
    const late = await openWebSocket(server, '/c?since=4');
    await late.waitForId(last);
    expect(late.lines[0]).toBe(`{"gap":{"after":4,"before":${oldest}}}`);
    expect(late.gaps).toHaveLength(1);
    expect(late.ids).toEqual(ids(oldest, last));
    const justInTime = await openWebSocket(server, `/c?since=${oldest - 1}`);
    await justInTime.waitForId(last);
    expect([justInTime.gaps, justInTime.ids]).toEqual([[], ids(oldest, last)]);
    expect((await server.stats()).counters).toMatchObject({
      gaps_total: 1,
      gaps_at_join_total: 1,
      gaps_slow_total: 0,
    });
  });

  test('where nothing is kept a missed event is a gap with before null, and live goes on', async () => {
    const server = await hostedWithEvents('c', 5, { 'replay-events': 0 });
    const line = await openWebSocket(server, '/c?since=2');
    await line.waitFor('the gap', () => line.gaps[0]);
    const id = await server.publish('c', 'live');
    await line.waitForId(id);
    expect(line.lines).toEqual([
      '{"gap":{"after":2,"before":null}}',
      `{"id":${id},"channel":"c","data":"live"}`,
    ]);
  });

  test.each(['abc', '-1', '9007199254740992'])(
    'a foreign Last-Event-ID "%s" is a gap and everything held',
    async (text) => {
      const server = await hostedWithEvents('c', 3);
      const line = await openWebSocket(server, '/c', { headers: { 'Last-Event-ID': text } });
      await line.waitForId(3);
      expect(line.lines[0]).toBe('{"gap":{"after":null,"before":1}}');
      expect(line.ids).toEqual([1, 2, 3]);
    },
  );

  test('on drain each line gets what it is owed, the end line and close code 1012; exit 0', async () => {
    const server = await serverForTest();
    const lines = await Promise.all(
      ['/a', '/b', '/a,b'].map((path) => openWebSocket(server, path)),
    );
    const client = await WsClient.open(server, '/a');
    await Promise.all([server.publish('a', 'to a'), server.publish('b', 'to b')]);
    server.signal('SIGTERM');
    for (const line of lines) {
      await line.waitForClose();
      expect(line.lines.at(-1)).toBe('{"end":{"code":"draining","reconnect":true}}');
      expect(line.closeFrame?.code).toBe(1012);
      expect(line.ids).toHaveLength(line.path === '/a,b' ? 2 : 1);
    }
    expect((await client.waitForClose()).code).toBe(1012);
    expect(client.lines.map((line) => Object.keys(line)[0])).toEqual(['id', 'end']);
    expect(await server.exited()).toBe(0);
  });

  test('what was accepted before the drain is delivered before the end', async () => {
    const server = await serverForTest(KERNEL_BUFFERS);
    const lines = await Promise.all(ids(1, 10).map(() => openWebSocket(server, '/a')));
    const { last } = await server.publishBatch(
      'a',
      ids(1, 5000).map((i) => ({ data: `${i}`.padEnd(200, '.') })),
    );
    server.signal('SIGTERM');
    for (const line of lines) {
      await line.waitForClose();
      expect([
        line.lastId,
        line.eventCount,
        line.gaps.length,
        line.end?.code,
        line.closeFrame?.code,
      ]).toEqual([last, 5000, 0, 'draining', 1012]);
    }
    expect(await server.exited()).toBe(0);
  });

  test('a WebSocket whose client never answers the close frame does not hold the end up beyond --drain', async () => {
    const server = await serverForTest({ drain: '1s' });
    const line = await openWebSocket(server, '/a', { answers: false });
    expect(await server.stop('SIGTERM', 4_000)).toBe(0);
    expect(line.closeFrame?.code).toBe(1012);
  });

  test('DELETE of its only channel ends it with `deleted` and 1000; one with another channel stays', async () => {
    const server = await hostedForTest();
    await server.publish('a', 'x');
    const [single, both] = [await openWebSocket(server, '/a'), await openWebSocket(server, '/a,b')];
    expect((await server.request('DELETE', '/a', { headers: server.opsHeaders })).status).toBe(200);
    await single.waitForClose();
    expect(single.lines).toEqual(['{"end":{"code":"deleted","reconnect":false}}']);
    expect(single.closeFrame?.code).toBe(1000);
    const id = await server.publish('b', 'y');
    await both.waitForId(id);
    expect([both.ids, both.gaps]).toEqual([[id], []]);
  });
});
