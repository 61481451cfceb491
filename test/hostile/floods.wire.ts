/**
 * Floods that limits are there for, by clients that a proxy names: heads that never end, lines
 * without end, and publishes past the rate. A control line beside them is hardly later, and loses
 * nothing.
 */
import { test } from 'vitest';
import { request } from '../support/wire.js';
import { sharedCasts } from './support/cast.js';
import { ROUNDS_DEADLINE_MS, scaled } from './support/scale.js';
import { holdsControl, holdsTurns, judge, medianBy, type Round } from './support/stage.js';

const casts = sharedCasts();

const PROMISE = 'limits are for those who reach them: a control line keeps its p99';
/** The attackers are the proxy, and say whose each request is. */
const PROXIED = { 'trusted-proxies': '127.0.0.1' };
const QUIET_MS = scaled(500, 5_000);
const ATTACK_MS = scaled(800, 10_000);

/**
 * The 50 ms of test/hostile/turns.wire.ts are for one socket; here many of them, each with little,
 * want the same turn, beside the kernel's work for their connections.
 */
const LOOP_MS = 150;

const head = (start: string, address: string): string =>
  `${start} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${address}\r\n`;

const refusedIn = ({ before, after }: Round, code: string): number =>
  (after.counters.refused[code] ?? 0) - (before.counters.refused[code] ?? 0);

const slow = scaled(500, 1_000);

test(
  `${slow} sockets whose heads come a byte at a time`,
  async () => {
    await judge(
      casts(),
      ['floods', `${slow} sockets send their head a byte at a time, without end`, PROMISE],
      {
        flags: { 'max-connections': 2_000 },
        quietMs: QUIET_MS,
        attackMs: ATTACK_MS,
        attack: ({ begin }) =>
          begin('sockets', 0, {
            count: slow,
            opening: `${head('GET /c', '192.0.2.1')}X-Slow: `,
            unit: 'x',
            everyMs: 100,
            reads: true,
          }),
        during: async ({ server }) => {
          const { status } = await request(server.port, 'GET', '/-/health');
          return { status };
        },
      },
      (trial, rounds) => {
        trial.exactly(
          'a health check on a new connection',
          medianBy(rounds, ({ extra }) => extra['status']!),
          200,
        );
        trial.exactly(
          'sockets that send, opened',
          medianBy(rounds, ({ attack }) => attack['opened']!),
          slow,
        );
        holdsTurns(trial, rounds, LOOP_MS);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'connections without end, each for one more line of one address',
  async () => {
    const most = 20;
    await judge(
      casts(),
      ['floods', '20 clients connect for line after line, all of one address', PROMISE],
      {
        flags: { ...PROXIED, 'max-lines-per-address': most },
        quietMs: QUIET_MS,
        attackMs: ATTACK_MS,
        prepare: ({ begin }) =>
          // They take the places, so that every further one is too many.
          begin('sockets', 0, {
            count: most,
            opening: `${head('GET /c', '192.0.2.1')}Accept: text/event-stream\r\n\r\n`,
            awaitsHead: true,
            reads: true,
          }),
        attack: ({ begin }) =>
          begin('sockets', 0, {
            count: 20,
            // What stands behind the first one is not read: each needs a connection.
            unit: `${head('GET /c', '192.0.2.1')}Accept: application/x-ndjson\r\nConnection: close\r\n\r\n`,
            reads: true,
          }),
        during: async ({ server }) => ({
          lines: (await server.stats()).lines.open,
          // Another address has its places.
          status: (
            await request(server.port, 'HEAD', '/c', {
              headers: { 'X-Forwarded-For': '192.0.2.2' },
            })
          ).status,
        }),
      },
      (trial, rounds) => {
        trial.exactly(
          'lines',
          medianBy(rounds, ({ extra }) => extra['lines']!),
          most + 1,
        );
        trial.exactly(
          'another address',
          medianBy(rounds, ({ extra }) => extra['status']!),
          200,
        );
        trial.atLeast(
          'lines refused',
          medianBy(rounds, (round) => refusedIn(round, 'HOLDLINE_TOO_MANY_LINES')),
          300,
        );
        holdsTurns(trial, rounds, LOOP_MS);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);

test(
  'publishes past the rate of one address',
  async () => {
    const perSecond = 100;
    await judge(
      casts(),
      [
        'floods',
        '20 clients publish without a pause, all of one address, past --publish-rate',
        PROMISE,
      ],
      {
        flags: { ...PROXIED, 'publish-rate': perSecond },
        quietMs: QUIET_MS,
        attackMs: ATTACK_MS,
        attack: ({ begin }) =>
          begin('publishers', 0, {
            count: 20,
            channel: 'flood',
            line: 'x',
            headers: { 'X-Forwarded-For': '192.0.2.1' },
          }),
        during: async ({ server }) => ({
          accepted: (await server.stats()).counters.events_accepted_total,
        }),
      },
      (trial, rounds) => {
        trial.atLeast(
          'publishes refused',
          medianBy(rounds, (round) => refusedIn(round, 'HOLDLINE_RATE')),
          300,
        );
        const seconds = (QUIET_MS + ATTACK_MS) / 1000;
        // What may be taken at once, and the control line's own.
        trial.atMost(
          'events accepted',
          medianBy(rounds, ({ extra }) => extra['accepted']!),
          perSecond * (seconds + 4) + 20 * (seconds + 4),
        );
        holdsTurns(trial, rounds, LOOP_MS);
        holdsControl(trial, rounds);
      },
    );
  },
  ROUNDS_DEADLINE_MS,
);
