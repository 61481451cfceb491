/**
 * The reports as they stand on a page, in Chromium at the widths of phones, tablets, laptops and
 * large screens: nothing is cut, everything begins at one edge, and each label says something.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { fitProfile } from '../src/tools/capacity/fit.js';
import { htmlReport as capacityPage } from '../src/tools/capacity/html-report.js';
import { makePlan } from '../src/tools/capacity/plan.js';
import type { Limits } from '../src/tools/capacity/profile.js';
import { reportOf } from '../src/tools/capacity/report.js';
import { htmlReport as loadPage } from '../src/tools/load/report/html-report.js';
import type { LoadReport } from '../src/tools/load/report/report.js';
import { reportWith } from './support/load-report.js';
import { launchChromium } from './support/sources.js';
import { syntheticProfile } from './support/synthetic-profile.js';
import { DEADLINE_MS } from './support/wire.js';

const WIDTHS = [360, 768, 1024, 1366, 1920];
const PHONE = 360;
const LAPTOP = 1366;

/** A run with everything that a report can show, and a URL longer than a phone is wide. */
const EVERYTHING: Partial<LoadReport> = {
  url: `http://127.0.0.1:8080/${'channel'.repeat(12)}`,
  remarks: ['this load client was the bottleneck; --processes spreads the clients over more'],
  gapLost: 20,
  herd: { clients: 940, atSeconds: 5, leftSeconds: 0.1, backSeconds: 1.5, caughtUpSeconds: 2 },
  mix: {
    stalled: { clients: 10, cutOff: 2 },
    slow: { clients: 50, bytesPerSecond: 8192, delivered: 123_456, gaps: 5, cutOff: 0 },
    reconnects: { sharePerMinute: 0.02, returns: 3112, refusedReturns: 140 },
  },
};

function capacityReport(): string {
  const profile = syntheticProfile();
  const fit = fitProfile(profile);
  const request = { subscribers: 300_000, eventsPerSecond: 10, eventBytes: 256, p99Ms: 250 };
  const { limits, sendBufferBytes } = profile;
  // Limits with long commands.
  const long: Pick<Limits, 'portRange' | 'tcpMemoryBytes'> = {
    portRange: [32_768, 60_999],
    tcpMemoryBytes: [1e9, 1.5e9, 2e9],
  };
  const plan = makePlan(fit, { ...limits, ...long }, sendBufferBytes, request);
  return capacityPage(reportOf(profile, fit, plan));
}

const PAGES: Readonly<Record<string, () => string>> = {
  load: () => loadPage(reportWith(EVERYTHING)),
  'load without a server': () => loadPage(reportWith({ server: null, serverUnknown: 'elsewhere' })),
  'load without CPU': () =>
    loadPage(reportWith({ server: { ...reportWith().server!, cpuShare: null } })),
  capacity: capacityReport,
};

const folder = mkdtempSync(join(tmpdir(), 'holdline-layout-'));
let browser: Browser;

beforeAll(async () => {
  for (const [name, page] of Object.entries(PAGES)) writeFileSync(fileOf(name), page());
  browser = await launchChromium();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await browser.close();
});

function fileOf(name: string): string {
  return join(folder, `${name}.html`);
}

async function open(name: string, width: number): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  onTestFinished(() => page.close());
  await page.goto(pathToFileURL(fileOf(name)).href);
  // The program marks the tables and draws the plots, the tables last.
  const ready = `document.querySelectorAll('.uplot').length ===
    document.querySelectorAll('figure.plot').length && document.body.offsetWidth > 0`;
  await expect.poll(() => page.evaluate(ready), { timeout: DEADLINE_MS }).toBe(true);
  await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
  return page;
}

/** What stands wrong on a page. */
interface Layout {
  readonly pageWidth: number;
  /** Elements that reach beyond the card or the page they stand in, outside what scrolls. */
  readonly cut: readonly string[];
  /** Tables that scroll, and those of them without a visible hint. */
  readonly scrolling: readonly string[];
  readonly unhinted: readonly string[];
  /** Left edges of the header, the headings, the blocks and the footer. */
  readonly lefts: readonly number[];
  /** Rows of tiles that do not end where the others end. */
  readonly holes: number;
}

