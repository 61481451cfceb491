/**
 * The HTML report of a run in Chromium, without a network: it complains of nothing, asks for
 * nothing, and draws what it has.
 */

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { LoadReport } from '../src/tools/load/report/report.js';
import { sharedServer } from './support/server.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS } from './support/wire.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const PHOTOS = fileURLToPath(new URL('out/', import.meta.url));
const WITHIN = { timeout: DEADLINE_MS };

const folder = mkdtempSync(join(tmpdir(), 'holdline-report-'));
const FILES = { html: join(folder, 'run.html'), json: join(folder, 'run.json') };
const PLOTS = [
  'Latency by percentile',
  'Latency over time',
  'Deliveries',
  'CPU',
  'Server memory',
  'TCP buffers',
];

const shared = sharedServer();
let browser: Browser;
let report: LoadReport;

beforeAll(async () => {
  mkdirSync(PHOTOS, { recursive: true });
  const run =
    '--connections 200 --rate 20 --duration 4s --processes 2 --stalled 5% --slow-readers 5%:1KiB/s --reconnect 100%/min --herd 2s';
  const files = ['--html', FILES.html, '--out', FILES.json, '--quiet'];
  const load = spawn(process.execPath, [
    MAIN,
    'load',
    '--url',
    `${shared().url}/report`,
    ...run.split(' '),
    ...files,
  ]);
  let errors = '';
  load.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [launched] = await Promise.all([
    launchChromium(),
    new Promise((resolve) => load.once('close', resolve)),
  ]);
  browser = launched;
  if (load.exitCode !== 0) throw new Error(`holdline load: exit ${load.exitCode}, ${errors}`);
  report = JSON.parse(readFileSync(FILES.json, 'utf8')) as LoadReport;
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await browser.close();
});

/**
 * Opens the file; `faults` has what went wrong in it: complaints on its console, exceptions, and
 * requests for anything else.
 */
