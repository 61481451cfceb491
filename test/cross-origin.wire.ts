/**
 * What a page of another origin may do, as its browser asks: the headers of CORS on every answer,
 * preflights, navigations, and refusals that name the flag. Chromium does the same in
 * test/pages.wire.ts.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { HostedServer, hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';

import { handshakeBytes } from './support/websocket.js';
import {
  codeOf,
  jsonOf,
  RawConnection,
  requestBytes,
  ResponseReader,
  type Answer,
  type RequestParts,
  type ResponseHead,
} from './support/wire.js';

const APP = 'https://app.example';
const TWO = 'http://localhost:30099';
const EVIL = 'https://evil.example';
const EXPOSED = 'Holdline-Position, Retry-After';
const KEY = { Authorization: 'Bearer sesame' };

const JSON_ONLY = { Accept: 'application/json' };

type Fields = Record<string, string>;

/** The head of the answer to these bytes, whatever follows it. */
async function headOf(port: number, bytes: Buffer): Promise<ResponseHead> {
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.destroy());
  const reader = new ResponseReader(() => {});
  connection.consume = (piece) => {
    if (reader.head === undefined) reader.feed(piece);
  };
  connection.send(bytes);
  return connection.waitFor('the head of an answer', () => reader.head);
}

/** The fields of CORS, and whether caches are told that the answer depends on the origin. */
function corsOf({ headers }: ResponseHead): Record<string, unknown> {
  return {
    origin: headers.get('access-control-allow-origin'),
    credentials: headers.get('access-control-allow-credentials'),
    exposed: headers.get('access-control-expose-headers'),
    varies: (headers.get('vary') ?? '').split(', ').filter((name) => name === 'Origin').length,
  };
}

const mayAll = (origin: string): object => ({
  origin,
  credentials: 'true',
  exposed: EXPOSED,
  varies: 1,
});
const MAY_LISTEN = { origin: '*', credentials: undefined, exposed: EXPOSED, varies: 0 };
const MAY_NOTHING = { origin: undefined, credentials: undefined, exposed: undefined };

function messageOf(answer: Answer): string {
  return (jsonOf(answer) as { error: { message: string } }).error.message;
}

function refused(answer: Answer): [number, string] {
  return [answer.status, codeOf(answer)];
}

let listed: HostedServer;
let every: HostedServer;
let both: HostedServer;
beforeAll(async () => {
  const flags = { 'open-publish': false, 'publish-key': 'sesame', 'ops-key': 'ops' };
  [listed, every, both] = await Promise.all([
    HostedServer.start({ ...flags, 'allow-origin': [APP, TWO] }),
    HostedServer.start({ ...flags, 'allow-origin': '*' }),
    HostedServer.start({ ...flags, 'allow-origin': ['*', APP] }),
  ]);
});
afterAll(() => Promise.all([listed, every, both].map((server) => server.end())));

