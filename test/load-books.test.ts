/**
 * The books of `holdline load`: who was given what, how the parts of several processes add up, and
 * which client is of which kind.
 */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { bottlenecksIn } from '../src/tools/load/run/bottlenecks.js';
import { booksOf, type Part } from '../src/tools/load/books/books.js';
import {
  addPacked,
  createHistogram,
  packHistogram,
  percentileMs,
  recordUs,
} from '../src/tools/load/books/histogram.js';
import { isReportedLost, Ledger } from '../src/tools/load/books/ledger.js';
import { nowUs } from '../src/tools/load/books/clock.js';
import { Slicer, type Slice } from '../src/tools/load/books/slicer.js';
import { countIn, isIn, NO_MIX, roleOf, type Role } from '../src/tools/load/clients/mix.js';
import { Published } from '../src/tools/load/books/published.js';
import { Seconds } from '../src/tools/load/books/seconds.js';
import { Random } from './support/random.js';

const SEED = 20_261_123;

describe('a ledger', () => {
  it('counts what was doubled and out of order, for each client and over all', () => {
    const ledger = new Ledger(3, 10);
    // The first client has everything, though ids do not rise with sequences: two publishers
    // overtook each other.
    for (const [index, sequence] of [0, 1, 3, 2, 4, 5, 6, 7, 8].entries())
      ledger.deliver(0, 100 + index, sequence, 1000, 3000);
    expect([ledger.delivered, ledger.doubled, ledger.outOfOrder]).toEqual([9, 0, 0]);
    // The second has one twice, two in the wrong order, and not all.
    for (const [id, sequence] of [
      [100, 0],
      [102, 3],
      [101, 1],
      [102, 3],
    ] as const) {
      ledger.deliver(1, id, sequence, 1000, 5000);
    }
    expect([ledger.delivered, ledger.doubled, ledger.outOfOrder, ledger.sequencesSeen]).toEqual([
      12, 1, 1, 9,
    ]);
    expect([0, 1, 2].map((row) => ledger.deliveredTo(row))).toEqual([9, 3, 0]);
    expect([0, 1, 2].map((row) => ledger.doubledTo(row))).toEqual([0, 1, 0]);
    expect([0, 1, 2].map((row) => ledger.outOfOrderTo(row))).toEqual([0, 1, 0]);
    expect([...ledger.seenByAny]).toEqual([0b1111_1111, 0b1]);
    expect(ledger.latencyUs.totalCount).toBe(12);
    expect(ledger.latencyUs.getValueAtPercentile(50)).toBe(2000);
    expect(ledger.secondUs.totalCount).toBe(12);
  });

  it('takes the order from that of the publishing where ids are no numbers', () => {
    const ledger = new Ledger(1, 10);
    for (const sequence of [0, 1, 4, 3, 5]) ledger.deliver(0, Number.NaN, sequence, 0, 0);
    expect(ledger.outOfOrder).toBe(1);
  });

  it('refuses an event that is none of the round', () => {
    expect(() => new Ledger(1, 2).deliver(0, 5, 2, 0, 0)).toThrow(/none of the run: number 2$/);
  });

  it('tells what is missing within gaps from what is missing without one', () => {
    const ledger = new Ledger(2, 20);
    const published = new Published(20);
    for (let sequence = 0; sequence < 20; sequence++) published.add(sequence, 100 + sequence);
    for (const sequence of [0, 1, 2, 9, 12, 13]) ledger.deliver(1, 100 + sequence, sequence, 0, 0);
    // Ids 103 to 108 are missing before the first end, and 110, 111 and 114 to 119.
    expect(ledger.lostInGaps(1, [{ after: 102, before: 109 }], published)).toBe(6);
    expect(ledger.lostInGaps(1, [{ after: 102, before: 105 }], published)).toBe(2);
    expect(ledger.lostInGaps(1, [{ after: 105, before: null }], published)).toBe(3 + 2 + 6);
    expect(
      ledger.lostInGaps(
        1,
        [
          { after: null, before: 104 },
          { after: 118, before: 120 },
        ],
        published,
      ),
    ).toBe(2);
    expect(ledger.lostInGaps(1, [{ after: 100, before: 103 }], published)).toBe(0);
    expect(ledger.lostInGaps(0, [{ after: null, before: null }], published)).toBe(20);
  });

  it('reports the latencies of its window, and from the answer to each delivery', () => {
    const ledger = new Ledger(2, 4, { fromUs: 1000, untilUs: 3000 });
    for (const row of [0, 1])
      for (const sequence of [0, 1, 2])
        ledger.deliver(row, 100 + sequence, sequence, 1000 * sequence, 1000 * sequence + 500 + row);
    expect([ledger.latencyUs.totalCount, ledger.latencyUs.maxValue]).toEqual([4, 501]);
    // The second answer came behind the event, the last before the window.
    const histogram = ledger.acceptToDeliverUs(new Float64Array([900, 1400, 2600, 0]));
    expect([histogram.totalCount, histogram.minNonZeroValue, histogram.maxValue]).toEqual([
      4, 1, 101,
    ]);
  });

  it('tells what is late from what is lost, and finds events under another id', () => {
    const ledger = new Ledger(2, 4, { fromUs: 0, untilUs: 1 });
    const published = new Published(4, true);
    for (let sequence = 0; sequence < 4; sequence++) published.add(sequence, 100 + sequence);
    for (const sequence of [0, 2]) ledger.deliver(0, 100 + sequence, sequence, 0, 0);
    expect([ledger.underWayTo(0, published), ledger.underWayTo(1, published)]).toEqual([1, 4]);
    expect(ledger.idMismatches(published.ids)).toBe(0);
    ledger.deliver(1, 105, 2, 0, 0);
    ledger.deliver(1, 107, 3, 0, 0);
    expect(ledger.idMismatches(published.ids)).toBe(2);
  });

  it('knows no gap for an event without an id', () => {
    expect(isReportedLost([{ after: null, before: null }], Number.NaN)).toBe(false);
  });
});

