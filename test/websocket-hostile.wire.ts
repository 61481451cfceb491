/**
 * Hostile WebSockets and JSON: what they cost is bounded, they delay no other client, and none of
 * them causes a fault of the server. SEED=n replays the random inputs.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { createServer } from '../dist/index.js';
import { REFUSED_MESSAGES_MAX } from '../src/limits.js';
import { begunBefore, type AtEnd } from './support/begun.js';
import { ControlLine, sharedControl } from './support/control.js';
import { SseLine } from './support/line.js';
import { Random } from './support/random.js';
import { SEED } from './support/seed.js';
import { TestServer, type Flags } from './support/server.js';
import {
  frameBytes,
  handshakeBytes,
  OPCODE,
  openWebSocket,
  type Reply,
} from './support/websocket.js';
import { codeOf, RawConnection } from './support/wire.js';

const KIB = 1024;
const MIB = KIB * KIB;
/** What a socket that sends and does not read may cost the process, bytes. */
const BYTES_PER_SOCKET = 64 * KIB;

/** The receive buffer with which no socket gets more than its turn, whatever the default is. */
const FAIR: Flags = { 'socket-receive-buffer': '64KiB' };

/** Publishing needs a key, which the control line has and the attackers do not. */
const KEYED: Flags = { 'open-publish': false, 'publish-key': 'a-publish-key-for-tests' };

async function setUp(
  flags: Flags = {},
  atEnd: AtEnd = onTestFinished,
): Promise<{ server: TestServer; control: ControlLine }> {
  const server = await TestServer.start({ ...FAIR, ...flags });
  atEnd(() => server.kill());
  const control = await ControlLine.open(server);
  atEnd(() => control.line.close());
  return { server, control };
}

const nested = (levels: number, open = '[', close = ']', inner = ''): string =>
  open.repeat(levels) + inner + close.repeat(levels);

/** Shakes hands on a connection that can be told not to read. */
async function rawWebSocket(
  port: number,
  path: string,
  atEnd: AtEnd = onTestFinished,
): Promise<RawConnection> {
  const raw = await RawConnection.open(port);
  atEnd(() => raw.destroy());
  raw.send(handshakeBytes(port, path));
  await raw.waitFor('the handshake', () => raw.text.includes('\r\n\r\n'));
  return raw;
}

describe('a library with the default onError', () => {
  test.each([
    ['without a key', false],
    ['that lets everybody publish', true],
  ])(
    '%s outlives deep JSON with escaped names; the line stays, and is told',
    async (_name, openPublish) => {
      const server = createServer({ port: 0, firstId: 1, openPublish });
      onTestFinished(() => server.close({ drainMs: 0 }));
      const { port } = await server.listen();
      const line = await openWebSocket({ port }, '/c');
      // An uncaught exception in this process would fail the run.
      for (const text of [
        `{"\\u0070ublish":{"data":${nested(20_000)}}}`,
        `{"publish":{"\\u0064ata":${nested(10_000, '{"a":', '}', '1')}}}`,
      ]) {
        const reply = await line.ask(openPublish ? text : text.slice(0, 4096));
        expect(reply.error?.code).toBe(
          openPublish ? 'HOLDLINE_BAD_MESSAGE' : 'HOLDLINE_UNAUTHORIZED',
        );
      }
      await line.roundTrip();
      await server.channel('c').publish({ data: 'still here' });
      await line.waitForEvents(1);
      expect(server.stats().counters.refused['HOLDLINE_INTERNAL']).toBeUndefined();
      // Longer than the longest message of a reader: the socket goes, the process stays.
      const stranger = await rawWebSocket(port, '/c');
      stranger.send(frameBytes(`{"\\u0070ublish":{"data":${nested(20_000)}}}`));
      if (!openPublish) await stranger.waitFor('it is closed', () => stranger.closed);
      await server.channel('c').publish({ data: 'still here' });
      await line.waitForEvents(2);
    },
  );
});

