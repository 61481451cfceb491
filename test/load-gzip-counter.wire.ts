/**
 * The program in C that holds most lines of a bench, where they are gzip: it must count exactly
 * what came, decode a block once for all lines that share it, and find out a line that was given
 * another.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { compiled, hasCompiler } from '../bench/compile.js';
import { NO_CHECKED, type Part } from '../src/tools/load/books/books.js';
import { eventData, newRun, stampEvent } from '../src/tools/load/clients/event.js';
import { CountingProcess } from '../src/tools/load/processes/counting-process.js';
import type { Tally } from '../src/tools/load/clients/tally.js';
import { Random } from './support/random.js';

const PROGRAM = hasCompiler ? compiled('../src/tools/load/processes/byte-counter.c') : '';
const DEADLINE_MS = 5_000;
const LINES = 10;
const SIZE = 200;
const RUN = newRun();
const HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n';
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
const PRELUDE = Buffer.from('retry: 3000\n\nid: 7\n\n');

interface Counter {
  readonly counter: CountingProcess;
  readonly sockets: readonly Socket[];
  /** What lines asked. */
  readonly requests: readonly string[];
  /** What has come since the round began, once as many bytes have as were sent. */
  tallyAfter(sentBytes: number): Promise<Tally>;
}

/** Lines of a server of this test, in a round. */
async function lines(
  kind: 'sse' | 'ndjson' = 'sse',
  head = HEAD,
  prelude = PRELUDE,
): Promise<Counter> {
  const sockets: Socket[] = [];
  const requests: string[] = [];
  const first = Buffer.concat([
    Buffer.from(head),
    head.includes('gzip') ? chunk(Buffer.concat([HEADER, deflated(prelude)])) : prelude,
  ]);
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.setNoDelay(true).on('error', () => {});
    socket.once('data', (request) => {
      requests.push(request.toString());
      socket.write(first);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const target = { address: '127.0.0.1', port, authority: `127.0.0.1:${port}`, path: '/c' };
  const counter = new CountingProcess(PROGRAM, target, kind, undefined, true);
  onTestFinished(async () => {
    await counter.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await counter.open({ firstRow: 50_000, count: LINES, replay: undefined, stallMs: DEADLINE_MS });
  const untilMs = performance.now() + DEADLINE_MS;
  const until = async (isDone: () => boolean): Promise<Tally> => {
    for (;;) {
      const { tally } = await counter.readCounts();
      if (isDone()) return tally;
      if (performance.now() > untilMs) throw new Error(`not in time: ${JSON.stringify(tally)}`);
    }
  };
  const bodyBytes = first.length - head.length;
  await until(() => counter.lineBytes.min === bodyBytes);
  const before = (await counter.readCounts()).tally;
  await counter.begin({ run: RUN, channel: 'c', sizeBytes: SIZE });
  return {
    counter,
    sockets,
    requests,
    tallyAfter: async (sentBytes) => {
      const now = await until(() => counter.counts!.tally.bytes - before.bytes >= sentBytes);
      const entries = Object.entries(now) as [keyof Tally, number][];
      return Object.fromEntries(
        entries.map(([name, value]) => [name, value - before[name]]),
      ) as unknown as Tally;
    },
  };
}

function deflated(plain: Buffer, dictionary?: Buffer): Buffer {
  return deflateRawSync(plain, {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary !== undefined && { dictionary }),
  });
}

function stored(plain: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(plain.length, 1);
  head.writeUInt16LE(plain.length ^ 0xffff, 3);
  return Buffer.concat([head, plain]);
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ]);
}

function eventOf(id: number, padding?: string): Buffer {
  const data = eventData(RUN, SIZE);
  stampEvent(data, 0, id, 1_000_000 + id);
  if (padding !== undefined) data.write(padding, SIZE - padding.length);
  return Buffer.concat([Buffer.from(`id: ${id}\ndata: `), data, Buffer.from('\n\n')]);
}

function eventsOf(from: number, through: number): Buffer {
  return Buffer.concat(Array.from({ length: through - from + 1 }, (_, nth) => eventOf(from + nth)));
}

/** What checked lines have had of 30 events. */
const CHECKED: Part['checked'] = {
  ...NO_CHECKED,
  clients: 1,
  delivered: 30,
  wireBytes: 1_000,
  leastDelivered: 30,
  leastWireBytes: 1_000,
};

const FIRST = deflated(eventsOf(1, 10), PRELUDE);
const SECOND = deflated(eventsOf(11, 20), Buffer.concat([PRELUDE, eventsOf(1, 10)]));
const THIRD = deflated(eventsOf(21, 30), Buffer.concat([PRELUDE, eventsOf(1, 20)]));

describe.runIf(hasCompiler)('lines in gzip', () => {
  test('are counted by event, and a block is inflated once', async () => {
    const { counter, sockets, requests, tallyAfter } = await lines();
    expect(requests[0]).toContain('\r\nAccept-Encoding: gzip\r\n');
    let sent = 0;
    for (const bytes of [FIRST, SECOND, THIRD, stored(Buffer.from(':\n\n'))]) {
      const wire = chunk(bytes);
      for (const socket of sockets) socket.write(wire);
      sent += LINES * wire.length;
    }
    const blocks = [FIRST, SECOND, THIRD];
    const gzipBytes = LINES * (blocks.reduce((sum, { length }) => sum + length, 0) + 8);
    expect(await tallyAfter(sent)).toMatchObject({
      gzipBytes,
      plainBytes: LINES * (eventsOf(1, 30).length + 3),
      countedEvents: LINES * 30,
      blocks: LINES * 4,
      inflatedBlocks: 4,
      countedBytes: 0,
      damaged: 0,
    });
    expect(counter.counts!.delivered).toBe(LINES * 30);
    expect(await counter.audit([CHECKED], 30)).toMatchObject({
      counted: { clients: LINES, delivered: 300, losers: 0, mostLost: 0, disordered: 0, unread: 0 },
      uncompressed: 0,
      gaps: 0,
      cutOff: [],
    });
    // Another round counts from 0.
    await counter.begin({ run: newRun(), channel: 'c', sizeBytes: SIZE });
    expect((await counter.readCounts()).delivered).toBe(0);
    expect(await counter.audit([CHECKED], 30)).toMatchObject({
      counted: { delivered: 0, losers: LINES, mostLost: 30 },
    });
  });

  const loses = (delivered: number, mostLost: number): object => ({
    counted: { delivered, losers: 1, mostLost, disordered: 0, unread: 0 },
    cutOff: [],
  });
  const DAMAGED = {
    counted: { delivered: 280, losers: 1, mostLost: 20 },
    cutOff: [['the server sent gzip that is none, or that is no events', 1]],
  };
  const flipped = (bytes: Buffer, at: number): Buffer => {
    const other = Buffer.from(bytes);
    other[at]! ^= 0x10;
    return other;
  };

  test.each<[string, readonly Buffer[], object]>([
    ['a block less', [FIRST, SECOND], loses(290, 10)],
    ['an event less', [FIRST, SECOND, deflated(eventsOf(21, 29))], loses(299, 1)],
    [
      'a block twice',
      [FIRST, SECOND, stored(eventsOf(11, 20)), deflated(eventsOf(21, 30))],
      { counted: { delivered: 300, losers: 0, disordered: 10 }, cutOff: [] },
    ],
    [
      'an event again in place of another',
      [FIRST, SECOND, deflated(Buffer.concat([eventsOf(21, 25), eventsOf(25, 29)]))],
      { counted: { delivered: 290, losers: 1, mostLost: 10, disordered: 10 }, cutOff: [] },
    ],
    [
      'an event with other data',
      [FIRST, SECOND, deflated(Buffer.concat([eventsOf(21, 29), eventOf(30, 'else')]))],
      { counted: { delivered: 270, losers: 1 }, cutOff: [] },
    ],
    // The bytes are those of all, what they refer to is not there.
    ['a heartbeat before a block that refers back', [FIRST, stored(Buffer.from(':\n\n')), SECOND, THIRD], DAMAGED],
    ['a block that is no deflate', [FIRST, Buffer.from([7, 7, 7, 7]), THIRD], DAMAGED],
    ['a block with a bit changed', [FIRST, flipped(stored(eventsOf(11, 20)), 30), THIRD], DAMAGED],
    [
      'a block of other texts',
      [FIRST, stored(Buffer.from('<html>\n\n')), SECOND, THIRD],
      DAMAGED,
    ],
    [
      'a block that ends within itself',
      [FIRST, SECOND.subarray(0, -1), THIRD],
      { counted: { clients: 9, delivered: 270, losers: 0, unread: 1 }, cutOff: [] },
    ],
  ])('one of which is given %s, are found out', async (_what, blocks, expected) => {
    const { counter, sockets, tallyAfter } = await lines();
    const right = Buffer.concat([FIRST, SECOND, THIRD].map(chunk));
    const wrong = Buffer.concat(blocks.map(chunk));
    for (const [nth, socket] of sockets.entries()) socket.write(nth === 6 ? wrong : right);
    await tallyAfter((LINES - 1) * right.length + wrong.length);
    expect(await counter.audit([CHECKED], 30)).toMatchObject(expected);
  });

  test('are read however they are cut', async () => {
    const random = new Random(5);
    const { counter, sockets, tallyAfter } = await lines();
    // As uWebSockets does it: the line break behind a chunk comes with the next one.
    const wire = Buffer.concat([FIRST, SECOND, THIRD].map(chunk)).subarray(0, -2);
    let sent = 0;
    for (let at = 0; at < wire.length;) {
      const end = Math.min(wire.length, at + random.between(1, 60));
      for (const socket of sockets) socket.write(wire.subarray(at, end));
      sent += LINES * (end - at);
      await tallyAfter(sent);
      at = end;
    }
    expect(await tallyAfter(sent)).toMatchObject({ countedEvents: LINES * 30, inflatedBlocks: 3 });
    expect(await counter.audit([CHECKED], 30)).toMatchObject({
      counted: { clients: LINES, delivered: 300, losers: 0, unread: 0 },
    });
  });

  test('may end within an event, and come together again when they have decoded the same', async () => {
    const { counter, sockets, tallyAfter } = await lines();
    const cut = eventsOf(1, 10).length + 50;
    const all = eventsOf(1, 30);
    const early = [all.subarray(0, cut), all.subarray(cut)].map((part) => chunk(deflated(part)));
    const late = [all.subarray(0, 9), all.subarray(9)].map((part) => chunk(deflated(part)));
    const fourth = chunk(deflated(eventsOf(31, 40)));
    let sent = 0;
    for (const [nth, socket] of sockets.entries()) {
      const wire = Buffer.concat([...(nth < 5 ? early : late), fourth]);
      socket.write(wire);
      sent += wire.length;
    }
    expect(await tallyAfter(sent)).toMatchObject({ countedEvents: LINES * 40, inflatedBlocks: 5 });
    const checked = { ...CHECKED, leastDelivered: 40 };
    expect(await counter.audit([checked], 40)).toMatchObject({ counted: { delivered: 400 } });
  });

  test('may be NDJSON, with gap notices', async () => {
    const { counter, sockets, tallyAfter } = await lines('ndjson', HEAD, Buffer.from('\n'));
    const data = eventData(RUN, SIZE);
    const wire = chunk(
      deflated(
        Buffer.from(
          `{"gap":{"after":1,"before":4}}\n{"id":5,"channel":"c","data":"${data.toString('latin1')}"}\n\n`,
        ),
      ),
    );
    for (const socket of sockets) socket.write(wire);
    expect(await tallyAfter(LINES * wire.length)).toMatchObject({ countedEvents: LINES });
    expect(await counter.audit([{ ...CHECKED, leastDelivered: 1 }], 2)).toMatchObject({
      counted: { delivered: LINES, losers: 0 },
      gaps: LINES,
    });
  });

  test('that are none are counted by their bytes, and told', async () => {
    const { counter, sockets, tallyAfter } = await lines(
      'sse',
      'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n',
    );
    for (const socket of sockets) socket.write(eventsOf(1, 30));
    const bytes = LINES * eventsOf(1, 30).length;
    expect(await tallyAfter(bytes)).toMatchObject({ countedBytes: bytes, gzipBytes: 0 });
    const wireBytes = bytes / LINES;
    const checked = { ...CHECKED, wireBytes, leastWireBytes: wireBytes };
    expect(await counter.audit([checked], 30)).toMatchObject({
      counted: { delivered: 300, losers: 0 },
      uncompressed: LINES,
    });
  });
});
