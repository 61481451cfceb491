/**
 * What the proxies of scripts/deploy/ make of the server behind them: its health, who has left,
 * and the headers that name a client; and what the server answers to health checks.
 */

import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  deployedCaddyForTest,
  deployedHaproxyForTest,
  deployedNginxForTest,
  deployFile,
  type Change,
} from './support/deployed.js';
import { haproxyForTest } from './support/front.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest } from './support/server.js';
import { handshakeBytes } from './support/websocket.js';
import { RawConnection, request } from './support/wire.js';

const PROXIES = [
  ['nginx', deployedNginxForTest],
  ['haproxy', deployedHaproxyForTest],
  ['caddy', deployedCaddyForTest],
] as const;

const server = sharedHosted();

/** Sends one request and reads to the end of its head. */
async function answerTo(port: number, bytes: string | Buffer): Promise<RawConnection> {
  const client = await RawConnection.open(port);
  onTestFinished(() => client.destroy());
  client.send(bytes);
  await client.waitFor('an answer', () => client.text.includes('\r\n\r\n'));
  return client;
}

describe('a health check is answered', () => {
  test.each([
    ['OPTIONS / HTTP/1.1\r\nHost: localhost', 204],
    ['OPTIONS / HTTP/1.1\r\nhost: localhost\r\nconnection: close', 204],
    ['HEAD / HTTP/1.1\r\nHost: localhost', 200],
    ['GET /-/ready HTTP/1.1\r\nHost: 10.0.0.1:8080', 200],
    ['HEAD /-/ready HTTP/1.1\r\nHost: 10.0.0.1:8080', 200],
    // By the native parser, which refuses them before the server sees them.
    ['OPTIONS / HTTP/1.0', 505],
    ['OPTIONS * HTTP/1.1\r\nHost: localhost', 505],
    ['OPTIONS / HTTP/1.1', 400],
  ])('%j: %i', async (head, status) => {
    const { text } = await answerTo(server().port, `${head}\r\n\r\n`);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    if (head.startsWith('OPTIONS') && status === 204)
      expect(text).toMatch(/^Allow: GET, HEAD, OPTIONS\r$/m);
  });
});

/** What haproxy says of the server: UP or DOWN, by which check, and the status it was answered. */
async function healthAt(port: number): Promise<string> {
  const { text } = await request(port, 'GET', '/haproxy;csv');
  const [names, ...rows] = text.split('\n').map((row) => row.split(','));
  const row = rows.find((fields) => fields[1] === 'holdline')!;
  const field = (name: string): string => row[names!.indexOf(name)] ?? '';
  return `${field('status')} ${field('check_status')} ${field('check_code')}`;
}

const STATS = ['stats enable', 'stats uri /haproxy'];

describe('haproxy finds the server', () => {
  const asks = (meth: string, uri: string): string =>
    `http-check send meth ${meth} uri ${uri} ver HTTP/1.1 hdr Host localhost`;

  test.each<[lines: string[], health: string]>([
    [['option httpchk', asks('GET', '/-/ready')], 'UP L7OK 200'],
    [['option httpchk', asks('OPTIONS', '/')], 'UP L7OK 204'],
    [['option httpchk', asks('HEAD', '/')], 'UP L7OK 200'],
    [[], 'UP L4OK '],
    [['option httpchk'], 'DOWN L7STS 505'],
    [['option httpchk OPTIONS / HTTP/1.1'], 'DOWN L7STS 400'],
  ])('with %j: %s', async (lines, health) => {
    const base = await haproxyForTest(server().port, ['timeout server 1h', ...lines], {
      listen: STATS,
      server: 'check inter 20ms fall 1',
    });
    const port = Number(new URL(base).port);
    await expect.poll(() => healthAt(port)).toBe(health);
  });

  test('with the configuration that is deployed: UP, and DOWN when it is gone', async () => {
    const own = await serverForTest();
    const port = await deployedHaproxyForTest(own.port, (text) =>
      text
        .replace('frontend public', `frontend public\n  ${STATS.join('\n  ')}`)
        .replace('inter 1s', 'inter 20ms'),
    );
    await expect.poll(() => healthAt(port)).toBe('UP L7OK 200');
    own.kill();
    await expect.poll(() => healthAt(port)).toMatch(/^DOWN L4/);
  });
});

/** A server that shows what a proxy asks of it; its port. */
async function upstreamForTest(answer: RequestListener): Promise<number> {
  const upstream = createServer(answer).listen(0, '127.0.0.1');
  onTestFinished(() => void upstream.close());
  await once(upstream, 'listening');
  return (upstream.address() as AddressInfo).port;
}

test('caddy asks for it, and hands nothing to a server that is not ready', async () => {
  const asked: string[] = [];
  const upstream = await upstreamForTest((incoming, answer) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    answer.writeHead(503).end();
  });
  const port = await deployedCaddyForTest(upstream, (text) =>
    text.replace('health_interval 2s', 'health_interval 20ms'),
  );
  const ask = async (): Promise<void> => {
    asked.length = 0;
    expect((await request(port, 'GET', '/c')).status).toBe(503);
  };
  // It hands requests on until it has read the first answer to a check of its own.
  await expect.poll(() => ask().then(() => asked)).not.toContain('GET /c');
  await ask();
  await expect.poll(() => asked.length).toBeGreaterThan(0);
  expect([...new Set(asked)]).toEqual(['GET /-/ready']);
});

