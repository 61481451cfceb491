/**
 * Clients that do what they should not: each gets the documented answer, is counted, and a control
 * line notices nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MUTE_AGE_MS_MIN, MUTE_CHECK_MS } from '../src/limits.js';
import { begunBefore } from './support/begun.js';
import { ControlLine, sharedControl } from './support/control.js';
import { SseLine } from './support/line.js';
import { hostedForTest, HostedServer } from './support/hosted.js';
import type { Flags } from './support/server.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import {
  codeOf,
  HttpClient,
  RawConnection,
  request,
  requestBytes,
  type Answer,
} from './support/wire.js';

const SSE = { Accept: 'text/event-stream' };

/** A socket that has sent nothing for so long is certainly found; the kernel counts in jiffies. */
const MUTE_MS = MUTE_AGE_MS_MIN + MUTE_CHECK_MS + 10;

/** What a refusal of this code adds to the counters. */
async function refusals(
  server: ServerUnderTest,
  code: string,
): Promise<{ ofCode: number; all: number }> {
  const { counters } = await server.stats();
  return { ofCode: counters.refused[code] ?? 0, all: counters.refused_total };
}

async function setUp(
  flags: Flags = {},
): Promise<{ server: ServerUnderTest; control: ControlLine }> {
  const server = await hostedForTest(flags);
  const control = await ControlLine.open(server);
  onTestFinished(() => control.line.close());
  return { server, control };
}

/** A connection that is gone when the test is. */
async function connection(port: number, options?: { paused?: boolean }): Promise<RawConnection> {
  const raw = await RawConnection.open(port, options);
  onTestFinished(() => raw.destroy());
  return raw;
}

/** A server with sockets that send nothing, half a head or half a body. */
const silent = begunBefore(async (atEnd) => {
  const server = await HostedServer.start();
  atEnd(() => server.end());
  const control = await ControlLine.open(server);
  atEnd(() => control.line.close());
  const before = await server.stats();
  const idle = await Promise.all(Array.from({ length: 30 }, () => RawConnection.open(server.port)));
  atEnd(() => idle.forEach((raw) => raw.destroy()));
  for (const raw of idle.slice(0, 10)) raw.send('GET /control HTTP/1.1\r\nHost: loc');
  for (const raw of idle.slice(10, 20))
    raw.send('POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf');
  await control.beat();
  return { server, control, before, idle };
});

/** Sends raw bytes and returns what came until the server closed. */
async function sentUntilClosed(port: number, bytes: string | Uint8Array): Promise<string> {
  const raw = await connection(port);
  raw.send(bytes);
  await raw.waitFor('the server closes', () => raw.closed);
  return raw.text;
}

