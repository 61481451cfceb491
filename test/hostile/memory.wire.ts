/**
 * Memory under attack: every byte that leaves or is held is bounded, whatever shape it has, and a
 * heap of 512 MiB is enough.
 */
import { readFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { streamWriteBytesMax } from '../../src/native/builds.js';
import { begunBefore } from '../support/begun.js';
import { freePort } from '../../bench/ports.js';
import { forEachOf, pause, type Figures } from './support/actor.js';
import { sharedCasts, type Role } from './support/cast.js';
import { frames } from './support/messages.js';
import { ROUNDS_DEADLINE_MS, scaled } from './support/scale.js';
import {
  faultsOf,
  holdsControl,
  holdsMemory,
  judge,
  medianBy,
  Stage,
  type Round,
  type RoundOptions,
  type StageOptions,
} from './support/stage.js';
import { TestServer } from '../support/server.js';
import { tried } from './support/trial.js';

const casts = sharedCasts();

const KIB = 1_024;
const MIB = 2 ** 20;
const HEAD = 'Host: localhost\r\n';
const KEY = 'hostile-test-key';
const AUTHORIZATION = `Authorization: Bearer ${KEY}\r\n`;
const KEYED = { 'publish-key': KEY, 'open-publish': false };
const NDJSON = 'application/x-ndjson';

/** What a process may hold for a socket that asks and does not read, bytes. */
const UNREAD_BYTES = 64 * KIB;

/** A server with WebSockets that have begun a message and do not go on. */
const unended = begunBefore(async (atEnd) => {
  const stage = await Stage.open(casts(), { flags: { ...KEYED, heartbeat: '4s' } }, atEnd);
  const count = 20;
  const role = await stage.begin('sockets', 0, {
    ...frames.opening('/big', AUTHORIZATION),
    count,
    // Pongs would renew the timeout: uWebSockets tells nobody of a message that has begun
    // (SECURITY.md).
    first: frames.begun(100),
    unit: '',
    everyMs: 3_000,
    reads: true,
  });
  return { stage, role, count };
});

const BIG_POLL = `GET /big?since=0&limit=1000&wait=0 HTTP/1.1\r\n${HEAD}\r\n`;

/** Twenty events of 60 KB on the channel `big`. */
async function fillBig({ server }: Stage): Promise<void> {
  const key: Record<string, string> =
    server.publishKey === undefined ? {} : { Authorization: `Bearer ${server.publishKey}` };
  for (let i = 0; i < 20; i++) {
    const answer = await server.request('POST', '/big', { headers: key, body: 'x'.repeat(60_000) });
    expect(answer.status).toBe(200);
  }
}

const PIPELINED: readonly (readonly [string, string, StageOptions])[] = [
  ['a poll of 1.2 MB', BIG_POLL, {}],
  [
    'a poll of 1.2 MB, with --memory-budget 150MiB',
    BIG_POLL,
    { flags: { 'memory-budget': '150MiB' } },
  ],
  ['/-/health', `GET /-/health HTTP/1.1\r\n${HEAD}\r\n`, {}],
  ['what is refused', `GET /a..b HTTP/1.1\r\n${HEAD}\r\n`, {}],
  [
    'a preflight',
    `OPTIONS /big HTTP/1.1\r\n${HEAD}Origin: http://localhost:3000\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: ${'x'.repeat(512)}\r\n\r\n`,
    { flags: { 'allow-origin': 'http://localhost:3000' } },
  ],
  ['HEAD', `HEAD /big?since=0&wait=0 HTTP/1.1\r\n${HEAD}\r\n`, {}],
  ['the page of links', `GET / HTTP/1.1\r\n${HEAD}\r\n`, {}],
  [
    'publishes that are refused',
    `POST /big HTTP/1.1\r\n${HEAD}Content-Length: 1\r\n\r\nx`,
    { flags: KEYED },
  ],
];

/** Of these the same is asserted in test/answers.wire.ts, so that CI need not try them twice. */
const PIPELINED_ELSEWHERE = new Set([
  '/-/health',
  'what is refused',
  'a preflight',
  'HEAD',
  'the page of links',
]);

test.each(
  scaled(
    PIPELINED.filter(([what]) => !PIPELINED_ELSEWHERE.has(what)),
    PIPELINED,
  ),
)(
  'one socket pipelines %s and reads nothing',
  async (what, unit, stage) => {
    const options: RoundOptions = {
      ...stage,
      prepare: fillBig,
      attack: ({ begin }) => begin('sockets', 0, { count: 1, unit, reads: false }),
      quietMs: 300,
      attackMs: scaled(700, 8_000),
    };
    await judge(
      casts(),
      [
        'memory',
        `one socket pipelines ${what} and never reads`,
        'the process stays under 150 MiB, whatever is asked and not read',
      ],
      options,
      (trial, rounds) => {
        trial.atMost(
          'resident, most',
          medianBy(rounds, ({ peakBytes }) => peakBytes / MIB),
          150,
          'MiB',
        );
        trial.note(
          'closed by the server',
          medianBy(rounds, ({ attack }) => attack['closed']!),
        );
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

/** Many sockets, what one of them may cost in the process, and how they are opened. */
interface Crowd {
  readonly attack: string;
  readonly count: number;
  readonly mostBytes: number;
  readonly stage?: StageOptions;
  readonly attackMs?: number;
  /** A test file that holds the same to the same bound or a lower one: CI runs it anyway. */
  readonly alsoIn?: string;
  readonly begin: RoundOptions['attack'];
}

const CROWDS: readonly Crowd[] = [
  {
    attack: '300 sockets ask for a poll of 1.2 MB once and do not read',
    alsoIn: 'answers.wire.ts',
    count: 300,
    mostBytes: UNREAD_BYTES,
    begin: ({ begin }) => begin('sockets', 0, { count: 300, opening: BIG_POLL, reads: false }),
  },
  {
    attack: '300 sockets ask for an event stream of 1.2 MB and do not read',
    count: 300,
    // A cork, a write, and one largest event.
    mostBytes: 16 * KIB + streamWriteBytesMax() + 64 * KIB,
    begin: ({ begin }) =>
      begin('sockets', 0, {
        count: 300,
        opening: `GET /big?since=0 HTTP/1.1\r\n${HEAD}Accept: text/event-stream\r\n\r\n`,
        reads: false,
      }),
  },
  {
    attack: '500 WebSockets ping without end and do not read',
    alsoIn: 'websocket-hostile.wire.ts',
    count: 500,
    mostBytes: UNREAD_BYTES,
    stage: { flags: KEYED },
    begin: ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/big'),
        count: 500,
        unit: frames.ping(125),
        times: 20_000,
        reads: false,
      }),
  },
  {
    attack: '500 WebSockets send publishes that are refused and do not read',
    count: 500,
    mostBytes: UNREAD_BYTES,
    stage: { flags: KEYED },
    begin: ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/big'),
        count: 500,
        unit: frames.text('{"publish":{"data":1}}'),
        times: 20_000,
        reads: false,
      }),
  },
  {
    attack:
      '500 WebSockets without the right to publish send two fragments of 64,000 bytes, and no more',
    alsoIn: 'websocket-hostile.wire.ts',
    count: 500,
    mostBytes: UNREAD_BYTES,
    stage: { flags: KEYED },
    begin: ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/big'),
        count: 500,
        unit: frames.begun(64_000) + frames.continued(64_000),
        times: 1,
        reads: false,
      }),
  },
  {
    attack: '300 WebSockets with the right to publish begin a message of 64 KB, and do not end it',
    alsoIn: 'websocket-hostile.wire.ts',
    count: 300,
    // One largest message, in a buffer that may be twice as large while it grows.
    mostBytes: 2 * 65 * KIB,
    stage: { flags: KEYED },
    begin: ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/big', AUTHORIZATION),
        count: 300,
        unit: frames.begun(32_000) + frames.continued(32_000),
        times: 1,
        reads: false,
      }),
  },
  {
    attack: '1,000 sockets send half a head',
    count: 1_000,
    mostBytes: 16 * KIB,
    begin: ({ begin }) =>
      begin('sockets', 0, {
        count: 1_000,
        opening: `GET /big HTTP/1.1\r\n${HEAD}X: ${'x'.repeat(6_000)}`,
        reads: false,
      }),
  },
];

