/**
 * Fan-out: events at three rates to 15,000 lines, event streams and WebSockets, Holdline beside raw
 * uWebSockets.js, the bare C loop and its rivals, turn by turn.
 */
import { CONNECTS_AT_ONCE } from '../dist/tools/load/processes/counting-process.js';
import { hasCompiler } from './compile.js';
import { remarkOnStrangers } from './machine.js';
import { type OpenLoopRound, faultsOf, measureOpenLoop } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms, percent, short } from './table.js';
import { RIVALS, TARGET_TITLES, type TargetName, absence, hasLoop } from './targets.js';
import { counts, remarkOnDiscarded, roundsLeft } from './verdict.js';
import { CHECKED_SHARE, visit } from './visit.js';

export interface FanOutParameters {
  lines: number;
  eventBytes: number;
  checkedShare: number;
  connectsAtOnce: number;
  warmUpSeconds: number;
  tailSeconds: number;
  /** For a rival that cannot connect all lines, or cannot serve them. */
  fewerLines: number;
  rivalWindowSeconds: number;
  /** Whether a C process holds the lines that are not checked. */
  reader: boolean;
  rates: RateParameters[];
  targets: TargetName[];
  absent: Record<string, string>;
}

export interface RateParameters {
  ratePerSecond: number;
  rounds: number;
  windowSeconds: number;
  /** How long the client sleeps before it checks its sockets, whoever is measured; see nap.ts. */
  clientNapMs: number;
}

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
  deliveriesMedian: number;
  wireBytesMedian: number;
  /** Null where one of the two does not count its writes. */
  writesMedian: number | null;
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

const FAN_OUT_TARGETS: TargetName[] = [
  'holdline',
  'holdline-ws',
  'raw-uws',
  'raw-uws-ws',
  'send-loop',
  'nchan',
  'node-http',
  'better-sse',
];
/** What is divided by what. */
const PAIRS: [of: TargetName, against: TargetName][] = [
  ['holdline', 'raw-uws'],
  ['holdline', 'send-loop'],
  ['holdline-ws', 'raw-uws-ws'],
  ['holdline-ws', 'holdline'],
];
/** One round is enough for the order of magnitude. */
const RIVAL_ROUNDS = 1;
const RIVAL_WINDOW_SECONDS = 10;
/** Rivals have shown their limit at this rate. */
const RIVAL_RATE_MAX = 100;
const LINES = 15_000;
const FEWER_LINES = 4_000;
const EVENT_BYTES = 256;
const WARM_UP_SECONDS = 3;
const TAIL_SECONDS = 0.5;
const FULL_RATES: RateParameters[] = [
  { ratePerSecond: 10, rounds: 5, windowSeconds: 20, clientNapMs: 0.1 },
  { ratePerSecond: 100, rounds: 3, windowSeconds: 15, clientNapMs: 1 },
  { ratePerSecond: 1000, rounds: 3, windowSeconds: 15, clientNapMs: 1 },
];
const QUICK = { lines: 2_000, fewerLines: 500, rounds: 1, windowSeconds: 3, warmUpSeconds: 1 };

const SETTLE_DEADLINE_MS = 10_000;

