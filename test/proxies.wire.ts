/**
 * The proxies of scripts/deploy/, as they stand there, in front of a server: no body becomes a
 * request, and each publish is one.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  deployedCaddyForTest,
  deployedHaproxyForTest,
  deployedNginxForTest,
} from './support/deployed.js';
import { SseLine } from './support/line.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { HttpClient, RawConnection } from './support/wire.js';

const KEYS = { 'open-publish': false, 'publish-key': 'k', 'ops-key': 'o' };
const HEAD = 'POST /c HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n';
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;
const HIDDEN =
  'POST /victim HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\nContent-Length: 1\r\n\r\nx';

/**
 * Shapes whose borders are seen otherwise by some: whatever is answered, what is hidden in them is
 * not carried out.
 */
const SMUGGLING: readonly (readonly [string, string])[] = [
  [
    'two lengths',
    `${HEAD}Content-Length: 3\r\nContent-Length: ${3 + HIDDEN.length}\r\n\r\nabc${HIDDEN}`,
  ],
  [
    'a length and chunks',
    `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ],
  [
    'Transfer-Encoding: identity',
    `${HEAD}Transfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    'Transfer-Encoding: xchunked',
    `${HEAD}Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  ],
  ['an empty Transfer-Encoding', `${HEAD}Transfer-Encoding: \r\n\r\n${HIDDEN}`],
  ['a trailer that is a request', `${CHUNKED.replace('Bearer k', 'Bearer wrong')}0\r\na:${HIDDEN}`],
  ['two bytes in place of the last line break', `${CHUNKED}3\r\nabc\r\n0\r\nXX${HIDDEN}`],
  [
    'a size line that begins with a blank',
    `${CHUNKED}3\r\nabc\r\n ${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`,
  ],
  ['an empty size line', `${CHUNKED}3\r\nabc\r\n\r\n${HIDDEN}`],
];

/** The events that were published to a channel. */
async function eventsOf(server: ServerUnderTest, channel: string): Promise<string[]> {
  const answer = await server.request('GET', `/${channel}?since=0&limit=100&wait=0`);
  if (answer.status === 204) return [];
  return (JSON.parse(answer.text) as { data: string }[]).map(({ data }) => data);
}

/** Statuses of all answers that a client has read. */
function statusesOf({ text }: RawConnection): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((match) => Number(match[1]));
}

/**
 * Go reads such a request as a chunked one (RFC 9112, 6.3, allows it), so that what follows is the
 * client's next request and nothing is hidden. scripts/deploy/README.md
 */
const READ_AS_TWO_BY_CADDY = 'a length and chunks';

describe.each([
  ['nginx', deployedNginxForTest],
  ['haproxy', deployedHaproxyForTest],
  ['caddy', deployedCaddyForTest],
] as const)('%s', (proxy, proxyForTest) => {
  async function setUp(): Promise<{ server: ServerUnderTest; port: number }> {
    const server = await hostedForTest(KEYS);
    return { server, port: await proxyForTest(server.port) };
  }

  async function sent(port: number, bytes: string): Promise<RawConnection> {
    const client = await RawConnection.open(port);
    onTestFinished(() => client.destroy());
    client.send(bytes);
    await client.waitFor(
      'an answer or the end',
      () => client.closed || client.text.includes('\r\n\r\n'),
      10_000,
    );
    return client;
  }

  test('lets no body become a request, and what is published is answered 200', async () => {
    const { server, port } = await setUp();
    for (const [name, bytes] of SMUGGLING) {
      if (proxy === 'caddy' && name === READ_AS_TWO_BY_CADDY) continue;
      const before = (await eventsOf(server, 'c')).length;
      const client = await sent(port, bytes);
      expect({ name, hidden: await eventsOf(server, 'victim') }).toEqual({ name, hidden: [] });
      const published = (await eventsOf(server, 'c')).length - before;
      expect({ name, published }).toEqual({
        name,
        published: statusesOf(client).filter((status) => status === 200).length,
      });
    }
    expect(await eventsOf(server, 'victim')).toEqual([]);
  });

  test.each([
    ['chunks', '5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['chunks with a legal trailer', '5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n', 'hello'],
    ['a chunk extension', '3;a=b\r\nabc\r\n0\r\n\r\n', 'abc'],
  ])('publishes %s once and answers once', async (_shape, body, data) => {
    const { server, port } = await setUp();
    const client = await sent(port, `${CHUNKED}${body}`);
    expect(statusesOf(client)).toEqual([200]);
    expect(await eventsOf(server, 'c')).toEqual([data]);
  });

  test('passes a stream as it comes, a publish, a poll and a batch', async () => {
    const { server, port } = await setUp();
    const line = await SseLine.open(port, '/c');
    onTestFinished(() => line.close());
    const rows = await sent(
      port,
      'GET /c HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n',
    );
    const client = await HttpClient.open(port);
    onTestFinished(() => client.close());
    const key = { Authorization: 'Bearer k' };
    expect((await client.request('POST', '/c', { headers: key, body: 'one' })).status).toBe(200);
    await line.waitForEvents(1);
    await rows.waitFor('the event as JSON', () => rows.text.includes('"data":"one"'));
    const batch = Array.from({ length: 2000 }, (_, i) =>
      JSON.stringify({ data: `${i} ${'x'.repeat(100)}` }),
    ).join('\n');
    const headers = { ...key, 'Content-Type': 'application/x-ndjson' };
    expect((await client.request('POST', '/d', { headers, body: batch })).status).toBe(200);
    expect((await client.request('GET', '/c?since=0&wait=0')).status).toBe(200);
    expect(await eventsOf(server, 'c')).toEqual(['one']);
  });

  test('tells a chunked body that is too large for an event 413, and publishes nothing of it', async () => {
    const { server, port } = await setUp();
    const piece = `8000\r\n${'x'.repeat(0x8000)}\r\n`;
    const client = await sent(port, `${CHUNKED}${piece.repeat(3)}0\r\n\r\n`);
    expect(statusesOf(client)).toEqual([413]);
    expect(await eventsOf(server, 'c')).toEqual([]);
  });
});

test('straight to the server the same shapes publish nothing but what is answered 200', async () => {
  const server = await hostedForTest(KEYS);
  for (const [name, bytes] of SMUGGLING) {
    const before = (await eventsOf(server, 'c')).length;
    const client = await RawConnection.open(server.port);
    client.send(bytes);
    await client.waitFor('the close', () => client.closed, 15_000);
    expect({ name, hidden: await eventsOf(server, 'victim') }).toEqual({ name, hidden: [] });
    const published = (await eventsOf(server, 'c')).length - before;
    const accepted = statusesOf(client).filter((status) => status === 200).length;
    expect({ name, published }).toEqual({ name, published: accepted });
  }
});
