/**
 * What bounds of memory are worth: each is filled with its worst shape, and what counts is the
 * resident memory of the server.
 */
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  CHANNEL_BYTES,
  CHANNELS_MAX,
  CHANNELS_PER_LINE_MAX,
  IDEMPOTENCY_KEYS_MAX,
  MEMORY_CHECK_MS,
  READER_CHANNELS_MAX,
} from '../src/limits.js';
import type { MemoryReport } from '../src/ops/memory/report.js';
import { pipeline } from './support/pipeline.js';
import { serverForTest, type TestServer } from './support/server.js';
import { jsonOf } from './support/wire.js';

const MiB = 2 ** 20;

/**
 * What requests may leave for the collector at any moment, MiB, by version of Node: 7 were seen on
 * 20, 23 to 42 on 24, and 44 to 67 on 26, where one run of 20 may have had more (2026-11-28).
 */
const NODE_MAJOR = Number(process.versions.node.split('.')[0]);
const GARBAGE_BYTES = (NODE_MAJOR < 24 ? 24 : NODE_MAJOR < 26 ? 48 : 96) * MiB;
/** The heap that none of these may exhaust. */
const SMALL_HEAP = { NODE_OPTIONS: '--max-old-space-size=512' };

/** The most that the process ever had resident. */
function peakBytes(server: TestServer): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

async function memoryOf(server: TestServer): Promise<MemoryReport> {
  return jsonOf(
    await server.request('GET', '/-/memory', { headers: server.opsHeaders }),
  ) as MemoryReport;
}