/** Requests of every kind of answer, with the status that a page of a listed origin gets. */
const REQUESTS: readonly [string, number, string, string, RequestParts][] = [
  ['an event stream', 200, 'GET', '/c', {}],
  ['a stream of several channels', 200, 'GET', '/a,b', {}],
  ['an NDJSON stream', 200, 'GET', '/c', { headers: { Accept: 'application/x-ndjson' } }],
  ['a poll without an event', 204, 'GET', '/empty?wait=0', { headers: JSON_ONLY }],
  ['a poll with one', 200, 'GET', '/full?since=0&wait=0', { headers: JSON_ONLY }],
  ['a HEAD', 200, 'HEAD', '/c', {}],
  ['the page of links', 200, 'GET', '/', {}],
  ['a publish', 200, 'POST', '/full', { headers: KEY, body: 'x' }],
  [
    'a publish in chunks',
    200,
    'POST',
    '/full',
    {
      headers: { ...KEY, 'Transfer-Encoding': 'chunked' },
      body: '1\r\nx\r\n0\r\n\r\n',
    },
  ],
  ['a deletion', 200, 'DELETE', '/gone', { headers: { Authorization: 'Bearer ops' } }],
  ['a health check', 200, 'GET', '/-/health', {}],
  ['stats', 200, 'GET', '/-/stats', { headers: { Authorization: 'Bearer ops' } }],
  ['OPTIONS that is no preflight', 204, 'OPTIONS', '/c', {}],
  ['a bad position', 400, 'GET', '/c?since=x', {}],
  ['a bad channel', 400, 'GET', '/a..b', {}],
  [
    'two lengths',
    400,
    'POST',
    '/c',
    {
      headers: { 'Content-Length': '1', 'content-length': '2' },
      body: 'x',
    },
  ],
  ['no key', 401, 'POST', '/c', { body: 'x' }],
  ['no ops key', 401, 'GET', '/-/stats', {}],
  ['nothing there', 404, 'GET', '/a//b', {}],
  ['no such page', 404, 'GET', '/-/nonesuch', {}],
  ['another method', 405, 'PUT', '/c', { body: 'x' }],
  ['a page that only answers GET', 405, 'POST', '/-/health', { body: 'x' }],
  ['too large', 413, 'POST', '/c', { headers: KEY, body: 'x'.repeat(70_000) }],
  ['compressed', 415, 'POST', '/c', { headers: { ...KEY, 'Content-Encoding': 'gzip' }, body: 'x' }],
];

describe('every answer', () => {
  beforeAll(async () => {
    for (const server of [listed, every, both]) await server.publish('full', 'x');
  });

  test.each(REQUESTS)('%s: %i', async (_what, status, method, path, parts) => {
    const from = (server: ServerUnderTest, origin: string): Promise<ResponseHead> =>
      headOf(
        server.port,
        requestBytes(server.port, method, path, {
          ...parts,
          headers: { Accept: 'text/event-stream', ...parts.headers, Origin: origin },
        }),
      );
    for (const origin of [APP, TWO]) {
      const head = await from(listed, origin);
      expect([head.status, corsOf(head)]).toEqual([status, mayAll(origin)]);
    }
    const mixed = await from(both, APP);
    expect([mixed.status, corsOf(mixed)]).toEqual([status, mayAll(APP)]);
    for (const origin of [
      EVIL,
      'null',
      'http://app.example',
      `${APP}.evil.example`,
      `${APP}:8443`,
    ]) {
      expect(corsOf(await from(listed, origin))).toEqual({ ...MAY_NOTHING, varies: 1 });
      expect(corsOf(await from(every, origin))).toEqual(MAY_LISTEN);
      expect(corsOf(await from(both, origin))).toEqual({ ...MAY_LISTEN, varies: 1 });
    }
  });

  test('a WebSocket’s handshake, and a refused one', async () => {
    for (const [status, headers] of [
      [101, {}],
      [426, { 'Sec-WebSocket-Version': '8' }],
    ] as const) {
      const bytes = handshakeBytes(listed.port, '/c', { ...headers, Origin: APP });
      const head = await headOf(listed.port, bytes);
      expect([head.status, corsOf(head)]).toEqual([status, mayAll(APP)]);
    }
  });

  test('a stream that is refused for now, a poll that is, and many wrong keys', async () => {
    const server = await hostedForTest({
      'max-connections': 1,
      'allow-origin': APP,
      'open-publish': false,
      'publish-key': 'k',
    });
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    const headers = { Origin: APP, Accept: 'text/event-stream' };
    const stream = await server.request('GET', '/c', { headers });
    expect([stream.status, stream.text, corsOf(stream)]).toEqual([
      200,
      expect.stringMatching(/^retry: \d+\n\n$/),
      mayAll(APP),
    ]);
    const poll = await server.request('GET', '/c?wait=1', { headers: { Origin: APP } });
    expect([poll.status, corsOf(poll)]).toEqual([503, mayAll(APP)]);
    const wrong = { headers: { Origin: APP, Authorization: 'Bearer x' }, body: 'x' };
    const answers: Answer[] = [];
    for (let i = 0; i < 11; i++) answers.push(await server.request('POST', '/c', wrong));
    expect(answers.map(({ status }) => status)).toEqual([...Array<number>(10).fill(401), 429]);
    for (const answer of answers) expect(corsOf(answer)).toEqual(mayAll(APP));
  });

  test('without --allow-origin there is none of it', async () => {
    const server = await hostedForTest();
    const answer = await server.request('GET', '/c?wait=0', { headers: { Origin: EVIL } });
    expect(corsOf(answer)).toEqual({ ...MAY_NOTHING, varies: 0 });
  });
});

