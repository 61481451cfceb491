/**
 * `holdline doctor --through` and what pages need of a proxy: real ones that change Host or keep
 * upgrades to themselves are found to, with the line that fixes it; the fixed one is clear.
 */

import { describe, expect, it } from 'vitest';
import { checkPath } from '../src/tools/doctor/path-checks.js';
import { probePath } from '../src/tools/doctor/proxy-path.js';
import {
  caddyForTest,
  HAPROXY_FOR_STREAMS,
  haproxyForTest,
  nginxForTest,
  nginxLines,
} from './support/front.js';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import { SseLine } from './support/line.js';

const server = sharedHosted({ heartbeat: '100ms' });

/** What is found on the path to a channel, beside what is ok: the values and fixes by name. */
async function faultsOf(
  base: string,
  options: { readonly publishKey?: string; readonly answerMs?: number } = {},
): Promise<Record<string, string>> {
  const seen = await probePath({
    url: `${base}/c`,
    publishKey: undefined,
    idleMs: 50,
    answerMs: 3_000,
    ...options,
  });
  const faults = checkPath(seen, 1).filter(({ level }) => level === 'problem');
  return Object.fromEntries(faults.map(({ name, value, mend }) => [name, `${value} → ${mend}`]));
}

const port = (url: string): string => new URL(url).port;

const nginx = (headers: Record<string, string | undefined>): Promise<string> =>
  nginxForTest(server().port, nginxLines(headers));
const haproxy = (...listen: string[]): Promise<string> =>
  haproxyForTest(server().port, HAPROXY_FOR_STREAMS, { listen });
const caddy = (...lines: string[]): Promise<string> => caddyForTest(server().port, lines);

describe('own-origin', () => {
  it.each<[proxy: string, start: () => Promise<string>, mend: string]>([
    ['nginx with Host $host', () => nginx({ Host: '$host' }), 'Host $http_host;'],
    [
      'haproxy that cuts the port off',
      () => haproxy('http-request set-header Host %[req.hdr(host),field(1,:)]'),
      'haproxy: no http-request set-header Host',
    ],
    ['caddy with header_up Host {host}', () => caddy('header_up Host {host}'), 'no header_up Host'],
  ])('%s loses the port', async (_, start, mend) => {
    const base = await start();
    const faults = await faultsOf(base);
    expect(Object.keys(faults)).toEqual(['own-origin']);
    expect(faults['own-origin']).toContain(
      `refused: 127.0.0.1:${port(base)} arrives as the Host 127.0.0.1 →`,
    );
    expect(faults['own-origin']).toContain(mend);
    expect(faults['own-origin']).toContain(`--allow-origin ${base}`);
  });

  it('a proxy that loses the port is found by the WebSocket, too, which has an Origin', async () => {
    const url = `${await nginx({ Host: '$host' })}/c`;
    const seen = await probePath({ url, publishKey: undefined, idleMs: 50, answerMs: 3_000 });
    expect(checkPath(seen, 1).find(({ name }) => name === 'websocket')).toMatchObject({
      level: 'advice',
      value: 'refused to pages of the own origin',
      mend: 'see own-origin',
    });
  });

  it('nginx with Host $host:8443 has a port that clients do not send', async () => {
    const faults = await faultsOf(await nginx({ Host: '$host:8443' }));
    expect(faults['own-origin']).toContain('refused: the Host that arrives is another');
  });

  it.each<[proxy: string, start: () => Promise<string>]>([
    ['nginx as it comes', () => nginx({ Host: undefined })],
    ['haproxy', () => haproxy(`http-request set-header Host localhost:${server().port}`)],
    ['caddy', () => caddy('header_up Host {upstream_hostport}')],
  ])('%s puts the name of the upstream in place of it', async (_, start) => {
    const base = await start();
    const faults = await faultsOf(base);
    expect(Object.keys(faults)).toEqual(['own-origin']);
    expect(faults['own-origin']).toContain(
      `refused: the Host that arrives is another name than 127.0.0.1:${port(base)} →`,
    );
  });

  it('is looked at without publishing anything, with a key and without', async () => {
    const closed = await hostedForTest({ 'open-publish': false, 'publish-key': 'k' });
    const line = await SseLine.open(closed.port, '/c');
    const base = await nginxForTest(closed.port, nginxLines({ Host: '$host' }));
    expect(Object.keys(await faultsOf(base))).toEqual(['own-origin']);
    expect((await closed.request('GET', '/c?since=0&wait=0')).status).toBe(204);
    expect(Object.keys(await faultsOf(base, { publishKey: 'k' }))).toEqual(['own-origin']);
    await line.waitForEvents(1);
    const types = line.events.map(({ event }) => event);
    expect(new Set(types)).toEqual(new Set(['holdline-doctor']));
    line.close();
  });

  it('is no fault where the origin is allowed by name', async () => {
    const base = await nginx({ Host: '$host' });
    const allowing = await hostedForTest({ 'allow-origin': base });
    const front = await FaultProxy.start(allowing.port);
    expect(await faultsOf(front.url)).toEqual({});
  });
});

describe('websocket', () => {
  it.each<[proxy: string, start: () => Promise<string>, mend: string]>([
    [
      'nginx without the two headers',
      () => nginx({ Upgrade: undefined, Connection: '""' }),
      'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;',
    ],
    [
      'haproxy that deletes it',
      () => haproxy('http-request del-header Upgrade'),
      'no http-request del-header Upgrade',
    ],
    ['caddy that deletes it', () => caddy('header_up -Upgrade'), 'no header_up -Upgrade'],
  ])('%s does not pass Upgrade on', async (_, start, mend) => {
    const faults = await faultsOf(await start());
    expect(Object.keys(faults)).toEqual(['websocket']);
    expect(faults['websocket']).toContain(mend);
  });

  it.each<[proxy: string, start: () => Promise<string>]>([
    ['nginx', () => nginx({})],
    ['haproxy', () => haproxy()],
    ['caddy', () => caddy()],
  ])('%s passes it on, and the Host', async (_, start) => {
    expect(await faultsOf(await start())).toEqual({});
  });

  it('is refused in words where the server is full, which is not the fault of the proxy', async () => {
    const full = await hostedForTest({ 'max-connections': 1 });
    expect((await faultsOf(full.url))['websocket']).toBeUndefined();
  });

  it('that is never answered is found to', async () => {
    const proxy = await FaultProxy.start(server().port);
    const found = faultsOf(proxy.url, { answerMs: 500 });
    const handshake = await proxy.waitFor('the handshake', () =>
      proxy.connections.find(({ requestHead }) => /^upgrade: websocket/im.test(requestHead)),
    );
    handshake.silence();
    expect((await found)['websocket']).toMatch(/^none: no answer within 500 ms →/);
  });
});

describe('health', () => {
  it('of a server that haproxy asks with HTTP/1.0 is DOWN, and the doctor says how to ask', async () => {
    const base = await haproxyForTest(server().port, [...HAPROXY_FOR_STREAMS, 'option httpchk'], {
      server: 'check inter 20ms fall 1',
    });
    await expect.poll(async () => (await fetch(`${base}/-/health`)).status).toBe(503);
    const faults = await faultsOf(base);
    expect(faults['answer']).toMatch(/^503: .*No server is available/);
    expect(faults['answer']).toContain(
      'http-check send meth GET uri /-/ready ver HTTP/1.1 hdr Host localhost',
    );
  });
});