export async function measureFanOut(
  options: RunOptions,
): Promise<Measured<FanOutParameters, FanOutRound, FanOutSummary>> {
  const parameters = chooseParameters(options);
  const remarks: string[] = [];
  for (const [target, why] of Object.entries(parameters.absent))
    remarks.push(`${target} was not measured: ${why}`);
  const rounds: FanOutRound[] = [];
  const failures: FanOutFailure[] = [];
  for (const rate of parameters.rates) {
    for (let round = 1; round <= rate.rounds; round++) {
      for (const target of parameters.targets) {
        const turn = { target, rate, round, parameters };
        const measured = RIVALS.has(target)
          ? await measureRival(turn, failures, options.say)
          : [await measureTurn(turn, parameters.lines)];
        rounds.push(...measured);
        for (const one of measured) options.say(describeRound(one, rate.rounds));
      }
    }
  }
  const summary = summarise(rounds, failures);
  for (const figures of summary.figures) {
    const where = `${figures.target} with ${figures.lines} lines at ${figures.ratePerSecond}/s`;
    remarks.push(
      ...remarkOnDiscarded(
        where,
        rounds.filter(
          ({ target, ratePerSecond, lines }) =>
            target === figures.target &&
            ratePerSecond === figures.ratePerSecond &&
            lines === figures.lines,
        ),
      ),
    );
    if (
      figures.loopDelayP99Ms === null &&
      figures.discardedRounds < figures.rounds &&
      hasLoop(figures.target)
    ) {
      remarks.push(
        `${where}: its loop did not answer in time, so that its delay was longer than the window`,
      );
    }
    remarks.push(...remarkOnStrangers(where, figures.strangerCpuShare));
    if (figures.faults > 0)
      remarks.push(
        `${where}: ${figures.faults} faults in the streams (lost, doubled, out of order, damaged, closed or short)`,
      );
    if (figures.undelivered > 0)
      remarks.push(
        `${where}: ${figures.undelivered} accepted deliveries of checked lines were still under way ${SETTLE_DEADLINE_MS} ms after the end`,
      );
  }
  for (const { target, ratePerSecond, lines, why } of failures) {
    remarks.push(`${target} at ${ratePerSecond}/s with ${lines} lines: ${why.split('\n', 1)[0]}`);
  }
  return { parameters, rounds, summary, remarks, table: describeSummary(summary) };
}

interface Turn {
  target: TargetName;
  rate: RateParameters;
  round: number;
  parameters: FanOutParameters;
}

function measureTurn(
  { target, rate, round, parameters }: Turn,
  lines: number,
): Promise<FanOutRound> {
  return visit(target, {}, async (here) => {
    const fleet = await here.startFleet({ countsInC: true });
    const order = { ...parameters, ...rate, lines, settleDeadlineMs: SETTLE_DEADLINE_MS };
    return { target, round, ...(await measureOpenLoop(here, fleet, order)) };
  });
}

/**
 * A rival has one turn with all lines and, where it does not deliver everything that is offered,
 * one with fewer. What it cannot do is reported, and does not fail the run.
 */
async function measureRival(
  turn: Turn,
  failures: FanOutFailure[],
  say: (text: string) => void,
): Promise<FanOutRound[]> {
  const { target, rate, round, parameters } = turn;
  const { ratePerSecond } = rate;
  if (round > RIVAL_ROUNDS || (target !== 'nchan' && ratePerSecond > RIVAL_RATE_MAX)) return [];
  const shorter = {
    ...turn,
    rate: { ...rate, windowSeconds: Math.min(rate.windowSeconds, parameters.rivalWindowSeconds) },
  };
  const measured: FanOutRound[] = [];
  const hasFailed = failures.some(
    (failure) => failure.target === target && failure.lines === parameters.lines,
  );
  for (const lines of hasFailed
    ? [parameters.fewerLines]
    : [parameters.lines, parameters.fewerLines]) {
    try {
      measured.push(await measureTurn(shorter, lines));
      // Fewer lines only at the lowest rate: at higher ones it has shown its limit.
      if (
        measured.at(-1)!.verdict === 'offer' ||
        ratePerSecond > parameters.rates[0]!.ratePerSecond
      )
        break;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push({ target, ratePerSecond, lines, why });
      say(`${ratePerSecond}/s ${target} with ${lines} lines: ${why}`);
    }
  }
  return measured;
}

