/** The figures of compression: compressed lines beside plain ones of the same server. */
import { type EventKind, ratioBound } from './compression-events.js';
import { type FanOutFigures, fanOutFiguresOf } from './fan-out-figures.js';
import type { OpenLoopRound } from './open-loop.js';
import { median } from './statistics.js';
import { type Figure, drawTable, fixed, ms, ofRounds, percent, short } from './table.js';
import { counts, roundsLeft } from './verdict.js';

export const ENCODINGS = ['holdline', 'holdline-gzip'] as const;
export type EncodingTarget = (typeof ENCODINGS)[number];
export const ENCODING_TITLES: Record<EncodingTarget, string> = {
  holdline: 'plain',
  'holdline-gzip': 'compressed',
};

export interface CompressionRound extends OpenLoopRound {
  events: EventKind;
  target: EncodingTarget;
  round: number;
}

/** Medians of the rounds that count. */
export interface CompressionFigures extends FanOutFigures {
  events: EventKind;
  target: EncodingTarget;
  /** With all framing, of the lines that are checked. */
  wireBytesPerDelivery: number;
  /** Time of the compressor ÷ time; null where no round has counters. */
  compressorShare: Figure;
}

/** Compressed ÷ plain, round by round, but `smaller`, which is plain ÷ compressed. */
export interface CompressionRatio {
  events: EventKind;
  ratePerSecond: number;
  lines: number;
  /** Bytes on the wire a delivery. */
  smaller: number[];
  /** CPU time of the server, at what it delivered. */
  cpu: number[];
  p50: number[];
  p99: number[];
}

export interface CompressionSummary {
  figures: CompressionFigures[];
  ratios: CompressionRatio[];
}

export function summariseCompression(rounds: readonly CompressionRound[]): CompressionSummary {
  const figures: CompressionFigures[] = [];
  const ratios: CompressionRatio[] = [];
  for (const group of groupsOf(rounds)) {
    const own = ENCODINGS.map((target) => group.filter((round) => round.target === target));
    for (const ofTarget of own) if (ofTarget.length > 0) figures.push(figuresOf(ofTarget));
    const [plain, compressed] = own as [CompressionRound[], CompressionRound[]];
    if (plain.length > 0 && compressed.length > 0) ratios.push(ratioOf(plain, compressed));
  }
  return { figures, ratios };
}

