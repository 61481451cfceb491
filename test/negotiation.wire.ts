/** The transport at one URL: by Upgrade, else by Accept, else by the query, else SSE. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { sharedHosted } from './support/hosted.js';
import { RawConnection, requestBytes, ResponseReader, type ResponseHead } from './support/wire.js';

const shared = sharedHosted();

/**
 * Asks with just these headers, and waits for the head of whatever comes; the connection is dropped
 * with the test.
 */
async function headOf(
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<ResponseHead> {
  const { port } = shared();
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.destroy());
  const reader = new ResponseReader(() => undefined);
  connection.consume = (bytes) => reader.feed(bytes);
  connection.send(requestBytes(port, 'GET', path, { headers }));
  return connection.waitFor('a head', () => reader.head);
}

const TRANSPORTS = {
  sse: [200, 'text/event-stream'],
  ndjson: [200, 'application/x-ndjson'],
  poll: [200, 'application/json'],
  websocket: [101, undefined],
} as const;

const UPGRADE = {
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
};

async function expectTransport(
  path: string,
  headers: Readonly<Record<string, string>>,
  transport: keyof typeof TRANSPORTS,
): Promise<void> {
  // A poll without a position would wait. With an event held, the position in the header gives an
  // answer at once, and does not affect the transport.
  const server = shared();
  if (!server.published.has('c')) await server.publish('c', 'x');
  const head = await headOf(path, { 'Last-Event-ID': '0', ...headers });
  expect([head.status, head.headers.get('content-type')]).toEqual(TRANSPORTS[transport]);
}

describe('by Accept', () => {
  test.each([
    ['text/event-stream', 'sse'],
    ['application/x-ndjson', 'ndjson'],
    ['application/json', 'poll'],
    ['Application/X-NDJSON', 'ndjson'],
    ['application/json; charset=utf-8', 'poll'],
    ['application/json;q=0.5, text/event-stream;q=0.9', 'sse'],
    ['application/json;q=0.9, text/event-stream;q=0.5', 'poll'],
    ['application/x-ndjson;q=0.8,application/json;q=0.3', 'ndjson'],
    ['application/json, application/x-ndjson', 'ndjson'],
    ['application/json, application/x-ndjson, text/event-stream', 'sse'],
    ['application/json, */*', 'poll'],
    ['application/json;q=0.1, */*;q=1', 'poll'],
    ['application/x-ndjson;q=0, application/json;q=0.1', 'poll'],
    ['text/event-stream;q=0', 'sse'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'sse'],
    ['image/png', 'sse'],
    ['*/*', 'sse'],
  ] as const)('%s gets %s', async (accept, transport) => {
    await expectTransport('/c', { Accept: accept }, transport);
  });

  test('none gets sse', async () => {
    await expectTransport('/c', {}, 'sse');
  });
});

describe('by the query, where no type is asked for by name', () => {
  test.each(['since=0', 'since=latest', 'wait=0', 'wait=0.5', 'limit=1', 'limit=10&wait=1'])(
    '?%s gets a poll',
    async (query) => {
      for (const headers of [{}, { Accept: '*/*' }, { Accept: 'text/html, */*;q=0.1' }] as Record<
        string,
        string
      >[]) {
        await expectTransport(`/c?${query}`, headers, 'poll');
      }
    },
  );

  test.each(['last_event_id=0', 'lastEventId=0', 'last=1', 'envelope=1', 'unknown=1', ''])(
    '?%s gets sse',
    async (query) => {
      await expectTransport(`/c?${query}`, { Accept: '*/*' }, 'sse');
    },
  );

  test('a type asked for by name beats the query', async () => {
    await expectTransport('/c?since=0', { Accept: 'text/event-stream' }, 'sse');
    await expectTransport('/c?since=0', { Accept: 'application/x-ndjson' }, 'ndjson');
    await expectTransport('/c?since=0&limit=5', { Accept: 'application/x-ndjson, */*' }, 'ndjson');
  });
});

describe('by Upgrade', () => {
  test.each([
    ['websocket', {}],
    ['WebSocket', { Accept: 'text/event-stream' }],
    ['websocket', { Accept: 'application/json' }],
  ] as [string, Record<string, string>][])(
    '%s beats Accept and query',
    async (upgrade, headers) => {
      await expectTransport(
        '/c?since=0',
        { ...UPGRADE, Upgrade: upgrade, ...headers },
        'websocket',
      );
    },
  );

  test.each(['h2c', 'TLS/1.0'])('to %s is not taken up (RFC 9110, 7.8)', async (upgrade) => {
    await expectTransport('/c', { Upgrade: upgrade, Connection: 'Upgrade' }, 'sse');
    await expectTransport(
      '/c',
      { Upgrade: upgrade, Connection: 'Upgrade', Accept: 'application/json' },
      'poll',
    );
  });
});
