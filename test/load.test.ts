/** The parts of `holdline load`: its options, its readers at every cut, and its books. */

import { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  NDJSON,
  POLL,
  readObject,
  SSE,
  type EventShape,
  type EventSink,
} from '../src/tools/load/clients/encoding.js';
import { EventReader, formatOf, lastIdIn } from '../src/tools/load/clients/event-reader.js';
import {
  dueUsOf,
  eventData,
  newRun,
  sequenceOf,
  stampEvent,
} from '../src/tools/load/clients/event.js';
import { nowUs } from '../src/tools/load/books/clock.js';
import { findTarget, RunFailure } from '../src/tools/load/clients/connection.js';
import {
  AnswerReader,
  Headers,
  isLast,
  pathAfter,
  refusalText,
  type Head,
} from '../src/tools/load/clients/http.js';
import { loadHelp, mixOf, parseLoadOptions } from '../src/tools/load/options.js';
import { roleOf } from '../src/tools/load/clients/mix.js';
import { Run } from '../src/tools/load/run/run.js';
import { ServerFrameReader } from '../src/tools/load/clients/websocket-client.js';
import { Random } from './support/random.js';

const SEED = 20_261_122;

// Connections of this file go to a host that answers nothing.
vi.mock('node:net', async (original) => ({
  ...(await original<object>()),
  connect: () => new Socket(),
}));

/**
 * Reads bytes in pieces; `feed` is given the whole buffer each time, as the clients' readers are
 * given one that is larger.
 */
type Feed = (bytes: Buffer, start: number, end: number) => void;

function feedInPieces(feed: Feed, bytes: Buffer, cuts: readonly number[]): void {
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    feed(bytes, start, end);
    start = end;
  }
}

/**
 * Every way to cut that is worth a look: whole, in two at every byte, byte by byte, and at random.
 */
function* waysToCut(length: number): Generator<readonly number[]> {
  yield [];
  const step = Math.max(1, Math.floor(length / 2000));
  for (let cut = 1; cut < length; cut += step) yield [cut];
  if (step === 1) yield Array.from({ length: length - 1 }, (_, index) => index + 1);
  const random = new Random(SEED);
  for (let round = 0; round < 50; round++) {
    const cuts = new Set(
      Array.from({ length: random.between(1, 12) }, () => random.between(1, length - 1)),
    );
    yield [...cuts].toSorted((a, b) => a - b);
  }
}

/** What a reader tells is the same however the bytes are cut. */
function expectSameAtEveryCut(
  bytes: Buffer,
  read: (cuts: readonly number[]) => unknown,
  expected: unknown,
): void {
  for (const cuts of waysToCut(bytes.length)) {
    const seen = read(cuts);
    // One comparison for each cut would be most of the test's time.
    if (JSON.stringify(seen) !== JSON.stringify(expected))
      expect(seen, `seed ${SEED}, cut at ${cuts.join(', ')}`).toEqual(expected);
  }
}