describe('channel names: 1 to 128 of A–Z a–z 0–9 . _ ~ - : @ in segments, no leading, trailing or double dot, at most 16 on a line', () => {
  const shared = sharedControl();
  test.each([
    ['a leading dot', '.a'],
    ['a trailing dot', 'a.'],
    ['only a dot', '.'],
    ['a double dot', 'a..b'],
    ['two dots', '..'],
    ['129 characters', 'x'.repeat(129)],
    ['a percent-encoded letter: names stand as they are', '%61'],
    ['an encoded blank', 'a%20b'],
    ['an encoded slash', 'a%2Fb'],
    ['an encoded NUL', 'a%00'],
    ['an encoded line break', 'a%0d%0ab'],
    ['a plus', 'a+b'],
    ['a star', '*'],
    ['a segment that is a dot', 'a/./b'],
    ['a segment that is two dots', 'a/../b'],
    ['a segment with a dot at its end', 'a./b'],
    ['129 characters in two segments', `${'x'.repeat(64)}/${'x'.repeat(64)}`],
    ['an encoded slash between segments', 'org%2F7/b'],
    ['an encoded colon', 'a%3Ab'],
    ['an encoded comma', 'org/1%2Corg/2'],
    ['a percent sign that is encoded', 'org/%25'],
    ['an empty segment before a comma', 'a/,b'],
    ['an empty segment behind a comma', 'a,/b'],
    ['a name under the reserved segment in a list', 'a,-/stats'],
    ['a dollar', '$a'],
    ['a backslash', 'a\\b'],
    ['quotation marks', '"a"'],
    ['angle brackets', '<script>'],
    ['UTF-8', Buffer.from('é').toString('latin1')],
    ['Latin-1', '\xe9'],
    ['a semicolon', 'a;b'],
    ['an empty name in the middle', 'a,,b'],
    ['an empty name at the end', 'a,'],
    ['an empty name at the start', ',a'],
    ['one bad name among good ones', 'a,b,c..d'],
    ['17 channels', Array.from({ length: 17 }, (_, i) => `c${i}`).join(',')],
  ])('%s is 400, for who listens and who publishes', async (_name, channel) => {
    const { server, control } = shared();
    const before = await refusals(server, 'HOLDLINE_BAD_CHANNEL');
    const { known } = (await server.stats()).channels;
    for (const [method, parts] of [
      ['GET', { headers: SSE }],
      ['POST', { body: 'x' }],
    ] as const) {
      const answer = await request(server.port, method, `/${channel}`, parts);
      expect([method, answer.status, codeOf(answer)]).toEqual([
        method,
        400,
        'HOLDLINE_BAD_CHANNEL',
      ]);
    }
    expect(await refusals(server, 'HOLDLINE_BAD_CHANNEL')).toEqual({
      ofCode: before.ofCode + 2,
      all: before.all + 2,
    });
    expect((await server.stats()).channels.known, 'a refused name leaves nothing behind').toBe(
      known,
    );
    await control.noticedNothing();
  });

  test('16 channels on a line are fine, also when more are named twice', async () => {
    const { server, control } = shared();
    const names = Array.from({ length: 16 }, (_, i) => `c${i}`);
    const line = await SseLine.open(server.port, `/${[...names, ...names].join(',')}`);
    onTestFinished(() => line.close());
    expect(line.head.status).toBe(200);
    await server.publish('c15', 'x');
    await line.waitForEvents(1);
    await control.noticedNothing();
  });

  test('100 refused names and 100 refused lines leave no channel and no line behind', async () => {
    const { server, control } = shared();
    const before = await server.stats();
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        request(server.port, 'GET', `/bad${i}..x`, { headers: SSE }),
      ),
    );
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        request(server.port, 'GET', `/good${i}?since=bad`, { headers: SSE }),
      ),
    );
    const after = await server.stats();
    expect(after.counters.refused_total - before.counters.refused_total).toBe(200);
    expect(after.channels.known).toBe(before.channels.known);
    await server.statsUntil('only the control line is open', ({ lines }) => lines.open === 1);
    await control.noticedNothing();
  });
});

describe('positions', () => {
  const shared = sharedControl();
  test.each(['-1', '1e9', 'abc', '9007199254740992', '%00', '1%00'])(
    '"%s" in the query is 400',
    async (text) => {
      const { server, control } = shared();
      const before = await refusals(server, 'HOLDLINE_BAD_POSITION');
      const answer = await request(server.port, 'GET', `/control?since=${text}`, { headers: SSE });
      expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_POSITION']);
      expect(await refusals(server, 'HOLDLINE_BAD_POSITION')).toEqual({
        ofCode: before.ofCode + 1,
        all: before.all + 1,
      });
      await control.noticedNothing();
    },
  );

  test.each(['-1', '1e9', 'abc', '9007199254740992'])(
    '"%s" in the header is a gap, then everything held',
    async (text) => {
      const { server, control } = shared();
      const before = await server.stats();
      const line = await SseLine.open(server.port, '/control', {
        headers: { 'Last-Event-ID': text },
      });
      onTestFinished(() => line.close());
      await control.beat();
      await line.waitForId(control.line.lastId);
      expect(line.gaps).toHaveLength(1);
      expect(line.ids).toEqual(server.published.get('control'));
      const { counters } = await server.stats();
      expect(counters.gaps_at_join_total - before.counters.gaps_at_join_total).toBe(1);
      expect(counters.gaps_total - before.counters.gaps_total).toBe(1);
      expect(counters.refused_total).toBe(before.counters.refused_total);
      await control.noticedNothing();
    },
  );

  test('NUL in the header is refused as bad HTTP or read as a foreign position; it never reaches a stream', async () => {
    const { server, control } = shared();
    const raw = await connection(server.port);
    raw.send(
      `GET /control HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: 1\0\r\n\r\n`,
    );
    await raw.waitFor('an answer', () => raw.closed || raw.text.includes('"before":'));
    expect(raw.text).toMatch(/^(HTTP\/1\.1 400 |HTTP\/1\.1 200 OK\r\n[^]*event: gap\n)|^$/);
    expect(raw.text).not.toContain('\0');
    await control.noticedNothing();
  });
});

