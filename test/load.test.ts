/** The parts of `holdline load`: its options, its readers at every cut, and its books. */

import { describe, expect, it } from 'vitest';
import { EventReader, formatOf, NDJSON, readObject, SSE, type EventShape } from '../src/load/dialect.js';
import { dueUsOf, eventData, newRun, sequenceOf, stampEvent } from '../src/load/event.js';
import { AnswerReader, type Head } from '../src/load/http.js';
import { Ledger } from '../src/load/ledger.js';
import { loadHelp, parseLoadOptions } from '../src/load/options.js';
import { FrameReader } from '../src/load/websocket-client.js';
import { Random } from './support/random.js';

const SEED = 20_261_122;

/** Reads bytes in pieces; `feed` is given the whole buffer each time, as the clients' readers are given one that is larger. */
type Feed = (bytes: Buffer, start: number, end: number) => void;

function feedInPieces(feed: Feed, bytes: Buffer, cuts: readonly number[]): void {
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    feed(bytes, start, end);
    start = end;
  }
}

/** Every way to cut that is worth a look: whole, in two at every byte, byte by byte, and at random. */
function* waysToCut(length: number): Generator<readonly number[]> {
  yield [];
  const step = Math.max(1, Math.floor(length / 2000));
  for (let cut = 1; cut < length; cut += step) yield [cut];
  if (step === 1) yield Array.from({ length: length - 1 }, (_, index) => index + 1);
  const random = new Random(SEED);
  for (let round = 0; round < 50; round++) {
    const cuts = new Set(Array.from({ length: random.between(1, 12) }, () => random.between(1, length - 1)));
    yield [...cuts].toSorted((a, b) => a - b);
  }
}

/** What a reader tells is the same however the bytes are cut. */
function expectSameAtEveryCut(bytes: Buffer, read: (cuts: readonly number[]) => unknown, expected: unknown): void {
  for (const cuts of waysToCut(bytes.length)) {
    const seen = read(cuts);
    // One comparison for each cut would be most of the test's time.
    if (JSON.stringify(seen) !== JSON.stringify(expected))
      expect(seen, `seed ${SEED}, cut at ${cuts.join(', ')}`).toEqual(expected);
  }
}