function chooseParameters(options: RunOptions): FanOutParameters {
  const wanted = FAN_OUT_TARGETS.filter((target) => options.targets?.includes(target) ?? true);
  const absent: Record<string, string> = {};
  for (const target of wanted) {
    const why = absence(target);
    if (why !== undefined) absent[target] = why;
  }
  const rates = options.ratesPerSecond?.map(
    (ratePerSecond) =>
      FULL_RATES.find((rate) => rate.ratePerSecond === ratePerSecond) ?? {
        ratePerSecond,
        rounds: 3,
        windowSeconds: 15,
        clientNapMs: 1,
      },
  );
  return {
    lines: options.lines ?? (options.quick ? QUICK.lines : LINES),
    eventBytes: EVENT_BYTES,
    checkedShare: CHECKED_SHARE,
    connectsAtOnce: CONNECTS_AT_ONCE,
    fewerLines: options.quick ? QUICK.fewerLines : FEWER_LINES,
    rivalWindowSeconds: RIVAL_WINDOW_SECONDS,
    reader: hasCompiler,
    warmUpSeconds: options.quick ? QUICK.warmUpSeconds : WARM_UP_SECONDS,
    tailSeconds: TAIL_SECONDS,
    rates: (rates ?? FULL_RATES).map((rate) => ({
      ratePerSecond: rate.ratePerSecond,
      rounds: options.rounds ?? (options.quick ? QUICK.rounds : rate.rounds),
      windowSeconds:
        options.windowSeconds ?? (options.quick ? QUICK.windowSeconds : rate.windowSeconds),
      clientNapMs: rate.clientNapMs,
    })),
    targets: wanted.filter((target) => absent[target] === undefined),
    absent,
  };
}

function summarise(rounds: FanOutRound[], failures: FanOutFailure[]): FanOutSummary {
  const figures: FanOutFigures[] = [];
  const ratios: FanOutRatio[] = [];
  for (const ratePerSecond of new Set(rounds.map((round) => round.ratePerSecond))) {
    const ofRate = rounds.filter((round) => round.ratePerSecond === ratePerSecond);
    for (const target of new Set(ofRate.map((round) => round.target))) {
      const ofTarget = ofRate.filter((round) => round.target === target);
      for (const lines of new Set(ofTarget.map((round) => round.lines))) {
        figures.push(figuresOf(ofTarget.filter((round) => round.lines === lines)));
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
  const writes = ratios((round) => round.writesPerSecond ?? Number.NaN);
  return {
    ratePerSecond: first.our.ratePerSecond,
    of: first.our.target,
    against: first.their.target,
    p50,
    p99,
    p50Median: median(p50),
    p99Median: median(p99),
    deliveriesMedian: median(ratios((round) => round.deliveriesPerSecond)),
    wireBytesMedian: median(ratios((round) => round.wireBytesPerSecond)),
    writesMedian: writes.some(Number.isNaN) ? null : median(writes),
  };
}

function figuresOf(rounds: FanOutRound[]): FanOutFigures {
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

function describeRound(round: FanOutRound, rounds: number): string {
  const { check } = round;
  return (
    `${round.ratePerSecond}/s round ${round.round}/${rounds} ${round.target}, ${round.lines} lines: ` +
    `p50 ${ms(round.latencyMs.p50)} p99 ${ms(round.latencyMs.p99)}, ${short(round.deliveriesPerSecond)} deliveries/s, ` +
    `accepted ${round.acceptedPerSecond.toFixed(0)}/s, accept→deliver p99 ${ms(round.acceptToDeliverMs.p99)}, ` +
    `server ${percent(round.serverCpuShare)} (core ${percent(round.serverCoreShare)}), ` +
    `client ${percent(round.clientCpuShare)} + publisher ${percent(round.publisherCpuShare)} (core ${percent(round.clientCoreShare)}), ` +
    `${counts(round) ? round.verdict : `DISCARDED: ${round.verdict}`}, others ${percent(round.strangerCpuShare)}, lost ${check.lost}, doubled ${check.doubled}, gaps ${check.gapEvents}` +
    `${check.undelivered > 0 ? `, undelivered ${check.undelivered}` : ''}${faultsOf(check) > 0 ? ` FAULTS ${JSON.stringify(check)}` : ''}`
  );
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

function describeSummary(summary: FanOutSummary): string {
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
  return `${drawTable(HEAD, rows)}\n÷ in the row of the divisor, median of the rounds' pairs: ${pairs.join(' · ')}`;
}
