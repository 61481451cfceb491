/**
 * The demo page in Chromium, used as a person would: one publish, a replay after sleep, the four
 * transports, losses; with screenshots.
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest } from './support/hosted.js';
import type { ServerUnderTest } from './support/server-under-test.js';
import { serverForTest } from './support/server.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS } from './support/wire.js';

const PHOTOS = fileURLToPath(new URL('out/', import.meta.url));
const DASHBOARDS = ['a', 'b', 'c'];
const TRANSPORTS = ['sse', 'websocket', 'long-poll', 'short-poll'];
const WITHIN = { timeout: DEADLINE_MS };

let browser: Browser;
beforeAll(async () => {
  mkdirSync(PHOTOS, { recursive: true });
  browser = await launchChromium();
});
afterAll(() => browser.close());

/**
 * The page, and what went wrong in it: errors on its console, exceptions, and breaches of its
 * Content-Security-Policy.
 */
interface Demo {
  readonly page: Page;
  readonly faults: readonly string[];
}

/** Opens the demo and waits until its dashboards and the four transports are open. */
async function openDemo(
  server: ServerUnderTest,
  url = server.url,
  options: BrowserContextOptions = {},
): Promise<Demo> {
  const context = await browser.newContext(options);
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(`${url}/-/demo`);
  for (const panel of [...DASHBOARDS, ...TRANSPORTS]) await panelState(page, panel, 'open');
  await server.statsUntil('five lines are held', ({ lines }) => lines.open === 5);
  return { page, faults };
}

async function panelState(page: Page, panel: string, state: string): Promise<void> {
  await page.locator(`[data-panel=${panel}][data-state=${state}]`).waitFor();
}

/** Publishes through the form and waits until the answer is shown; returns the answer. */
async function publish(page: Page, text: string, type = 'notice'): Promise<string> {
  const reply = page.locator('.reply');
  const before = await reply.textContent();
  await page.locator('#text').fill(text);
  await page.locator(`input[name=type][value=${type}] + .pill`).click();
  await page.locator('#publish button[type=submit]').click();
  await expect.poll(() => reply.textContent(), WITHIN).not.toBe(before);
  return (await reply.textContent())!;
}

/** What a panel lists, oldest first, once it has so many rows. */
async function rowsOf(
  page: Page,
  panel: string,
  count: number,
): Promise<{ id: string | null; text: string; isReplayed: boolean }[]> {
  // A condition in words of JavaScript would be eval, which the page's policy refuses.
  await page
    .locator(`[data-panel=${panel}] .event`)
    .nth(count - 1)
    .waitFor({ state: 'attached' });
  const rows = await page.evaluate<{ id: string | null; text: string; isReplayed: boolean }[]>(
    `[...document.querySelectorAll('[data-panel=${panel}] .event')].map((row) => ({
      id: row.dataset.id ?? null, text: row.querySelector('.text').textContent, isReplayed: row.classList.contains('replayed') }))`,
  );
  return rows.toReversed();
}

function textOf(page: Page, selector: string): Promise<string | null> {
  return page.locator(selector).first().textContent();
}

/** The figure of a transport. */
function figure(page: Page, transport: string, name: string): Promise<string | null> {
  return textOf(page, `[data-panel=${transport}] [data-figure=${name}]`);
}

async function badges(page: Page): Promise<(string | null)[]> {
  return Promise.all(DASHBOARDS.map((panel) => textOf(page, `[data-panel=${panel}] .badge`)));
}

const toggleSleep = (page: Page): Promise<void> => page.locator('[data-panel=b] .sleep').click();

test('one publish reaches three dashboards, and the bytes stand beside each', async () => {
  const server = await hostedForTest({ demo: true });
  const { page, faults } = await openDemo(server);
  expect(await publish(page, 'hello <b>all</b>', 'alert')).toBe('200 {"id":1,"subscribers":5}');
  for (const panel of DASHBOARDS) {
    expect(await rowsOf(page, panel, 1)).toEqual([
      { id: '1', text: 'hello <b>all</b>', isReplayed: false },
    ]);
    expect(await textOf(page, `[data-panel=${panel}] .event .pill`)).toBe('alert');
    expect(await textOf(page, `[data-panel=${panel}] .raw`)).toMatch(
      /^→ GET \/notifications\n→ Accept: text\/event-stream\n← 200 text\/event-stream\nretry: \d+\nid: 0\n\nid: 1\nevent: alert\ndata: \{"text":"hello <b>all<\/b>","atMs":\d+\}\n\n$/,
    );
  }
  expect(await badges(page)).toEqual(['1', '1', '1']);
  await page.locator('[data-panel=c] .bell').click();
  expect(await badges(page)).toEqual(['1', '1', '0']);

  // What curl sends is shown as it is, and has no time to count from.
  await server.publish('notifications', 'plain text');
  expect((await rowsOf(page, 'a', 2))[1]).toEqual({
    id: '2',
    text: 'plain text',
    isReplayed: false,
  });
  expect(faults).toEqual([]);
});

