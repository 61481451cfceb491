/**
 * Nobody holds the loop: one socket that asks as fast as it can, or for what is dear, delays the
 * others by a moment at the most.
 */
import { expect, test } from 'vitest';
import { exchange, requestBytes } from '../support/wire.js';
import { medianOf } from './support/actor.js';
import { sharedCasts } from './support/cast.js';
import { frames } from './support/messages.js';
import { ROUNDS_DEADLINE_MS, scaled } from './support/scale.js';
import {
  holdsControl,
  holdsTurns,
  judge,
  medianBy,
  Stage,
  type Round,
  type RoundOptions,
} from './support/stage.js';
import { tried } from './support/trial.js';

const casts = sharedCasts();

/** The longest that the loop may be held, ms; more in the short run, for machines that are slow. */
const LOOP_MS = scaled(100, 50);
/**
 * The first reads of three sockets come in one turn: 64 KiB of one-byte chunks each, 16 ms. The
 * turns that they take from then on are seen by the control line.
 */
const FIRST_READS_MS = 75;
const MIB = 2 ** 20;
/** A publish that is dear to parse, as JSON. */
const LARGE = `{"publish":{"data":[${'[1],'.repeat(15_000)}1]}}`;
const KEYED = { 'publish-key': 'hostile-test-key', 'open-publish': false };
const HEAD = 'Host: localhost\r\n';

const GREEDY: readonly (readonly [string, RoundOptions['attack'], loopMs: number])[] = [
  [
    'one socket pipelines GET /-/health and reads the answers',
    ({ begin }) =>
      begin('sockets', 0, { count: 1, unit: `GET /-/health HTTP/1.1\r\n${HEAD}\r\n`, reads: true }),
    LOOP_MS,
  ],
  [
    'one socket pipelines requests that are refused, and reads the answers',
    ({ begin }) =>
      begin('sockets', 0, { count: 1, unit: `GET /a..b HTTP/1.1\r\n${HEAD}\r\n`, reads: true }),
    LOOP_MS,
  ],
  [
    'one WebSocket sends pings of 125 bytes and reads',
    ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/flood'),
        unit: frames.ping(125),
        count: 1,
        reads: true,
      }),
    LOOP_MS,
  ],
  [
    'one WebSocket sends the message 1 and reads',
    ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/flood'),
        unit: frames.text('1'),
        count: 1,
        reads: true,
      }),
    LOOP_MS,
  ],
  [
    'one WebSocket without the right to publish sends publishes of 60 KB and reads',
    ({ begin }) =>
      begin('sockets', 0, {
        ...frames.opening('/flood'),
        unit: frames.text(LARGE),
        count: 1,
        reads: true,
      }),
    LOOP_MS,
  ],
  [
    'three sockets send a body in chunks of one byte',
    ({ begin }) =>
      begin('sockets', 0, {
        count: 3,
        opening: `POST /flood HTTP/1.1\r\n${HEAD}Authorization: Bearer hostile-test-key\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n`,
        unit: '1\r\nx\r\n',
        reads: true,
      }),
    FIRST_READS_MS,
  ],
];

