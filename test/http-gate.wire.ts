/**
 * HTTP that might be read in two ways: a request whose end is not certain is refused and its
 * connection closed, and every publish is answered. Each input once broke this.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { CLOSE_LINGER_MS_MAX } from '../src/limits.js';
import { SseLine } from './support/line.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import {
  codeOf,
  HttpClient,
  RawConnection,
  requestBytes,
  ResponseReader,
  type ResponseHead,
} from './support/wire.js';
import { handshakeBytes } from './support/websocket.js';

const server = sharedHosted({ 'open-publish': false, 'publish-key': 'k', 'ops-key': 'o' });

const HEAD = 'POST /c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n';
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;
const KEY = { Authorization: 'Bearer k' };

/** The outcome of bytes on a connection of their own. */
interface Outcome {
  /** Statuses of all answers. */
  readonly statuses: readonly number[];
  readonly closed: boolean;
  /** Events that all channels took meanwhile. */
  readonly published: number;
}

async function accepted(of: ServerUnderTest): Promise<number> {
  return (await of.stats()).counters.events_accepted_total;
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((match) => Number(match[1]));
}

/**
 * Sends each text as a segment of its own and waits for the server's close, or for an answer if the
 * connection stays open.
 */
async function sent(
  segments: readonly string[],
  until: 'closed' | 'answered' = 'closed',
): Promise<Outcome> {
  const before = await accepted(server());
  const client = await RawConnection.open(server().port);
  onTestFinished(() => client.destroy());
  for (const [at, segment] of segments.entries()) {
    // Who connects after the one before is answered after it has been read and acted on.
    if (at > 0) await server().request('GET', '/-/health');
    client.send(Buffer.from(segment, 'latin1'));
  }
  await client.waitFor(
    until,
    () => client.closed || (until === 'answered' && /\r\n\r\n/.test(client.text)),
    15_000,
  );
  const published = (await accepted(server())) - before;
  return { statuses: statusesOf(client.text), closed: client.closed, published };
}

