/**
 * Takes the README's picture, docs/demo.png: the demo of a server of this build, after a few
 * publishes, with one dashboard that slept and was given what it missed.
 *
 *   npm run build && node --import tsx scripts/figures/demo-picture.ts
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { chromiumPath } from '../chromium-path.js';

const ROOT = new URL('../../', import.meta.url);
const FILE = fileURLToPath(new URL('docs/demo.png', ROOT));
/** GitHub shows a README 846 px wide; the page is laid out a little wider and scaled down. */
const VIEWPORT = { width: 1280, height: 672 };
const DEADLINE_MS = 10_000;

const server = spawn(
  process.execPath,
  ['dist/main.js', 'serve', '--demo', '--open-publish', '--port', '0', '--retry', '100ms'],
  { cwd: fileURLToPath(ROOT), stdio: ['ignore', 'pipe', 'inherit'] },
);
const stopped = once(server, 'exit');
let browser: Browser | undefined;
try {
  browser = await chromium.launch({
    executablePath: chromiumPath(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
  });
  const page = await browser.newPage({
    viewport: VIEWPORT,
    deviceScaleFactor: 1.32,
    colorScheme: 'light',
  });
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(`http://127.0.0.1:${await portOf()}/-/demo`);
  for (const panel of ['a', 'b', 'c']) await state(page, panel, 'open');
  await publish(page, 'Order 16 has been paid');
  await page.locator('[data-panel=b] .sleep').click();
  await state(page, 'b', 'asleep');
  await publish(page, 'Order 17 has been paid');
  await publish(page, 'Order 16 has been sent');
  await page.locator('[data-panel=b] .sleep').click();
  await state(page, 'b', 'open');
  await page.locator('[data-panel=b] .event').nth(2).waitFor();
  await page.evaluate('document.activeElement?.blur(); scrollTo(0, 0)');
  await page.screenshot({ path: FILE, animations: 'disabled' });
  console.log(`docs/demo.png: ${Math.round(statSync(FILE).size / 1024)} KiB`);
} finally {
  await browser?.close();
  server.kill();
  await stopped;
}

/** The port, as the server logs it. */
async function portOf(): Promise<number> {
  for await (const line of createInterface({ input: server.stdout })) {
    const port = /"msg":"listening".*"port":(\d+)|"port":(\d+).*"msg":"listening"/.exec(line);
    if (port !== null) return Number(port[1] ?? port[2]);
  }
  throw new Error('the server ended before it listened');
}

async function state(page: Page, panel: string, name: string): Promise<void> {
  await page.locator(`[data-panel=${panel}][data-state=${name}]`).waitFor();
}

/** Publishes through the form; the third dashboard, which never sleeps, has it. */
async function publish(page: Page, text: string): Promise<void> {
  await page.locator('#text').fill(text);
  await page.locator('#publish button[type=submit]').click();
  await page.locator('[data-panel=c] .event .text', { hasText: text }).waitFor();
}
