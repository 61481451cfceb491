/**
 * Photographs the HTML reports at the widths and in the colours in which people see them, for
 * someone to look at: `npx tsx scripts/report-screenshots.ts` makes a report of `holdline load` and
 * one of `holdline capacity` on this machine (about a minute) and writes the pictures to
 * test/out/reports/. Names of report files as arguments photograph those instead. It also says
 * where a page is wider than the window. Needs `npm run build` and Chromium.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { basename } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { chromiumPath } from './chromium-path.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const FOLDER = fileURLToPath(new URL('../test/out/reports/', import.meta.url));
const WIDTHS = [360, 768, 1024, 1366, 1920];
const THEMES = ['light', 'dark'] as const;

/** Fonts are measured and plots drawn within this after the page has loaded. */
const DRAWN_MS = 300;

mkdirSync(FOLDER, { recursive: true });
const given = process.argv.slice(2);
await photograph(given.length > 0 ? given : await makeReports());

/** Runs both tools, briefly, and returns the files of their reports. */
async function makeReports(): Promise<string[]> {
  const server = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--open-publish'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      server.once('exit', () => reject(new Error('the server ended at once')));
      createInterface({ input: server.stdout }).on('line', (line) => {
        const found = /"port":(\d+)/.exec(line)?.[1] ?? /http:\/\/[^/:]+:(\d+)/.exec(line)?.[1];
        if (found !== undefined) resolve(Number(found));
      });
    });
    const load = ['load', '--url', `http://127.0.0.1:${port}/report`, '--rate', '20'];
    const mix = '--stalled 5% --slow-readers 5%:1KiB/s --reconnect 100%/min --herd 3s'.split(' ');
    return [
      tool('load', [...load, '--connections', '500', '--duration', '6s', '--processes', '2']),
      tool('load-mix', [...load, '--connections', '200', '--duration', '6s', ...mix]),
      tool('capacity', ['capacity', '--lines', '2000', '--budget', '30s']),
    ];
  } finally {
    server.kill();
  }
}

function tool(name: string, args: readonly string[]): string {
  const file = `${FOLDER}${name}.html`;
  const { status } = spawnSync(process.execPath, [MAIN, ...args, '--html', file, '--quiet'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) console.error(`${name}: exit code ${status}`);
  return file;
}

async function photograph(files: readonly string[]): Promise<void> {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    args: ['--no-sandbox', '--disable-gpu'],
  });
  try {
    for (const file of files) {
      for (const colorScheme of THEMES) {
        for (const width of WIDTHS) {
          const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
          await page.goto(pathToFileURL(file).href);
          await page.waitForTimeout(DRAWN_MS);
          const path = `${FOLDER}${basename(file, '.html')}-${colorScheme}-${width}.png`;
          await page.screenshot({ path, fullPage: true });
          const isWide = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
          console.log(`${path}${isWide === true ? ' (wider than the window)' : ''}`);
          await page.close();
        }
      }
    }
  } finally {
    await browser.close();
  }
}