async function openReport(
  options: BrowserContextOptions,
): Promise<{ page: Page; faults: readonly string[] }> {
  const context = await browser.newContext({ offline: true, ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const faults: string[] = [];
  const address = pathToFileURL(FILES.html).href;
  page.on('console', (message) => faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => {
    if (request.url() !== address && !request.url().startsWith('data:'))
      faults.push(`asked for ${request.url()}`);
  });
  await page.goto(address);
  await expect.poll(() => page.locator('canvas').count(), WITHIN).toBe(PLOTS.length);
  return { page, faults };
}

/** What a canvas shows. */
interface Drawn {
  readonly title: string;
  readonly widthPx: number;
  readonly heightPx: number;
  /** Pixels in the colour of its first series. */
  readonly seriesPixels: number;
}

/** Looks at the pixels of every plot. */
function drawn(page: Page): Promise<readonly Drawn[]> {
  return page.evaluate<readonly Drawn[]>(`(() => {
    const probe = document.createElement('i');
    probe.style.color = 'var(--series-1)';
    document.body.append(probe);
    const [red, green, blue] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    return [...document.querySelectorAll('figure.plot')].map((figure) => {
      const canvas = figure.querySelector('canvas');
      // A copy, since the browser complains of plots that are read more than once.
      const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
      const context = copy.getContext('2d', { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let seriesPixels = 0;
      for (let at = 0; at < data.length; at += 4) {
        if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255) seriesPixels++;
      }
      const { width, height } = canvas.getBoundingClientRect();
      return { title: figure.querySelector('h3').textContent, widthPx: width, heightPx: height, seriesPixels };
    });
  })()`);
}

/** So many of a line's pixels are its own colour and not mixed with the ground, at least. */
const LINE_PIXELS = 40;

async function expectDrawn(page: Page, widthPx: { least: number; most: number }): Promise<void> {
  await expect
    .poll(
      async () =>
        (await drawn(page)).filter(({ seriesPixels }) => seriesPixels >= LINE_PIXELS).length,
      WITHIN,
    )
    .toBe(PLOTS.length);
  const plots = await drawn(page);
  expect(plots.map(({ title }) => title)).toEqual(PLOTS);
  for (const plot of plots) {
    expect(plot.heightPx).toBeGreaterThan(150);
    expect(plot.widthPx).toBeGreaterThan(widthPx.least);
    expect(plot.widthPx).toBeLessThan(widthPx.most);
  }
}

describe('the report of a run', () => {
  it.each([
    ['laptop', 1280, 1, 'light', { least: 450, most: 640 }],
    ['laptop', 1280, 1, 'dark', { least: 450, most: 640 }],
    ['phone', 390, 2, 'light', { least: 300, most: 390 }],
    ['phone', 390, 2, 'dark', { least: 300, most: 390 }],
  ] as const)(
    'is drawn on a %s of %d px at ratio %d in %s',
    async (device, width, deviceScaleFactor, colorScheme, widthPx) => {
      const { page, faults } = await openReport({
        viewport: { width, height: 800 },
        deviceScaleFactor,
        colorScheme,
      });
      await expectDrawn(page, widthPx);
      // Wide tables and long commands scroll by themselves.
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      await page.screenshot({
        path: `${PHOTOS}report-${device}-${colorScheme}.png`,
        fullPage: true,
      });
      expect(faults).toEqual([]);
    },
  );

  it('says what the JSON says', async () => {
    const { page } = await openReport({});
    expect(report).toMatchObject({
      flawless: true,
      lost: 0,
      published: 80,
      connections: 200,
      clientProcesses: [{}, {}],
    });
    expect(report.server?.pids).toEqual([shared().child.pid]);
    expect(report.mix).toMatchObject({
      stalled: { clients: 10 },
      slow: { clients: 10, bytesPerSecond: 1024 },
    });
    expect(report.herd!.clients).toBe(180);
    expect(report.latencyCurve.at(-1)).toEqual({ percentile: 100, ms: report.latencyMs.max });
    const text = (await page.locator('body').innerText()).replaceAll(/\s+/g, ' ');
    expect(text).toContain(`Load test of ${shared().url}/report`);
    expect(text).toContain(
      `Delivered ${report.delivered.toLocaleString('en-US')} all that were expected`,
    );
    expect(text).toContain(
      'All 80 events reached every client that reads normally once and in order',
    );
    expect(text).toMatch(/After 2 s all 180 clients that read normally dropped/);
    expect(text).toContain(report.machine.cpu);
  });

  it('follows the colours of the system and the width of the window while it is open', async () => {
    const { page, faults } = await openReport({
      viewport: { width: 1280, height: 800 },
      colorScheme: 'light',
    });
    await expectDrawn(page, { least: 450, most: 640 });
    await page.emulateMedia({ colorScheme: 'dark' });
    // Pixels of the dark scheme's colour are there only when it was drawn anew.
    await expectDrawn(page, { least: 450, most: 640 });
    await page.setViewportSize({ width: 390, height: 800 });
    await expect
      .poll(async () => Math.max(...(await drawn(page)).map(({ widthPx }) => widthPx)), WITHIN)
      .toBeLessThan(390);
    await expectDrawn(page, { least: 300, most: 390 });
    expect(faults).toEqual([]);
  });

  it('tells the values at which one points, in all plots over time together', async () => {
    const { page } = await openReport({ viewport: { width: 1280, height: 800 } });
    const values = (): Promise<readonly string[]> =>
      page.evaluate(`[...document.querySelectorAll('figure.plot')].map((figure) =>
        [...figure.querySelectorAll('.u-series:not(:first-child) .u-value')].map(({ textContent }) => textContent).join(' '))`);
    expect(new Set((await values()).map((text) => text.trim()))).toEqual(new Set(['']));
    await page.locator('.u-over').nth(PLOTS.indexOf('Deliveries')).hover();
    await expect.poll(async () => (await values())[1], WITHIN).toMatch(/ms/);
    const [byPercentile, latency, deliveries, , memory] = await values();
    expect(byPercentile!.trim()).toBe('');
    expect([latency, deliveries, memory]).toEqual([
      expect.stringMatching(/^[\d.,]+ (?:µs|ms|s) [\d.,]+ (?:µs|ms|s)$/),
      expect.stringMatching(/^[\d.,]+(?: thousand)?\/s$/),
      expect.stringMatching(/^[\d.,]+ MiB$/),
    ]);
  });
});