describe('options', () => {
  const parse = (
    args: string[],
    env: Record<string, string> = {},
    fileLimit: number | undefined = 20_000,
  ) => parseLoadOptions(args, { env, fileLimit, readFile: (path) => `key-in-${path}\n` });

  it('have the documented defaults', () => {
    const { values, warnings } = parse([]);
    // Those without a default are left out here.
    expect({
      values: Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)),
      warnings,
    }).toEqual({
      values: {
        url: 'http://127.0.0.1:8080/load',
        transport: 'sse',
        compress: false,
        connections: 100,
        ratePerSecond: 10,
        sizeBytes: 256,
        durationMs: 10_000,
        pollIntervalMs: 2000,
        processes: 1,
        checkedShare: 1,
        stalledShare: 0,
        reconnectsPerMinute: 0,
        json: false,
        quiet: false,
      },
      warnings: [],
    });
  });

  it('are read from flags and variables, and a flag beats a variable', () => {
    const args = [
      '--url',
      'http://[::1]:81/a/b?id=c',
      '--transport=long-poll',
      '--size',
      '4KiB',
      '--duration=1.5s',
      '--json',
    ];
    const env = {
      HOLDLINE_RATE: '20',
      HOLDLINE_TRANSPORT: 'ws',
      HOLDLINE_PUBLISH_KEY: 'k',
      HOLDLINE_PORT: '1',
      HOLDLINE_RATTE: '1',
    };
    const { values, warnings } = parse(args, env);
    expect(values).toMatchObject({
      url: 'http://[::1]:81/a/b?id=c',
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
    [
      ['http://127.0.0.1/x'],
      '"http://127.0.0.1/x" is not an option; options start with -- and holdline load takes nothing else',
    ],
    [
      ['--transport', 'http'],
      '--transport must be one of sse, ndjson, ws, long-poll, short-poll (got "http")',
    ],
    [
      ['--size', '63'],
      '--size must be a size from 64B to 1MiB in bytes, KiB, MiB or GiB, such as 4096 or 64KiB (got "63")',
    ],
    [['--rate'], '--rate needs a value: an integer from 1 to 100000 (nothing follows)'],
    ...[
      'https://h/c',
      'http://h',
      'http://u@h/c',
      'http://h/c#x',
      'http://h/a b',
      'http://h:99999/c',
      'h/c',
    ].map(
      (url) =>
        [
          ['--url', url],
          `--url must be a URL of plain HTTP with a path, such as http://127.0.0.1:8080/load (got "${url.replace('u@', '…@')}")`,
        ] as [string[], string],
    ),
    ...['1', '101%', '-1%', '1.00001%', '%'].map(
      (share) =>
        [
          ['--stalled', share],
          `--stalled must be a share from 0% to 100%, such as 1% or 0.5% (got "${share}")`,
        ] as [string[], string],
    ),
    ...['5%', '5%:8KiB', '5%:0KiB/s', '5:8KiB/s', '5%:1GiB/s', '50%:65MiB/s'].map(
      (slow) =>
        [
          ['--slow-readers', slow],
          `--slow-readers must be a share and what each of them reads, up to 64MiB/s, such as 5%:8KiB/s (got "${slow}")`,
        ] as [string[], string],
    ),
    [
      ['--reconnect', '2%'],
      '--reconnect must be a share in a minute from 0%/min to 100%/min, such as 2%/min (got "2%")',
    ],
    [['--ramp', '500'], '--ramp must be a rate from 1/s to 1000000/s, such as 500/s (got "500")'],
    [['--ramp', '0/s'], '--ramp must be a rate from 1/s to 1000000/s, such as 500/s (got "0/s")'],
    [
      ['--processes', '8', '--connections', '7'],
      '--processes: 8 is more than there are clients (--connections 7)',
    ],
    [
      ['--stalled', '60%', '--slow-readers', '50%:1KiB/s'],
      '--stalled and --slow-readers: together they are all clients or more, and what those miss does not count, so leave some others',
    ],
    [
      ['--stalled', '100%'],
      '--stalled and --slow-readers: together they are all clients or more, and what those miss does not count, so leave some others',
    ],
    ...[
      ['--connections', '1', '--stalled', '1%'],
      ['--connections', '2', '--stalled', '1%', '--slow-readers', '1%:8KiB/s'],
    ].map(
      (args) =>
        [
          args,
          `--connections: with ${args[1]!}, all are those of --stalled and --slow-readers, each of which is at least one, and what those miss does not count; use more connections`,
        ] as [string[], string],
    ),
    [
      ['--transport', 'long-poll', '--check', '1%'],
      '--check: every answer to a poll is read anyway, so leave it out with --transport long-poll',
    ],
    [
      ['--transport', 'short-poll', '--stalled', '1%'],
      '--stalled and --slow-readers: a client that polls asks for what it reads, so leave them out with --transport short-poll',
    ],
    [
      ['--check', '0%'],
      '--check: with 0% no latency is known, nor what an event takes on a line; any share above it is at least one client in each process',
    ],
    [
      ['--herd', '10s'],
      '--herd: events are published for 10000 ms (--duration), so 10000 ms is too late',
    ],
  ] as [string[], string][])('%j is refused in words', (args, words) => {
    expect(() => parse(args)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_OPTION', message: words }),
    );
  });

  it('read the variable that says whether the server compresses, and leave it where nothing is', () => {
    const compress = (transport: string, value: string): boolean =>
      parse(['--transport', transport], { HOLDLINE_COMPRESS: value }).values.compress;
    expect(['shared', 'off', '1'].map((value) => compress('sse', value))).toEqual([
      true,
      false,
      true,
    ]);
    expect(['ws', 'long-poll'].map((transport) => compress(transport, 'shared'))).toEqual([
      false,
      false,
    ]);
    expect(() => parse(['--transport', 'ws', '--compress'])).toThrow(
      '--compress: only streams are compressed',
    );
  });

  it('take keys from files, too', () => {
    const env = { HOLDLINE_PUBLISH_KEY_FILE: 'a', HOLDLINE_SUBSCRIBE_KEY_FILE: 'b' };
    const keys = { publishKey: 'key-in-a', subscribeKey: 'key-in-b' };
    expect(parse([], env)).toMatchObject({ values: keys, warnings: [] });
    const { publishKey } = parse(['--publish-key-file', 'c'], env).values;
    expect(publishKey).toBe('key-in-c');
  });

  it('refuse more connections than the file limit carries, and more than the books can hold', () => {
    expect(parse(['--connections', '936'], {}, 1000).values.connections).toBe(936);
    expect(() => parse(['--connections', '937'], {}, 1000)).toThrow(
      /^--connections: 937 is more than 936, the most that the file limit of 1000 per process allows: /,
    );
    expect(parse(['--connections', '1872', '--processes', '2'], {}, 1000).values.connections).toBe(
      1872,
    );
    expect(() => parse(['--connections', '1873', '--processes', '2'], {}, 1000)).toThrow(
      / is more than 1872, /,
    );
    const many = ['--connections', '15000', '--rate', '100000', '--duration', '10s'];
    expect(() => parse(many)).toThrow(/with 1000000 events .* the record of what arrived/);
    expect(parse([...many, '--check', '1%']).values.checkedShare).toBe(0.01);
    expect(() => parse(['--connections', '1', '--rate', '100000', '--duration', '1h'])).toThrow(
      /with 360000000 events .* the record of what arrived/,
    );
  });

  it('leave at least one client that reads normally, or are refused', () => {
    for (let connections = 1; connections <= 40; connections++) {
      for (const [stalled, slow] of [
        [1, 0],
        [50, 0],
        [34, 33],
        [98, 1],
        [10, 85],
      ] as const) {
        const args = ['--connections', String(connections), '--stalled', `${stalled}%`];
        if (slow > 0) args.push('--slow-readers', `${slow}%:8KiB/s`);
        const mix = {
          stalledShare: stalled / 100,
          slowShare: slow / 100,
          slowBytesPerSecond: 8192,
          reconnectsPerMinute: 0,
        };
        const rows = Array.from({ length: connections }, (_, row) => roleOf(mix, row));
        const isRefused = !rows.includes('normal');
        if (isRefused) expect(() => parse(args)).toThrow('--connections: with');
        else
          expect(mixOf(parse(args).values)).toEqual({
            ...mix,
            slowBytesPerSecond: slow > 0 ? 8192 : 0,
          });
      }
    }
  });

  it('say how the clients behave', () => {
    const { values } = parse([
      '--stalled',
      '1%',
      '--slow-readers',
      '5%:8KiB/s',
      '--reconnect',
      '2.5%/min',
      '--ramp',
      '500/s',
      '--herd',
      '3s',
    ]);
    expect(mixOf(values)).toEqual({
      stalledShare: 0.01,
      slowShare: 0.05,
      slowBytesPerSecond: 8192,
      reconnectsPerMinute: 0.025,
    });
    expect([values.rampPerSecond, values.herdAtMs]).toEqual([500, 3000]);
    // As a binary fraction a seventh of a percent more.
    expect(parse(['--check', '0.07%']).values.checkedShare).toBe(0.0007);
  });

  it('are all in the help', () => {
    for (const flag of [
      'publish-url',
      'processes',
      'ramp',
      'check',
      'stalled',
      'slow',
      'reconnect',
      'herd',
      'server-pid',
      'html',
      'out',
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

describe('a host that answers nothing', () => {
  afterEach(() => void vi.useRealTimers());

  it('is waited for no longer than 10 s', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const found = findTarget(new URL('http://192.0.2.1:81/c'));
    const failure = found.catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await failure).toEqual(
      new RunFailure('cannot connect to 192.0.2.1:81: no answer in 10 s'),
    );
  });

  it('is waited for until Ctrl-C', async () => {
    const stopped = new AbortController();
    const found = findTarget(new URL('http://192.0.2.1:81/c'), stopped.signal);
    stopped.abort();
    await expect(found).rejects.toThrow(/^stopped before a client had connected$/);
  });

  it('is not looked for by a run that was stopped', async () => {
    const { values } = parseLoadOptions(['--url', 'http://192.0.2.1:81/c'], {
      env: {},
      fileLimit: undefined,
      readFile: () => '',
    });
    const run = new Run(values);
    const going = run.go();
    run.stop();
    await expect(going).rejects.toThrow(/^stopped before a client had connected$/);
  });
});

describe('the clock', () => {
  it('is that of all processes of the machine', () => {
    const before = Number(process.hrtime.bigint()) / 1000;
    const at = nowUs();
    const after = Number(process.hrtime.bigint()) / 1000;
    // The two are readings of one counter, some of a microsecond apart; the origin was taken
    // between two such readings.
    expect(at).toBeGreaterThan(before - 100);
    expect(at).toBeLessThan(after + 100);
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
function teller(): { told: unknown[]; sink: EventSink } {
  const told: unknown[] = [];
  return {
    told,
    sink: {
      event: (id, sequence, dueUs) =>
        told.push([Number.isNaN(id) ? 'no number' : id, sequence, dueUs]),
      gap: (after, before) => told.push({ after, before }),
      ended: (code) => told.push(code),
      heartbeat: () => told.push('heartbeat'),
      position: (id) => told.push(`at ${id}`),
    },
  };
}

const OTHER_DATA = ['hello', '', 'abcdef0', `ffffffff${dataOf(1, 2).slice(8)}`];

const STREAMS = {
  sse: {
    encoding: SSE,
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
      'event: gap\ndata: {"after":null,"before":118}\n\n',
      `id: 20\nevent: other\ndata: ${dataOf(2, 30)}\n\n`,
      `id: 1790000000000000\ndata: ${dataOf(3, 40)}\n\n`,
      'event: end\ndata: {"code":"draining","reconnect":true}\n\n',
    ],
    told: [
      'at 6',
      'heartbeat',
      [7, 0, 10],
      [8, 1, 20],
      'heartbeat',
      'heartbeat',
      'at 13',
      { after: 4, before: 118 },
      { after: null, before: 118 },
      [20, 2, 30],
      [1_790_000_000_000_000, 3, 40],
      'draining',
    ],
    refused: [
      '<html>\n\n',
      'id: 7\ndata: abcdef01\n\n',
      `id: 7\ndata: ${dataOf(0, 10)}x\n\n`,
      'event: end\ndata: {\n\n',
    ],
  },
  // As servers of other makes write it.
  'sse of others': {
    encoding: SSE,
    bytes: [
      ': hi\r\n\r\n',
      `data: ${dataOf(0, 10)}\n\n`,
      `id:7-a\r\nevent:message\r\ndata:${dataOf(1, 20)}\r\n\r\n`,
      '\n\r\n',
      `data: ${JSON.stringify(dataOf(2, 30))}\nid: 1700000000:0\n\n`,
      'data: "someone else\'s"\n\n',
      'retry: 2000\n\n',
      `id: 9\r\ndata: ${dataOf(3, 40)}\r\n\r\n`,
    ],
    told: [
      'heartbeat',
      ['no number', 0, 10],
      'at 7-a',
      ['no number', 1, 20],
      'at 1700000000:0',
      ['no number', 2, 30],
      [9, 3, 40],
    ],
    refused: [`data: "${dataOf(0, 10)}x"\n\n`],
  },
  ndjson: {
    encoding: NDJSON,
    bytes: [
      '\n',
      `{"id":7,"channel":"load","data":"${dataOf(0, 10)}"}\n`,
      `{"id":8,"channel":"load","data":"${dataOf(1, 20)}"}\n`,
      '\n',
      ...OTHER_DATA.map(
        (data, index) => `{"id":${9 + index},"channel":"load","event":"notice","data":"${data}"}\n`,
      ),
      '{"id":13,"channel":"load","data":{"json":["grüße 😀",1]}}\n',
      '{"gap":{"after":4,"before":118}}\n',
      `{"id":20,"channel":"load","event":"other","data":"${dataOf(2, 30)}"}\n`,
      `{"id":1790000000000000,"channel":"load","data":"${dataOf(3, 40)}"}\n`,
      '{"end":{"code":"draining","reconnect":true}}\n',
    ],
    told: [
      'heartbeat',
      [7, 0, 10],
      [8, 1, 20],
      'heartbeat',
      { after: 4, before: 118 },
      [20, 2, 30],
      [1_790_000_000_000_000, 3, 40],
      'draining',
    ],
    refused: [
      '<html>\n',
      '{"id":7\n',
      '{}\n',
      `{"id":7,"channel":"load","data":"${dataOf(0, 10)}x"}\n`,
    ],
  },
};

describe.each(Object.entries(STREAMS))(
  'a reader of %s',
  (_name, { encoding, bytes: parts, told: expected, refused }) => {
    const format = formatOf(encoding, SHAPE);

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
        /^(?:not a field of an event stream|not an event|a damaged event|.*JSON)/,
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
  },
);

describe('a byte order mark', () => {
  it('at the beginning of an event stream is no part of it, however it is cut', () => {
    const shape: EventShape = { run: newRun(), channel: 'c', sizeBytes: 64 };
    const text = `\uFEFFid: 7\ndata: ${eventData(shape.run, 64).toString()}\n\n`;
    const bytes = Buffer.from(`${text}${text.slice(1).replace('7', '8')}`);
    for (const cuts of waysToCut(bytes.length)) {
      const ids: number[] = [];
      const nothing = (): void => {};
      const reader = new EventReader(formatOf(SSE, shape), {
        event: (id) => void ids.push(id),
        gap: nothing,
        ended: nothing,
        heartbeat: nothing,
        position: nothing,
      });
      feedInPieces((source, start, end) => reader.feed(source, start, end), bytes, cuts);
      expect(ids).toEqual([7, 8]);
    }
  });
});

describe('an object of a poll', () => {
  it('may tell a gap and an event at once', () => {
    const { told, sink } = teller();
    readObject({ gap: { after: 4, before: 118 }, id: 118, data: dataOf(5, 6) }, SHAPE, sink);
    expect(told).toEqual([{ after: 4, before: 118 }, [118, 5, 6]]);
  });
});

describe('the array of a poll', () => {
  const read = (text: string): unknown[] => {
    const { told, sink } = teller();
    const bytes = Buffer.from(text);
    new EventReader(formatOf(POLL, SHAPE), sink).feed(bytes, 0, bytes.length);
    return told;
  };
  const object = (id: number): string =>
    `{"id":${id},"channel":"load","data":"${dataOf(id, 10 * id)}"}`;

  it('may have one event, several, or none', () => {
    expect(read(`[${object(7)}]`)).toEqual([[7, 7, 70]]);
    expect(read(`[{"gap":{"after":4,"before":7}},${object(7)},${object(8)}]`)).toEqual([
      { after: 4, before: 7 },
      [7, 7, 70],
      [8, 8, 80],
    ]);
    expect(read('[]')).toEqual([]);
  });

  it.each([object(7), `[${object(7)}`, `[${object(7)}],`])('is refused as %j', (text) => {
    expect(() => read(text)).toThrow(/^a poll with a limit was not answered with an array|JSON/);
  });
});

describe('the last id in what came', () => {
  const SSE_EVENT = `id: 1790000000000007\ndata: ${dataOf(0, 10)}\n\n`;
  const NDJSON_EVENT = `{"id":1790000000000007,"channel":"load","data":"${dataOf(0, 10)}"}\n`;
  const last = (encoding: typeof SSE, text: string, start = 0): number => {
    const bytes = Buffer.from(text);
    return lastIdIn(formatOf(encoding, SHAPE), bytes, start, bytes.length);
  };

  it.each([
    ['an event', SSE, SSE_EVENT],
    ['several', SSE, `id: 6\ndata: ${dataOf(0, 10)}\n\n${SSE_EVENT}`],
    ['a cut one before', SSE, `07\ndata: ${dataOf(0, 10)}\n\n${SSE_EVENT}`],
    ['a line', NDJSON, NDJSON_EVENT],
  ] as const)('is known after %s', (_name, encoding, text) => {
    expect(last(encoding, text)).toBe(1_790_000_000_000_007);
  });

  it.each([
    ['nothing', SSE, ''],
    ['a heartbeat', SSE, `${SSE_EVENT}: keepalive\n\n`],
    ['a part of an event', SSE, SSE_EVENT.slice(0, -1)],
    ['another event', SSE, `id: 7\ndata: ${'x'.repeat(64)}\n\n`],
    ['an event of another size', SSE, SSE_EVENT.replace('\n\n', 'x\n\n')],
    ['an event without an id', SSE, `data: ${dataOf(0, 10)}\n\n`],
  ] as const)('is not known after %s', (_name, encoding, text) => {
    expect(last(encoding, text)).toBeNaN();
  });

  it('is not known where its id may have begun before', () => {
    for (let cut = 4; cut < SSE_EVENT.length; cut++)
      expect(last(SSE, SSE_EVENT, cut), `cut at ${cut}`).toBeNaN();
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
        complete: ({ status, headers }, body) =>
          told.push([status, headers.get('holdline-position') ?? null, body.toString()]),
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
    ['a refusal', 'HTTP/1.1 401 Unauthorized\r\n\r\nno key', [[401, 'no key']]],
    ['one without a body', 'HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n', [[503, '']]],
    ['an answer that is whole', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx', [[200, 'x']]],
    ['one that is not', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx', []],
    ['a head that is not', 'HTTP/1.1 401 Un', []],
    ['chunks without end', 'HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n', []],
  ])('knows whether the end of a connection ends %s', (_name, text, expected) => {
    const told: unknown[] = [];
    const reader = new AnswerReader({
      head: () => false,
      piece: () => {},
      complete: ({ status }, body) => told.push([status, body.toString()]),
    });
    reader.feed(Buffer.from(text), 0, text.length);
    reader.end();
    expect(told).toEqual(expected);
  });

  it('leaves a stream that ends with its connection to those who read it', () => {
    const text = 'HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n';
    const complete = vi.fn<() => void>();
    const reader = new AnswerReader({ head: () => true, piece: () => {}, complete });
    reader.feed(Buffer.from(text), 0, text.length);
    expect(reader.endsWithConnection).toBe(false);
    reader.end();
    expect(complete).not.toHaveBeenCalled();
  });

  it.each([
    ['', false],
    ['Connection: keep-alive\r\n', false],
    ['connection: Keep-Alive, Close\r\n', true],
    ['X: Connection: close\r\n', false],
  ])('knows that the connection is closed after %j', (field, expected) => {
    const text = `HTTP/1.1 204 No\r\n${field}\r\n`;
    const heads: Head[] = [];
    const reader = new AnswerReader({
      head: (head) => (heads.push(head), false),
      piece: () => {},
      complete: () => {},
    });
    reader.feed(Buffer.from(text), 0, text.length);
    expect(heads.map((head) => isLast(head))).toEqual([expected]);
  });

  it.each([
    ['/c', '/c?since=7'],
    ['/c?id=c&x=a?b', '/c?id=c&x=a?b&since=7'],
    ['/c?since=0', '/c?since=7'],
    ['/c?id=c&last_event_id=0&Last-Event-ID=1&LASTEVENTID&x=1', '/c?id=c&x=1&since=7'],
    ['/c?sincere=1&last=5', '/c?sincere=1&last=5&since=7'],
  ])('is asked at %s to go on, as %s', (path, wanted) => {
    expect(pathAfter(path, '7')).toBe(wanted);
  });

  it('tells a refusal in words that leave the terminal alone', () => {
    const refusal = (text: string): string =>
      refusalText({ status: 403, headers: new Headers('') }, Buffer.from(text));
    expect(refusal('\u001b[2J\u009b31mno\r\nentry\u202e')).toBe(
      String.raw`403: \u001b[2J\u009b31mno\u000d\u000aentry\u202e`,
    );
    expect(refusal('{"error":{"code":"X","message":"\\u001b]0;y\\u0007"}}')).toBe(
      String.raw`403 X: \u001b]0;y\u0007`,
    );
  });

  it.each([
    '{"error":"Unauthorized","path":"/x"}',
    '{"error":{"code":7,"reason":"no"}}',
    '{"error":{"message":"no"}}',
    '{"error":null}',
    '[]',
    'null',
  ])('tells a refusal of another make, %s, as it came', (text) => {
    expect(refusalText({ status: 401, headers: new Headers('') }, Buffer.from(text))).toBe(
      `401: ${text}`,
    );
  });

  it.each([
    ['no HTTP', 'SSH-2.0-x\r\n\r\n', /^this is not HTTP\/1\.1: "SSH-2\.0-x"/],
    [
      'a head without end',
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(17_000)}`,
      /^an answer's head is over 16384 bytes$/,
    ],
    [
      'a length that is none',
      'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
      /^Content-Length: -1$/,
    ],
    [
      'a chunk without size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nx',
      /^a chunk has no size$/,
    ],
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

const letters = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, index) => 97 + (index % 26)));

describe('a reader of WebSocket frames', () => {
  function readFrames(bytes: Buffer, cuts: readonly number[]): unknown[] {
    const told: unknown[] = [];
    let text = '';
    const reader = new ServerFrameReader({
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
    const bytes = Buffer.concat([
      frame(0x81, letters(65_535)),
      frame(0x81, letters(65_536)),
      frame(0x81, letters(1)),
    ]);
    const expected = [65_535, 65_536, 1].map((length) => letters(length).toString());
    const edges = [
      1, 2, 3, 4, 5, 65_538, 65_539, 65_540, 65_541, 65_545, 65_548, 65_549, 65_550, 131_084,
      131_085, 131_086,
    ];
    const random = new Random(SEED);
    const ways = [
      ...edges.map((cut) => [cut]),
      edges,
      ...edges.map(() => random.some(edges, 5).toSorted((a, b) => a - b)),
    ];
    for (const cuts of ways)
      expect(readFrames(bytes, cuts).every((text, index) => text === expected[index])).toBe(true);
  });

  it.each([
    ['a mask', Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5]), /masked/],
    ['an extension', Buffer.from([0xc1, 0x00]), /extension/],
    ['a binary message', Buffer.from([0x82, 0x00]), /opcode 2 came where a text begins/],
    ['a continuation of nothing', Buffer.from([0x80, 0x00]), /opcode 0 came where a text begins/],
    [
      'a new message inside another',
      Buffer.from([0x01, 0x00, 0x81, 0x00]),
      /opcode 1 came where a message goes on/,
    ],
    ['a cut ping', Buffer.from([0x09, 0x00]), /control frame/],
    ['a long ping', Buffer.from([0x89, 0x7e, 0x00, 0x7e]), /control frame/],
  ])('refuses %s', (_name, bytes, message) => {
    expect(() => readFrames(bytes, [])).toThrow(message);
  });
});
