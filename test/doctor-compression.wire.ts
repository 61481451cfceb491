/**
 * `holdline doctor --through … --direct …`: what it says about compression is what real proxies do
 * with it.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGzip } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Finding } from '../src/tools/doctor/finding.js';
import { checkPath } from '../src/tools/doctor/path-checks.js';
import { probePath } from '../src/tools/doctor/proxy-path.js';
import {
  caddyForTest,
  HAPROXY_FOR_STREAMS,
  haproxyForTest,
  nginxForTest,
  nginxLines,
} from './support/front.js';
import { sharedHosted, type HostedServer } from './support/hosted.js';

/** Compresses, and asks proxies not to. */
const sharing = sharedHosted({ compress: 'shared' });
/** Compresses, and lets proxies do so. */
const allowing = sharedHosted({ compress: 'shared', 'allow-transform': true });
/** Sends plain bytes, and lets proxies compress. */
const plain = sharedHosted({ 'allow-transform': true });

/** What the doctor finds about compression and buffering on the path to a channel. */
async function through(
  base: string,
  server?: HostedServer,
): Promise<{ readonly compression: Finding | undefined; readonly buffering: Finding | undefined }> {
  const seen = await probePath({
    url: `${base}/c`,
    directUrl: server === undefined ? undefined : `${server.url}/c`,
    publishKey: undefined,
    idleMs: 1,
    answerMs: 2_000,
  });
  const findings = checkPath(seen, 10_000);
  const named = (name: string) => findings.find((finding) => finding.name === name);
  return { compression: named('compression'), buffering: named('buffering') };
}

type Says = Pick<Finding, 'level' | 'value'>;
const PASSED: Says = { level: 'ok', value: 'gzip, as the server made it for all lines' };
const STRIPPED: Says = {
  level: 'advice',
  value: 'none: the server compresses, but Accept-Encoding does not reach it through the proxy',
};
const UNPACKED: Says = {
  level: 'advice',
  value: 'none: the server compresses, and something on the path decompresses',
};
const ADDED: Says = {
  level: 'advice',
  value: 'gzip made on the path; the server sends plain bytes',
};
const REPLACED: Says = {
  level: 'advice',
  value: "gzip made on the path, in place of the server's",
};
const COMPRESSING = 'gzip on; gzip_types text/event-stream; gzip_min_length 0;';
const NGINX = nginxLines();
/** An nginx that decompresses what an nginx before it has asked for. */
const unpacking = (port: number): string => `
  server {
    listen unix:FOLDER/inner;
    location / {
      proxy_pass http://127.0.0.1:${port}; ${NGINX}
      proxy_set_header Accept-Encoding gzip; gunzip on;
    }
  }
  upstream inner { server unix:FOLDER/inner; }`;

type Case = readonly [
  what: string,
  server: () => HostedServer,
  front: (port: number) => Promise<string> | string,
  says: Says,
];

describe('of compression the doctor says what becomes of it', () => {
  it.each<Case>([
    ['nothing in between', sharing, () => sharing().url, PASSED],
    ['an nginx that passes streams on', sharing, (port) => nginxForTest(port, NGINX), PASSED],
    [
      'a haproxy that passes streams on',
      sharing,
      (port) => haproxyForTest(port, HAPROXY_FOR_STREAMS),
      PASSED,
    ],
    ['a caddy that passes streams on', sharing, (port) => caddyForTest(port, []), PASSED],
    [
      'an nginx that compresses, too',
      sharing,
      (port) => nginxForTest(port, `${NGINX} ${COMPRESSING}`),
      PASSED,
    ],
    [
      'an nginx without Accept-Encoding',
      sharing,
      (port) => nginxForTest(port, `${NGINX} proxy_set_header Accept-Encoding "";`),
      STRIPPED,
    ],
    [
      'an nginx without Accept-Encoding that compresses by itself',
      sharing,
      (port) => nginxForTest(port, `${NGINX} proxy_set_header Accept-Encoding ""; ${COMPRESSING}`),
      REPLACED,
    ],
    [
      'an nginx that decompresses',
      sharing,
      (port) =>
        nginxForTest(
          port,
          `${NGINX} proxy_set_header Accept-Encoding ""; proxy_pass http://inner;`,
          { http: unpacking(port) },
        ),
      UNPACKED,
    ],
    [
      'an nginx that compresses what is plain',
      plain,
      (port) => nginxForTest(port, `${NGINX} ${COMPRESSING}`),
      ADDED,
    ],
    [
      'a haproxy that offloads, and heeds no-transform',
      sharing,
      (port) =>
        haproxyForTest(port, [
          ...HAPROXY_FOR_STREAMS,
          'compression algo gzip',
          'compression offload',
        ]),
      STRIPPED,
    ],
    [
      'a haproxy that offloads',
      allowing,
      (port) =>
        haproxyForTest(port, [
          ...HAPROXY_FOR_STREAMS,
          'compression algo gzip',
          'compression offload',
        ]),
      REPLACED,
    ],
    [
      'a haproxy that compresses what is plain',
      plain,
      (port) => haproxyForTest(port, [...HAPROXY_FOR_STREAMS, 'compression algo gzip']),
      ADDED,
    ],
    [
      'a caddy without Accept-Encoding',
      sharing,
      (port) => caddyForTest(port, ['header_up -Accept-Encoding']),
      STRIPPED,
    ],
    [
      'a caddy that compresses what is plain',
      plain,
      (port) => caddyForTest(port, [], ['encode {', 'gzip', 'minimum_length 1', '}']),
      ADDED,
    ],
  ])('%s', async (_what, server, front, says) => {
    const { compression, buffering } = await through(await front(server().port), server());
    expect(compression).toMatchObject(says);
    expect(compression!.fix === null).toBe(says.level === 'ok');
    expect(buffering!.level).toBe('ok');
  });

  it('without --direct, whose gzip it is', async () => {
    expect((await through(sharing().url)).compression).toMatchObject(PASSED);
    const front = await nginxForTest(plain().port, `${NGINX} ${COMPRESSING}`);
    expect((await through(front)).compression).toMatchObject({
      level: 'advice',
      value: 'gzip made on the path',
    });
  });

  it('a compressor that waits for more bytes than an event has', async () => {
    const front = await holdingCompressor(plain().port);
    const { compression, buffering } = await through(front, plain());
    expect(compression).toMatchObject({
      level: 'problem',
      value:
        'held back: events come late to a client that takes gzip, and at once to one that does not',
    });
    expect(buffering!.level).toBe('problem');
  });
});

/** A proxy that compresses without flushing, as the ready-made middlewares of some frameworks do. */
async function holdingCompressor(serverPort: number): Promise<string> {
  const front = createServer((asked, answer) => {
    const { method, url, headers } = asked;
    const pass = (given: IncomingMessage): void => {
      given.on('error', () => {});
      const isPacked =
        given.headers['content-type'] === 'text/event-stream' &&
        headers['accept-encoding']?.includes('gzip') === true;
      answer.writeHead(given.statusCode!, {
        ...given.headers,
        ...(isPacked ? { 'content-encoding': 'gzip' } : {}),
      });
      if (isPacked) given.pipe(createGzip()).pipe(answer);
      else given.pipe(answer);
    };
    const passed = request({ port: serverPort, host: '127.0.0.1', method, path: url, headers });
    passed.on('response', pass).on('error', () => answer.destroy());
    answer.on('close', () => passed.destroy());
    asked.pipe(passed);
  });
  front.listen(0, '127.0.0.1');
  onTestFinished(() => {
    front.closeAllConnections();
    front.close();
  });
  await once(front, 'listening');
  return `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
}
