/** WebSocket subprotocols (RFC 6455, 1.9, 4.2.2): one that is offered and allowed is agreed to. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { WebSocket } from 'ws';
import { hostedForTest, sharedHosted } from '../support/hosted.js';
import type { ServerUnderTest } from '../support/server-under-test.js';
import { launchChromium } from '../support/sources.js';
import { openWebSocket } from '../support/websocket.js';
import { codeOf } from '../support/wire.js';

const shared = sharedHosted({ subprotocols: 'bearer,chat.v2' });

async function agreed(server: ServerUnderTest, offered: string): Promise<string | undefined> {
  const line = await openWebSocket(server, '/c', {
    headers: { 'Sec-WebSocket-Protocol': offered },
  });
  // It is a WebSocket as any other.
  const id = await server.publish('c', 'x');
  await line.waitForId(id);
  return line.head.headers.get('sec-websocket-protocol');
}

test.each([
  ['bearer', 'bearer'],
  ['bearer, s3cr3t', 'bearer'],
  ['chat.v2,bearer', 'chat.v2'],
  ['other, chat.v2', 'chat.v2'],
  ['\t bearer \t', 'bearer'],
  ['other', undefined],
  ['Bearer', undefined],
  ['bearer2', undefined],
  ['holdline', undefined],
  [',', undefined],
])('offered %j: agreed to %j', async (offered, name) => {
  expect(await agreed(shared(), offered)).toBe(name);
});

test('nothing is agreed to where nothing is offered', async () => {
  const line = await openWebSocket(shared(), '/c');
  expect(line.head.headers.has('sec-websocket-protocol')).toBe(false);
});

test('an offer in two fields is one list', async () => {
  const two = 'other\r\nSec-WebSocket-Protocol: chat.v2';
  expect(await agreed(shared(), two)).toBe('chat.v2');
});

test('without the option `holdline` is agreed to', async () => {
  const server = await hostedForTest();
  expect(await agreed(server, 'bearer, holdline')).toBe('holdline');
  expect(await agreed(server, 'bearer')).toBeUndefined();
});

test('a refused handshake has none', async () => {
  const answer = await shared().request('GET', '/c', {
    headers: { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Protocol': 'bearer' },
  });
  expect([answer.status, codeOf(answer)]).toEqual([426, 'HOLDLINE_BAD_HANDSHAKE']);
  expect(answer.headers.has('sec-websocket-protocol')).toBe(false);
});

/** The protocol that an open WebSocket says, or `closed`. */
function ofPackage(url: string, offered: string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, offered);
    onTestFinished(() => socket.terminate());
    socket.on('open', () => resolve(socket.protocol));
    socket.on('error', () => resolve('closed'));
  });
}

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

test('ws and Chromium open with one that is allowed, and not with none', async () => {
  const url = `${shared().url.replace('http', 'ws')}/c`;
  const page = await browser.newPage();
  onTestFinished(() => page.close());
  await page.goto(`${shared().url}/-/health`);
  const ofPage = (offered: string[]): Promise<string> =>
    page.evaluate(`new Promise((resolve) => {
      const socket = new WebSocket(${JSON.stringify(url)}, ${JSON.stringify(offered)});
      socket.onopen = () => resolve(socket.protocol);
      socket.onclose = () => resolve('closed');
    })`);
  const offers = [['bearer', 's3cr3t'], ['other'], []];
  const seen = async (open: (offered: string[]) => Promise<string>): Promise<string[]> =>
    Promise.all(offers.map(open));
  expect(await seen((offered) => ofPackage(url, offered))).toEqual(['bearer', 'closed', '']);
  expect(await seen(ofPage)).toEqual(['bearer', 'closed', '']);
});