describe('JSON of strangers', () => {
  const shared = sharedControl();

  test.each([
    ['an escaped name', `{"\\u0064ata":${nested(5_000)}}`, 400],
    ['an escaped name, in bounds', `{"\\u0064ata":${nested(100)}}`, 200],
    ['an escaped name beside another', `{"data":1,"\\u0064ata":[1.0, 2]}`, 200],
    ['two that are deep', `{"data":${nested(5_000)},"data":1}`, 400],
    ['objects', `{"data":${nested(20_000, '{"\\u0061":', '}', '1')}}`, 400],
    ['no end', `{"data":${'['.repeat(30_000)}`, 400],
  ])('a batch line with %s', async (_name, line, status) => {
    const { server, control } = shared();
    const sse = await SseLine.open(server.port, '/lines');
    onTestFinished(() => sse.close());
    const answer = await server.post('lines', line, {
      headers: { 'Content-Type': 'application/x-ndjson' },
    });
    expect([answer.status, status === 200 ? undefined : codeOf(answer)]).toEqual([
      status,
      status === 200 ? undefined : 'HOLDLINE_BAD_BATCH',
    ]);
    if (status === 200) {
      await sse.waitForEvents(1);
      expect(sse.events[0]!.data, 'the bytes that were sent').toBe(
        line.slice(line.lastIndexOf('ata":') + 5, -1),
      );
    }
    await control.noticedNothing();
  });

  test('a body that is too deep is HOLDLINE_BAD_JSON, one in bounds is taken as it stands', async () => {
    const { server, control } = shared();
    const json = { headers: { 'Content-Type': 'application/json' } };
    expect((await server.post('json', nested(128), json)).status).toBe(200);
    for (const body of [
      nested(129),
      nested(30_000),
      '['.repeat(60_000),
      nested(5_000, '{"\\u0061":', '}', '1'),
    ]) {
      const answer = await server.post('json', body, json);
      expect([answer.status, codeOf(answer)]).toEqual([400, 'HOLDLINE_BAD_JSON']);
    }
    await control.noticedNothing();
  });

  test('random inputs, deep, escaped, repeated, huge and cut: HOLDLINE_INTERNAL is never seen', async () => {
    const random = new Random(SEED);
    const { server, control } = shared();
    const name = (): string =>
      random.pick([
        '"data"',
        '"\\u0064ata"',
        '"event"',
        '"\\u0065vent"',
        '"publish"',
        '"p\\u0075blish"',
        '"ref"',
        '"x"',
        '"\\ud800"',
        '"__proto__"',
      ]);
    const value = (depth: number): string => {
      const inner = (): string => (depth > 4 ? '1.0' : value(depth + 1));
      return random.pick([
        () =>
          random.pick([
            '1',
            '1.0',
            '-',
            '"a"',
            '"\\u0000\\ud83d"',
            'null',
            'tru',
            '9'.repeat(500),
            '1e999',
            '"\u2028"',
            '""',
          ]),
        () => `[${Array.from({ length: random.below(4) }, inner).join(',')}]`,
        () =>
          `{${Array.from({ length: random.below(5) }, () => `${name()}: ${inner()}`).join(',')}}`,
        () =>
          nested(
            random.pick([1, 127, 128, 129, 3_000, 15_000]),
            ...random.pick([
              ['[', ']', ''],
              ['{"data":', '}', '1'],
              ['{"\\u0070":[', ']}', '0'],
            ] as const),
          ),
        () =>
          `"${random.pick(['x', '\\u0041', '\\\\', 'é'])}${random.pick(['y', '\\n', '😀']).repeat(random.pick([1, 5_000, 20_000]))}"`,
      ])();
    };
    const text = (): string => {
      const whole = `{${Array.from({ length: 1 + random.below(3) }, () => `${name()}:${value(0)}`).join(random.pick([',', ' ,\t']))}}`;
      const message = random.chance(0.5)
        ? `{"publish":${whole},"ref":${random.pick(['1', '"a"', value(3)])}}`
        : whole;
      return random.chance(0.2) ? message.slice(0, random.below(message.length)) : message;
    };
    let line = await openWebSocket(server, '/fuzz');
    const seen = new Set<string>();
    for (let i = 0; i < 250; i++) {
      const input = text();
      const type = random.pick(['application/json', 'application/x-ndjson', 'text/plain']);
      const body = random.chance(0.3) ? `${input}\n${text()}\n` : input;
      const answer = await server.post('fuzz', body, { headers: { 'Content-Type': type } });
      expect([200, 400, 413], `SEED=${SEED}: ${type} ${body.slice(0, 300)}`).toContain(
        answer.status,
      );
      seen.add(answer.status === 200 ? 'published' : codeOf(answer));
      if (line.closeFrame !== undefined || line.closed) line = await openWebSocket(server, '/fuzz');
      const replies = line.replyCount;
      line.send(input);
      await line.waitFor('a reply, or the end', () => line.replyCount > replies || line.closed);
      const code = line.replies.at(-1)?.error?.code;
      expect(code, `SEED=${SEED}: ${input.slice(0, 300)}`).not.toBe('HOLDLINE_INTERNAL');
      seen.add(`message ${code ?? 'published'}`);
    }
    expect(
      (await server.stats()).counters.refused['HOLDLINE_INTERNAL'],
      `SEED=${SEED}`,
    ).toBeUndefined();
    expect(server.errorOutput).toBe('');
    // The inputs reach the code they are meant for.
    for (const one of [
      'published',
      'HOLDLINE_BAD_BATCH',
      'HOLDLINE_BAD_JSON',
      'message HOLDLINE_BAD_MESSAGE',
      'message published',
    ])
      expect(seen, `SEED=${SEED}`).toContain(one);
    await control.noticedNothing();
  });

  test('a batch of one line of 4 MiB, and 20 of them at once, hold nobody up', async () => {
    const { server, control } = await setUp();
    const line = `{"data":[${'1,'.repeat(2 * MIB - 100)}1]}`;
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        server.post('lines', line, { headers: { 'Content-Type': 'application/x-ndjson' } }),
      ),
    );
    for (const answer of answers)
      expect(['HOLDLINE_TOO_LARGE', 'HOLDLINE_PUBLISH_BUSY']).toContain(codeOf(answer));
    await control.noticedNothing();
  });
});