/** Measures it, in the page. */
const MEASURE = `(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const box = (element) => element.getBoundingClientRect();
  const name = (element) => element.tagName + '.' + element.className + ': ' + element.textContent.trim().slice(0, 40);
  const isShown = (element) => box(element).width > 0 && getComputedStyle(element).visibility === 'visible';
  const scrolls = (element) => element.closest('.scroll')?.parentElement.classList.contains('wide') ?? false;
  const CARDS = '.table, .pairs, .plot, .figures > div, .verdict, .note, .top > div, main, footer';
  const text = all('body *').filter((element) => isShown(element) && !scrolls(element) && !element.closest('script, style, svg'));
  const edge = (element) => Math.min(innerWidth, box(element.parentElement.closest(CARDS) ?? document.body).right);
  const wide = all('.table').filter((table) => table.querySelector('.scroll').scrollWidth > table.querySelector('.scroll').clientWidth);
  const blocks = [...all('h2, .intro, .verdict, .note, .table, .pairs, .figures'), ...all('.blocks > .plot').filter((plot) => box(plot).left < innerWidth / 3)];
  const lefts = [box(document.querySelector('.mark')).left, ...blocks.map((block) => box(block).left)];
  const footer = document.querySelector('footer');
  lefts.push(box(footer).left + parseFloat(getComputedStyle(footer).paddingLeft));
  const rows = all('.figures').flatMap((figures) => {
    const ends = new Map();
    for (const tile of figures.children) ends.set(Math.round(box(tile).top), box(tile).right);
    return [...ends.values()].map((right) => Math.abs(right - box(figures).right));
  });
  return {
    pageWidth: document.documentElement.scrollWidth,
    cut: text.filter((element) => box(element).right > edge(element) + 1).map(name),
    scrolling: wide.map(name),
    unhinted: wide.filter((table) => !isShown(table.querySelector('.hint')) || !table.classList.contains('more')).map(name),
    lefts: [...new Set(lefts.map(Math.round))],
    holes: rows.filter((distance) => distance > 1).length,
  };
})()`;

describe.each(Object.keys(PAGES))('the page of %s', (name) => {
  it.each(WIDTHS)('is whole at %d px', async (width) => {
    const page = await open(name, width);
    const layout = await page.evaluate<Layout>(MEASURE);
    expect(layout).toMatchObject({ pageWidth: width, cut: [], unhinted: [], holes: 0 });
    expect(layout.lefts).toHaveLength(1);
    if (width >= LAPTOP) expect(layout.scrolling).toEqual([]);
  });
});

describe('on a phone', () => {
  it('a table of many columns scrolls, says so, and its hint of more goes at the end', async () => {
    const page = await open('capacity', PHONE);
    const { scrolling } = await page.evaluate<Layout>(MEASURE);
    expect(scrolling).toHaveLength(1);
    const table = page.locator('.table.wide');
    expect(await table.locator('.hint').innerText()).toMatch(/scroll it sideways/);
    await page.evaluate(`document.querySelector('.wide > .scroll').scrollLeft = 1e6`);
    await expect.poll(() => page.locator('.table.more').count(), { timeout: DEADLINE_MS }).toBe(0);
  });

  it('a row of another table is a block, each value beside the name of its column', async () => {
    const page = await open('capacity', PHONE);
    const first = await page.evaluate(`(() => {
      const cell = document.querySelector('.stacked td');
      const { left, right } = cell.querySelector('span').getBoundingClientRect();
      return [getComputedStyle(cell, '::before').content, left > 0 && right < innerWidth];
    })()`);
    expect(first).toEqual(['"value"', true]);
  });
});

describe('the legend of a plot', () => {
  it.each(['load', 'capacity'])('of %s names its curves and nothing else', async (name) => {
    const page = await open(name, LAPTOP);
    const legends = await page.evaluate<readonly { shown: string[]; drawn: string[] }[]>(
      `[...document.querySelectorAll('figure.plot')].map((figure) => ({
        shown: [...figure.querySelectorAll('.u-series')].filter((row) => getComputedStyle(row).visibility === 'visible')
          .map((row) => row.querySelector('.u-label').textContent),
        drawn: JSON.parse(figure.querySelector('script').textContent).series.map(({ label }) => label),
      }))`,
    );
    expect(legends.length).toBeGreaterThan(3);
    for (const { shown, drawn } of legends) expect(shown).toEqual(drawn);
  });

  it('shows where one points while one does', async () => {
    const page = await open('load', LAPTOP);
    const plot = page.locator('figure.plot').nth(2);
    const place = plot.locator('.u-series').first().locator('.u-value');
    expect(await place.isVisible()).toBe(false);
    await plot.locator('.u-over').hover();
    await expect.poll(() => place.isVisible(), { timeout: DEADLINE_MS }).toBe(true);
    expect(await place.innerText()).toMatch(/^[\d.]+ s$/);
  });
});
