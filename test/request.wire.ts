/**
 * Everything that is not the stream itself: methods, negotiation, paths, cross-site and Host
 * checks, keys, the operations pages.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { HostedServer, hostedForTest } from './support/hosted.js';
import { serverForTest } from './support/server.js';
import { codeOf, jsonOf, type Answer } from './support/wire.js';

const SSE = { Accept: 'text/event-stream' };
const EVIL = { Origin: 'https://evil.example' };
const APP = 'https://app.example';

/**
 * A refusal: JSON with code and message, its status, and the headers of every answer but streams.
 */
function expectRefusal(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: codeOf(answer) }).toEqual({ status, code });
  expect((jsonOf(answer) as { error: { message: string } }).error.message).toMatch(/\S+ \S+/);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expectUncached(answer);
}

function expectUncached(answer: Answer): void {
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
}

let open: HostedServer;
let keyed: HostedServer;
beforeAll(async () => {
  [open, keyed] = await Promise.all([
    HostedServer.start({ 'allow-origin': APP }),
    HostedServer.start({
      'open-publish': false,
      'publish-key': 'sesame',
      'ops-key': 'ops-secret',
      'allow-origin': [APP, 'https://two.example'],
    }),
  ]);
});
afterAll(() => Promise.all([open.end(), keyed.end()]));

