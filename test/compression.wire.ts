/**
 * Compressed streams and polls on a real server: what clients of each make decode, also when they
 * join in the middle and at the end, through proxies, and beside a plain line.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { DecompressionStream, TextDecoderStream } from 'node:stream/web';
import { gunzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { acceptsGzip } from '../src/http/content-coding.js';
import {
  deployedCaddyForTest,
  deployedHaproxyForTest,
  deployedNginxForTest,
} from './support/deployed.js';
import { caddyForTest } from './support/front.js';
import { hostedForTest } from './support/hosted.js';
import { SseLine } from './support/line.js';
import { serverForTest, type TestServer } from './support/server.js';
import {
  launchChromium,
  openPackage,
  openPage,
  openUndici,
  servePage,
  stateUntil,
  type Source,
} from './support/sources.js';
import { ticks } from './support/ticks.js';

const SHARED = { compress: 'shared' };
const GZIP = { 'Accept-Encoding': 'gzip' };
/** More than a dictionary holds, so that lines come in step. */
const EVENTS = 60;

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

async function publishTicks(server: TestServer, seed: number, count: number): Promise<string[]> {
  const next = ticks(seed);
  const sent = Array.from({ length: count }, next);
  for (const data of sent) await server.publish('c', data);
  return sent;
}

/** Waits for a heard count, and returns the data. */
async function dataOf(source: Source, count: number): Promise<string[]> {
  const { received } = await stateUntil(
    source,
    `${count} events`,
    (state) => state.received.length >= count,
  );
  return received.slice(0, count).map(({ data }) => data);
}

function curl(url: string): Promise<{ code: unknown; text: string }> {
  const given = ['-sSN', '--compressed', '-H', 'Accept: text/event-stream', url];
  return new Promise((resolve) => {
    execFile('curl', given, (error, text) => resolve({ code: error?.code ?? 0, text }));
  });
}

const CLIENTS: readonly [string, (stream: string, origin: string) => Promise<Source>][] = [
  ['Chromium', (stream, origin) => openPage(browser, origin, stream)],
  ['eventsource', (stream) => Promise.resolve(openPackage(stream))],
  ['undici', (stream) => Promise.resolve(openUndici(stream))],
];

describe.each(CLIENTS)('%s', (_name, open) => {
  test('reads from the beginning and from the middle what a plain line reads, to the end event', async () => {
    const origin = await servePage();
    const server = await serverForTest({ ...SHARED, 'allow-origin': origin });
    const plain = await SseLine.open(server.port, '/c');
    onTestFinished(() => plain.close());
    const first = await open(`${server.url}/c`, origin);
    await stateUntil(first, 'open', (state) => state.readyState === 1);
    const sent = await publishTicks(server, 1, EVENTS);
    const second = await open(`${server.url}/c?last=5`, origin);
    await stateUntil(second, 'open', (state) => state.readyState === 1);
    sent.push(...(await publishTicks(server, 2, EVENTS)));
    expect(await dataOf(first, 2 * EVENTS)).toEqual(sent);
    expect(await dataOf(second, EVENTS + 5)).toEqual(sent.slice(-EVENTS - 5));
    expect(plain.events.map(({ data }) => data)).toEqual(sent);
    const { counters } = await server.stats();
    expect(counters.gaps_total).toBe(0);
    // Both were in step soon, so that most was written in a quarter of its bytes.
    expect(counters.compress_saved_bytes_total).toBeGreaterThan(1.8 * EVENTS * 200 * 0.7);
  });
});

