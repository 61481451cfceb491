/**
 * Pages of other origins in Chromium: with cookies, with headers, over WebSocket, from a file, and
 * what a website that is visited meanwhile cannot do. The same on the wire is in
 * test/cross-origin.wire.ts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, type AuthorizeRequest } from '../dist/index.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS } from './support/wire.js';

const CLIENT = readFileSync(new URL('../dist/browser/client.js', import.meta.url));
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const WITHIN = { timeout: DEADLINE_MS };

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

/**
 * Serves a page on a port of its own until the running test is over; returns its origin. Whoever
 * opens it gets a cookie, which goes to every port of that host.
 */
async function serveSite(html = '', host = '127.0.0.1'): Promise<string> {
  const site = createHttpServer(({ url }, response) => {
    const isClient = url === '/client.js';
    response.setHeader('Content-Type', isClient ? 'text/javascript' : 'text/html');
    response.setHeader('Set-Cookie', 'session=alice; HttpOnly; SameSite=Lax');
    response.end(isClient ? CLIENT : `<!doctype html><title>site</title>${html}`);
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    site.closeAllConnections();
    site.close();
  });
  return `http://${host}:${(site.address() as AddressInfo).port}`;
}

/** A file with that page, gone when the test is; its URL. */
function fileWith(html: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-page-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'page.html');
  writeFileSync(file, `<!doctype html><meta charset="utf-8"><title>file</title>${html}`);
  return pathToFileURL(file).href;
}

/** A page in a profile of its own, and what it has written to its console. */
async function openPage(url: string): Promise<{ page: Page; said: string[] }> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const said: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  await page.goto(url);
  return { page, said };
}

/** What a fetch of the page came to: status and body, or the name of what it threw. */
function fetched(
  page: Page,
  url: string,
  options: object = {},
): Promise<[number, string] | string> {
  return page.evaluate<[number, string] | string>(
    `fetch(${JSON.stringify(url)}, ${JSON.stringify(options)})
      .then(async (answer) => [answer.status, await answer.text()], ({ name }) => name)`,
  );
}

/** Makes a source of the page: what it has heard is in its console, type by type. */
async function listen(page: Page, source: string): Promise<void> {
  await page.evaluate(
    `(async () => {
      const source = ${source};
      source.addEventListener('open', () => console.log('open'));
      source.addEventListener('error', () => console.log('error', source.readyState));
      source.addEventListener('close', ({ code }) => console.log('close', code));
      for (const type of ['message', 'notice']) source.addEventListener(type, ({ data }) => console.log(type, data));
    })()`,
  );
}

/** Waits until the console has a line. */
function expectSaid(said: readonly string[], line: string | RegExp): Promise<void> {
  const isIt = (text: string): boolean =>
    typeof line === 'string' ? text === line : line.test(text);
  return expect.poll(() => (said.some(isIt) ? line : said), { ...WITHIN, interval: 10 }).toBe(line);
}

const eventSource = (url: string, options = {}): string =>
  `new EventSource('${url}', ${JSON.stringify(options)})`;
const webSocket = (url: string): string => `new WebSocket('${url.replace('http', 'ws')}')`;
const holdlineSource = (site: string, url: string, options = {}): string =>
  `new (await import('${site}/client.js')).HoldlineSource('${url}', ${JSON.stringify(options)})`;