describe('methods', () => {
  test('HEAD of a channel is the head of its stream and no body, and opens no line', async () => {
    const answer = await open.request('HEAD', '/c', { headers: SSE });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    expect(answer.headers.get('cache-control')).toBe('no-cache, no-transform');
    expect(answer.body.length).toBe(0);
    expect((await open.stats()).lines.open).toBe(0);
  });

  test('HEAD refuses what GET refuses', async () => {
    expect((await open.request('HEAD', '/a..b', { headers: SSE })).status).toBe(400);
    expect((await open.request('HEAD', '/a/b/')).status).toBe(404);
  });

  test.each(['PUT', 'PATCH', 'TRACE', 'BREW'])(
    '%s is 405 and says what is allowed',
    async (method) => {
      const answer = await open.request(method, '/c');
      expectRefusal(answer, 405, 'HOLDLINE_METHOD_NOT_ALLOWED');
      expect(answer.headers.get('allow')?.split(/, */)).toEqual([
        'GET',
        'HEAD',
        'POST',
        'DELETE',
        'OPTIONS',
      ]);
    },
  );

  test('POST to an operations page is 405 with what is allowed there', async () => {
    const answer = await open.request('POST', '/-/health', { body: 'x' });
    expectRefusal(answer, 405, 'HOLDLINE_METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).not.toMatch(/POST/);
  });
});

describe('paths', () => {
  test('/ is a short page of links', async () => {
    const answer = await open.request('GET', '/');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
    expect(answer.text).toMatch(/<a href=/);
    expectUncached(answer);
  });

  test.each(['/a//b', '/a/', '//', '//a', '/org/7/', '/favicon.ico', '/robots.txt'])(
    '%s is 404',
    async (path) => {
      expectRefusal(await open.request('GET', path, { headers: SSE }), 404, 'HOLDLINE_NOT_FOUND');
      expectRefusal(await open.request('POST', path, { body: 'x' }), 404, 'HOLDLINE_NOT_FOUND');
    },
  );

  test('an unknown operations page is 404 to who has the key', async () => {
    expectRefusal(
      await open.request('GET', '/-/nonesuch', { headers: open.opsHeaders }),
      404,
      'HOLDLINE_NOT_FOUND',
    );
  });

  test.each([
    'a',
    '-',
    '~',
    '_x',
    'A.b-C_d~9',
    'x'.repeat(128),
    'org/7/alerts',
    'user:7@eu',
    '@/:',
    'a/-/b',
  ])('%s is a channel', async (channel) => {
    const answer = await open.request('HEAD', `/${channel}`, { headers: SSE });
    expect(answer.status).toBe(200);
  });
});

describe('operations', () => {
  test('health and ready answer without a key', async () => {
    for (const [path, told] of [
      ['/-/health', { status: 'ok' }],
      ['/-/ready', { status: 'ready', log: 'up' }],
    ] as const) {
      const answer = await keyed.request('GET', path);
      expect(answer.status).toBe(200);
      expect(jsonOf(answer)).toEqual(told);
      expectUncached(answer);
    }
  });

  test('stats need the ops key; no key, a wrong one and a query are 401, the publish key is 403', async () => {
    for (const [path, headers] of [
      ['/-/stats', {}],
      ['/-/stats', { Authorization: 'Bearer wrong' }],
      ['/-/stats', { Authorization: 'Basic ops-secret' }],
      ['/-/stats', { Authorization: 'Bearer ops-secretX' }],
      ['/-/stats', { 'X-Forwarded-For': '127.0.0.1' }],
      ['/-/stats?key=ops-secret&ops-key=ops-secret&access_token=ops-secret', {}],
    ] as [string, Record<string, string>][]) {
      const answer = await keyed.request('GET', path, { headers });
      expectRefusal(answer, 401, 'HOLDLINE_UNAUTHORIZED');
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
    const headers = { Authorization: 'Bearer sesame' };
    expectRefusal(await keyed.request('GET', '/-/stats', { headers }), 403, 'HOLDLINE_FORBIDDEN');
    const answer = await keyed.request('GET', '/-/stats', {
      headers: { Authorization: 'bearer ops-secret' },
    });
    expect(answer.status, 'the scheme is case-insensitive (RFC 9110, 11.1)').toBe(200);
    expectUncached(answer);
  });

  test('stats show what there is', async () => {
    const server = await serverForTest({ 'max-connections': 50, 'first-id': 10 });
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    await server.publish('c', 'x');
    await line.waitForId(10);
    const stats = await server.stats();
    expect(stats).toMatchObject({
      draining: false,
      head: 10,
      floor: 9,
      lines: { open: 1, stalled: 0, cap: 50 },
    });
    expect(stats.counters).toMatchObject({
      lines_opened_total: 1,
      lines_closed_total: 0,
      events_accepted_total: 1,
      deliveries_total: 1,
    });
    expect(stats.sockets.open).toBeGreaterThanOrEqual(2);
    expect(stats.memory.rssBytes).toBeGreaterThan(10e6);
    line.close();
    await server.statsUntil(
      'the line is gone',
      ({ counters, lines }) => counters.lines_closed_total === 1 && lines.open === 0,
    );
  });
});

describe('keys', () => {
  test.each([
    ['no key', {}],
    ['a wrong key', { Authorization: 'Bearer wrong' }],
    ['a prefix of the key', { Authorization: 'Bearer sesam' }],
    ['another scheme', { Authorization: 'Basic sesame' }],
  ])('publishing with %s is 401', async (_name, headers) => {
    const answer = await keyed.request('POST', '/c', { headers, body: 'x' });
    expectRefusal(answer, 401, 'HOLDLINE_UNAUTHORIZED');
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  test('a key in the query is no key', async () => {
    expectRefusal(
      await keyed.request('POST', '/c?publish-key=sesame&key=sesame', { body: 'x' }),
      401,
      'HOLDLINE_UNAUTHORIZED',
    );
  });

  test('publishing with the key is 200', async () => {
    const answer = await keyed.post('c', 'x');
    expect(answer.status).toBe(200);
    expectUncached(answer);
  });

  test('with neither key nor --open-publish the refusal says which flag to set', async () => {
    const server = await hostedForTest({ 'open-publish': false });
    const answer = await server.request('POST', '/c', { body: 'x' });
    expectRefusal(answer, 401, 'HOLDLINE_UNAUTHORIZED');
    expect(answer.text).toMatch(/--publish-key/);
    expect(answer.text).toMatch(/--open-publish/);
  });
});

describe('cross-site', () => {
  test.each([
    ['a foreign Origin', EVIL],
    ['Origin: null, as of a sandboxed frame', { Origin: 'null' }],
    ['cross-site Sec-Fetch-Site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['the allowed host under another scheme', { Origin: 'http://app.example' }],
    ['a subdomain of the allowed origin', { Origin: 'https://app.example.evil.example' }],
  ])('POST and operations with %s are 403', async (_name, headers) => {
    expectRefusal(
      await open.request('POST', '/c', { headers, body: 'x' }),
      403,
      'HOLDLINE_CROSS_SITE',
    );
    expectRefusal(
      await open.request('GET', '/-/stats', { headers: { ...headers, ...open.opsHeaders } }),
      403,
      'HOLDLINE_CROSS_SITE',
    );
  });

  test.each([
    ['no Origin', {}],
    ['the server’s own origin', 'same'],
    ['a listed origin', { Origin: APP, 'Sec-Fetch-Site': 'cross-site' }],
  ])('POST with %s is 200', async (_name, given) => {
    const headers =
      given === 'same'
        ? { Origin: open.url, 'Sec-Fetch-Site': 'same-origin' }
        : (given as Record<string, string>);
    expect((await open.request('POST', '/c', { headers, body: 'x' })).status).toBe(200);
  });

  test('a listed origin is echoed, with Vary and what it may read; a foreign one is not', async () => {
    const listed = await SseLine.open(open.port, '/c', { headers: { Origin: APP } });
    const foreign = await SseLine.open(open.port, '/c', { headers: EVIL });
    onTestFinished(() => (listed.close(), foreign.close()));
    expect(listed.head.headers.get('access-control-allow-origin')).toBe(APP);
    expect(listed.head.headers.get('vary')).toBe('Accept, Accept-Encoding, Origin');
    expect(listed.head.headers.get('access-control-expose-headers')).toBe(
      'Holdline-Position, Retry-After',
    );
    expect(foreign.head.headers.has('access-control-allow-origin')).toBe(false);
    const refused = await open.request('POST', '/c?event=gap', {
      headers: { Origin: APP },
      body: 'x',
    });
    expect(
      refused.headers.get('access-control-allow-origin'),
      'a page must be able to read its refusal',
    ).toBe(APP);
  });

  test('the second origin of the list is as good as the first', async () => {
    const line = await SseLine.open(keyed.port, '/c', {
      headers: { Origin: 'https://two.example' },
    });
    onTestFinished(() => line.close());
    expect(line.head.headers.get('access-control-allow-origin')).toBe('https://two.example');
  });

  test('a preflight says what a listed origin may send, and nothing to another', async () => {
    const ask = {
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type',
    };
    const listed = await open.request('OPTIONS', '/c', { headers: { Origin: APP, ...ask } });
    expect(listed.status).toBe(204);
    expect(listed.headers.get('access-control-allow-origin')).toBe(APP);
    expect(listed.headers.get('access-control-allow-methods')?.split(/, */)).toEqual(
      expect.arrayContaining(['GET', 'POST', 'DELETE']),
    );
    const allowed = listed.headers.get('access-control-allow-headers')?.toLowerCase().split(/, */);
    expect(allowed).toEqual(
      expect.arrayContaining(['authorization', 'content-type', 'last-event-id', 'idempotency-key']),
    );
    expect(listed.headers.get('vary')).toMatch(/Origin/);
    const foreign = await open.request('OPTIONS', '/c', { headers: { ...EVIL, ...ask } });
    expect(foreign.headers.has('access-control-allow-origin')).toBe(false);
  });

  test('--allow-origin * opens reading to every page; publishing needs an origin by name', async () => {
    const server = await hostedForTest({ 'allow-origin': '*' });
    const line = await SseLine.open(server.port, '/c', { headers: EVIL });
    onTestFinished(() => line.close());
    expect(line.head.headers.get('access-control-allow-origin')).toBe('*');
    expectRefusal(
      await server.request('POST', '/c', { headers: EVIL, body: 'x' }),
      403,
      'HOLDLINE_CROSS_SITE',
    );
  });
});

describe('Host', () => {
  test.each([
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1',
    'holdline.internal',
  ])(
    'without a key, Host %s is 403: a page that rebinds its name to this address reads nothing',
    async (host) => {
      expectRefusal(
        await open.request('GET', '/c', { headers: { Host: host, ...SSE } }),
        403,
        'HOLDLINE_BAD_HOST',
      );
      expectRefusal(
        await open.request('POST', '/c', { headers: { Host: host }, body: 'x' }),
        403,
        'HOLDLINE_BAD_HOST',
      );
    },
  );

  test.each(['localhost', 'localhost:8080', 'LOCALHOST', '127.0.0.1', '[::1]', '[::1]:8080'])(
    'without a key, Host %s is this server',
    async (host) => {
      expect((await open.request('HEAD', '/c', { headers: { Host: host, ...SSE } })).status).toBe(
        200,
      );
    },
  );

  test('--allowed-hosts adds names', async () => {
    const server = await hostedForTest({ 'allowed-hosts': 'holdline.internal,feed.example' });
    expect(
      (await server.request('HEAD', '/c', { headers: { Host: 'feed.example:443', ...SSE } }))
        .status,
    ).toBe(200);
    expectRefusal(
      await server.request('GET', '/c', { headers: { Host: 'other.example', ...SSE } }),
      403,
      'HOLDLINE_BAD_HOST',
    );
  });

  test('with a publish key every Host is served', async () => {
    expect(
      (await keyed.request('HEAD', '/c', { headers: { Host: 'feed.example', ...SSE } })).status,
    ).toBe(200);
  });
});
