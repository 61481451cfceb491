/**
 * The browser client in Chromium: over streams, and behind proxies that hold them back or block
 * them.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { HoldlineOptions } from '../dist/browser/client.js';
import { SseLine } from './support/line.js';
import { FaultProxy, type Meddling } from './support/proxy.js';
import { hostedForTest, type HostedServer } from './support/hosted.js';
import { serverForTest, type Flags } from './support/server.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS } from './support/wire.js';

const CLIENT = readFileSync(new URL('../dist/browser/client.js', import.meta.url));

/** Listens, in a page, and notes what it is told. */
const LISTEN = `async (client, stream, options) => {
  const { HoldlineSource } = await import(client);
  const events = [], gaps = [], ends = [], opens = [], errors = [];
  const startedMs = performance.now();
  const source = new HoldlineSource(stream, { ...options, onGap: (gap) => gaps.push(gap), onEnd: (end) => ends.push(end) });
  source.onopen = () => opens.push({ transport: source.transport, afterMs: performance.now() - startedMs });
  source.onerror = () => errors.push(source.readyState);
  for (const type of ['message', 'notice']) {
    source.addEventListener(type, ({ data, lastEventId, channel, origin }) => events.push({ type, data, lastEventId, channel, origin }));
  }
  window.source = source;
  window.state = () => ({ readyState: source.readyState, transport: source.transport, events, gaps, ends, opens, errors });
}`;

/** What a page has been told. */
interface State {
  readonly readyState: number;
  readonly transport: string;
  readonly events: readonly {
    type: string;
    data: string;
    lastEventId: string;
    channel: string;
    origin: string;
  }[];
  readonly gaps: readonly { after: number | null; before: number | null }[];
  readonly ends: readonly { code: string; reconnect: boolean }[];
  /** The transport at each `open`, and how long after the start it was. */
  readonly opens: readonly { transport: string; afterMs: number }[];
  /** The readyState at each `error`. */
  readonly errors: readonly number[];
}

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

/**
 * Serves an empty page and the client on an origin of their own until the running test is over;
 * returns the origin.
 */