describe('what was published', () => {
  it('is what was answered and what was seen, each once', () => {
    const published = new Published(20);
    published.add(3, 103);
    published.add(3, 103);
    published.addBits(new Uint8Array([0b1000_1000, 0, 0b1000]));
    expect(published.count).toBe(3);
    expect([2, 3, 7, 19].map((sequence) => published.has(sequence))).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect([published.ids[3], published.ids[7]]).toEqual([103, Number.NaN]);
    // The answer comes after the event.
    published.add(7, 107);
    expect([published.count, published.ids[7]]).toEqual([3, 107]);
  });
});

describe('histograms', () => {
  it('are the same after a journey, and add up', () => {
    const random = new Random(SEED);
    const [one, other, all, arrived] = [
      createHistogram(),
      createHistogram(),
      createHistogram(),
      createHistogram(),
    ];
    for (let nth = 0; nth < 20_000; nth++) {
      const us = Math.round(Math.exp(random.between(0, 1_500_000) / 100_000));
      recordUs(nth % 3 === 0 ? one : other, us);
      recordUs(all, us);
    }
    addPacked(arrived, packHistogram(one));
    addPacked(arrived, packHistogram(other));
    for (const percentile of [0, 1, 50, 90, 99, 99.9, 100]) {
      expect(percentileMs(arrived, percentile), `seed ${SEED}, percentile ${percentile}`).toBe(
        percentileMs(all, percentile),
      );
    }
    expect(arrived.totalCount).toBe(20_000);
    addPacked(arrived, packHistogram(createHistogram()));
    expect(arrived.totalCount).toBe(20_000);
  });
});

const PART: Part = {
  checked: {
    clients: 2,
    delivered: 18,
    gapLost: 1,
    doubled: 3,
    outOfOrder: 4,
    losers: 1,
    doublers: 2,
    disordered: 1,
    mostLost: 1,
    underWay: 2,
    idMismatches: 1,
    wireBytes: 100,
    deliveringShare: 0.5,
    leastDelivered: 8,
    leastWireBytes: 40,
  },
  counted: {
    clients: 3,
    delivered: 25,
    gapLost: 2,
    losers: 1,
    mostLost: 3,
    unplaced: 1,
    disordered: 3,
    unread: 1,
  },
  uncompressed: 4,
  gaps: 5,
  slow: { clients: 1, delivered: 7, gaps: 2, cutOff: 1 },
  stalled: { clients: 4, cutOff: 3 },
  packedUs: packHistogram(createHistogram()),
  packedAcceptToDeliverUs: packHistogram(createHistogram()),
  herd: { clients: 5, back: 4, backAtUs: 10, caughtUpAtUs: 30 },
  lagMs: { p99: 1, max: 2 },
  cutOff: [
    ['slow', 2],
    ['gone', 1],
  ],
};

