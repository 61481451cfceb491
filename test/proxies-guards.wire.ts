/**
 * What stays shut behind the proxies of scripts/deploy/: pages of operators in every spelling; and
 * the recipes of its README that guard by path, ask another program, and know an address.
 */

import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  DEPLOYED,
  deployedCaddy,
  deployedHaproxy,
  deployedNginx,
  printedBlock,
  type Change,
} from './support/deployed.js';
import { sharedHosted } from './support/hosted.js';
import { handshakeBytes } from './support/websocket.js';
import { RawConnection, request } from './support/wire.js';

const server = sharedHosted({ 'ops-key': 'o', demo: true });

/** The status of the answer to a request line as it stands, with the ops key. */
async function statusOf(port: number, line: string): Promise<number> {
  const client = await RawConnection.open(port);
  onTestFinished(() => client.destroy());
  const host = `Host: localhost:${port}`;
  client.send(`${line} HTTP/1.1\r\n${host}\r\nAuthorization: Bearer o\r\n\r\n`);
  await client.waitFor('an answer', () => client.text.includes('\r\n\r\n'));
  return Number(/^HTTP\/1\.1 (\d+)/.exec(client.text)?.[1]);
}

/** Paths of the server under `/-/`, which its description lists, and of its demo. */
let paths: readonly string[] = [];
beforeAll(async () => {
  const { text } = await server().request('GET', '/-/openapi.json');
  const described = Object.keys((JSON.parse(text) as { paths: object }).paths);
  paths = [...described.filter((path) => path.startsWith('/-/')), '/-/demo'];
});

/** What is not for operators. */
const OPEN = new Set(['/-/tickets', '/-/publish', '/-/watch', '/-/openapi.json', '/-/client.js']);

/** Other spellings of a page, each of which some proxy or server takes for the page itself. */
const SPELLINGS = [
  '//-/stats',
  '/-//stats',
  '/./-/stats',
  '/c/../-/stats',
  '/-/tickets/../stats',
  '/-/openapi.json/../stats',
  '/%2d/stats',
  '/-%2Fstats',
  '/-/%73tats',
  '/-/stats/',
  '/-/stats;x',
  '/-/stats?',
  '/-/stats%3F',
  '/-/openapi.json%2F..%2Fstats',
  '/-/stats/../../c',
  'http://localhost/-/stats',
];

describe.each(DEPLOYED)('%s', (_name, proxyForTest) => {
  test('keeps pages of operators shut, in every spelling, with the right key', async () => {
    const { port } = await proxyForTest(server().port);
    expect(await statusOf(server().port, 'GET /-/stats')).toBe(200);
    const shut = paths.filter((path) => !OPEN.has(path));
    expect(shut.length).toBeGreaterThan(5);
    for (const method of ['GET', 'POST', 'DELETE'])
      for (const path of shut)
        expect([path, await statusOf(port, `${method} ${path}`)]).toEqual([path, 404]);
    for (const spelling of SPELLINGS) {
      const status = await statusOf(port, `GET ${spelling}`);
      expect([spelling, status >= 300]).toEqual([spelling, true]);
    }
  });

  test('passes on what is not for operators: tickets, batches, the description', async () => {
    const { port } = await proxyForTest(server().port);
    expect((await request(port, 'GET', '/-/openapi.json')).text).toContain('"openapi"');
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const body = '{"channel":"org/7/alerts","data":"x"}\n';
    const batch = await request(port, 'POST', '/-/publish', { headers, body });
    expect([batch.status, batch.text]).toEqual([200, expect.stringContaining('"first"')]);
    for (const path of ['/-/tickets', '/-/watch']) {
      const through = await request(port, 'POST', path);
      const straight = await server().request('POST', path);
      expect([path, through.status, through.text]).toEqual([path, straight.status, straight.text]);
    }
  });
});