describe('who may not publish', () => {
  const shared = sharedControl();

  test('is refused before a word is read, sixteen times; a longer message than it takes to be told so closes', async () => {
    const { server } = await setUp(KEYED);
    const line = await openWebSocket(server, '/c');
    for (let i = 1; i < REFUSED_MESSAGES_MAX; i++)
      expect((await line.ask(i % 2 === 0 ? '1' : '{"publish":')).error?.code).toBe(
        'HOLDLINE_UNAUTHORIZED',
      );
    await line.roundTrip();
    expect(line.closed).toBe(false);
    line.send('the last');
    await line.waitForClose();
    expect(line.closeFrame?.code).toBe(1008);
    const long = await openWebSocket(server, '/c');
    long.send('x'.repeat(4 * KIB + 1));
    await long.waitForClose();
    expect([long.closeFrame, long.replyCount]).toEqual([undefined, 0]);
    const { counters } = await server.stats();
    expect(counters).toMatchObject({
      websockets_closed_refused_total: 1,
      websockets_closed_too_large_total: 1,
      messages_refused_total: REFUSED_MESSAGES_MAX,
    });
    expect(counters.refused).toMatchObject({ HOLDLINE_UNAUTHORIZED: REFUSED_MESSAGES_MAX });
  });

  test('a message a little over the limit hears 1009, one far over it closes at its head', async () => {
    const { server, control } = shared();
    const limit = 64 * KIB + KIB;
    const little = await openWebSocket(server, '/c');
    little.send('x'.repeat(limit + 4 * KIB));
    await little.waitForClose();
    expect([little.closeFrame?.code, little.replies[0]?.error?.code]).toEqual([
      1009,
      'HOLDLINE_TOO_LARGE',
    ]);
    const far = await openWebSocket(server, '/c');
    far.sendFrame('', { announcedBytes: limit + 4 * KIB + 1 });
    await far.waitForClose();
    expect(far.closeFrame).toBeUndefined();
    await control.noticedNothing();
  });
});

/** What `count` more sockets cost the server after `act`, bytes each. */
async function costOf(
  server: TestServer,
  count: number,
  path: string,
  act: (sockets: RawConnection[]) => Promise<void>,
  atEnd: AtEnd = onTestFinished,
): Promise<number> {
  // Warm-up: the tables for so many lines, and the code.
  const warm = await Promise.all(
    Array.from({ length: count }, () => rawWebSocket(server.port, path, atEnd)),
  );
  for (const raw of warm) raw.destroy();
  await server.statsUntil('they are gone', ({ lines }) => lines.byTransport.websocket === 0);
  const sockets = await Promise.all(
    Array.from({ length: count }, () => rawWebSocket(server.port, path, atEnd)),
  );
  const before = server.rssBytes();
  await act(sockets);
  return (server.rssBytes() - before) / count;
}

