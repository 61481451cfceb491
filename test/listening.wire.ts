/**
 * Where a server is found: on a unix socket, below a base path, and with a port of its own for
 * operations.
 */
import { existsSync, lstatSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, type Address, type Options, type Server } from '../dist/index.js';
import { OPS_SOCKETS_MAX, SPARE_SOCKETS_MAX } from '../src/limits.js';
import { SseLine } from './support/line.js';
import { runHoldline, serverForTest, sharedServer } from './support/server.js';
import { openWebSocket } from './support/websocket.js';
import { codeOf, HttpClient, jsonOf, RawConnection, request, type Answer } from './support/wire.js';

const folder = mkdtempSync(join(tmpdir(), 'holdline-sockets-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newPath = (): string => join(folder, `${++files}.sock`);

function connectTo(path: string): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    onTestFinished(() => void socket.destroy());
    socket.once('error', reject);
    socket.once('connect', () => resolve(new RawConnection(socket, 0)));
  });
}

async function ask(path: string, method: string, target: string, body?: string): Promise<Answer> {
  const client = new HttpClient(await connectTo(path), 0);
  try {
    return await client.request(method, target, body === undefined ? {} : { body });
  } finally {
    client.close();
  }
}

function made(options: Options): Server {
  const server = createServer({ openPublish: true, ...options });
  onTestFinished(() => server.close({ drainMs: 0 }));
  return server;
}

async function listening(options: Options): Promise<{ server: Server; address: Address }> {
  const server = made(options);
  return { server, address: await server.listen() };
}