describe('requests that are not HTTP/1.1 as it should be are answered or closed natively, and counted as closed sockets', () => {
  const shared = sharedControl();
  const head = 'GET /control HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n';
  test.each([
    [
      '200 headers',
      `${head}${Array.from({ length: 200 }, (_, i) => `X-${i}: 1\r\n`).join('')}\r\n`,
      /^HTTP\/1\.1 (431|400) |^$/,
    ],
    ['a head over 16 KiB', `${head}X: ${'x'.repeat(17_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['a head over 16 KiB that never ends', `${head}X: ${'x'.repeat(20_000)}`, /^HTTP\/1\.1 431 /],
    [
      'a target over 16 KiB',
      `GET /${'x'.repeat(17_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      /^HTTP\/1\.1 431 /,
    ],
    ['HTTP/1.0', 'GET /control HTTP/1.0\r\nHost: localhost\r\n\r\n', /^HTTP\/1\.1 505 /],
    [
      'no HTTP at all',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
      /^HTTP\/1\.1 (400|505) |^$/,
    ],
    [
      'no Host',
      'GET /control HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n',
      /^HTTP\/1\.1 40[03] |^$/,
    ],
    [
      'Content-Length and chunked at once',
      'POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 |^$/,
    ],
    [
      'a broken chunk size',
      'POST /control HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfoo\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 |^$/,
    ],
    [
      'a length that is no number',
      'POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\nfoo',
      /^HTTP\/1\.1 400 |^$/,
    ],
  ])('%s', async (_name, bytes, answer) => {
    const { server, control } = shared();
    const before = await server.stats();
    const raw = await connection(server.port);
    raw.send(bytes);
    await raw.waitFor('an answer or the end', () => raw.closed || raw.text.includes('\r\n\r\n'));
    expect(raw.text).toMatch(answer);
    raw.destroy();
    await server.statsUntil(
      'the socket is gone',
      ({ counters, sockets, lines }) =>
        sockets.open <= before.sockets.open &&
        lines.open === 1 &&
        counters.sockets_closed_total > before.counters.sockets_closed_total,
    );
    await control.noticedNothing();
  });

  test('50 headers within 16 KiB are fine: browsers and proxies send many', async () => {
    const { server } = shared();
    const headers = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`X-Header-${i}`, 'x'.repeat(120)]),
    );
    expect(
      (await request(server.port, 'HEAD', '/control', { headers: { ...SSE, ...headers } })).status,
    ).toBe(200);
  });
});

describe('methods', () => {
  const shared = sharedControl();
  test.each(['PUT', 'PATCH', 'TRACE', 'BREW'])('%s is 405 and counted', async (method) => {
    const { server, control } = shared();
    const before = await refusals(server, 'HOLDLINE_METHOD_NOT_ALLOWED');
    const answer = await request(server.port, method, '/control');
    expect([answer.status, codeOf(answer)]).toEqual([405, 'HOLDLINE_METHOD_NOT_ALLOWED']);
    expect(answer.headers.get('allow')).toMatch(/GET.*POST/);
    expect(await refusals(server, 'HOLDLINE_METHOD_NOT_ALLOWED')).toEqual({
      ofCode: before.ofCode + 1,
      all: before.all + 1,
    });
    await control.noticedNothing();
  });
});

