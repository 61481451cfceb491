/**
 * What caches and browsers are told with every answer: each route with each method, each refusal,
 * and each stream. A shared cache that kept one would give an event, or a refusal, to somebody else
 * (RFC 9111, 5.2.2.5), and a browser that guessed at a type could run what was published.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { OPENAPI } from '../src/ops/openapi.js';
import { SseLine } from './support/line.js';
import { sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { handshakeBytes } from './support/websocket.js';
import {
  RawConnection,
  requestBytes,
  ResponseReader,
  type RequestParts,
  type ResponseHead,
} from './support/wire.js';

const STORED_BY_NONE = 'no-store';
/** Proxies must not compress or hold back a stream, either. */
const STREAMED = 'no-cache, no-transform';

const OPS = { Authorization: 'Bearer ops' };
const PUBLISH = { Authorization: 'Bearer sesame' };
const SSE = { Accept: 'text/event-stream' };
const NDJSON = { Accept: 'application/x-ndjson' };
const JSON_ONLY = { Accept: 'application/json' };

const shared = sharedHosted({
  'open-publish': false,
  'publish-key': 'sesame',
  'ops-key': 'ops',
  'ticket-secret': 'a-secret-of-thirty-two-bytes-or-more',
  'open-subscribe': true,
  'trusted-proxies': '127.0.0.1',
  'max-lines-per-address': 1,
  demo: true,
});

/** The head of the answer to these bytes, whatever follows it. */
async function headOf(port: number, bytes: Buffer): Promise<ResponseHead> {
  const connection = await RawConnection.open(port);
  const reader = new ResponseReader(() => {});
  connection.consume = (piece) => {
    if (reader.head === undefined) reader.feed(piece);
  };
  connection.send(bytes);
  try {
    return await connection.waitFor('the head of an answer', () => reader.head);
  } finally {
    connection.destroy();
  }
}

function ask(method: string, path: string, parts: RequestParts = {}): Promise<ResponseHead> {
  const { port } = shared();
  return headOf(port, requestBytes(port, method, path, parts));
}

/** What an answer says of itself to caches. A field that stands twice does not come so far. */
function storing({ status, headers }: ResponseHead): Record<string, unknown> {
  return {
    status,
    cache: headers.get('cache-control'),
    sniffing: headers.get('x-content-type-options'),
    // Nothing by which a cache could take it for fresh, or ask whether it is.
    others: ['etag', 'last-modified', 'expires', 'age', 'pragma'].filter((name) =>
      headers.has(name),
    ),
  };
}

const kept = (status: number, cache: string): Record<string, unknown> => ({
  status,
  cache,
  sniffing: 'nosniff',
  others: [],
});

/** Those that are described, those of the demo, and one that is not there. */
const PATHS = [
  ...Object.keys(OPENAPI.paths).filter((path) => path.startsWith('/-/')),
  '/-/demo',
  '/-/client.js',
  '/-/nonesuch',
  '/-/',
  '/',
];
const METHODS = ['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'];
/** Who asks: each may do something else, or nothing. */
const ASKING: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['nobody', {}],
  ['the publisher', PUBLISH],
  ['the operator', OPS],
  ['a page of another site', { ...OPS, Origin: 'https://evil.example' }],
];

describe.each(PATHS)('%s', (path) => {
  test.each(METHODS)(`%s is stored by nobody, whoever asks`, async (method) => {
    for (const [who, headers] of ASKING) {
      const concrete = path.replaceAll(/\{\w+\}/g, 'c');
      const body = method === 'POST' || method.startsWith('P') ? { body: '{' } : {};
      const head = await ask(method, concrete, { headers, ...body });
      const isStream = /event-stream|ndjson/.test(head.headers.get('content-type') ?? '');
      expect([who, storing(head)]).toEqual([
        who,
        kept(head.status, isStream ? STREAMED : STORED_BY_NONE),
      ]);
    }
  });
});