const COUNT = 300;

/** A server with sockets that have begun a message and do not go on, and what each of them cost. */
const begunMessages = begunBefore(async (atEnd) => {
  const { server, control } = await setUp({ heartbeat: '4s' }, atEnd);
  const begin = async (sockets: RawConnection[]): Promise<void> => {
    for (const raw of sockets) raw.send(frameBytes('x'.repeat(60_000), { fin: false }));
    // Each has been read when its ping is answered.
    for (const raw of sockets) raw.send(frameBytes('p', { opcode: OPCODE.ping }));
    for (const raw of sockets) await raw.waitFor('the pong', () => raw.text.endsWith('p'));
    expect((await server.stats()).lines.byTransport.websocket).toBe(COUNT);
  };
  return { server, control, each: await costOf(server, COUNT, '/quiet', begin, atEnd) };
});

describe('many sockets that take and do not give', () => {
  test('that ping and never read cost at most 64 KiB each, and are closed for it', async () => {
    const { server, control } = await setUp({ ...KEYED, heartbeat: '60s' });
    const pings = Buffer.concat(
      Array.from({ length: 100 }, () => frameBytes(Buffer.alloc(125), { opcode: OPCODE.ping })),
    );
    let mostBytes = 0;
    const each = await costOf(server, COUNT, '/quiet', async (sockets) => {
      for (const raw of sockets) raw.pause();
      const closed = async (): Promise<number> =>
        (await server.stats()).counters.lines_closed_total - COUNT;
      // Until each has been closed for unread answers, or cut off for too many at once.
      for (let round = 0; round < 200 && (await closed()) < COUNT; round++) {
        await Promise.all(
          sockets.map(
            (raw) =>
              new Promise<void>((resolve) =>
                raw.closed ? resolve() : raw.socket.write(pings, () => resolve()),
              ),
          ),
        );
        mostBytes = Math.max(mostBytes, server.rssBytes());
      }
      expect(await closed()).toBe(COUNT);
    });
    const { counters } = await server.stats();
    console.log(
      `${(each / KIB).toFixed(1)} KiB each at the end; closed: ${counters.websockets_closed_unread_total} unread, ${counters.websockets_closed_control_total} for too many`,
    );
    expect(each).toBeLessThan(BYTES_PER_SOCKET);
    expect(counters.websockets_closed_unread_total + counters.websockets_closed_control_total).toBe(
      COUNT,
    );
    await control.noticedNothing();
  });

  test('that begin a message and may not publish are closed at its head', async () => {
    const { server, control } = await setUp(KEYED);
    const each = await costOf(server, COUNT, '/quiet', async (sockets) => {
      for (const raw of sockets) raw.send(frameBytes('x'.repeat(64_000), { fin: false }));
      await server.statsUntil('all are closed', ({ lines }) => lines.byTransport.websocket === 0);
    });
    console.log(`${(each / KIB).toFixed(1)} KiB each`);
    expect(each).toBeLessThan(BYTES_PER_SOCKET);
    await control.noticedNothing();
  });

  test('that begin a message and may publish hold what they have sent, up to one message, and are closed when they fall silent', async () => {
    const { value, leftMs } = begunMessages();
    const { server, control, each } = value;
    console.log(`${(each / KIB).toFixed(1)} KiB each`);
    expect(each).toBeLessThan(BYTES_PER_SOCKET + 8 * KIB);
    await server.statsUntil(
      'all are closed',
      ({ lines }) => lines.byTransport.websocket === 0,
      leftMs(20_000),
    );
    await control.noticedNothing();
  });

  test('that send two of 64 KB are closed at the second', async () => {
    const { server, control } = await setUp();
    const each = await costOf(server, COUNT, '/quiet', async (sockets) => {
      for (const raw of sockets) {
        raw.send(frameBytes('x'.repeat(64_000), { fin: false }));
        raw.send(frameBytes('x'.repeat(64_000), { fin: false, opcode: OPCODE.continuation }));
      }
      await server.statsUntil('all are closed', ({ lines }) => lines.byTransport.websocket === 0);
    });
    console.log(`${(each / KIB).toFixed(1)} KiB each`);
    expect(each).toBeLessThan(BYTES_PER_SOCKET);
    expect((await server.stats()).counters.websockets_closed_too_large_total).toBe(COUNT);
    await control.noticedNothing();
  });
});

