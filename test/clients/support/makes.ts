/**
 * The makes of client that the matrix drives, each as its documentation shows it: a line or two
 * around one handler. What a make needs beside that stands here and in test/CLIENTS.md.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { EventSource as PackageEventSource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { EventSourcePlus } from 'event-source-plus';
import type { Browser, Page } from 'playwright-core';
import { EventSource as UndiciEventSource } from 'undici';
import { HoldlineSource } from '../../../dist/browser/client.js';
import { launchChromium } from '../../support/sources.js';
import type { Program } from './program.js';

const require = createRequire(import.meta.url);

/** How a make is opened; the function that it returns closes it. */
export type Open = (url: string, program: Program) => Promise<() => unknown>;

/** A make of client. */
export interface Make {
  /** As it stands in the matrix. */
  readonly name: string;
  readonly version: () => string;
  readonly open: Open;
}

const TYPES = ['message', 'gap', 'end'];

interface EventTargetLike {
  addEventListener(type: string, take: (event: { readonly data: string }) => void): void;
  close(): void;
}

function listen(source: unknown, program: Program): () => void {
  const target = source as EventTargetLike;
  for (const type of TYPES) target.addEventListener(type, ({ data }) => program.take(type, data));
  return () => target.close();
}

/** The version of an installed package; not every package exports its package.json. */
function versionOf(name: string): () => string {
  return () => {
    const url = new URL(`../../../node_modules/${name}/package.json`, import.meta.url);
    return (JSON.parse(readFileSync(url, 'utf8')) as { version: string }).version;
  };
}

let browser: Browser | undefined;

/** Starts the browser that the makes of pages run in. */
export async function openBrowser(): Promise<void> {
  browser = await launchChromium();
}

export async function closeBrowser(): Promise<void> {
  await browser?.close();
}

/** A page of the stream's own origin whose `take` is the program's handler. */
async function openPage(url: string, program: Program): Promise<Page> {
  const page = await browser!.newPage();
  await page.exposeFunction('told', (type: string, data: string) => {
    try {
      program.take(type, data);
    } catch {
      // The page throws it, too.
    }
  });
  await page.goto(`${new URL(url).origin}/-/health`);
  await page.evaluate('globalThis.take = (type, data) => { told(type, data); JSON.parse(data); }');
  return page;
}

/** A library of a page as one script: its modules without imports and exports. */
function scriptOf(...modules: readonly string[]): string {
  return modules
    .map((name) => readFileSync(require.resolve(name), 'utf8'))
    .join('\n')
    .replaceAll(/^import .*$/gm, '')
    .replaceAll(/^export /gm, '');
}

function inPage(script: string, prepare?: (page: Page) => Promise<unknown>): Open {
  return async (url, program) => {
    const page = await openPage(url, program);
    await prepare?.(page);
    await page.evaluate(`(() => { const url = ${JSON.stringify(url)}; ${script} })()`);
    return () => page.close();
  };
}

const LISTEN = `for (const type of ${JSON.stringify(TYPES)})
  source.addEventListener(type, ({ data }) => take(type, data));`;

const FETCH_EVENT_SOURCE =
  'fetchEventSource(url, { onmessage: ({ event, data }) => take(event, data)';

/** A reader in Python, for which Debian's packages are taken and not those of another Python. */
export function inPython(library: string): Open {
  return (url, program) => {
    const script = fileURLToPath(new URL('reader.py', import.meta.url));
    const child = spawn('/usr/bin/python3', [script, library, url], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { type, data } = JSON.parse(line) as { type: string; data: string };
      program.take(type, data);
    });
    return Promise.resolve(() => child.kill('SIGKILL'));
  };
}

function pythonVersionOf(library: string): () => string {
  let version: string | undefined;
  return () => {
    if (version !== undefined) return version;
    const { execFileSync } = require('node:child_process') as typeof import('node:child_process');
    const words = `import ${library}; print(${library}.__version__)`;
    version = execFileSync('/usr/bin/python3', ['-c', words], { encoding: 'utf8' }).trim();
    return version;
  };
}

/** All makes, in the order of the matrix. */
export const MAKES: readonly Make[] = [
  {
    name: 'EventSource in Chromium',
    version: () => browser!.version(),
    open: inPage(`const source = new EventSource(url); ${LISTEN}`),
  },
  {
    name: 'eventsource',
    version: versionOf('eventsource'),
    open: (url, program) => Promise.resolve(listen(new PackageEventSource(url), program)),
  },
  {
    name: 'undici',
    version: versionOf('undici'),
    open: (url, program) => Promise.resolve(listen(new UndiciEventSource(url), program)),
  },
  {
    name: 'event-source-polyfill',
    version: versionOf('event-source-polyfill'),
    open: inPage(`const source = new EventSourcePolyfill(url); ${LISTEN}`, (page) =>
      page.addScriptTag({ path: require.resolve('event-source-polyfill') }),
    ),
  },
  {
    name: 'launchdarkly-eventsource',
    version: versionOf('launchdarkly-eventsource'),
    open: (url, program) => {
      const { EventSource } = require('launchdarkly-eventsource') as {
        EventSource: new (url: string) => EventTargetLike & {
          on(type: 'error', take: () => void): void;
        };
      };
      const source = new EventSource(url);
      // An emitter of Node's throws what nobody listens to.
      source.on('error', () => {});
      // At the end of a stream it emits an `end` of its own, which has no data.
      for (const type of TYPES) {
        source.addEventListener(type, ({ data }: { readonly data?: string }) => {
          if (data !== undefined) program.take(type, data);
        });
      }
      return Promise.resolve(() => source.close());
    },
  },
  {
    name: '@microsoft/fetch-event-source',
    version: versionOf('@microsoft/fetch-event-source'),
    open: inPage(`${FETCH_EVENT_SOURCE}, onclose() { throw new Error('ended'); } });`, (page) =>
      page.addScriptTag({
        content: scriptOf(
          '@microsoft/fetch-event-source/lib/esm/parse.js',
          '@microsoft/fetch-event-source/lib/esm/fetch.js',
        ),
      }),
    ),
  },
  {
    name: 'event-source-plus',
    version: versionOf('event-source-plus'),
    open: (url, program) => {
      const source = new EventSourcePlus(url).listen({
        onMessage: ({ event, data }) => program.take(event, data),
      });
      return Promise.resolve(() => source.abort());
    },
  },
  {
    name: 'eventsource-client',
    version: versionOf('eventsource-client'),
    open: (url, program) => {
      const source = createEventSource({
        url,
        onMessage: ({ event = 'message', data }) => program.take(event, data),
      });
      return Promise.resolve(() => source.close());
    },
  },
  {
    name: 'holdline/client',
    version: versionOf('../'),
    open: (url, program) => Promise.resolve(listen(new HoldlineSource(url), program)),
  },
  { name: 'Python, requests', version: pythonVersionOf('requests'), open: inPython('requests') },
  { name: 'Python, httpx', version: pythonVersionOf('httpx'), open: inPython('httpx') },
];