test('curl --compressed reads a stream to its end event, and exits without an error', async () => {
  const server = await serverForTest(SHARED);
  const sent = await publishTicks(server, 3, 5);
  const reading = curl(`${server.url}/c?last=5`);
  await server.statsUntil('the line is open', ({ lines }) => lines.open === 1);
  sent.push(...(await publishTicks(server, 4, 50)));
  await server.stop();
  const { code, text } = await reading;
  expect(code).toBe(0);
  expect([...text.matchAll(/^data: (\{"symbol".*)$/gm)].map((match) => match[1])).toEqual(sent);
  expect(text).toContain('event: end\ndata: {"code":"draining"');
});

test.each([
  ['nginx', deployedNginxForTest],
  ['haproxy', deployedHaproxyForTest],
  ['caddy', deployedCaddyForTest],
])('%s passes a compressed stream on as it comes', async (_name, front) => {
  const server = await serverForTest({ ...SHARED, 'allowed-hosts': ['localhost', '127.0.0.1'] });
  const proxyPort = await front(server.port);
  const source = openUndici(`http://localhost:${proxyPort}/c`);
  await server.statsUntil('the line is open', ({ lines }) => lines.open === 1);
  const sent = await publishTicks(server, 5, EVENTS);
  expect(await dataOf(source, EVENTS)).toEqual(sent);
  const { counters } = await server.stats();
  expect(counters.compress_saved_bytes_total).toBeGreaterThan(EVENTS * 200 * 0.5);
});

test('DecompressionStream hands over each event as it comes, and what was there at the end', async () => {
  const server = await serverForTest(SHARED);
  const answered = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { Accept: 'text/event-stream', ...GZIP };
    get(`${server.url}/c`, { headers }, resolve).on('error', reject);
  });
  expect(answered.headers['content-encoding']).toBe('gzip');
  const decoded = Readable.toWeb(answered)
    .pipeThrough(new DecompressionStream('gzip'))
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let text = '';
  const readUntil = async (found: () => boolean): Promise<void> => {
    while (!found()) {
      const { value, done } = await decoded.read();
      if (done) throw new Error('the stream has ended');
      text += value;
    }
  };
  const dataOfText = (): string[] =>
    [...text.matchAll(/^data: (\{"symbol".*)$/gm)].map((match) => match[1]!);
  const sent: string[] = [];
  for (let i = 0; i < EVENTS; i++) {
    sent.push(...(await publishTicks(server, i, 1)));
    // Before the next one is published.
    await readUntil(() => dataOfText().length === sent.length);
  }
  expect(dataOfText()).toEqual(sent);
  server.signal('SIGTERM');
  await readUntil(() => text.includes('event: end\ndata: {"code":"draining"'));
  // There is no trailer (docs/compression.md). Node 24 says so in an error without words.
  await expect(decoded.read()).rejects.toBeInstanceOf(Error);
});

test('every answer of a channel says by which fields it varies', async () => {
  const server = await hostedForTest({
    ...SHARED,
    'allow-origin': 'https://app.example',
    'max-lines-per-address': 1,
    'trusted-proxies': '127.0.0.1',
  });
  await server.publish('c', 'x');
  await server.publish('gone', 'x');
  await server.request('DELETE', '/gone', { headers: server.opsHeaders });
  const varies = async (path: string, headers: Record<string, string> = {}): Promise<unknown> => {
    const answer = await server.request('GET', path, { headers });
    return [answer.status, answer.headers.get('vary')];
  };
  const events = { Accept: 'text/event-stream' };
  const page = { Accept: 'text/html' };
  const both = 'Accept, Accept-Encoding';
  const origin = { Origin: 'https://app.example' };
  expect(await varies('/c?since=0&wait=0')).toEqual([200, `Origin, ${both}`]);
  expect(await varies('/c?since=0&wait=0', GZIP)).toEqual([200, `Origin, ${both}`]);
  expect(await varies('/c?since=0&wait=0', origin)).toEqual([200, `Origin, ${both}`]);
  expect(await varies('/c?since=1&wait=0')).toEqual([204, `Origin, ${both}`]);
  expect(await varies('/gone', events), 'a deleted channel').toEqual([204, `Origin, ${both}`]);
  expect(await varies('/c?since=x')).toEqual([400, 'Origin, Accept']);
  expect(await varies('/c?since=x', page), 'as a page').toEqual([400, 'Origin, Accept']);
  expect(await varies('/-/nonesuch', page)).toEqual([404, 'Origin, Accept']);
  const from = { 'X-Forwarded-For': '192.0.2.1' };
  const line = await SseLine.open(server.port, '/c', { headers: from });
  onTestFinished(() => line.close());
  const refused = await varies('/c?client=eventsource', { ...events, ...from });
  expect(refused, 'an EventSource that is refused for now').toEqual([200, 'Origin, Accept']);
});

