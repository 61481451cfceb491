/**
 * Answers that are not read: what a socket that asks and does not read costs is bounded, counted,
 * and in the end given up.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { begunBefore, type AtEnd } from './support/begun.js';
import { ControlLine } from './support/control.js';
import { serverForTest, TestServer } from './support/server.js';
import { HttpClient, RawConnection, ResponseReader } from './support/wire.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const BIG = '/big?since=0&limit=1000&wait=0';
const PAGE = 'http://localhost:3000';

/** One whose answer is as long as can be. */
const PREFLIGHT = `OPTIONS /big HTTP/1.1\r\nHost: localhost\r\nOrigin: ${PAGE}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: ${'x'.repeat(512)}\r\n\r\n`;

/** 20 events of 60 KB: a poll for all of them is answered with a megabyte. */
async function setUp(
  atEnd: AtEnd = onTestFinished,
): Promise<{ server: TestServer; control: ControlLine }> {
  const server = await TestServer.start({ 'replay-bytes': '4MiB', 'allow-origin': PAGE });
  atEnd(() => server.kill());
  const control = await ControlLine.open(server);
  atEnd(() => control.line.close());
  for (let i = 0; i < 20; i++)
    await server.publish('big', String.fromCharCode(97 + i).repeat(60_000));
  return { server, control };
}

async function mute(port: number, atEnd: AtEnd = onTestFinished): Promise<RawConnection> {
  const raw = await RawConnection.open(port, { paused: true });
  atEnd(() => raw.destroy());
  return raw;
}

