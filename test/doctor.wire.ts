/**
 * `holdline doctor`: what it says about real proxies, and about faults in front of a server, is
 * what they do.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Finding, Level } from '../src/tools/doctor/finding.js';
import { checkPath } from '../src/tools/doctor/path-checks.js';
import { ANSWER_MS, probePath, type ProbeOptions } from '../src/tools/doctor/proxy-path.js';
import {
  HAPROXY_FOR_STREAMS,
  haproxyForTest,
  nginxForTest,
  nginxLines,
  PATH_CHECKS,
} from './support/front.js';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';

const LINES = 10_000;

/** Where a test waits for what never comes: long enough for the answers that do. */
const BRIEFLY = { answerMs: 1_000 };

type Findings = Readonly<Record<string, Finding>>;

/** What the doctor finds on the path to a channel. */
async function through(base: string, options: Partial<ProbeOptions> = {}): Promise<Findings> {
  const seen = await probePath({
    url: `${base}/c`,
    publishKey: undefined,
    idleMs: 300,
    answerMs: ANSWER_MS,
    ...options,
  });
  return Object.fromEntries(checkPath(seen, LINES).map((finding) => [finding.name, finding]));
}

/** The levels by name, of those that are not ok. */
function faults(findings: Findings): Record<string, Level> {
  return Object.fromEntries(
    Object.values(findings).flatMap(({ name, level }) => (level === 'ok' ? [] : [[name, level]])),
  );
}

const server = sharedHosted({ heartbeat: '100ms' });
/** One that sends no keepalive while a test looks. */
const silent = sharedHosted({ heartbeat: '10min' });

describe('a path on which nothing is wrong', () => {
  it('is the direct one', async () => {
    const findings = await through(server().url);
    expect(Object.keys(findings)).toEqual(PATH_CHECKS);
    expect(faults(findings)).toEqual({});
    expect(findings['stays-open']!.value).toMatch(/^open after 300 ms; [1-9]\d* blocks? arrived/);
    expect(Object.values(findings).every(({ mend }) => mend === null)).toBe(true);
  });

  it('is an nginx that is set for streams', async () => {
    const findings = await through(await nginxForTest(server().port, nginxLines()));
    expect(Object.keys(findings)).toEqual(PATH_CHECKS);
    expect(faults(findings)).toEqual({});
  });

  it('is a haproxy that is set for streams', async () => {
    const findings = await through(await haproxyForTest(server().port, HAPROXY_FOR_STREAMS));
    expect(Object.keys(findings)).toEqual(PATH_CHECKS);
    expect(faults(findings)).toEqual({});
  });
});

