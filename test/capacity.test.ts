/**
 * The planner's pure parts: fitting finds what it was given, the model adds up, and a plan never
 * needs less for more.
 */

import { connectionsUnder } from '../src/options/table.js';
import { fc } from './support/properties.js';
import { describe, expect, it, test } from 'vitest';
import {
  COMPRESS_HEADS_PER_SWEEP,
  COMPRESS_SLICE_BYTES_MAX,
  COMPRESS_SMALL_BYTES,
  COMPRESS_SMALL_HEADS_PER_SWEEP,
  CORK_WRITE_BYTES_MAX,
  LARGE_WRITE_BYTES_MAX,
} from '../src/limits.js';
import {
  loadOf,
  wireBytes,
  writeUs,
  latencyMs,
  type Costs,
  type Demand,
} from '../src/tools/capacity/cost-model.js';
import { makeBlocks } from '../src/tools/capacity/blocks.js';
import {
  blockUsOf,
  compressionOf,
  plainBytesMax,
  ratioOf,
  type Compression,
} from '../src/tools/capacity/compression.js';
import {
  chooseCompression,
  compressedFit,
  measuredCompression,
  whyNotCompressed,
} from '../src/tools/capacity/compression-choice.js';
import { coresIn } from '../src/tools/capacity/cores.js';
import { fitProfile } from '../src/tools/capacity/fit.js';
import { htmlReport } from '../src/tools/capacity/html-report.js';
import {
  fitFactors,
  fitLinear,
  predictionError,
  sumOf,
  valueAt,
} from '../src/tools/capacity/least-squares.js';
import {
  bufferToMeasure,
  linesToMeasure,
  compressionFlag,
  parseCapacityOptions,
  withBuffer,
} from '../src/tools/capacity/options.js';
import type { Request } from '../src/tools/capacity/limit-rows.js';
import { headsPerSweepOf } from '../src/core/compressed-slices.js';
import { remarksOn } from '../src/tools/capacity/measure-remarks.js';
import { missesOf } from '../src/tools/capacity/misses.js';
import { userBytesOf } from '../src/tools/capacity/needs.js';
import { makePlan, type Plan } from '../src/tools/capacity/plan.js';
import type { Limits, Window } from '../src/tools/capacity/profile.js';
import { loadProfile } from '../src/tools/capacity/profile-file.js';
import { reportOf, sureness, tableOf, type CapacityReport } from '../src/tools/capacity/report.js';
import { marketTicks, sampleFile } from '../src/tools/capacity/sample-events.js';
import { syntheticProfile, TRUTH, type Truth } from './support/synthetic-profile.js';

const amount = (min: number, max: number): fc.Arbitrary<number> =>
  fc.double({ min, max, noNaN: true });

/** Costs of machines from fast to slow, with either size of the largest write. */
const anyCosts: fc.Arbitrary<Costs> = fc
  .constantFrom(CORK_WRITE_BYTES_MAX, LARGE_WRITE_BYTES_MAX)
  .chain((writeBytesMax) =>
    fc.record({
      writeBytesMax: fc.constant(writeBytesMax),
      idleShare: amount(0.005, 0.03),
      heartbeatUs: amount(5, 30),
      idleEventUs: amount(20, 250),
      busyEventUs: amount(10, 100),
      idleWriteUs: amount(3, 15),
      busyWriteUs: amount(2, 10),
      manyLinesUs: amount(0, 1),
      byteUs: amount(0.00005, 0.001),
      frameBytes: amount(20, 80),
      fullWriteBytes: amount(writeBytesMax / 2, writeBytesMax),
    }),
  );

const anyDemand: fc.Arbitrary<Demand> = fc.record({
  lines: fc.integer({ min: 1, max: 50_000 }),
  eventsPerSecond: amount(0, 5_000),
  eventBytes: fc.integer({ min: 1, max: 60_000 }),
});

const more = amount(1, 3);

describe('a linear fit', () => {
  it('is found again, and misses nothing that lies on it', () => {
    fc.assert(
      fc.property(
        amount(-1e3, 1e3),
        amount(-1e6, 1e6),
        fc.uniqueArray(fc.integer({ min: 0, max: 1e5 }), { minLength: 3 }),
        (slope, intercept, xs) => {
          const model = fitLinear(xs.map((x) => ({ x, y: intercept + slope * x })));
          const scale = Math.abs(intercept) + Math.abs(slope) * 1e5 + 1;
          for (const x of [0, 17, 1e5])
            expect(Math.abs(valueAt(model, x) - (intercept + slope * x)) / scale).toBeLessThan(
              1e-9,
            );
          expect(model.slopeError * 1e5).toBeLessThan(scale * 1e-4);
        },
      ),
    );
  });

  it('is the less sure the farther from its points', () => {
    const model = fitLinear([10, 20, 30, 40].map((x, nth) => ({ x, y: x + (nth % 2) })));
    expect(predictionError(model, 25)).toBeGreaterThan(0);
    expect(predictionError(model, 400)).toBeGreaterThan(3 * predictionError(model, 25));
  });

  it('needs two different xs', () => {
    expect(() =>
      fitLinear([
        { x: 1, y: 1 },
        { x: 1, y: 2 },
      ]),
    ).toThrow(RangeError);
  });
});