describe('a head whose borders are not certain is told 400 and closed, and nothing of it is carried out', () => {
  const hidden = 'GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n';
  test.each([
    ['two lengths', `${HEAD}Content-Length: 3\r\nContent-Length: 38\r\n\r\nabc${hidden}`],
    ['the same length twice', `${HEAD}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`],
    [
      'an empty length and one that is not',
      `${HEAD}Content-Length: \r\nContent-Length: 38\r\n\r\n${hidden}`,
    ],
    [
      'two lengths on a GET',
      `GET /c HTTP/1.1\r\nHost: x\r\nContent-Length: \r\nContent-Length: 38\r\n\r\n${hidden}`,
    ],
    [
      'Transfer-Encoding: identity',
      `${HEAD}Transfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      'Transfer-Encoding: xchunked',
      `${HEAD}Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      'Transfer-Encoding: gzip, chunked',
      `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ],
    ['chunked, chunked', `${HEAD}Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
    [
      'two codings',
      `${HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ],
    ['an empty Transfer-Encoding', `${HEAD}Transfer-Encoding: \r\n\r\n${hidden}`],
    [
      'a chunked GET',
      `GET /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na:${hidden}`,
    ],
    [
      'a chunked DELETE',
      `DELETE /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
  ])('%s', async (_name, bytes) => {
    const refused = (await server().stats()).counters.refused['HOLDLINE_BAD_FRAMING'] ?? 0;
    expect(await sent([bytes])).toEqual({ statuses: [400], closed: true, published: 0 });
    expect((await server().stats()).counters.refused['HOLDLINE_BAD_FRAMING']).toBe(refused + 1);
  });
});

describe('a chunked body is acted on and answered a turn after its last byte, and the connection closes', () => {
  const once: Outcome = { statuses: [200], closed: true, published: 1 };
  test.each([
    ['in one segment', [`${CHUNKED}5\r\nhello\r\n0\r\n\r\n`], once],
    [
      'in small letters or large',
      [`${HEAD}transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`],
      once,
    ],
    ['a byte a segment', [CHUNKED, ...'1\r\nx\r\n0\r\n\r\n'.split('')], once],
    [
      'a trailer in a segment of its own',
      [`${CHUNKED}5\r\nhello\r\n0\r\n`, 'X-T: 1\r\n\r\n'],
      once,
    ],
    [
      'a request in a later segment',
      [`${CHUNKED}1\r\nx\r\n0\r\n\r\n`, `${HEAD}Content-Length: 1\r\n\r\ny`],
      once,
    ],
    // Not a request, so it is closed natively before the turn is over: the client may send it
    // again.
    [
      'a trailer in the last segment',
      [`${CHUNKED}5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n`],
      { ...once, statuses: [505], published: 0 },
    ],
    [
      'a request behind it',
      [`${CHUNKED}1\r\nx\r\n0\r\n\r\n${HEAD}Content-Length: 1\r\n\r\ny`],
      { statuses: [], closed: true, published: 0 },
    ],
    [
      'two other bytes and a request',
      [`${CHUNKED}1\r\nx\r\n0\r\nXX${HEAD}Content-Length: 1\r\n\r\ny`],
      { statuses: [], closed: true, published: 0 },
    ],
    [
      'an empty size line and a request',
      [`${CHUNKED}1\r\nx\r\n\r\n${HEAD}Content-Length: 1\r\n\r\ny`],
      { statuses: [], closed: true, published: 0 },
    ],
  ] as const)('%s', async (_name, segments, outcome) => {
    expect(await sent(segments)).toEqual(outcome);
  });

  test('a byte a segment, as fast as they leave: what is published is answered', async () => {
    const before = await accepted(server());
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = await RawConnection.open(server().port);
        onTestFinished(() => client.destroy());
        for (const part of [CHUNKED, ...'1\r\nx\r\n0\r\n\r\n'.split('')]) {
          client.send(Buffer.from(part, 'latin1'));
          // A fifth of a millisecond, for which there is no timer: the last line break comes when
          // the publish has been answered.
          for (const untilMs = performance.now() + 0.2; performance.now() < untilMs;);
        }
        await client.waitFor('closed', () => client.closed, 15_000);
        return statusesOf(client.text);
      }),
    );
    const published = (await accepted(server())) - before;
    // A line break that comes in the turn before the publish is acted on closes the connection.
    expect(statuses.flat()).toEqual(Array.from({ length: published }, () => 200));
    expect(published).toBeGreaterThan(0);
  });

  test.each([
    ['a chunked publish', `${CHUNKED}1\r\nx\r\n0\r\n\r\n`],
    [
      'a page answered in a later turn, asked for with a body',
      'GET /-/memory HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer o\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc',
    ],
  ])('%s does not keep its connection', async (_name, bytes) => {
    const client = await RawConnection.open(server().port);
    onTestFinished(() => client.destroy());
    client.send(Buffer.from(bytes, 'latin1'));
    await client.waitFor('the answer', () => /\r\n\r\n/.test(client.text), 15_000);
    const answeredMs = performance.now();
    await client.waitFor('closed', () => client.closed, 15_000);
    expect(statusesOf(client.text)).toEqual([200]);
    expect(performance.now() - answeredMs).toBeLessThan(CLOSE_LINGER_MS_MAX);
  });

  test('a closing refusal is read also by a client that goes on sending its body', async () => {
    for (const head of [
      'Connection: close\r\nContent-Length: 5000000',
      'Transfer-Encoding: chunked',
    ]) {
      const client = await RawConnection.open(server().port);
      onTestFinished(() => client.destroy());
      const size = head.includes('chunked') ? `${(5_000_000).toString(16)}\r\n` : '';
      client.send(Buffer.from(`${HEAD}${head}\r\n\r\n${size}${'x'.repeat(5_000_000)}`, 'latin1'));
      await client.waitFor('closed', () => client.closed, 15_000);
      expect(statusesOf(client.text)).toEqual([413]);
    }
  });
});

