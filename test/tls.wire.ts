/**
 * TLS: every transport over it, files that cannot be served, and certificates that change while
 * lines are open.
 */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createServer, type Options, type Server } from '../dist/index.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import { makeCounters } from '../src/counters.js';
import { loadLibc, ownListeners, SOL_SOCKET } from '../src/native/libc.js';
import type * as Load from '../src/native/load.js';
import { Unread, upgrade } from '../src/native/messages.js';
import { listen } from '../src/native/uws.js';
import { certificateFolder, trust, type TestCertificate } from './support/certificates.js';
import { SseLine } from './support/line.js';
import { runHoldline, serverForTest } from './support/server.js';
import { codeOf, HttpClient, jsonOf, RawConnection, request, type Answer } from './support/wire.js';

/** Apps with TLS that src/ has closed, by the order in which they were made. */
const closedApps = vi.hoisted((): number[] => []);

vi.mock('../src/native/load.js', async (original) => {
  const real = await original<typeof Load>();
  return {
    ...real,
    async loadUws(headBytesMax: number): Promise<Load.Loaded> {
      const loaded = await real.loadUws(headBytesMax);
      let made = 0;
      const SSLApp: Load.Uws['SSLApp'] = (options) => {
        const app = loaded.uws.SSLApp(options);
        const number = made++;
        const close = app.close.bind(app);
        app.close = () => {
          closedApps.push(number);
          return close();
        };
        return app;
      };
      return { ...loaded, uws: { ...loaded.uws, SSLApp } };
    },
  };
});

function ignore(): void {}

const folder = certificateFolder();
const first = folder.make('first');
const second = folder.make('second');

/** SO_SNDBUF on Linux, x64 and arm64. */
const SO_SNDBUF = 7;

/** A connection with TLS that trusts this certificate and no other. */
function connectTo(
  port: number,
  certificate: TestCertificate,
  options: ConnectionOptions = {},
): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const ca = trust(certificate);
    const socket = connectTls({ host: '127.0.0.1', port, ca, ...options });
    onTestFinished(() => void socket.destroy());
    socket.once('error', reject);
    socket.once('secureConnect', () => resolve(new RawConnection(socket, port)));
  });
}

async function ask(
  port: number,
  method: string,
  path: string,
  parts: Parameters<HttpClient['request']>[2] = {},
  certificate = first,
): Promise<Answer> {
  const client = new HttpClient(await connectTo(port, certificate), port);
  try {
    return await client.request(method, path, parts);
  } finally {
    client.close();
  }
}

/** A server in this process that serves the first certificate. */
async function listening(options: Options = {}): Promise<{ server: Server; port: number }> {
  const server = createServer({ port: 0, openPublish: true, ...first, ...options });
  onTestFinished(() => server.close({ drainMs: 0 }));
  const { port } = await server.listen();
  return { server, port };
}

/** The name of the certificate that a new connection is shown. */
async function subjectAt(port: number): Promise<string> {
  const { socket } = await connectTo(port, first, { rejectUnauthorized: false });
  const { raw } = (socket as TLSSocket).getPeerCertificate();
  socket.destroy();
  return new X509Certificate(raw).subject;
}

const flags = { 'tls-cert': first.tlsCert, 'tls-key': first.tlsKey };

