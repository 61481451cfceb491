/**
 * Takes pictures of the pages that people see: `npx tsx scripts/screenshots.ts FOLDER [WIDTH…]`.
 * The demo (quiet, after a burst, with B asleep, with B back, after a restart), `/`, and what a
 * browser gets of a refusal, at five widths (or those given) in both colour schemes. A file is
 * named for its page, width and scheme; `-whole` shows all of the page, the others what fits the
 * window. Build first; it needs Chromium.
 */
import { mkdirSync } from 'node:fs';
import process from 'node:process';
import type { Page } from 'playwright-core';
import { TestServer } from '../test/support/server.js';
import { launchChromium } from '../test/support/sources.js';

/** Windows as people have them: phone, tablet upright and across, laptop, screen. */
const HEIGHTS: Readonly<Record<number, number>> = {
  360: 780,
  768: 1024,
  1024: 768,
  1366: 768,
  1920: 1080,
};
const OTHER_HEIGHT = 800;
const SCHEMES = ['light', 'dark'] as const;
/** Below the ports that clients are given: a browser that asks in vain may otherwise take it. */
const PORT = 20_000 + (process.pid % 10_000);
const FLAGS = { port: PORT, demo: true, 'first-id': false, retry: '300ms', 'replay-events': 64 };

const [folder, ...widthsGiven] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write('usage: npx tsx scripts/screenshots.ts FOLDER [WIDTH…]\n');
  process.exit(2);
}
const widths =
  widthsGiven.length === 0 ? Object.keys(HEIGHTS).map(Number) : widthsGiven.map(Number);
mkdirSync(folder, { recursive: true });

/** The page at every width: what fits the window, and all of it. */
async function photograph(page: Page, name: string, scheme: string): Promise<void> {
  for (const width of widths) {
    await page.setViewportSize({ width, height: HEIGHTS[width] ?? OTHER_HEIGHT });
    await page.evaluate('scrollTo(0, 0)');
    // Two frames, so that what is drawn on the next one is there.
    await page.evaluate(
      'new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))',
    );
    const path = `${folder}/${name}-${width}-${scheme}`;
    await page.screenshot({ path: `${path}.png` });
    await page.screenshot({ path: `${path}-whole.png`, fullPage: true });
  }
}

/** All panels are in this state; B may be in another. */
async function panelsAre(page: Page, state: string, stateOfB = state): Promise<void> {
  for (const panel of ['a', 'c', 'sse', 'websocket', 'long-poll', 'short-poll'])
    await page.locator(`[data-panel=${panel}][data-state=${state}]`).waitFor();
  await page.locator(`[data-panel=b][data-state=${stateOfB}]`).waitFor();
}

/** A panel lists this text as its newest. */
async function newestIs(page: Page, text: string, panels: readonly string[]): Promise<void> {
  for (const panel of panels)
    await page
      .locator(`[data-panel=${panel}] .event:first-child .text`, { hasText: text })
      .waitFor();
}

const EVERYONE = ['a', 'b', 'c', 'sse', 'websocket', 'long-poll', 'short-poll'];
const ALL_BUT_B = EVERYONE.filter((panel) => panel !== 'b');

const browser = await launchChromium();
for (const colorScheme of SCHEMES) {
  let server = await TestServer.start(FLAGS);
  const { url } = server;
  const context = await browser.newContext({ colorScheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const publish = (text: string, event: string): Promise<number> =>
    server.publish('notifications', JSON.stringify({ text, atMs: Date.now() }), event);
  // A click as a script gives it scrolls nothing.
  const click = (selector: string): Promise<unknown> =>
    page.evaluate(`document.querySelector('${selector}').click()`);

  await page.goto(`${url}/`);
  await photograph(page, 'landing', colorScheme);
  for (const [name, path] of [
    ['refusal', '/-/nothing'],
    ['key', '/-/stats'],
    ['name', '/a//b'],
  ] as const) {
    await page.goto(`${url}${path}`);
    await photograph(page, name, colorScheme);
  }

  await page.goto(`${url}/-/demo`);
  await panelsAre(page, 'open');
  await photograph(page, 'quiet', colorScheme);

  await click('#send-ten');
  for (const panel of EVERYONE) await page.locator(`[data-panel=${panel}] .event`).nth(9).waitFor();
  await click('#send-ten');
  await page.locator('[data-panel=a] .event').nth(19).waitFor();
  await publish('A text that is too long for its row, so that it is cut at the end', 'notice');
  await publish('one of a type with a long name', 'inventory.changed');
  await server.publish('notifications', 'plain text from curl');
  await newestIs(page, 'plain text from curl', EVERYONE);
  await photograph(page, 'burst', colorScheme);

  await click('[data-panel=b] .sleep');
  await panelsAre(page, 'open', 'asleep');
  for (const n of [1, 2, 3]) await publish(`published while B sleeps, ${n}`, 'deploy');
  await newestIs(page, 'while B sleeps, 3', ALL_BUT_B);
  await photograph(page, 'asleep', colorScheme);

  await click('[data-panel=b] .sleep');
  await newestIs(page, 'while B sleeps, 3', ['b']);
  await photograph(page, 'replayed', colorScheme);

  await server.stop();
  await panelsAre(page, 'lost');
  await photograph(page, 'lost', colorScheme);
  server = await TestServer.start(FLAGS);
  await panelsAre(page, 'open');
  await photograph(page, 'restart', colorScheme);

  await context.close();
  await server.stop();
}
await browser.close();
