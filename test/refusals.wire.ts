/**
 * Refusals as a log has them: an entry says why, how and from where; of a flood there is one a
 * second; and nothing secret of a client is in it, whatever is refused, at any level.
 */
import { SignJWT, type JWTPayload } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createServer, type RefusalInfo } from '../dist/index.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import { HttpClient, request, type RequestParts } from './support/wire.js';

/** Stands in every place where a client may have a secret. */
const SECRET = 's3cret-MARKER';

/** Header fields that have one, on every request. */
const SECRET_HEADERS = {
  Cookie: `session=${SECRET}; ${SECRET}=1`,
  'X-Api-Key': SECRET,
  Referer: `https://page.example/?token=${SECRET}`,
  'User-Agent': SECRET,
};

/** The refusals in a server's log. */
function refusalsIn(server: ServerUnderTest): Record<string, unknown>[] {
  return server.logs.filter(({ msg }) => msg === 'refused');
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** Waits until every refusal that is counted is in the log. */
async function allLogged(server: ServerUnderTest): Promise<Record<string, unknown>[]> {
  const { refused } = (await server.stats()).counters;
  await server.waitFor('the refusals', () => refusalsIn(server).length === sum(refused));
  return refusalsIn(server);
}

const JSON_BODY = { 'Content-Type': 'application/json' };
const BATCH = { 'Content-Type': 'application/x-ndjson' };
const KEY = { Authorization: 'Bearer publish-key' };

/** Requests that are refused, each with a secret that its answer may show to who sent it. */
const REFUSED: readonly (readonly [method: string, path: string, parts?: RequestParts])[] = [
  // Queries: values, names, what is there twice, and what no page takes.
  ['GET', `/a..b?ticket=${SECRET}`],
  ['GET', `/c?since=${SECRET}`],
  ['GET', `/c?since=1&since=${SECRET}`],
  ['GET', `/c?last=${SECRET}`],
  ['GET', `/c?wait=${SECRET}`],
  ['GET', `/c?limit=${SECRET}`],
  ['GET', `/c?envelope=${SECRET}`],
  ['GET', `/c?sinse=${SECRET}`],
  ['GET', `/no/such/place/?ticket=${SECRET}`],
  ['GET', `/-/nothing?ticket=${SECRET}`],
  ['PUT', `/c?ticket=${SECRET}`],
  ['GET', `/-/connections?sort=${SECRET}`, { headers: { Authorization: 'Bearer ops-key' } }],
  // Credentials.
  ['GET', `/-/stats?key=${SECRET}`],
  ['GET', '/-/metrics', { headers: { Authorization: `Bearer ${SECRET}` } }],
  ['DELETE', '/c', { headers: { Authorization: `Bearer ${SECRET}` } }],
  ['POST', '/c', { headers: { Authorization: `Bearer ${SECRET}` }, body: SECRET }],
  ['POST', '/c', { headers: { Authorization: `Basic ${SECRET}` }, body: SECRET }],
  ['POST', '/c', { headers: { Origin: 'https://elsewhere.example' }, body: SECRET }],
  // Bodies, and what stands beside them.
  ['POST', '/c', { headers: { ...KEY, ...JSON_BODY }, body: SECRET }],
  ['POST', '/c', { headers: { ...KEY, ...JSON_BODY }, body: `{"a":"${SECRET}",}` }],
  ['POST', '/c', { headers: { ...KEY, ...BATCH }, body: `{"data":1,"${SECRET}":2}` }],
  ['POST', '/c', { headers: { ...KEY, ...BATCH }, body: `{"data":1}\n${SECRET}` }],
  ['POST', '/c', { headers: { ...KEY, ...BATCH }, body: `{"event":"${SECRET}\\u0007"}` }],
  ['POST', '/c', { headers: { ...KEY, ...BATCH }, body: `{"event":"gap","data":"${SECRET}"}` }],
  ['POST', `/c?event=${SECRET}%07`, { headers: KEY, body: SECRET }],
  ['POST', `/c?evnt=${SECRET}`, { headers: KEY, body: SECRET }],
  [
    'POST',
    '/c',
    { headers: { ...KEY, 'Idempotency-Key': `${SECRET}\t` + 'x'.repeat(300) }, body: 'x' },
  ],
  ['POST', '/c', { headers: { ...KEY, 'Content-Encoding': 'gzip' }, body: SECRET }],
  ['POST', '/c', { headers: { ...KEY, 'Content-Type': 'multipart/form-data' }, body: SECRET }],
  ['POST', '/c', { headers: KEY, body: Buffer.from(`\xff${SECRET}`, 'latin1') }],
  ['POST', '/c', { headers: KEY, body: SECRET.repeat(6_000) }],
];

describe('the log', () => {
  test('has each refusal at the level debug, with why, how and from where, and no secret', async () => {
    const server = await serverForTest({
      'log-level': 'debug',
      'ops-key': 'ops-key',
      'publish-key': 'publish-key',
      'open-publish': false,
    });
    const codes = new Set<string>();
    for (const [method, path, parts] of REFUSED) {
      const answer = await server.request(method, path, {
        ...parts,
        headers: { ...SECRET_HEADERS, ...parts?.headers },
      });
      expect({ method, path, status: answer.status }).toMatchObject({
        status: expect.toSatisfy((status: number) => status >= 400 && status < 500) as number,
      });
      codes.add(/HOLDLINE_\w+/.exec(answer.text)![0]);
    }
    const line = await openWebSocket(server, '/c', { headers: { ...SECRET_HEADERS, ...KEY } });
    for (const message of [
      `{"publish":{"data":1,"channel":"${SECRET}!"}}`,
      `{"publish":{"data":1,"event":"${SECRET}\\u0007"}}`,
      `{"${SECRET}":1}`,
      `{"publish":{"data":1,"${SECRET}":1}}`,
      `{"publish":"${SECRET}"}`,
      SECRET,
    ])
      expect((await line.ask(message)).error).toBeDefined();
    const entries = await allLogged(server);
    expect(entries).toHaveLength(REFUSED.length + 6);
    expect(codes.size).toBeGreaterThanOrEqual(15);
    for (const entry of entries) {
      expect(entry).toMatchObject({
        code: expect.stringMatching(/^HOLDLINE_/) as string,
        reason: expect.stringMatching(/^.{8,}$/) as string,
        method: expect.stringMatching(/^(?:GET|PUT|DELETE|POST|MESSAGE)$/) as string,
        transport: expect.stringMatching(/^(?:http|sse|poll|websocket)$/) as string,
        address: '127.0.0.1',
      });
      expect(entry).not.toHaveProperty('suppressed');
    }
    expect(JSON.stringify(server.logs) + server.errorOutput).not.toContain(SECRET);
    // What is said of a place is still said.
    expect(entries.map(({ reason }) => reason)).toEqual(
      expect.arrayContaining([
        'the query parameter "…" is not known; did you mean since?',
        'the query parameter sort must be lag or bytes or age (got "…")',
        expect.stringContaining('"data" is missing') as string,
      ]),
    );
  });

  test('has no token, cookie, ticket or secret of the server either', async () => {
    const secret = `${SECRET}-of-the-server-itself`;
    const key = new TextEncoder().encode(secret);
    const server = await serverForTest({
      'log-level': 'trace',
      'jwt-secret': secret,
      'ticket-secret': `${secret}-2`,
      'auth-cookie': 'session',
      'publish-key': `${SECRET}-publish`,
      'ops-key': `${SECRET}-ops`,
      'open-publish': false,
    });
    const tokenOf = (claims: JWTPayload, lifetime: string): Promise<string> =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: SECRET })
        .setIssuedAt(Math.floor(Date.now() / 1000) - 3_600)
        .setExpirationTime(lifetime)
        .sign(key);
    const expired = await tokenOf({ sub: SECRET }, '-30m');
    const rightless = await tokenOf({ holdline: { subscribe: ['other'] } }, '1h');
    const strange = await tokenOf({ holdline: { subscribe: SECRET } }, '1h');
    const bearer = (token: string): RequestParts => ({
      headers: { Authorization: `Bearer ${token}` },
    });
    const requests: readonly (readonly [status: number, path: string, parts?: RequestParts])[] = [
      [401, '/c', bearer(expired)],
      [401, '/c', bearer(strange)],
      [401, '/c', bearer(`head.${SECRET}.tail`)],
      [401, '/c', { headers: { Cookie: `session=${SECRET}` } }],
      [401, '/c', { headers: { Cookie: `session=${expired}` } }],
      [401, `/c?ticket=${SECRET}`],
      [401, `/c?ticket=${expired}`],
      [403, '/c', bearer(rightless)],
      [403, '/-/stats', bearer(rightless)],
    ];
    for (const [status, path, parts] of requests)
      expect([path, (await server.request('GET', path, parts)).status]).toEqual([path, status]);
    const asked = await server.request('POST', '/-/tickets', {
      ...bearer(rightless),
      body: `{"channels":["other"],"${SECRET}":1}`,
    });
    expect(asked.status).toBe(400);
    expect(await allLogged(server)).toHaveLength(requests.length + 1);
    const text = JSON.stringify(server.logs) + server.errorOutput;
    const [, payload, signature] = expired.split('.');
    for (const hidden of [SECRET, payload!, signature!, ...rightless.split('.')])
      expect(text).not.toContain(hidden);
  });

  test('has of a flood one entry a second for each code, and how many it left out', async () => {
    const server = await hostedForTest();
    const client = await HttpClient.open(server.port);
    onTestFinished(() => client.close());
    let sent = 0;
    const deadlineMs = performance.now() + 5_000;
    while (!refusalsIn(server).some(({ suppressed }) => suppressed !== undefined)) {
      if (performance.now() > deadlineMs) throw new Error(server.describe());
      for (let i = 0; i < 20; i++, sent++) await client.request('GET', '/c?since=x');
    }
    await server.request('GET', '/a..b');
    await server.waitFor('the other code', () =>
      refusalsIn(server).some(({ code }) => code === 'HOLDLINE_BAD_CHANNEL'),
    );
    const entries = refusalsIn(server).filter(({ code }) => code === 'HOLDLINE_BAD_POSITION');
    expect(entries).toHaveLength(2);
    expect(entries[0]).not.toHaveProperty('suppressed');
    expect(entries[1]!['suppressed']).toBeGreaterThan(10);
    expect(entries[1]!['suppressed']).toBeLessThan(sent);
    const { counters } = await server.stats();
    expect(counters.refused).toEqual({ HOLDLINE_BAD_POSITION: sent, HOLDLINE_BAD_CHANNEL: 1 });
    expect(sum(counters.refused)).toBe(
      counters.refused_total +
        counters.refused_temporary_total +
        counters.refused_ended_total +
        counters.messages_refused_total,
    );
  });
});