describe('the books of a round', () => {
  it('are the sum of the parts, and what is missing is lost', () => {
    const { latencyUs, acceptToDeliverUs, ...books } = booksOf(
      [
        PART,
        {
          ...PART,
          herd: { clients: 3, back: 3, backAtUs: 20, caughtUpAtUs: 20 },
          packedAcceptToDeliverUs: undefined,
          cutOff: [['gone', 5]],
        },
      ],
      10,
    );
    expect([latencyUs.totalCount, acceptToDeliverUs.totalCount]).toEqual([0, 0]);
    expect(books).toEqual({
      published: 10,
      expected: 100,
      delivered: 86,
      gapLost: 6,
      lost: 8,
      doubled: 6,
      outOfOrder: 14,
      gaps: 10,
      checkedClients: 4,
      checkedDelivered: 36,
      underWay: 4,
      idMismatches: 2,
      countedLosers: 2,
      deliveringShare: 0.5,
      countedClients: 6,
      unplacedClients: 2,
      unreadClients: 2,
      uncompressedLines: 8,
      losers: 4,
      doublers: 4,
      disordered: 2,
      mostLost: 3,
      herd: { clients: 8, back: 7, backAtUs: 20, caughtUpAtUs: 30 },
      mix: {
        slow: { clients: 2, delivered: 14, gaps: 4, cutOff: 2 },
        stalled: { clients: 8, cutOff: 6 },
      },
      cutOff: new Map([
        ['slow', 2],
        ['gone', 6],
      ]),
    });
  });
});

describe('seconds', () => {
  const slice = (second: number, delivered: number, ...latencies: number[]): Slice => {
    const histogram = createHistogram(2);
    for (const us of latencies) recordUs(histogram, us);
    return {
      second,
      delivered,
      bytes: delivered * 10,
      packedUs: packHistogram(histogram),
      busyShare: delivered / 100,
    };
  };

  it('are those of all processes together, in order, with empty ones where nobody told', () => {
    const seconds = new Seconds(2);
    expect(seconds.newest).toBeUndefined();
    seconds.add(0, slice(0, 3, 1000, 1000, 1000));
    expect(seconds.newest).toBeUndefined();
    seconds.add(1, slice(0, 1, 9000));
    expect(seconds.newest).toEqual({
      deliveries: 4,
      bytes: 40,
      // Two digits of a time are kept: the most it may be, within its hundredth.
      p50Ms: 1.003,
      p99Ms: 9.023,
      maxMs: 9.023,
      busyShares: [0.03, 0.01],
    });
    const [first] = [seconds.newest];
    seconds.add(1, slice(2, 5));
    expect(seconds.end()).toEqual([
      first,
      { deliveries: 0, bytes: 0, p50Ms: null, p99Ms: null, maxMs: null, busyShares: [0, 0] },
      { deliveries: 5, bytes: 50, p50Ms: null, p99Ms: null, maxMs: null, busyShares: [0, 0.05] },
    ]);
  });

  it('have what a process reports of the same second again, until all have passed it', () => {
    const seconds = new Seconds(2);
    seconds.add(0, slice(3, 5));
    seconds.add(0, slice(3, 7));
    expect(seconds.newest).toBeUndefined();
    seconds.add(1, slice(2, 1));
    seconds.add(1, slice(4, 1));
    expect(seconds.newest).toMatchObject({ deliveries: 12 });
    seconds.add(0, slice(4, 2));
    expect(seconds.end().map(({ deliveries }) => deliveries)).toEqual([0, 0, 1, 12, 3]);
  });
});

