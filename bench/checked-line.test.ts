/** The reader of checked lines against streams it must accept however they are cut, and against each fault it must find. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckedLine, Ledger } from './checked-line.js';
import { DATA_BYTES, frameBytes, writeEventData, writeEventStamp } from './event.js';

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const PRELUDE = Buffer.from('retry: 3000\nid: 0\n\n');
const DUE_US = 1_000_000_000;
const READ_US = 1_000_002_500;

function frame(id: number, sequence: number): Buffer {
  const data = Buffer.alloc(DATA_BYTES);
  writeEventData(data, 0);
  writeEventStamp(data, 0, DUE_US, sequence);
  return Buffer.concat([Buffer.from(`id: ${id}\ndata: `), data, Buffer.from('\n\n')]);
}

/** Reads `body` cut into chunks and reads of the given sizes, from a buffer that holds older bytes behind each read. */
function read(body: Buffer[], chunkSizes: number[], readSizes: number[]): { ledger: Ledger; line: CheckedLine } {
  const ledger = new Ledger(100);
  ledger.windowStartUs = DUE_US;
  ledger.windowEndUs = DUE_US + 1;
  const line = new CheckedLine(ledger);
  const bytes = Buffer.concat([PRELUDE, ...body]);
  const wireParts = [Buffer.from(HEAD)];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const chunk = bytes.subarray(at, at + chunkSizes[turn % chunkSizes.length]!);
    wireParts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
    at += chunk.length;
  }
  const wire = Buffer.concat(wireParts);
  const shared = Buffer.alloc(4096, '\n');
  for (let at = 0, turn = 0; at < wire.length; turn++) {
    const byteCount = wire.copy(shared, 0, at, at + readSizes[turn % readSizes.length]!);
    line.feed(shared, byteCount, READ_US);
    at += byteCount;
  }
  return { ledger, line };
}

const sizes = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 20 });
const frames = Array.from({ length: 40 }, (_, sequence) => frame(sequence + 5, sequence));

describe('a checked line', () => {
  test('reads every event once, however the stream is cut', () => {
    fc.assert(
      fc.property(sizes, sizes, (chunkSizes, readSizes) => {
        const heartbeat = Buffer.from(': keepalive\nid: 24\n\n');
        const { ledger, line } = read([...frames.slice(0, 20), heartbeat, ...frames.slice(20)], chunkSizes, readSizes);
        const bytes = frames.reduce((sum, { length }) => sum + length, 0);
        expect(ledger.seen).toEqual({
          events: frames.length,
          frameBytes: bytes,
          doubled: 0,
          outOfOrder: 0,
          gapEvents: 0,
          endEvents: 0,
          heartbeats: 1,
          damaged: 0,
        });
        expect(line.deliveredUs.filter((atUs) => atUs === READ_US)).toHaveLength(frames.length);
        expect(ledger.latencyUs.count).toBe(frames.length);
        expect(line.lastId).toBe(44);
      }),
    );
  });

  test('finds what is lost, doubled, out of order, a gap, an end', () => {
    fc.assert(
      fc.property(sizes, sizes, (chunkSizes, readSizes) => {
        const gap = Buffer.from('event: gap\ndata: {"after":4,"before":9}\n\n');
        const end = Buffer.from('event: end\ndata: {"code":"slow","reconnect":true}\n\n');
        const [first, , third, fourth] = frames as [Buffer, Buffer, Buffer, Buffer];
        const { ledger, line } = read([first, fourth, third, fourth, gap, end], chunkSizes, readSizes);
        expect(line.deliveredUs[1]).toBe(0);
        // The late third event and the repeated fourth both come under an id that is not above the last.
        expect(ledger.seen).toMatchObject({ events: 4, doubled: 1, outOfOrder: 2, gapEvents: 1, endEvents: 1, damaged: 0 });
      }),
    );
  });

  test('finds bytes that are missing inside a frame', () => {
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 20, max: 200 }), (chunkSizes, readSizes, at) => {
        const cut = Buffer.concat([frames[1]!.subarray(0, at), frames[1]!.subarray(at + 10)]);
        const { ledger } = read([frames[0]!, cut, frames[2]!], chunkSizes, readSizes);
        expect(ledger.seen.damaged).toBeGreaterThan(0);
      }),
    );
  });
});

test('a frame is as long as it is said to be', () => {
  expect(frame(5, 0)).toHaveLength(frameBytes(5));
  expect(frame(1_767_225_600_000_000, 0)).toHaveLength(frameBytes(1_767_225_600_000_000));
});
