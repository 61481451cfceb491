/**
 * Three tabs that poll one URL, in Chromium. Its cache lets one request for a URL out at a time,
 * and the others wait up to 20 s for that answer. An answer's headers come too late to change that:
 * `cache: 'no-store'` of the request does.
 */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { hostedForTest } from '../support/hosted.js';
import { launchChromium } from '../support/sources.js';

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

const TABS = 3;
const WAIT_SECONDS = 3;

/** The loop of the README. Options are those of its fetch. */
const loop = (options: string): string => `globalThis.seen = []; globalThis.polls = 0;
(async () => {
  for (let since = 'latest'; ;) {
    const answer = await fetch('/c?wait=${WAIT_SECONDS}&since=' + since, ${options});
    since = answer.headers.get('Holdline-Position');
    polls++;
    if (answer.status === 200) seen.push((await answer.json()).data);
  }
})();`;

async function openTabs(options: string) {
  const server = await hostedForTest();
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const pages = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));
  for (const page of pages) {
    await page.goto(`${server.url}/-/health`);
    // Without waiting for its end, which does not come.
    await page.evaluate(`(() => { ${loop(options)} })()`);
  }
  const seen = (): Promise<string[][]> =>
    Promise.all(pages.map((page) => page.evaluate<string[]>('seen')));
  return { server, pages, seen };
}

test("with cache: 'no-store' all three wait at once, and have every event", async () => {
  const { server, pages, seen } = await openTabs("{ cache: 'no-store' }");
  await server.statsUntil('three polls wait', ({ lines }) => lines.byTransport.poll === TABS);
  for (let i = 1; i <= 10; i++) await server.publish('c', `${i}`);
  const all = Array.from({ length: 10 }, (_, i) => `${i + 1}`);
  for (const page of pages)
    await page.waitForFunction('seen.length >= 10', undefined, { timeout: 10_000 });
  expect(await seen()).toEqual([all, all, all]);
});

test('without it one waits, and the others miss what is published meanwhile', async () => {
  const { server, seen } = await openTabs('{}');
  await server.statsUntil('a poll waits', ({ lines }) => lines.byTransport.poll >= 1);
  // For as long as that poll waits no other comes, although answers say Cache-Control: no-store.
  const until = performance.now() + 1_000;
  while (performance.now() < until) {
    expect((await server.stats()).lines.byTransport.poll).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await server.publish('c', 'missed');
  await server.statsUntil('the others ask', ({ counters }) => counters.polls_waited_total >= 2);
  const having = async (): Promise<number> =>
    (await seen()).filter((events) => events.includes('missed')).length;
  await expect.poll(having).toBe(1);
  expect(await having()).toBe(1);
});