describe('a unix socket', () => {
  test('carries lines and publishes, has its mode, and is gone with the server', async () => {
    const path = newPath();
    const server = await serverForTest({ port: false, 'unix-socket': path, demo: true });
    expect(server.logs.find(({ msg }) => msg === 'listening')).toMatchObject({ unixSocket: path });
    expect(server.logs.find(({ msg }) => msg === 'listening')).not.toHaveProperty('url');
    expect((lstatSync(path).mode & 0o777).toString(8)).toBe('660');
    const line = await SseLine.over(await connectTo(path), '/c');
    expect(jsonOf(await ask(path, 'POST', '/c', 'hello'))).toMatchObject({ subscribers: 1 });
    await line.waitForEvents(1);
    const opsHeaders = server.opsHeaders;
    const client = new HttpClient(await connectTo(path), 0);
    for (const page of ['stats', 'memory', 'metrics', 'connections'])
      expect((await client.request('GET', `/-/${page}`, { headers: opsHeaders })).status).toBe(200);
    const memory = await client.request('GET', '/-/memory', { headers: opsHeaders });
    expect(jsonOf(memory)).toMatchObject({ kernel: { port: null } });
    // An address that is empty is one like any other for what is counted by it.
    const wrong = { headers: { Authorization: 'Bearer wrong' } };
    expect((await client.request('GET', '/-/stats', wrong)).status).toBe(401);
    expect(await server.stop()).toBe(0);
    expect(line.endCode).toBe('draining');
    expect(existsSync(path)).toBe(false);
  });

  test('is what hooks are told in place of an address', async () => {
    const unixSocket = newPath();
    const told: unknown[] = [];
    const server = createServer({
      unixSocket,
      onRefusal: ({ code, remoteAddress }) => void told.push([code, remoteAddress]),
    });
    onTestFinished(() => server.close({ drainMs: 0 }));
    await server.listen();
    expect((await ask(unixSocket, 'GET', '/a..b')).status).toBe(400);
    await expect.poll(() => told).toEqual([['HOLDLINE_BAD_CHANNEL', 'unix']]);
  });

  test('has the mode that is asked for', async () => {
    const path = newPath();
    const { address } = await listening({ unixSocket: path, unixSocketMode: 0o600 });
    expect(address).toEqual({ host: '', port: 0, unixSocket: path, opsPort: undefined });
    expect((lstatSync(path).mode & 0o777).toString(8)).toBe('600');
  });

  test('of a server that is gone is taken over, of one that lives it is not', async () => {
    const path = newPath();
    const dead = await serverForTest({ port: false, 'unix-socket': path });
    const { status, stderr } = runHoldline(['serve', `--unix-socket=${path}`]);
    expect(status).toBe(1);
    expect(stderr).toContain('another server answers there');
    await expect(made({ unixSocket: path }).listen()).rejects.toMatchObject({
      code: 'HOLDLINE_LISTEN',
    });
    // The one that lives has noticed nothing.
    expect((await ask(path, 'GET', '/-/health')).status).toBe(200);
    await dead.stop('SIGKILL');
    expect(lstatSync(path).isSocket()).toBe(true);
    await listening({ unixSocket: path });
    expect((await ask(path, 'GET', '/-/health')).status).toBe(200);
  });

  test('is removed by its own server only', async () => {
    const path = newPath();
    const { server } = await listening({ unixSocket: path });
    rmSync(path);
    const { server: next } = await listening({ unixSocket: path });
    await server.close({ drainMs: 0 });
    expect((await ask(path, 'GET', '/-/health')).status).toBe(200);
    await next.close({ drainMs: 0 });
    expect(existsSync(path)).toBe(false);
  });

  test('does not take the place of another file', async () => {
    const file = newPath();
    writeFileSync(file, 'precious');
    const link = newPath();
    symlinkSync(file, link);
    for (const path of [file, link, folder]) {
      await expect(made({ unixSocket: path }).listen()).rejects.toMatchObject({
        code: 'HOLDLINE_LISTEN',
        message: expect.stringContaining('a file that is no socket') as string,
      });
    }
    expect([lstatSync(file).size, lstatSync(link).isSymbolicLink()]).toEqual([8, true]);
  });

  test('in a folder that is not there is refused in words, and may be tried again', async () => {
    const server = made({ unixSocket: join(folder, 'none', 's.sock') });
    await expect(server.listen()).rejects.toThrow('its folder is not there');
    await expect(server.listen()).rejects.toThrow('its folder is not there');
  });

  test('of another program that is busy is left alone', async () => {
    const path = newPath();
    const other = createNetServer();
    onTestFinished(() => void other.close());
    await new Promise<void>((resolve) => other.listen(path, resolve));
    await expect(made({ unixSocket: path }).listen()).rejects.toThrow('another server answers');
    expect(lstatSync(path).isSocket()).toBe(true);
  });
});