/** Before the line that passes everything on. */
const inNginx =
  (block: string): Change =>
  (text) =>
    text.replace(/^ *location \/ \{$/m, (line) => `${block}\n${line}`);
const inHaproxy =
  (block: string): Change =>
  (text) =>
    text.replace('  default_backend', `${block}\n  default_backend`);
const inCaddy =
  (block: string): Change =>
  (text) =>
    text.replace('\treverse_proxy', `${block}\n\treverse_proxy`);

describe('a guard by path', () => {
  test.each([
    ['nginx', deployedNginx, inNginx],
    ['haproxy', deployedHaproxy, inHaproxy],
    ['caddy', deployedCaddy, inCaddy],
  ] as const)('of %s is not passed by a list or a batch of channels', async (name, start, into) => {
    const { port } = await start(server().port, into(printedBlock(`${name} by path`)));
    const status = async (method: string, path: string, body?: string): Promise<number> =>
      (await request(port, method, path, body === undefined ? {} : { body })).status;
    expect(await status('GET', '/org/7/alerts?since=0&wait=0')).toBe(403);
    expect(await status('POST', '/org/7/alerts', 'x')).toBe(403);
    for (const list of ['/open,org/7/alerts', '/org/8/a,org/7/alerts', '/open%2Corg/7/alerts'])
      expect([list, await status('GET', `${list}?since=0&wait=0`)]).toEqual([list, 403]);
    const batch = '{"channel":"org/7/alerts","data":"x"}';
    expect(await status('POST', '/-/publish', batch)).toBe(403);
    for (const spelling of [
      '/org/8/../7/alerts',
      '//org/7/alerts',
      '/org%2F7/alerts',
      '/./org/7/a',
    ])
      expect([spelling, (await statusOf(port, `GET ${spelling}?since=0&wait=0`)) >= 300]).toEqual([
        spelling,
        true,
      ]);
    expect(await status('POST', '/org/8/alerts', 'x')).toBe(200);
    expect(await status('GET', '/org/8/alerts?since=0&wait=0')).toBe(200);
  });
});

/** An application that lets the cookie `session=right` use `/c`: its port, what it was asked. */
async function applicationForTest(): Promise<{ port: number; asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = [];
  const application = createServer((incoming, answer) => {
    asked.push(incoming);
    const { headers } = incoming;
    const uri = headers['x-forwarded-uri'];
    const isRight = headers.cookie === 'session=right' && /^\/c(\?|$)/.test(String(uri));
    answer.writeHead(isRight ? 204 : 403).end();
  });
  await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    application.closeAllConnections();
    application.close();
  });
  return { port: (application.address() as AddressInfo).port, asked };
}

describe('a sub-request to the application', () => {
  test.each([
    ['nginx', deployedNginx, inNginx],
    ['caddy', deployedCaddy, inCaddy],
  ] as const)('of %s decides who reads, publishes and opens a WebSocket', async (...kind) => {
    const [name, start, into] = kind;
    const application = await applicationForTest();
    const block = printedBlock(`${name} sub-request`).replaceAll(':3000', `:${application.port}`);
    const { port } = await start(server().port, into(block));
    const cookie = { Cookie: 'session=right' };
    const status = async (
      method: string,
      path: string,
      headers: Record<string, string> = {},
    ): Promise<number> =>
      (await request(port, method, path, { headers, ...(method === 'POST' ? { body: 'x' } : {}) }))
        .status;
    expect(await status('POST', '/c', cookie)).toBe(200);
    expect(await status('POST', '/c')).toBe(403);
    expect(await status('GET', '/c?since=0&wait=0', cookie)).toBe(200);
    expect(await status('GET', '/c?since=0&wait=0')).toBe(403);
    expect(await status('GET', '/c,d?since=0&wait=0', cookie)).toBe(403);
    expect(await status('GET', '/d?since=0&wait=0', cookie)).toBe(403);
    expect(await status('GET', '/-/openapi.json', cookie)).toBe(403);
    expect(await status('POST', '/-/publish', cookie)).toBe(403);
    for (const [headers, head] of [
      [cookie, 'HTTP/1.1 101'],
      [{}, 'HTTP/1.1 403'],
    ] as const) {
      const client = await RawConnection.open(port);
      onTestFinished(() => client.destroy());
      client.send(handshakeBytes(port, '/c', headers));
      await client.waitFor('an answer', () => client.text.includes('\r\n\r\n'));
      expect(client.text.slice(0, head.length)).toBe(head);
    }
    const methods = application.asked.map(({ headers }) => headers['x-forwarded-method']);
    expect(methods.join(' ')).toBe('POST POST GET GET GET GET GET POST GET GET');
  });
});