describe('fair turns', () => {
  /**
   * Sends as fast as it can on one socket after the other for two seconds, and reads; the longest
   * beat of the control line, ms.
   */
  async function flood(
    server: TestServer,
    control: ControlLine,
    frame: Buffer,
  ): Promise<{ beatMs: number; sockets: number }> {
    const bytes = Buffer.concat(
      Array.from({ length: Math.ceil((256 * KIB) / frame.length) }, () => frame),
    );
    let sockets = 0;
    let over = false;
    const flooding = (async () => {
      while (!over) {
        const raw = await RawConnection.open(server.port);
        raw.consume = () => {};
        raw.send(handshakeBytes(server.port, '/flood'));
        await raw.waitFor('the handshake', () => raw.bytesRead > 0 || raw.closed);
        sockets++;
        while (!over && !raw.closed && raw.socket.writable)
          await new Promise<void>((resolve) => raw.socket.write(bytes, () => resolve()));
        raw.destroy();
      }
    })();
    const beats: number[] = [];
    for (const end = performance.now() + 2000; performance.now() < end;) {
      const began = performance.now();
      await control.beat();
      beats.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    over = true;
    await flooding;
    return { beatMs: beats.toSorted((a, b) => a - b)[Math.floor(beats.length * 0.9)]!, sockets };
  }

  // Longer pings and the text 1 are in test/hostile/turns.wire.ts, held to less.
  test.each([
    ['empty pings', frameBytes('', { opcode: OPCODE.ping })],
    ['pongs', frameBytes('', { opcode: OPCODE.pong })],
    ['no JSON', frameBytes('{')],
    ['small publishes', frameBytes('{"publish":{"data":1,"channel":"flooded"}}')],
  ])('%s as fast as they can be sent hold nobody up', async (_name, frame) => {
    const { server, control } = await setUp();
    const { beatMs, sockets } = await flood(server, control, frame);
    const { loopDelay } = await server.stats();
    console.log(
      `${_name}: beats p90 ${beatMs.toFixed(1)} ms, loop p99 ${loopDelay.p99Ms.toFixed(1)} max ${loopDelay.maxMs.toFixed(1)} ms, ${sockets} sockets`,
    );
    // It was once seconds, as long as the flood itself. A single turn proves nothing, because the
    // machine may be busy with other tests.
    expect(loopDelay.maxMs).toBeLessThan(1500);
    await control.noticedNothing();
  });
});

test('a WebSocket that publishes faster than is taken is paced, not refused, while it awaits its answers within the bound', async () => {
  const { server, control } = await setUp({
    'replay-bytes': '512MiB',
    'replay-total': '1GiB',
    'replay-events': 1_000_000,
  });
  const readers = await Promise.all(
    Array.from({ length: 20 }, () => SseLine.open(server.port, '/busy', { keep: false })),
  );
  onTestFinished(() => readers.forEach((line) => line.close()));
  const refused: string[] = [];
  const onReply = ({ error }: Reply): void => {
    if (error) refused.push(error.code);
  };
  const publisher = await openWebSocket(server, '/quiet', { keep: false, onReply });
  const frame = frameBytes(
    JSON.stringify({ publish: { channel: 'busy', data: 'x'.repeat(20_000) }, ref: 1 }),
  );
  const burst = Buffer.concat(Array.from({ length: 12 }, () => frame));
  for (let round = 1; round <= 30; round++) {
    publisher.connection.send(burst);
    await publisher.waitFor('its answers', () => publisher.replyCount === 12 * round, 20_000);
  }
  expect(refused).toEqual([]);
  for (const reader of readers) {
    await reader.waitFor('all events', () => reader.eventCount === 360, 20_000);
    expect(reader.gaps).toEqual([]);
  }
  await control.noticedNothing();
});