const post = (path: string, body: string, headers = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`;

describe('rings', () => {
  test(
    'of 120,000 channels with one byte each take what is counted of them',
    { timeout: 60_000 },
    async () => {
      const server = await serverForTest({}, SMALL_HEAP);
      const before = server.rssBytes();
      expect(await pipeline(server.port, 120_000, (index) => post(`/t${index}`, 'x'))).toEqual(
        new Map([[200, 120_000]]),
      );
      const { channels } = await server.stats();
      const grown = server.rssBytes() - before;
      console.log(
        `rings: counted ${channels.ringBytes / MiB} MiB of ${channels.rings}, grown ${grown / MiB} MiB`,
      );
      expect(channels.rings).toBe(CHANNELS_MAX);
      expect(grown - GARBAGE_BYTES, 'with the garbage of as many requests').toBeLessThan(
        1.05 * channels.ringBytes,
      );
      expect(grown / channels.ringBytes).toBeGreaterThan(0.85);
    },
  );

  test(
    'stay within --replay-total, beside the channels themselves',
    { timeout: 60_000 },
    async () => {
      const server = await serverForTest({ 'replay-total': '16MiB' }, SMALL_HEAP);
      const before = server.rssBytes();
      const body = 'x'.repeat(200);
      const names = 40_000;
      expect(await pipeline(server.port, names, (index) => post(`/t${index}`, body))).toEqual(
        new Map([[200, names]]),
      );
      const grown = server.rssBytes() - before;
      const { channels } = await server.stats();
      console.log(`replay total: ${channels.rings} rings, grown ${grown / MiB} MiB`);
      expect(channels.ringBytes).toBeLessThanOrEqual(16 * MiB);
      expect(grown, 'with the garbage of as many requests').toBeLessThan(
        16 * MiB + names * CHANNEL_BYTES + GARBAGE_BYTES,
      );
    },
  );
});

test(
  'names that only lines hold cost no more than a channel and a feed each',
  { timeout: 60_000 },
  async () => {
    const server = await serverForTest({}, SMALL_HEAP);
    const before = server.rssBytes();
    const lines = Math.floor(READER_CHANNELS_MAX / CHANNELS_PER_LINE_MAX);
    const sockets: Socket[] = [];
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    for (let line = 0; line < lines; line++) {
      const names = Array.from(
        { length: CHANNELS_PER_LINE_MAX },
        (_, nth) => `n${line}-${nth}`,
      ).join(',');
      const socket = connect(server.port, '127.0.0.1');
      socket.write(
        `GET /${names} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n`,
      );
      sockets.push(socket);
      if (line % 250 === 0) await once(socket, 'data');
    }
    const stats = await server.statsUntil(
      'all lines',
      ({ lines: { open } }) => open === lines,
      20_000,
    );
    const grown = server.rssBytes() - before;
    console.log(`names: ${stats.channels.known}, grown ${grown / MiB} MiB`);
    expect(stats.channels.known).toBe(READER_CHANNELS_MAX);
    expect(grown).toBeLessThan(READER_CHANNELS_MAX * CHANNEL_BYTES + lines * 12 * 1024);
  },
);

test(
  'idempotency keys cost less than three quarters of a kilobyte each',
  { timeout: 60_000 },
  async () => {
    const server = await serverForTest({}, SMALL_HEAP);
    const before = server.rssBytes();
    const count = IDEMPOTENCY_KEYS_MAX + 10_000;
    const request = (index: number): string =>
      post('/keyed', 'x', `Idempotency-Key: ${String(index).padStart(128, 'k')}\r\n`);
    expect(await pipeline(server.port, count, request)).toEqual(new Map([[200, count]]));
    const grown = server.rssBytes() - before;
    console.log(`idempotency: grown ${grown / MiB} MiB`);
    expect((await server.stats()).counters.idempotency_evicted_total).toBe(10_000);
    expect(grown, 'with the garbage of as many requests').toBeLessThan(
      IDEMPOTENCY_KEYS_MAX * 768 + GARBAGE_BYTES,
    );
  },
);

describe('a machine full of sockets in TIME_WAIT', () => {
  /**
   * Makes them on addresses of their own, so that no other test's ports are taken. They stay for a
   * minute.
   */
  async function makeTimeWaits(count: number): Promise<void> {
    const server: Server = createServer((socket) =>
      socket
        .on('error', () => {})
        .end()
        .resume(),
    );
    server.listen(0, '127.0.77.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    let made = 0;
    const lane = async (): Promise<void> => {
      while (made < count) {
        const socket = connect({
          port,
          host: '127.0.77.1',
          localAddress: `127.0.77.${2 + (made++ % 8)}`,
        }).resume();
        await once(socket, 'close');
      }
    };
    await Promise.all(Array.from({ length: 64 }, lane));
    server.close();
  }

  test('costs neither the start nor /-/memory anything', { timeout: 60_000 }, async () => {
    const peakOf = async (): Promise<{ start: number; memory: number }> => {
      const server = await serverForTest({ port: 10_000 + Math.floor(Math.random() * 20_000) });
      const start = peakBytes(server);
      await memoryOf(server);
      return { start, memory: peakBytes(server) };
    };
    const quiet = await peakOf();
    await makeTimeWaits(16_000);
    const rows = readFileSync('/proc/net/tcp', 'latin1').split('\n').length;
    const crowded = await peakOf();
    console.log(`${rows} rows: ${JSON.stringify({ quiet, crowded })}`);
    expect(rows).toBeGreaterThan(15_000);
    expect(crowded.start - quiet.start).toBeLessThan(6 * MiB);
    expect(crowded.memory - quiet.memory).toBeLessThan(8 * MiB);
  });
});

describe('a memory budget', () => {
  /**
   * Publishes batches of 1 MiB one after the other, from a process of its own, until the test is
   * over.
   */
  function flood(server: TestServer, publishers: number): () => void {
    const script = `
      import { request, Agent } from 'node:http';
      const line = JSON.stringify({ data: 'x'.repeat(1000) }) + '\\n';
      const body = line.repeat(Math.floor(2 ** 20 / line.length));
      const agent = new Agent({ keepAlive: true });
      const publish = () => {
        const headers = { 'content-type': 'application/x-ndjson' };
        request({ port: ${server.port}, host: '127.0.0.1', method: 'POST', path: '/flood', agent, headers }, (answer) =>
          answer.resume().on('end', publish)).on('error', publish).end(body);
      };
      for (let i = 0; i < ${publishers}; i++) publish();
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: 'ignore',
    });
    const stop = (): void => void child.kill('SIGKILL');
    onTestFinished(stop);
    return stop;
  }

  /** The status that a new line is answered with. */
  async function askForLine(server: TestServer): Promise<number> {
    const socket = connect(server.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write('GET /quiet HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n');
    const [head] = (await once(socket, 'data')) as [Buffer];
    return Number(head.toString('latin1').slice(9, 12));
  }

  test('does not take the garbage of batches for use', { timeout: 60_000 }, async () => {
    const server = await serverForTest({ 'memory-budget': '150MiB' });
    const stop = flood(server, 4);
    await server.statsUntil(
      'batches',
      ({ counters }) => counters.publish_requests_total > 20,
      20_000,
    );
    const statuses: number[] = [];
    for (let asked = 0; asked < 25; asked++) {
      statuses.push(await askForLine(server));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    console.log(
      `budget: resident ${server.rssBytes() / MiB} MiB, peak ${peakBytes(server) / MiB} MiB`,
    );
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(24);
    stop();
    // The budget is checked meanwhile, and nothing is asked that would make garbage of its own.
    await sleep(2 * MEMORY_CHECK_MS);
    expect(await askForLine(server), 'nor when nobody publishes any more').toBe(200);
  });

  test('refuses lines when rings have taken it', { timeout: 60_000 }, async () => {
    const server = await serverForTest({ 'memory-budget': '120MiB', 'replay-bytes': '1MiB' });
    const events = Array.from({ length: 100 }, () => ({ data: 'x'.repeat(10_000) }));
    for (let channel = 0; channel < 80; channel++)
      await server.publishBatch(`full-${channel}`, events);
    await server.statsUntil(
      'a full budget',
      ({ memory }) => memory.budgetUsedBytes! > 120 * MiB,
      10_000,
    );
    expect(await askForLine(server)).toBe(503);
  });
});
