/**
 * Small promises that strangers found broken: what is full still answers, what is slow is told so,
 * and what was sent comes back as it was.
 */
import { onTestFinished, test } from 'vitest';
import { MUTE_AGE_MS_MIN } from '../../src/limits.js';
import { begunBefore } from '../support/begun.js';
import { ControlLine } from '../support/control.js';
import { SseLine, stalledLine } from '../support/line.js';
import { runHoldline, serverForTest, TestServer } from '../support/server.js';
import { frameBytes, openWebSocket } from '../support/websocket.js';
import { HttpClient, RawConnection, request, requestBytes } from '../support/wire.js';
import { pause, percentile } from './support/actor.js';
import { sharedCasts } from './support/cast.js';
import { scaled } from './support/scale.js';
import { faultsOf } from './support/stage.js';
import { tried } from './support/trial.js';

const casts = sharedCasts();

const SLOW_MS = 40_000;

/** Uploads that do not go on, and the time until each is answered, ms. */
const uploads = begunBefore(async (atEnd) => {
  const server = await TestServer.start();
  atEnd(() => server.kill());
  const begun = async (what: string, rest: string) => {
    const raw = await RawConnection.open(server.port);
    atEnd(() => raw.destroy());
    const startMs = performance.now();
    raw.send(`POST /c HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n${rest}`);
    const answered = raw
      .waitFor('an answer or the end', () => raw.bytesRead > 0 || raw.closed, 20_000)
      .catch(() => {})
      .then(() => performance.now() - startMs);
    return { what, raw, answered };
  };
  return Promise.all([
    begun('a length', 'Content-Length: 1000\r\n\r\nhello'),
    begun('chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'),
  ]);
});

async function connection(port: number): Promise<RawConnection> {
  const raw = await RawConnection.open(port);
  onTestFinished(() => raw.destroy());
  return raw;
}

test('a key for publishing and publishing without one contradict each other', async () => {
  await tried(
    [
      'small',
      'serve --publish-key k --open-publish',
      'options that contradict each other are refused',
    ],
    async (trial) => {
      const { status, stderr } = runHoldline([
        'serve',
        '--port',
        '0',
        '--publish-key',
        'k',
        '--open-publish',
      ]);
      trial.exactly('exit', status ?? 'none', 2);
      trial.matches(
        'standard error',
        stderr,
        /publish-key[^]*open-publish|open-publish[^]*publish-key/,
      );
    },
  );
});

test('a server full of mute sockets answers who asks', { timeout: SLOW_MS }, async () => {
  await tried(
    [
      'small',
      '164 sockets that send nothing, --max-connections 100, then GET /-/health',
      'mute sockets are closed before those who ask',
    ],
    async (trial) => {
      const server = await serverForTest({ 'max-connections': 100 });
      const control = await ControlLine.open(server);
      onTestFinished(() => control.line.close());
      const mute = await Promise.all(Array.from({ length: 164 }, () => connection(server.port)));
      // Who has just connected may be about to ask.
      await pause(2 * MUTE_AGE_MS_MIN);
      let answered = 0;
      for (let i = 0; i < 10; i++) {
        const status = await request(server.port, 'GET', '/-/health').then(
          (answer) => answer.status,
          () => 0,
        );
        if (status === 200) answered++;
      }
      trial.exactly('health checks answered', answered, 10);
      const line = await SseLine.open(server.port, '/c').catch(() => undefined);
      trial.exactly(
        'a line opens',
        line === undefined || line.head.status !== 200 ? 'no' : 'yes',
        'yes',
      );
      trial.note('mute sockets closed', mute.filter(({ closed }) => closed).length);
      await control.noticedNothing();
    },
  );
});

test(
  'answers while the server drains say that the connection ends',
  { timeout: SLOW_MS },
  async () => {
    await tried(
      [
        'small',
        'requests on kept connections while the server drains',
        'answers while draining carry Connection: close',
      ],
      async (trial) => {
        const server = await serverForTest({ drain: '8s' });
        await stalledLine(server);
        const paths = ['/-/health', '/-/ready', '/c?since=0&wait=0'];
        const clients = await Promise.all(paths.map(() => HttpClient.open(server.port)));
        for (const client of clients) {
          onTestFinished(() => client.close());
          await client.request('GET', '/-/health');
        }
        server.signal('SIGTERM');
        await server.waitFor('it drains', () =>
          server.logs.some(({ msg }) => String(msg).includes('drain')),
        );
        for (const [i, path] of paths.entries()) {
          const said = await clients[i]!.request('GET', path).then(
            ({ status, headers }) => `${status} ${headers.get('connection') ?? 'nothing'}`,
            (error: unknown) => String(error),
          );
          trial.matches(path, said, /^\d{3} close$/i);
        }
      },
    );
  },
);

test.each([
  ['a health check', '/-/health'],
  ['a poll that finds something', '/held?since=0&wait=0'],
] as const)(
  'a client that half-closes behind its request gets its answer: %s',
  async (what, path) => {
    await tried(
      ['small', `a FIN behind a request: ${what}`, 'a half-closed client gets its answer'],
      async (trial) => {
        const server = await serverForTest();
        await server.publish('held', 'one');
        const raw = await connection(server.port);
        raw.socket.allowHalfOpen = true;
        raw.socket.end(requestBytes(server.port, 'GET', path));
        await raw.waitFor('the end', () => raw.closed || raw.ended, 3_000).catch(() => {});
        trial.matches('answer', raw.text.slice(0, 100), /^HTTP\/1\.1 200 /);
        const length = Number(/content-length: (\d+)/i.exec(raw.text)?.[1]);
        trial.exactly(
          'bytes of the body',
          raw.text.length - raw.text.indexOf('\r\n\r\n') - 4,
          length,
        );
      },
    );
  },
);

