/**
 * A strict gate: where the borders of a request are not certain it is refused and the connection
 * closed, and nothing is published that is not answered.
 */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ControlLine } from '../support/control.js';
import { SseLine } from '../support/line.js';
import { HostedServer } from '../support/hosted.js';
import { jsonOf, RawConnection } from '../support/wire.js';
import { pause } from './support/actor.js';
import { faultsOf } from './support/stage.js';
import { tried } from './support/trial.js';

const KEY = 'k';
const HEAD = 'Host: x\r\n';
const KEYED_HEAD = `${HEAD}Authorization: Bearer ${KEY}\r\n`;
/** What somebody would smuggle: a publish of its own. */
const INNER = `POST /victim HTTP/1.1\r\n${KEYED_HEAD}Content-Length: 1\r\n\r\nx`;
const CHUNKED = 'Transfer-Encoding: chunked\r\n\r\n';

interface Case {
  readonly name: string;
  readonly bytes: string;
  /** The status of each answer, in order. */
  readonly answers: RegExp;
  /** Events on the channels `c` and `victim`. */
  readonly published?: number;
  readonly closes?: boolean;
}

const post = (rest: string, method = 'POST'): string =>
  `${method} /c HTTP/1.1\r\n${KEYED_HEAD}${rest}`;
const anonymous = (rest: string): string => `POST /c HTTP/1.1\r\n${HEAD}${rest}`;