/** Rounds of the same events, rate and lines, in the order of the first of each. */
function groupsOf(rounds: readonly CompressionRound[]): CompressionRound[][] {
  const groups = new Map<string, CompressionRound[]>();
  for (const round of rounds) {
    const key = `${round.events} ${round.ratePerSecond} ${round.lines}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [round]);
    else group.push(round);
  }
  return [...groups.values()];
}

function figuresOf(rounds: CompressionRound[]): CompressionFigures {
  const [first] = rounds;
  const kept = rounds.filter(counts);
  const shares = kept.flatMap(({ serverCounters, published }) => {
    const seconds = serverCounters?.['compress_seconds_total'];
    const { ratePerSecond } = first!;
    return seconds === undefined ? [] : [seconds / (published.sent / ratePerSecond)];
  });
  return {
    ...fanOutFiguresOf(rounds),
    events: first!.events,
    target: first!.target,
    wireBytesPerDelivery: median(kept.map(({ window }) => window.wireBytesPerEvent)),
    compressorShare: shares.length === 0 ? null : median(shares),
  };
}

/** Without the rounds in which one of the two does not count. */
function ratioOf(plain: CompressionRound[], compressed: CompressionRound[]): CompressionRatio {
  const pairs = compressed.filter(counts).flatMap((ours) => {
    const beside = plain.filter(counts).find(({ round }) => round === ours.round);
    return beside === undefined ? [] : [{ ours, beside }];
  });
  const of = (pick: (round: CompressionRound) => number): number[] =>
    pairs.map(({ ours, beside }) => pick(ours) / pick(beside));
  const { events, ratePerSecond, lines } = compressed[0]!;
  return {
    events,
    ratePerSecond,
    lines,
    smaller: of(({ window }) => 1 / window.wireBytesPerEvent),
    cpu: of(({ serverCpuUsPerDelivery }) => serverCpuUsPerDelivery),
    p50: of(({ latencyMs }) => latencyMs.p50),
    p99: of(({ latencyMs }) => latencyMs.p99),
  };
}

/** What the subject is to show. */
export interface Aim {
  what: string;
  aim: string;
  /** In words; undefined when no round counts. */
  measured: string | undefined;
  isKept: boolean;
}

/** The core has room. */
const RATE_QUIET = 5;
/** The core is full, with plain lines at least. */
const RATE_BUSY = 100;
const SMALLER_MIN = 4.5;
const SMALLER_RANDOM_MIN = 2.5;
const TIMES_MAX = 1.1;
const RATE_FULL = 1000;
const ALL_SHARE = 0.98;
const P99_MS_MAX = 300;
const RATE_BEYOND = 1500;
const DELIVERIES_MIN = 20e6;

/** The aims at the rates, events and lines that were measured; at most `lines` of them. */
export function aimsOf(summary: CompressionSummary, lines: number): Aim[] {
  const { figures, ratios } = summary;
  const ratioAt = (events: EventKind, ratePerSecond: number): CompressionRatio | undefined =>
    ratios.find(
      (one) => one.events === events && one.ratePerSecond === ratePerSecond && one.lines === lines,
    );
  const figuresAt = (ratePerSecond: number): CompressionFigures | undefined =>
    figures.find(
      (one) =>
        one.target === 'holdline-gzip' &&
        one.events === 'ticks' &&
        one.ratePerSecond === ratePerSecond &&
        one.lines === lines,
    );
  const aims: Aim[] = [];
  const times = (
    what: string,
    values: number[] | undefined,
    aim: string,
    isKept: (value: number) => boolean,
    more = '',
  ): void => {
    if (values === undefined) return;
    const value = median(values);
    const measured =
      values.length === 0 ? undefined : `${fixed(value, 2)} × (${ofRounds(values)})${more}`;
    aims.push({ what, aim, measured, isKept: isKept(value) });
  };
  const busyAt = `${RATE_BUSY} events/s`;
  times(
    `bytes on the wire, plain ÷ compressed, ticks at ${busyAt}`,
    ratioAt('ticks', RATE_BUSY)?.smaller,
    `≥ ${SMALLER_MIN} ×`,
    (value) => value >= SMALLER_MIN,
  );
  const plainRandom = figures.find(
    (one) => one.events === 'random ticks' && one.target === 'holdline',
  );
  times(
    `the same, random values at ${busyAt}`,
    ratioAt('random ticks', RATE_BUSY)?.smaller,
    `≥ ${SMALLER_RANDOM_MIN} ×`,
    (value) => value >= SMALLER_RANDOM_MIN,
    plainRandom === undefined
      ? ''
      : `; at most ${fixed(ratioBound(plainRandom.wireBytesPerDelivery), 1)} × is possible`,
  );
  const isNear = (value: number): boolean => value <= TIMES_MAX;
  for (const rate of [RATE_QUIET, RATE_BUSY]) {
    const at = `${rate} events/s, compressed ÷ plain`;
    const ratio = ratioAt('ticks', rate);
    times(`CPU of the server at ${at}`, ratio?.cpu, '≤ 1 ×', (value) => value <= 1);
    times(`p50 at ${at}`, ratio?.p50, `≤ ${TIMES_MAX} ×`, isNear);
    // Of 75 events a round it is that of one.
    if (rate !== RATE_QUIET) times(`p99 at ${at}`, ratio?.p99, `≤ ${TIMES_MAX} ×`, isNear);
  }
  const full = figuresAt(RATE_FULL);
  if (full !== undefined) {
    const done = full.deliveriesPerSecond / (full.lines * RATE_FULL);
    aims.push({
      what: `compressed deliveries/s at ${short(RATE_FULL)} events/s`,
      aim: `all: ${short(full.lines * RATE_FULL)}`,
      measured: Number.isNaN(done) ? undefined : short(full.deliveriesPerSecond),
      isKept: done >= ALL_SHARE && full.acceptedPerSecond >= ALL_SHARE * RATE_FULL,
    });
    aims.push({
      what: 'their p99',
      aim: `≤ ${P99_MS_MAX} ms`,
      measured: Number.isNaN(full.p99Ms) ? undefined : ms(full.p99Ms),
      isKept: full.p99Ms <= P99_MS_MAX,
    });
  }
  const beyond = figuresAt(RATE_BEYOND);
  if (beyond !== undefined)
    aims.push({
      what: `compressed deliveries/s, ${short(RATE_BEYOND)} events/s offered`,
      aim: `≥ ${short(DELIVERIES_MIN)}`,
      measured: Number.isNaN(beyond.deliveriesPerSecond)
        ? undefined
        : short(beyond.deliveriesPerSecond),
      isKept: beyond.deliveriesPerSecond >= DELIVERIES_MIN,
    });
  return aims;
}

export function describeCompression(summary: CompressionSummary, lines: number): string {
  const head = [
    'events',
    'ev/s',
    'lines',
    'encoding',
    'rounds',
    'B/del.',
    'p50',
    'p99',
    'deliv./s',
    'accepted/s',
    '503/s',
    'acc→del p99',
    'server',
    'CPU µs/del.',
    'compressor',
    'client core',
    'lost',
    'dbl',
    'gap',
  ];
  const rows = summary.figures.map((figures) => [
    figures.events,
    figures.ratePerSecond,
    figures.lines,
    ENCODING_TITLES[figures.target],
    roundsLeft(figures),
    fixed(figures.wireBytesPerDelivery, 1),
    ms(figures.p50Ms),
    ms(figures.p99Ms),
    short(figures.deliveriesPerSecond),
    fixed(figures.acceptedPerSecond, 0),
    fixed(figures.refused503PerSecond, 0),
    ms(figures.acceptToDeliverP99Ms),
    percent(figures.serverCpuShare),
    fixed(figures.serverCpuUsPerDelivery, 3),
    percent(figures.compressorShare),
    percent(figures.clientCoreShare),
    figures.lost,
    figures.doubled,
    figures.gapEvents,
  ]);
  const aims = aimsOf(summary, lines).map(
    ({ what, aim, measured, isKept }) =>
      `${isKept ? 'kept  ' : 'MISSED'} ${what}: ${measured ?? 'no round counts'} (aim ${aim})`,
  );
  return [drawTable(head, rows), ...aims].join('\n');
}