describe('a process that is held up', () => {
  const START_MS = 50_000;
  let nowMs = START_MS;

  /** What a process reports that is given an event each ms; its timers may be fast or slow. */
  function slicing(timerMs = 1) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    nowMs = START_MS;
    const originUs = nowUs() - performance.now() * 1000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const slices: Slice[] = [];
    const slicer = new Slicer(
      originUs + START_MS * 1000,
      () => ({ delivered: Math.round(nowMs - START_MS), bytes: 0, cpuSeconds: 0 }),
      createHistogram(2),
      (slice) => slices.push(slice),
    );
    const runTo = (ms: number): void => {
      for (; nowMs < START_MS + ms; nowMs++) vi.advanceTimersByTime(timerMs);
      nowMs = START_MS + ms;
    };
    const hold = (ms: number): void => {
      nowMs += ms;
      vi.advanceTimersByTime(ms);
    };
    return { slices, slicer, runTo, hold };
  }

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  it('reports everything once, and each second but the last once', () => {
    const { slices, slicer, runTo, hold } = slicing();
    runTo(1450);
    hold(1200);
    runTo(4030);
    slicer.end();
    expect(slices.map(({ second }) => second)).toEqual([0, 1, 2, 3, 3]);
    const seconds = new Seconds(1);
    for (const slice of slices) seconds.add(0, slice);
    const deliveries = seconds.end().map((second) => second.deliveries);
    // The rest of 30 ms is part of the last second.
    expect(deliveries).toHaveLength(4);
    expect(deliveries.reduce((sum, one) => sum + one, 0)).toBe(4030);
    expect(deliveries.at(-1)).toBeGreaterThan(1000);
  });

  it('takes no second for over because a timer is early', () => {
    const { slices, slicer, runTo } = slicing(1.1);
    runTo(2500);
    slicer.end();
    expect(slices.map(({ second }) => second)).toEqual([0, 1, 2]);
    for (const { delivered } of slices.slice(0, 2)) expect(delivered).toBeGreaterThanOrEqual(999);
  });
});

describe('a share of many', () => {
  it('is rounded up, evenly spread, and a share of any first ones, too', () => {
    for (const share of [0, 0.01, 0.07, 0.29, 1 / 3, 0.5, 0.99, 1]) {
      let count = 0;
      for (let index = 0; index < 1000; index++) {
        if (isIn(share, index)) count++;
        expect(count, `${share} of ${index + 1}`).toBe(countIn(share, index + 1));
        expect(Math.abs(count - share * (index + 1))).toBeLessThan(1);
      }
    }
    // 0.07 × 100 is 7.000000000000001.
    expect([countIn(0.07, 100), countIn(0.29, 100), countIn(0.01, 1)]).toEqual([7, 29, 1]);
  });

  it('gives each client its role', () => {
    const count = (
      stalledShare: number,
      slowShare: number,
      clients: number,
    ): Record<Role, number> => {
      const roles = { normal: 0, slow: 0, stalled: 0 };
      for (let row = 0; row < clients; row++)
        roles[roleOf({ ...NO_MIX, stalledShare, slowShare }, row)]++;
      return roles;
    };
    expect(count(0, 0, 10)).toEqual({ normal: 10, slow: 0, stalled: 0 });
    expect(count(0.1, 0.2, 1000)).toEqual({ normal: 700, slow: 200, stalled: 100 });
    expect(count(0.01, 0.05, 20)).toEqual({ normal: 18, slow: 1, stalled: 1 });
    expect(count(1, 0, 5)).toEqual({ normal: 0, slow: 0, stalled: 5 });
    expect(count(0.5, 0.5, 6)).toEqual({ normal: 0, slow: 3, stalled: 3 });
  });
});

describe('the client was what was measured', () => {
  const AT_EASE = {
    latencyP99Ms: 50,
    leftLateP99Ms: 2,
    readLateP99Ms: 3,
    clientBusyShare: 0.5,
    publisherBusyShare: 0.3,
    herdLeftShare: 0,
  };

  it.each([
    [{}, []],
    [{ clientBusyShare: 0.93 }, [/^a client process used 93 % of a core/]],
    [{ publisherBusyShare: 0.95 }, [/^the process that publishes used 95 % of a core/]],
    [{ leftLateP99Ms: 30 }, [/^1 % of the events were sent 30\.0 ms late or later$/]],
    [
      { readLateP99Ms: 30 },
      [/^for 1 % of the time clients were 30\.0 ms late or later in reading/],
    ],
    [{ herdLeftShare: 0.4 }, []],
    [
      { herdLeftShare: 0.6 },
      [/^closing the connections of the herd took 60 % of the time until all were open/],
    ],
    // Where latencies are long, what is late by a little is none of them.
    [{ leftLateP99Ms: 30, readLateP99Ms: 30, latencyP99Ms: 1000 }, []],
    // Where nothing took long, nothing was late.
    [{ leftLateP99Ms: 15, readLateP99Ms: 15, latencyP99Ms: 16 }, []],
    [
      { clientBusyShare: 0.99, readLateP99Ms: 900, latencyP99Ms: 1000 },
      [/99 % of a core/, /900\.0 ms/],
    ],
  ])('when %j', (state, sentences) => {
    const told = bottlenecksIn({ ...AT_EASE, ...state });
    expect(told).toHaveLength(sentences.length);
    for (const [index, sentence] of sentences.entries()) expect(told[index]).toMatch(sentence);
  });
});