describe('options', () => {
  const parse = (args: string[], env: Record<string, string> = {}, fileLimit: number | undefined = 20_000) =>
    parseLoadOptions(args, { env, fileLimit });

  it('have the documented defaults', () => {
    expect(parse([])).toEqual({
      values: {
        url: 'http://127.0.0.1:8080/load',
        transport: 'sse',
        connections: 100,
        ratePerSecond: 10,
        sizeBytes: 256,
        durationMs: 10_000,
        pollIntervalMs: 2000,
        publishKey: undefined,
        json: false,
        quiet: false,
      },
      warnings: [],
    });
  });

  it('are read from flags and variables, and a flag beats a variable', () => {
    const args = ['--url', 'http://[::1]:81/a.b', '--transport=long-poll', '--size', '4KiB', '--duration=1.5s', '--json'];
    const env = {
      HOLDLINE_RATE: '20',
      HOLDLINE_TRANSPORT: 'ws',
      HOLDLINE_PUBLISH_KEY: 'k',
      HOLDLINE_PORT: '1',
      HOLDLINE_RATTE: '1',
    };
    const { values, warnings } = parse(args, env);
    expect(values).toMatchObject({
      url: 'http://[::1]:81/a.b',
      transport: 'long-poll',
      sizeBytes: 4096,
      durationMs: 1500,
      ratePerSecond: 20,
      publishKey: 'k',
      json: true,
    });
    expect(warnings).toEqual([
      'the environment variable HOLDLINE_RATTE is not an option and has no effect; did you mean HOLDLINE_RATE?',
    ]);
  });

  it.each([
    [['--connection', '5'], '--connection is not an option; did you mean --connections?'],
    [['--port', '5'], '--port is not an option; holdline load --help lists the options'],
    [['http://127.0.0.1/x'], '"http://127.0.0.1/x" is not an option; options start with -- and holdline load takes nothing else'],
    [['--transport', 'http'], '--transport: "http" was given; accepted is one of sse, ndjson, ws, long-poll, short-poll'],
    [
      ['--size', '63'],
      '--size: "63" was given; accepted is a size from 64B to 1MiB in bytes, KiB, MiB or GiB, such as 4096 or 64KiB',
    ],
    [['--rate'], '--rate needs a value and nothing follows; accepted is an integer from 1 to 100000'],
    ...[
      'https://h/c',
      'http://h',
      'http://h/',
      'http://h/a/b',
      'http://h/a,b',
      'http://u@h/c',
      'http://h/c?x',
      'http://h:99999/c',
      'h/c',
    ].map(
      (url) =>
        [
          ['--url', url],
          `--url: "${url}" was given; accepted is a URL of plain HTTP with one channel, such as http://127.0.0.1:8080/load`,
        ] as [string[], string],
    ),
  ] as [string[], string][])('%j is refused in words', (args, words) => {
    expect(() => parse(args)).toThrow(expect.objectContaining({ code: 'HOLDLINE_BAD_OPTION', message: words }));
  });

  it('refuse more connections than the file limit carries, and more than the books can hold', () => {
    expect(parse(['--connections', '680'], {}, 1000).values.connections).toBe(680);
    expect(() => parse(['--connections', '681'], {}, 1000)).toThrow(
      /^--connections: 681 is more than the file limit of 1000 carries, which is 680/,
    );
    expect(() => parse(['--connections', '15000', '--rate', '100000', '--duration', '10s'])).toThrow(
      /with 1000000 events .* the book/,
    );
  });

  it('are all in the help', () => {
    for (const flag of [
      'url',
      'transport',
      'connections',
      'rate',
      'size',
      'duration',
      'poll-interval',
      'publish-key',
      'json',
      'quiet',
      'help',
    ]) {
      expect(loadHelp()).toContain(`--${flag}`);
    }
  });
});

describe('event data', () => {
  it('carries sequence and due time at fixed places, and has the size asked for', () => {
    const data = eventData('abcdef01', 64);
    stampEvent(data, 0, 1234, 5_678_901.4);
    expect(data.toString()).toMatch(/^abcdef01 0000001234 0000000005678901 [a-z]{27}$/);
    expect([sequenceOf(data, 0), dueUsOf(data, 0)]).toEqual([1234, 5_678_901]);
    expect(newRun()).toMatch(/^[0-9a-f]{8}$/);
  });

  it('is told from other data', () => {
    expect(sequenceOf(Buffer.from('abcdef01 00000x1234 0000000005678901 '), 0)).toBeNaN();
    expect(dueUsOf(Buffer.from('abcdef01 0000001234 '), 0)).toBeNaN();
  });
});

const SHAPE: EventShape = { run: 'abcdef01', channel: 'load', sizeBytes: 64 };

function dataOf(sequence: number, dueUs: number): string {
  const data = eventData(SHAPE.run, SHAPE.sizeBytes);
  stampEvent(data, 0, sequence, dueUs);
  return data.toString();
}

/** A sink that keeps what it was told. */
function teller(): {
  told: unknown[];
  sink: { event(...of: number[]): void; gap(): void; ended(code: string): void; position(): void };
} {
  const told: unknown[] = [];
  return {
    told,
    sink: {
      event: (id, sequence, dueUs) => told.push([id, sequence, dueUs]),
      gap: () => told.push('gap'),
      ended: (code) => told.push(code),
      position: () => told.push('position'),
    },
  };
}

const OTHER_DATA = ['hello', '', 'abcdef0', `ffffffff${dataOf(1, 2).slice(8)}`];

