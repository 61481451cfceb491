// What a text message that is not UTF-8 does to those who read it: uWebSockets sends it as it is;
// ws, undici and, where it is installed, Chromium receive it.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { WebSocket as UndiciWebSocket } from 'undici';
import { WebSocket as PackageWebSocket } from 'ws';
import {
  Findings,
  RawClient,
  afterHead,
  describeFrames,
  listen,
  main,
  uWS,
  until,
  upgrade,
  upgradeHeaders,
} from './support.js';
import type { ProbeResult } from './support.js';

const chromiumPath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

type Client = typeof globalThis.WebSocket;

/** A byte that no UTF-8 text has, in the middle of good ones. */
const bad = Buffer.from([0x61, 0xff, 0x62]);

/**
 * What a client does, in one string; runs in a page as well, so it knows nothing but its arguments.
 */
async function watch(Client: Client, url: string): Promise<string> {
  return new Promise((resolve) => {
    const seen: string[] = [];
    const client = new Client(url);
    client.addEventListener('error', () => void seen.push('error'));
    client.addEventListener('message', ({ data }) => {
      seen.push(`message ${JSON.stringify(data)}`);
      if (data === 'after') resolve([...seen, 'open'].join(', '));
    });
    client.addEventListener('close', ({ code, wasClean }) => {
      resolve([...seen, `close ${code} ${wasClean ? 'clean' : 'not clean'}`].join(', '));
    });
  });
}

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let answered = -1;
  let heard: string[] = [];
  const { port } = await listen(
    uWS
      .App()
      .get(
        '/page',
        (response) =>
          void response.writeHeader('Content-Type', 'text/html').end('<title>probe</title>'),
      )
      .ws<object>('/*', {
        upgrade: (response, request, context) => upgrade(response, request, context, {}),
        open: (ws) => {
          ws.send('good');
          answered = ws.send(bad, false);
          ws.send('after');
        },
        close: (_ws, code, reason) =>
          void heard.push(
            `close ${String(code)} ${JSON.stringify(Buffer.from(reason).toString())}`,
          ),
      }),
  );
  const url = `ws://127.0.0.1:${String(port)}/`;

  const raw = new RawClient(port).get('/', upgradeHeaders);
  await until(() => afterHead(raw).length >= 6 + 5 + 7, 'the three messages');
  findings.add(
    'on the wire',
    describeFrames(afterHead(raw)),
    'text "good", text "aÿb", text "after"',
  );
  raw.destroy();
  await until(() => heard.length > 0, 'the raw client to be gone');
  findings.add('… send() answered', answered, 1);

  const ended = async (name: string, seen: Promise<string>, closing: string): Promise<void> => {
    heard = [];
    findings.add(name, await seen, 'message "good", error, close 1006 not clean');
    await until(() => heard.length > 0, 'the close handler');
    findings.add('… the close handler here', heard.join(), closing);
  };
  await ended('ws', watch(PackageWebSocket as unknown as Client, url), 'close 1007 ""');
  await ended(
    'undici',
    watch(UndiciWebSocket as unknown as Client, url),
    'close 1007 "Received invalid UTF-8 in text frame."',
  );
  if (existsSync(chromiumPath)) {
    const browser = await chromium.launch({
      executablePath: chromiumPath,
      args: ['--no-sandbox', '--disable-gpu'],
    });
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${String(port)}/page`);
    const script = `(${watch.toString()})(WebSocket, ${JSON.stringify(url)})`;
    await ended(
      'Chromium',
      page.evaluate<string>(script),
      'close 1002 "Invalid UTF-8 in text frame"',
    );
    await browser.close();
  }
  return {
    claim:
      'Text that is not UTF-8 is sent as it is; every client closes on it, with 1006 and an error for its page (ws and undici tell the server 1007, Chromium 1002), and reads nothing behind it.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