describe('a chunked body that is refused early never becomes a request', () => {
  const hidden = `POST /victim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: 1\r\n\r\nx`;
  const keyless = 'POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
  test.each([
    ['in its trailer', [`${keyless}0\r\na:${hidden}`], 401],
    ['in its trailer, in a later segment', [`${keyless}0\r\n`, `a:${hidden}`], 401],
    ['behind its end', [`${keyless}0\r\n\r\n${hidden}`], 401],
    ['behind an empty size line', [`${keyless}1\r\nx\r\n\r\n${hidden}`], 401],
    ['behind 413', [`${CHUNKED}20000\r\n${'x'.repeat(0x20000)}\r\n0\r\n\r\n${hidden}`], 413],
    ['in a body that never ends', [`${keyless}1\r\nx\r\n`], 401],
  ])('%s', async (_name, segments, status) => {
    expect(await sent(segments)).toEqual({ statuses: [status], closed: true, published: 0 });
  });
});

describe('what a body and a head may be', () => {
  test('a body that is encoded is 415, and publishes nothing', async () => {
    const before = await accepted(server());
    const body = Buffer.from('x\x01K\x04\x00\x00b\x00b', 'latin1');
    for (const encoding of ['deflate', 'gzip', 'identity, gzip']) {
      const headers = { ...KEY, 'Content-Encoding': encoding };
      const answer = await server().request('POST', '/c', { headers, body });
      expect([answer.status, codeOf(answer)]).toEqual([415, 'HOLDLINE_UNSUPPORTED_ENCODING']);
      expect(answer.headers.get('accept-encoding')).toBe('identity');
    }
    expect(await accepted(server())).toBe(before);
    const plain = { ...KEY, 'Content-Encoding': 'Identity' };
    expect((await server().request('POST', '/c', { headers: plain, body: 'x' })).status).toBe(200);
  });

  test.each(['PoSt', 'post', 'Get', 'delete', 'Options'])(
    'the method %s is none of ours',
    async (method) => {
      const before = await accepted(server());
      const answer = await server().request(method, '/c', { headers: KEY, body: 'x' });
      expect([answer.status, codeOf(answer)]).toEqual([405, 'HOLDLINE_METHOD_NOT_ALLOWED']);
      expect(await accepted(server())).toBe(before);
    },
  );

  test.each([
    ['is not ASCII at all', '\xe2\x80\xa6'],
    ['is not ASCII in the middle', '1\xe2\x80\xa61'],
    ['is empty', ''],
  ])('a Last-Event-ID that %s is foreign: a gap, then everything held', async (_what, id) => {
    for (const data of ['one', 'two']) await server().post('held', data, { headers: KEY });
    const line = await SseLine.open(server().port, '/held', { headers: { 'Last-Event-ID': id } });
    onTestFinished(() => line.close());
    const held = server().published.get('held')!;
    await line.waitForId(held.at(-1)!);
    expect(line.gaps).toHaveLength(1);
    expect(line.ids).toEqual(held);
  });
});

describe('Connection', () => {
  /** Asks with these headers and gives the head, once the server has closed. */
  async function closedAfter(
    method: string,
    path: string,
    headers: Record<string, string>,
  ): Promise<ResponseHead> {
    const client = await RawConnection.open(server().port);
    onTestFinished(() => client.destroy());
    const reader = new ResponseReader(() => {}, { bodyless: method === 'HEAD' });
    client.consume = (bytes) => reader.feed(bytes);
    client.send(requestBytes(server().port, method, path, { headers }));
    // Sooner than the 8 s after which an idle connection is closed.
    await client.waitFor('the close', () => client.closed);
    expect(reader.complete).toBe(true);
    return reader.head!;
  }

  test.each([
    ['GET', '/-/health', 'TE, close', 200],
    ['GET', '/-/health', 'close', 200],
    ['GET', '/-/health', 'Keep-Alive , Close', 200],
    ['HEAD', '/-/health', 'TE, close', 200],
    ['GET', '/c?wait=0', 'TE, close', 204],
    ['OPTIONS', '/c', 'close, TE', 204],
    ['GET', '/a..b', 'TE, close', 400],
  ])('%s %s with %s is answered and closed at once', async (method, path, connection, status) => {
    const head = await closedAfter(method, path, { Connection: connection });
    expect(head.status).toBe(status);
    expect(head.headers.get('connection')).toBe('close');
    expect(head.headers.get('date')).toMatch(/ GMT$/);
  });

  test('without it the connection serves one request after the other', async () => {
    const client = await HttpClient.open(server().port);
    onTestFinished(() => client.close());
    const { connection } = client;
    for (let i = 0; i < 5; i++) expect((await client.request('GET', '/-/health')).status).toBe(200);
    expect(client.connection).toBe(connection);
  });
});

