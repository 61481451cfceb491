/** When a channel's p99 has moved, when the client did it, and what the summary makes of it. */
import { describe, expect, test } from 'vitest';
import {
  type ControlWindow,
  type IsolationRound,
  describeIsolation,
  isolationVerdict,
  limitMsOf,
  natsWords,
  summariseIsolation,
  verdictWords,
} from './isolation-figures.js';
import type { LoadReport } from './isolation-orders.js';
import type { Latency } from './latency.js';

function windowOf(p99: number, sentLate = 0, readLateMs = 0): ControlWindow {
  const latencyMs = { p50: p99 / 2, p99 };
  const check = { lost: 0, doubled: 0, outOfOrder: 0, idMismatches: 0 };
  const noFault = { damaged: 0, closedLines: 0, shortLines: 0 };
  return {
    latencyMs,
    latenessMs: { p99: sentLate },
    readLateMs,
    check: { ...check, ...noFault },
    serverCpuShare: 0.5,
  } as unknown as ControlWindow;
}

describe('a p99 beside another channel', () => {
  test.each([
    ['up to 10 ms above itself alone it is kept, however small that was', 1, windowOf(11), 'kept'],
    ['more than 10 ms above and over twice itself alone it has moved', 1, windowOf(11.1), 'moved'],
    ['up to twice itself alone it is kept', 18, windowOf(36), 'kept'],
    ['where its events left late the client moved it', 1, windowOf(15, 5), 'client'],
    ['where they were read late the client moved it', 1, windowOf(15, 0, 5), 'client'],
    ['where the client was late by less it has moved', 1, windowOf(15, 1, 2), 'moved'],
  ])('%s', (_what, alone, beside, verdict) => {
    expect(isolationVerdict(windowOf(alone), beside)).toBe(verdict);
  });
});

function roundOf(round: number, alone: number, beside: ControlWindow): IsolationRound {
  const verdict = isolationVerdict(windowOf(alone), beside);
  const loaded = { load: 'flood', published: 1000 * round, seconds: 10 } as LoadReport;
  return { server: 'lmdb', load: 'flood', round, alone: windowOf(alone), beside, loaded, verdict };
}

test('the summary is of medians without rounds that the client moved', () => {
  const rounds = [
    roundOf(1, 2, windowOf(9)),
    roundOf(2, 2, windowOf(11)),
    roundOf(3, 4, windowOf(7)),
    roundOf(4, 2, windowOf(500, 495)),
  ];
  const { figures } = summariseIsolation(rounds);
  expect(figures).toMatchObject([{ server: 'lmdb', load: 'flood', rounds: 4, discardedRounds: 1 }]);
  expect(figures).toMatchObject([{ aloneP99Ms: 2, p99Ms: 9, limitMs: 12, isKept: true }]);
  expect(figures).toMatchObject([{ p99MsOfRounds: [9, 11, 7, 500], loadPerSecond: 200 }]);
  const moved = summariseIsolation([roundOf(1, 2, windowOf(30)), roundOf(2, 2, windowOf(40))]);
  expect(moved.figures).toMatchObject([{ p99Ms: 35, isKept: false }]);
  expect(describeIsolation(moved)).toContain('MOVED');
  expect(limitMsOf(6)).toBe(16);
  expect(limitMsOf(12)).toBe(24);
});

test('where NATS itself answers later by as much, the row says so and is no failure of the server', () => {
  const beside = (p99: number, nats: number): ControlWindow => ({
    ...windowOf(p99),
    natsAnswerMs: { p99: nats } as Latency,
  });
  const figureOf = (p99: number, nats: number) => {
    const round = { ...roundOf(1, 5, beside(p99, nats)), alone: beside(5, 1) };
    return summariseIsolation([round]).figures[0]!;
  };
  expect(verdictWords(figureOf(15, 30))).toBe('kept');
  expect(verdictWords(figureOf(30, 20))).toBe('NATS moved');
  expect(verdictWords(figureOf(40, 20))).toBe('MOVED');
  expect(natsWords(figureOf(40, 20))).toBe('1.0 ms → 20 ms');
  expect(natsWords(summariseIsolation([roundOf(1, 2, windowOf(9))]).figures[0]!)).toBe('');
});
