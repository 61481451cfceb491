/**
 * What the socket options do to real connections: of readers that stall, of readers that are slow,
 * and of peers that vanish.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createServer } from '../dist/index.js';
import { loadLibc, ownListeners } from '../src/native/libc.js';
import { descriptorOf, listenerInodes, readPortTotals } from '../src/linux/sockets.js';
import { begunBefore, type AtEnd } from './support/begun.js';
import { SseLine } from './support/line.js';
import { Namespace } from './support/namespace.js';
import { serverForTest, TestServer, type Flags } from './support/server.js';
import { RawConnection } from './support/wire.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Their numbers on Linux, x64 and arm64. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

const LISTEN = 'GET /feed HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n';

const events = Array.from({ length: 200 }, () => ({ data: 'x'.repeat(1000) }));

/**
 * The bytes that the kernel holds for a reader that never reads, on the server's side and on the
 * reader's.
 */
async function heldForStalledReader(flags: Flags): Promise<{ server: number; reader: number }> {
  const server = await serverForTest(flags);
  const reader = await RawConnection.open(server.port, { paused: true });
  onTestFinished(() => reader.destroy());
  reader.send(LISTEN);
  await server.statsUntil('a line', ({ lines }) => lines.open === 1);
  const held = (): number => readPortTotals(server.port)?.sendQueueBytes ?? Number.NaN;
  // Whatever is published, no more is held.
  for (let before = -1; before !== held() || (await server.stats()).lines.stalled === 0;) {
    before = held();
    await server.publishBatch('feed', events);
    await server.publishBatch('feed', events);
  }
  expect((await server.stats()).lines).toMatchObject({ open: 1, stalled: 1 });
  return {
    server: held(),
    reader: readPortTotals(reader.socket.localPort!)?.receiveQueueBytes ?? Number.NaN,
  };
}

/** Takes 8 KiB at a time, four times a second, and no more. */
class SlowReader {
  closed = false;
  readonly socket: Socket;

  constructor(port: number, atEnd: AtEnd) {
    const callback = (): boolean => false;
    this.socket = connect({
      port,
      host: '127.0.0.1',
      onread: { buffer: Buffer.alloc(8 * KIB), callback },
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => (this.closed = true));
    this.socket.write(LISTEN);
    const timer = setInterval(() => this.socket.resume(), 250);
    atEnd(() => {
      clearInterval(timer);
      this.socket.destroy();
    });
  }
}

/** Two servers, each with a reader that is slow and has stalled. */
const slowly = begunBefore((atEnd) => {
  const open = async (flags: Flags): Promise<{ server: TestServer; reader: SlowReader }> => {
    const server = await TestServer.start(flags);
    atEnd(() => server.kill());
    const reader = new SlowReader(server.port, atEnd);
    await server.statsUntil('a line', ({ lines }) => lines.open === 1);
    // More than the kernel takes either way, so that a full ring is left to read.
    for (let i = 0; i < 40; i++) await server.publishBatch('feed', events);
    await server.statsUntil('it has stalled', ({ lines }) => lines.stalled === 1);
    return { server, reader };
  };
  return Promise.all([open({}), open({ 'socket-send-buffer': 0 })]);
});

describe('the send buffer', () => {
  test('bounds what the kernel holds for a reader that never reads', async () => {
    const small = await heldForStalledReader({ 'socket-send-buffer': '16KiB' });
    const byDefault = await heldForStalledReader({});
    const kernels = await heldForStalledReader({ 'socket-send-buffer': 0 });
    console.log(`held for a stalled reader: ${JSON.stringify({ small, byDefault, kernels })}`);
    expect(small.server).toBeLessThanOrEqual(128 * KIB);
    expect(byDefault.server).toBeLessThanOrEqual(256 * KIB);
    expect(kernels.server).toBeGreaterThan(MIB);
    // The server has no influence on what the reader's own machine holds.
    for (const { reader } of [small, byDefault, kernels]) expect(reader).toBeLessThan(256 * KIB);
  });
});

describe('options on the listening socket', () => {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ family, internal }) => family === 'IPv6' && internal),
  );
  test.for(['127.0.0.1', '0.0.0.0', 'localhost', ...(hasIpv6 ? ['::1', '::'] : [])])(
    'are set on %s',
    async (host) => {
      const server = createServer({
        host,
        port: 0,
        notsentLowatBytes: 16 * KIB,
        socketReceiveBufferBytes: 32 * KIB,
      });
      onTestFinished(() => server.close());
      await server.listen();
      expect(server.stats().sockets).toMatchObject({
        options: {
          sendBufferBytes: 128 * KIB,
          receiveBufferBytes: 64 * KIB,
          notsentLowatBytes: 16 * KIB,
          userTimeoutMs: 21_000,
          keepaliveIdleSeconds: 21,
          keepaliveIntervalSeconds: 6,
          keepaliveProbes: 1,
        },
        problems: [],
      });
    },
  );

  test('are those of the server, also when another of this process has the port on another address', async () => {
    const first = createServer({ host: '127.0.0.1', port: 0, socketSendBufferBytes: 16 * KIB });
    onTestFinished(() => first.close());
    const { port } = await first.listen();
    const second = createServer({ host: '127.0.0.2', port, socketSendBufferBytes: 32 * KIB });
    onTestFinished(() => second.close());
    await second.listen();
    const libc = await loadLibc();
    const found = ownListeners(port, libc).map(({ descriptor }) => descriptor);
    const inTable = listenerInodes(port).map((inode) => descriptorOf([inode])!);
    expect(
      found.toSorted((a, b) => a - b),
      'as the kernel’s table says',
    ).toEqual(inTable.toSorted((a, b) => a - b));
    const sendBuffers = found.map((descriptor) => libc.get(descriptor, SOL_SOCKET, SO_SNDBUF)!);
    expect(sendBuffers.toSorted((a, b) => a - b)).toEqual([32 * KIB, 64 * KIB]);
  });
});