const CASES: readonly Case[] = [
  {
    name: 'a length',
    bytes: post('Content-Length: 5\r\n\r\nhello'),
    answers: /^200$/,
    published: 1,
    closes: false,
  },
  {
    name: 'chunks',
    bytes: post(`${CHUNKED}5\r\nhello\r\n0\r\n\r\n`),
    answers: /^200$/,
    published: 1,
  },
  // 505 is the native parser's word for what follows a body; then nothing is published, and a retry
  // doubles nothing.
  {
    name: 'a legal trailer',
    bytes: post(`${CHUNKED}5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n`),
    answers: /^(200|400|505)$/,
  },
  {
    name: 'two lengths',
    bytes: post(
      'Content-Length: 3\r\nContent-Length: 38\r\n\r\nabcGET /-/health HTTP/1.1\r\nHost: x\r\n\r\n',
    ),
    answers: /^400$/,
    published: 0,
    closes: true,
  },
  {
    name: 'two lengths that are the same',
    bytes: post('Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc'),
    answers: /^400$/,
    published: 0,
    closes: true,
  },
  {
    name: 'a length and chunks',
    bytes: post(`Content-Length: 3\r\n${CHUNKED}3\r\nabc\r\n0\r\n\r\n`),
    answers: /^400$/,
    published: 0,
    closes: true,
  },
  ...[
    'identity',
    'xchunked',
    'chunked, identity',
    'gzip, chunked',
    'chunked;q=1',
    '"chunked"',
    '',
  ].map((coding) => ({
    name: `Transfer-Encoding: ${coding}`,
    bytes: post(`Transfer-Encoding: ${coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
    answers: /^(400|501)$/,
    published: 0,
    closes: true,
  })),
  {
    name: 'two codings',
    bytes: post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ),
    answers: /^400$/,
    published: 0,
    closes: true,
  },
  ...[
    ['a trailer that is a request', `${CHUNKED}0\r\na:${INNER}`],
    ['a request in the trailer section', `${CHUNKED}0\r\n${INNER}`],
    ['two bytes in place of the last CRLF', `${CHUNKED}0\r\nXY${INNER}`],
    ['an empty coding', `Transfer-Encoding: \r\n\r\n${INNER}`],
    ['a chunk size with a blank', `${CHUNKED} 0\r\n\r\n${INNER}`],
    ['an empty size line', `${CHUNKED}\r\n\r\n${INNER}`],
    ['two lengths', `Content-Length: 0\r\nContent-Length: ${INNER.length}\r\n\r\n${INNER}`],
    ['a length with a sign', `Content-Length: +${INNER.length}\r\n\r\n${INNER}`],
    ['a chunk extension', `${CHUNKED}0;a=b\r\n\r\n${INNER}`],
    ['a chunk size in 0x', `${CHUNKED}0x0\r\n\r\n${INNER}`],
    ['a bare line feed behind the size', `${CHUNKED}0\n\r\n${INNER}`],
  ].map(([name, rest]) => ({
    name: `a body behind a 401 that is a request: ${name}`,
    bytes: anonymous(rest!),
    answers: /^(401|400)?( 40[013])?$/,
    published: 0,
    closes: true,
  })),
  {
    // The native parser reads 3;a=b as a length and waits for the rest: what follows is swallowed,
    // and never carried out.
    name: 'an extension that is hexadecimal',
    bytes: post(`${CHUNKED}3;a=b\r\nabc\r\n0\r\n\r\n`),
    answers: /^(200|400)?$/,
  },
  {
    name: 'a request behind the last chunk, in the same segment',
    bytes: post(`${CHUNKED}3\r\nabc\r\n0\r\n\r\n${INNER}`),
    answers: /^(200|400)?( 200)?$/,
  },
  {
    name: 'deflate',
    bytes: post('Content-Encoding: deflate\r\nContent-Length: 9\r\n\r\nx\x01K\x04\x00\x00b\x00b'),
    answers: /^415$/,
    published: 0,
  },
  {
    name: 'gzip',
    bytes: post('Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx'),
    answers: /^415$/,
    published: 0,
  },
  {
    name: 'an encoding that changes nothing',
    bytes: post('Content-Encoding: identity\r\nContent-Length: 1\r\n\r\nx'),
    answers: /^200$/,
    published: 1,
  },
  ...['PoSt', 'post', 'Post'].map((method) => ({
    name: `the method ${method}`,
    bytes: post('Content-Length: 1\r\n\r\nx', method),
    answers: /^(405|501)$/,
    published: 0,
  })),
  {
    name: 'the method get',
    bytes: `get /-/health HTTP/1.1\r\n${HEAD}\r\n`,
    answers: /^(405|501)$/,
    published: 0,
  },
];

let server: HostedServer;
let control: ControlLine;
beforeAll(async () => {
  server = await HostedServer.start({ 'publish-key': KEY, 'open-publish': false, 'ops-key': 'o' });
  control = await ControlLine.open(server);
});
afterAll(() => server.end());

/** Events that were published on the channels that are attacked. */
async function eventsOf(channels: readonly string[]): Promise<number> {
  let count = 0;
  for (const channel of channels) {
    const answer = await server.request('GET', `/${channel}?since=0&wait=0&limit=1000`);
    if (answer.status === 200) count += (jsonOf(answer) as unknown[]).length;
  }
  return count;
}

/** How long nothing may come until it is taken for the end of what comes, ms. */
const QUIET_MS = 300;
/** How long a connection that is refused may stay open, ms. */
const CLOSE_MS = 2_000;

/**
 * Sends bytes on a connection of their own; what came when it is closed, or when nothing comes any
 * more.
 */
async function sent(bytes: string, closes: boolean): Promise<{ text: string; closed: boolean }> {
  const raw = await RawConnection.open(server.port);
  onTestFinished(() => raw.destroy());
  raw.send(Buffer.from(bytes, 'latin1'));
  let before = -1;
  while (!raw.closed && raw.bytesRead !== before) {
    before = raw.bytesRead;
    await raw
      .waitFor('more, or the end', () => raw.closed || raw.bytesRead !== before, QUIET_MS)
      .catch(() => {});
  }
  // What is refused in the middle of a body may be read off for a moment, so that its sender reads
  // the refusal.
  if (closes) await raw.waitFor('the end', () => raw.closed || raw.ended, CLOSE_MS).catch(() => {});
  return { text: raw.text, closed: raw.closed || raw.ended };
}

function statusesOf(text: string): string {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status).join(' ');
}

test.each(CASES)('$name', async ({ name, bytes, answers, published, closes }) => {
  await tried(
    [
      'http',
      name,
      'a request whose borders are not certain is refused, and what is published is answered',
    ],
    async (trial) => {
      const before = await eventsOf(['c', 'victim']);
      const { text, closed } = await sent(bytes, closes === true);
      const statuses = statusesOf(text);
      trial.matches('answers', statuses, answers);
      const events = (await eventsOf(['c', 'victim'])) - before;
      if (published !== undefined) trial.exactly('events published', events, published);
      // Published if and only if that was answered.
      trial.exactly(
        'events that were not answered with 200',
        events - (text.match(/^\{"id":\d+,/gm)?.length ?? 0),
        0,
      );
      if (closes !== undefined)
        trial.exactly('closed', closed ? 'yes' : 'no', closes ? 'yes' : 'no');
      trial.exactly('faults in the log', faultsOf(server).join('; '), '');
      await control.noticedNothing();
    },
  );
});

test(
  'each of them in two pieces, cut at every place, comes to the same',
  { timeout: 60_000 },
  async () => {
    const smuggling = CASES.filter(({ published }) => published === 0);
    await tried(
      ['http', 'every case above, cut in two at every place', 'how bytes are cut changes nothing'],
      async (trial) => {
        const before = await eventsOf(['c', 'victim']);
        const cuts = smuggling.flatMap(({ name, bytes }) => {
          const from = bytes.indexOf('\r\n\r\n');
          return Array.from({ length: Math.min(60, bytes.length - from) }, (_, i) => ({
            name,
            bytes,
            at: from + i,
          }));
        });
        for (let i = 0; i < cuts.length; i += 100) {
          await Promise.all(
            cuts.slice(i, i + 100).map(async ({ bytes, at }) => {
              const raw = await RawConnection.open(server.port);
              raw.send(Buffer.from(bytes.slice(0, at), 'latin1'));
              await pause(15);
              if (!raw.closed) raw.send(Buffer.from(bytes.slice(at), 'latin1'));
              await pause(60);
              raw.destroy();
            }),
          );
        }
        trial.note('cuts', cuts.length);
        trial.exactly('events published', (await eventsOf(['c', 'victim'])) - before, 0);
        await control.noticedNothing();
      },
    );
  },
);

test('a Last-Event-ID that is not ASCII is a foreign position', async () => {
  await tried(
    [
      'http',
      'Last-Event-ID: e2 80 a6',
      'a position that cannot be read is told as a gap, and nothing is lost silently',
    ],
    async (trial) => {
      await server.publish('held', 'one');
      await server.publish('held', 'two');
      // Such bytes behind a number are trimmed by the native parser, and cannot be seen.
      for (const text of ['\xe2\x80\xa6', '5\xe2\x80\xa65', '\xff']) {
        const line = await SseLine.open(server.port, '/held', {
          headers: { 'Last-Event-ID': text },
        });
        onTestFinished(() => line.close());
        await line.waitForEvents(2, 1_000).catch(() => {});
        const name = Buffer.from(text, 'latin1').toString('hex');
        trial.exactly(`${name}: gaps`, line.gaps.length, 1);
        trial.exactly(`${name}: events`, line.eventCount, 2);
      }
    },
  );
});

test.each(['TE, close', 'close', 'Close', 'keep-alive, close', 'close, TE'])(
  'Connection: %s is read as a list, and answered',
  async (value) => {
    await tried(
      ['http', `Connection: ${value}`, 'Connection is read as a list and answered'],
      async (trial) => {
        const startMs = performance.now();
        const raw = await RawConnection.open(server.port);
        onTestFinished(() => raw.destroy());
        raw.send(`GET /-/health HTTP/1.1\r\n${HEAD}Connection: ${value}\r\n\r\n`);
        await raw.waitFor('the end', () => raw.closed || raw.ended, 1_500).catch(() => {});
        trial.exactly('closed', raw.closed || raw.ended ? 'yes' : 'no', 'yes');
        trial.note('after', performance.now() - startMs, 'ms');
        trial.matches('answer', raw.text, /^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n/i);
      },
    );
  },
);

test('the control line has noticed nothing', async () => {
  await control.noticedNothing();
  expect(faultsOf(server)).toEqual([]);
});