const preflight = (
  server: ServerUnderTest,
  path: string,
  origin: string,
  method = 'GET',
  more: Fields = {},
): Promise<Answer> =>
  server.request('OPTIONS', path, {
    headers: { Origin: origin, 'Access-Control-Request-Method': method, ...more },
  });

const asking = (names: string): Fields => ({ 'Access-Control-Request-Headers': names });

function namesIn(answer: Answer, field: 'headers' | 'methods'): string[] {
  return answer.headers.get(`access-control-allow-${field}`)?.split(', ') ?? [];
}

describe('a preflight', () => {
  const KNOWN = ['Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID'];

  test.each(['/c', '/a,b', '/', '/-/stats', '/-/health', '/-/nonesuch', '/a/b', '/a//b', '/a..b'])(
    'for %s of a listed origin is 204 with what was asked for',
    async (path) => {
      const names = 'traceparent,tracestate,x-tenant';
      const answer = await preflight(listed, path, TWO, 'GET', asking(names));
      expect([answer.status, corsOf(answer)]).toEqual([204, mayAll(TWO)]);
      expect(namesIn(answer, 'headers')).toEqual([
        ...KNOWN,
        'traceparent',
        'tracestate',
        'x-tenant',
      ]);
      expect(namesIn(answer, 'methods')).toContain('GET');
      expect(Number(answer.headers.get('access-control-max-age'))).toBeGreaterThanOrEqual(60);
    },
  );

  test('names the methods that there are', async () => {
    const channel = await preflight(listed, '/c', APP, 'DELETE');
    expect(namesIn(channel, 'methods')).toEqual(['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']);
    const ops = await preflight(listed, '/-/stats', APP, 'GET', asking('authorization'));
    expect(namesIn(ops, 'methods')).toEqual(['GET', 'HEAD']);
    expect(namesIn(ops, 'headers')).toEqual(KNOWN);
  });

  test.each([
    ['any case, and spaces', 'X-Tenant , AUTHORIZATION,\tx-tenant', ['X-Tenant']],
    ['what is no name', 'a b,x:y,"q",é,(c),,x-ok,*', ['x-ok']],
    ['no name at all', ',', []],
    ['every character of a name', "!#$%&'*+-.^_`|~09azAZ", ["!#$%&'*+-.^_`|~09azAZ"]],
    [
      'names up to a bound',
      `${'a'.repeat(500)},${'b'.repeat(12)},c,d`,
      ['a'.repeat(500), 'b'.repeat(12)],
    ],
    ['not a name beyond it', 'a'.repeat(513), []],
  ])('repeats %s', async (_what, asked, repeated) => {
    const answer = await preflight(listed, '/c', APP, 'POST', asking(asked));
    expect([answer.status, namesIn(answer, 'headers')]).toEqual([204, [...KNOWN, ...repeated]]);
  });

  test('under * allows to listen with any header, without cookies', async () => {
    for (const origin of [EVIL, 'null']) {
      const answer = await preflight(every, '/c', origin, 'GET', asking('x-tenant'));
      expect([answer.status, corsOf(answer)]).toEqual([204, MAY_LISTEN]);
      expect(namesIn(answer, 'methods')).toEqual(['GET', 'HEAD']);
      expect(namesIn(answer, 'headers')).toContain('x-tenant');
    }
    const named = await preflight(both, '/c', APP, 'DELETE');
    expect([corsOf(named), namesIn(named, 'methods')]).toEqual([
      mayAll(APP),
      expect.arrayContaining(['DELETE']),
    ]);
  });

  test.each(['/c', '/-/stats'])(
    'for %s of an origin that is not listed is 403 and names the flag',
    async (path) => {
      for (const server of [listed, await hostedForTest()]) {
        const answer = await preflight(server, path, EVIL, 'GET', asking('x-tenant'));
        expect(refused(answer)).toEqual([403, 'HOLDLINE_CROSS_SITE']);
        expect(messageOf(answer)).toContain(`--allow-origin ${EVIL}`);
        expect(corsOf(answer)).toMatchObject(MAY_NOTHING);
        expect(answer.headers.has('access-control-allow-headers')).toBe(false);
      }
    },
  );

  test('to a private address is allowed when its browser asks', async () => {
    const field = 'access-control-allow-private-network';
    const asked = { 'Access-Control-Request-Private-Network': 'true' };
    expect((await preflight(listed, '/c', APP, 'GET', asked)).headers.get(field)).toBe('true');
    expect((await preflight(every, '/c', EVIL, 'GET', asked)).headers.get(field)).toBe('true');
    expect((await preflight(listed, '/c', APP)).headers.has(field)).toBe(false);
    expect((await preflight(listed, '/c', EVIL, 'GET', asked)).headers.has(field)).toBe(false);
  });

  test('that names only headers is one, too', async () => {
    const headers = { Origin: TWO, ...asking('authorization,x-tenant') };
    const answer = await listed.request('OPTIONS', '/-/stats', { headers });
    expect([answer.status, corsOf(answer)]).toEqual([204, mayAll(TWO)]);
    expect(namesIn(answer, 'headers')).toEqual([...KNOWN, 'x-tenant']);
  });

  test('is no other OPTIONS: that says which methods there are, and allows nothing', async () => {
    for (const [path, allow] of [
      ['/c', 'GET, HEAD, POST, DELETE, OPTIONS'],
      ['/', 'GET, HEAD, OPTIONS'],
      ['/-/health', 'GET, HEAD'],
    ] as const) {
      for (const headers of [{}, { Origin: APP }, asksItself(listed)] as Fields[]) {
        const answer = await listed.request('OPTIONS', path, { headers });
        expect([path, answer.status, answer.headers.get('allow')]).toEqual([path, 204, allow]);
        expect(answer.headers.has('access-control-allow-methods')).toBe(false);
      }
    }
    expect(refused(await listed.request('OPTIONS', '/-/nonesuch'))).toEqual([
      404,
      'HOLDLINE_NOT_FOUND',
    ]);
  });

  /** A preflight from the server's own origin, which browsers do not send. */
  const asksItself = (server: ServerUnderTest): Fields => ({
    Origin: server.url,
    'Access-Control-Request-Method': 'GET',
  });
});