describe('a page of a listed origin', () => {
  /** A server that lets in whoever has the cookie, and notes what it was asked. */
  async function withCookies(allowOrigin: readonly string[]): Promise<{
    url: string;
    asked: AuthorizeRequest[];
    publish: (data: string) => Promise<number>;
  }> {
    const asked: AuthorizeRequest[] = [];
    const server = createServer({
      port: 0,
      openPublish: true,
      opsKey: 'ops',
      allowOrigin,
      authorize(request) {
        asked.push(request);
        return request.headers['cookie'] === 'session=alice';
      },
    });
    onTestFinished(() => server.close({ drainMs: 0 }));
    const { port } = await server.listen();
    return {
      url: `http://127.0.0.1:${port}`,
      asked,
      publish: (data) => server.channel('c').publish({ data }),
    };
  }

  test.each<[string, (site: string, url: string) => string]>([
    ['EventSource', (_, url) => eventSource(url, { withCredentials: true })],
    ['HoldlineSource', (site, url) => holdlineSource(site, url, { withCredentials: true })],
    [
      'HoldlineSource over long-polls',
      (site, url) => holdlineSource(site, url, { withCredentials: true, transport: 'long-poll' }),
    ],
    ['WebSocket', (_, url) => webSocket(url)],
  ])('listens with its cookie: %s', async (_what, source) => {
    const site = await serveSite();
    const server = await withCookies([site]);
    const { page, said } = await openPage(site);
    await listen(page, source(site, `${server.url}/c`));
    await expectSaid(said, 'open');
    await server.publish('for alice');
    await expectSaid(said, /^message .*for alice/);
    expect(server.asked[0]).toMatchObject({ action: 'subscribe', channels: ['c'] });
    expect(server.asked[0]!.headers['cookie']).toBe('session=alice');
  });

  test('publishes, reads and deletes with it; without it the refusal can be read', async () => {
    const site = await serveSite();
    const server = await withCookies([site]);
    const { page } = await openPage(site);
    const credentials = 'include';
    const json = { 'Content-Type': 'application/json', 'Idempotency-Key': 'once' };
    const published = await fetched(page, `${server.url}/c`, {
      method: 'POST',
      headers: json,
      body: '{"n":1}',
      credentials,
    });
    expect(published).toEqual([200, expect.stringMatching(/^\{"id":\d+,"subscribers":0\}$/)]);
    const read = await fetched(page, `${server.url}/c?since=0&wait=0`, { credentials });
    expect(read).toEqual([200, expect.stringContaining('"data":{"n":1}')]);
    const refused = await fetched(page, `${server.url}/c?since=0&wait=0`);
    expect(refused).toEqual([403, expect.stringContaining('HOLDLINE_FORBIDDEN')]);
    const headers = { Authorization: 'Bearer ops' };
    const deleted = await fetched(page, `${server.url}/c`, {
      method: 'DELETE',
      headers,
      credentials,
    });
    expect(deleted).toEqual([200, expect.stringContaining('"id"')]);
    const stats = await fetched(page, `${server.url}/-/stats`, { headers });
    expect(stats).toEqual([200, expect.stringContaining('"lines"')]);
    const wrong = await fetched(page, `${server.url}/-/stats`, {
      headers: { Authorization: 'Bearer x' },
    });
    expect(wrong).toEqual([401, expect.stringContaining('HOLDLINE_UNAUTHORIZED')]);
  });

  test('sends headers of its own: a tenant with HoldlineSource, a trace with fetch', async () => {
    const site = await serveSite();
    const server = await withCookies([site]);
    const { page, said } = await openPage(site);
    const options = { headers: { 'X-Tenant': 'a' }, withCredentials: true };
    await listen(page, holdlineSource(site, `${server.url}/c`, options));
    await expectSaid(said, 'open');
    await server.publish('for a');
    await expectSaid(said, 'message for a');
    expect(server.asked[0]!.headers['x-tenant']).toBe('a');
    const read = await fetched(page, `${server.url}/c?since=0&wait=0`, {
      credentials: 'include',
      headers: { traceparent: TRACE, tracestate: 'a=b', baggage: 'c=d' },
    });
    expect(read).toEqual([200, expect.stringContaining('"for a"')]);
    expect(server.asked.at(-1)!.headers['traceparent']).toBe(TRACE);
  });

  test('which another one is not reads nothing, with the same cookie', async () => {
    const site = await serveSite();
    const server = await withCookies(['https://app.example']);
    const { page, said } = await openPage(site);
    for (const source of [
      eventSource(`${server.url}/c`, { withCredentials: true }),
      webSocket(`${server.url}/c`),
    ])
      await listen(page, source);
    await expectSaid(said, 'error 2');
    await expectSaid(said, 'close 1006');
    for (const options of [
      { credentials: 'include' },
      { credentials: 'include', headers: { 'X-Tenant': 'a' } },
      { credentials: 'include', method: 'POST', body: 'x' },
    ])
      expect(await fetched(page, `${server.url}/c`, options)).toBe('TypeError');
    const actions = new Set(server.asked.map(({ action }) => action));
    expect([...actions], 'the stream, which its browser kept from it').toEqual(['subscribe']);
    expect(said.join()).not.toContain('open');
  });
});