describe('a base path', () => {
  const shared = sharedServer({ 'base-path': '/events/live/', demo: true });

  test('is in front of channels, pages, health and WebSockets', async () => {
    const server = shared();
    expect(server.logs.find(({ msg }) => msg === 'listening')).toMatchObject({
      url: `http://127.0.0.1:${server.port}/events/live`,
    });
    const line = await SseLine.open(server.port, '/events/live/c');
    const socket = await openWebSocket(server, '/events/live/c');
    const published = await server.request('POST', '/events/live/c?event=x', { body: 'hello' });
    expect(jsonOf(published)).toMatchObject({ subscribers: 2 });
    await line.waitForEvents(1);
    await socket.waitFor('the event', () => socket.eventCount === 1);
    expect(await socket.publish({ data: 'from the socket' })).toBeGreaterThan(0);
    await line.waitForEvents(2);
    const { opsHeaders } = server;
    const deleted = await server.request('DELETE', '/events/live/c', { headers: opsHeaders });
    expect(deleted.status).toBe(200);
    for (const page of ['health', 'ready'])
      expect((await server.request('GET', `/events/live/-/${page}`)).status).toBe(200);
    const stats = await server.request('GET', '/events/live/-/stats', { headers: opsHeaders });
    expect(stats.status).toBe(200);
    const described = await server.request('GET', '/events/live/-/openapi.json');
    expect(jsonOf(described)).toMatchObject({ servers: [{ url: '/events/live' }] });
  });

  test.each(['/c', '/', '/-/health', '/-/stats', '/events', '/events/livec', '/events/livelier/c'])(
    'has nothing outside of it: %s',
    async (path) => {
      const server = shared();
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
        const answer = await server.request(method, path, { headers: server.opsHeaders });
        expect([answer.status, codeOf(answer)]).toEqual([404, 'HOLDLINE_NOT_FOUND']);
        expect(answer.text).toContain('there is nothing outside of /events/live/ (--base-path)');
      }
    },
  );

  test('is in the links and commands of the pages', async () => {
    const server = shared();
    for (const path of ['/events/live', '/events/live/', '/events/live?x=1']) {
      const landing = await server.request('GET', path, { headers: { Accept: 'text/html' } });
      const links = [...landing.text.matchAll(/href="([^"d][^"]*)"/g)].map(([, link]) => link!);
      expect(links.length).toBe(5);
      for (const link of links) expect(link).toMatch(/^\/events\/live\//);
      const text = landing.text.replaceAll('<wbr>', '');
      expect(text).toContain(`http://127.0.0.1:${server.port}/events/live/notifications`);
      expect(text).toContain('new EventSource(&#39;/events/live/notifications&#39;)');
    }
    const headers = { Accept: 'text/html' };
    const refusal = await server.request('GET', '/events/live/-/none', { headers });
    expect(refusal.text).toContain('<a href="/events/live/">');
    expect(refusal.text).toContain('/events/live/-/health');
  });

  test('is where the demo finds its files and its channel', async () => {
    const server = shared();
    const demo = `http://127.0.0.1:${server.port}/events/live/-/demo`;
    const page = await fetch(demo);
    const found = [...(await page.text()).matchAll(/(?:href|src)="([^"#:]+)"/g)];
    expect(found.map(([, file]) => file)).toEqual(['demo.css', 'demo.js']);
    for (const [, file] of found) expect((await fetch(new URL(file!, demo))).status).toBe(200);
    const lines = await (await fetch(new URL('demo-lines.js', demo))).text();
    expect(lines).toContain("new URL('../notifications', import.meta.url).pathname");
    expect(new URL('../notifications', demo).pathname).toBe('/events/live/notifications');
  });

  test('is followed by the doctor', () => {
    const { stdout } = runHoldline([
      'doctor',
      '--json',
      '--through-idle=1s',
      `--through=http://127.0.0.1:${shared().port}/events/live/doctor`,
    ]);
    const { through } = JSON.parse(stdout) as {
      through: { findings: { name: string; level: string }[] };
    };
    const levels = Object.fromEntries(through.findings.map(({ name, level }) => [name, level]));
    expect(levels).toMatchObject({ answer: 'ok', websocket: 'ok', 'own-origin': 'ok' });
    expect(Object.values(levels)).not.toContain('problem');
  });
});

describe('a port for operations', () => {
  const key = { Authorization: 'Bearer ops' };
  const options = { port: 0, opsKey: 'ops', demo: true, opsListen: '127.0.0.1:0' };

  test.each([
    ['health', 200, 200],
    ['ready', 200, 200],
    ['stats', 404, 200],
    ['memory', 404, 200],
    ['connections', 404, 200],
    ['metrics', 404, 200],
    ['demo', 200, 404],
    ['client.js', 200, 404],
    ['none', 404, 404],
  ])('/-/%s: %i on the main port, %i there', async (page, onMain, onOps) => {
    const { address } = await listening(options);
    const get = (port: number): Promise<Answer> =>
      request(port, 'GET', `/-/${page}`, { headers: key });
    const main = await get(address.port);
    const ops = await get(address.opsPort!);
    expect([main.status, ops.status]).toEqual([onMain, onOps]);
    if (onMain === 404 && onOps === 200)
      expect(main.text).toContain('operations are answered on a port of their own');
  });

  test('has no channels, and needs the key as ever', async () => {
    const { server, address } = await listening(options);
    const port = address.opsPort!;
    for (const [method, path] of [
      ['GET', '/c'],
      ['POST', '/c'],
      ['DELETE', '/c'],
      ['GET', '/'],
    ] as const) {
      const answer = await request(port, method, path, { headers: key, body: '' });
      expect([answer.status, codeOf(answer)]).toEqual([404, 'HOLDLINE_NOT_FOUND']);
    }
    const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' };
    const headers = { ...upgrade, 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
    expect((await request(port, 'GET', '/c', { headers })).status).toBe(404);
    expect((await request(port, 'GET', '/-/stats')).status).toBe(401);
    expect(server.stats().lines.open).toBe(0);
    const deleted = await request(address.port, 'DELETE', '/c', { headers: key });
    expect(deleted.status).toBe(200);
  });

  test.each(['publish', 'tickets'])('POST /-/%s is for clients, on the main port', async (name) => {
    const { address } = await listening({ ...options, ticketSecret: ['s'.repeat(32)] });
    const post = (port: number): Promise<Answer> =>
      request(port, 'POST', `/-/${name}`, { headers: key, body: '{}' });
    expect((await post(address.opsPort!)).status).toBe(404);
    expect((await post(address.port)).status).not.toBe(404);
  });

  test('answers when the main port is full, and has a bound of its own', async () => {
    const { server, address } = await listening({ ...options, maxConnections: 1 });
    const sockets = await Promise.all(
      Array.from({ length: 1 + SPARE_SOCKETS_MAX }, () => RawConnection.open(address.port)),
    );
    onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
    await expect.poll(() => server.stats().sockets.open).toBe(1 + SPARE_SOCKETS_MAX);
    const clients = await Promise.all(
      Array.from({ length: OPS_SOCKETS_MAX }, () => HttpClient.open(address.opsPort!)),
    );
    for (const client of clients)
      expect((await client.request('GET', '/-/stats', { headers: key })).status).toBe(200);
    const refused = server.stats().counters.sockets_refused_total;
    const one = await RawConnection.open(address.opsPort!);
    await one.waitFor('its close', () => one.closed);
    expect(server.stats().counters.sockets_refused_total).toBe(refused + 1);
    clients[0]!.close();
    await expect
      .poll(async () => (await request(address.opsPort!, 'GET', '/-/health')).status)
      .toBe(200);
    for (const client of clients) client.close();
  });

  test('works beside a unix socket and a base path, and ends with the server', async () => {
    const path = newPath();
    const server = await serverForTest({
      port: false,
      'unix-socket': path,
      'base-path': '/e',
      'ops-listen': '127.0.0.1:0',
      'ops-key': 'ops',
    });
    const { opsUrl } = server.logs.find(({ msg }) => msg === 'listening') as { opsUrl: string };
    expect(opsUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/e$/);
    const stats = await fetch(`${opsUrl}/-/stats`, { headers: key });
    expect(stats.status).toBe(200);
    await stats.arrayBuffer();
    expect((await ask(path, 'GET', '/e/-/stats')).status).toBe(404);
    expect((await ask(path, 'GET', '/e/-/ready')).status).toBe(200);
    expect(await server.stop()).toBe(0);
    await expect(fetch(`${opsUrl}/-/health`)).rejects.toThrow('fetch failed');
  });

  test('that cannot be had is refused in words, and the main port is given back', async () => {
    const { address } = await listening(options);
    const server = made({ ...options, opsListen: `127.0.0.1:${address.opsPort}` });
    await expect(server.listen()).rejects.toMatchObject({
      code: 'HOLDLINE_LISTEN',
      message: expect.stringContaining(`127.0.0.1 port ${address.opsPort}`) as string,
    });
  });
});
