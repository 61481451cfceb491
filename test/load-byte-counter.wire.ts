/**
 * The program in C that holds most lines of a bench, against a server whose every byte is known:
 * what it counts, what it answers, and what it refuses in words.
 */

import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { compiled, hasCompiler } from '../bench/compile.js';
import { NO_CHECKED } from '../src/tools/load/books/books.js';
import type { ClientKind } from '../src/tools/load/clients/mix.js';
import {
  CountingProcess,
  type CountedLines,
} from '../src/tools/load/processes/counting-process.js';
import type { Counts } from '../src/tools/load/processes/messages.js';

const SSE_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n';
const WEBSOCKET_HEAD = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const DEADLINE_MS = 5_000;
const PROGRAM = hasCompiler ? compiled('../src/tools/load/processes/byte-counter.c') : '';

const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

interface Line {
  socket: Socket;
  received: Buffer;
}

/**
 * Keeps every connection, and answers its request with the parts of a head, one a turn of the loop.
 */
async function serve(...headParts: string[]): Promise<{ port: number; lines: Line[] }> {
  const lines: Line[] = [];
  const server: Server = createServer((socket) => {
    const line: Line = { socket, received: Buffer.alloc(0) };
    lines.push(line);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      const asked = line.received.includes('\r\n\r\n');
      line.received = Buffer.concat([line.received, bytes]);
      if (asked || !line.received.includes('\r\n\r\n')) return;
      for (const [turn, part] of headParts.entries())
        setTimeout(() => socket.write(part, 'latin1'), turn * 20);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(() => {
    for (const { socket } of lines) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, lines };
}

function startCounter(port: number, kind: ClientKind = 'sse'): CountingProcess {
  const target = { address: '127.0.0.1', port, authority: `127.0.0.1:${port}`, path: '/bench' };
  const counter = new CountingProcess(PROGRAM, target, kind, undefined);
  cleanUps.push(() => counter.close());
  return counter;
}

function order(count: number, more: Partial<CountedLines> = {}): CountedLines {
  return { firstRow: 50_000, count, replay: undefined, stallMs: DEADLINE_MS, ...more };
}

/** Reads the counts until they are as wanted. */
async function until(
  counter: CountingProcess,
  wanted: (counts: Counts) => boolean,
): Promise<Counts> {
  const untilMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const counts = await counter.readCounts();
    if (wanted(counts)) return counts;
    if (performance.now() > untilMs) throw new Error(`not in time: ${JSON.stringify(counts)}`);
  }
}

describe.runIf(hasCompiler)('the byte counter', () => {
  test.each([
    ['asleep until bytes come', 0],
    ['checking after naps', 1],
  ])('counts the bytes of every line behind its head, %s', async (_how, napMs) => {
    const { port, lines: held } = await serve(SSE_HEAD);
    const counter = startCounter(port);
    await counter.open(order(10));
    counter.nap(napMs);
    const before = await counter.readCounts();
    expect(counter.lineBytes).toEqual({ min: 0, max: 0 });
    for (const [index, { socket }] of held.entries()) socket.write(Buffer.alloc(1_000 + index));
    // More than is taken out of the kernel at once.
    held[9]!.socket.write(Buffer.alloc(3_000_000));
    const sent = 10 * 1_000 + 45 + 3_000_000;
    const after = await until(counter, ({ tally }) => tally.bytes - before.tally.bytes >= sent);
    expect(after.tally.bytes - before.tally.bytes).toBe(sent);
    expect(counter.lineBytes).toEqual({ min: 1_000, max: 3_001_009 });
    expect([after.joined, counter.closedLines]).toEqual([10, 0]);
    // A line is short with 1.1 events of 100 bytes less than the checked client that got least.
    const checked = {
      ...NO_CHECKED,
      clients: 1,
      delivered: 10,
      wireBytes: 1_000,
      leastDelivered: 10,
      leastWireBytes: 1_004 + 110,
    };
    expect(await counter.audit([checked, NO_CHECKED], 11)).toMatchObject({
      counted: { clients: 10, delivered: 100, losers: 4, mostLost: 1 },
      cutOff: [],
    });
    await counter.begin();
    await counter.readCounts();
    expect(counter.lineBytes).toEqual({ min: 0, max: 0 });
  });

  test('asks as a client does, and opens further lines', async () => {
    const { port, lines: held } = await serve(SSE_HEAD);
    const counter = startCounter(port);
    const opened = await counter.open(order(10));
    expect(opened.lastJoinUs).toBeGreaterThan(opened.firstConnectUs);
    await counter.open(order(5));
    expect(held).toHaveLength(15);
    expect(held[14]!.received.toString()).toBe(
      `GET /bench HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`,
    );
  });

  test('reads a head that comes in pieces, and waits for the replay it is owed', async () => {
    const { port, lines: held } = await serve(
      'HTTP/1.1 200 OK\r\nA: b\r',
      '\n\r\nfirst',
      ' second',
    );
    const counter = startCounter(port);
    const bytes = 'first second'.length;
    await counter.open(order(3, { replay: { afterId: 7, events: 1, bytes, published: 2 } }));
    await counter.readCounts();
    expect(counter.lineBytes).toEqual({ min: 12, max: 12 });
    expect(held[0]!.received.toString()).toContain('\r\nLast-Event-ID: 7\r\n');
  });

  test('answers every ping, whatever frames it stands between, and however they are cut', async () => {
    const { port, lines: held } = await serve(WEBSOCKET_HEAD);
    const counter = startCounter(port, 'ws');
    await counter.open(order(1));
    const line = held[0]!;
    const ping = Buffer.from([0x89, 0]);
    const wire = Buffer.concat(
      [5, 125, 126, 65_535, 65_536].flatMap((length) => [
        frame(length),
        ping,
        Buffer.from([0x89, 3, 1, 2, 3]),
      ]),
    );
    line.received = Buffer.alloc(0);
    for (let at = 0; at < wire.length; at += 10_007) {
      line.socket.write(wire.subarray(at, at + 10_007));
      const wanted = Math.min(wire.length, at + 10_007);
      await until(counter, () => counter.lineBytes.min === wanted);
    }
    const untilMs = performance.now() + DEADLINE_MS;
    while (line.received.length < 10 * PONG.length && performance.now() < untilMs)
      await counter.readCounts();
    expect(line.received).toEqual(Buffer.concat(Array.from({ length: 10 }, () => PONG)));
  });

  test('counts lines that the server closes, and resets the others when it is told to', async () => {
    const { port, lines: held } = await serve(SSE_HEAD);
    const counter = startCounter(port);
    await counter.open(order(4));
    held[0]!.socket.end();
    await until(counter, ({ joined }) => joined === 3);
    expect(counter.closedLines).toBe(1);
    const reset = once(held[3]!.socket, 'error');
    await counter.leave();
    expect(String(await reset)).toContain('ECONNRESET');
    await counter.open(order(2));
    expect((await counter.readCounts()).joined).toBe(2);
    expect(counter.closedLines).toBe(0);
  });

  test.each([
    [
      'another answer',
      'HTTP/1.1 503 Service Unavailable\r\n\r\n',
      'was answered HTTP/1.1 503 Service Unavailable',
    ],
    ['no answer', 'HTTP/1.1 200 OK\r\n', '0 of 3 lines were complete after 300 ms'],
  ])('fails in words on %s', async (_what, head, words) => {
    const { port } = await serve(head);
    await expect(startCounter(port).open(order(3, { stallMs: 300 }))).rejects.toThrow(words);
  });
});

/** A binary frame of a server, its length as short as it can be written. */
function frame(length: number): Buffer {
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x82;
  head[1] = head.length === 2 ? length : head.length === 4 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, Buffer.alloc(length, 0x89)]);
}
