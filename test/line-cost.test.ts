/** What a line costs: learnt from growth alone, and a kept figure until it is known. */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { KEPT_LINE_BYTES, LineCost } from '../src/ops/memory/line-cost.js';

const NONE = { sse: 0, ndjson: 0, websocket: 0, poll: 0, library: 0 };
const BASE_BYTES = 50e6;

/** Takes a reading at each count of lines. */
function readAt(
  cost: LineCost,
  counts: readonly number[],
  bytesOf: (lines: number) => number,
): void {
  for (const lines of counts) cost.addReading(lines, bytesOf(lines));
}

function upTo(most: number, step: number): number[] {
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
}

test('the slope of what was seen is found again, under noise, however many lines and in whatever steps', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 300, max: 20_000 }),
      fc.integer({ min: 2_000, max: 200_000 }),
      fc.integer({ min: 10, max: 1_000 }),
      fc.infiniteStream(fc.integer({ min: -50_000, max: 50_000 })),
      (bytesPerLine, most, steps, noise) => {
        const cost = new LineCost();
        readAt(
          cost,
          upTo(most, Math.ceil(most / steps)),
          (lines) => BASE_BYTES + bytesPerLine * lines + (noise.next().value as number),
        );
        const { bytes, source } = cost.line(NONE);
        // Noise of 50 kB over 2,000 lines is 25 to 50 B a line.
        if (source === 'measured')
          expect(Math.abs(bytes - bytesPerLine)).toBeLessThan(0.05 * bytesPerLine + 200_000 / most);
        else expect(bytesPerLine * most).toBeLessThan(12e6);
      },
    ),
  );
});

describe('a kept figure stands in', () => {
  test('before the lines have spread by a thousand, by the share of each transport', () => {
    const cost = new LineCost();
    readAt(cost, upTo(960, 64), (lines) => BASE_BYTES + 900 * lines);
    expect(cost.line({ ...NONE, websocket: 100, poll: 300 })).toEqual({
      bytes: (100 * KEPT_LINE_BYTES.websocket + 300 * KEPT_LINE_BYTES.poll) / 400,
      source: 'kept',
    });
    expect(cost.line(NONE)).toEqual({ bytes: KEPT_LINE_BYTES.sse, source: 'kept' });
    expect(cost.spreadLines).toBe(960);
  });

  test.each([
    [64, 2_560, 4_000],
    [2_000, 6_000, 8_000],
    [9_000, 0, 9_000],
  ])(
    'while steps of %i lines are too few for what comes and goes beside: at %i, and no more at %i',
    (step, few, enough) => {
      const cost = new LineCost();
      readAt(cost, upTo(few, step), (lines) => BASE_BYTES + 700 * lines);
      expect(cost.line(NONE).source).toBe('kept');
      readAt(cost, upTo(enough, step), (lines) => BASE_BYTES + 700 * lines);
      expect(cost.line(NONE)).toEqual({
        bytes: expect.closeTo(700, 3) as number,
        source: 'measured',
      });
    },
  );

  test.each([
    [
      'what was seen has nothing to do with lines',
      (lines: number) => BASE_BYTES + (lines % 128 === 0 ? 30e6 : 0),
    ],
    [
      'memory rose once and not with each line',
      (lines: number) => BASE_BYTES + (lines > 3_200 ? 40e6 : 0),
    ],
    ['memory fell while lines came', (lines: number) => BASE_BYTES - 500 * lines],
    ['memory did not move', () => BASE_BYTES],
  ])('where %s', (_name, bytesOf) => {
    const cost = new LineCost();
    readAt(cost, upTo(6_400, 64), bytesOf);
    expect(cost.line(NONE).source).toBe('kept');
  });
});

test('however many lines come, the samples are few and spread over all of them', () => {
  const cost = new LineCost();
  let readings = 0;
  for (let lines = 0; lines <= 1_000_000; lines += 64) {
    if (!cost.wantsReading(lines)) continue;
    readings++;
    cost.addReading(lines, BASE_BYTES + 700 * lines);
  }
  expect(readings).toBeLessThan(5_000);
  expect(cost.spreadLines).toBeGreaterThan(950_000);
  expect(cost.line(NONE)).toEqual({ bytes: expect.closeTo(700, 3) as number, source: 'measured' });
});

test('fewer lines than there were tell nothing, since an allocator keeps what they leave', () => {
  const cost = new LineCost();
  readAt(cost, upTo(5_000, 100), (lines) => BASE_BYTES + 700 * lines);
  for (let lines = 4_900; lines >= 0; lines -= 100) {
    expect(cost.wantsReading(lines)).toBe(false);
    cost.addReading(lines, BASE_BYTES + (lines % 200 === 0 ? 700 * 5_000 : 0));
  }
  expect(cost.line(NONE)).toEqual({ bytes: expect.closeTo(700, 3) as number, source: 'measured' });
  expect(cost.linesMax).toBe(5_000);
});

test('of several readings at one number of lines the least counts, and there are at most ten', () => {
  const cost = new LineCost();
  for (const lines of upTo(20_000, 1_000)) {
    for (const garbage of [3e6, 1e6, 0, 2e6])
      cost.addReading(lines, BASE_BYTES + 700 * lines + garbage);
  }
  expect(cost.line(NONE).bytes).toBeCloseTo(700, 3);
  expect(cost.wantsReading(20_000)).toBe(true);
  for (let readings = 4; readings < 10; readings++) cost.addReading(20_000, Infinity);
  expect(cost.wantsReading(20_000)).toBe(false);
  expect(cost.wantsReading(20_063)).toBe(false);
  expect(cost.wantsReading(20_064)).toBe(true);
});

test('what lines need includes what the process takes without them', () => {
  const cost = new LineCost();
  expect(cost.neededBytes(100, 700)).toBe(0);
  readAt(cost, upTo(2_000, 100), (lines) => BASE_BYTES + 700 * lines);
  expect(cost.neededBytes(0, 700)).toBeCloseTo(BASE_BYTES, 0);
  expect(cost.neededBytes(500, 700)).toBeCloseTo(BASE_BYTES + 350_000, 0);
});
