/** Pages in Chromium on the own origin of a proxy, under a name as from far away. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { launchChromium } from './sources.js';

/** The name under which a browser finds the proxies; a server behind them allows it as Host. */
export const FRONT_HOST = 'events.example';

/** Opens the server's first page through a proxy: by plain HTTP, or TLS that it takes on trust. */
export type OpenFront = (origin: string) => Promise<Page>;

/** A Chromium for the tests of a file, and what opens a page in it for a test. */
export function sharedFrontBrowser(): OpenFront {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium([`--host-resolver-rules=MAP ${FRONT_HOST} 127.0.0.1`]);
  });
  afterAll(() => browser.close());
  return async (origin) => {
    // A context of its own has connections of its own.
    const context = await browser.newContext({ bypassCSP: true, ignoreHTTPSErrors: true });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    await page.goto(`${origin}/`);
    return page;
  };
}