describe('what changes something', () => {
  const requests = (server: ServerUnderTest): [string, string, RequestParts][] => [
    ['POST', '/c', { headers: KEY, body: 'x' }],
    ['DELETE', '/c', { headers: server.opsHeaders }],
    ['GET', '/-/stats', { headers: server.opsHeaders }],
    ['GET', '/-/health', {}],
  ];

  test.each([
    ['a foreign origin', { Origin: EVIL }],
    ['no origin: a file, a sandboxed frame', { Origin: 'null' }],
    ['another site, by its browser', { 'Sec-Fetch-Site': 'cross-site' }],
    ['a form of another site', { Origin: EVIL, 'Sec-Fetch-Mode': 'navigate' }],
  ] as [string, Fields][])(
    'is refused to %s, also under *, in words that name the flag',
    async (_what, from) => {
      for (const server of [listed, every, both]) {
        const before = (await server.stats()).counters;
        for (const [method, path, parts] of requests(server)) {
          if (from['Sec-Fetch-Mode'] === 'navigate' && method === 'GET') continue;
          const answer = await server.request(method, path, {
            ...parts,
            headers: { ...parts.headers, ...from },
          });
          expect([method, path, ...refused(answer)]).toEqual([
            method,
            path,
            403,
            'HOLDLINE_CROSS_SITE',
          ]);
          expect(messageOf(answer)).toContain('--allow-origin');
        }
        const bytes = handshakeBytes(server.port, '/c', from);
        expect((await headOf(server.port, bytes)).status).toBe(403);
        const after = (await server.stats()).counters;
        for (const counter of ['events_accepted_total', 'lines_opened_total'] as const)
          expect([counter, after[counter]]).toEqual([counter, before[counter]]);
      }
    },
  );

  test('is allowed to a listed origin, and to the server’s own', async () => {
    for (const origin of [APP, TWO, listed.url]) {
      for (const [method, path, parts] of requests(listed)) {
        const answer = await listed.request(method, path, {
          ...parts,
          headers: { ...parts.headers, Origin: origin },
        });
        expect([origin, method, path, answer.status]).toEqual([origin, method, path, 200]);
      }
      const bytes = handshakeBytes(listed.port, '/c', { Origin: origin });
      expect((await headOf(listed.port, bytes)).status).toBe(101);
    }
  });

  test.each([
    ['http://events.example', 'events.example', 200],
    ['https://events.example', 'events.example', 200],
    ['http://events.example', 'events.example:80', 200],
    ['https://events.example', 'events.example:443', 200],
    ['https://events.example:8443', 'events.example:8443', 200],
    ['http://events.example', 'events.example:443', 403],
    ['https://events.example', 'events.example:80', 403],
    ['https://events.example', 'events.example:8443', 403],
    ['https://events.example:8443', 'events.example', 403],
    ['ftp://events.example', 'events.example', 403],
    ['https://events.example.evil.example', 'events.example', 403],
  ])('%s at the Host %s: %i', async (origin, host, status) => {
    const headers = { ...KEY, Origin: origin, Host: host };
    expect((await listed.request('POST', '/c', { headers, body: 'x' })).status).toBe(status);
  });

  test.each([
    [EVIL, /"https:\/\/evil\.example" may not do this; .* --allow-origin https:\/\/evil\.example$/],
    ['null', /files, sandboxed frames.* serve it over HTTP and give --allow-origin its origin$/],
    ['https://a.example;id', /"https:\/\/a\.example;id" .* --allow-origin and their origin$/],
    ['https://a.example/$(id)', /--allow-origin and their origin$/],
    [`https://${'a'.repeat(300)}`, /--allow-origin and their origin$/],
  ])('to %s: the words', async (origin, words) => {
    const answer = await listed.request('POST', '/c', { headers: { Origin: origin }, body: 'x' });
    expect(messageOf(answer)).toMatch(words);
    const under = await every.request('POST', '/c', { headers: { Origin: origin }, body: 'x' });
    expect(messageOf(under)).toContain("--allow-origin '*' lets them only listen");
  });
});