describe('every transport', () => {
  test('works over TLS, HTTP/1.1 and no older TLS than 1.2', async () => {
    const server = await serverForTest({ ...flags, demo: true, 'ops-key': 'ops' });
    const { port } = server;
    expect(server.logs.find(({ msg }) => msg === 'listening')).toMatchObject({
      url: `https://127.0.0.1:${port}`,
    });
    const demo = await server.waitFor('the demo', () =>
      server.logs.find(({ msg }) => String(msg).startsWith('open the demo')),
    );
    expect(demo['url']).toBe(`https://127.0.0.1:${port}/-/demo`);
    const connection = await connectTo(port, first, { ALPNProtocols: ['h2', 'http/1.1'] });
    const tls = connection.socket as TLSSocket;
    expect([tls.alpnProtocol, tls.authorized]).toEqual([false, true]);
    const line = await SseLine.over(connection, '/c');
    const ndjson = await connectTo(port, first);
    ndjson.send('GET /c HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n');
    const waiting = ask(port, 'GET', '/c?wait=5', { headers: { Accept: 'application/json' } });
    const socket = new WebSocket(`wss://127.0.0.1:${port}/c`, { ca: trust(first) });
    onTestFinished(() => socket.terminate());
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    const message = new Promise<string>((resolve) =>
      socket.on('message', (data: Buffer) => {
        if (data.includes('hello')) resolve(data.toString());
      }),
    );
    const stats = async (): Promise<{ lines: { open: number } }> =>
      jsonOf(await ask(port, 'GET', '/-/stats', { headers: server.opsHeaders })) as never;
    await expect.poll(async () => (await stats()).lines.open).toBe(4);
    const published = await ask(port, 'POST', '/c', { body: 'hello' });
    expect(jsonOf(published)).toMatchObject({ id: 1, subscribers: 4 });
    await line.waitForId(1);
    await ndjson.waitFor('the event', () => ndjson.text.includes('"id":1'));
    expect((await waiting).text).toContain('hello');
    expect(await message).toContain('"id":1');
    const old = connectTo(port, first, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' });
    await expect(old).rejects.toThrow(/version|alert|protocol/);
  });

  test('survives a client that speaks plain HTTP, or none at all', async () => {
    const { port } = await listening();
    for (const bytes of ['GET /c HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\xff\xff', 'x']) {
      const connection = await RawConnection.open(port);
      connection.send(bytes);
      connection.socket.end();
      await connection.waitFor('its close', () => connection.closed);
      expect(connection.text).not.toContain('HTTP/1.1');
    }
    expect((await ask(port, 'GET', '/-/health')).status).toBe(200);
  });

  test('gives a reader that stopped all of a megabyte when it reads on', async () => {
    const { server, port } = await listening({ replayEvents: 5000, replayBytes: 8 << 20 });
    const connection = await connectTo(port, first);
    const line = await SseLine.over(connection, '/c');
    connection.pause();
    const channel = server.channel('c');
    const data = 'x'.repeat(1000);
    let published = 0;
    while (server.stats().lines.stalled === 0) {
      await channel.publishAll(Array.from({ length: 50 }, () => ({ data })));
      published += 50;
      await new Promise((resolve) => setImmediate(resolve));
      expect(published).toBeLessThan(4000);
    }
    await channel.publishAll(Array.from({ length: 1000 }, () => ({ data })));
    connection.resume();
    await line.waitForEvents(published + 1000);
    expect([line.gaps, line.blocks.filter((block) => block.data === data).length]).toEqual([
      [],
      published + 1000,
    ]);
  });
});

describe('a port for operations', () => {
  test('has no TLS, and a warning where others could read the key', async () => {
    const server = await serverForTest({ ...flags, 'ops-listen': '0.0.0.0:0', 'ops-key': 'ops' });
    const warning = await server.waitFor('a warning', () =>
      server.logs.find(({ msg }) => String(msg).startsWith('--ops-listen')),
    );
    expect(warning['msg']).toContain('is plain HTTP: the ops key travels readable');
    const { opsUrl } = server.logs.find(({ msg }) => msg === 'listening') as { opsUrl: string };
    const { port } = new URL(opsUrl);
    const health = await request(Number(port), 'GET', '/-/health');
    expect(health.status).toBe(200);
    expect((await ask(server.port, 'GET', '/-/health')).status).toBe(200);
    expect((await ask(server.port, 'GET', '/-/stats')).status).toBe(404);
  });
});

describe('a page of the server itself', () => {
  test('has the scheme of TLS, and one of plain HTTP is foreign', async () => {
    const { port } = await listening();
    const post = (origin: string): Promise<Answer> =>
      ask(port, 'POST', '/c', { headers: { Origin: origin }, body: 'x' });
    expect((await post(`https://127.0.0.1:${port}`)).status).toBe(200);
    const foreign = await post(`http://127.0.0.1:${port}`);
    expect([foreign.status, codeOf(foreign)]).toEqual([403, 'HOLDLINE_CROSS_SITE']);
    const headers = { Accept: 'text/html' };
    const landing = await ask(port, 'GET', '/', { headers });
    expect(landing.text.replaceAll('<wbr>', '')).toContain(`https://127.0.0.1:${port}/notif`);
  });
});

describe('files that cannot be served', () => {
  const garbage = join(folder.path, 'garbage');
  writeFileSync(garbage, 'no PEM');
  const locked = join(folder.path, 'locked.key');
  execFileSync('openssl', [
    'pkey',
    '-in',
    first.tlsKey,
    '-aes128',
    '-passout',
    'pass:x',
    '-out',
    locked,
  ]);
  const koblitz = folder.make('koblitz', ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1']);
  const missing = join(folder.path, 'missing');

  test.each<[string, TestCertificate, string]>([
    [
      'a certificate that is not there',
      { ...first, tlsCert: missing },
      `the certificate (--tls-cert) "${missing}" cannot be read (ENOENT: no such file or directory, open '${missing}')`,
    ],
    [
      'a key that is not there',
      { ...first, tlsKey: missing },
      `the key (--tls-key) "${missing}" cannot be read (ENOENT: no such file or directory, open '${missing}')`,
    ],
    [
      'a folder',
      { ...first, tlsKey: folder.path },
      'cannot be read (EISDIR: illegal operation on a directory',
    ],
    ['a certificate of garbage', { ...first, tlsCert: garbage }, 'must be a certificate in PEM'],
    ['a key of garbage', { ...first, tlsKey: garbage }, 'must be a private key in PEM'],
    ['a key with a passphrase', { ...first, tlsKey: locked }, 'must be without a passphrase'],
    ['the key of another', { ...first, tlsKey: second.tlsKey }, 'and is that of another'],
    ['both in the wrong place', { tlsCert: first.tlsKey, tlsKey: first.tlsCert }, 'in PEM'],
    ['a key that only Node takes', koblitz, 'is of a kind that uWebSockets.js does not serve'],
  ])('%s: the server says so and does not listen', async (_, files, words) => {
    const server = createServer({ port: 0, ...files });
    onTestFinished(() => server.close({ drainMs: 0 }));
    const error: unknown = await server.listen().catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'HOLDLINE_BAD_OPTION' });
    expect((error as Error).message).toContain(words);
    expect((error as Error).message).not.toContain('no PEM');
  });

  test('end the command line with the exit code of a wrong option', () => {
    const args = ['serve', '--port=0', `--tls-cert=${missing}`, `--tls-key=${first.tlsKey}`];
    const { status, stderr } = runHoldline(args);
    expect([status, stderr]).toEqual([
      2,
      `holdline: the certificate (--tls-cert) "${missing}" cannot be read (ENOENT: no such file or directory, open '${missing}') (HOLDLINE_BAD_OPTION)\n`,
    ]);
  });

  test('a port is not shared with another server, whether that has TLS or not', async () => {
    const { port } = await listening();
    for (const files of [first, {}]) {
      const other = createServer({ port, ...files });
      onTestFinished(() => other.close({ drainMs: 0 }));
      await expect(other.listen()).rejects.toMatchObject({
        code: 'HOLDLINE_LISTEN',
        message: expect.stringContaining('the port is taken') as string,
      });
    }
  });
});