describe('an open stream', () => {
  const shared = sharedControl();
  /** The line is counted as closed and nothing of it is left. */
  async function gone(server: ServerUnderTest): Promise<void> {
    const { counters } = await server.statsUntil(
      'the line is gone',
      ({ lines }) => lines.open === 1,
    );
    expect(counters.lines_opened_total - counters.lines_closed_total).toBe(1);
  }

  test.each([
    ['a second request', 'GET /control HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    [
      'a publish behind it',
      'POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx',
    ],
    ['garbage', '\0\xff\r\n\r\n garbage \r\n\r\n'],
  ])('%s on it closes it, and publishes nothing', async (_name, bytes) => {
    const { server, control } = shared();
    // Read as bytes: what is not HTTP is answered natively, in the middle of the stream, before the
    // close.
    const raw = await connection(server.port);
    raw.send(requestBytes(server.port, 'GET', '/control', { headers: SSE }));
    await raw.waitFor('the prelude', () => raw.text.includes('retry: '));
    raw.send(bytes);
    await raw.waitFor('the server closes', () => raw.closed);
    await gone(server);
    await control.noticedNothing();
  });

  test('a second request in the same segment as the first closes it too', async () => {
    const { server, control } = shared();
    const twice = requestBytes(server.port, 'GET', '/control', { headers: SSE });
    await sentUntilClosed(server.port, Buffer.concat([twice, twice]));
    await gone(server);
    await control.noticedNothing();
  });

  test.each([
    ['a FIN', (raw: RawConnection) => void raw.socket.end()],
    ['a reset', (raw: RawConnection) => void raw.socket.resetAndDestroy()],
  ])('%s from the client closes it', async (_name, act) => {
    const { server, control } = shared();
    const line = await SseLine.open(server.port, '/control');
    act(line.connection);
    await gone(server);
    await control.noticedNothing();
  });

  test.each([
    ['at the first byte', 1],
    ['after 100 KB', 100_000],
    ['after 1 MB', 1_000_000],
  ])(
    'a client that closes during its replay, %s, is counted and costs nothing',
    async (_name, bytes) => {
      const { server, control } = await setUp({
        'replay-bytes': '16MiB',
        'replay-events': 100_000,
      });
      for (let i = 0; i < 8; i++)
        await server.publishBatch(
          'control',
          Array.from({ length: 1000 }, () => ({ data: 'x'.repeat(1000) })),
        );
      for (let i = 0; i < 10; i++) {
        const raw = await RawConnection.open(server.port);
        raw.send(requestBytes(server.port, 'GET', '/control?since=0', { headers: SSE }));
        await raw.waitFor('a part of the replay', () => raw.bytesRead >= bytes);
        if (i % 2) raw.socket.resetAndDestroy();
        else raw.destroy();
      }
      await gone(server);
      await control.noticedNothing();
    },
  );

  test('clients that close while they stall are counted and cost nothing', async () => {
    const { server, control } = await setUp();
    const lines = await Promise.all(
      Array.from({ length: 10 }, () => SseLine.open(server.port, '/control')),
    );
    for (const line of lines) line.connection.pause();
    for (let stalled = 0; stalled < 10; stalled = (await server.stats()).lines.stalled) {
      await server.publishBatch(
        'control',
        Array.from({ length: 500 }, () => ({ data: 'x'.repeat(1000) })),
      );
    }
    for (const line of lines) line.connection.socket.resetAndDestroy();
    const { counters } = await server.statsUntil(
      'they are gone',
      (stats) => stats.lines.open === 1 && stats.lines.stalled === 0,
    );
    expect(counters.lines_stalled_total).toBeGreaterThanOrEqual(10);
    await control.noticedNothing();
  });
});

test('300 clients that come and go while events are published leave the others alone, and each has seen what it was owed', async () => {
  const { server, control } = await setUp({ 'replay-events': 10_000 });
  const steady = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      SseLine.open(server.port, i % 2 ? '/control' : '/control,other'),
    ),
  );
  onTestFinished(() => steady.forEach((line) => line.close()));
  const publishing = async (): Promise<void> => {
    for (let id = 1; id <= 310;) id = await server.publish('control', `${id + 1}`);
  };
  const visits = Array.from({ length: 300 }, async (_, i) => {
    // Spread over the publishing: each comes when a certain event has been seen.
    await control.line.waitFor(`event ${i + 2}`, () => control.line.lastId >= i + 2, 20_000);
    const from = Math.max(1, i - 20);
    const line = await SseLine.open(server.port, '/control', {
      headers: { 'Last-Event-ID': String(from) },
    });
    await line.waitForId(control.line.lastId);
    if (i % 3 === 0) line.connection.socket.resetAndDestroy();
    else line.close();
    expect([line.gaps, line.ids]).toEqual([[], line.ids.map((__, k) => from + 1 + k)]);
  });
  await Promise.all([publishing(), ...visits]);
  const { counters } = await server.statsUntil(
    'only the steady ones are left',
    ({ lines }) => lines.open === 21,
  );
  expect(counters).toMatchObject({
    lines_opened_total: 321,
    lines_closed_total: 300,
    gaps_total: 0,
  });
  await control.noticedNothing();
  for (const line of steady) {
    await line.waitForId(control.line.lastId);
    expect([line.gaps, line.ids]).toEqual([[], control.line.ids.slice(1)]);
  }
});

