/**
 * Pages on a proxy's own origin, in Chromium: publish by fetch, EventSource, WebSocket and
 * long-poll, through each proxy of scripts/deploy/ and through the nginx that the documents print.
 */

import { readdirSync, readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import {
  deployedCaddyForTest,
  deployedHaproxyForTest,
  deployedNginxForTest,
  printedNginxForTest,
} from './support/deployed.js';
import { FRONT_HOST, sharedFrontBrowser } from './support/front-pages.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';

const openFront = sharedFrontBrowser();

/** The server's own first page, on the proxy's origin. */
function pageBehind(port: number): Promise<Page> {
  return openFront(`http://${FRONT_HOST}:${port}`);
}

/** What the page did and got, in the page. */
interface Seen {
  readonly origin: string;
  /** Statuses of the two publishes by fetch. */
  readonly published: readonly number[];
  /** Status and data of the long-poll. */
  readonly polled: readonly unknown[];
  /** Data that the EventSource got. */
  readonly streamed: readonly string[];
  /** Data that the WebSocket got, and answers to its publish. */
  readonly socket: readonly string[];
}

// Of the page, which the types of Node do not have.
declare const location: { readonly origin: string; readonly host: string };

/**
 * Runs in the page: opens a stream, a WebSocket and a long-poll, publishes by fetch what all of
 * them are to get, then by WebSocket, and by fetch again.
 */
async function useEverything(): Promise<Seen> {
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const publish = async (data: string): Promise<number> =>
    (await fetch('/c', { method: 'POST', body: data })).status;

  const streamed: string[] = [];
  const source = new EventSource('/c');
  source.addEventListener('message', (event) => streamed.push(event.data as string));
  const socket = new WebSocket(`ws://${location.host}/c`);
  const lines: string[] = [];
  let refused = '';
  socket.addEventListener('message', (event) => {
    for (const line of (event.data as string).trim().split('\n')) {
      const { data, ok, error } = JSON.parse(line) as Record<string, unknown>;
      lines.push(
        ok === undefined ? String(error === undefined ? data : JSON.stringify(error)) : 'ok',
      );
    }
  });
  socket.addEventListener('close', (event) => (refused = `closed, ${event.code}`));
  await until('the stream opens', () => source.readyState === 1);
  await until('the WebSocket opens', () => socket.readyState === 1 || refused !== '');
  if (refused !== '') throw new Error(`WebSocket: ${refused}`);
  const short = await fetch('/c?since=0&wait=0');
  const since = short.headers.get('Holdline-Position');
  const poll = fetch(`/c?wait=20&since=${since}`);

  const first = await publish('by fetch');
  const answer = await poll;
  const polled = [answer.status, ((await answer.json()) as { data: unknown }).data];
  await until('both got it', () => streamed.length >= 1 && lines.length >= 1);
  socket.send(JSON.stringify({ publish: { data: 'by WebSocket' }, ref: 1 }));
  await until('the stream and the socket got it', () => streamed.length >= 2 && lines.length >= 3);
  const second = await publish('again');
  await until('both got the last', () => streamed.length >= 3 && lines.length >= 4);
  source.close();
  socket.close();
  return {
    origin: location.origin,
    published: [first, second],
    polled,
    streamed,
    socket: lines.toSorted(),
  };
}

/** What is right. */
function expected(port: number): Seen {
  return {
    origin: `http://${FRONT_HOST}:${port}`,
    published: [200, 200],
    polled: [200, 'by fetch'],
    streamed: ['by fetch', 'by WebSocket', 'again'],
    socket: ['again', 'by WebSocket', 'by fetch', 'ok'],
  };
}

/** A server that anyone may publish to, and that knows the name of the proxy. */
function serverBehind(): Promise<ServerUnderTest> {
  return hostedForTest({ 'allowed-hosts': FRONT_HOST });
}

describe.each([
  ['nginx', deployedNginxForTest],
  ['haproxy', deployedHaproxyForTest],
  ['caddy', deployedCaddyForTest],
] as const)('%s', (_name, proxyForTest) => {
  test('lets a page of its own origin publish, and hear by stream, WebSocket and poll', async () => {
    const server = await serverBehind();
    const port = await proxyForTest(server.port);
    const page = await pageBehind(port);
    expect(await page.evaluate(useEverything)).toEqual(expected(port));
  });
});

/** Blocks of nginx configuration in a page of the documents. */
function nginxBlocksOf(path: string): [name: string, block: string][] {
  const text = readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```nginx\n([^]*?)^```$/gm)].map((match, nth) => [
    `${path}, block ${nth + 1}`,
    match[1]!,
  ]);
}

function pagesOfDocuments(): string[] {
  const root = new URL('../', import.meta.url);
  const all = readdirSync(root, { withFileTypes: true });
  const folders = ['.', ...all.filter(({ name }) => name === 'docs').map(() => 'docs')];
  return [
    'scripts/deploy/README.md',
    ...folders.flatMap((folder) =>
      readdirSync(new URL(`${folder}/`, root))
        .filter((name) => name.endsWith('.md'))
        .map((name) => (folder === '.' ? name : `${folder}/${name}`)),
    ),
  ];
}

describe('the nginx that is printed', () => {
  const blocks = pagesOfDocuments().flatMap(nginxBlocksOf);

  test.each(blocks)('in %s is enough as it stands', async (_name, block) => {
    const server = await serverBehind();
    const port = await printedNginxForTest(server.port, block);
    const page = await pageBehind(port);
    expect(await page.evaluate(useEverything)).toEqual(expected(port));
  });

  test.each([
    ['Host $host', 'proxy_set_header Host $http_host;', 'proxy_set_header Host $host;'],
    ['no Host', 'proxy_set_header Host $http_host;', ''],
  ])('is not enough with %s: publishing is 403, a WebSocket closes with 1006', async (...parts) => {
    const [, right, wrong] = parts;
    const server = await serverBehind();
    const block = blocks[0]![1];
    expect(block).toContain(right);
    const port = await printedNginxForTest(server.port, block.replace(right, wrong));
    const page = await pageBehind(port);
    const seen = await page.evaluate(async () => {
      const { status } = await fetch('/c', { method: 'POST', body: 'x' });
      const socket = new WebSocket(`ws://${location.host}/c`);
      const code = await new Promise<number>((resolve) => {
        socket.addEventListener('close', (event) => resolve(event.code));
      });
      return [status, code];
    });
    expect(seen).toEqual([403, 1006]);
  });
});
