/**
 * Tokens on a running server: each algorithm, keys that rotate behind a URL, lines that end with
 * their token on every transport, and as many lines as one user may have.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createServer, type Options, type Server } from '../dist/index.js';
import { JWKS_COOLDOWN_MS } from '../src/limits.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { openPackage, stateUntil } from './support/sources.js';
import { handshakeBytes, WebSocketLine } from './support/websocket.js';
import {
  codeOf,
  exchange,
  HttpClient,
  RawConnection,
  request,
  type Answer,
} from './support/wire.js';

const BOUND = { jwtAudience: 'events', jwtIssuer: 'https://id' };
const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const BYTES = new TextEncoder().encode(SECRET);

type Fields = Record<string, string>;

async function listening(options: Options): Promise<{ server: Server; port: number }> {
  const server = createServer({ port: 0, firstId: 1, retryMs: 50, ...BOUND, ...options });
  onTestFinished(() => server.close({ drainMs: 0 }));
  const { port } = await server.listen();
  return { server, port };
}

/** The field Authorization with a token that may read everything. */
async function bearer(
  key: KeyObject | Uint8Array,
  header: { alg: string; kid?: string },
  claims: Record<string, unknown> = {},
): Promise<Fields> {
  const now = Math.floor(Date.now() / 1000);
  const all = { iat: now, exp: now + 600, aud: 'events', iss: 'https://id', sub: 'ada', ...claims };
  const text = await new SignJWT({ ...all, holdline: { subscribe: ['**'] } })
    .setProtectedHeader(header)
    .sign(key);
  return { Authorization: `Bearer ${text}` };
}

const hs256 = (claims?: Record<string, unknown>): Promise<Fields> =>
  bearer(BYTES, { alg: 'HS256' }, claims);

const LINES = {
  sse: (port: number, headers: Fields) => SseLine.open(port, '/c', { headers }),
  ndjson: (port: number, headers: Fields) => NdjsonLine.open(port, '/c', { headers }),
  websocket: (port: number, headers: Fields) => WebSocketLine.open(port, '/c', { headers }),
} as const;

type Line = SseLine | NdjsonLine | WebSocketLine;

async function openLines(port: number, headers: Fields): Promise<Line[]> {
  const lines: Line[] = await Promise.all(Object.values(LINES).map((open) => open(port, headers)));
  onTestFinished(() => lines.forEach((line) => line.connection.destroy()));
  return lines;
}

/** Status, and the code of a refusal. */
function outcome(answer: Answer): string {
  return answer.status < 400 ? String(answer.status) : `${answer.status} ${codeOf(answer)}`;
}

async function poll(port: number, headers: Fields): Promise<string> {
  const fields = { Accept: 'application/json', ...headers };
  return outcome(await request(port, 'GET', '/c?wait=0', { headers: fields }));
}

const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const others = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const;

describe.each(ALGORITHMS)('%s', (alg) => {
  const { publicKey, privateKey } = pairs[alg];
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string;

  test('opens lines on every transport; another key, another algorithm and none do not', async () => {
    const { server, port } = await listening({ jwtPublicKey: pem });
    const lines = await openLines(port, await bearer(privateKey, { alg }));
    const id = await server.channel('c').publish({ data: 'x' });
    await Promise.all(lines.map((line) => line.waitForId(id)));
    const wrong = [
      await bearer(others[alg].privateKey, { alg }),
      await hs256(),
      await bearer(new TextEncoder().encode(pem), { alg: 'HS256' }),
    ];
    for (const name of ALGORITHMS)
      if (name !== alg) wrong.push(await bearer(pairs[name].privateKey, { alg: name }));
    for (const headers of wrong)
      expect(await poll(port, headers)).toBe('401 HOLDLINE_UNAUTHORIZED');
    expect(server.stats().lines.open).toBe(3);
  });
});

