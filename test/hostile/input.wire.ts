/**
 * The process: nothing that a client sends ends it or reaches the log as a fault, and no hook of a
 * program does.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, onTestFinished, test } from 'vitest';
import { sharedControl } from '../support/control.js';
import { SseLine } from '../support/line.js';
import { hostedForTest } from '../support/hosted.js';
import type { ServerUnderTest } from '../support/server-under-test.js';
import { KEY, openWebSocket, WebSocketLine } from '../support/websocket.js';
import { request, type Answer, type RequestParts } from '../support/wire.js';
import { faultsOf } from './support/stage.js';
import { tried, type Trial } from './support/trial.js';

const PROGRAM = fileURLToPath(new URL('support/embedding.ts', import.meta.url));
const NDJSON = { 'Content-Type': 'application/x-ndjson' };
const HANDSHAKE = {
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Version': '13',
};
const START_MS = 20_000;

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

/** A server of a program that embeds the library. */
interface Program {
  readonly child: ChildProcess;
  readonly port: number;
  /** The error's code, where it did not start. */
  readonly code: string;
  /** What the program has printed since this server was asked for. */
  output(): string;
}

/** The program of all tests, for as long as nothing ends it. */
let running: { readonly child: ChildProcess; output: string } | undefined;
let embeddedCount = 0;
afterAll(() => running?.child.kill('SIGKILL'));

function start(): NonNullable<typeof running> {
  const child = fork(PROGRAM, [], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const program = { child, output: '' };
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text: string) => (program.output += text));
  child.once('exit', () => (running = undefined));
  return (running = program);
}

async function embedded(hooks: string, publishing: 'open' | 'closed'): Promise<Program> {
  const program = running ?? start();
  const { child } = program;
  const before = program.output.length;
  const number = ++embeddedCount;
  const { port = 0, code = '' } = await new Promise<{ port?: number; code?: string }>(
    (resolve, reject) => {
      const answered = (message: unknown): void => {
        const answer = message as { number: number; port?: number; code?: string };
        if (answer.number !== number) return;
        child.off('message', answered).off('exit', ended);
        resolve(answer);
      };
      const ended = (status: number | null): void =>
        reject(new Error(`exit ${status} at start: ${program.output}`));
      child.on('message', answered).once('exit', ended);
      child.send({ number, hooks, publishing });
    },
  );
  return { child, port, code, output: () => program.output.slice(before) };
}

/** Asks and gives the status; 0 where there is no answer, since the process is gone. */
async function statusOf(asked: Promise<Answer>): Promise<number> {
  return asked.then(
    ({ status }) => status,
    () => 0,
  );
}

/** Internal errors that were answered, and faults that were logged. */
async function faults(server: ServerUnderTest): Promise<number> {
  return (
    ((await server.stats()).counters.refused['HOLDLINE_INTERNAL'] ?? 0) + faultsOf(server).length
  );
}

async function holdsProgram(trial: Trial, { child, port }: Program): Promise<void> {
  const health = await statusOf(request(port, 'GET', '/-/health'));
  trial.exactly('health afterwards', health, 200);
  trial.exactly('exit', child.exitCode ?? 'none', 'none');
}

test.each([
  ['authorize: undefined', 403],
  ['authorize: null', 403],
  ['authorize: 0', 403],
  ['authorize: a string', 403],
  ['authorize: an object', 403],
  ['authorize: a promise of undefined', 403],
  ['authorize: a promise of an object', 403],
  ['authorize: throws', 500],
  ['authorize: rejects', 500],
  ['authorize: rejects later', 500],
  ['onError: throws', 500],
])(
  'a program whose hook is wrong (%s) refuses with %i',
  { timeout: START_MS },
  async (hooks, status) => {
    await tried(
      [
        'input',
        `the first anonymous GET where a hook is wrong (${hooks})`,
        'no hook ends the process',
      ],
      async (trial) => {
        const program = await embedded(hooks, 'open');
        const { port } = program;
        const asks: readonly (readonly [string, string, string, RequestParts])[] = [
          ['a poll', 'GET', '/c?since=0&wait=0', {}],
          ['a stream', 'GET', '/c', { headers: { Accept: 'application/x-ndjson' } }],
          ['a publish', 'POST', '/c', { body: 'x' }],
          ['a deletion', 'DELETE', '/c', { headers: { Authorization: 'Bearer o' } }],
          ['a WebSocket', 'GET', '/c', { headers: HANDSHAKE }],
        ];
        for (const [what, method, path, parts] of asks) {
          trial.exactly(what, await statusOf(request(port, method, path, parts)), status);
        }
        await holdsProgram(trial, program);
      },
    );
  },
);

test.each(['onOpen: throws', 'onOpen: rejects', 'onClose: throws'])(
  'a program whose hook is told of a line and fails (%s) goes on',
  { timeout: START_MS },
  async (hooks) => {
    await tried(
      ['input', `a line comes and goes where a hook fails (${hooks})`, 'no hook ends the process'],
      async (trial) => {
        const program = await embedded(hooks, 'open');
        for (let i = 0; i < 3; i++) {
          const line = await SseLine.open(program.port, '/c');
          await request(program.port, 'POST', '/c', { body: 'x' });
          await line.waitForEvents(1);
          line.close();
        }
        await holdsProgram(trial, program);
      },
    );
  },
);

test.each([
  'authorize is no function',
  'onOpen is no function',
  'onClose is no function',
  'onError is no function',
])(
  'a program whose hook is wrong from the beginning (%s) is told so',
  { timeout: START_MS },
  async (hooks) => {
    await tried(
      ['input', `createServer where ${hooks}`, 'hooks are checked at createServer'],
      async (trial) => {
        trial.exactly('error', (await embedded(hooks, 'open')).code, 'HOLDLINE_BAD_OPTION');
      },
    );
  },
);

