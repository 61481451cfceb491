/**
 * Awkward data read back by independent readers: eventsource-parser, undici and Chromium must see
 * exactly what was published.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import {
  launchChromium,
  openPage,
  openUndici,
  servePage,
  stateUntil,
  type Received,
} from './support/sources.js';
import { KB60, VECTORS } from './support/vectors.js';
import { RawConnection, requestBytes, ResponseReader } from './support/wire.js';

/** As the format carries it. */
const normalised = (data: string): string => data.replaceAll(/\r\n|\r/g, '\n');

const expected = (vectors: readonly [string, string][]): Received[] =>
  vectors.map(([, data], i) => ({
    type: 'vector',
    data: normalised(data),
    lastEventId: String(i + 1),
  }));

async function publishAll(
  server: ServerUnderTest,
  vectors: readonly [string, string][] = VECTORS,
): Promise<void> {
  for (const [, data] of vectors) await server.publish('vectors', data, 'vector');
}

/** A reader of one stream: what it has seen, once it has seen that many. */
type Reader = (count: number) => Promise<readonly Received[]>;

/** eventsource-parser, fed with what the socket gives. */
async function readWithParser(url: string): Promise<Reader> {
  const port = Number(new URL(url).port);
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.destroy());
  const seen: Received[] = [];
  const parser = createParser({
    onEvent: ({ event, data, id }: EventSourceMessage) =>
      void seen.push({ type: event ?? 'message', data, lastEventId: id ?? '' }),
    onError: (error) => {
      throw error;
    },
  });
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = new ResponseReader((bytes) =>
    parser.feed(decoder.decode(bytes, { stream: true })),
  );
  connection.consume = (bytes) => reader.feed(bytes);
  connection.send(
    requestBytes(port, 'GET', url.slice(new URL(url).origin.length), {
      headers: { Accept: 'text/event-stream' },
    }),
  );
  await connection.waitFor('the head', () => reader.head);
  return async (count) => {
    await connection.waitFor(`${count} events`, () => seen.length >= count, 20_000);
    return seen;
  };
}

async function readWithUndici(url: string): Promise<Reader> {
  const source = openUndici(url);
  await stateUntil(source, 'open', (state) => state.readyState === 1);
  return async (count) =>
    (
      await stateUntil(
        source,
        `${count} events`,
        ({ received }) => received.length >= count,
        20_000,
      )
    ).received;
}

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

async function readWithChromium(url: string, origin: string): Promise<Reader> {
  const source = await openPage(browser, origin, url);
  await stateUntil(source, 'open', (state) => state.readyState === 1);
  return async (count) =>
    (
      await stateUntil(
        source,
        `${count} events`,
        ({ received }) => received.length >= count,
        20_000,
      )
    ).received;
}

const READERS: readonly [string, (url: string, origin: string) => Promise<Reader>][] = [
  ['eventsource-parser', readWithParser],
  ['undici', readWithUndici],
  ['Chromium', readWithChromium],
];

describe.each(READERS)('%s', (_name, open) => {
  async function setUp(): Promise<{
    server: ServerUnderTest;
    proxy: FaultProxy;
    read: (query?: string) => Promise<Reader>;
  }> {
    const origin = await servePage();
    const server = await hostedForTest({ 'allow-origin': origin, 'replay-bytes': '64MiB' });
    const proxy = await FaultProxy.start(server.port);
    return { server, proxy, read: (query = '') => open(`${proxy.url}/vectors${query}`, origin) };
  }

  test('reads every vector back as it was published', async () => {
    const { server, read } = await setUp();
    const until = await read();
    await publishAll(server);
    expect(await until(VECTORS.length)).toEqual(expected(VECTORS));
  });

  test('reads every vector back from a replay', async () => {
    const { server, read } = await setUp();
    await publishAll(server);
    // Position 0 is everything held; the readers send no header of their own, so it stands in the
    // URL.
    const until = await read('?last_event_id=0');
    expect(await until(VECTORS.length)).toEqual(expected(VECTORS));
  });

  test('reads every vector back when each byte comes in a segment of its own', async () => {
    const { server, proxy, read } = await setUp();
    // 60 KB a byte at a time is 60,000 segments; the next test cuts them a little less finely.
    const small = VECTORS.filter(([, data]) => data.length < 1000);
    proxy.faults.pieceBytes = 1;
    const until = await read();
    await publishAll(server, small);
    expect(await until(small.length)).toEqual(expected(small));
  });

  test('reads 60 KB of UTF-8 back in pieces of 7 bytes, which cut characters and chunks anywhere', async () => {
    const { server, proxy, read } = await setUp();
    const vectors: [string, string][] = [
      ['three-byte characters', '€'.repeat(KB60 / 3)],
      ['four-byte characters and breaks', '😀\r\n'.repeat(10_000 / 2)],
    ];
    proxy.faults.pieceBytes = 7;
    const until = await read();
    await publishAll(server, vectors);
    expect(await until(vectors.length)).toEqual(expected(vectors));
  });

  test('reads 60 KB events back after stalls in the middle of them', async () => {
    const { server, proxy, read } = await setUp();
    const until = await read();
    const published: [string, string][] = [];
    for (let stalls = 1; stalls <= 3; stalls++) {
      proxy.newest.pause();
      // The kernel takes some megabytes first. A refused byte is in the middle of an event: a cork
      // is a quarter of one.
      for (let stalled = 0; stalled === 0; stalled = (await server.stats()).lines.stalled) {
        const data = `${published.length}:${'z'.repeat(KB60)}:${published.length}`;
        published.push([`stall ${stalls}`, data]);
        await server.publish('vectors', data, 'vector');
      }
      proxy.newest.resume();
      expect(await until(published.length)).toEqual(expected(published));
    }
    const { counters } = await server.stats();
    expect(counters.lines_stalled_total).toBeGreaterThanOrEqual(3);
    expect(counters.gaps_total).toBe(0);
  });
});