test.each(GREEDY)(
  '%s',
  async (attack, begin, loopMs) => {
    await judge(
      casts(),
      ['turns', attack, `no socket holds the loop for more than ${LOOP_MS} ms`],
      { flags: KEYED, attack: begin },
      (trial, rounds) => {
        const sent = ({ attack: { sentUnits } }: Round): number => sentUnits!;
        trial.note('sent in a round', medianBy(rounds, sent));
        holdsTurns(trial, rounds, loopMs);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'a batch that is one line of 4 MiB is refused before it is parsed',
  async () => {
    const attack: RoundOptions['attack'] = ({ begin }) =>
      begin('publishers', 0, {
        count: 1,
        channel: 'flood',
        contentType: 'application/x-ndjson',
        line: `{"data":[${'1,'.repeat(2 * MIB - 10)}1]}`,
      });
    await judge(
      casts(),
      [
        'turns',
        'a batch that is one line of 4 MiB, again and again',
        'what is too large is refused before it is parsed',
      ],
      { attack },
      (trial, rounds) => {
        holdsTurns(trial, rounds, LOOP_MS);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

/**
 * Fills channels `${prefix}0` … with `bytes` each, in batches that hold the loop for a moment only.
 */
async function fill(stage: Stage, prefix: string, channels: number, bytes: number): Promise<void> {
  const role = await stage.begin('publishers', 0, {
    count: channels,
    channel: `${prefix}{n}`,
    contentType: 'application/x-ndjson',
    line: JSON.stringify({ data: 'x'.repeat(1_000) }),
    lines: 60,
    times: Math.ceil(bytes / 62_000),
    awaitsEnd: true,
  });
  expect(await role.stop()).toMatchObject({ refused: 0, other: 0, unanswered: 0 });
}

/** The longest that a health check takes right behind one of another connection, of forty, ms. */
async function longestHealth(port: number): Promise<number> {
  const check = (): Promise<unknown> =>
    exchange(port, requestBytes(port, 'GET', '/-/health'), { deadlineMs: 20_000 });
  let longestMs = 0;
  for (let i = 0; i < 40; i++) {
    const first = check();
    const startMs = performance.now();
    await check();
    longestMs = Math.max(longestMs, performance.now() - startMs);
    await first;
  }
  return longestMs;
}

test(
  'since=0 on 16 full channels is made in pieces',
  async () => {
    await tried(
      [
        'turns',
        'since=0 on 16 channels of 1 MiB each that nobody else reads',
        'dear answers are made in pieces of at most 5 ms',
      ],
      async (trial) => {
        const sets = scaled(5, 9);
        const flags = { 'replay-total': '512MiB' };
        const stage = await Stage.open(casts(), { flags });
        const behindMs: number[] = [];
        const aloneMs: number[] = [];
        for (let set = 0; set < sets; set++) {
          await fill(stage, `s${set}c`, 16, MIB);
          const path = Array.from({ length: 16 }, (_, i) => `s${set}c${i}`).join(',');
          aloneMs.push(await longestHealth(stage.server.port));
          // A stream has no end: two connections, the second asks for its health as soon as the
          // first has asked.
          const lines = stage.begin('lines', 0, { count: 1, path: `/${path}?since=0` });
          behindMs.push(await longestHealth(stage.server.port));
          await (await lines).stop();
        }
        const { control } = await stage.close();
        trial.note('a health check, quiet, longest (median of sets)', medianOf(aloneMs), 'ms');
        trial.atMost(
          'a health check beside it, longest (median of sets)',
          medianOf(behindMs),
          medianOf(aloneMs) + 10,
          'ms',
        );
        trial.exactly('control line: lost', control['undelivered']!, 0);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'HEAD on 16 full channels with last=100000 is cheap',
  async () => {
    await tried(
      [
        'turns',
        'HEAD on 16 full channels with last=100000',
        'a request that is answered with a head costs at most 0.3 ms',
      ],
      async (trial) => {
        const stage = await Stage.open(casts());
        await fill(stage, 'c', 16, MIB);
        const path = Array.from({ length: 16 }, (_, i) => `c${i}`).join(',');
        const perRequestMs = async (target: string): Promise<number> => {
          const times: number[] = [];
          for (let run = 0; run < 5; run++) {
            // Closed by the server where a body is announced for a HEAD, so each on a connection of
            // its own, many at a time.
            const startMs = performance.now();
            await Promise.all(
              Array.from({ length: 40 }, () =>
                exchange(stage.server.port, requestBytes(stage.server.port, 'HEAD', target), {
                  bodyless: true,
                }),
              ),
            );
            times.push((performance.now() - startMs) / 40);
          }
          return medianOf(times);
        };
        const cheapMs = await perRequestMs('/other?last=1');
        const dearMs = await perRequestMs(`/${path}?last=100000`);
        await stage.close();
        trial.note('HEAD on an empty channel', cheapMs, 'ms');
        trial.atMost('HEAD on 16 full channels, more than that', dearMs - cheapMs, 0.3, 'ms');
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'the first reader of an encoding on a large ring does not hold the loop',
  async () => {
    const mebibytes = scaled(64, 300);
    const options: RoundOptions = {
      flags: {
        'replay-bytes': `${mebibytes}MiB`,
        'replay-total': '1GiB',
        'replay-events': 1_000_000,
      },
      prepare: (stage) => fill(stage, 'big', 1, mebibytes * MIB),
      attack: ({ begin }) =>
        begin('lines', 0, { count: 1, path: '/big0?last=1', accept: ['application/x-ndjson'] }),
      attackMs: 1_000,
    };
    await judge(
      casts(),
      [
        'turns',
        `the first NDJSON reader of a ring of ${mebibytes} MiB`,
        'frames are made in pieces, from where a reader begins',
      ],
      options,
      (trial, rounds) => {
        trial.note(
          'loop delay while it was filled, longest',
          medianBy(rounds, ({ before }) => before.loopDelay.maxMs),
          'ms',
        );
        // Filling it may have held the loop for longer than the bound; its reader must not have
        // done so.
        const filledMs = Math.max(...rounds.map(({ before }) => before.loopDelay.maxMs));
        holdsTurns(trial, rounds, Math.max(LOOP_MS, filledMs));
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);