test('Go hands over what is stored as it comes: the first block, heartbeats, what does not compress', async () => {
  const server = await serverForTest({ ...SHARED, heartbeat: '200ms' });
  // Without the client's header caddy asks for gzip itself, and decompresses.
  const front = await caddyForTest(server.port, ['header_up -Accept-Encoding']);
  const request = get(`${front}/c`, { headers: { Accept: 'text/event-stream' } });
  onTestFinished(() => void request.destroy());
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  expect(answer.headers['content-encoding']).toBeUndefined();
  let text = '';
  answer.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  await expect.poll(() => text, { message: 'the first block' }).toContain('retry:');
  const heard = text.length;
  await expect.poll(() => text.length, { message: 'a heartbeat' }).toBeGreaterThan(heard);
  const noise = randomBytes(300).toString('base64');
  await server.publish('c', noise);
  await expect.poll(() => text, { message: 'the event' }).toContain(noise);
});

test('a stream is compressed only where the client takes gzip, on one channel, and the option is on', async () => {
  const server = await serverForTest(SHARED);
  const off = await serverForTest();
  const codingOf = async (at: TestServer, path: string, headers: Record<string, string>) => {
    const accept = { Accept: 'text/event-stream', ...headers };
    const answer = await at.request('HEAD', path, { headers: accept });
    expect(answer.headers.get('vary')).toContain('Accept-Encoding');
    return answer.headers.get('content-encoding');
  };
  expect(await codingOf(server, '/c', GZIP)).toBe('gzip');
  expect(await codingOf(server, '/c', {})).toBeUndefined();
  expect(await codingOf(server, '/c,d', GZIP)).toBeUndefined();
  expect(await codingOf(off, '/c', GZIP)).toBeUndefined();
});

test('--allow-transform leaves no-transform out', async () => {
  const server = await serverForTest({ 'allow-transform': true });
  const answer = await server.request('HEAD', '/c', { headers: { Accept: 'text/event-stream' } });
  expect(answer.headers.get('cache-control')).toBe('no-cache');
});

test('the body of a poll is compressed when that is worth it, once for all who ask for it', async () => {
  const server = await serverForTest(SHARED);
  const sent = await publishTicks(server, 6, 10);
  const path = '/c?since=0&limit=100&wait=0';
  const plain = await server.request('GET', path);
  for (let i = 0; i < 2; i++) {
    const answer = await server.request('GET', path, { headers: GZIP });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(gunzipSync(answer.body).toString()).toBe(plain.text);
  }
  expect(plain.text).toContain(JSON.stringify(sent[9]).slice(1, -1));
  const one = await server.request('GET', '/c?last=1&wait=0', { headers: GZIP });
  expect(one.headers.get('content-encoding'), 'too small').toBeUndefined();
  expect((await server.stats()).counters.compress_blocks_total).toBe(1);
});

test.each(['close', 'keep-alive, close'])(
  'the compressed body of a poll arrives whole on a connection that asks for %s',
  async (connection) => {
    const server = await serverForTest(SHARED);
    await publishTicks(server, 6, 10);
    const path = '/c?since=0&limit=100&wait=0';
    const plain = await server.request('GET', path);
    const headers = { ...GZIP, Connection: connection };
    const answer = await server.request('GET', path, { headers });
    const coding = answer.headers.get('content-encoding');
    expect([answer.headers.get('connection'), coding]).toEqual(['close', 'gzip']);
    expect(gunzipSync(answer.body).toString()).toBe(plain.text);
  },
);

test.each([
  ['gzip', true],
  ['gzip, deflate, br, zstd', true],
  ['br;q=1.0, GZIP;q=0.5', true],
  ['*', true],
  ['*;q=0.1, gzip;q=0', false],
  ['identity;q=0, *;q=0.5', true],
  ['x-gzip', true],
  ['br', false],
  ['gzip;q=0.000', false],
  ['gzip;q=many', false],
  ['', false],
])('Accept-Encoding: %s', (field, takes) => {
  expect(acceptsGzip(field)).toBe(takes);
});