test('B sleeps, misses three, wakes: it asks with its position and shows them as replayed', async () => {
  const server = await hostedForTest({ demo: true });
  const { page, faults } = await openDemo(server);
  await publish(page, 'before');
  await rowsOf(page, 'b', 1);

  await toggleSleep(page);
  await panelState(page, 'b', 'asleep');
  await server.statsUntil('its connection is closed', ({ lines }) => lines.byTransport.sse === 2);
  for (const n of [1, 2, 3]) await publish(page, `missed ${n}`);
  await rowsOf(page, 'a', 4);
  await rowsOf(page, 'c', 4);
  expect(await rowsOf(page, 'b', 1)).toHaveLength(1);
  expect(await badges(page)).toEqual(['4', '1', '4']);
  expect(await textOf(page, '[data-panel=b] .status')).toBe(
    'Asleep: its connection is closed. 3 published meanwhile.',
  );

  await toggleSleep(page);
  const missed = [1, 2, 3].map((n) => ({
    id: String(n + 1),
    text: `missed ${n}`,
    isReplayed: true,
  }));
  expect(await rowsOf(page, 'b', 4)).toEqual([
    { id: '1', text: 'before', isReplayed: false },
    ...missed,
  ]);
  expect(await badges(page)).toEqual(['4', '4', '4']);
  expect(await textOf(page, '[data-panel=b] .request')).toBe('asked with Last-Event-ID: 1');
  expect(await textOf(page, '[data-panel=b] .status')).toBe(
    'Came back: 3 replayed after 1, none lost.',
  );
  const raw = await textOf(page, '[data-panel=b] .raw');
  expect(raw).toContain(
    '— closed by this page\n→ GET /notifications\n→ Accept: text/event-stream\n→ Last-Event-ID: 1\n← 200',
  );
  expect(raw!.match(/^id: \d+\nevent: notice$/gm)).toEqual(
    ['1', '2', '3', '4'].map((id) => `id: ${id}\nevent: notice`),
  );
  await expect.poll(() => page.locator('.try .done').count(), WITHIN).toBe(4);

  await publish(page, 'after');
  expect((await rowsOf(page, 'b', 5)).at(-1)).toEqual({
    id: '5',
    text: 'after',
    isReplayed: false,
  });
  expect(await page.locator('[data-panel=a] .replayed, [data-panel=c] .replayed').count()).toBe(0);
  expect(faults).toEqual([]);
});

