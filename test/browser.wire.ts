/**
 * The worked example, end to end: badges on three pages stay equal although one connection is cut;
 * and a refused page comes back.
 */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest } from './support/hosted.js';
import { serverForTest } from './support/server.js';
import {
  launchChromium,
  openPackage,
  openPage,
  openUndici,
  servePage,
  stateUntil,
  type Source,
} from './support/sources.js';

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

/** How each client opens a stream from a page of `origin`. */
const CLIENTS: readonly [string, (stream: string, origin: string) => Promise<Source>][] = [
  ['Chromium', (stream, origin) => openPage(browser, origin, stream)],
  ['eventsource', (stream) => Promise.resolve(openPackage(stream))],
  ['undici', (stream) => Promise.resolve(openUndici(stream))],
];

const idsOf = (state: { received: readonly { lastEventId: string }[] }): string[] =>
  state.received.map((event) => event.lastEventId);

describe.each(CLIENTS)('%s', (_name, open) => {
  test('three pages on /notifications: B is cut off, comes back by itself and has everything once', async () => {
    const origin = await servePage();
    const server = await hostedForTest({ 'replay-events': 50, 'allow-origin': origin });
    const [proxyA, proxyB, proxyC] = [
      await FaultProxy.start(server.port),
      await FaultProxy.start(server.port),
      await FaultProxy.start(server.port),
    ];
    const [a, b, c] = await Promise.all(
      [proxyA, proxyB, proxyC].map((proxy) => open(`${proxy.url}/notifications`, origin)),
    );
    await Promise.all(
      [a!, b!, c!].map((page) => stateUntil(page, 'open', (state) => state.readyState === 1)),
    );

    for (let i = 1; i <= 4; i++)
      expect(await server.publish('notifications', `notification ${i}`, 'notice')).toBe(i);
    for (const page of [a!, b!, c!])
      await stateUntil(page, 'events 1 to 4', (state) => state.received.length === 4);

    // B's network is gone until 5 to 7 have been published.
    proxyB.refusing = true;
    proxyB.newest.cut();
    await stateUntil(
      b!,
      'B notices the cut',
      (state) => state.readyState === 0 && state.errors > 0,
    );
    for (let i = 5; i <= 7; i++)
      expect(await server.publish('notifications', `notification ${i}`, 'notice')).toBe(i);
    for (const page of [a!, c!])
      await stateUntil(page, 'events 5 to 7', (state) => state.received.length === 7);
    expect((await b!.state()).received).toHaveLength(4);
    proxyB.refusing = false;

    const again = await proxyB.waitForConnection(2);
    expect(again.requestHeader('Last-Event-ID')).toBe('4');
    await stateUntil(b!, 'B has caught up', (state) => state.received.length >= 7);
    // One more event: whatever came twice would have come before it.
    await server.publish('notifications', 'notification 8', 'notice');
    const states = await Promise.all(
      [a!, b!, c!].map((page) =>
        stateUntil(page, 'event 8', (state) => idsOf(state).includes('8')),
      ),
    );
    for (const state of states) {
      expect(state.received).toEqual(
        Array.from({ length: 8 }, (_, i) => ({
          type: 'notice',
          data: `notification ${i + 1}`,
          lastEventId: String(i + 1),
        })),
      );
      expect(state.badge).toBe('8');
    }
    expect(states.map((state) => state.opens)).toEqual([1, 2, 1]);
    expect((await server.stats()).counters.gaps_total).toBe(0);
  });

  test('a page that was refused while the server was full comes back by itself and is served', async () => {
    const origin = await servePage();
    const server = await hostedForTest({ 'max-connections': 2, 'allow-origin': origin });
    const full = await Promise.all([
      SseLine.open(server.port, '/notifications'),
      SseLine.open(server.port, '/notifications'),
    ]);
    onTestFinished(() => full.forEach((line) => line.close()));
    const page = await open(`${server.url}/notifications`, origin);
    await server.statsUntil(
      'it has been refused and has come back to be refused again',
      ({ counters }) => counters.refused_temporary_total >= 2,
    );
    const refused = await page.state();
    expect(refused.readyState, 'it has not given up').not.toBe(2);
    full[0].close();
    await server.statsUntil('it has a line', ({ counters }) => counters.lines_opened_total === 3);
    await server.publish('notifications', 'hello', 'notice');
    const state = await stateUntil(page, 'the event', ({ received }) => received.length === 1);
    expect(state.received[0]).toEqual({ type: 'notice', data: 'hello', lastEventId: '1' });
  });

  test('at the end of the server a client gets the end event and tries to come back', async () => {
    const origin = await servePage();
    const server = await serverForTest({ 'allow-origin': origin });
    const proxy = await FaultProxy.start(server.port);
    const page = await open(`${proxy.url}/notifications`, origin);
    await stateUntil(page, 'open', (state) => state.readyState === 1);
    expect(await server.stop()).toBe(0);
    const state = await stateUntil(
      page,
      'the end',
      ({ received, errors }) => received.length === 1 && errors > 0,
    );
    expect(state.received[0]).toMatchObject({
      type: 'end',
      data: '{"code":"draining","reconnect":true}',
    });
    await proxy.waitFor('it comes back', () => proxy.connections.length >= 2);
  });
});