test('keys that rotate behind their URL: new tokens are read, old ones refused, and open lines stay', async () => {
  const jwk = (kid: string, { publicKey }: { publicKey: KeyObject }): object => ({
    ...publicKey.export({ format: 'jwk' }),
    kid,
    use: 'sig',
  });
  let keys = [jwk('one', pairs.ES256)];
  const issuer = createHttpServer((_, response) => response.end(JSON.stringify({ keys })));
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void issuer.close());
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/`;
  const { server, port } = await listening({ jwtJwks: url });
  const old = await bearer(pairs.ES256.privateKey, { alg: 'ES256', kid: 'one' });
  const fresh = await bearer(pairs.EdDSA.privateKey, { alg: 'EdDSA', kid: 'two' });
  const lines = await openLines(port, old);

  keys = [jwk('two', pairs.EdDSA)];
  // The URL was asked just now: whoever is early is told to come back, and not that it is wrong.
  expect(await poll(port, fresh)).toBe('503 HOLDLINE_TOKEN_KEYS_UNAVAILABLE');
  expect(await poll(port, old)).toBe('204');
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + JWKS_COOLDOWN_MS);
  onTestFinished(() => clock.mockRestore());
  expect(await poll(port, fresh)).toBe('204');
  // What is not among the keys that were fetched just now may still come.
  expect(await poll(port, old)).toBe('503 HOLDLINE_TOKEN_KEYS_UNAVAILABLE');
  clock.mockImplementation(() => now() + 2 * JWKS_COOLDOWN_MS);
  expect(await poll(port, old)).toBe('401 HOLDLINE_UNAUTHORIZED');
  const id = await server.channel('c').publish({ data: 'x' });
  await Promise.all(lines.map((line) => line.waitForId(id)));
  expect(server.stats().counters.jwks_fetches_total).toBe(3);
});

test('while keys cannot be fetched, an EventSource comes back until they can, and others are told 503', async () => {
  const issued: { keys?: object[] } = {};
  const issuer = createHttpServer((_, response) =>
    issued.keys === undefined
      ? response.writeHead(500).end()
      : response.end(JSON.stringify(issued)),
  );
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void issuer.close());
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/`;
  const { server, port } = await listening({ jwtJwks: url, authCookie: 'session' });
  const { Authorization } = await bearer(pairs.ES256.privateKey, { alg: 'ES256', kid: 'one' });
  const token = Authorization!.slice('Bearer '.length);
  const headers = { Cookie: `session=${token}` };
  const source = openPackage(`http://127.0.0.1:${port}/c`, headers);
  await stateUntil(source, 'two refusals', ({ errors }) => errors >= 2);
  expect((await source.state()).readyState).not.toBe(2);

  const ask = (more: Fields, path = '/c'): Promise<Answer> =>
    request(port, 'GET', path, { headers: { ...headers, ...more } });
  const stream = await ask({});
  expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  expect(stream.text).toMatch(/^retry: \d+\n\n$/);
  const watching = await ask({ Authorization: `Bearer ${token}` }, '/-/watch');
  expect([watching.status, watching.text]).toEqual([200, 'retry: 50\n\n']);
  const { counters } = server.stats();
  for (const more of [
    { 'Sec-Fetch-Mode': 'cors' },
    { Accept: 'text/html' },
    { Accept: 'application/x-ndjson' },
    { Accept: 'application/json' },
  ] as Fields[])
    expect([more, (await ask(more)).status]).toEqual([more, 503]);
  expect((await request(port, 'HEAD', '/c', { headers })).status).toBe(503);
  expect(server.stats().counters.refusals_held_total - counters.refusals_held_total).toBe(1);

  issued.keys = [{ ...pairs.ES256.publicKey.export({ format: 'jwk' }), kid: 'one' }];
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + JWKS_COOLDOWN_MS);
  onTestFinished(() => clock.mockRestore());
  await expect.poll(() => server.stats().lines.open, { timeout: 10_000 }).toBe(1);
});

