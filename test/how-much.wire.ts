/** How much one client may: lines, waiting polls, and events; and all of them new lines. */
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { certificateFolder, trust } from './support/certificates.js';
import { ControlLine } from './support/control.js';
import { SseLine } from './support/line.js';
import { holdPoll, holdPolls } from './support/poll.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { Stats } from './support/server.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { openWebSocket } from './support/websocket.js';
import {
  codeOf,
  DEADLINE_MS,
  exchange,
  RawConnection,
  requestBytes,
  type Answer,
} from './support/wire.js';

/** The proxy of these tests is the test itself: it says whose each request is. */
const PROXIED = { 'trusted-proxies': '127.0.0.1' };

const ONE = '192.0.2.7';

const folder = certificateFolder();

/** Two lines an address, which this test names; and the same of a server that lists another. */
const limited = sharedHosted({ ...PROXIED, 'max-lines-per-address': 2 });
const alone = sharedHosted({ 'trusted-proxies': '192.0.2.1', 'max-lines-per-address': 2 });

function from(address: string): Record<string, string> {
  return { 'X-Forwarded-For': address };
}

const EVENT_SOURCE = { Accept: 'text/event-stream' };
const NDJSON = { Accept: 'application/x-ndjson' };

/** Opens `count` lines from an address. */
async function openFrom(
  { port }: ServerUnderTest,
  address: string,
  count: number,
): Promise<SseLine[]> {
  const headers = { ...EVENT_SOURCE, ...from(address) };
  return Promise.all(
    Array.from({ length: count }, async () => {
      const line = await SseLine.open(port, '/c', { headers });
      onTestFinished(() => line.close());
      return line;
    }),
  );
}

function expectLater(answer: Answer, status: number, code: string): void {
  expect([answer.status, codeOf(answer)]).toEqual([status, code]);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
}

describe('lines of one address', () => {
  test('are so many, by each transport; others notice nothing; a place comes back', async () => {
    const server = limited();
    const before = await server.stats();
    const control = await ControlLine.open(server);
    const lines = await openFrom(server, ONE, 2);
    const ask = (headers: Record<string, string>, path = '/c'): Promise<Answer> =>
      server.request('GET', path, { headers: { ...headers, ...from(ONE) } });
    expectLater(await ask(NDJSON), 429, 'HOLDLINE_TOO_MANY_LINES');
    expectLater(await ask({}, '/c?poll&wait=5'), 429, 'HOLDLINE_TOO_MANY_LINES');
    const refused = await ask(EVENT_SOURCE);
    expect([refused.status, refused.text]).toEqual([
      200,
      expect.stringMatching(/^retry: \d+\n\n$/),
    ]);
    const shaken = await server.request('GET', '/c', {
      headers: {
        Upgrade: 'websocket',
        Connection: 'Upgrade',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version': '13',
        ...from(ONE),
      },
    });
    expectLater(shaken, 429, 'HOLDLINE_TOO_MANY_LINES');
    // A poll that need not wait takes no place.
    expect((await ask({}, '/c?poll&wait=0')).status).toBe(204);
    const after = await server.stats();
    const rise =
      after.counters.lines_refused_address_total - before.counters.lines_refused_address_total;
    expect(rise).toBe(4);
    const refusals = ({ counters }: Stats) => counters.refused['HOLDLINE_TOO_MANY_LINES'] ?? 0;
    expect(refusals(after) - refusals(before)).toBe(4);

    await openFrom(server, '192.0.2.8', 1);
    lines[0]!.close();
    await server.statsUntil('a place is free', ({ lines: { open } }) => open === after.lines.open);
    await openFrom(server, ONE, 1);
    await control.noticedNothing();
    control.line.close();
  });

  test('what its client wrote left of it does not count, and IPv6 counts by /64', async () => {
    const server = limited();
    const ask = (address: string): Promise<Answer> =>
      server.request('GET', '/c', { headers: { ...NDJSON, ...from(address) } });
    await openFrom(server, '127.0.0.1, 192.0.2.20', 1);
    await openFrom(server, '10.0.0.1, ::ffff:192.0.2.20', 1);
    expect((await ask('203.0.113.1, 192.0.2.20')).status).toBe(429);
    await openFrom(server, '2001:db8:0:1::1', 1);
    await openFrom(server, '[2001:db8:0:1:ffff::2]:4711', 1);
    expect((await ask('2001:db8:0:1:9::')).status).toBe(429);
    await openFrom(server, '2001:db8:0:2::1', 1);
  });

  test('loopback and proxies that speak for themselves are exempt, and the rest is not read', async () => {
    for (const [server, headers] of [
      [limited(), {}],
      [alone(), from(ONE)],
    ] as const) {
      const { lines } = await server.stats();
      for (let i = 0; i < 3; i++) {
        const line = await SseLine.open(server.port, '/c', { headers });
        onTestFinished(() => line.close());
      }
      expect((await server.stats()).lines.open).toBe(lines.open + 3);
    }
  });

  test('a flood of them: 1,000 of one address are refused, and the control line is served', async () => {
    const server = limited();
    const control = await ControlLine.open(server);
    await openFrom(server, '192.0.2.30', 2);
    const before = await server.stats();
    const headers = { ...NDJSON, ...from('192.0.2.30') };
    const bytes = requestBytes(server.port, 'GET', '/c', { headers });
    for (let round = 0; round < 10; round++) {
      const answers = Promise.all(Array.from({ length: 100 }, () => exchange(server.port, bytes)));
      await control.beat();
      expect((await answers).every(({ status }) => status === 429)).toBe(true);
    }
    const { counters, lines } = await server.stats();
    const { lines_refused_address_total: refused } = before.counters;
    expect(counters.lines_refused_address_total - refused).toBe(1000);
    expect(lines.open).toBe(before.lines.open);
    await control.noticedNothing();
    control.line.close();
  });
});

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** A header of version 2 in front of a request: TCP over IPv4 from `source`. */
function proxied(source: string, request: Buffer): Buffer {
  const addresses = [...source.split('.').map(Number), 203, 0, 113, 9];
  const block = Buffer.from([0x21, 0x11, 0, 12, ...addresses, 0x30, 0x39, 0, 80]);
  return Buffer.concat([SIGNATURE, block, request]);
}