describe('a channel that others publish to', () => {
  /** A front that passes requests on, and publishes to the server before so many of the polls. */
  const busyFront = async (before: number): Promise<string> => {
    let polls = 0;
    const target = { host: '127.0.0.1', port: server().port };
    const front = createHttpServer((asked, answer) => {
      const isPoll = asked.url!.includes('since=');
      const publishes = isPoll && polls++ < before;
      const ready = publishes
        ? fetch(`${server().url}/c`, { method: 'POST', body: 'of others' })
        : Promise.resolve();
      void ready.then(() => {
        const { method, url: path, headers } = asked;
        const passed = request({ ...target, method, path, headers }, (given) => {
          answer.writeHead(given.statusCode!, given.headers);
          given.pipe(answer);
        });
        answer.on('close', () => passed.destroy());
        passed.on('error', () => answer.destroy());
        asked.pipe(passed);
      });
    });
    front.on('upgrade', (_asked, socket) => socket.destroy());
    onTestFinished(() => {
      front.closeAllConnections();
      front.close();
    });
    await once(front.listen(0, '127.0.0.1'), 'listening');
    return `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  };

  it('is not taken for a cache', async () => {
    const { caching } = await through(await busyFront(1));
    expect(caching).toMatchObject({
      level: 'ok',
      value: expect.stringContaining('a poll returned what was just published') as string,
    });
  });

  it('without a pause is not judged by polls', async () => {
    const { caching } = await through(await busyFront(Infinity));
    expect(caching).toMatchObject({ level: 'ok', value: 'Cache-Control: no-cache, no-transform' });
  });
});

describe('a server whose readers show a key', () => {
  const readers = JSON.stringify([
    {
      name: 'reader',
      sha256: createHash('sha256').update('a-key').digest('hex'),
      subscribe: ['**'],
    },
  ]);

  it('is looked at with one, and asks for one without', async () => {
    const { url } = await hostedForTest({ heartbeat: '100ms', keys: readers });
    const findings = await through(url, { subscribeKey: 'a-key', directUrl: `${url}/c` });
    expect(Object.keys(findings)).toEqual(PATH_CHECKS);
    expect(faults(findings)).toEqual({});
    const { answer, ...rest } = await through(url);
    expect(answer).toMatchObject({
      level: 'problem',
      value: expect.stringMatching(/^401: /) as string,
      mend: expect.stringContaining('--subscribe-key-file') as string,
    });
    expect(rest).toEqual({});
  });
});

describe('nginx', () => {
  const buffering = nginxLines().replace('proxy_buffering off;', '');
  const compressing = 'gzip on; gzip_types text/event-stream; gzip_min_length 0;';

  it('as it comes speaks HTTP/1.0, and nobody is served', async () => {
    const { answer, ...rest } = await through(await nginxForTest(server().port, ''));
    expect(answer).toMatchObject({
      level: 'problem',
      value: expect.stringMatching(/^505: /) as string,
    });
    expect(answer!.mend).toContain('proxy_http_version 1.1;');
    expect(rest).toEqual({});
  });

  it('that buffers and compresses holds everything back', async () => {
    const front = await nginxForTest(
      server().port,
      `${buffering} proxy_ignore_headers X-Accel-Buffering; ${compressing}`,
    );
    const findings = await through(front, BRIEFLY);
    expect(faults(findings)).toEqual({ buffering: 'problem', compression: 'problem' });
    expect(findings['buffering']!.mend).toContain('proxy_buffering off;');
    expect(findings['compression']!.mend).toContain('nginx gzip_types');
  });

  it('that compresses without buffering passes events on', async () => {
    const findings = await through(
      await nginxForTest(server().port, `${nginxLines()} ${compressing}`),
    );
    expect(faults(findings)).toEqual({ compression: 'advice' });
    expect(findings['compression']!.value).toBe('gzip made on the path');
  });

  it('that caches answers polls with what was', async () => {
    const cache = 'proxy_cache z; proxy_ignore_headers Cache-Control; proxy_cache_valid any 1m;';
    const front = await nginxForTest(server().port, `${buffering} ${cache}`, {
      http: 'proxy_cache_path FOLDER/cache keys_zone=z:1m;',
    });
    expect(faults(await through(front))).toEqual({ caching: 'problem' });
  });

  it('that drops Last-Event-ID makes those who come back miss what was sent', async () => {
    const findings = await through(
      await nginxForTest(server().port, `${nginxLines()} proxy_set_header Last-Event-ID "";`),
    );
    expect(faults(findings)).toEqual({ 'last-event-id': 'problem' });
  });

  it('with a short proxy_read_timeout cuts a silent stream', async () => {
    const front = await nginxForTest(silent().port, `${nginxLines()} proxy_read_timeout 1s;`);
    const findings = await through(front, { idleMs: 15_000 });
    expect(faults(findings)).toEqual({ 'stays-open': 'problem' });
    expect(findings['stays-open']!.value).toMatch(
      /^(?:cut|ended) after [\d.]+ m?s, [\d.]+ m?s after its last bytes$/,
    );
  });

  it('that lets a client have one stream refuses the second', async () => {
    const zone =
      'map $http_accept $streaming { default ""; "text/event-stream" $binary_remote_addr; } limit_conn_zone $streaming zone=s:1m;';
    const front = await nginxForTest(server().port, `${nginxLines()} limit_conn s 1;`, {
      http: zone,
    });
    expect(faults(await through(front))).toEqual({ 'second-stream': 'problem' });
  });

  it('with several servers behind it takes publishes where the stream is not', async () => {
    const other = await hostedForTest();
    const front = await nginxForTest(
      server().port,
      `${nginxLines()} if ($request_method = POST) { proxy_pass http://127.0.0.1:${other.port}; }`,
    );
    expect(faults(await through(front, BRIEFLY))).toEqual({ 'one-server': 'problem' });
  });

  it('that lets no POST through leaves the rest to be seen', async () => {
    const findings = await through(
      await nginxForTest(server().port, `${nginxLines()} limit_except GET { deny all; }`),
    );
    expect(faults(findings)).toEqual({ publishing: 'advice' });
    expect(findings['publishing']!.value).toMatch(/^403 /);
    expect(findings['last-event-id']!.value).toBe('passed on');
  });

  it('without a server behind it is told from a refusal of Holdline', async () => {
    const gone = await hostedForTest();
    const front = await nginxForTest(gone.port, nginxLines());
    await gone.end();
    expect((await through(front))['answer']).toMatchObject({
      level: 'problem',
      value: expect.stringMatching(/^502: /) as string,
      mend: 'check that the server is running, and that the proxy has its address',
    });
  });
});

describe('haproxy', () => {
  it('with a short timeout server cuts a silent stream, whatever its timeout tunnel', async () => {
    const front = await haproxyForTest(silent().port, [
      'timeout server 1s',
      'timeout tunnel 1h',
      'option http-no-delay',
    ]);
    const findings = await through(front, { idleMs: 15_000 });
    expect(faults(findings)).toEqual({ 'stays-open': 'problem' });
    expect(findings['stays-open']!.mend).toContain('haproxy: timeout server 1h');
  });
});