test('an upload that comes too slowly, or does not begin, is told 408 before uWebSockets closes in silence, and so is a chunk extension, which waits for bytes that do not come', async () => {
  const slow = async (): Promise<void> => {
    const client = await HttpClient.open(server().port);
    onTestFinished(() => client.close());
    const answer = await client.exchange(`${HEAD}Content-Length: 9\r\n\r\nhalf`, {
      deadlineMs: 10_000,
    });
    expect([answer.status, codeOf(answer)]).toEqual([408, 'HOLDLINE_BODY_TIMEOUT']);
    await client.connection.waitFor('the close', () => client.connection.closed);
  };
  const extended = async (): Promise<void> => {
    expect(await sent([`${CHUNKED}3;a=b\r\nabc\r\n0\r\n\r\n`])).toEqual({
      statuses: [408],
      closed: true,
      published: 0,
    });
  };
  const notBegun = async (): Promise<void> => {
    for (const head of [CHUNKED, `${HEAD}Content-Length: 9\r\n\r\n`])
      expect(await sent([head])).toEqual({ statuses: [408], closed: true, published: 0 });
  };
  await Promise.all([slow(), extended(), notBegun()]);
});

describe('wrong keys', () => {
  test('of WebSockets that may read without one are guesses, too: past a few the handshake is 429', async () => {
    const own = await hostedForTest({ 'open-publish': false, 'publish-key': 'k' });
    const shake = async (key: string): Promise<string> => {
      const connection = await RawConnection.open(own.port);
      onTestFinished(() => connection.destroy());
      connection.send(handshakeBytes(own.port, '/c', { Authorization: `Bearer ${key}` }));
      await connection.waitFor('an answer', () => connection.text.includes('\r\n\r\n'));
      return connection.text.slice('HTTP/1.1 '.length).slice(0, 3);
    };
    const statuses: string[] = [];
    for (let i = 0; i < 12; i++) statuses.push(await shake(`wrong${i}`));
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => '101'), '429', '429']);
    expect(await shake('k')).toBe('101');
    const { counters } = await own.stats();
    expect(counters.failed_keys_total).toBe(12);
    expect(counters.refused['HOLDLINE_TOO_MANY_KEYS']).toBe(2);
  });

  const guessed = sharedHosted({ 'open-publish': false, 'publish-key': 'k', 'ops-key': 'o' });

  test('past a few from one address are told 429 and closed, are counted and logged, and a right one is served at once', async () => {
    const client = await HttpClient.open(guessed().port);
    onTestFinished(() => client.close());
    const statuses: number[] = [];
    for (let i = 0; i < 15; i++) {
      const headers = { Authorization: `Bearer wrong${i}` };
      const answer = await client.request(i % 2 === 0 ? 'POST' : 'DELETE', '/c', {
        headers,
        body: 'x',
      });
      statuses.push(answer.status);
      if (answer.status !== 429) continue;
      expect(codeOf(answer)).toBe('HOLDLINE_TOO_MANY_KEYS');
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      expect(answer.headers.get('connection')).toBe('close');
    }
    expect(statuses).toEqual([
      ...Array.from({ length: 10 }, () => 401),
      ...Array.from({ length: 5 }, () => 429),
    ]);
    expect((await client.request('POST', '/c', { headers: KEY, body: 'x' })).status).toBe(200);
    // A request without a key is not a guess.
    expect((await client.request('POST', '/c', { body: 'x' })).status).toBe(401);
    const { counters } = await guessed().stats();
    expect(counters.failed_keys_total).toBe(15);
    expect(counters.refused['HOLDLINE_TOO_MANY_KEYS']).toBe(5);
    const warnings = guessed().logs.filter(({ msg }) =>
      String(msg).startsWith('a wrong key came from '),
    );
    expect(warnings.length).toBeGreaterThan(0);
    expect(warnings.length).toBeLessThan(15);
    expect(JSON.stringify(warnings)).not.toContain('wrong0');
  });
});
