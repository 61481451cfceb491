/** The figures of a fan-out: medians of the rounds that count, ratios, and their table. */
import { isLogTarget } from './log-place.js';
import { type OpenLoopRound, faultsOf } from './open-loop.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms, short } from './table.js';
import { TARGET_TITLES, type TargetName } from './targets.js';
import { counts, roundsLeft } from './verdict.js';

export interface FanOutRound extends OpenLoopRound {
  target: TargetName;
  round: number;
}

/** Medians of the rounds that count; NaN, which JSON writes as null, where none does. */
export interface FanOutFigures {
  target: TargetName;
  ratePerSecond: number;
  lines: number;
  sendBuffer: string;
  rounds: number;
  discardedRounds: number;
  p50Ms: number;
  p99Ms: number;
  deliveriesPerSecond: number;
  wireBytesPerSecond: number;
  writesPerSecond: number | null;
  offeredPerSecond: number;
  acceptedPerSecond: number;
  refused503PerSecond: number;
  acceptToDeliverP50Ms: number;
  acceptToDeliverP99Ms: number;
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  loopDelayP99Ms: number | null;
  serverCoreShare: number;
  clientCoreShare: number;
  strangerCpuShare: number;
  lost: number;
  undelivered: number;
  doubled: number;
  outOfOrder: number;
  gapEvents: number;
  faults: number;
}

/** `of` ÷ `against`, round by round: both of a round met the same conditions on the machine. */
export interface FanOutRatio {
  ratePerSecond: number;
  of: TargetName;
  against: TargetName;
  p50: number[];
  p99: number[];
  p50Median: number;
  p99Median: number;
  /** Round by round. Older results lack it. */
  deliveries?: number[];
  deliveriesMedian: number;
  wireBytesMedian: number;
  /** Null where one of the two does not count its writes. */
  writesMedian: number | null;
  /** CPU of the server a delivery. Older results lack it. */
  cpuMedian?: number;
}

/** What a rival could not do. */
export interface FanOutFailure {
  target: TargetName;
  ratePerSecond: number;
  lines: number;
  why: string;
}

export interface FanOutSummary {
  figures: FanOutFigures[];
  ratios: FanOutRatio[];
  failures: FanOutFailure[];
}

/** What is divided by what. */
const PAIRS: [of: TargetName, against: TargetName][] = [
  ['holdline', 'raw-uws'],
  ['holdline', 'slice-loop'],
  ['holdline', 'send-loop'],
  ['holdline-ws', 'raw-uws-ws'],
  ['holdline-ws', 'holdline'],
  ['holdline-lmdb', 'holdline'],
  ['holdline-nats', 'holdline'],
];

export function summarise(rounds: FanOutRound[], failures: FanOutFailure[]): FanOutSummary {
  const figures: FanOutFigures[] = [];
  const ratios: FanOutRatio[] = [];
  for (const ratePerSecond of new Set(rounds.map((round) => round.ratePerSecond))) {
    const ofRate = rounds.filter((round) => round.ratePerSecond === ratePerSecond);
    for (const target of new Set(ofRate.map((round) => round.target))) {
      const ofTarget = ofRate.filter((round) => round.target === target);
      for (const lines of new Set(ofTarget.map((round) => round.lines))) {
        figures.push(fanOutFiguresOf(ofTarget.filter((round) => round.lines === lines)));
      }
    }
    for (const [of, against] of PAIRS) {
      const ratio = ratioOf(
        ofRate.filter((round) => round.target === of),
        ofRate.filter((round) => round.target === against),
      );
      if (ratio !== undefined) ratios.push(ratio);
    }
  }
  return { figures, ratios, failures };
}

/** Undefined when there is no round in which both count. */
function ratioOf(ours: FanOutRound[], theirs: FanOutRound[]): FanOutRatio | undefined {
  const pairs = ours.filter(counts).flatMap((our) => {
    const their = theirs.filter(counts).find(({ round }) => round === our.round);
    return their === undefined ? [] : [{ our, their }];
  });
  const [first] = pairs;
  if (first === undefined) return undefined;
  const ratios = (pick: (round: FanOutRound) => number): number[] =>
    pairs.map(({ our, their }) => pick(our) / pick(their));
  const p50 = ratios(({ latencyMs }) => latencyMs.p50);
  const p99 = ratios(({ latencyMs }) => latencyMs.p99);
  const deliveries = ratios((round) => round.deliveriesPerSecond);
  const writes = ratios((round) => round.writesPerSecond ?? Number.NaN);
  return {
    ratePerSecond: first.our.ratePerSecond,
    of: first.our.target,
    against: first.their.target,
    p50,
    p99,
    p50Median: median(p50),
    p99Median: median(p99),
    deliveries,
    deliveriesMedian: median(deliveries),
    wireBytesMedian: median(ratios((round) => round.wireBytesPerSecond)),
    writesMedian: writes.some(Number.isNaN) ? null : median(writes),
    cpuMedian: median(ratios((round) => round.serverCpuUsPerDelivery)),
  };
}