describe('factors', () => {
  const anyRow = fc.array(amount(0, 10), { minLength: 3, maxLength: 3 });
  const anyRows = fc.array(anyRow, { minLength: 3, maxLength: 9 });

  it('are found again where the observations tell them', () => {
    fc.assert(
      fc.property(
        fc.array(amount(0, 100), { minLength: 3, maxLength: 3 }),
        anyRows,
        (factors, rows) => {
          // Rows that tell the effects apart: each effect has one where it is by far the largest.
          const telling = [...rows, [100, 0, 1], [1, 100, 0], [0, 1, 100]];
          const found = fitFactors(
            telling.map((effects) => ({ effects, outcome: sumOf(effects, factors), weight: 1 })),
          );
          factors.forEach((factor, nth) => expect(found[nth]).toBeCloseTo(factor, 6));
        },
      ),
    );
  });

  it('are never below 0, and no step from them fits better', () => {
    fc.assert(
      fc.property(
        anyRows,
        fc.array(amount(-50, 50), { minLength: 9, maxLength: 9 }),
        (rows, outcomes) => {
          const observations = rows.map((effects, nth) => ({
            effects,
            outcome: outcomes[nth]!,
            weight: 1,
          }));
          const error = (factors: readonly number[]): number =>
            observations.reduce(
              (sum, { effects, outcome }) => sum + (sumOf(effects, factors) - outcome) ** 2,
              0,
            );
          const found = fitFactors(observations);
          expect(Math.min(...found)).toBeGreaterThanOrEqual(0);
          for (let nth = 0; nth < 3; nth++) {
            for (const step of [-1e-3, 1e-3]) {
              const beside = found.map((factor, at) =>
                at === nth ? Math.max(0, factor + step) : factor,
              );
              expect(error(beside)).toBeGreaterThanOrEqual(error(found) - 1e-6);
            }
          }
        },
      ),
    );
  });
});