describe('the PROXY protocol', () => {
  test('of a listed peer says whose a line is; of another it says nothing', async () => {
    const statusOf = async (server: ServerUnderTest, address: string): Promise<number> => {
      const raw = await RawConnection.open(server.port);
      onTestFinished(() => raw.destroy());
      const request = requestBytes(server.port, 'GET', '/c', { headers: NDJSON });
      raw.send(proxied(address, request));
      await raw.waitFor('a head', () => raw.text.includes('\r\n\r\n'));
      return Number(raw.text.split(' ')[1]);
    };
    const statuses = async (server: ServerUnderTest, addresses: readonly string[]) => {
      const seen: number[] = [];
      for (const address of addresses) seen.push(await statusOf(server, address));
      return seen;
    };
    const addresses = ['192.0.2.40', '192.0.2.40', '192.0.2.40', '192.0.2.41'];
    expect(await statuses(limited(), addresses)).toEqual([200, 200, 429, 200]);
    expect(await statuses(alone(), addresses)).toEqual([200, 200, 200, 200]);
  });

  test.each([
    [false, '/-/health', '192.0.2.50'],
    [true, '/-/health', '192.0.2.51'],
    // Larger than what is written behind a header's value.
    [false, '/-/openapi.json', '192.0.2.52'],
    [true, '/-/openapi.json', '192.0.2.53'],
  ])(
    'a second header, which its client may write, never counts: in one piece %s, behind %s',
    async (isOne, path, address) => {
      const server = limited();
      await openFrom(server, address, 2);
      const { lines } = await server.stats();
      const first = proxied(address, requestBytes(server.port, 'GET', path));
      const line = requestBytes(server.port, 'GET', '/c', { headers: NDJSON });
      const second = proxied('192.0.2.60', line);
      const raw = await RawConnection.open(server.port);
      raw.send(isOne ? Buffer.concat([first, second]) : first);
      if (!isOne) {
        await raw.waitFor('the first answer', () => raw.text.includes('\r\n\r\n'));
        expect(raw.text).toMatch(/^HTTP\/1\.1 200 /);
        raw.send(second);
      }
      const answersOf = (): string[] => raw.text.split('HTTP/1.1 ').slice(1);
      // Who connects after it is answered when it has been read, if it is.
      for (let i = 0; i < 3; i++) await server.request('GET', '/-/health');
      if (path === '/-/health')
        await raw.waitFor('the end, or both answers', () => raw.closed || answersOf().length > 1);
      // The older build closes after the first, the newer one still has the first address.
      expect(
        answersOf()
          .slice(1)
          .filter((answer) => !answer.startsWith('429 ')),
      ).toEqual([]);
      raw.destroy();
      expect((await server.stats()).lines.open).toBe(lines.open);
    },
  );
});

