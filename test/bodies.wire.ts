/**
 * Bodies as they are received: one costs its bytes, in however many pieces it comes, and an aborted
 * one gives them back.
 */
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { BODY_PIECES_PER_TURN_MAX } from '../src/limits.js';
import { begunBefore } from './support/begun.js';
import { ControlLine } from './support/control.js';
import { hostedForTest } from './support/hosted.js';
import { TestServer } from './support/server.js';
import { jsonOf, RawConnection, request } from './support/wire.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const MIB = 1024 * 1024;
const HEAD = 'POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n';

/** A server with three bodies in chunks of one byte that do not go on, and the memory they took. */
const unended = begunBefore(async (atEnd) => {
  const server = await TestServer.start({}, { NODE_OPTIONS: '--max-old-space-size=512' });
  atEnd(() => server.kill());
  const control = await ControlLine.open(server);
  atEnd(() => control.line.close());
  await control.beat();
  const before = server.rssBytes();
  const clients = await Promise.all(
    Array.from({ length: 3 }, () => RawConnection.open(server.port)),
  );
  atEnd(() => clients.forEach((client) => client.destroy()));
  const piece = Buffer.from('1\r\nx\r\n'.repeat(16 * 1024));
  let most = 0;
  for (const client of clients) client.send(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  // 1 MiB of body each.
  for (let sent = 0; sent < MIB; sent += 16 * 1024) {
    for (const client of clients) {
      if (client.socket.writableLength > MIB)
        await client.waitFor('it is taken', () => client.socket.writableLength < MIB, 20_000);
      client.send(piece);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    most = Math.max(most, server.rssBytes());
  }
  return { server, control, clients, grownBytes: () => Math.max(most, server.rssBytes()) - before };
});

test('bodies that were begun and left are given back: the same number finds room again and again', async () => {
  const server = await hostedForTest();
  const body = JSON.stringify({ data: 'x'.repeat(50_000) })
    .concat('\n')
    .repeat(60);
  // A channel holds at most half of the memory of publishes: 30 MB fit once, but not twice.
  for (let round = 0; round < 3; round++) {
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => RawConnection.open(server.port)),
    );
    for (const client of clients)
      client.send(`${HEAD}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -10)}`);
    const begun = (round + 1) * 10;
    await server.statsUntil(
      'their heads have come',
      ({ counters }) => counters.requests_total >= begun,
    );
    for (const client of clients) client.socket.resetAndDestroy();
    await server.statsUntil(
      'they are gone',
      ({ counters }) => counters.publish_aborted_total === begun,
    );
  }
  const answer = await server.post('c', body, {
    headers: { 'Content-Type': 'application/x-ndjson' },
  });
  expect(answer.status).toBe(200);
  expect((await server.stats()).counters.refused['HOLDLINE_PUBLISH_BUSY']).toBeUndefined();
});

describe('a body in more pieces than a turn takes', () => {
  const CHUNKS = 4 * BODY_PIECES_PER_TURN_MAX + 7;
  const chunked = `${'1\r\nx\r\n'.repeat(CHUNKS)}0\r\n\r\n`;
  const post = 'POST /c HTTP/1.1\r\nHost: localhost\r\n';

  test('is published whole when it comes in chunks', async () => {
    const server = await hostedForTest();
    const client = await RawConnection.open(server.port);
    onTestFinished(() => client.destroy());
    client.send(`${post}Transfer-Encoding: chunked\r\n\r\n${chunked}`);
    await client.waitFor('200', () => client.text.startsWith('HTTP/1.1 200 '));
    const answer = await request(server.port, 'GET', '/c?since=0&wait=0&limit=1');
    expect((jsonOf(answer) as { data: string }[])[0]?.data).toBe('x'.repeat(CHUNKS));
  });

  test('is refused in words, with and without a key, and closes', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'k' });
    for (const [authorization, status] of [
      ['', 401],
      ['Authorization: Bearer k\r\nContent-Type: application/json\r\n', 400],
    ] as const) {
      const client = await RawConnection.open(server.port);
      client.send(`${post}${authorization}Transfer-Encoding: chunked\r\n\r\n${chunked}`);
      await client.waitFor('the end', () => client.closed);
      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }
  });

  test('leaves the connection to the next request when its length was known', async () => {
    const server = await hostedForTest();
    const client = await RawConnection.open(server.port);
    onTestFinished(() => client.destroy());
    for (let nth = 1; nth <= 2; nth++) {
      client.send(`${post}Content-Length: ${CHUNKS}\r\n\r\n`);
      for (let sent = 0; sent < CHUNKS; sent++) {
        client.send('x');
        // Each in a segment of its own, as far as the server keeps up.
        await new Promise((resolve) => setImmediate(resolve));
      }
      await client.waitFor(
        `answer ${nth}`,
        () => client.text.split('HTTP/1.1 200 ').length === nth + 1,
      );
    }
    const answer = await request(server.port, 'GET', '/c?since=0&wait=0&limit=9');
    const bodies = (jsonOf(answer) as { data: string }[]).map(({ data }) => data);
    expect(bodies).toEqual(['x'.repeat(CHUNKS), 'x'.repeat(CHUNKS)]);
  });
});

test.each([
  ['an event stream', '/c', 'text/event-stream'],
  ['a stream of lines of JSON', '/c', 'application/x-ndjson'],
  ['a watching stream', '/-/watch', 'text/event-stream'],
])(
  'the body of a request for %s, opened later than its head came, is let be when the line is over',
  async (_what, path, accept) => {
    const server = await hostedForTest({ 'jwt-secret': SECRET, 'ops-key': 'ops' });
    const iat = Math.floor(Date.now() / 1000) - 10;
    const rights = { subscribe: ['**'], watch: ['**'] };
    const token = await new SignJWT({ sub: 'ada', iat, exp: iat + 600, holdline: rights })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(SECRET));
    const client = await RawConnection.open(server.port);
    onTestFinished(() => client.destroy());
    const length = 2 * BODY_PIECES_PER_TURN_MAX;
    client.send(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: ${accept}\r\n` +
        `Authorization: Bearer ${token}\r\nContent-Length: ${length}\r\n\r\n`,
    );
    await client.waitFor('the line', () => client.text.startsWith('HTTP/1.1 200 '));
    const ended = await server.request('DELETE', '/-/connections?user=ada', {
      headers: { Authorization: 'Bearer ops' },
    });
    expect(ended.status).toBe(200);
    await client.waitFor('the end', () => client.text.endsWith('0\r\n\r\n'));
    const { socket } = client;
    for (let sent = 1; sent < length && !client.closed; sent++) {
      // Each in a segment of its own, as far as the server keeps up.
      await new Promise((resolve) => socket.write('x', () => setTimeout(resolve, 1)));
    }
    expect((await server.request('GET', '/-/health')).status).toBe(200);
  },
);

test('bodies in chunks of one byte that never end cost their bytes, and are told 408', async () => {
  const { value, leftMs } = unended();
  const { server, control, clients, grownBytes } = value;
  expect(grownBytes()).toBeLessThan(40 * MIB);
  for (const client of clients)
    await client.waitFor('408', () => client.text.startsWith('HTTP/1.1 408 '), leftMs(20_000));
  expect(grownBytes()).toBeLessThan(40 * MIB);
  expect((await server.stats()).counters.refused['HOLDLINE_BODY_TIMEOUT']).toBe(3);
  await control.noticedNothing();
});