describe('a certificate that changes', () => {
  test('is shown to new connections, and open lines notice nothing', async () => {
    const { server, port } = await listening();
    const line = await SseLine.over(await connectTo(port, first), '/c');
    await server.channel('c').publish({ data: 'before' });
    expect(await subjectAt(port)).toBe('CN=first');
    await server.changeCertificate(second);
    expect(await subjectAt(port)).toBe('CN=second');
    const later = await SseLine.over(await connectTo(port, second), '/c');
    const id = await server.channel('c').publish({ data: 'after' });
    await Promise.all([line.waitForId(id), later.waitForId(id)]);
    expect([line.closed, line.gaps]).toEqual([false, []]);
    expect(server.stats().lines.open).toBe(2);
    // The end of the server is the end of the lines of both.
    await server.close({ drainMs: 1000 });
    expect([line.endCode, later.endCode]).toEqual(['draining', 'draining']);
  });

  test('in the same files is read again, and unless it changed nothing is done', async () => {
    const files = { tlsCert: join(folder.path, 'now.crt'), tlsKey: join(folder.path, 'now.key') };
    const put = (certificate: TestCertificate): void => {
      copyFileSync(certificate.tlsCert, files.tlsCert);
      copyFileSync(certificate.tlsKey, files.tlsKey);
    };
    put(first);
    const { server, port } = await listening(files);
    const libc = await loadLibc();
    const sockets = (): string[] => ownListeners(port, libc).map(({ link }) => link);
    const before = sockets();
    await server.changeCertificate(files);
    expect(sockets()).toEqual(before);
    put(second);
    await server.changeCertificate(files);
    const after = sockets();
    expect([after.length, after[0] === before[0]]).toEqual([1, false]);
    expect(await subjectAt(port)).toBe('CN=second');
  });

  test('gets the socket options of the one before', async () => {
    const { server, port } = await listening({ socketSendBufferBytes: 32 * 1024 });
    const libc = await loadLibc();
    const buffer = (): unknown =>
      libc.get(ownListeners(port, libc)[0]!.descriptor, SOL_SOCKET, SO_SNDBUF);
    expect([server.stats().sockets.options.sendBufferBytes, buffer()]).toEqual([65_536, 65_536]);
    await server.changeCertificate(second);
    expect([server.stats().sockets.problems, buffer()]).toEqual([[], 65_536]);
  });

  test('and had WebSockets is not kept when they have left', async () => {
    const counters = makeCounters();
    const unread = new Unread(makeHeldBytes());
    const listener = await listen(
      {
        host: '127.0.0.1',
        port: 0,
        maxConnections: 10,
        maxHeaderBytes: 16 * 1024,
        unixSocket: undefined,
        unixSocketMode: 0o660,
        certificate: first,
        ops: undefined,
        pingMs: 15_000,
        maxMessageBytes: 1024,
        socketSendBufferBytes: 0,
        socketReceiveBufferBytes: 0,
        notsentLowatBytes: 0,
        deadPeerTimeoutMs: 0,
      },
      counters,
      {
        handle(response, asked, context) {
          const key = asked.getHeader('sec-websocket-key');
          const handshake = { key, subprotocol: '', headers: [], context: context?.readers };
          upgrade(response, handshake, { session: {}, unread });
        },
        handleOps: ignore,
        accepted: ignore,
        messages: { received: ignore, controlled: ignore, drained: ignore, closed: ignore },
      },
    );
    onTestFinished(() => listener.closeAll());
    const socket = new WebSocket(`wss://127.0.0.1:${listener.port}/c`, { ca: trust(first) });
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    await listener.changeCertificate(second);
    await listener.changeCertificate(first);
    expect(closedApps, 'it is open').toEqual([]);
    socket.close();
    await expect.poll(() => counters.sockets_closed_total).toBe(1);
    await listener.changeCertificate(second);
    expect(closedApps).toEqual([0, 1]);
  });

  test('and cannot be served leaves the one before', async () => {
    const { server, port } = await listening();
    const line = await SseLine.over(await connectTo(port, first), '/c');
    const mixed = { tlsCert: second.tlsCert, tlsKey: first.tlsKey };
    const half = join(folder.path, 'half.crt');
    writeFileSync(half, readFileSync(second.tlsCert, 'utf8').slice(0, 200));
    for (const files of [mixed, { ...second, tlsCert: half }, { ...second, tlsKey: 'gone' }])
      await expect(server.changeCertificate(files)).rejects.toMatchObject({
        code: 'HOLDLINE_BAD_OPTION',
      });
    for (const given of [undefined, {}, { ...second, cert: 'x' }, { tlsCert: 1, tlsKey: 2 }])
      await expect(server.changeCertificate(given as never)).rejects.toMatchObject({
        code: 'HOLDLINE_BAD_ARGUMENT',
      });
    expect(await subjectAt(port)).toBe('CN=first');
    const id = await server.channel('c').publish({ data: 'x' });
    await line.waitForId(id);
  });

  test('is read again on SIGHUP, and a bad one is logged and left', async () => {
    const files = { tlsCert: join(folder.path, 'hup.crt'), tlsKey: join(folder.path, 'hup.key') };
    const put = ({ tlsCert, tlsKey }: TestCertificate): void => {
      copyFileSync(tlsCert, files.tlsCert);
      copyFileSync(tlsKey, files.tlsKey);
    };
    put(first);
    const server = await serverForTest({ 'tls-cert': files.tlsCert, 'tls-key': files.tlsKey });
    const { port } = server;
    const line = await SseLine.over(await connectTo(port, first), '/c');
    put({ ...first, tlsCert: second.tlsCert });
    server.signal('SIGHUP');
    const refused = await server.waitFor('the refusal', () =>
      server.logs.find(({ msg }) => String(msg).startsWith('certificate not reloaded')),
    );
    expect(refused['msg']).toContain('and is that of another');
    expect(await subjectAt(port)).toBe('CN=first');
    put(second);
    server.signal('SIGHUP');
    await expect.poll(() => subjectAt(port)).toBe('CN=second');
    await ask(port, 'POST', '/c', { body: 'x' }, second);
    await line.waitForEvents(1);
    expect([line.closed, line.gaps]).toEqual([false, []]);
  });

  test('many times at once leaves the last one, and one listening socket', async () => {
    const { server, port } = await listening();
    const libc = await loadLibc();
    const files = Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? second : first));
    await Promise.all(files.map((one) => server.changeCertificate(one)));
    expect(ownListeners(port, libc).length).toBe(1);
    expect(await subjectAt(port)).toBe('CN=first');
  });

  test('while the server ends does not keep it', async () => {
    const { server, port } = await listening();
    const changed = server.changeCertificate(second).catch((error: unknown) => error);
    await server.close({ drainMs: 0 });
    const outcome = await changed;
    if (outcome !== undefined) expect(outcome).toMatchObject({ code: 'HOLDLINE_LISTEN' });
    await expect(request(port, 'GET', '/')).rejects.toThrow('ECONNREFUSED');
    await expect(server.changeCertificate(first)).rejects.toMatchObject({
      code: 'HOLDLINE_LISTEN',
    });
  });

  test('has nothing to begin with on a server of plain HTTP', async () => {
    const server = createServer({ port: 0 });
    onTestFinished(() => server.close({ drainMs: 0 }));
    await server.listen();
    await expect(server.changeCertificate(first)).rejects.toThrow('was started without TLS');
  });
});