describe('onRefusal', () => {
  async function listening(options: Parameters<typeof createServer>[0]) {
    const told: RefusalInfo[] = [];
    const faults: unknown[] = [];
    const server = createServer({
      port: 0,
      openPublish: true,
      onRefusal: (refusal) => void told.push(refusal),
      onError: (error) => void faults.push(error),
      ...options,
    });
    onTestFinished(() => server.close({ drainMs: 0 }));
    const { port } = await server.listen();
    return { server, port, told, faults };
  }

  test('is told of a refusal, of one for a while that an EventSource gets as 200, and of a message', async () => {
    const { server, port, told } = await listening({ maxConnections: 1 });
    const line = await openWebSocket({ port }, '/c');
    await line.ask('{"publish":1}');
    await request(port, 'GET', '/c', { headers: { Accept: 'text/event-stream' } });
    await request(port, 'POST', '/a..b', { body: 'x' });
    const common = { remoteAddress: '127.0.0.1', reason: expect.any(String) as string };
    // The hook runs in a turn of its own.
    await expect.poll(() => told.length).toBe(3);
    expect(told).toEqual([
      { ...common, code: 'HOLDLINE_BAD_MESSAGE', method: 'MESSAGE', transport: 'websocket' },
      { ...common, code: 'HOLDLINE_LINES_FULL', method: 'GET', transport: 'sse' },
      { ...common, code: 'HOLDLINE_BAD_CHANNEL', method: 'POST', transport: 'http' },
    ]);
    expect(server.stats().counters).toMatchObject({
      refused_total: 1,
      refused_temporary_total: 1,
      messages_refused_total: 1,
      refused: { HOLDLINE_BAD_MESSAGE: 1, HOLDLINE_LINES_FULL: 1, HOLDLINE_BAD_CHANNEL: 1 },
    });
  });

  test('is told of a fault as an internal error, with nothing of the request or of the fault', async () => {
    const { port, told, faults } = await listening({
      authorize: () => {
        throw new Error('a mistake in the hook');
      },
    });
    await request(port, 'GET', `/c?ticket=${SECRET}`, { headers: SECRET_HEADERS });
    await expect.poll(() => told.length).toBe(1);
    expect(told).toEqual([
      {
        code: 'HOLDLINE_INTERNAL',
        reason: 'internal error; see the server log',
        method: 'GET',
        transport: 'sse',
        remoteAddress: '127.0.0.1',
      },
    ]);
    expect(String(faults)).toBe('Error: a mistake in the hook');
  });

  test('that throws is reported, and refuses all the same; it may close the server', async () => {
    const { port, faults } = await listening({
      onRefusal: () => {
        throw new Error('a mistake in the hook');
      },
    });
    expect((await request(port, 'GET', '/a..b')).status).toBe(400);
    expect((await request(port, 'GET', '/a..b')).status).toBe(400);
    expect(faults).toHaveLength(2);

    const closing = await listening({ onRefusal: () => void closing.server.close({ drainMs: 0 }) });
    expect((await request(closing.port, 'GET', '/a..b')).status).toBe(400);
    await closing.server.close();
  });

  test('must be a function', () => {
    expect(() => createServer({ onRefusal: 1 as never })).toThrow(/onRefusal must be a function/);
  });
});
