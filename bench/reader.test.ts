/**
 * The C reader against a server whose every byte is known: what it counts, what it answers, and
 * what it refuses in words.
 */
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type OpenOrder } from './client.js';
import { requestOf } from './line-request.js';
import { Reader, type ReaderOrder, type ReaderTotals } from './reader.js';

const SSE_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n';
const WEBSOCKET_HEAD = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const DEADLINE_MS = 5_000;

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

async function startReader(): Promise<Reader> {
  const reader = await Reader.start('reader under test');
  cleanUps.push(() => reader.kill());
  return reader;
}

function order(port: number, lines: number, more: Partial<ReaderOrder> = {}): ReaderOrder {
  return {
    port,
    addressBase: 210,
    websocket: false,
    lines,
    connectsAtOnce: 4,
    bodyBytes: 0,
    tellEvery: 0,
    onTell: () => {},
    request: requestOf({ path: '/bench', port, transport: 'sse' } as OpenOrder),
    deadlineMs: DEADLINE_MS,
    ...more,
  };
}

/** Looks at the totals until they are as wanted. */
async function until(
  reader: Reader,
  wanted: (totals: ReaderTotals) => boolean,
): Promise<ReaderTotals> {
  const untilMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const totals = await reader.totals();
    if (wanted(totals)) return totals;
    if (performance.now() > untilMs) throw new Error(`not in time: ${JSON.stringify(totals)}`);
  }
}

describe('the reader', () => {
  test.each([
    ['asleep until bytes come', 0],
    ['looking after naps', 1],
  ])('counts the bytes of every line behind its head, %s', async (_how, napMs) => {
    const { port, lines } = await serve(SSE_HEAD);
    const reader = await startReader();
    await reader.open(order(port, 10));
    reader.nap(napMs);
    const before = await reader.totals();
    expect(before.lineBytes).toEqual({ min: 0, max: 0 });
    for (const [index, { socket }] of lines.entries()) socket.write(Buffer.alloc(1_000 + index));
    // More than is taken out of the kernel at once.
    lines[9]!.socket.write(Buffer.alloc(3_000_000));
    const sent = 10 * 1_000 + 45 + 3_000_000;
    const after = await until(reader, ({ bytes }) => bytes - before.bytes >= sent);
    expect(after.bytes - before.bytes).toBe(sent);
    expect(after.lineBytes).toEqual({ min: 1_000, max: 3_001_009 });
    expect(await reader.shortLines(1_004)).toBe(4);
    expect(after.closedLines).toBe(0);
  });

  test('asks as it was told, opens further lines, and tells of its connects on the way', async () => {
    const { port, lines } = await serve(SSE_HEAD);
    const reader = await startReader();
    let told = 0;
    const opened = await reader.open(order(port, 10, { tellEvery: 3, onTell: () => told++ }));
    expect(told).toBe(3);
    expect(opened.lastCompleteUs).toBeGreaterThan(opened.firstConnectUs);
    await reader.open(order(port, 5));
    expect(lines).toHaveLength(15);
    expect(lines[14]!.received.toString()).toBe(
      `GET /bench HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`,
    );
  });

  test('reads a head that comes in pieces, and waits for the body it was told of', async () => {
    const { port } = await serve('HTTP/1.1 200 OK\r\nA: b\r', '\n\r\nfirst', ' second');
    const reader = await startReader();
    await reader.open(order(port, 3, { bodyBytes: 'first second'.length }));
    const { lineBytes } = await reader.totals();
    expect(lineBytes).toEqual({ min: 12, max: 12 });
  });

  test('answers every ping, whatever frames it stands between, and however they are cut', async () => {
    const { port, lines } = await serve(WEBSOCKET_HEAD);
    const reader = await startReader();
    await reader.open(order(port, 1, { websocket: true }));
    const line = lines[0]!;
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
      await until(reader, ({ lineBytes }) => lineBytes.min === wanted);
    }
    const untilMs = performance.now() + DEADLINE_MS;
    while (line.received.length < 10 * PONG.length && performance.now() < untilMs)
      await reader.totals();
    expect(line.received).toEqual(Buffer.concat(Array.from({ length: 10 }, () => PONG)));
  });

  test('counts lines that the server closes, and resets the others when it is told to', async () => {
    const { port, lines } = await serve(SSE_HEAD);
    const reader = await startReader();
    await reader.open(order(port, 4));
    lines[0]!.socket.end();
    await until(reader, ({ closedLines }) => closedLines === 1);
    const reset = once(lines[3]!.socket, 'error');
    await reader.close();
    expect(String(await reset)).toContain('ECONNRESET');
    const { port: another } = await serve(SSE_HEAD);
    await reader.open(order(another, 2));
    expect((await reader.totals()).closedLines).toBe(0);
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
    const reader = await startReader();
    await expect(reader.open(order(port, 3, { deadlineMs: 300 }))).rejects.toThrow(words);
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