const big = { 'Content-Type': 'text/plain' };
const CHANNELS: readonly [string, number, string, string, RequestParts, string?][] = [
  ['an event stream', 200, 'GET', '/c', { headers: SSE }, STREAMED],
  ['an NDJSON stream', 200, 'GET', '/c', { headers: NDJSON }, STREAMED],
  ['a stream of several', 200, 'GET', '/a,b/c', { headers: SSE }, STREAMED],
  ['the head of a stream', 200, 'HEAD', '/c', { headers: SSE }, STREAMED],
  ['a poll with an event', 200, 'GET', '/full?since=0&wait=0', { headers: JSON_ONLY }],
  ['a poll without', 204, 'GET', '/empty?wait=0', { headers: JSON_ONLY }],
  ['the head of a poll', 204, 'HEAD', '/empty?wait=0', { headers: JSON_ONLY }],
  ['a publish', 200, 'POST', '/full', { headers: PUBLISH, body: 'x' }],
  ['a deletion', 200, 'DELETE', '/gone', { headers: OPS }],
  ['which methods there are', 204, 'OPTIONS', '/c', {}],
  ['a bad channel', 400, 'GET', '/a..b', {}],
  ['a bad position', 400, 'GET', '/c?since=x', { headers: SSE }],
  ['a bad position, as a page', 400, 'GET', '/c?since=x', { headers: { Accept: 'text/html' } }],
  ['no key', 401, 'POST', '/c', { body: 'x' }],
  ['a wrong key', 401, 'POST', '/c', { headers: { Authorization: 'Bearer x' }, body: 'x' }],
  ['a wrong ticket', 401, 'GET', '/c?ticket=x', { headers: SSE }],
  ['a key without the right', 403, 'DELETE', '/c', { headers: PUBLISH }],
  [
    'another site',
    403,
    'POST',
    '/c',
    { headers: { ...PUBLISH, Origin: 'https://evil.example' }, body: 'x' },
  ],
  ['nothing there', 404, 'GET', '/a//b', {}],
  ['another method', 405, 'PUT', '/c', { body: 'x' }],
  ['too large', 413, 'POST', '/c', { headers: { ...PUBLISH, ...big }, body: 'x'.repeat(70_000) }],
  ['compressed', 415, 'POST', '/c', { headers: { ...PUBLISH, 'Content-Encoding': 'gzip' } }],
];

describe('a channel', () => {
  test.each(CHANNELS)(
    '%s: %i',
    async (_what, status, method, path, parts, cache = STORED_BY_NONE) => {
      const server: ServerUnderTest = shared();
      if (path.startsWith('/full')) await server.publish('full', 'x');
      expect(storing(await ask(method, path, parts))).toEqual(kept(status, cache));
    },
  );

  test('a refused handshake is stored by nobody', async () => {
    const { port } = shared();
    for (const [status, path, headers] of [
      [426, '/c', { 'Sec-WebSocket-Version': '8' }],
      [401, '/c?ticket=x', {}],
      [403, '/c', { Origin: 'https://evil.example' }],
    ] as const) {
      const head = await headOf(port, handshakeBytes(port, path, headers));
      expect(storing(head)).toEqual(kept(status, STORED_BY_NONE));
    }
  });

  test('a refusal for now is stored by nobody, also one that an EventSource reads as a stream', async () => {
    const from = { 'X-Forwarded-For': '192.0.2.1' };
    const line = await SseLine.open(shared().port, '/c', { headers: from });
    onTestFinished(() => line.close());
    for (const [status, accept] of [
      [200, SSE],
      [429, NDJSON],
      [429, JSON_ONLY],
    ] as const) {
      const head = await ask('GET', '/c', { headers: { ...from, ...accept } });
      expect(storing(head)).toEqual(kept(status, STORED_BY_NONE));
    }
    const { port } = shared();
    const head = await headOf(port, handshakeBytes(port, '/c', from));
    expect(storing(head)).toEqual(kept(429, STORED_BY_NONE));
  });
});