function get(target: string, method = 'GET'): string {
  return `${method} ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

/** The least that the server's memory is for half a second: garbage is none of the sockets'. */
async function leastRssBytes(server: TestServer): Promise<number> {
  let least = Infinity;
  for (const until = performance.now() + 500; performance.now() < until;) {
    least = Math.min(least, server.rssBytes());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return least;
}

const TARGETS: Readonly<Record<string, (i: number) => string>> = {
  'for the same': () => BIG,
  'each for something else': (i) => `/big?since=${1 + (i % 10)}&limit=${20 + i}&wait=0`,
};

/** What 300 answers that are not read may take. */
const UNREAD_BYTES_MAX = 300 * 64 * KIB;

/** Servers, each with 300 sockets that have asked once and do not read, and what those took. */
const unread = begunBefore(async (atEnd) => {
  const asked = async (what: string, target: (i: number) => string) => {
    const { server, control } = await setUp(atEnd);
    const before = await leastRssBytes(server);
    const sockets = await Promise.all(Array.from({ length: 300 }, () => mute(server.port, atEnd)));
    for (const [i, raw] of sockets.entries()) raw.send(get(target(i)));
    const { counters } = await server.statsUntil(
      'all were answered',
      (stats) => stats.counters.polls_answered_total >= 300,
    );
    // While many are not read, the next answers are as large as a socket takes at once.
    expect(counters.answers_pending_total).toBeGreaterThan(5);
    // Garbage may come on top for a while.
    const deadline = performance.now() + 5_000;
    let tookBytes = server.rssBytes() - before;
    while (tookBytes >= UNREAD_BYTES_MAX && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      tookBytes = server.rssBytes() - before;
    }
    await control.noticedNothing();
    return { what, server, tookBytes };
  };
  return Promise.all(Object.entries(TARGETS).map(([what, target]) => asked(what, target)));
});

describe('one socket that asks without end and never reads', () => {
  test.each([
    ['answers of a megabyte', get(BIG)],
    ['short answers', get('/-/health')],
    ['refusals', get('/a..b')],
    ['refusals of an operations page', get('/-/stats')],
    ['a page', get('/')],
    ['heads alone', get('/-/health', 'HEAD')],
    ['empty polls', get('/big?since=latest&wait=0')],
    ['OPTIONS', get('/big', 'OPTIONS')],
    ['preflights', PREFLIGHT],
    ['heads of streams', get('/big', 'HEAD')],
  ])('%s: the process stays below 150 MiB, and the socket is closed', async (_what, bytes) => {
    const { server, control } = await setUp();
    const raw = await mute(server.port);
    const many = Buffer.from(bytes.repeat(500));
    let most = 0;
    const deadline = performance.now() + 10_000;
    while (!raw.closed && performance.now() < deadline) {
      // As much as the kernel takes: bytes that wait in this process would not load the server.
      if (raw.socket.writableLength < MIB) raw.send(many);
      await new Promise((resolve) => setTimeout(resolve, 1));
      most = Math.max(most, server.rssBytes());
    }
    expect(raw.closed).toBe(true);
    expect(most).toBeLessThan(150 * MIB);
    await control.noticedNothing();
  });

  test('one request at a time, in a segment of its own', async () => {
    const { server, control } = await setUp();
    const raw = await mute(server.port);
    const before = server.rssBytes();
    const deadline = performance.now() + 15_000;
    for (let asked = 0; !raw.closed && asked < 100_000 && performance.now() < deadline; asked++) {
      raw.send(get('/big?since=latest&wait=0'));
      if (asked % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await raw.waitFor('the close', () => raw.closed);
    expect(server.rssBytes() - before).toBeLessThan(16 * MIB);
    await control.noticedNothing();
  });
});

test('an answer that is read slowly comes whole, also while many others are not read', async () => {
  const { server } = await setUp();
  const slow = await mute(server.port);
  const pieces: Buffer[] = [];
  const reader = new ResponseReader((piece) => void pieces.push(piece));
  slow.consume = (bytes) => reader.feed(bytes);
  slow.send(get(BIG));
  await server.statsUntil('it is pending', (stats) => stats.counters.answers_pending_total === 1);
  const slowly = setInterval(() => {
    slow.resume();
    setTimeout(() => slow.pause(), 2);
  }, 20);
  onTestFinished(() => clearInterval(slowly));
  // Each has a body of its own.
  const still = await Promise.all(Array.from({ length: 40 }, () => mute(server.port)));
  for (const [i, raw] of still.entries()) raw.send(get(`/big?since=0&limit=${100 + i}&wait=0`));
  await slow.waitFor('the whole answer', () => reader.complete, 20_000);
  const events = JSON.parse(Buffer.concat(pieces).toString()) as { data: string }[];
  expect(events.map(({ data }) => data[0]).join('')).toBe(
    'abcdefghijklmnopqrst'.slice(0, events.length),
  );
  expect(events.length).toBeGreaterThan(15);
  const { counters } = await server.stats();
  expect(counters.answers_pending_total).toBeGreaterThan(5);
  expect(counters.answers_given_up_total).toBe(0);
});

test('a request behind an answer that is not read yet closes the connection and is not carried out', async () => {
  const { server } = await setUp();
  const raw = await mute(server.port);
  raw.send(get(BIG));
  await server.statsUntil('it is pending', (stats) => stats.counters.answers_pending_total === 1);
  const { events_accepted_total: accepted } = (await server.stats()).counters;
  raw.send('POST /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx');
  await server.statsUntil(
    'the socket is closed',
    (stats) => stats.counters.answers_unread_total === 1,
  );
  expect((await server.stats()).counters.events_accepted_total).toBe(accepted);
});

test('a client of empty answers is told when its connection closes, and goes on with another', async () => {
  const { server } = await setUp();
  const client = await HttpClient.open(server.port);
  onTestFinished(() => client.close());
  const first = client.connection;
  // One in 64 closes it on average: with a chance of 1 in 7 million a thousand leave it open.
  for (let i = 0; i < 1000 && client.connection === first; i++) {
    expect((await client.request('GET', '/big?since=latest&wait=0')).status).toBe(204);
  }
  expect(client.connection).not.toBe(first);
});

test('while the server drains, answers say that the connection closes', async () => {
  const server = await serverForTest({ drain: '3s' });
  const line = await RawConnection.open(server.port);
  onTestFinished(() => line.destroy());
  const polling = await HttpClient.open(server.port);
  onTestFinished(() => polling.close());
  const health = await HttpClient.open(server.port);
  onTestFinished(() => health.close());
  expect((await health.request('GET', '/-/health')).headers.has('connection')).toBe(false);
  // Never read, so that the drain takes a while.
  const answered = polling.request('GET', '/c?wait=30', {}, 10_000);
  await server.statsUntil('the poll waits', ({ lines }) => lines.open === 1);
  server.signal('SIGTERM');
  const answer = await answered;
  expect([answer.status, answer.headers.get('connection')]).toEqual([204, 'close']);
  const late = await health.request('GET', '/-/ready');
  expect([late.status, late.headers.get('connection')]).toEqual([503, 'close']);
});

test('a poll that sends its end with the request is answered all the same', async () => {
  const { server } = await setUp();
  for (const target of [BIG, '/big?since=latest&wait=0', '/-/health']) {
    const raw = await RawConnection.open(server.port);
    onTestFinished(() => raw.destroy());
    const reader = new ResponseReader(() => {});
    raw.consume = (bytes) => reader.feed(bytes);
    raw.socket.end(get(target));
    await raw.waitFor('the close', () => raw.closed);
    expect(reader.complete || target === BIG).toBe(true);
  }
});

// The native timer takes ten seconds.
test(`300 sockets that ask once and do not read, ${Object.keys(TARGETS).join(', or ')}, cost at most 64 KiB each, and are closed for their silence`, async () => {
  const { value, leftMs } = unread();
  for (const { what, server, tookBytes } of value) {
    expect(tookBytes, `of those ${what}`).toBeLessThan(UNREAD_BYTES_MAX);
    const { counters } = await server.statsUntil(
      `${what}: the native timer has closed those that wait`,
      (stats) => stats.counters.answers_unread_total === stats.counters.answers_pending_total,
      leftMs(20_000),
    );
    // None was given up by the server itself.
    expect(counters.answers_given_up_total).toBe(0);
  }
});
