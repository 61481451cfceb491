/**
 * How the demo and `/` look at every width: nothing is cut, nothing overlaps, texts stand in
 * columns. Measured in Chromium, since a picture has to be looked at.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { hostedForTest } from './support/hosted.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS } from './support/wire.js';

/**
 * From the smallest phone to a full screen: closely where the layout changes with the width, with
 * both sides of the widths that the styles name. What is looked at twice is seen at every other
 * width each time.
 */
const widthsFrom = (first: number): number[] => [
  ...Array.from({ length: 13 }, (_, i) => first + 80 * i).filter((width) => width <= 1280),
  620,
  621,
  1180,
  1181,
  ...Array.from({ length: 4 }, (_, i) => 1320 + 200 * i),
];
const [WIDTHS, WIDTHS_BETWEEN] = [widthsFrom(320), widthsFrom(360)];
const HEIGHT = 768;
const PANELS = ['a', 'b', 'c', 'sse', 'websocket', 'long-poll', 'short-poll'];

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

async function open(url: string): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: 'reduce' });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(url);
  return page;
}

/** Functions for what is run in the page; what is wrong goes into `wrong`. */
const LOOK = `
  const wrong = [];
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const box = (element) => element.getBoundingClientRect();
  const name = (element) => (element.closest('[data-panel]')?.dataset.panel ?? '') + ' ' +
    element.tagName.toLowerCase() + '.' + element.className;
  const isSeen = (element) => box(element).width > 1 && getComputedStyle(element).clipPath === 'none';
  const inside = (inner, outer) => {
    const [a, b] = [box(inner), box(outer)];
    if (a.left < b.left - 0.5 || a.right > b.right + 0.5 || a.top < b.top - 0.5 || a.bottom > b.bottom + 0.5)
      wrong.push(name(inner) + ' sticks out of ' + name(outer));
  };
  const apart = (elements) => elements.forEach((one, i) => elements.slice(i + 1).forEach((other) => {
    const [a, b] = [box(one), box(other)];
    if (a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5)
      wrong.push(name(one) + ' overlaps ' + name(other));
  }));
  const whole = (selector) => { for (const element of all(selector))
    if (element.scrollWidth > element.clientWidth + 1) wrong.push(name(element) + ' is cut'); };
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page is wider than the window');
`;

const LOOK_AT_DEMO = `(() => {
  ${LOOK}
  for (const header of all('.dashboard > header, .transport > header, .top')) {
    const parts = [...header.children].filter(isSeen);
    for (const part of parts) { inside(part, header); }
    apart(parts);
  }
  for (const badge of all('.badge')) { inside(badge, badge.closest('.bell')); inside(badge, badge.closest('.card')); }
  for (const card of all('.dashboard, .transport')) apart([...card.children]);
  for (const card of all('.dashboard, .transport')) for (const part of card.children) inside(part, card);
  for (const card of all('.transport')) {
    const gap = box(card.querySelector('.how')).top - box(card.querySelector('.state')).bottom;
    if (gap < 4) wrong.push(name(card) + ': its state touches the description');
  }
  for (const list of all('.dashboard .events')) {
    const lefts = new Set(all('.text', list).map((text) => Math.round(box(text).left)));
    if (lefts.size !== 1) wrong.push(name(list) + ': texts begin at ' + [...lefts]);
  }
  for (const part of all('.dock > *').filter(isSeen)) inside(part, part.parentElement);
  apart(all('.dock > *').filter(isSeen));
  apart(all('.rail > *'));
  apart([...all('.rail > *'), ...all('.dashboard, .transport, .notes, .timeline')]);
  for (const part of all('.buttons > *, .types label')) inside(part, part.closest('.card'));
  whole('.dashboard > header, .transport > header, .figures dd, .buttons, .dock, .rail, .curl, .reply, .notes code, .request');
  for (const code of [...all('code:not(:has(span)):not(pre code)'), ...all('code span')])
    if (code.getClientRects().length > 1) wrong.push('"' + code.textContent + '" breaks');
  for (const rail of all('.rail')) if (rail.scrollHeight > rail.clientHeight + 1) wrong.push('the rail is cut');
  for (const pane of all('.raw')) {
    if (pane.scrollHeight <= pane.clientHeight) continue;
    const top = box(pane).top + pane.clientTop;
    const first = [...pane.children].find((line) => box(line).bottom > top + 1);
    if (Math.abs(box(first).top - top) > 1) wrong.push(name(pane) + ' begins inside a line');
    const last = [...pane.children].findLast((line) => line.textContent !== '\\n');
    if (box(last).top > box(pane).bottom) wrong.push(name(pane) + ' does not show its end');
    if ((pane.clientHeight % 17) !== 0) wrong.push(name(pane) + ' ends inside a line');
  }
  return wrong;
})()`;

