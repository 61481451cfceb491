/**
 * What becomes of a page's lines through each proxy of scripts/deploy/, over HTTP/2: replay after a
 * cut, heartbeats, a gap, a refusal and the return, and the end of the server before the next one.
 */

import type { Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DEPLOYED, type Change } from './support/deployed.js';
import { FRONT_HOST, sharedFrontBrowser } from './support/front-pages.js';
import { freePort } from '../bench/ports.js';
import { SseLine } from './support/line.js';
import { FaultProxy } from './support/proxy.js';
import { sharedHosted } from './support/hosted.js';
import { serverForTest } from './support/server.js';
import { listenIn, stateUntil } from './support/sources.js';

const openFront = sharedFrontBrowser();

/** Each proxy looks after the server more often than it would. */
const quick: Change = (text) =>
  text.replace('inter 1s', 'inter 20ms').replace('health_interval 2s', 'health_interval 20ms');

/** Runs in the page: reads a stream until it has this many comments, which heartbeats are. */
async function heartbeatsIn(count: number): Promise<number> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), 5_000);
  const headers = { Accept: 'text/event-stream' };
  const answer = await fetch('/quiet', { headers, signal: abort.signal });
  let text = '';
  const seen = (): number => text.match(/^:/gm)?.length ?? 0;
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  while (seen() < count) text += (await reader.read()).value ?? '';
  clearTimeout(timer);
  abort.abort();
  return seen();
}

/** Data of what a page was given by one stream, with the type where it is not a message. */
async function heardBy(page: Page, path: string, count: number): Promise<string[]> {
  const { received } = await stateUntil(
    await listenIn(page, path),
    'it has been told everything',
    (state) => state.received.length >= count,
  );
  return received.map(({ type, data }) => (type === 'message' ? data : type));
}

const server = sharedHosted({
  'allowed-hosts': FRONT_HOST,
  heartbeat: '100ms',
  'replay-events': 3,
  retry: '300ms',
});

describe.each(DEPLOYED)('%s', (name, proxyForTest) => {
  test('after a cut a page gets what it missed, each once; heartbeats and a gap come through', async () => {
    const between = await FaultProxy.start(server().port);
    const { tlsPort } = await proxyForTest(between.port);
    const page = await openFront(`https://${FRONT_HOST}:${tlsPort}`);
    const source = await listenIn(page, `/${name}`);
    await stateUntil(source, 'a line', ({ opens }) => opens === 1);
    const id = await server().publish(name, 'one');
    await stateUntil(source, 'the first', ({ received }) => received.length === 1);
    for (const connection of between.connections) connection.cut();
    await server().publish(name, 'two');
    await server().publish(name, 'three');
    const after = await stateUntil(source, 'all', ({ received }) => received.length >= 3);
    expect(after.received.map(({ data }) => data)).toEqual(['one', 'two', 'three']);
    // A proxy may ask again on a connection that it has made for a health check.
    const asked = between.connections.map(({ requestText }) => requestText).join('');
    expect(asked).toMatch(new RegExp(`^last-event-id: ${id}\r$`, 'im'));

    expect(await page.evaluate(heartbeatsIn, 2)).toBeGreaterThanOrEqual(2);

    const channel = `${name}-gap`;
    for (const data of ['a', 'b', 'c', 'd', 'e']) await server().publish(channel, data);
    const [first] = server().published.get(channel)!;
    expect(await heardBy(page, `/${channel}?since=${first}`, 4)).toEqual(['gap', 'c', 'd', 'e']);
  });

  test('a page that is refused comes back, gets its line, and returns to the next server', async () => {
    const port = await freePort();
    const flags = { 'allowed-hosts': FRONT_HOST, 'max-connections': 1, drain: '200ms', port };
    const former = await serverForTest(flags);
    const { tlsPort } = await proxyForTest(former.port, quick);
    const full = await SseLine.open(former.port, '/c');
    onTestFinished(() => full.close());
    const page = await openFront(`https://${FRONT_HOST}:${tlsPort}`);
    const source = await listenIn(page, '/c');
    await former.statsUntil(
      'it has been refused, and again',
      ({ counters }) => counters.refused_temporary_total >= 2,
    );
    full.close();
    await former.statsUntil('it has a line', ({ counters }) => counters.lines_opened_total === 2);
    await former.publish('c', 'of the first');
    await stateUntil(source, 'the event', ({ received }) => received.at(-1)?.type === 'message');

    expect(await former.stop()).toBe(0);
    // Where no server is, the proxy answers, and the page asks it again and again.
    const { opens } = await source.state();
    const away = await stateUntil(source, 'answers of the proxy', (now) => now.opens >= opens + 2);
    expect(away.readyState, 'it has not given up').not.toBe(2);
    const failed = await page.evaluate(async () => (await fetch('/c?wait=0')).status);
    expect([502, 503], 'what is no stream is told so').toContain(failed);

    const next = await serverForTest({ ...flags, 'first-id': 1000 });
    await next.statsUntil('it is back', ({ lines }) => lines.open === 1);
    await next.publish('c', 'of the next');
    const { received } = await stateUntil(
      source,
      'the event of the next',
      (now) => now.received.at(-1)?.data === 'of the next',
    );
    const told = received.map(({ type, data }) => (type === 'message' ? data : type));
    expect(told.slice(told.indexOf('of the first'))).toEqual([
      'of the first',
      'end',
      'gap',
      'of the next',
    ]);
  });
});