test('in a TLS stream the client itself would write that header: it does not count', async () => {
  const certificate = folder.make('proxied');
  const server = await hostedForTest({
    ...PROXIED,
    'max-lines-per-address': 1,
    'tls-cert': certificate.tlsCert,
    'tls-key': certificate.tlsKey,
  });
  const request = requestBytes(server.port, 'GET', '/c', { headers: NDJSON });
  for (let i = 0; i < 2; i++) {
    const socket = connectTls({ host: '127.0.0.1', port: server.port, ca: trust(certificate) });
    onTestFinished(() => void socket.destroy());
    await once(socket, 'secureConnect');
    const raw = new RawConnection(socket, server.port);
    raw.send(proxied(ONE, request));
    await raw.waitFor('a head', () => raw.text.includes('\r\n\r\n'));
    expect(raw.text).toMatch(/^HTTP\/1\.1 200 /);
  }
});

describe('waiting polls', () => {
  test('are so many; the next one is told to come back, and streams are opened', async () => {
    const server = await hostedForTest({ 'max-waiting-polls': 2 });
    const held = await holdPolls(server, ['/c?poll&wait=20', '/c?poll&wait=20']);
    const refused = await server.request('GET', '/c?poll&wait=20');
    expectLater(refused, 503, 'HOLDLINE_POLLS_FULL');
    expect((await server.request('GET', '/c?poll&wait=0')).status).toBe(204);
    const control = await ControlLine.open(server);
    expect((await server.stats()).counters.polls_refused_total).toBe(1);
    await server.publish('c', 'x');
    await Promise.all(held.map(({ answered }) => answered));
    await holdPoll(server, '/d?poll&wait=20');
    await control.noticedNothing();
  });
});

describe('new lines', () => {
  test('are so many in a second; then clients are told to come back, and lines go on', async () => {
    const server = await hostedForTest({ 'accept-rate': 1 });
    const control = await ControlLine.open(server);
    const bytes = requestBytes(server.port, 'GET', '/c', { headers: NDJSON });
    /** Asks for a line; the head of the answer. */
    const ask = async (): Promise<string> => {
      const raw = await RawConnection.open(server.port);
      onTestFinished(() => raw.destroy());
      raw.send(bytes);
      await raw.waitFor('a head', () => raw.text.includes('\r\n\r\n'));
      return raw.text.split('\r\n\r\n')[0]!;
    };
    const heads = await Promise.all(Array.from({ length: 10 }, ask));
    const refused = heads.filter((head) => head.startsWith('HTTP/1.1 503 '));
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.filter((head) => !/\r\nretry-after: [1-4]\b/i.test(head))).toEqual([]);
    const { counters } = await server.stats();
    expect(counters.lines_refused_rate_total).toBe(refused.length);
    expect(counters.refused['HOLDLINE_ACCEPT_RATE']).toBe(refused.length);
    // Polls come again after each answer, and are no new lines.
    await holdPoll(server, '/c?poll&wait=20');
    const until = performance.now() + DEADLINE_MS;
    while (!(await ask()).startsWith('HTTP/1.1 200 '))
      expect(performance.now()).toBeLessThan(until);
    await control.noticedNothing();
  });
});