const LOOK_AT_SMALL_PAGE = `(() => {
  ${LOOK}
  apart(all('.card'));
  for (const card of all('.card')) for (const part of card.children) inside(part, card);
  for (const code of all('code')) if (code.getClientRects().length > 1) wrong.push('"' + code.textContent + '" breaks');
  return wrong;
})()`;

/** What is wrong, by width; empty when nothing is. */
async function wrongAtEachWidth(
  page: Page,
  look: string,
  widths: readonly number[] = WIDTHS,
): Promise<Record<number, string[]>> {
  const wrong: Record<number, string[]> = {};
  for (const width of widths) {
    await page.setViewportSize({ width, height: HEIGHT });
    let found: string[] = [];
    // What came since the last frame is not drawn yet: what is wrong stays so.
    for (let looks = 0; looks < 3; looks++) {
      // What watches the size of an element is called in the frame after.
      await page.evaluate(
        'new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))',
      );
      found = await page.evaluate<string[]>(look);
      if (found.length === 0) break;
    }
    if (found.length > 0) wrong[width] = found;
  }
  return wrong;
}

test('the demo: no badge is cut, nothing overlaps, texts stand in columns, traces begin with a whole line', async () => {
  const server = await hostedForTest({ demo: true, 'first-id': Date.now() * 1000 });
  const page = await open(`${server.url}/-/demo`);
  for (const panel of PANELS)
    await page.locator(`[data-panel=${panel}][data-state=open]`).waitFor();
  const click = (selector: string): Promise<unknown> =>
    page.evaluate(`document.querySelector('${selector}').click()`);
  // So many that each trace lets lines go.
  for (const count of [10, 20, 30, 40]) {
    await click('#send-ten');
    for (const panel of ['a', 'long-poll', 'short-poll'])
      await page
        .locator(`[data-panel=${panel}] .event`)
        .nth(count - 1)
        .waitFor({ state: 'attached' });
  }
  await server.publish('notifications', 'curl says nothing of a time', 'inventory.changed');
  await click('[data-panel=b] .sleep');
  await page.locator('[data-panel=b][data-state=asleep]').waitFor();
  for (let n = 0; n < 5; n++) await server.publish('notifications', `missed ${n}`);
  await click('[data-panel=b] .sleep');
  await page.locator('[data-panel=b] .replayed').nth(4).waitFor({ state: 'attached' });
  await page.locator('[data-panel=short-poll] .event').nth(45).waitFor({ state: 'attached' });
  expect(await wrongAtEachWidth(page, LOOK_AT_DEMO)).toEqual({});

  // The longest state and the highest count that the page shows.
  await page.evaluate(`for (const badge of document.querySelectorAll('.badge, .dock b')) badge.textContent = '999+';
    for (const state of document.querySelectorAll('.state')) state.textContent = 'connecting';`);
  expect(await wrongAtEachWidth(page, LOOK_AT_DEMO, WIDTHS_BETWEEN)).toEqual({});
}, 120_000);

test('a rail that is taller than the window scrolls up to its end, and stays there', async () => {
  const server = await hostedForTest({ demo: true });
  const page = await open(`${server.url}/-/demo`);
  await page.locator('[data-panel=a][data-state=open]').waitFor();
  const bottomAfter = async (height: number, scrolled: number): Promise<number> => {
    await page.setViewportSize({ width: 1366, height });
    await page.evaluate(
      `new Promise((drawn) => { scrollTo(0, ${scrolled}); requestAnimationFrame(() => requestAnimationFrame(drawn)); })`,
    );
    return page.evaluate(`document.querySelector('.terminal').getBoundingClientRect().bottom`);
  };
  expect(await bottomAfter(600, 0)).toBeGreaterThan(600);
  expect(await bottomAfter(600, 700)).toBeCloseTo(600 - 16, 0);
  expect(await bottomAfter(600, 900)).toBeCloseTo(600 - 16, 0);
  expect(await bottomAfter(1100, 700)).toBeLessThan(1100 - 16);
});

test.each(['/', '/-/nothing'])(
  '%s as a browser gets it',
  async (path) => {
    const server = await hostedForTest({ demo: true });
    const page = await open(`${server.url}${path}`);
    expect(await page.locator('h1').count()).toBe(1);
    expect(await wrongAtEachWidth(page, LOOK_AT_SMALL_PAGE)).toEqual({});
  },
  60_000,
);