test.each(
  scaled(
    CROWDS.filter(({ alsoIn }) => alsoIn === undefined),
    CROWDS,
  ),
)(
  '$attack: what one costs is bounded',
  async ({ attack, count, mostBytes, stage = {}, attackMs = scaled(1_200, 5_000), begin }) => {
    const options: RoundOptions = {
      ...stage,
      prepare: fillBig,
      attack: begin,
      quietMs: 300,
      attackMs,
    };
    await judge(
      casts(),
      ['memory', attack, 'what one socket may cost in the process is bounded, and small'],
      options,
      (trial, rounds) => {
        const each = ({ peakBytes, rssBytes }: Round): number =>
          (peakBytes - rssBytes) / count / KIB;
        trial.atMost('resident, of each', medianBy(rounds, each), mostBytes / KIB, 'KiB');
        trial.note(
          'closed by the server',
          medianBy(rounds, ({ attack: { closed } }) => closed!),
        );
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'a message whose fragments do not go on is ended by the idle timeout',
  { timeout: 90_000 },
  async () => {
    await tried(
      [
        'memory',
        '20 WebSockets begin a message, do not end it, and answer no pings',
        'a message that does not end is ended by the idle timeout',
      ],
      async (trial) => {
        const { value, leftMs } = unended();
        const { stage, role, count } = value;
        const deadlineMs = performance.now() + leftMs(scaled(30_000, 60_000));
        let closed = 0;
        while (closed < count && performance.now() < deadlineMs) {
          await pause(250);
          ({ closed = 0 } = await role.look());
        }
        const { lastClosedAfterMs } = await role.stop();
        trial.exactly('closed', closed, count);
        trial.atMost('after', lastClosedAfterMs! / 1_000, 20, 's');
        const { control } = await stage.close();
        trial.exactly('control line: lost', control['undelivered']!, 0);
      },
    );
  },
);

test(
  'bodies in chunks of one byte cost what they weigh',
  async () => {
    const bytes = scaled(1, 4) * MIB;
    const options: RoundOptions = {
      heapMiB: 512,
      attack: ({ begin }) =>
        begin('sockets', 0, {
          count: 3,
          opening: `POST /A HTTP/1.1\r\n${HEAD}Content-Type: ${NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n`,
          unit: '1\r\nx\r\n',
          times: bytes,
          reads: true,
          awaitsSent: true,
        }),
      quietMs: 300,
      attackMs: 500,
    };
    await judge(
      casts(),
      [
        'memory',
        `three sockets send ${bytes / MIB} MiB in chunks of one byte and do not end, --max-old-space-size=512`,
        'a body costs what it weighs',
      ],
      options,
      (trial, rounds) => {
        holdsMemory(trial, rounds, 'growth', 40);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'publishes that wait are held as they were sent',
  async () => {
    await tried(
      [
        'memory',
        '110 batches of 10,000 small events wait for room on a channel of 1,000 lines',
        'the memory of publishes under way stays within its bound of 64 MiB',
      ],
      async (trial) => {
        const stage = await Stage.open(casts(), { heapMiB: 512 });
        const lines = await stage.begin('lines', 0, { count: 1_000, path: '/A' });
        const line = JSON.stringify({ data: 'x'.repeat(1_000) });
        const first = await stage.begin('publishers', 0, {
          count: 4,
          channel: 'A',
          contentType: NDJSON,
          line,
          lines: 4_000,
          times: 1,
        });
        await stage.server.statsUntil(
          'the channel is held up',
          ({ queue }) => queue.bytes + queue.waitingBytes > 0,
        );
        const rssBytes = stage.probe.reset();
        const waiting = await stage.begin('publishers', 0, {
          count: 110,
          channel: 'A',
          contentType: NDJSON,
          line: '{"data":1}',
          lines: 10_000,
        });
        await pause(scaled(1_500, 2_000));
        trial.atMost('growth', (stage.probe.peakBytes - rssBytes) / MIB, 64, 'MiB');
        const { queue } = await stage.server.stats();
        trial.note('waiting publishers', queue.waitingPublishers);
        trial.note('waiting, as counted', queue.waitingBytes / MIB, 'MiB');
        await waiting.stop();
        await first.stop();
        await lines.stop();
        trial.exactly('faults in the log', faultsOf(stage.server).join('; '), '');
        stage.server.kill();
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'a memory budget does not mistake garbage for use',
  async () => {
    const options: RoundOptions = {
      flags: { 'memory-budget': '150MiB' },
      prepare: ({ begin }) =>
        begin('publishers', 0, {
          count: 4,
          channel: 'A{n}',
          contentType: NDJSON,
          line: JSON.stringify({ data: 'x'.repeat(1_000) }),
          lines: 1_000,
        }),
      attack: async ({ begin }) => {
        const roles: Role[] = [];
        for (let i = 0; i < 25; i++) {
          await pause(scaled(100, 400));
          roles.push(await begin('lines', 0, { count: 1, path: '/new' }));
        }
        const stop = async (): Promise<Figures> => {
          for (const role of roles) await role.stop();
          return {};
        };
        return { look: () => Promise.resolve({}), stop };
      },
      quietMs: 300,
      attackMs: 300,
      during: async ({ server }) => {
        const { memory } = await server.stats();
        return { budgetUsedMiB: (memory.budgetUsedBytes ?? 0) / MIB };
      },
    };
    await judge(
      casts(),
      [
        'memory',
        'batches of 1 MiB one after the other, --memory-budget 150MiB, and 25 new lines',
        'the budget does not mistake garbage for use',
      ],
      options,
      (trial, rounds) => {
        const refused = Math.max(
          ...rounds.map(({ after }) => after.counters.refused['HOLDLINE_MEMORY_FULL'] ?? 0),
        );
        trial.exactly('new lines refused', refused, 0);
        trial.note(
          'budget used',
          medianBy(rounds, ({ extra }) => extra['budgetUsedMiB']!),
          'MiB',
        );
        holdsMemory(trial, rounds, 'growth', 75);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

/**
 * Connects to a port of its own, and closes first, so that as many sockets of the machine are in
 * TIME_WAIT.
 */
async function leaveTimeWait(count: number): Promise<void> {
  const sink = createServer((socket) => socket.resume().on('error', () => {}));
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', 512, resolve));
  const { port } = sink.address() as { port: number };
  await forEachOf(
    count,
    128,
    () =>
      new Promise((resolve, reject) => {
        const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.end());
        socket.on('error', reject);
        socket.on('close', () => resolve());
        socket.resume();
      }),
  );
  sink.close();
}

test(
  'a restart on a machine full of closing sockets takes no more memory',
  { timeout: 60_000 },
  async () => {
    const count = scaled(12_000, 18_000);
    await tried(
      [
        'memory',
        `a server starts beside ${count} sockets in TIME_WAIT`,
        'a fresh server needs no more memory on a busy machine',
      ],
      async (trial) => {
        const most = async (): Promise<number> => {
          // A port that was asked for: the one that is free is looked for among all sockets.
          const server = await TestServer.start({ port: await freePort() });
          await pause(500);
          const peak = /^VmHWM:\s+(\d+) kB$/m.exec(
            readFileSync(`/proc/${server.child.pid}/status`, 'utf8'),
          )?.[1];
          server.kill();
          await server.exited();
          return (Number(peak) * KIB) / MIB;
        };
        const quiet = await most();
        await leaveTimeWait(count);
        trial.note('resident beside none', quiet, 'MiB');
        trial.atMost('resident beside them', await most(), quiet + 10, 'MiB');
      },
    );
  },
);