async function servePage(): Promise<string> {
  const server = createServer(({ url }, response) => {
    const isClient = url === '/client.js';
    response.setHeader('Content-Type', isClient ? 'text/javascript' : 'text/html');
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.end(isClient ? CLIENT : '<!doctype html><title>client</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A page that runs the client. */
class ClientPage {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
  }

  /** The client comes from `origin`; so does the page, unless it is to be of another origin. */
  static async open(
    origin: string,
    stream: string,
    options: HoldlineOptions = {},
    pageOrigin = origin,
  ): Promise<ClientPage> {
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    // A page without a policy: the server's own at `/` runs no script.
    await page.goto(`${pageOrigin}/-/health`);
    await page.evaluate(
      `(${LISTEN})(${JSON.stringify(`${origin}/client.js`)}, ${JSON.stringify(stream)}, ${JSON.stringify(options)})`,
    );
    return new ClientPage(page);
  }

  state(): Promise<State> {
    return this.page.evaluate<State>('state()');
  }

  /** Asks for the state until the condition holds. */
  async until(
    what: string,
    condition: (state: State) => boolean,
    deadlineMs = DEADLINE_MS,
  ): Promise<State> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      const state = await this.state();
      if (condition(state)) return state;
      if (performance.now() > deadline)
        throw new Error(`not within ${deadlineMs} ms: ${what}; ${JSON.stringify(state)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

const textsOf = (state: State): string[] => state.events.map(({ data }) => data);
const idsOf = (state: State): number[] =>
  state.events.map(({ lastEventId }) => Number(lastEventId));

/**
 * A page's origin, a server that lets it read, a proxy in front of that, and a page that listens
 * through the proxy.
 */
interface Listening<S extends ServerUnderTest> {
  readonly server: S;
  readonly proxy: FaultProxy;
  readonly client: ClientPage;
  readonly origin: string;
}

interface ListeningOptions {
  readonly flags?: Flags;
  readonly meddling?: Meddling;
}

const listening = (
  path: string,
  options?: HoldlineOptions,
  more?: ListeningOptions,
): Promise<Listening<HostedServer>> => listeningTo(hostedForTest, path, options, more);

async function listeningTo<S extends ServerUnderTest>(
  start: (flags: Flags) => Promise<S>,
  path: string,
  options: HoldlineOptions = {},
  { flags = {}, meddling }: ListeningOptions = {},
): Promise<Listening<S>> {
  const origin = await servePage();
  const server = await start({ 'allow-origin': origin, ...flags });
  const proxy = await FaultProxy.start(server.port);
  proxy.faults.meddling = meddling;
  const client = await ClientPage.open(origin, proxy.url + path, options);
  return { server, proxy, client, origin };
}

describe('over a stream', () => {
  test('events come with type, text, id, channel and origin, those of two channels in the order of their ids', async () => {
    const { server, proxy, client } = await listening('/a,b');
    await client.until('open', ({ readyState }) => readyState === 1);
    await server.publish('a', 'one\r\nline more', 'notice');
    await server.post('b', '{"n": 2, "deep": [true, "é"]}', {
      headers: { 'Content-Type': 'application/json' },
    });
    await server.publish('a', '3');
    const state = await client.until('three events', ({ events }) => events.length === 3);
    const origin = proxy.url;
    expect(state).toMatchObject({ transport: 'sse', gaps: [], ends: [], errors: [] });
    expect(state.events).toEqual([
      { type: 'notice', data: 'one\r\nline more', lastEventId: '1', channel: 'a', origin },
      {
        type: 'message',
        data: '{"n": 2, "deep": [true, "é"]}',
        lastEventId: '2',
        channel: 'b',
        origin,
      },
      { type: 'message', data: '3', lastEventId: '3', channel: 'a', origin },
    ]);
    expect(proxy.connections, 'one request, without a preflight').toHaveLength(1);
  });

  test('a page that is cut off again and again has every event once, in order', async () => {
    const { server, proxy, client } = await listening('/a');
    proxy.faults.pieceBytes = 7;
    await client.until('open', ({ readyState }) => readyState === 1);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 40; i++) await server.publish('a', `${round} ${i} – é 漢 🎈`);
      const passed = proxy.newest;
      const connections = proxy.connections.length;
      // Somewhere in the middle of an event.
      await proxy.waitFor('some of it has come', () => passed.downBytes > 1000);
      passed.cut();
      await proxy.waitForConnection(connections + 1);
    }
    const last = await server.publish('a', 'last');
    const state = await client.until(
      'the last event',
      (seen) => idsOf(seen).includes(last),
      10_000,
    );
    expect(idsOf(state)).toEqual(server.published.get('a'));
    expect(state.gaps).toEqual([]);
  });

  test('what a server that was killed has taken with it is told as a gap by the one that takes its place', async () => {
    const { server, proxy, client, origin } = await listeningTo(
      serverForTest,
      '/a',
      {},
      { flags: { 'first-id': false } },
    );
    await client.until('open', ({ readyState }) => readyState === 1);
    const before = await server.publish('a', 'before');
    await client.until('the event', ({ events }) => events.length === 1);
    await server.stop('SIGKILL');
    await client.until('the loss', ({ errors }) => errors.length > 0);
    const next = await serverForTest({ 'allow-origin': origin, 'first-id': false });
    proxy.targetPort = next.port;
    await client.until(
      'open again',
      ({ readyState, opens }) => readyState === 1 && opens.length > 1,
    );
    await next.publish('a', 'after');
    const state = await client.until('the next event', ({ events }) => events.length === 2);
    expect(textsOf(state)).toEqual(['before', 'after']);
    expect(state.gaps).toHaveLength(1);
    expect(state.gaps[0]!.after).toBe(before);
    expect(proxy.streamRequests).toBeGreaterThan(1);
  });

  test('at the end of the server the page is told, and tries to come back', async () => {
    const { server, proxy, client } = await listening('/a');
    await client.until('open', ({ readyState }) => readyState === 1);
    // A browser may have a spare connection open, which never carries a request.
    const before = proxy.connections.length;
    await server.drain();
    const state = await client.until(
      'the end',
      ({ ends, errors }) => ends.length > 0 && errors.length > 0,
    );
    expect(state).toMatchObject({ readyState: 0, ends: [{ code: 'draining', reconnect: true }] });
    await proxy.waitFor(
      'it tries to come back',
      () => proxy.connections.length > before || undefined,
    );
  });

  test('a deleted channel closes it for good, and one that comes later is closed by the 204', async () => {
    const { server, proxy, client, origin } = await listening('/a');
    await client.until('open', ({ readyState }) => readyState === 1);
    expect((await server.request('DELETE', '/a', { headers: server.opsHeaders })).status).toBe(200);
    const closed = { readyState: 2, errors: [2] };
    expect(await client.until('closed', ({ readyState }) => readyState === 2)).toMatchObject({
      ...closed,
      ends: [{ code: 'deleted', reconnect: false }],
    });
    const late = await ClientPage.open(origin, `${proxy.url}/a`);
    expect(await late.until('closed', ({ readyState }) => readyState === 2)).toMatchObject({
      ...closed,
      opens: [],
      ends: [],
    });
  });

  test('a stream whose network has vanished without a word is given up after the time of silence', async () => {
    const { server, proxy, client } = await listening(
      '/a',
      { silentMs: 600 },
      { flags: { heartbeat: '200ms' } },
    );
    await server.publish('a', 'one');
    await client.until('open', ({ readyState }) => readyState === 1);
    const first = proxy.newest;
    first.silence();
    const two = await server.publish('a', 'two');
    const state = await client.until('the event', (seen) => idsOf(seen).includes(two));
    expect(state.gaps).toEqual([]);
    expect(state.errors).toContain(0);
    expect(textsOf(state).filter((text) => text === 'two')).toHaveLength(1);
  });

  test('a page that was refused while the server was full comes back by itself, over a stream', async () => {
    const origin = await servePage();
    const server = await hostedForTest({ 'max-connections': 1, 'allow-origin': origin });
    const other = await SseLine.open(server.port, '/a');
    onTestFinished(() => other.close());
    const client = await ClientPage.open(origin, `${server.url}/a`);
    await server.statsUntil(
      'refused twice',
      ({ counters }) => counters.refused_temporary_total >= 2,
    );
    expect(await client.state()).toMatchObject({ readyState: 0, opens: [] });
    other.close();
    expect(await client.until('open', ({ readyState }) => readyState === 1)).toMatchObject({
      transport: 'sse',
    });
  });

  test('a header goes with every request, to another origin after a preflight', async () => {
    const { server, proxy, client } = await listening('/a', {
      headers: { Authorization: 'Bearer x' },
    });
    await client.until('open', ({ readyState }) => readyState === 1);
    await server.publish('a', 'one');
    await client.until('the event', ({ events }) => events.length === 1);
    expect(proxy.connections[0]!.requestHead).toMatch(/^OPTIONS /);
  });

  test('a page that closes it is gone from the server, and is told nothing more', async () => {
    const { server, client } = await listening('/a');
    await client.until('open', ({ readyState }) => readyState === 1);
    await client.page.evaluate('source.close()');
    await server.statsUntil('no line is open', ({ lines }) => lines.open === 0);
    expect(await client.state()).toMatchObject({ readyState: 2, errors: [] });
  });
});

describe('where streams do not get through', () => {
  const FIRST_BYTE_MS = 500;

  test.each<[string, Meddling]>([
    ['passes heads and keeps bodies', 'hold-body'],
    ['keeps whole responses', 'hold'],
  ])(
    'a proxy that %s: long-polls at once when the time for the first byte is over, everything once and in order',
    async (_what, meddling) => {
      const { server, proxy, client } = await listening(
        '/a,b',
        { firstByteMs: FIRST_BYTE_MS, since: 0 },
        { meddling, flags: { 'replay-events': 5000 } },
      );
      // Published while the stream is being held back.
      await proxy.waitFor('the stream was asked for', () => proxy.streamRequests === 1);
      await server.publish('a', 'during', 'notice');
      const opened = await client.until('open', ({ readyState }) => readyState === 1);
      expect(opened).toMatchObject({ transport: 'long-poll', errors: [] });
      expect(opened.opens[0]!.afterMs).toBeGreaterThanOrEqual(FIRST_BYTE_MS);
      expect(opened.opens[0]!.afterMs, 'one poll later').toBeLessThan(4 * FIRST_BYTE_MS);
      for (let i = 0; i < 30; i++) await server.publish(i % 2 ? 'a' : 'b', `event ${i}`);
      await server.publishBatch(
        'b',
        Array.from({ length: 1500 }, (_, i) => ({ event: 'notice', data: { i } })),
      );
      const last = await server.publish('a', 'last');
      const state = await client.until('the last event', (seen) => idsOf(seen).includes(last));
      expect(idsOf(state)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
      expect(state.events[0]).toMatchObject({ type: 'notice', data: 'during', channel: 'a' });
      expect(state.events[100]).toMatchObject({
        type: 'notice',
        channel: 'b',
        data: expect.stringMatching(/^\{"i":\d+\}$/) as string,
      });
      expect(state).toMatchObject({ gaps: [], errors: [], opens: [{ transport: 'long-poll' }] });
      expect(proxy.streamRequests).toBe(1);
    },
  );

  test('a stream that had come through is continued by long-polls where it was', async () => {
    const { server, proxy, client } = await listening('/a', { firstByteMs: FIRST_BYTE_MS });
    await client.until('open', ({ readyState }) => readyState === 1);
    for (let i = 1; i <= 3; i++) await server.publish('a', `${i}`);
    await client.until('three events', ({ events }) => events.length === 3);
    // The page has moved to a network with such a proxy.
    proxy.faults.meddling = 'hold-body';
    proxy.newest.cut();
    for (let i = 4; i <= 6; i++) await server.publish('a', `${i}`);
    await client.until('long-polls', ({ opens }) => opens.at(-1)!.transport === 'long-poll');
    for (let i = 7; i <= 9; i++) await server.publish('a', `${i}`);
    const state = await client.until('nine events', ({ events }) => events.length >= 9);
    expect(textsOf(state)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect(state.gaps).toEqual([]);
  });

  test('a proxy that cuts every stream: long-polls after two failures', async () => {
    const { server, proxy, client } = await listening('/a', {}, { meddling: 'cut-streams' });
    // The pause is the client's own, three seconds and up: the server has told it nothing.
    await client.until('open', ({ readyState }) => readyState === 1, 10_000);
    await proxy.waitFor('the second stream is cut', () => proxy.streamRequests >= 2);
    for (const text of ['one', 'two', 'three']) await server.publish('a', text);
    const state = await client.until('three events', ({ events }) => events.length === 3);
    expect(textsOf(state)).toEqual(['one', 'two', 'three']);
    expect(state).toMatchObject({ errors: [0], opens: [{ transport: 'long-poll' }] });
  });

  test('a proxy that answers streams with a page of its own, on the page’s origin: long-polls at once', async () => {
    const server = await hostedForTest();
    const proxy = await FaultProxy.start(server.port);
    proxy.faults.meddling = 'block-streams';
    const client = await ClientPage.open(await servePage(), '/a', {}, proxy.url);
    await client.until('open', ({ readyState }) => readyState === 1);
    await server.publish('a', 'one');
    const state = await client.until('the event', ({ events }) => events.length === 1);
    expect(state).toMatchObject({
      transport: 'long-poll',
      errors: [],
      events: [{ data: 'one', lastEventId: '1', channel: 'a' }],
    });
  });

  test('long-polls outlive the server: what the next one cannot know is told as a gap', async () => {
    const { server, proxy, client, origin } = await listeningTo(
      serverForTest,
      '/a',
      { transport: 'long-poll' },
      { flags: { 'first-id': false } },
    );
    await client.until('open', ({ readyState }) => readyState === 1);
    const before = await server.publish('a', 'before');
    await client.until('the event', ({ events }) => events.length === 1);
    await server.stop('SIGKILL');
    await client.until('the loss', ({ errors }) => errors.length > 0);
    const next = await serverForTest({ 'allow-origin': origin, 'first-id': false });
    proxy.targetPort = next.port;
    const after = await next.publish('a', 'after');
    const state = await client.until('the next event', ({ events }) => events.length === 2, 15_000);
    expect(textsOf(state)).toEqual(['before', 'after']);
    expect(state.gaps).toEqual([{ after: before, before: after }]);
  });
});