describe('a link, an address or F5', () => {
  const shared = sharedHosted({ demo: true, 'publish-key': 'k', 'open-publish': false });
  const NAVIGATION = {
    'Sec-Fetch-Site': 'cross-site',
    'Sec-Fetch-Mode': 'navigate',
    'Sec-Fetch-Dest': 'document',
    'Sec-Fetch-User': '?1',
  };

  test.each(['/-/demo', '/', '/-/health', '/-/ready', '/c?wait=0'])(
    '%s opens, wherever the link was',
    async (path) => {
      for (const headers of [
        NAVIGATION,
        { ...NAVIGATION, Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
        { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' },
      ] as Fields[]) {
        const answer = await shared().request('GET', path, { headers });
        expect([path, answer.status]).toEqual([path, path === '/c?wait=0' ? 204 : 200]);
      }
    },
  );

  test('what there is not is 404, and what takes the key says so', async () => {
    const at = (path: string): Promise<Answer> =>
      shared().request('GET', path, { headers: NAVIGATION });
    expect(refused(await at('/-/nonesuch'))).toEqual([404, 'HOLDLINE_NOT_FOUND']);
    expect(refused(await at('/-/stats'))).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
  });

  test.each([
    ['in a frame', 'GET', { ...NAVIGATION, 'Sec-Fetch-Dest': 'iframe' }],
    ['as an object', 'GET', { ...NAVIGATION, 'Sec-Fetch-Dest': 'object' }],
    [
      'as a picture',
      'GET',
      { ...NAVIGATION, 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' },
    ],
    ['by fetch', 'GET', { ...NAVIGATION, 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }],
    ['by HEAD', 'HEAD', NAVIGATION],
    ['by a form', 'POST', NAVIGATION],
  ] as [string, string, Fields][])('%s the demo does not open', async (_what, method, headers) => {
    const answer = await shared().request(method, '/-/demo', { headers });
    expect(answer.status).toBe(403);
  });

  test('a form of another site publishes nothing', async () => {
    const headers = { ...NAVIGATION, Authorization: 'Bearer k', Origin: 'null' };
    const answer = await shared().request('POST', '/c', { headers, body: 'x' });
    expect(refused(answer)).toEqual([403, 'HOLDLINE_CROSS_SITE']);
    expect((await shared().stats()).counters.events_accepted_total).toBe(0);
  });
});

describe('what `npm start` runs, serve --demo --open-publish on this machine,', () => {
  const shared = sharedHosted({ demo: true });

  test.each([EVIL, 'null', 'http://localhost:3000'])(
    'lets %s listen and no more',
    async (origin) => {
      const headers = { Origin: origin };
      const { port } = shared();
      const stream = await headOf(port, requestBytes(port, 'GET', '/c', { headers }));
      expect([stream.status, corsOf(stream)]).toEqual([200, MAY_LISTEN]);
      const post = await shared().request('POST', '/c', { headers, body: 'x' });
      expect([...refused(post), corsOf(post)]).toEqual([403, 'HOLDLINE_CROSS_SITE', MAY_LISTEN]);
      expect((await headOf(port, handshakeBytes(port, '/c', headers))).status).toBe(403);
      const health = await shared().request('GET', '/-/health', { headers });
      expect(refused(health)).toEqual([403, 'HOLDLINE_CROSS_SITE']);
    },
  );

  test('gives its client to pages of other origins, and nothing else of the demo', async () => {
    for (const headers of [
      { Origin: EVIL },
      { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
    ] as Fields[]) {
      const script = await shared().request('GET', '/-/client.js', { headers });
      expect([script.status, corsOf(script)]).toEqual([200, MAY_LISTEN]);
      for (const path of ['/-/demo', '/-/demo.js', '/-/demo.css'])
        expect((await shared().request('GET', path, { headers })).status).toBe(403);
    }
    const listedOnly = await hostedForTest({ demo: true, 'allow-origin': APP });
    const script = (origin: string): Promise<Answer> =>
      listedOnly.request('GET', '/-/client.js', { headers: { Origin: origin } });
    expect([(await script(APP)).status, (await script(EVIL)).status]).toEqual([200, 403]);
  });

  test('a page that has its own name resolve to this machine reads and publishes nothing', async () => {
    const rebound = { Host: 'evil.example:8080', Origin: 'http://evil.example:8080' };
    for (const [method, path, parts] of [
      ['GET', '/c', {}],
      ['POST', '/c', { body: 'x' }],
      ['GET', '/-/demo', {}],
      ['GET', '/-/client.js', {}],
    ] as [string, string, RequestParts][]) {
      const answer = await shared().request(method, path, { ...parts, headers: rebound });
      expect([path, ...refused(answer)]).toEqual([path, 403, 'HOLDLINE_BAD_HOST']);
    }
  });

  test.each([
    ['without --open-publish', { 'open-publish': false }],
    ['with a publish key', { 'open-publish': false, 'publish-key': 'k' }],
    ['without --demo', { demo: false }],
    ['on every address', { host: '0.0.0.0' }],
    ['where other names are served', { 'allowed-hosts': 'holdline.internal' }],
    ['where origins are listed', { 'allow-origin': APP }],
  ])('but %s a page needs its origin listed', async (_what, flags) => {
    const server = await hostedForTest({ demo: true, ...flags });
    const answer = await server.request('GET', '/c?wait=0', { headers: { Origin: EVIL } });
    expect(corsOf(answer)).toMatchObject(MAY_NOTHING);
  });
});
