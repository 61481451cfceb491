/**
 * The readers of checked lines against streams they must accept however they are cut, and against
 * each fault they must find.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CheckedLine, Ledger } from './checked-line.js';
import { CheckedSse } from './checked-sse.js';
import { CheckedWebSocket, FrameReader } from './checked-websocket.js';
import { DATA_BYTES, frameBytes, ndjsonEvent, writeEventData, writeEventStamp } from './event.js';

const SSE_HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const WEBSOCKET_HEAD =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
const PRELUDE = Buffer.from('retry: 3000\nid: 0\n\n');
const PING = Buffer.from([0x89, 0]);
const DUE_US = 1_000_000_000;
const READ_US = 1_000_002_500;

function eventData(sequence: number): Buffer {
  const data = Buffer.alloc(DATA_BYTES);
  writeEventData(data, 0);
  writeEventStamp(data, 0, DUE_US, sequence);
  return data;
}

function frame(id: number, sequence: number): Buffer {
  return Buffer.concat([
    Buffer.from(`id: ${id}\ndata: `),
    eventData(sequence),
    Buffer.from('\n\n'),
  ]);
}

function line(id: number, sequence: number): Buffer {
  return Buffer.concat([ndjsonEvent(id, eventData(sequence)), Buffer.from('\n')]);
}

/** A text frame as a server sends it; the length as short as it can be written. */
function message(...lines: Buffer[]): Buffer {
  const payload = Buffer.concat(lines);
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = 0x81;
  head[1] = head.length === 2 ? payload.length : head.length === 4 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(payload.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

function inChunks(body: Buffer, chunkSizes: number[]): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0, turn = 0; at < body.length; turn++) {
    const chunk = body.subarray(at, at + chunkSizes[turn % chunkSizes.length]!);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
    at += chunk.length;
  }
  return Buffer.concat(parts);
}

interface Read<Line extends CheckedLine> {
  ledger: Ledger;
  line: Line;
}

/**
 * Reads `wire` in reads of the given sizes, from a buffer that holds older bytes behind each read.
 */
function readWire<Line extends CheckedLine>(
  make: (ledger: Ledger) => Line,
  wire: Buffer,
  readSizes: number[],
): Read<Line> {
  const ledger = new Ledger(100);
  ledger.windowStartUs = DUE_US;
  ledger.windowEndUs = DUE_US + 1;
  const checked = make(ledger);
  const shared = Buffer.alloc(4096, '\n');
  for (let at = 0, turn = 0; at < wire.length; turn++) {
    const byteCount = wire.copy(shared, 0, at, at + readSizes[turn % readSizes.length]!);
    checked.feed(shared, byteCount, READ_US);
    at += byteCount;
  }
  return { ledger, line: checked };
}

function readSse(body: Buffer[], chunkSizes: number[], readSizes: number[]): Read<CheckedSse> {
  const wire = Buffer.concat([
    Buffer.from(SSE_HEAD),
    inChunks(Buffer.concat([PRELUDE, ...body]), chunkSizes),
  ]);
  return readWire((ledger) => new CheckedSse(ledger), wire, readSizes);
}

function readWebSocket(
  body: Buffer[],
  readSizes: number[],
): Read<CheckedWebSocket> & { pongs: number } {
  let pongs = 0;
  const wire = Buffer.concat([Buffer.from(WEBSOCKET_HEAD), ...body]);
  return {
    ...readWire((ledger) => new CheckedWebSocket(ledger, () => pongs++), wire, readSizes),
    pongs,
  };
}

const sizes = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 20 });
const frames = Array.from({ length: 40 }, (_, sequence) => frame(sequence + 5, sequence));
const lines = Array.from({ length: 40 }, (_, sequence) => line(sequence + 5, sequence));

const NOTHING = {
  doubled: 0,
  outOfOrder: 0,
  gapEvents: 0,
  endEvents: 0,
  heartbeats: 0,
  damaged: 0,
};