describe('where koffi does not load', () => {
  const hook =
    'export async function resolve(name, context, next) { if (name === "koffi") throw new Error("no koffi here"); return next(name, context); }';
  const registration = `import { register } from 'node:module'; register('data:text/javascript,${encodeURIComponent(hook)}');`;
  const WITHOUT_KOFFI = {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(registration)}`,
  };
  const problem =
    'cannot set --socket-send-buffer, --socket-receive-buffer, --dead-peer-timeout: the optional dependency koffi does not load (no koffi here); run npm install koffi; ' +
    'without it a reader that has stopped may look healthy for about 4 MB, and a client that sends without a pause may hold the loop for as long as it sends, ' +
    'and a peer that vanished may be held for about 15 minutes';
  const warnings = (server: TestServer): unknown[] =>
    server.logs
      .filter((log) => log['level'] === 40 && /socket|peer/.test(String(log['msg'])))
      .map((log) => log['msg']);

  test('the server says so and serves', async () => {
    const server = await serverForTest({}, WITHOUT_KOFFI);
    await server.waitFor('the warning', () => warnings(server).length > 0);
    expect(warnings(server)).toEqual([problem]);
    expect((await server.stats()).sockets).toMatchObject({ options: {}, problems: [problem] });
    const line = await SseLine.open(server.port, '/feed');
    onTestFinished(() => line.close());
    await line.waitForId(await server.publish('feed', 'hello'));
  });

  test('nothing is said where nothing is wanted', async () => {
    const server = await serverForTest(
      { 'socket-send-buffer': 0, 'socket-receive-buffer': 0, 'dead-peer-timeout': 0 },
      WITHOUT_KOFFI,
    );
    expect((await server.stats()).sockets).toMatchObject({ options: {}, problems: [] });
    expect(warnings(server)).toEqual([]);
  });
});

describe('a peer that vanished', () => {
  const TIMEOUT_MS = 5_000;

  const listenTo = (path: string): string => LISTEN.replace('/feed', path);
  const UPGRADE =
    'GET /silent HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
  const POLL = 'GET /silent?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n';

  /** Of each line whose probe is unanswered: how long until the kernel looks at it again. */
  function leftMsOfProbed(port: number): number[] {
    const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    return readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((row) => row.trim().split(/\s+/))
      .filter((fields) => fields[1]?.endsWith(local) && Number(fields[8]) > 0)
      .map((fields) => Number.parseInt(fields[5]!.split(':')[1]!, 16) * 10);
  }

  test(
    'is gone within its time, whatever was on its line, and others stay',
    { timeout: 40_000 },
    async ({ skip }) => {
      const absence = Namespace.absence();
      skip(absence !== undefined, absence);
      const namespace = Namespace.create();
      onTestFinished(() => namespace.remove());
      const [server, unguarded] = await Promise.all([
        serverForTest({ host: '0.0.0.0', 'dead-peer-timeout': `${TIMEOUT_MS}ms` }),
        serverForTest({ host: '0.0.0.0', 'dead-peer-timeout': 0 }),
      ]);
      namespace.hold(server.port, [...['/silent', '/soon', '/late'].map(listenTo), UPGRADE, POLL]);
      namespace.hold(unguarded.port, [listenTo('/silent')]);
      const control = await SseLine.open(server.port, '/silent,soon,late');
      onTestFinished(() => control.close());
      await server.statsUntil('all lines', ({ lines }) => lines.open === 6);
      await unguarded.statsUntil('a line', ({ lines }) => lines.open === 1);

      // The last thing that comes from it before it vanishes: an acknowledgement.
      await control.waitForId(await server.publish('late', 'is acknowledged'));
      namespace.pullCable();
      const vanishedAt = performance.now();
      const gone = server.statsUntil('they are gone', ({ lines }) => lines.open === 1, TIMEOUT_MS);
      const publishing = (async () => {
        await server.publish('soon', 'is not acknowledged any more');
        // Just before a silent line would end, which puts its end off.
        let wereProbed = false;
        const areAboutToEnd = (): boolean => {
          const left = leftMsOfProbed(server.port);
          wereProbed ||= left.length > 0;
          return wereProbed && left.every((ms) => ms <= 300);
        };
        await expect.poll(areAboutToEnd, { timeout: TIMEOUT_MS, interval: 20 }).toBe(true);
        return server.publish('late', 'neither');
      })();
      const [last, { counters }] = await Promise.all([publishing, gone]);
      console.log(
        `gone within ${((performance.now() - vanishedAt) / 1000).toFixed(2)} s of ${TIMEOUT_MS / 1000} s`,
      );
      expect(counters).toMatchObject({ lines_closed_total: 5, lines_ended_total: 0 });
      expect((await unguarded.stats()).lines.open, 'without the option it is held').toBe(1);
      await control.waitForId(last);
      expect(control.closed).toBe(false);
    },
  );
});

test(
  'the send buffer makes the ten seconds that a stalled reader has fair to one that reads slowly',
  { timeout: 60_000 },
  async () => {
    const { value, leftMs } = slowly();
    const [byDefault, kernels] = value;
    await kernels.server.statsUntil(
      'the reader behind 4 MB is given up',
      ({ lines }) => lines.open === 0,
      leftMs(40_000),
    );
    const { counters } = await byDefault.server.statsUntil(
      'the other drained',
      (stats) => stats.counters.lines_resumed_total > 1,
      20_000,
    );
    expect(counters.lines_closed_total).toBe(0);
    expect(byDefault.reader.closed).toBe(false);
  },
);
