/**
 * Pages over TLS and HTTP/2 through each proxy of scripts/deploy/: six connections do not bind, so
 * that ten streams, a WebSocket, a long-poll and a publish by fetch go on beside each other.
 */

import { connect as connectSecure } from 'node:http2';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DEPLOYED } from './support/deployed.js';
import { FRONT_HOST, sharedFrontBrowser } from './support/front-pages.js';
import { hostedForTest } from './support/hosted.js';

const openFront = sharedFrontBrowser();

/** More than the six connections that browsers open to one origin of HTTP/1.1. */
const STREAMS = 10;

// Of the page, which the types of Node do not have.
declare const location: { readonly host: string };

/** Runs in the page: everything at once, then one publish that all of it is to get. */
async function useMuch(streams: number): Promise<Record<string, unknown>> {
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    const deadline = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const sources = Array.from({ length: streams }, () => new EventSource('/org/7/alerts'));
  const streamed: unknown[] = [];
  for (const source of sources)
    source.addEventListener('message', ({ data }) => streamed.push(data as unknown));
  await until('all streams open', () => sources.every(({ readyState }) => readyState === 1));
  const socket = new WebSocket(`wss://${location.host}/org/7/alerts`);
  const messages: unknown[] = [];
  socket.addEventListener('message', (event) =>
    messages.push((JSON.parse(event.data as string) as { data: unknown }).data),
  );
  await until('the WebSocket opens or closes', () => socket.readyState !== 0);
  const short = await fetch('/org/7/alerts?since=0&wait=0');
  const poll = fetch(`/org/7/alerts?wait=20&since=${short.headers.get('Holdline-Position')}`);
  const published = await fetch('/org/7/alerts', { method: 'POST', body: 'one' });
  const polled = ((await (await poll).json()) as { data: unknown }).data;
  await until('all got it', () => streamed.length >= streams && messages.length > 0);
  const [page] = performance
    .getEntries()
    .filter(({ entryType }) => (entryType as string) === 'navigation') as unknown as {
    readonly nextHopProtocol: string;
  }[];
  return {
    protocol: page!.nextHopProtocol,
    published: published.status,
    polled,
    streamed,
    messages,
  };
}

describe.each(DEPLOYED)('%s', (_name, proxyForTest) => {
  test('carries ten streams, a WebSocket, a poll and a publish of one page over HTTP/2, and a body without a length', async () => {
    const server = await hostedForTest({ 'allowed-hosts': FRONT_HOST });
    const { tlsPort } = await proxyForTest(server.port);
    const page = await openFront(`https://${FRONT_HOST}:${tlsPort}`);
    expect(await page.evaluate(useMuch, STREAMS)).toEqual({
      protocol: 'h2',
      published: 200,
      polled: 'one',
      streamed: Array.from({ length: STREAMS }, () => 'one'),
      messages: ['one'],
    });

    // A body that has no length is handed on, once.
    const session = connectSecure(`https://127.0.0.1:${tlsPort}`, { rejectUnauthorized: false });
    onTestFinished(() => session.destroy());
    const stream = session.request({
      ':method': 'POST',
      ':path': '/pieces',
      ':authority': `${FRONT_HOST}:${tlsPort}`,
    });
    stream.write('by ');
    stream.end('pieces');
    const status = await new Promise((resolve, reject) => {
      stream.on('response', (headers) => resolve(headers[':status'])).on('error', reject);
    });
    expect(status).toBe(200);
    const held = await server.request('GET', '/pieces?since=0&limit=10&wait=0');
    expect((JSON.parse(held.text) as { data: string }[]).map(({ data }) => data)).toEqual([
      'by pieces',
    ]);
  });
});