export function fanOutFiguresOf(rounds: FanOutRound[]): FanOutFigures {
  const first = rounds[0]!;
  const kept = rounds.filter(counts);
  const middle = (pick: (round: FanOutRound) => number): number => median(kept.map(pick));
  const sum = (pick: (round: FanOutRound) => number): number =>
    rounds.reduce((total, round) => total + pick(round), 0);
  const loops = kept.flatMap((round) =>
    round.loopDelayMs === null ? [] : [round.loopDelayMs.p99],
  );
  const writes = kept.flatMap((round) =>
    round.writesPerSecond === null ? [] : [round.writesPerSecond],
  );
  return {
    target: first.target,
    ratePerSecond: first.ratePerSecond,
    lines: first.lines,
    sendBuffer: first.sendBuffer,
    rounds: rounds.length,
    discardedRounds: rounds.length - kept.length,
    p50Ms: middle((round) => round.latencyMs.p50),
    p99Ms: middle((round) => round.latencyMs.p99),
    deliveriesPerSecond: middle((round) => round.deliveriesPerSecond),
    wireBytesPerSecond: middle((round) => round.wireBytesPerSecond),
    writesPerSecond: writes.length === 0 ? null : median(writes),
    offeredPerSecond: middle((round) => round.offeredPerSecond),
    acceptedPerSecond: middle((round) => round.acceptedPerSecond),
    refused503PerSecond: middle((round) => round.refused503PerSecond),
    acceptToDeliverP50Ms: middle((round) => round.acceptToDeliverMs.p50),
    acceptToDeliverP99Ms: middle((round) => round.acceptToDeliverMs.p99),
    serverCpuShare: middle((round) => round.serverCpuShare),
    serverCpuUsPerDelivery: middle((round) => round.serverCpuUsPerDelivery),
    loopDelayP99Ms: loops.length === 0 ? null : median(loops),
    serverCoreShare: middle((round) => round.serverCoreShare),
    clientCoreShare: middle((round) => round.clientCoreShare),
    strangerCpuShare: Math.max(...rounds.map((round) => round.strangerCpuShare)),
    lost: sum((round) => round.check.lost),
    undelivered: sum((round) => round.check.undelivered),
    doubled: sum((round) => round.check.doubled),
    outOfOrder: sum((round) => round.check.outOfOrder),
    gapEvents: sum((round) => round.check.gapEvents),
    faults: sum((round) => faultsOf(round.check)),
  };
}

const HEAD = [
  'ev/s',
  'server',
  'rounds',
  'p50',
  'p99',
  'p50 ÷',
  'p99 ÷',
  'deliv./s',
  'writes/s',
  'MB/s',
  'accepted/s',
  '503/s',
  'acc→del p99',
  'CPU µs/del.',
  'loop p99',
  'lost',
  'dbl',
  'gap',
];

export function describeSummary(summary: FanOutSummary): string {
  const rows = summary.figures.map((figures) => {
    const ratio = summary.ratios.find(
      ({ against, ratePerSecond }) =>
        against === figures.target && ratePerSecond === figures.ratePerSecond,
    );
    return [
      figures.ratePerSecond,
      `${TARGET_TITLES[figures.target]}, ${figures.lines} lines`,
      roundsLeft(figures),
      ms(figures.p50Ms),
      ms(figures.p99Ms),
      ratio === undefined ? '' : ratio.p50Median.toFixed(2),
      ratio === undefined ? '' : ratio.p99Median.toFixed(2),
      short(figures.deliveriesPerSecond),
      figures.writesPerSecond === null ? '–' : short(figures.writesPerSecond),
      fixed(figures.wireBytesPerSecond / 1e6, 0),
      fixed(figures.acceptedPerSecond, 0),
      fixed(figures.refused503PerSecond, 0),
      ms(figures.acceptToDeliverP99Ms),
      fixed(figures.serverCpuUsPerDelivery, 2),
      figures.loopDelayP99Ms === null ? '–' : ms(figures.loopDelayP99Ms),
      figures.lost,
      figures.doubled,
      figures.gapEvents,
    ];
  });
  const pairs = PAIRS.map(([of, against]) => `${TARGET_TITLES[of]} ÷ ${TARGET_TITLES[against]}`);
  const ofLogs = summary.ratios
    .filter(({ of }) => isLogTarget(of))
    .map(
      (ratio) =>
        `\n${TARGET_TITLES[ratio.of]} ÷ ${TARGET_TITLES[ratio.against]} at ${ratio.ratePerSecond}/s: ` +
        `p50 ${fixed(ratio.p50Median, 3)}, p99 ${fixed(ratio.p99Median, 3)}, ` +
        `deliveries ${fixed(ratio.deliveriesMedian, 3)}, CPU a delivery ${fixed(ratio.cpuMedian ?? null, 3)}`,
    );
  return `${drawTable(HEAD, rows)}${ofLogs.join('')}\n÷ in the row of the divisor, median of the rounds' pairs: ${pairs.join(' · ')}`;
}