describe('more than the server takes', () => {
  /** `count` plain lines beside the control line. */
  async function fill(server: ServerUnderTest, count: number): Promise<SseLine[]> {
    const lines = await Promise.all(
      Array.from({ length: count }, () => SseLine.open(server.port, '/control')),
    );
    onTestFinished(() => lines.forEach((line) => line.close()));
    return lines;
  }

  test('a line above --max-connections gets 200, retry and the end, so that EventSource comes back; a plain request is served', async () => {
    const { server, control } = await setUp({ 'max-connections': 5 });
    const [first] = await fill(server, 4);
    const refused: Answer[] = [];
    for (let i = 0; i < 3; i++)
      refused.push(await request(server.port, 'GET', '/control', { headers: SSE }));
    for (const answer of refused) {
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/event-stream');
      expect(answer.text).toMatch(/^retry: \d+\n\n$/);
    }
    expect((await request(server.port, 'GET', '/-/ready')).status).toBe(200);
    const { counters, lines } = await server.stats();
    expect(lines).toMatchObject({ open: 5, cap: 5 });
    expect(counters).toMatchObject({
      refused_temporary_total: 3,
      lines_opened_total: 5,
      refused: { HOLDLINE_LINES_FULL: 3 },
    });
    // A place that is free is taken again.
    first!.close();
    await server.statsUntil('a place is free', (stats) => stats.lines.open === 4);
    const next = await SseLine.open(server.port, '/control');
    onTestFinished(() => next.close());
    await control.beat();
    await next.waitForEvents(1);
    await control.noticedNothing();
  });

  test('sockets above the cap and its spare ones are closed at accept, or older silent ones for them, and counted', async () => {
    const { server, control } = await setUp({ 'max-connections': 3 });
    const asking = await HttpClient.open(server.port);
    onTestFinished(() => asking.close());
    const stats = async (): Promise<{
      sockets: { open: number; cap: number };
      counters: Record<string, number>;
    }> =>
      JSON.parse(
        (await asking.request('GET', '/-/stats', { headers: server.opsHeaders })).text,
      ) as never;
    const { cap } = (await stats()).sockets;
    expect(cap, 'the cap and 64 spare sockets').toBe(3 + 64);
    const idle = await Promise.all(Array.from({ length: cap + 20 }, () => connection(server.port)));
    const closed = (): number => idle.filter((raw) => raw.closed).length;
    // The control line and the asking connection hold two of the places.
    const surplus = idle.length - (cap - 2);
    const deadline = performance.now() + 5_000;
    while (closed() < surplus && performance.now() < deadline) await stats();
    const { sockets, counters } = await stats();
    // Of silent ones a few more may be closed than have come since.
    const places = cap - sockets.open;
    expect(places).toBeGreaterThanOrEqual(0);
    expect(places).toBeLessThan(32);
    expect(closed()).toBe(surplus + places);
    expect(counters['sockets_refused_total']! + counters['sockets_silent_closed_total']!).toBe(
      surplus + places,
    );
    for (const raw of idle) raw.destroy();
    for (const until = performance.now() + 5_000; (await stats()).sockets.open > 2;)
      expect(performance.now()).toBeLessThan(until);
    await control.noticedNothing();
  });

  test('164 sockets that send nothing leave a server of 100 connections open to whoever asks', async () => {
    const server = await hostedForTest({ 'max-connections': 100 });
    await Promise.all(Array.from({ length: 164 }, () => connection(server.port)));
    await sleep(MUTE_MS);
    for (let i = 0; i < 40; i++)
      expect((await request(server.port, 'GET', '/-/health')).status).toBe(200);
    const { counters } = await server.stats();
    expect(counters.sockets_silent_closed_total).toBeGreaterThan(0);
    expect(counters.sockets_refused_total).toBe(0);
  });

  test('a held line that has only listened since is no silent socket', async () => {
    const { server, control } = await setUp({ 'max-connections': 3 });
    const lines = await fill(server, 2);
    await Promise.all(Array.from({ length: 100 }, () => connection(server.port)));
    await sleep(MUTE_MS);
    // Who comes now takes the place of silent sockets, of which the lines are none.
    expect((await request(server.port, 'GET', '/-/health')).status).toBe(200);
    expect((await server.stats()).counters.sockets_silent_closed_total).toBeGreaterThan(0);
    await control.noticedNothing();
    for (const line of lines) expect(line.connection.closed).toBe(false);
  });

  test('sockets that send nothing, or half a head, are closed after ten seconds or so; half a body is told 408 before', async () => {
    const { value, leftMs } = silent();
    const { server, control, before, idle } = value;
    for (const raw of idle)
      await raw.waitFor('the server gives it up', () => raw.closed, leftMs(20_000));
    const { counters } = await server.statsUntil(
      'all are counted',
      ({ sockets }) => sockets.open === before.sockets.open,
    );
    expect(
      counters.sockets_closed_total - before.counters.sockets_closed_total,
    ).toBeGreaterThanOrEqual(30);
    expect(counters.refused['HOLDLINE_BODY_TIMEOUT']).toBe(10);
    for (const raw of idle.slice(10, 20)) expect(raw.text).toMatch(/^HTTP\/1\.1 408 /);
    await control.noticedNothing();
  });
});
