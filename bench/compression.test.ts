/** What the summary makes of rounds, and when an aim is kept. */
import { expect, test } from 'vitest';
import { ticks } from '../test/support/ticks.js';
import { bodiesOf, eventBytesOf, ratioBound } from './compression-events.js';
import {
  type CompressionRound,
  type EncodingTarget,
  aimsOf,
  describeCompression,
  summariseCompression,
} from './compression-figures.js';
import type { Verdict } from './verdict.js';

const LINES = 15_000;

function roundOf(
  target: EncodingTarget,
  round: number,
  wireBytesPerEvent: number,
  p99: number,
  ratePerSecond = 100,
  verdict: Verdict = 'offer',
): CompressionRound {
  const deliveriesPerSecond = LINES * ratePerSecond;
  return {
    events: 'ticks',
    target,
    round,
    lines: LINES,
    ratePerSecond,
    verdict,
    window: { wireBytesPerEvent },
    latencyMs: { p50: p99 / 2, p99 },
    acceptToDeliverMs: { p50: p99 / 2, p99 },
    deliveriesPerSecond,
    acceptedPerSecond: ratePerSecond,
    serverCpuUsPerDelivery: target === 'holdline' ? 1 : 0.9,
    serverCpuShare: 0.8,
    refused503PerSecond: 0,
    clientCoreShare: 0.5,
    published: { sent: ratePerSecond * 10 },
    serverCounters: { compress_seconds_total: 0.5 },
    check: { lost: 0, undelivered: 0, doubled: 0, outOfOrder: 0, gapEvents: 0 },
    loopDelayMs: null,
    writesPerSecond: null,
  } as unknown as CompressionRound;
}

function outcome(rounds: CompressionRound[]): (boolean | string | undefined)[][] {
  return aimsOf(summariseCompression(rounds), LINES).map(({ measured, isKept }) => [
    measured,
    isKept,
  ]);
}

test('ratios are formed round by round, without rounds in which the client was the limit', () => {
  const rounds = [
    roundOf('holdline', 1, 250, 100),
    roundOf('holdline-gzip', 1, 50, 105),
    roundOf('holdline', 2, 250, 200),
    roundOf('holdline-gzip', 2, 40, 240),
    roundOf('holdline', 3, 250, 100),
    roundOf('holdline-gzip', 3, 60, 108),
    roundOf('holdline', 4, 250, 1),
    roundOf('holdline-gzip', 4, 250, 100, 100, 'client'),
  ];
  const { ratios, figures } = summariseCompression(rounds);
  expect(ratios).toMatchObject([{ smaller: [5, 6.25, 250 / 60], p99: [1.05, 1.2, 1.08] }]);
  expect(figures).toMatchObject([
    { target: 'holdline', rounds: 4, discardedRounds: 0 },
    { target: 'holdline-gzip', rounds: 4, discardedRounds: 1, compressorShare: 0.05 },
  ]);
  expect(outcome(rounds)).toEqual([
    ['5.00 × (5.00 · 6.25 · 4.17)', true],
    ['0.90 × (0.90 · 0.90 · 0.90)', true],
    ['1.08 × (1.05 · 1.20 · 1.08)', true],
    ['1.08 × (1.05 · 1.20 · 1.08)', true],
  ]);
  expect(describeCompression(summariseCompression(rounds), LINES)).not.toContain('MISSED');
});

test('an aim without a round that counts is not kept', () => {
  const rounds = [
    roundOf('holdline', 1, 250, 100, 1000),
    roundOf('holdline-gzip', 1, 40, 250, 1000, 'client'),
    roundOf('holdline-gzip', 1, 40, 250, 1500),
  ];
  expect(outcome(rounds)).toEqual([
    [undefined, false],
    [undefined, false],
    ['22.50 M', true],
  ]);
  expect(outcome([roundOf('holdline-gzip', 1, 40, 301, 1000)])).toEqual([
    ['15.00 M', true],
    ['301 ms', false],
  ]);
});

test('a longest tick leaves no room behind the stamp, and another one few spaces', () => {
  for (const kind of ['ticks', 'random ticks'] as const) {
    const next = bodiesOf(kind);
    const lengths = Array.from({ length: 1000 }, (_, sequence) => next(sequence).length);
    expect(Math.max(...lengths)).toBe(eventBytesOf(kind) - 37);
    expect(Math.min(...lengths)).toBeGreaterThan(eventBytesOf(kind) - 37 - 12);
    expect(JSON.parse(next(0))).toHaveProperty('symbol');
  }
  expect(bodiesOf('ticks')(5), 'those of scripts/compression-settings.ts').toBe(ticks(1)());
  expect(ratioBound(265)).toBeCloseTo(10, 1);
});