test(
  'one WebSocket that publishes faster than is taken is paced',
  { timeout: SLOW_MS },
  async () => {
    await tried(
      [
        'small',
        'one WebSocket sends 20,000 publishes of 1 KB at once, to 20 lines',
        'it is paced, not refused',
      ],
      async (trial) => {
        const count = 20_000;
        const server = await serverForTest();
        const control = await ControlLine.open(server);
        onTestFinished(() => control.line.close());
        const lines = await casts().attackers.begin('lines', server.port, {
          count: 20,
          path: '/c',
        });
        let ok = 0;
        let refused = 0;
        const onReply = ({ ok: good }: { ok?: unknown }): void =>
          void (good === undefined ? refused++ : ok++);
        const socket = await openWebSocket(server, '/other', { keep: false, onReply });
        const frame = frameBytes(`{"publish":{"channel":"c","data":"${'x'.repeat(1_000)}"}}`);
        for (let i = 0; i < count; i += 100)
          socket.connection.send(Buffer.concat(Array.from({ length: 100 }, () => frame)));
        await socket.waitFor('the answers', () => ok + refused >= count, 30_000);
        await lines.stop();
        // What is beyond 4 MiB of waiting publishes is refused; how much depends on the machine.
        trial.exactly('answered', ok + refused, count);
        trial.atLeast('accepted', ok, count / 2);
        await control.noticedNothing();
      },
    );
  },
);

test(
  'failed keys are counted and logged at a bounded rate, and a valid key is never slowed',
  { timeout: SLOW_MS },
  async () => {
    await tried(
      [
        'small',
        'four connections try publish keys as fast as they are answered',
        'failed keys are counted, logged at a bounded rate and slowed',
      ],
      async (trial) => {
        const server = await serverForTest({ 'publish-key': 'k', 'open-publish': false });
        const untilMs = performance.now() + scaled(2_000, 10_000);
        let tries = 0;
        const guess = async (): Promise<void> => {
          while (performance.now() < untilMs) {
            const client = await HttpClient.open(server.port).catch(() => undefined);
            while (
              client !== undefined &&
              !client.connection.closed &&
              performance.now() < untilMs
            ) {
              const parts = { headers: { Authorization: `Bearer guess${tries}` }, body: 'x' };
              const answer = await client.request('POST', '/c', parts).catch(() => undefined);
              if (answer === undefined) break;
              tries++;
            }
            client?.close();
          }
        };
        const validMs: number[] = [];
        const publish = async (): Promise<void> => {
          while (performance.now() < untilMs) {
            const startMs = performance.now();
            await server.publish('c', 'x');
            validMs.push(performance.now() - startMs);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        };
        await Promise.all([guess(), guess(), guess(), guess(), publish()]);
        const { counters } = await server.stats();
        trial.note('tries', tries);
        trial.atLeast('counted as refused', counters.refused_total, tries);
        trial.atMost('a publish with the key, p50', percentile(validMs, 0.5), 20, 'ms');
        trial.atMost('a publish with the key, p99', percentile(validMs, 0.99), 250, 'ms');
        const said = server.logs.filter(
          (log) => /key/i.test(String(log['msg'])) && log['msg'] !== 'ops key made for this run',
        ).length;
        trial.atLeast('words in the log', said, 1);
        trial.atMost('words in the log', said, scaled(6, 24));
        trial.atMost('tries a second', tries / scaled(2, 10), 1_000);
        trial.exactly('faults in the log', faultsOf(server).join('; '), '');
      },
    );
  },
);

test('an upload that does not go on is told 408', { timeout: SLOW_MS }, async () => {
  for (const { what, raw, answered } of uploads().value)
    await tried(
      [
        'small',
        `a body that does not go on, with ${what}`,
        'slow uploads get 408 instead of a silent close',
      ],
      async (trial) => {
        const tookMs = await answered;
        trial.matches('answer', raw.text.slice(0, 100), /^HTTP\/1\.1 408 /);
        trial.atMost('after', tookMs / 1_000, 13, 's');
      },
    );
});

test('ref comes back as it was, or is refused', async () => {
  await tried(
    [
      'small',
      'refs that are not what JSON.stringify makes of them',
      'ref comes back as it was or is refused',
    ],
    async (trial) => {
      const server = await serverForTest();
      for (const ref of [
        '1',
        '1.0',
        '1e2',
        '-0',
        '1e400',
        '12345678901234567890',
        '0.1',
        '"a"',
        '"\\u0041"',
        '"\\ud800"',
        '""',
        '"é"',
      ]) {
        const socket = await openWebSocket(server, '/c');
        const { raw, error } = await socket
          .ask(`{"publish":{"data":1},"ref":${ref}}`)
          .catch((cause: unknown) => ({ raw: String(cause), error: undefined }));
        const isSame =
          raw.includes(`"ref":${ref}`) ||
          (ref.startsWith('"') && raw.includes(`"ref":${JSON.stringify(JSON.parse(ref))}`));
        trial.exactly(
          ref,
          isSame ? 'as it was' : error?.code === 'HOLDLINE_BAD_MESSAGE' ? 'refused' : raw,
          isSame ? 'as it was' : 'refused',
        );
        socket.destroy();
      }
    },
  );
});