describe('a proxy', () => {
  /** Waits for the stream that is asked for right before the idle time. */
  const secondStream = (proxy: FaultProxy): Promise<boolean> =>
    proxy.waitFor('the second stream', () =>
      proxy.connections.some((one) => one.requestHeader('last-event-id') !== undefined),
    );

  it.each([
    ['hold', ['buffering', 'websocket']],
    ['hold-body', ['buffering']],
  ] as const)(
    'that does not pass on what has not ended (%s) is found to',
    async (meddling, names) => {
      const proxy = await FaultProxy.start(server().port);
      proxy.faults.meddling = meddling;
      const found = faults(await through(proxy.url, BRIEFLY));
      expect(found).toEqual(Object.fromEntries(names.map((name) => [name, 'problem'])));
    },
  );

  it('that holds each event for some time is found to, by how long', async () => {
    const proxy = await FaultProxy.start(silent().port);
    const found = through(proxy.url);
    (await proxy.waitForConnection(1)).faults.delayMs = 500;
    const findings = await found;
    expect(faults(findings)).toEqual({ buffering: 'advice' });
    expect(findings['buffering']!.value).toMatch(
      /^an event arrives \d{3} ms after its publish was answered$/,
    );
  });

  it('that lets no stream through is found to', async () => {
    const proxy = await FaultProxy.start(server().port);
    proxy.faults.meddling = 'block-streams';
    expect((await through(proxy.url))['answer']).toMatchObject({
      level: 'problem',
      value: '403: Blocked',
    });
    proxy.faults.meddling = 'cut-streams';
    expect((await through(proxy.url))['answer']).toMatchObject({
      level: 'problem',
      value: expect.stringMatching(/^none: /) as string,
    });
  });

  it('that forgets a silent connection without a word is found to', async () => {
    const proxy = await FaultProxy.start(silent().port);
    const found = through(proxy.url, { idleMs: 1_000, answerMs: 1_500 });
    await secondStream(proxy);
    proxy.connections[0]!.silence();
    const findings = await found;
    expect(faults(findings)).toEqual({ 'stays-open': 'problem' });
    expect(findings['stays-open']!.value).toBe('open after 1 s, but events no longer arrive');
  });

  it('that cuts a young stream is found to', async () => {
    const proxy = await FaultProxy.start(silent().port);
    const found = through(proxy.url, { idleMs: 15_000 });
    await secondStream(proxy);
    proxy.connections[0]!.cut();
    expect(faults(await found)).toEqual({ 'stays-open': 'problem' });
  });
});

/** Answers every connection with these bytes and ends it, unless it is to stay open; its URL. */
async function answering(bytes: string, end = true): Promise<string> {
  const fake = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => (end ? socket.end(bytes) : socket.write(bytes)));
    onTestFinished(() => void socket.destroy());
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void fake.close());
  await once(fake, 'listening');
  return `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
}

describe('an answer', () => {
  it('of nobody is told from one', async () => {
    const gone = await hostedForTest();
    await gone.end();
    expect((await through(gone.url))['answer']!.value).toMatch(/^none: .*ECONNREFUSED/);
  });

  it('that never comes is told from one', async () => {
    expect(await through(await answering('', false), BRIEFLY)).toMatchObject({
      answer: { level: 'problem', value: 'none in time' },
    });
  });

  it('of a page is no stream', async () => {
    const page = await answering(
      'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi',
    );
    expect(faults(await through(page))).toMatchObject({
      answer: 'problem',
      'content-type': 'problem',
    });
  });

  it('under HTTP/1.0, with another type, another Cache-Control and an age is told of', async () => {
    const old =
      'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\nAge: 7\r\n\r\nid: 5\n\n';
    const findings = await through(await answering(old, false), { answerMs: 400 });
    expect(faults(findings)).toMatchObject({
      'http-version': 'advice',
      'content-type': 'problem',
      caching: 'problem',
    });
    expect(findings['caching']!.value).toContain('Age: 7');
  });

  it('of a server that is full is told from that of a proxy', async () => {
    const full = await hostedForTest({ 'max-connections': 1 });
    const line = await fetch(`${full.url}/c`, { headers: { Accept: 'text/event-stream' } });
    expect((await through(full.url))['answer']).toMatchObject({
      level: 'problem',
      value: '200, and ended at once',
    });
    await line.body?.cancel();
  });

  it('to a Host that the server does not know names the option', async () => {
    const front = await nginxForTest(server().port, nginxLines({ Host: 'events.example' }));
    expect((await through(front))['answer']!.mend).toContain('--allowed-hosts');
  });

  it('to a publisher without a key is told of, and with the key all is seen', async () => {
    const closed = await hostedForTest({ 'open-publish': false, 'publish-key': 'secret' });
    expect(faults(await through(closed.url))).toEqual({ publishing: 'advice' });
    expect(faults(await through(closed.url, { publishKey: 'secret' }))).toEqual({});
  });
});