describe('a checked line of Server-Sent Events', () => {
  test('reads every event once, however the stream is cut', () => {
    fc.assert(
      fc.property(sizes, sizes, (chunkSizes, readSizes) => {
        const heartbeat = Buffer.from(': keepalive\nid: 24\n\n');
        const { ledger, line: read } = readSse(
          [...frames.slice(0, 20), heartbeat, ...frames.slice(20)],
          chunkSizes,
          readSizes,
        );
        const frameBytesSent = frames.reduce((sum, { length }) => sum + length, 0);
        expect(ledger.seen).toEqual({
          ...NOTHING,
          events: frames.length,
          frameBytes: frameBytesSent,
          heartbeats: 1,
        });
        expect(read.deliveredUs.filter((atUs) => atUs === READ_US)).toHaveLength(frames.length);
        expect(ledger.latencyUs.count).toBe(frames.length);
        expect(read.lastId).toBe(44);
      }),
    );
  });

  test('finds what is lost, doubled, out of order, a gap, an end', () => {
    fc.assert(
      fc.property(sizes, sizes, (chunkSizes, readSizes) => {
        const gap = Buffer.from('event: gap\ndata: {"after":4,"before":9}\n\n');
        const end = Buffer.from('event: end\ndata: {"code":"slow","reconnect":true}\n\n');
        const [first, , third, fourth] = frames as [Buffer, Buffer, Buffer, Buffer];
        const { ledger, line: read } = readSse(
          [first, fourth, third, fourth, gap, end],
          chunkSizes,
          readSizes,
        );
        expect(read.deliveredUs[1]).toBe(0);
        // The late third event and the repeated fourth both come under an id that is not above the
        // last.
        expect(ledger.seen).toMatchObject({
          events: 4,
          doubled: 1,
          outOfOrder: 2,
          gapEvents: 1,
          endEvents: 1,
          damaged: 0,
        });
      }),
    );
  });

  test('reads events as rivals write them, however the stream is cut', () => {
    fc.assert(
      fc.property(sizes, sizes, (chunkSizes, readSizes) => {
        const rivals = Array.from({ length: 20 }, (_, sequence) =>
          Buffer.from(
            `event:message\ndata:"${eventData(sequence).toString('latin1')}"\nid:${sequence + 5}\n\n`,
          ),
        );
        const { ledger, line: read } = readSse(
          [Buffer.from('retry:2000\n\n:\n\n'), ...rivals],
          chunkSizes,
          readSizes,
        );
        expect(ledger.seen).toMatchObject({ ...NOTHING, events: rivals.length, heartbeats: 1 });
        expect(ledger.latencyUs.count).toBe(rivals.length);
        expect(read.lastId).toBe(24);
      }),
    );
  });

  test('takes no event for one whose data is cut, or that has none', () => {
    const whole = eventData(0).toString('latin1');
    for (const data of [`"${whole.slice(1)}"`, `"${whole}x"`, `"${whole}`, whole, '""']) {
      const { ledger } = readSse(
        [Buffer.from(`event:message\ndata:${data}\nid:5\n\n`)],
        [1000],
        [1000],
      );
      expect(ledger.seen).toMatchObject({ events: 0, damaged: 1 });
    }
  });

  test('finds bytes that are missing inside a frame', () => {
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 20, max: 200 }), (chunkSizes, readSizes, at) => {
        const cut = Buffer.concat([frames[1]!.subarray(0, at), frames[1]!.subarray(at + 10)]);
        const { ledger } = readSse([frames[0]!, cut, frames[2]!], chunkSizes, readSizes);
        expect(ledger.seen.damaged).toBeGreaterThan(0);
      }),
    );
  });
});

/** The lines, so many of them a message, with a ping in front of every message. */
function inMessages(linesAMessage: number[]): { wire: Buffer[]; pings: number } {
  const wire: Buffer[] = [];
  let pings = 0;
  for (let at = 0; at < lines.length; pings++) {
    const count = linesAMessage[pings % linesAMessage.length]!;
    wire.push(PING, message(...lines.slice(at, at + count)));
    at += count;
  }
  return { wire, pings };
}