describe('a HEAD of a stream is told what a GET would be, and takes nothing', () => {
  const headOf = async (
    server: ServerUnderTest,
    headers: Record<string, string> = NDJSON,
  ): Promise<[number, boolean]> => {
    const fields = { ...headers, ...from(ONE) };
    const answer = await server.request('HEAD', '/c', { headers: fields });
    return [answer.status, answer.headers.has('retry-after')];
  };

  test.each([
    ['lines in all', { 'max-connections': 1 }, 503],
    ['lines of an address', { 'max-lines-per-address': 1 }, 429],
  ] as const)('where there are no more %s', async (_what, flags, status) => {
    const server = await hostedForTest({ ...PROXIED, ...flags });
    expect(await headOf(server)).toEqual([200, false]);
    const [line] = await openFrom(server, ONE, 1);
    const fields = { ...NDJSON, ...from(ONE) };
    expect((await server.request('GET', '/c', { headers: fields })).status).toBe(status);
    for (const headers of [NDJSON, EVENT_SOURCE])
      expect(await headOf(server, headers)).toEqual([status, true]);
    // A poll that does not wait takes no place.
    expect(await headOf(server, { Accept: 'application/json' })).toEqual([204, false]);
    line!.close();
    await expect.poll(async () => (await headOf(server))[0]).toBe(200);
  });

  test('where a second has had its new lines', async () => {
    const server = await hostedForTest({ 'accept-rate': 1 });
    await expect
      .poll(async () => {
        const raw = await RawConnection.open(server.port);
        onTestFinished(() => raw.destroy());
        raw.send(requestBytes(server.port, 'GET', '/c', { headers: NDJSON }));
        await raw.waitFor('a head', () => raw.text.includes('\r\n\r\n'));
        return headOf(server);
      })
      .toEqual([503, true]);
    await expect.poll(async () => (await headOf(server))[0]).toBe(200);
  });
});

describe('the rate of publishers', () => {
  test('each address has its own; a batch counts by its events; 429 says when to come back', async () => {
    const server = await hostedForTest({ ...PROXIED, 'publish-rate': 10 });
    const control = await ControlLine.open(server);
    const publish = (address: string, body: string, type = 'text/plain'): Promise<Answer> =>
      server.post('c', body, { headers: { 'Content-Type': type, ...from(address) } });
    const batch = Array.from({ length: 100 }, (_, i) => `{"data":${i}}`).join('\n');
    expect((await publish(ONE, batch, 'application/x-ndjson')).status).toBe(200);
    const refused = await publish(ONE, 'x');
    expectLater(refused, 429, 'HOLDLINE_RATE');
    // 20 at once, and 100 taken: 81 until one is there, 10 a second.
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(7);
    expect((await publish('192.0.2.8', 'x')).status).toBe(200);
    const named = Array.from({ length: 60 }, (_, i) => `{"channel":"d","data":${i}}`).join('\n');
    const toSome = (): Promise<Answer> =>
      server.request('POST', '/-/publish', {
        headers: { 'Content-Type': 'application/x-ndjson', ...from('192.0.2.9') },
        body: named,
      });
    expect((await toSome()).status).toBe(200);
    expectLater(await toSome(), 429, 'HOLDLINE_RATE');
    const { counters } = await server.stats();
    expect(counters.publishes_refused_rate_total).toBe(2);
    expect(counters.refused['HOLDLINE_RATE']).toBe(2);
    await control.noticedNothing();
  });

  test('a WebSocket is answered with an error and stays open', async () => {
    const server = await hostedForTest({
      'publish-rate': 1,
      'publish-key': 'k',
      'open-publish': false,
    });
    const headers = { Authorization: 'Bearer k' };
    const line = await openWebSocket(server, '/c', { headers });
    for (let ref = 1; ref <= 3; ref++) line.send(JSON.stringify({ publish: { data: ref }, ref }));
    await line.waitFor('three answers', () => line.replyCount === 3);
    expect(line.replies.map((reply) => reply.error?.code ?? 'ok')).toEqual([
      'ok',
      'ok',
      'HOLDLINE_RATE',
    ]);
    // The key has one rate, however it is used.
    expectLater(await server.post('c', 'x'), 429, 'HOLDLINE_RATE');
    expect(line.closeFrame).toBeUndefined();
  });
});