const STREAMS = {
  sse: {
    dialect: SSE,
    bytes: [
      'retry: 3000\nid: 6\n\n',
      ': keepalive\n\n',
      `id: 7\ndata: ${dataOf(0, 10)}\n\n`,
      `id: 8\ndata: ${dataOf(1, 20)}\n\n`,
      ':\n',
      ...OTHER_DATA.map((data, index) => `id: ${9 + index}\nevent: notice\ndata: ${data}\n\n`),
      'id: 13\ndata: two\ndata: lines with grüße 😀\n\n',
      ': keepalive\nid: 13\n\n',
      'event: gap\ndata: {"after":4,"before":118}\n\n',
      `id: 20\nevent: other\ndata: ${dataOf(2, 30)}\n\n`,
      `id: 1790000000000000\ndata: ${dataOf(3, 40)}\n\n`,
      'event: end\ndata: {"code":"draining","reconnect":true}\n\n',
    ],
    told: ['position', [7, 0, 10], [8, 1, 20], 'position', 'gap', [20, 2, 30], [1_790_000_000_000_000, 3, 40], 'draining'],
    refused: [
      '<html>\n\n',
      'id: 7\ndata: abcdef01\n\n',
      `id: 7\ndata: ${dataOf(0, 10)}x\n\n`,
      `id: x\ndata: ${dataOf(0, 10)}\n\n`,
      'event: end\ndata: {\n\n',
    ],
  },
  ndjson: {
    dialect: NDJSON,
    bytes: [
      '\n',
      `{"id":7,"channel":"load","data":"${dataOf(0, 10)}"}\n`,
      `{"id":8,"channel":"load","data":"${dataOf(1, 20)}"}\n`,
      '\n',
      ...OTHER_DATA.map((data, index) => `{"id":${9 + index},"channel":"load","event":"notice","data":"${data}"}\n`),
      '{"id":13,"channel":"load","data":{"json":["grüße 😀",1]}}\n',
      '{"gap":{"after":4,"before":118}}\n',
      `{"id":20,"channel":"load","event":"other","data":"${dataOf(2, 30)}"}\n`,
      `{"id":1790000000000000,"channel":"load","data":"${dataOf(3, 40)}"}\n`,
      '{"end":{"code":"draining","reconnect":true}}\n',
    ],
    told: [[7, 0, 10], [8, 1, 20], 'gap', [20, 2, 30], [1_790_000_000_000_000, 3, 40], 'draining'],
    refused: ['<html>\n', '{"id":7\n', '{}\n', `{"id":7,"channel":"load","data":"${dataOf(0, 10)}x"}\n`],
  },
};

describe.each(Object.entries(STREAMS))('a reader of %s', (_name, { dialect, bytes: parts, told: expected, refused }) => {
  const format = formatOf(dialect, SHAPE);

  it('tells the same however the stream is cut', () => {
    const bytes = Buffer.from(parts.join(''));
    const read = (cuts: readonly number[]): unknown => {
      const { told, sink } = teller();
      const reader = new EventReader(format, sink);
      feedInPieces((...of) => reader.feed(...of), bytes, cuts);
      return [told, reader.isBetweenEvents];
    };
    expectSameAtEveryCut(bytes, read, [expected, true]);
  });

  it.each(refused)('refuses %j', (text) => {
    const bytes = Buffer.from(text);
    expect(() => new EventReader(format, teller().sink).feed(bytes, 0, bytes.length)).toThrow(
      /^(?:no line of an event stream|no event|a damaged event|.*JSON)/,
    );
  });

  it('knows when an event is not yet whole', () => {
    const reader = new EventReader(format, teller().sink);
    const bytes = Buffer.from(parts[2]!);
    reader.feed(bytes, 0, 10);
    expect(reader.isBetweenEvents).toBe(false);
    reader.feed(bytes, 10, bytes.length);
    expect(reader.isBetweenEvents).toBe(true);
  });
});