// eventsource 4 ignores a block that has an id and no data (native-notes/eventsource-clients.md),
// so it has no position before its first event.
test.each(CLIENTS.filter(([name]) => name !== 'eventsource'))(
  '%s, cut off before its first event, comes back to what it missed: the prelude gave it a position',
  async (_name, open) => {
    const origin = await servePage();
    const server = await hostedForTest({ 'allow-origin': origin });
    await server.publish('notifications', 'before', 'notice');
    const proxy = await FaultProxy.start(server.port);
    const page = await open(`${proxy.url}/notifications`, origin);
    await stateUntil(page, 'open', (state) => state.readyState === 1);
    await proxy.waitFor('the prelude passed', () => proxy.newest.downBytes > 0);
    proxy.refusing = true;
    proxy.newest.cut();
    await stateUntil(page, 'the cut is noticed', (state) => state.errors > 0);
    await server.publish('notifications', 'missed', 'notice');
    proxy.refusing = false;
    const state = await stateUntil(page, 'the missed event', ({ received }) => received.length > 0);
    expect(state.received).toEqual([{ type: 'notice', data: 'missed', lastEventId: '2' }]);
  },
);

test('a page of an origin that is not listed reads nothing, in Chromium', async () => {
  const origin = await servePage();
  const server = await hostedForTest({ 'allow-origin': 'https://app.example' });
  const page = await openPage(browser, origin, `${server.url}/notifications`);
  await stateUntil(page, 'it gives up', (state) => state.readyState === 2);
  await server.publish('notifications', 'secret', 'notice');
  expect((await page.state()).received).toEqual([]);
});

test('a heartbeat moves the position of a quiet page: it comes back without a false gap', async () => {
  const origin = await servePage();
  const server = await hostedForTest({
    heartbeat: '100ms',
    'replay-events': 2,
    'replay-bytes': '1KiB',
    'allow-origin': origin,
  });
  const proxy = await FaultProxy.start(server.port);
  const page = await openPage(browser, origin, `${proxy.url}/notifications`);
  await stateUntil(page, 'open', (state) => state.readyState === 1);
  await server.publishBatch(
    'busy',
    Array.from({ length: 100 }, (_, i) => ({ data: i })),
  );
  const control = await SseLine.open(server.port, '/notifications', {
    headers: { 'Last-Event-ID': '0' },
  });
  onTestFinished(() => control.close());
  // Two heartbeats of a line that joined after the batch: the page's line, on the same wheel, has
  // had one with the head.
  await control.waitFor(
    'two heartbeats',
    () => control.blocks.filter((block) => block.comment === 'keepalive').length >= 2,
  );
  proxy.newest.cut();
  const again = await proxy.waitForConnection(2);
  expect(again.requestHeader('Last-Event-ID')).toBe('100');
  await server.publish('notifications', 'x', 'notice');
  const state = await stateUntil(page, 'the event', ({ received }) => received.length > 0);
  expect(state.received).toEqual([{ type: 'notice', data: 'x', lastEventId: '101' }]);
});