describe('a checked line of WebSocket', () => {
  const counts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

  test('reads every event once and answers every ping, however messages and reads are cut', () => {
    fc.assert(
      fc.property(counts, sizes, (linesAMessage, readSizes) => {
        const { wire, pings } = inMessages(linesAMessage);
        const { ledger, line: read, pongs } = readWebSocket(wire, readSizes);
        const lineBytes = lines.reduce((sum, { length }) => sum + length, 0);
        expect(ledger.seen).toEqual({
          ...NOTHING,
          events: lines.length,
          frameBytes: lineBytes,
          heartbeats: pings,
        });
        expect(pongs).toBe(pings);
        expect(ledger.latencyUs.count).toBe(lines.length);
        expect(read.lastId).toBe(44);
      }),
    );
  });

  test('finds what is lost, doubled, out of order, a gap, an end', () => {
    fc.assert(
      fc.property(sizes, (readSizes) => {
        const gap = Buffer.from('{"gap":{"after":4,"before":9}}\n');
        const end = Buffer.from('{"end":{"code":"slow","reconnect":true}}\n');
        const [first, , third, fourth] = lines as [Buffer, Buffer, Buffer, Buffer];
        const wire = [message(gap, first), message(fourth), message(third, fourth), message(end)];
        const { ledger, line: read } = readWebSocket(wire, readSizes);
        expect(read.deliveredUs[1]).toBe(0);
        expect(ledger.seen).toMatchObject({
          events: 4,
          doubled: 1,
          outOfOrder: 2,
          gapEvents: 1,
          endEvents: 1,
          damaged: 0,
        });
      }),
    );
  });

  test.each([
    ['a message that is no whole line', message(lines[0]!.subarray(0, 100))],
    ['a binary message', Buffer.concat([Buffer.from([0x82]), message(lines[0]!).subarray(1)])],
    ['a fragment', Buffer.concat([Buffer.from([0x01]), message(lines[0]!).subarray(1)])],
    ['a masked frame', Buffer.concat([Buffer.from([0x81, 0x81, 0, 0, 0, 0]), Buffer.from('\n')])],
    ['reserved bits', Buffer.concat([Buffer.from([0xc1]), message(lines[0]!).subarray(1)])],
    ['a line that is no event', message(Buffer.from('{"id":5}\n'))],
    [
      'bytes missing inside a line',
      message(Buffer.concat([lines[0]!.subarray(0, 50), lines[0]!.subarray(60)])),
    ],
  ])('finds %s', (_what, wire) => {
    fc.assert(
      fc.property(sizes, (readSizes) => {
        expect(readWebSocket([wire], readSizes).ledger.seen.damaged).toBeGreaterThan(0);
      }),
    );
  });

  test('frames of every length are walked over to the next', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 1, 125, 126, 65_535, 65_536, 70_000),
        sizes,
        (payloadBytes, readSizes) => {
          const wire = Buffer.concat([message(Buffer.alloc(payloadBytes)), PING]);
          let payloadSeen = 0;
          let ends = 0;
          let pings = 0;
          const reader = new FrameReader({
            text: (_buffer, start, end, isLast) => {
              payloadSeen += end - start;
              if (isLast) ends++;
            },
            ping: () => pings++,
            close: () => {},
            damaged: () => {},
          });
          for (let at = 0, turn = 0; at < wire.length; turn++) {
            const end = Math.min(wire.length, at + readSizes[turn % readSizes.length]!);
            reader.feed(wire, at, end);
            at = end;
          }
          expect({ payloadSeen, ends, pings }).toEqual({
            payloadSeen: payloadBytes,
            ends: 1,
            pings: 1,
          });
        },
      ),
    );
  });
});

test('a frame is as long as it is said to be', () => {
  expect(frame(5, 0)).toHaveLength(frameBytes(5));
  expect(frame(1_767_225_600_000_000, 0)).toHaveLength(frameBytes(1_767_225_600_000_000));
});