describe.each(PROXIES)('%s', (_name, proxyForTest) => {
  test('lets the server know at once that a stream, a WebSocket and a poll have left', async () => {
    // No heartbeat is written to them meanwhile, which would find them gone, too.
    const own = await hostedForTest({ heartbeat: '10min' });
    const port = await proxyForTest(own.port);
    await own.publish('c', 'one');
    const clients = await Promise.all([
      answerTo(port, `GET /c HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`),
      answerTo(port, handshakeBytes(port, '/c')),
      waitingPoll(port),
    ]);
    const open = ({ lines }: Awaited<ReturnType<ServerUnderTest['stats']>>): number => lines.open;
    await own.statsUntil('three lines', (stats) => open(stats) === 3);
    for (const client of clients) client.destroy();
    const left = await own.statsUntil('no line', (stats) => open(stats) === 0, 2_000);
    expect(left.counters.heartbeats_total).toBe(0);
  });

  test('hands on Host with its port, and an address that it has seen itself', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const upstream = await upstreamForTest((incoming, answer) => {
      if (incoming.url === '/c') seen.push(incoming.headers);
      answer.end();
    });
    const port = await proxyForTest(upstream);
    const lies = ['X-Forwarded-For: 10.9.8.7', 'Forwarded: for=10.9.8.7;host=evil.example'];
    await answerTo(
      port,
      ['GET /c HTTP/1.1', 'Host: events.example:8443', ...lies, 'Connection: close', '', ''].join(
        '\r\n',
      ),
    );
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({
      host: 'events.example:8443',
      'x-forwarded-for': '127.0.0.1',
    });
    expect(seen[0]).not.toHaveProperty('forwarded');
  });
});

describe('a server on a unix socket', () => {
  const PRINTED = {
    nginx: 'server unix:/run/holdline.sock;',
    haproxy: 'server holdline unix@/run/holdline.sock',
    caddy: 'reverse_proxy unix//run/holdline.sock',
  };
  test.each(PROXIES)('is reached by %s with the line that the README prints', async (...kind) => {
    const [name, proxyForTest] = kind;
    const folder = mkdtempSync(join(tmpdir(), 'holdline-socket-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    // Workers of nginx run as somebody else.
    chmodSync(folder, 0o755);
    const path = join(folder, 'holdline.sock');
    await hostedForTest({ port: false, 'unix-socket': path, 'unix-socket-mode': '666' });
    expect(deployFile('README.md')).toContain(`\`${PRINTED[name]}\``);
    const port = await proxyForTest(1, (text) =>
      text.replace(
        /(server|server holdline|reverse_proxy) 127\.0\.0\.1:1\b;?/,
        PRINTED[name].replace('/run/holdline.sock', path),
      ),
    );
    expect((await request(port, 'POST', '/c', { body: 'x' })).status).toBe(200);
  });
});

/** Each writes the address of a client from outside, where it would write 127.0.0.1. */
const OUTSIDE: Readonly<Record<string, Change>> = {
  nginx: (text) => text.replace('X-Forwarded-For $remote_addr', 'X-Forwarded-For 203.0.113.9'),
  haproxy: (text) => text.replace('X-Forwarded-For %[src]', 'X-Forwarded-For 203.0.113.9'),
  caddy: (text) =>
    text.replace('-Forwarded\n', '-Forwarded\nheader_up X-Forwarded-For 203.0.113.9\n'),
};

describe.each(PROXIES)('%s, listed as a trusted proxy', (name, proxyForTest) => {
  test('is believed whose line it is, and a client that says otherwise is not', async () => {
    const own = await hostedForTest({ 'trusted-proxies': '127.0.0.1', 'max-lines-per-address': 1 });
    const port = await proxyForTest(own.port, OUTSIDE[name]);
    const stream = (header: string): string =>
      `GET /c HTTP/1.1\r\nHost: localhost:${port}\r\nAccept: application/x-ndjson\r\n${header}\r\n\r\n`;
    expect((await answerTo(port, stream('X-A: b'))).text).toMatch(/^HTTP\/1\.1 200 /);
    for (const lie of ['X-Forwarded-For: 198.51.100.7', 'Forwarded: for=198.51.100.7']) {
      const { text } = await answerTo(port, stream(lie));
      expect(text).toMatch(/^HTTP\/1\.1 429 /);
      expect(text).toContain('HOLDLINE_TOO_MANY_LINES');
    }
  });
});

/** A poll that waits for an event, of which nothing is answered before. */
async function waitingPoll(port: number): Promise<RawConnection> {
  const client = await RawConnection.open(port);
  onTestFinished(() => client.destroy());
  client.send(`GET /c?since=1&wait=60 HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  return client;
}

describe('a forwarded header', () => {
  const LIES = {
    'X-Forwarded-Host': 'localhost',
    'X-Forwarded-For': '127.0.0.1',
    'X-Forwarded-Proto': 'https',
    'X-Real-IP': '127.0.0.1',
    Forwarded: 'for=127.0.0.1;host=localhost',
  };

  test('makes no foreign page one of the own', async () => {
    const own = { Origin: `http://127.0.0.1:${server().port}` };
    const foreign = { Origin: 'http://localhost' };
    const publish = async (headers: Record<string, string>): Promise<number> =>
      (await server().request('POST', '/c', { headers, body: 'x' })).status;
    expect(await publish(own)).toBe(200);
    expect(await publish({ ...own, ...LIES })).toBe(200);
    expect(await publish({ ...foreign, ...LIES })).toBe(403);
  });

  test('makes no foreign Host a local one, and opens no page of the operator', async () => {
    const foreign = { Host: 'evil.example', ...LIES };
    expect((await server().request('GET', '/c?wait=0', { headers: foreign })).status).toBe(403);
    expect((await server().request('GET', '/-/stats', { headers: LIES })).status).toBe(401);
  });
});
