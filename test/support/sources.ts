/**
 * EventSource clients behind one face: Chromium, and the packages `eventsource` and `undici`; what
 * each has seen is read back as JSON.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventSource as PackageEventSource } from 'eventsource';
import { chromium, type Browser, type Page } from 'playwright-core';
import { EventSource as UndiciEventSource } from 'undici';
import { onTestFinished } from 'vitest';
import { chromiumPath } from '../../scripts/chromium-path.js';
import { DEADLINE_MS } from './wire.js';

/** What a page's listener was given. */
export interface Received {
  readonly type: string;
  readonly data: string;
  readonly lastEventId: string;
}

/** What a client has seen so far. */
export interface SourceState {
  readonly received: readonly Received[];
  readonly opens: number;
  readonly errors: number;
  /** 0 connecting, 1 open, 2 given up. */
  readonly readyState: number;
  /** The page's badge: how many notifications it shows. */
  readonly badge: string;
}

/** A running EventSource. */
export interface Source {
  state(): Promise<SourceState>;
}

/** Types that the clients listen to; EventSource has no way to listen to all. */
const TYPES = ['message', 'notice', 'gap', 'end', 'vector'];

/** Defines `listen(stream)` and `state()` in a page; it counts in `#badge`, where there is one. */
const LISTENER = `
  const seen = { received: [], opens: 0, errors: 0 };
  let source;
  const badge = () => document.getElementById('badge');
  const take = ({ type, data, lastEventId }) => {
    seen.received.push({ type, data, lastEventId });
    if (badge()) badge().textContent = seen.received.length;
  };
  const listen = (stream) => {
    source = new EventSource(stream);
    source.onopen = () => { seen.opens++; };
    source.onerror = () => { seen.errors++; };
    for (const type of ${JSON.stringify(TYPES)}) source.addEventListener(type, take);
  };
  const state = () => ({ ...seen, readyState: source.readyState, badge: badge()?.textContent ?? '' });`;

/** The page of the worked example: a badge that counts notifications. */
const PAGE = `<!doctype html><meta charset="utf-8"><title>notifications</title><output id="badge">0</output><script>
  ${LISTENER}
  listen(new URLSearchParams(location.search).get('stream'));
</script>`;

/** Serves the page on an origin of its own until the running test is over; returns the origin. */
export async function servePage(): Promise<string> {
  const server = createServer(
    (_request, response) => void response.setHeader('Content-Type', 'text/html').end(PAGE),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Debian's Chromium, with nothing that reaches out. */
export function launchChromium(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...more,
    ],
  });
}

/** A page of `origin` that listens to `stream`. */
export async function openPage(
  browser: Browser,
  origin: string,
  stream: string,
): Promise<Source & { page: Page }> {
  const page = await browser.newPage();
  onTestFinished(() => page.close());
  await page.goto(`${origin}/?stream=${encodeURIComponent(stream)}`);
  return { page, state: () => page.evaluate<SourceState>('state()') };
}

/** Lets a page that is open, of whatever origin, listen to a stream, which is its only one. */
export async function listenIn(page: Page, stream: string): Promise<Source> {
  const handle = await page.evaluateHandle<() => SourceState>(
    `(() => {${LISTENER}\n listen(${JSON.stringify(stream)}); return state; })()`,
  );
  return { state: () => page.evaluate((state) => state(), handle) };
}

function openEventTarget(source: UndiciEventSource | PackageEventSource): Source {
  const received: Received[] = [];
  let opens = 0;
  let errors = 0;
  const target = source as unknown as EventTarget;
  target.addEventListener('open', () => opens++);
  target.addEventListener('error', () => errors++);
  for (const type of TYPES) {
    target.addEventListener(type, (event) => {
      const { data, lastEventId } = event as unknown as Received;
      received.push({ type, data, lastEventId });
    });
  }
  onTestFinished(() => source.close());
  return {
    state: () =>
      Promise.resolve({
        received,
        opens,
        errors,
        readyState: source.readyState,
        badge: String(received.length),
      }),
  };
}

/** undici's EventSource. */
export function openUndici(stream: string): Source {
  return openEventTarget(new UndiciEventSource(stream));
}

/** The EventSource of the package `eventsource`, with header fields beside its own. */
export function openPackage(stream: string, more: Readonly<Record<string, string>> = {}): Source {
  return openEventTarget(
    new PackageEventSource(stream, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...more } }),
    }),
  );
}

/** Asks for the state until the condition holds. */
export async function stateUntil(
  source: Source,
  what: string,
  condition: (state: SourceState) => boolean,
  deadlineMs = DEADLINE_MS,
): Promise<SourceState> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const state = await source.state();
    if (condition(state)) return state;
    if (performance.now() > deadline)
      throw new Error(
        `not within ${deadlineMs} ms: ${what}; ${JSON.stringify(state).slice(0, 2000)}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