/** Messages that made JSON.stringify overflow the stack, and their siblings. */
const MESSAGES: readonly (readonly [string, string])[] = [
  ['an escaped name and 20,000 levels', `{"\\u0070ublish":{"data":${nested(20_000)}}}`],
  ['20,000 levels', `{"publish":{"data":${nested(20_000)}}}`],
  ['an escaped name of the data and 20,000 levels', `{"publish":{"\\u0064ata":${nested(20_000)}}}`],
  ['a ref of 20,000 levels', `{"publish":{"data":1},"ref":${nested(20_000)}}`],
  [
    '10,000 levels of objects',
    `{"publish":{"data":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}}`,
  ],
  ['20,000 levels that are never closed', `{"publish":{"data":${'['.repeat(20_000)}`],
  ['a prototype as data', '{"publish":{"data":{"__proto__":{"toString":1}}},"__proto__":1}'],
];

/** Sends a message and waits for what comes of it. */
async function send(port: number, text: string): Promise<void> {
  const socket = await WebSocketLine.open(port, '/c');
  socket.send(text);
  await socket
    .waitFor('an answer or the end', () => socket.replyCount > 0 || socket.connection.closed)
    .catch(() => {});
  socket.destroy();
}

test.each(['closed', 'open'] as const)(
  'no WebSocket message ends a program that embeds the library (publishing %s)',
  { timeout: 2 * START_MS },
  async (publishing) => {
    const attack = `WebSocket messages of strange JSON to a program, publishing ${publishing}`;
    await tried(['input', attack, 'no value of a client ends the process'], async (trial) => {
      let program = await embedded('none', publishing);
      for (const [what, text] of MESSAGES) {
        const line = await SseLine.open(program.port, '/c');
        await send(program.port, text);
        const health = await statusOf(request(program.port, 'GET', '/-/health'));
        const seen = `health ${health}, the line beside it ${line.closed ? 'closed' : 'open'}`;
        trial.exactly(what, seen, 'health 200, the line beside it open');
        line.close();
        if (health !== 200) program = await embedded('none', publishing);
      }
      trial.exactly(
        'stack traces in the output',
        /\n +at /.test(program.output()) ? 'yes' : 'no',
        'no',
      );
      await holdsProgram(trial, program);
    });
  },
);

const shared = sharedControl();

test.each(MESSAGES)('a WebSocket message with %s is no fault of the server', async (what, text) => {
  const { server, control } = shared();
  await tried(
    ['input', `a WebSocket message with ${what}`, 'what a client sends is no fault of the server'],
    async (trial) => {
      const before = await faults(server);
      await send(server.port, text);
      trial.exactly('faults', (await faults(server)) - before, 0);
      await control.noticedNothing();
    },
  );
});

/** Bodies by what is strange about them; published as they stand, or refused with 400. */
const BODIES: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
  ['a line with an escaped name and 5,000 levels', `{"\\u0064ata":${nested(5_000)}}`, NDJSON],
  ['a line of 20,000 levels', `{"data":${nested(20_000)}}`, NDJSON],
  ['a line with an escaped name and few levels', `{"\\u0064ata":${nested(50)}}`, NDJSON],
  ['a line with its data twice', '{"data":1,"data":[2.0]}', NDJSON],
  ['a number with more digits than a double has', '{"data":12345678901234567890.10}', NDJSON],
  ['JSON of 20,000 levels', nested(20_000), { 'Content-Type': 'application/json' }],
  [
    'JSON of 20,000 levels that are never closed',
    '['.repeat(20_000),
    { 'Content-Type': 'application/json' },
  ],
];

test.each(BODIES)(
  'a publish with %s is carried out as it was sent, or refused',
  async (what, body, headers) => {
    await tried(
      [
        'input',
        `a publish with ${what}`,
        'published as it was sent, or 400; never HOLDLINE_INTERNAL',
      ],
      async (trial) => {
        const { server, control } = shared();
        const before = await faults(server);
        const line = await SseLine.open(server.port, '/c');
        onTestFinished(() => line.close());
        const answer = await server.post('c', body, { headers });
        trial.matches('status', String(answer.status), /^(200|400)$/);
        if (answer.status === 200) {
          await line.waitForEvents(1);
          const sent = /:(.*?),?"?d?a?t?a?"?:?(\[2\.0\])?\}$/.exec(body);
          const wanted = headers === NDJSON ? (sent?.[2] ?? sent?.[1] ?? '') : body;
          trial.exactly(
            'as it was sent',
            line.events[0]!.data === wanted ? 'yes' : line.events[0]!.data.slice(0, 100),
            'yes',
          );
        }
        trial.exactly('faults', (await faults(server)) - before, 0);
        await control.noticedNothing();
      },
    );
  },
);

/** What is refused without being read costs a moment; it must hold for who may not publish, too. */
test('who may not publish is told so before the message is read', async () => {
  await tried(
    [
      'input',
      'a WebSocket without the right to publish sends JSON that is none',
      'rights are checked before anything is parsed',
    ],
    async (trial) => {
      const server: ServerUnderTest = await hostedForTest({
        'publish-key': 'hostile-test-key',
        'open-publish': false,
      });
      const socket = await openWebSocket(server, '/c');
      const reply = await socket.ask('{"publish":{"data":[1,');
      trial.exactly('code', reply.error?.code ?? 'none', 'HOLDLINE_UNAUTHORIZED');
    },
  );
});