describe('the model', () => {
  it('adds up: what is done takes the time that it says', () => {
    fc.assert(
      fc.property(anyCosts, anyDemand, (costs, demand) => {
        const load = loadOf(costs, demand);
        const { lines, eventBytes } = demand;
        const events = Math.min(demand.eventsPerSecond, load.ceilingPerSecond);
        const silent = lines * Math.max(0, 1 / 15 - events);
        const us =
          load.writesPerSecond * writeUs(costs, lines, load.busyShare) +
          load.bytesPerSecond * costs.byteUs +
          events * (costs.idleEventUs * (1 - load.busyShare) + costs.busyEventUs * load.busyShare) +
          silent * costs.heartbeatUs;
        expect(load.busyShare).toBeLessThanOrEqual(1);
        if (load.busyShare < 1) expect(costs.idleShare + us / 1e6).toBeCloseTo(load.busyShare, 6);
        // Where sweeps follow one another what is left of the core is used up, but for rounding to
        // whole corks of large events.
        else if (wireBytes(costs, eventBytes) < costs.fullWriteBytes && silent === 0)
          expect(costs.idleShare + us / 1e6).toBeCloseTo(1, 3);
      }),
      { numRuns: 1000 },
    );
  });

  it('batches only from the point on where it is busy, and never past a cork', () => {
    fc.assert(
      fc.property(anyCosts, anyDemand, (costs, demand) => {
        const { batchEvents, batchingPerSecond, ceilingPerSecond } = loadOf(costs, demand);
        expect(batchEvents).toBeGreaterThanOrEqual(1);
        if (demand.eventsPerSecond > 0.1 && demand.eventsPerSecond < batchingPerSecond)
          expect(batchEvents).toBe(1);
        expect(batchEvents * wireBytes(costs, demand.eventBytes)).toBeLessThanOrEqual(
          Math.max(wireBytes(costs, demand.eventBytes), costs.fullWriteBytes) * (1 + 1e-9),
        );
        expect(batchingPerSecond).toBeLessThanOrEqual(ceilingPerSecond * (1 + 1e-9));
      }),
    );
  });

  it('is continuous where batching begins', () => {
    fc.assert(
      fc.property(anyCosts, anyDemand, (costs, demand) => {
        const at = loadOf(costs, demand).batchingPerSecond;
        const before = loadOf(costs, { ...demand, eventsPerSecond: at * 0.9999 });
        const after = loadOf(costs, {
          ...demand,
          eventsPerSecond: Math.min(at * 1.0001, before.ceilingPerSecond),
        });
        fc.pre(at > 0.1);
        expect(before.busyShare).toBeGreaterThan(0.99);
        expect(after.sweepMs / before.sweepMs).toBeGreaterThan(0.99);
        expect(after.sweepMs / before.sweepMs).toBeLessThan(1.01);
      }),
    );
  });

  it('is never less busy, nor done sooner, for more lines, more events or larger ones', () => {
    fc.assert(
      fc.property(
        anyCosts,
        anyDemand,
        more,
        fc.constantFrom('lines', 'eventsPerSecond', 'eventBytes'),
        (costs, demand, times, what) => {
          fc.pre(demand.eventsPerSecond > 0.1);
          const one = loadOf(costs, demand);
          const other = loadOf(costs, {
            ...demand,
            [what]: what === 'lines' ? Math.ceil(demand.lines * times) : demand[what] * times,
          });
          expect(other.busyShare).toBeGreaterThanOrEqual(one.busyShare * (1 - 1e-9));
          if (what !== 'eventsPerSecond')
            expect(other.ceilingPerSecond).toBeLessThanOrEqual(one.ceilingPerSecond * (1 + 1e-9));
          if (what === 'lines')
            expect(other.sweepMs).toBeGreaterThanOrEqual(one.sweepMs * (1 - 1e-9));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

const DEMANDS: readonly Demand[] = [
  { lines: 500, eventsPerSecond: 50, eventBytes: 512 },
  { lines: 3_000, eventsPerSecond: 20, eventBytes: 256 },
  { lines: 6_000, eventsPerSecond: 12, eventBytes: 1_000 },
  { lines: 10_000, eventsPerSecond: 30, eventBytes: 300 },
  { lines: 15_000, eventsPerSecond: 100, eventBytes: 256 },
];

/** Largest relative difference between what a fit and the truth say of a figure. */
function worst(
  truth: Truth,
  costs: Costs,
  figure: 'busyShare' | 'sweepMs' | 'ceilingPerSecond',
): number {
  return Math.max(
    ...DEMANDS.map((demand) =>
      Math.abs(loadOf(costs, demand)[figure] / loadOf(truth.costs, demand)[figure] - 1),
    ),
  );
}

describe('fitting a profile', () => {
  it('finds the costs of any machine again', () => {
    fc.assert(
      fc.property(anyCosts, (costs) => {
        const truth = { ...TRUTH, costs };
        const found = fitProfile(syntheticProfile(truth)).costs;
        for (const figure of ['busyShare', 'sweepMs', 'ceilingPerSecond'] as const)
          expect(worst(truth, found, figure)).toBeLessThan(0.02);
      }),
    );
  });

  it('is within 10 % of CPU, 25 % of sweeps and 50 % of ceilings when each figure is off by up to 5 %', () => {
    fc.assert(
      fc.property(fc.infiniteStream(amount(0.95, 1.05)), (factors) => {
        const fit = fitProfile(syntheticProfile(TRUTH, () => factors.next().value as number));
        expect(worst(TRUTH, fit.costs, 'busyShare')).toBeLessThan(0.1);
        expect(worst(TRUTH, fit.costs, 'sweepMs')).toBeLessThan(0.25);
        expect(worst(TRUTH, fit.costs, 'ceilingPerSecond')).toBeLessThan(0.5);
        for (const lines of [1_000, 10_000, 20_000]) {
          const working = TRUTH.workingBytes + TRUTH.workingSeconds * 100 * (1_000 + 1_024);
          const should = TRUTH.userBytes + lines * TRUTH.userBytesPerLine + working;
          expect(
            Math.abs(
              userBytesOf(fit, { lines, eventsPerSecond: 100, eventBytes: 1_000 }) / should - 1,
            ),
          ).toBeLessThan(0.05);
        }
        // What it says of its own error is neither nothing nor everything.
        expect(fit.cpuError).toBeGreaterThan(0.002);
        expect(fit.cpuError).toBeLessThan(0.12);
      }),
    );
  });

  it('tells what a process takes for what is published', () => {
    const fit = fitProfile(syntheticProfile());
    const at = (eventsPerSecond: number): number =>
      userBytesOf(fit, { lines: 5_000, eventsPerSecond, eventBytes: 1_000 });
    const idle = TRUTH.userBytes + 5_000 * TRUTH.userBytesPerLine;
    expect(at(0)).toBeCloseTo(idle, -1);
    expect(at(1_000) - idle).toBeCloseTo(
      TRUTH.workingBytes + TRUTH.workingSeconds * 1_000 * 2_024,
      -1,
    );
  });

  it('has no p99 below its p50, however windows scatter and however far it extrapolates', () => {
    fc.assert(
      fc.property(fc.infiniteStream(amount(1, 30)), (scatter) => {
        const profile = syntheticProfile();
        const windows = profile.windows.map((window): Window => {
          if (window.p50Ms === null) return window;
          const p50Ms = window.p50Ms * (scatter.next().value as number);
          return { ...window, p50Ms, p99Ms: p50Ms * (scatter.next().value as number) ** 0.1 };
        });
        const { p50, p99 } = fitProfile({ ...profile, windows });
        for (const sweepMs of [0, 1, 100, 10_000])
          expect(latencyMs(p99, sweepMs)).toBeGreaterThanOrEqual(latencyMs(p50, sweepMs));
      }),
    );
  });

  it('knows latency by sweeps, and halves what both ends take in the kernel', () => {
    const fit = fitProfile(syntheticProfile());
    expect(fit.p50.baseMs).toBeCloseTo(TRUTH.p50.baseMs, 1);
    expect(fit.p50.sweeps).toBeCloseTo(TRUTH.p50.sweeps, 2);
    expect(fit.p99.sweeps).toBeCloseTo(TRUTH.p99.sweeps, 2);
    expect(fit.kernel.slope).toBeCloseTo(TRUTH.kernelBytesPerLine, 0);
    expect(fit.acceptUs).toBeCloseTo(45, 6);
  });
});

/** Bytes that become a fifth, in blocks that take 20 µs, and 12 ns a byte. */
const FIFTH: Compression = {
  sizes: [
    { plainBytes: 200, bytes: 50 },
    { plainBytes: 3_200, bytes: 640 },
    { plainBytes: 51_200, bytes: 7_314 },
  ],
  blockUs: 20,
  plainByteUs: 0.012,
};

describe('compression', () => {
  it('has the ratio of the nearest sizes, between them by their logarithm, never below 1', () => {
    expect(ratioOf(FIFTH, 100)).toBe(4);
    expect(ratioOf(FIFTH, 200)).toBe(4);
    expect(ratioOf(FIFTH, 800)).toBeCloseTo(4.5, 6);
    expect(ratioOf(FIFTH, 3_200)).toBe(5);
    expect(ratioOf(FIFTH, 1e6)).toBeCloseTo(7, 2);
    expect(ratioOf({ ...FIFTH, sizes: [{ plainBytes: 200, bytes: 230 }] }, 500)).toBe(1);
    expect(blockUsOf(FIFTH, 1_000)).toBeCloseTo(32, 9);
    // Seven corks at three quarters of each, and never more than a slice.
    expect(plainBytesMax(FIFTH)).toBeCloseTo(0.75 * CORK_WRITE_BYTES_MAX * (51_200 / 7_314), 0);
    const tenth: Compression = { ...FIFTH, sizes: [{ plainBytes: 1_000, bytes: 80 }] };
    expect(plainBytesMax(tenth)).toBe(COMPRESS_SLICE_BYTES_MAX);
  });

  it('takes its times from the machine: a line through them, never below nothing', () => {
    const times = [200, 3_200, 51_200].map((plainBytes) => ({
      plainBytes,
      us: 20 + 0.012 * plainBytes,
    }));
    const found = compressionOf(FIFTH.sizes, times);
    expect(found.blockUs).toBeCloseTo(20, 6);
    expect(found.plainByteUs).toBeCloseTo(0.012, 9);
    expect(compressionOf(FIFTH.sizes, [{ plainBytes: 200, us: 7 }])).toMatchObject({
      blockUs: 7,
      plainByteUs: 0,
    });
  });

  it('that makes nothing smaller and takes no time changes nothing', () => {
    const nothing = { sizes: [{ plainBytes: 100, bytes: 100 }], blockUs: 0, plainByteUs: 0 };
    fc.assert(
      fc.property(anyCosts, anyDemand, (some, demand) => {
        const costs = { ...some, fullWriteBytes: plainBytesMax(nothing) };
        // A larger event is a write of several corks.
        fc.pre(demand.eventBytes < 4_000);
        const plain = loadOf(costs, demand);
        const packed = loadOf({ ...costs, compression: nothing }, demand);
        for (const figure of [
          'busyShare',
          'sweepMs',
          'bytesPerSecond',
          'ceilingPerSecond',
        ] as const)
          expect(packed[figure] / plain[figure] || 1).toBeCloseTo(1, 2);
      }),
    );
  });

  it('never writes more bytes, and writes as many events at once as a block of them has', () => {
    fc.assert(
      fc.property(anyCosts, anyDemand, (costs, demand) => {
        const plain = loadOf(costs, demand);
        const packed = loadOf({ ...costs, compression: FIFTH }, demand);
        if (plain.deliveriesPerSecond >= packed.deliveriesPerSecond)
          expect(packed.bytesPerSecond).toBeLessThanOrEqual(plain.bytesPerSecond * (1 + 1e-9));
        const plainBytes = costs.frameBytes + demand.eventBytes;
        const eventsMax = Math.max(1, plainBytesMax(FIFTH) / plainBytes);
        expect(packed.batchEvents).toBeLessThanOrEqual(eventsMax * 1.01);
        fc.pre(packed.deliveriesPerSecond > 1);
        const ratio = (packed.deliveriesPerSecond * plainBytes) / packed.bytesPerSecond;
        expect(ratio / ratioOf(FIFTH, packed.batchEvents * plainBytes)).toBeCloseTo(1, 2);
      }),
      { numRuns: 300 },
    );
  });

  it('takes the compressor once for an event, and not for each line', () => {
    const demand = { lines: 1_000, eventsPerSecond: 10, eventBytes: 256 };
    const free = { ...FIFTH, blockUs: 0, plainByteUs: 0 };
    const share = (compression: Compression): number =>
      loadOf({ ...TRUTH.costs, compression }, demand).busyShare;
    const us = blockUsOf(FIFTH, TRUTH.costs.frameBytes + 256);
    // Where the core is somewhat busy, a write costs a little less.
    expect((share(FIFTH) - share(free)) / ((10 * us) / 1e6)).toBeGreaterThan(0.8);
    expect((share(FIFTH) - share(free)) / ((10 * us) / 1e6)).toBeLessThanOrEqual(1 + 1e-9);
  });

  it('makes a block for each of more heads of a sweep while blocks are small', () => {
    expect(headsPerSweepOf(COMPRESS_SMALL_BYTES)).toBe(COMPRESS_SMALL_HEADS_PER_SWEEP);
    expect(headsPerSweepOf(COMPRESS_SMALL_BYTES + 1)).toBe(COMPRESS_HEADS_PER_SWEEP);
    // Sweeps follow one another, and a block of its own leads on from each of their events.
    const slow = { ...FIFTH, blockUs: 300, plainByteUs: 0 };
    const { costs } = TRUTH;
    const lines = 15_000;
    const eventsPerSecond = 400;
    const { batchEvents, bytesPerSecond } = loadOf(
      { ...costs, compression: slow },
      { lines, eventsPerSecond, eventBytes: 100 },
    );
    expect(batchEvents).toBeGreaterThan(COMPRESS_HEADS_PER_SWEEP);
    expect(batchEvents * (costs.frameBytes + 100)).toBeLessThan(COMPRESS_SMALL_BYTES);
    const writingUs =
      (lines * eventsPerSecond * writeUs(costs, lines, 1)) / batchEvents +
      bytesPerSecond * costs.byteUs;
    const leftUs = (1 - costs.idleShare) * 1e6 - writingUs - eventsPerSecond * costs.busyEventUs;
    expect(leftUs / eventsPerSecond / slow.blockUs).toBeCloseTo(1, 1);
  });

  it('of a sample is what the server would make of it', () => {
    const ticks = makeBlocks(marketTicks());
    expect(ticks.map(({ plainBytes }) => plainBytes)).toEqual(
      ticks.map(({ plainBytes }) => plainBytes).toSorted((one, other) => one - other),
    );
    const ratios = ticks.map(({ plainBytes, bytes }) => plainBytes / bytes);
    // docs/compression.md has 4.5 one by one and 7.4 in batches of 20, with the framing of chunks.
    expect(ratios[0]).toBeGreaterThan(4);
    expect(ratios[0]).toBeLessThan(6);
    expect(ratios.at(-1)).toBeGreaterThan(6.5);
    expect(ticks.every(({ us }) => us > 0)).toBe(true);
    let state = 7;
    const noise = Array.from({ length: 100 }, () =>
      Array.from({ length: 200 }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return String.fromCharCode(33 + ((state >>> 16) % 94));
      }).join(''),
    );
    const [one] = makeBlocks({ words: 'noise', isMadeUp: true, events: noise });
    expect(one!.plainBytes / one!.bytes).toBeLessThan(1.5);
  });

  it('of a sample that fills no dictionary begins with half of it as one', () => {
    const noise = Array.from({ length: 300 }, (_, nth) =>
      String.fromCharCode(33 + ((nth * nth * 31 + nth * 7) % 89)),
    ).join('');
    const [one] = makeBlocks({ words: 'twice', isMadeUp: true, events: [noise, noise] });
    expect(one!.plainBytes / one!.bytes).toBeGreaterThan(5);
  });

  it('of a file is judged by its rows', () => {
    const rows = Array.from({ length: 30 }, (_, nth) => `{"n":${nth}}`);
    const sample = sampleFile('events.txt', () => `${rows.join('\r\n')}\n\n`);
    expect([sample.events, sample.words]).toEqual([rows, 'the 30 events of events.txt']);
    expect(() => sampleFile('/nowhere/events')).toThrow(
      '--sample: "/nowhere/events" cannot be read',
    );
    expect(() => sampleFile('few', () => 'one\ntwo\n')).toThrow('at least 20 rows (got 2)');
  });
});

describe('what did not come', () => {
  const books = {
    published: 100,
    checkedClients: 2,
    checkedDelivered: 200,
    lost: 0,
    gaps: 0,
    doubled: 0,
    outOfOrder: 0,
    underWay: 0,
  };

  test.each<[what: string, seen: Partial<typeof books>, misses: ReturnType<typeof missesOf>]>([
    ['nothing', {}, { faults: 0, undelivered: 0 }],
    [
      'the last events of a checked client',
      { lost: 7, checkedDelivered: 193, underWay: 7 },
      { faults: 0, undelivered: 7 },
    ],
    [
      'an event in the middle, and the last ones',
      { lost: 7, checkedDelivered: 193, underWay: 6 },
      { faults: 1, undelivered: 6 },
    ],
    ['events of clients whose bytes are counted', { lost: 11 }, { faults: 0, undelivered: 11 }],
    ['a gap that was told of', { lost: 9, gaps: 1 }, { faults: 0, undelivered: 0 }],
    ['twice, and in disorder', { doubled: 2, outOfOrder: 3 }, { faults: 5, undelivered: 0 }],
  ])('%s', (_, seen, misses) => {
    expect(missesOf({ ...books, ...seen }, false)).toEqual(misses);
  });

  it('is not known where nobody waited for it', () => {
    const seen = { ...books, lost: 7, checkedDelivered: 193, doubled: 1 };
    expect(missesOf(seen, true)).toEqual({ faults: 1, undelivered: 0 });
  });

  it('is late in one sentence, and wrong in another', () => {
    const [window] = syntheticProfile().windows;
    const late = remarksOn([{ ...window!, undelivered: 11 }], true).join('\n');
    expect(late).toMatch(/^11 of [\d,]+ deliveries had not come when their run ended/);
    expect(late).not.toContain('wrong');
    expect(remarksOn([{ ...window!, faults: 2 }], true)).toEqual([
      '2 deliveries were skipped, doubled or out of order: something is wrong',
    ]);
    expect(remarksOn([window!], true)).toEqual([]);
  });
});

const LIMITS: Limits = {
  cores: 2,
  memoryBytes: 8 * 2 ** 30,
  fileLimit: 20_000,
  fileCeiling: 1_048_576,
  portRange: [32_768, 60_999],
  tcpMemoryBytes: [2 ** 30, 2 ** 31, 3 * 2 ** 30],
  linkBitsPerSecond: 1e9,
};
const REQUEST: Request = { subscribers: 10_000, eventsPerSecond: 10, eventBytes: 256, p99Ms: 250 };
const FIT = fitProfile(syntheticProfile());
const GRANTED_BYTES = 131_072;

function planFor(request: Partial<Request> = {}, limits: Partial<Limits> = {}): Plan {
  return makePlan(FIT, { ...LIMITS, ...limits }, GRANTED_BYTES, { ...REQUEST, ...request });
}

function linesOf(plan: Plan, name: Plan['bound']): number | undefined {
  return plan.limits.find((row) => row.name === name)?.lines;
}

function raiseOf(plan: Plan, name: Plan['bound']): string | undefined {
  return plan.limits.find((row) => row.name === name)?.raise;
}

describe('a plan', () => {
  const anyRequest: fc.Arbitrary<Request> = fc.record({
    subscribers: fc.integer({ min: 1, max: 2_000_000 }),
    eventsPerSecond: amount(0.01, 2_000),
    eventBytes: fc.integer({ min: 1, max: 60_000 }),
    p99Ms: fc.integer({ min: 10, max: 10_000 }),
  });
  const memoryOf = ({ processes, userBytes, kernelBytes }: Plan): number =>
    processes * (userBytes.value + kernelBytes.value);

  it('never takes fewer processes, machines or bytes for more of anything', () => {
    fc.assert(
      fc.property(
        anyRequest,
        more,
        fc.constantFrom('subscribers', 'eventsPerSecond', 'eventBytes'),
        (request, times, what) => {
          const one = planFor(request);
          const other = planFor({ ...request, [what]: Math.ceil(request[what] * times) });
          // A limit that not one line keeps to is planned without, which makes plans of either side
          // incomparable.
          fc.pre(
            [one, other].every(({ limits }) =>
              limits.every(({ lines, always }) => !always || lines > 0),
            ),
          );
          expect(other.processes).toBeGreaterThanOrEqual(one.processes);
          expect(other.machines).toBeGreaterThanOrEqual(one.machines);
          expect(memoryOf(other)).toBeGreaterThanOrEqual(memoryOf(one) * (1 - 1e-9));
          expect(other.linesPerProcess).toBeLessThanOrEqual(one.linesPerProcess);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves a core free, and puts a process on each of the others', () => {
    const big: Partial<Limits> = { cores: 4, fileLimit: 20_164, linkBitsPerSecond: 1e11 };
    const plan = planFor({ subscribers: 100_000, p99Ms: 60_000 }, big);
    expect([plan.linesPerProcess, plan.linesPerMachine, plan.machines]).toEqual([
      20_000, 60_000, 2,
    ]);
    expect([plan.processes, plan.lines, plan.processesPerMachine]).toEqual([5, 20_000, 3]);
    expect(planFor({ subscribers: 40_001, p99Ms: 60_000 }, big).processes).toBe(3);
  });

  it('carries everyone, each process within its limits', () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        const plan = planFor(request);
        expect(plan.lines * plan.processes).toBeGreaterThanOrEqual(request.subscribers);
        expect(plan.lines).toBeLessThanOrEqual(plan.linesPerProcess);
        expect(plan.machines * plan.linesPerMachine).toBeGreaterThanOrEqual(request.subscribers);
        for (const { value, plusMinus, beyond } of [
          plan.userBytes,
          plan.cpuShare,
          plan.p99Ms,
          plan.egressBytesPerSecond,
        ]) {
          expect(value).toBeGreaterThanOrEqual(0);
          expect(plusMinus).toBeGreaterThan(0);
          expect(beyond).toBeGreaterThanOrEqual(1);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('names the limit that binds first, and what raises it', () => {
    const files = planFor({}, { fileLimit: 1_164 });
    expect([files.processBound, files.linesPerProcess, files.processes]).toEqual([
      'open files',
      1_000,
      10,
    ]);
    expect(raiseOf(files, 'open files')).toContain('ulimit -n 10164');
    expect(raiseOf(planFor({ subscribers: 2_000_000 }), 'open files')).toContain(
      'sysctl -w fs.nr_open=2000164',
    );
    expect(planFor({ p99Ms: 20 }).bound).toBe('latency');
    expect(planFor({ eventsPerSecond: 100, p99Ms: 60_000 }, { fileLimit: 1_000_000 }).bound).toBe(
      'network link',
    );
    expect(
      planFor({ eventsPerSecond: 2_000, p99Ms: 60_000 }, { linkBitsPerSecond: 1e13 }).bound,
    ).toBe('CPU');
    expect(
      planFor(
        { subscribers: 100_000, p99Ms: 60_000 },
        { memoryBytes: 200 * 2 ** 20, fileLimit: 1e6, linkBitsPerSecond: 1e12 },
      ).bound,
    ).toBe('memory');
  });

  it('allows lines in proportion to files, ports and TCP memory', () => {
    const plan = planFor();
    expect(linesOf(plan, 'open files')).toBe(20_000 - 164);
    expect(linesOf(plan, 'behind one proxy: ports')).toBe(28_232);
    expect(linesOf(plan, 'all stalled: TCP memory')).toBe(2 ** 31 / GRANTED_BYTES);
    expect(
      linesOf(planFor({}, { fileLimit: undefined, portRange: undefined } as never), 'open files'),
    ).toBeUndefined();
  });

  it('says where it extrapolates, and is less sure there', () => {
    const near = planFor();
    const far = planFor(
      { subscribers: 30_000, p99Ms: 2_000 },
      { fileLimit: 100_000, linkBitsPerSecond: 1e10 },
    );
    expect(near.userBytes.beyond).toBe(1);
    expect(near.remarks.join()).not.toContain('extrapolated');
    expect(far.userBytes.beyond).toBeCloseTo(3, 6);
    expect(far.cpuShare.plusMinus).toBeGreaterThan(2.5 * near.cpuShare.plusMinus);
    expect(far.remarks.join()).toContain('extrapolated ×3.0');
  });

  it('goes on without a limit that nothing keeps to, and says so', () => {
    const plan = planFor({ p99Ms: 1 });
    expect(plan.bound).not.toBe('latency');
    expect(plan.remarks[0]).toMatch(/^latency: not even one line stays within p99 ≤ 1 ms/);
  });

  it('has lines back no sooner than clients come: after --retry, spread over the time it takes', () => {
    const seconds = (lines: number): number =>
      planFor({ subscribers: lines, p99Ms: 60_000 }, { linkBitsPerSecond: 1e12 }).comeBackSeconds
        .value;
    expect(seconds(1)).toBeGreaterThanOrEqual(3);
    expect(seconds(10_000)).toBeGreaterThanOrEqual(3 + 2);
    expect(seconds(10_000)).toBeGreaterThanOrEqual(3 + 10_000 / FIT.acceptsPerSecond);
  });

  it('says how an event reaches several processes, and several machines', () => {
    const remarks = (cores: number, subscribers: number): string =>
      planFor({ subscribers, p99Ms: 60_000 }, { cores, linkBitsPerSecond: 1e12 }).remarks.join(
        '\n',
      );
    expect(remarks(2, 1_000)).not.toMatch(/--workers|--log nats/);
    expect(remarks(8, 60_000)).toContain('holdline serve --workers');
    expect(remarks(8, 60_000)).not.toContain('--log nats');
    expect(remarks(2, 60_000)).not.toContain('--workers');
    expect(remarks(2, 60_000)).toContain('--log nats');
  });

  it('has its latency rise where p99 doubles or the core is busy, below the ceiling', () => {
    const plan = planFor();
    const at = (eventsPerSecond: number): Plan => planFor({ eventsPerSecond });
    expect(plan.kneePerSecond.value).toBeGreaterThan(0);
    expect(plan.kneePerSecond.value).toBeLessThan(plan.ceilingPerSecond.value);
    expect(at(plan.kneePerSecond.value * 0.99).load.busyShare).toBeLessThanOrEqual(0.8);
    expect(at(plan.kneePerSecond.value * 1.02).load.busyShare).toBeGreaterThan(0.8);
  });
});

describe('a plan with and without compression', () => {
  const BLOCKS = [
    { plainBytes: 250, us: 23 },
    { plainBytes: 4_000, us: 68 },
  ];
  const compressed = compressedFit(FIT, { ...syntheticProfile(), blocks: BLOCKS }, marketTicks())!;
  const choiceFor = (request: Partial<Request>, limits: Partial<Limits> = {}, fit = compressed) =>
    chooseCompression(
      planFor(request, limits),
      makePlan(fit, { ...LIMITS, ...limits }, GRANTED_BYTES, { ...REQUEST, ...request }),
      'market ticks',
    );

  it('takes a fraction of the bandwidth, packets included, and about the CPU', () => {
    const { choose, off, shared, why } = choiceFor({});
    expect(choose).toBe('shared');
    // Of 292 bytes become about 60, and packets add 98 to either.
    expect(off.egressBytesPerSecond / shared.egressBytesPerSecond).toBeGreaterThan(2);
    expect(off.egressBytesPerSecond / shared.egressBytesPerSecond).toBeLessThan(3.5);
    expect(shared.cpuShare).toBeLessThan(off.cpuShare + 0.05);
    expect(why).toMatch(
      /^egress is [\d.]+ times less, CPU [\d.]+ % of a core in place of [\d.]+ %$/,
    );
  });

  it('takes fewer machines where the network is the limit', () => {
    const { choose, off, shared, why } = choiceFor(
      { subscribers: 40_000, eventsPerSecond: 30, p99Ms: 60_000 },
      { fileLimit: 1e6 },
    );
    expect(off.machines).toBeGreaterThan(shared.machines);
    expect([choose, why.startsWith('with shared compression ')]).toEqual(['shared', true]);
  });

  it('is not chosen for what does not become smaller, nor for a compressor that takes the core', () => {
    const same = {
      ...FIT,
      costs: { ...FIT.costs, compression: { ...FIFTH, sizes: [{ plainBytes: 300, bytes: 290 }] } },
    };
    expect(choiceFor({}, {}, same)).toMatchObject({
      choose: 'off',
      why: expect.stringMatching(/^such events hardly become smaller/) as string,
    });
    const slow = { ...FIT, costs: { ...FIT.costs, compression: { ...FIFTH, blockUs: 15_000 } } };
    expect(choiceFor({}, {}, slow)).toMatchObject({
      choose: 'off',
      why: expect.stringContaining('where egress costs more than CPU') as string,
    });
  });

  it('stands in the table and in the page', () => {
    const report = reportOf(syntheticProfile(), FIT, planFor(), [], choiceFor({}));
    expect(tableOf(report)).toMatch(/bandwidth per process, compress off \| shared/);
    expect(tableOf(report)).toContain('--compress shared');
    expect(htmlReport(report)).toContain('compress off | shared');
    const own = reportOf(syntheticProfile(), compressed, planFor());
    expect(htmlReport(own)).toContain('compressing one event, once for all lines');
    // The windows have plain lines.
    expect(own.windows).toEqual(report.windows);
  });

  it('says what windows with compressed lines showed, beside what is computed for them', () => {
    const profile = syntheticProfile();
    const window = profile.windows.at(8)!;
    // Each event is a block of its own, a fifth of its size, and takes 30 µs.
    const plainBytes = TRUTH.costs.frameBytes + window.eventBytes;
    const blocksPerSecond = window.acceptedPerSecond;
    const packed = {
      ...window,
      writtenBytesPerSecond: window.deliveriesPerSecond * (plainBytes / 5),
      blocksPerSecond,
      compressedPlainBytesPerSecond: blocksPerSecond * plainBytes,
      compressedBytesPerSecond: (blocksPerSecond * plainBytes) / 5,
      compressorShare: blocksPerSecond * 30e-6,
    };
    const [words] = measuredCompression({ ...profile, compressed: [packed] }, FIT);
    expect(words).toMatch(
      /^measured with 10,000 compressed lines at [\d.]+ events\/s of 1 KiB: 212 B a delivery, CPU [\d.]+ % of a core \([\d.]+ % computed\), [\d.]+ % of it the compressor$/,
    );
    expect(measuredCompression(profile, FIT)).toEqual([]);
    const kept = { ...profile, compressed: [packed] };
    expect(loadProfile('kept.json', () => JSON.stringify(kept)).compressed).toEqual([packed]);
  });

  it('is not known of WebSockets, and of a profile of before', () => {
    const old = syntheticProfile();
    expect(compressedFit(FIT, old, marketTicks())).toBeUndefined();
    expect(whyNotCompressed(old)).toMatch(/^the profile is older/);
    const ws = { ...old, transport: 'ws' as const, blocks: BLOCKS };
    expect(compressedFit(FIT, ws, marketTicks())).toBeUndefined();
    expect(whyNotCompressed(ws)).toMatch(/^WebSockets are not compressed/);
  });
});

describe('a kept profile', () => {
  const profile = syntheticProfile();
  const read = (value: unknown): ReturnType<typeof loadProfile> =>
    loadProfile('kept.json', () => JSON.stringify(value));

  it('comes back as it was', () => {
    expect(read(profile)).toEqual(JSON.parse(JSON.stringify(profile)));
  });

  test.each([
    ['another schema', { ...profile, schema: 2 }, 'has schema 2, and this version reads 1'],
    ['something else', { connections: 5 }, 'is not a profile'],
    [
      'a number that is none',
      { ...profile, windows: profile.windows.map((window) => ({ ...window, lines: '5' })) },
      'is damaged: /windows/0/lines',
    ],
    ['too little', { ...profile, memory: [] }, 'is damaged: /memory'],
    [
      'blocks that are none',
      { ...profile, blocks: [{ us: 1 }] },
      'is damaged: /blocks/0/plainBytes',
    ],
  ])('is refused when it is %s', (_, value, words) => {
    expect(() => read(value)).toThrow(words);
    expect(() => read(value)).toThrow(
      expect.objectContaining({ code: 'HOLDLINE_BAD_OPTION' }) as Error,
    );
  });

  it('is refused when it cannot be read or is no JSON', () => {
    expect(() => loadProfile('/nowhere/kept.json')).toThrow(
      '--profile: "/nowhere/kept.json" cannot be read',
    );
    expect(() => loadProfile('kept.json', () => '{')).toThrow('is not JSON');
  });
});

describe('options', () => {
  const parse = (line: string, fileLimit: number | undefined = 20_000) =>
    parseCapacityOptions(line === '' ? [] : line.split(' '), { env: {}, fileLimit }).values;

  it('have defaults that follow the machine', () => {
    expect(parse('')).toMatchObject({
      subscribers: undefined,
      eventsPerSecond: 10,
      eventBytes: 256,
      p99Ms: 250,
      budgetMs: 60_000,
    });
    expect(linesToMeasure(parse(''), 20_000)).toBe(10_000);
    expect(linesToMeasure(parse(''), 1_164)).toBe(1_000);
    expect(linesToMeasure(parse(''), undefined)).toBe(10_000);
    expect(linesToMeasure(parse('--lines 15000'), 20_000)).toBe(15_000);
  });

  it('plan for no more subscribers than a process holds: containers may have a billion files', () => {
    expect(
      [20_000, 1_073_741_816, Infinity, undefined].map((limit) => connectionsUnder(limit)),
    ).toEqual([19_836, 1_000_000, 1_000_000, 10_000]);
  });

  it('take rates below one a second', () => {
    expect(parse('--rate 0.05').eventsPerSecond).toBe(0.05);
    for (const rate of ['0', '-1', '1e3', '1000000', '.5'])
      expect(() => parse(`--rate=${rate}`)).toThrow('--rate');
  });

  it('are refused where they contradict each other or the machine', () => {
    for (const unused of ['--save a', '--transport ws', '--lines 500', '--budget 30s'])
      expect(() => parse(`${unused} --profile b`)).toThrow(
        `${unused.split(' ')[0]}: --profile was given, too, and then nothing is measured`,
      );
    expect(() => parse('--compress shared --transport ws')).toThrow(
      'WebSockets are not compressed',
    );
    expect(() => parse('--lines 20000')).toThrow('which is 19836: raise the file limit');
  });

  it('leave a variable that says what the server does alone where nothing is compressed', () => {
    const env = { HOLDLINE_COMPRESS: 'shared' };
    const parsed = (...args: string[]) => parseCapacityOptions(args, { env, fileLimit: 20_000 });
    expect(parsed().values.compress).toBe('shared');
    const ws = parsed('--transport', 'ws');
    expect(ws.values.compress).toBe('off');
    expect(compressionFlag(ws.values, ws.given)).toBeUndefined();
    const kept = parsed('--profile', 'b', '--sample', 'c');
    expect(compressionFlag(kept.values, kept.given)).toBe('--sample');
    expect(() => parse('--transport ws --sample c')).toThrow('--sample: WebSockets are not');
  });

  it('leave the file of a variable alone where nothing is measured', () => {
    const env = { HOLDLINE_SAVE: 'mine.json' };
    const saved = (...args: string[]) =>
      parseCapacityOptions(args, { env, fileLimit: 20_000 }).values.saveFile;
    expect(saved()).toBe('mine.json');
    expect(saved('--profile', 'other.json')).toBeUndefined();
    expect(saved('--profile', 'mine.json')).toBeUndefined();
  });

  it('give a kept profile another send buffer, as the kernel grants it', () => {
    const profile = syntheticProfile();
    const buffer = (line: string) => withBuffer(profile, parse(`--profile b ${line}`.trim()));
    expect(buffer('')).toEqual(profile);
    expect(buffer('--socket-send-buffer 16KiB').sendBufferBytes).toBe(32 * 1024);
    expect(buffer('--socket-send-buffer 0').sendBufferBytes).toBeNull();
    expect(bufferToMeasure(parse(''))).toBe(64 * 1024);
    expect(bufferToMeasure(parse('--socket-send-buffer 0'))).toBe(0);
  });
});

describe('the report', () => {
  const profile = {
    ...syntheticProfile(),
    machine: '<script>alert(1)</script>',
    remarks: ['one & "two"'],
  };
  const report = reportOf(
    profile,
    FIT,
    planFor({ subscribers: 30_000, p99Ms: 2_000 }, { fileLimit: 100_000 }),
  );

  it('begins with a sentence, and has the margin of error of each figure', () => {
    const text = tableOf(report);
    expect(text.split('\n')[0]).toBe(
      '30,000 subscribers at 10 events/s of 256 B: 2 processes on 2 machines like this one; first limit: network link.',
    );
    expect(text).toContain('extrapolated ×1.5');
    expect(text).toContain('ulimit -n 200000');
  });

  it('is a page that escapes what comes from outside', () => {
    const page = htmlReport(report);
    expect(page).toContain('&lt;script&gt;alert(1)');
    expect(page).not.toContain('<script>alert(1)');
    expect(page).toContain('One &amp; ');
  });

  it('is JSON without holes', () => {
    const back = JSON.parse(JSON.stringify(report)) as CapacityReport;
    expect(JSON.stringify(back)).not.toContain('"value":null');
    expect(back).toEqual(report);
  });

  it('does not show a margin that says nothing', () => {
    expect(sureness({ value: 1, plusMinus: 0.123, beyond: 1 })).toBe('± 12 %');
    expect(sureness({ value: 1, plusMinus: 0.5, beyond: 2.04 })).toBe('± 50 %, extrapolated ×2.0');
    expect(sureness({ value: 1, plusMinus: 40, beyond: 1 })).toBe('very uncertain');
  });
});

describe('cores', () => {
  test.each([
    ['0-3', [0, 1, 2, 3]],
    ['0', [0]],
    ['1,4-5,9', [1, 4, 5, 9]],
    ['', []],
  ])('%j are %j', (list, cores) => {
    expect(coresIn(list)).toEqual(cores);
  });
});