test('the four transports show the same events, at different costs', async () => {
  const server = await hostedForTest({ demo: true });
  const { page, faults } = await openDemo(server);
  await expect.poll(() => figure(page, 'short-poll', 'empty'), WITHIN).toBe('100 %');
  await publish(page, 'one');
  await page.locator('#send-ten').click();
  await page.locator('#steady').click();
  const expected = Array.from({ length: 13 }, (_, i) => String(i + 1));
  for (const transport of TRANSPORTS)
    expect((await rowsOf(page, transport, 13)).map(({ id }) => id).slice(0, 13)).toEqual(expected);
  await page.locator('#steady').click();

  const requests = await Promise.all(
    TRANSPORTS.map(async (transport) => Number(await figure(page, transport, 'requests'))),
  );
  expect(requests.slice(0, 2)).toEqual([1, 1]);
  expect(requests[2], 'an answer a request').toBeGreaterThanOrEqual(4);
  expect(requests[3]).toBeGreaterThanOrEqual(3);
  expect(
    await Promise.all(TRANSPORTS.slice(0, 3).map((transport) => figure(page, transport, 'empty'))),
  ).toEqual(['–', '–', '0 %']);
  for (const transport of TRANSPORTS) {
    expect(await figure(page, transport, 'latency')).toMatch(/^(?:\d+ ms|\d\.\d\d s)$/);
    expect(await figure(page, transport, 'bytes')).toMatch(/^\d+(?:\.\d)? k?B$/);
  }
  expect(await textOf(page, '[data-panel=websocket] .raw')).toContain(
    '{"id":1,"channel":"notifications","event":"notice","data":{',
  );
  expect(await textOf(page, '[data-panel=long-poll] .raw')).toMatch(
    /→ GET \/notifications\?since=0&wait=25&limit=100\n← 200 .*\n← Holdline-Position: 1\n\[\{"id":1,/,
  );
  await expect
    .poll(() => page.locator('.lane .arrived').count(), WITHIN)
    .toBeGreaterThanOrEqual(4 * 13);
  expect(
    await page.locator('.lane .held').count(),
    'requests in the timeline',
  ).toBeGreaterThanOrEqual(4);

  await page.locator('#compare').click();
  for (const transport of TRANSPORTS.slice(1)) await panelState(page, transport, 'asleep');
  await server.statsUntil(
    'the dashboards are left',
    ({ lines }) => lines.open === 3 && lines.byTransport.sse === 3,
  );
  expect(faults).toEqual([]);
});

test('without --open-publish the refusal is shown in words, and a publish key helps', async () => {
  const server = await hostedForTest({
    demo: true,
    'open-publish': false,
    'publish-key': 'sesame',
  });
  const { page } = await openDemo(server);
  expect(await page.locator('#key').isVisible()).toBe(false);
  expect(await publish(page, 'let me')).toBe('401 Unauthorized');
  expect(await textOf(page, '.words')).toMatch(
    /^Refused: publishing needs the header Authorization: Bearer/,
  );
  await page.locator('#key').fill('sesame');
  expect(await publish(page, 'let me')).toBe('200 {"id":1,"subscribers":5}');
  for (const panel of DASHBOARDS) await rowsOf(page, panel, 1);
});

/** The pauses after the losses of a panel, ms, once it had so many in a row. */
async function expectLosses(page: Page, panel: string, count: number): Promise<number[]> {
  const pauses = async (): Promise<number[]> =>
    [
      ...(await textOf(page, `[data-panel=${panel}] .raw`))!.matchAll(/retries in ([\d.]+) (m?s)/g),
    ].map(([, time, unit]) => Number(time) * (unit === 's' ? 1000 : 1));
  await expect.poll(async () => (await pauses()).length, WITHIN).toBeGreaterThanOrEqual(count);
  return pauses();
}

test('the server cannot be reached for a while: the loss is seen, and so is the gap', async () => {
  const held = { 'replay-events': 2, 'replay-bytes': '1KiB' };
  const server = await hostedForTest({ demo: true, ...held, retry: 0 });
  const proxy = await FaultProxy.start(server.port);
  const { page } = await openDemo(server, proxy.url);
  for (const text of ['one', 'two']) await publish(page, text);
  for (const panel of [...DASHBOARDS, ...TRANSPORTS]) await rowsOf(page, panel, 2);

  proxy.refusing = true;
  for (const connection of proxy.connections) connection.cut();
  for (const panel of [...DASHBOARDS, ...TRANSPORTS]) await panelState(page, panel, 'lost');
  // Each pause is about twice the one before, also of polls, and where the server says `retry: 0`.
  for (const panel of ['a', 'long-poll', 'short-poll']) {
    const pauses = await expectLosses(page, panel, 2);
    expect(pauses[1]! / pauses[0]!, `of ${panel}`).toBeGreaterThan(1.5);
  }
  await page.locator('#publish button[type=submit]').click();
  await page.locator('.answer.refused .words', { hasText: 'Is it running?' }).waitFor();
  for (let n = 3; n <= 10; n++) await server.publish('notifications', `event ${n}`);

  proxy.refusing = false;
  for (const panel of [...DASHBOARDS, ...TRANSPORTS]) {
    await panelState(page, panel, 'open');
    const rows = await rowsOf(page, panel, 5);
    expect(rows.slice(2).map(({ id, text }) => [id, text])).toEqual([
      [null, 'Ids after 2 and before 9 are no longer held.'],
      ['9', 'event 9'],
      ['10', 'event 10'],
    ]);
  }
  expect(await textOf(page, '[data-panel=c] .status')).toBe(
    'Came back: 2 replayed after 2, others may be lost.',
  );
});

test('B slept through more than is held: it says how many it lost', async () => {
  const server = await hostedForTest({ demo: true, 'replay-events': 2, 'replay-bytes': '1KiB' });
  const { page } = await openDemo(server);
  await publish(page, 'one');
  await rowsOf(page, 'b', 1);
  await toggleSleep(page);
  await panelState(page, 'b', 'asleep');
  for (let n = 2; n <= 10; n++) await server.publish('notifications', `event ${n}`);
  await rowsOf(page, 'a', 10);
  await toggleSleep(page);
  await rowsOf(page, 'b', 4);
  expect(await textOf(page, '[data-panel=b] .status')).toBe(
    'Came back: 2 replayed after 1, 7 are lost.',
  );
});

test('the server restarts in order: nothing is lost, and the page does not say so', async () => {
  // A port below those that clients are given: a browser that asks in vain may take one of those.
  const flags = { demo: true, 'first-id': false, port: 20_000 + (process.pid % 10_000) } as const;
  const server = await serverForTest(flags);
  const { page } = await openDemo(server);
  await publish(page, 'before');
  for (const panel of DASHBOARDS) await rowsOf(page, panel, 1);
  const last = (await rowsOf(page, 'a', 1))[0]!.id!;
  expect(await server.stop()).toBe(0);
  for (const panel of DASHBOARDS) await panelState(page, panel, 'lost');
  expect(await textOf(page, '[data-panel=a] .raw')).toContain('— lost: ');
  await serverForTest(flags);
  for (const panel of DASHBOARDS) await panelState(page, panel, 'open');
  const words = `Came back: the server restarted, and all up to …${last.slice(-5)} had arrived`;
  for (const panel of DASHBOARDS) {
    expect((await rowsOf(page, panel, 2)).at(-1)).toMatchObject({
      id: null,
      text: 'The server restarted. It no longer holds what it sent before.',
    });
    expect(await textOf(page, `[data-panel=${panel}] .status`)).toBe(`${words}.`);
  }
  await publish(page, 'after');
  for (const panel of DASHBOARDS) await rowsOf(page, panel, 3);
  expect(await textOf(page, '[data-panel=a] .status')).toBe(`${words}.`);
});

test('of two tabs the one that is looked at holds the lines; the other is given what it missed', async () => {
  const server = await hostedForTest({ demo: true });
  const { page, faults } = await openDemo(server);
  await publish(page, 'one');
  await rowsOf(page, 'a', 1);
  const look = (isHidden: boolean): Promise<unknown> =>
    page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'))`);
  await look(true);
  const other = await page.context().newPage();
  await other.goto(`${server.url}/-/demo`);
  for (const panel of [...DASHBOARDS, 'websocket', 'long-poll'])
    await panelState(page, panel, 'asleep');
  for (const panel of DASHBOARDS) await panelState(other, panel, 'open');
  await publish(other, 'two');
  await rowsOf(other, 'c', 1);
  await other.close();
  await look(false);
  for (const panel of DASHBOARDS) {
    expect((await rowsOf(page, panel, 2)).at(-1)).toEqual({
      id: '2',
      text: 'two',
      isReplayed: true,
    });
  }
  expect(faults).toEqual([]);
});

test.each([
  ['laptop', 'light', { width: 1440, height: 900 }, 1],
  ['phone', 'dark', { width: 390, height: 844 }, 2],
] as const)(
  'on a %s, %s: it fits, follows the system and is photographed',
  async (device, colorScheme, viewport, deviceScaleFactor) => {
    const server = await hostedForTest({ demo: true, 'first-id': Date.now() * 1000 });
    const { page, faults } = await openDemo(server, server.url, {
      viewport,
      deviceScaleFactor,
      colorScheme,
      reducedMotion: 'reduce',
    });
    const photo = (name: string): Promise<Buffer> =>
      page.screenshot({ path: `${PHOTOS}demo-${device}-${colorScheme}-${name}.png` });
    await publish(page, 'Ada mentioned you in “Q3 plan”');
    await publish(page, 'Build 42 is green', 'deploy');
    await rowsOf(page, 'b', 2);
    await page.evaluate(`document.querySelector('[data-panel=b] .sleep').click()`);
    await publish(page, 'Disk 91 % full on db-2', 'alert');
    await publish(page, 'cpu 37 %, queue depth 12', 'metric');
    await publish(page, 'api v2.8.1 is out', 'deploy');
    await rowsOf(page, 'a', 5);
    await page.evaluate(`document.querySelector('#dashboards').scrollIntoView()`);
    await photo('asleep');
    await page.evaluate(`document.querySelector('[data-panel=b] .sleep').click()`);
    await rowsOf(page, 'b', 5);
    await expect.poll(() => page.locator('.try .done').count(), WITHIN).toBe(4);
    await page.evaluate(
      `document.querySelector('${device === 'phone' ? '[data-panel=b]' : 'body'}').scrollIntoView()`,
    );
    await photo('replayed');
    for (const transport of TRANSPORTS) await rowsOf(page, transport, 5);
    await expect
      .poll(() => page.locator('.lane .arrived').count(), WITHIN)
      .toBe(5 * TRANSPORTS.length);
    await page.evaluate(`document.querySelector('#transports').scrollIntoView()`);
    await photo('transports');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width);

    const background = (): Promise<string> =>
      page.evaluate('getComputedStyle(document.body).backgroundColor');
    const ofSystem = await background();
    const other = colorScheme === 'light' ? 'dark' : 'light';
    await page.locator(`[name=theme][value=${other}] + span`).click();
    expect(await background(), 'the switch turns it over').not.toBe(ofSystem);
    await page.reload();
    expect(await background(), 'and it stays').not.toBe(ofSystem);
    await page.emulateMedia({ colorScheme: other });
    await page.locator('[name=theme][value=auto] + span').click();
    await page.emulateMedia({ colorScheme });
    expect(await background()).toBe(ofSystem);
    expect(faults).toEqual([]);
  },
);