describe('under *', () => {
  test('a page listens without cookies, and is told why it may do no more', async () => {
    const site = await serveSite();
    const server = await hostedForTest({ 'allow-origin': '*' });
    const url = `${server.url}/c`;
    const { page, said } = await openPage(site);
    await listen(page, holdlineSource(site, url, { headers: { 'X-Tenant': 'a' } }));
    await expectSaid(said, 'open');
    await server.publish('c', 'hello');
    await expectSaid(said, 'message hello');
    await listen(page, eventSource(url, { withCredentials: true }));
    await expectSaid(said, 'error 2');
    await listen(page, webSocket(url));
    await expectSaid(said, 'close 1006');
    for (const options of [
      { method: 'POST', body: 'x' },
      { method: 'POST', body: '1', headers: { 'Content-Type': 'application/json' } },
    ]) {
      const answer = await fetched(page, url, options);
      expect(answer).toEqual([403, expect.stringContaining(`--allow-origin ${site}`)]);
    }
    const stats = await fetched(page, `${server.url}/-/stats`, { headers: server.opsHeaders });
    expect(stats).toEqual([403, expect.stringContaining('HOLDLINE_CROSS_SITE')]);
    const options = { method: 'DELETE', headers: server.opsHeaders };
    expect(await fetched(page, url, options)).toBe('TypeError');
    await expectSaid(said, /Method DELETE is not allowed by Access-Control-Allow-Methods/);
    expect((await server.stats()).counters.events_accepted_total).toBe(1);
  });
});

describe('with `npm start`', () => {
  /** What it runs, on a free port. */
  const started = (): Promise<ServerUnderTest> => hostedForTest({ demo: true });

  /** The first examples of the README, with the client from where the demo has it. */
  const examples = (url: string): string => `<script>
    const feed = new EventSource('${url}/notifications');
    feed.addEventListener('notice', (event) => console.log('EventSource', event.data));
    feed.addEventListener('open', () => console.log('EventSource open'));
  </script><script type="module">
    import { HoldlineSource } from '${url}/-/client.js';
    const feed = new HoldlineSource('${url}/notifications');
    feed.addEventListener('notice', (event) => console.log('HoldlineSource', event.data));
    feed.addEventListener('open', () => console.log('HoldlineSource open'));
  </script>`;

  test.each<[string, (html: string) => string | Promise<string>]>([
    ['another port', (html) => serveSite(html)],
    ['another name of this machine', (html) => serveSite(html, 'localhost')],
    ['a file', fileWith],
  ])('the examples work in a page of %s', async (_where, pageWith) => {
    const server = await started();
    const { page, said } = await openPage(await pageWith(examples(server.url)));
    await expectSaid(said, 'EventSource open');
    await expectSaid(said, 'HoldlineSource open');
    await server.publish('notifications', 'hello', 'notice');
    await expectSaid(said, 'EventSource hello');
    await expectSaid(said, 'HoldlineSource hello');
    const post = { method: 'POST', body: 'x' };
    const answer = await fetched(page, `${server.url}/notifications`, post);
    expect(answer).toEqual([403, expect.stringContaining('--allow-origin')]);
    expect((await server.stats()).counters.events_accepted_total).toBe(1);
  });

  test('a website that is visited publishes nothing, by a form or a hidden request', async () => {
    const server = await started();
    const url = `${server.url}/notifications`;
    const site = await serveSite(
      `<form action="${url}" method="post" enctype="text/plain"><input name="x"></form>`,
      'localhost',
    );
    const { page } = await openPage(site);
    const options = { method: 'POST', body: 'x', mode: 'no-cors' };
    expect(await fetched(page, url, options), 'an answer that it cannot read').toEqual([0, '']);
    const [answer] = await Promise.all([
      page.waitForResponse(url),
      page.evaluate('document.forms[0].submit()'),
    ]);
    expect([answer.status(), await answer.text()]).toEqual([
      403,
      expect.stringContaining('HOLDLINE_CROSS_SITE'),
    ]);
    const { counters } = await server.stats();
    expect(counters.events_accepted_total).toBe(0);
    expect(counters.refused['HOLDLINE_CROSS_SITE']).toBe(2);
  });

  test('a link from a website opens the demo, and F5 does again; a frame does not', async () => {
    const server = await started();
    const demo = `${server.url}/-/demo`;
    const site = await serveSite(
      `<a href="${demo}">demo</a><iframe src="${demo}"></iframe>`,
      'localhost',
    );
    const statuses: number[] = [];
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.on('response', (answer) => {
      if (answer.url() === demo) statuses.push(answer.status());
    });
    await page.goto(site);
    await page.click('a');
    await page.locator('h1', { hasText: 'Holdline' }).waitFor(WITHIN);
    await page.reload();
    await page.locator('[data-panel=a][data-state=open]').waitFor(WITHIN);
    expect(statuses).toEqual([403, 200, 200]);
  });
});