test('a token that ends ends its lines on every transport, after all that was published, and reads no more', async () => {
  const { server, port } = await listening({ jwtSecret: SECRET });
  const now = Math.floor(Date.now() / 1000);
  // Tokens are accepted for five seconds more (the clocks of others).
  const headers = await hs256({ iat: now - 60, exp: now - 2 });
  const lines = await openLines(port, headers);
  const waiting = await HttpClient.open(port);
  onTestFinished(() => waiting.close());
  const answered = waiting.request('GET', '/quiet', {
    headers: { Accept: 'application/json', ...headers },
  });
  const staying = await LINES.sse(port, await hs256({ sub: 'bob' }));
  onTestFinished(() => staying.close());
  const before = await server.channel('c').publish({ data: 'before' });
  const codeAt = (line: Line): string | undefined =>
    line instanceof WebSocketLine ? line.end?.code : line.endCode;
  for (const line of lines) {
    await line.waitFor('the end', () => codeAt(line));
    expect([codeAt(line), line.lastId]).toEqual(['expired', before]);
  }
  expect((await answered).status).toBe(204);
  const after = await server.channel('c').publish({ data: 'after' });
  await staying.waitForId(after);
  for (const line of lines) expect(line.lastId).toBe(before);
  expect(await poll(port, headers)).toBe('401 HOLDLINE_UNAUTHORIZED');
  expect(server.stats().counters.closed.expired).toBe(4);
});

describe('lines of one user', () => {
  test('are so many over all transports and tokens; another user has his own, and a place comes back', async () => {
    const { server, port } = await listening({ jwtSecret: SECRET, maxLinesPerUser: 4 });
    const lines = await openLines(port, await hs256());
    const waiting = await HttpClient.open(port);
    onTestFinished(() => waiting.close());
    const ofDevice = await hs256({ jti: 'of another device' });
    const answered = waiting.request('GET', '/quiet', {
      headers: { Accept: 'application/json', ...ofDevice },
    });
    await expect.poll(() => server.stats().lines.open).toBe(4);
    const another = await hs256({ jti: 'of a third' });
    for (const accept of ['application/x-ndjson', 'application/json']) {
      const answer = await request(port, 'GET', '/c', { headers: { Accept: accept, ...another } });
      expect(outcome(answer)).toBe('429 HOLDLINE_TOO_MANY_LINES');
    }
    const handshake = await exchange(port, handshakeBytes(port, '/c', another));
    expect(outcome(handshake)).toBe('429 HOLDLINE_TOO_MANY_LINES');
    expect(server.stats().counters.lines_refused_user_total).toBe(3);
    // A poll that does not wait holds no place.
    expect(await poll(port, another)).toBe('204');
    await openLines(port, await hs256({ sub: 'bob' }));
    expect(server.stats().lines.open).toBe(7);
    await server.channel('quiet').publish({ data: 'x' });
    expect((await answered).status).toBe(200);
    lines[0]!.connection.destroy();
    await expect.poll(() => server.stats().lines.open).toBe(5);
    await openLines(port, await hs256({ sub: 'carl' }));
    const line = await SseLine.open(port, '/c', { headers: another });
    onTestFinished(() => line.close());
    await line.waitFor('the prelude', () => line.blocks.length > 0);
    expect(line.endCode).toBeUndefined();
  });
});

test('a proxy on a unix socket that is listed says whose a line is; one that is not says nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [trustedProxies, refused] of [
    [['unix'], '429 HOLDLINE_TOO_MANY_LINES'],
    [[], '200'],
  ] as const) {
    const unixSocket = join(folder, `${trustedProxies.length}.sock`);
    const server = createServer({ unixSocket, trustedProxies, maxLinesPerAddress: 1 });
    onTestFinished(() => server.close({ drainMs: 0 }));
    await server.listen();
    const through = async (address: string): Promise<string> => {
      const connection = await new Promise<RawConnection>((resolve, reject) => {
        const socket = connect(unixSocket);
        socket.once('error', reject);
        socket.once('connect', () => resolve(new RawConnection(socket, 0)));
      });
      onTestFinished(() => connection.destroy());
      connection.send(
        `GET /c HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\nX-Forwarded-For: ${address}\r\n\r\n`,
      );
      return connection.waitFor('an answer', () => {
        const status = /^HTTP\/1\.1 (\d+)/.exec(connection.text)?.[1];
        if (status === undefined || status === '200') return status;
        const code = /"code":"(\w+)"/.exec(connection.text)?.[1];
        return code !== undefined && `${status} ${code}`;
      });
    };
    expect(await through('192.0.2.7')).toBe('200');
    expect(await through('192.0.2.7')).toBe(refused);
    expect(await through('192.0.2.8')).toBe('200');
    // What stands left of the address that the proxy saw was written by the client.
    expect(await through('192.0.2.9, 192.0.2.8')).toBe(refused);
  }
});