describe('an object of a poll', () => {
  it('may tell a gap and an event at once', () => {
    const { told, sink } = teller();
    readObject({ gap: { after: 4, before: 118 }, id: 118, data: dataOf(5, 6) }, SHAPE, sink);
    expect(told).toEqual(['gap', [118, 5, 6]]);
  });
});

describe('a reader of answers', () => {
  const ANSWERS =
    'HTTP/1.1 100 Continue\r\n\r\n' +
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nHoldline-Position:  7 \r\n\r\nhello' +
    'HTTP/1.1 204 No Content\r\nHoldline-Position: 8\r\n\r\n' +
    'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n' +
    'HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4;x="1"\r\nbusy\r\n10 \r\n 0123456789abcde\r\n0\r\nA: b\r\n\r\n' +
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n' +
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nwhatever follows';
  const isStreamed = ({ status, headers }: Head): boolean =>
    status === 101 || (status === 200 && headers.has('transfer-encoding'));

  it('tells the same however they are cut', () => {
    const bytes = Buffer.from(ANSWERS);
    const read = (cuts: readonly number[]): unknown => {
      const told: unknown[] = [];
      let streamed = '';
      const reader = new AnswerReader({
        head: isStreamed,
        piece: (piece, start, end) => (streamed += piece.toString('latin1', start, end)),
        complete: ({ status, headers }, body) => told.push([status, headers.get('holdline-position') ?? null, body.toString()]),
      });
      feedInPieces((...of) => reader.feed(...of), bytes, cuts);
      return [told, streamed];
    };
    expectSameAtEveryCut(bytes, read, [
      [
        [200, '7', 'hello'],
        [204, '8', ''],
        [200, null, ''],
        [503, null, 'busy 0123456789abcde'],
        [200, null, ''],
      ],
      'abc0123456789whatever follows',
    ]);
  });

  it.each([
    ['no HTTP', 'SSH-2.0-x\r\n\r\n', /^this is no HTTP\/1\.1: "SSH-2\.0-x"/],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(17_000)}`, /^an answer's head is over 16384 bytes$/],
    ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', /^Content-Length: -1$/],
    ['a chunk without size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nx', /^a chunk has no size$/],
    [
      'a chunk with an odd size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx1\r\n',
      /^a chunk's size has the byte 120$/,
    ],
    [
      'a chunk past its size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n',
      /^a chunk is longer than its size$/,
    ],
  ])('refuses %s', (_name, text, message) => {
    const bytes = Buffer.from(text);
    const reader = new AnswerReader({ head: () => true, piece: () => {}, complete: () => {} });
    expect(() => reader.feed(bytes, 0, bytes.length)).toThrow(message);
  });
});

/** A frame as a server sends it. */
function frame(first: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

const letters = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => 97 + (index % 26)));

describe('a reader of WebSocket frames', () => {
  function readFrames(bytes: Buffer, cuts: readonly number[]): unknown[] {
    const told: unknown[] = [];
    let text = '';
    const reader = new FrameReader({
      text: (piece, start, end) => (text += piece.toString('latin1', start, end)),
      textEnd: () => {
        told.push(text);
        text = '';
      },
      ping: (payload) => told.push(`ping ${payload.toString()}`),
      close: (code, reason) => told.push(`close ${code} ${reason}`),
    });
    feedInPieces((...of) => reader.feed(...of), bytes, cuts);
    return told;
  }

  it('tells the same however they are cut, with lengths of 7 and 16 bits, fragments and pings between them', () => {
    const closing = Buffer.concat([Buffer.from([0x03, 0xf4]), Buffer.from('draining')]);
    const bytes = Buffer.concat([
      frame(0x81, letters(0)),
      frame(0x81, letters(125)),
      frame(0x81, letters(126)),
      frame(0x89, Buffer.from('are you there')),
      frame(0x89, letters(0)),
      frame(0x01, letters(3)),
      frame(0x8a, letters(125)),
      frame(0x00, letters(200)),
      frame(0x89, letters(1)),
      frame(0x80, letters(5)),
      frame(0x88, closing),
    ]);
    const text = (length: number): string => letters(length).toString();
    expectSameAtEveryCut(bytes, (cuts) => readFrames(bytes, cuts), [
      '',
      text(125),
      text(126),
      'ping are you there',
      'ping ',
      'ping a',
      text(3) + text(200) + text(5),
      'close 1012 draining',
    ]);
    expect(readFrames(frame(0x88, letters(0)), [])).toEqual(['close undefined ']);
  });

  it('tells the same of lengths at the edges of 16 and 64 bits', () => {
    const bytes = Buffer.concat([frame(0x81, letters(65_535)), frame(0x81, letters(65_536)), frame(0x81, letters(1))]);
    const expected = [65_535, 65_536, 1].map((length) => letters(length).toString());
    const edges = [1, 2, 3, 4, 5, 65_538, 65_539, 65_540, 65_541, 65_545, 65_548, 65_549, 65_550, 131_084, 131_085, 131_086];
    const random = new Random(SEED);
    const ways = [...edges.map((cut) => [cut]), edges, ...edges.map(() => random.some(edges, 5).toSorted((a, b) => a - b))];
    for (const cuts of ways) expect(readFrames(bytes, cuts).every((text, index) => text === expected[index])).toBe(true);
  });

  it.each([
    ['a mask', Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5]), /masked/],
    ['an extension', Buffer.from([0xc1, 0x00]), /extension/],
    ['a binary message', Buffer.from([0x82, 0x00]), /opcode 2 came where a text begins/],
    ['a continuation of nothing', Buffer.from([0x80, 0x00]), /opcode 0 came where a text begins/],
    ['a new message inside another', Buffer.from([0x01, 0x00, 0x81, 0x00]), /opcode 1 came where a message goes on/],
    ['a cut ping', Buffer.from([0x09, 0x00]), /control frame/],
    ['a long ping', Buffer.from([0x89, 0x7e, 0x00, 0x7e]), /control frame/],
  ])('refuses %s', (_name, bytes, message) => {
    expect(() => readFrames(bytes, [])).toThrow(message);
  });
});

describe('the books', () => {
  it('count what was lost, doubled and out of order, over all clients', () => {
    const ledger = new Ledger(3, 10);
    for (let sequence = 0; sequence < 9; sequence++) ledger.accept(sequence);
    // The first client has everything, though ids do not rise with sequences: two publishers overtook each other.
    for (const [index, sequence] of [0, 1, 3, 2, 4, 5, 6, 7, 8].entries()) ledger.deliver(0, 100 + index, sequence, 1000, 3000);
    expect([ledger.delivered, ledger.doubled, ledger.outOfOrder]).toEqual([9, 0, 0]);
    // The second has one twice, two in the wrong order, and not all.
    for (const [id, sequence] of [
      [100, 0],
      [102, 3],
      [101, 1],
      [102, 3],
    ] as const) {
      ledger.deliver(1, id, sequence, 1000, 5000);
    }
    expect([ledger.delivered, ledger.doubled, ledger.outOfOrder]).toEqual([12, 1, 1]);
    expect([ledger.published, ledger.expected, ledger.expected - ledger.delivered]).toEqual([9, 27, 15]);
    expect(ledger.latencyUs.totalCount).toBe(12);
    expect(ledger.latencyUs.getValueAtPercentile(50)).toBe(2000);
  });

  it('take an event for published that a client was given, whatever the publisher was told', () => {
    const ledger = new Ledger(2, 2);
    ledger.deliver(0, 5, 1, 0, 0);
    ledger.accept(1);
    expect([ledger.published, ledger.expected]).toEqual([1, 2]);
  });

  it('refuse an event that is none of the run', () => {
    expect(() => new Ledger(1, 2).deliver(0, 5, 2, 0, 0)).toThrow(/none of the run: number 2$/);
  });
});
