/**
 * Fan-out: events at three rates to 15,000 lines, event streams and WebSockets, Holdline beside raw uWebSockets.js and the bare C loop,
 * turn by turn.
 */
import { pinning } from './child.js';
import type { Check, Opened, Settled, WindowSeen } from './client.js';
import { nowUs, sleepUntilUs } from './clock.js';
import { machineBusySeconds, remarkOnStrangers } from './machine.js';
import { PATH } from './event.js';
import type { Published } from './publisher.js';
import type { Measured, RunOptions } from './results.js';
import type { LoopDelay, Usage } from './servers/agent.js';
import { type Latency, median } from './statistics.js';
import { drawTable, ms, percent, short } from './table.js';
import { TARGET_TITLES, type TargetName, absence, hasLoop } from './targets.js';
import { CHECKED_SHARE, CONNECTS_AT_ONCE, type Visit, visit } from './visit.js';

export interface FanOutParameters {
  lines: number;
  eventBytes: number;
  checkedShare: number;
  connectsAtOnce: number;
  warmUpSeconds: number;
  tailSeconds: number;
  rates: RateParameters[];
  targets: TargetName[];
  absent: Record<string, string>;
}

export interface RateParameters {
  ratePerSecond: number;
  rounds: number;
  windowSeconds: number;
  /** How long the client sleeps between two looks at its sockets, whoever is measured; see nap.ts. */
  clientNapMs: number;
}

export interface FanOutRound {
  target: TargetName;
  ratePerSecond: number;
  round: number;
  opened: Opened;
  window: WindowSeen;
  deliveriesPerSecond: number;
  /** As the client reads them, framing included. */
  wireBytesPerSecond: number;
  /** As the server counts them; null where it does not, or was too busy to answer at the window's start or end. */
  writesPerSecond: number | null;
  offeredPerSecond: number;
  acceptedPerSecond: number;
  refused503PerSecond: number;
  published: Omit<Published, 'book'>;
  /** From the moment the event was due, whatever happened to the publisher or the server meanwhile. */
  latencyMs: Latency;
  acceptToDeliverMs: Latency;
  settledMs: number;
  check: Check;
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  loopDelayMs: LoopDelay | null;
  clientCpuShare: number;
  clientCpuUsPerRead: number;
  publisherCpuShare: number;
  /** Of one core, what everything else on the machine used: a run is worth quoting when this is next to nothing. */
  strangerCpuShare: number;
  /** Client and publisher left less than 5 % of their core idle: the figure is theirs as much as the server's. */
  clientBound: boolean;
  serverCounters: Record<string, number> | null;
  serverRssBytes: number;
}

export interface FanOutFigures {
  target: TargetName;
  ratePerSecond: number;
  rounds: number;
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
  clientCoreShare: number;
  strangerCpuShare: number;
  clientBoundRounds: number;
  lost: number;
  undelivered: number;
  doubled: number;
  outOfOrder: number;
  gapEvents: number;
  faults: number;
}

/** `of` ÷ `against`, round by round: the pair of a round shares the machine's mood, two medians may not. */
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

export interface FanOutSummary {
  figures: FanOutFigures[];
  ratios: FanOutRatio[];
}

const FAN_OUT_TARGETS: TargetName[] = ['holdline', 'holdline-ws', 'raw-uws', 'raw-uws-ws', 'send-loop', 'nchan'];
/** Each with what it is divided by. */
const PAIRS: [of: TargetName, against: TargetName][] = [
  ['holdline', 'raw-uws'],
  ['holdline', 'send-loop'],
  ['holdline-ws', 'raw-uws-ws'],
  ['holdline-ws', 'holdline'],
];
/** A rival is no floor to be divided by: one round tells the order of magnitude. */
const RIVAL_ROUNDS = 1;
const LINES = 15_000;
const EVENT_BYTES = 256;
const WARM_UP_SECONDS = 3;
/** The load goes on past the window, so that its last events meet what the first ones met. */
const TAIL_SECONDS = 0.5;
const FULL_RATES: RateParameters[] = [
  { ratePerSecond: 10, rounds: 5, windowSeconds: 20, clientNapMs: 0.1 },
  { ratePerSecond: 100, rounds: 3, windowSeconds: 15, clientNapMs: 1 },
  { ratePerSecond: 1000, rounds: 3, windowSeconds: 15, clientNapMs: 1 },
];
const QUICK = { lines: 2_000, rounds: 1, windowSeconds: 3, warmUpSeconds: 1 };

const LEAD_MS = 500;
const PREPARE_DEADLINE_MS = 10_000;
const ANSWER_GRACE_MS = 3_000;
/** What is still on its way then counts as undelivered, not as lost. */
const SETTLE_DEADLINE_MS = 10_000;
const CLIENT_BOUND_SHARE = 0.95;
const WATCH_WITHIN_US = 500_000;
/** The counter of corked writes, src/counters.ts. */
const WRITES = 'writes_total';

export async function measureFanOut(options: RunOptions): Promise<Measured<FanOutParameters, FanOutRound, FanOutSummary>> {
  const parameters = chooseParameters(options);
  const remarks: string[] = [];
  for (const [target, why] of Object.entries(parameters.absent)) remarks.push(`${target} was not measured: ${why}`);
  const rounds: FanOutRound[] = [];
  for (const rate of parameters.rates) {
    for (let round = 1; round <= rate.rounds; round++) {
      for (const target of parameters.targets) {
        if (target === 'nchan' && round > RIVAL_ROUNDS) continue;
        const measured = await visit(target, {}, (here) => measureRound(here, parameters, rate, round));
        rounds.push(measured);
        options.say(describeRound(measured, rate.rounds));
      }
    }
  }
  const summary = summarise(rounds);
  for (const figures of summary.figures) {
    const where = `${figures.target} at ${figures.ratePerSecond}/s`;
    if (figures.clientBoundRounds > 0)
      remarks.push(`${where}: the client's core was busy in ${figures.clientBoundRounds} rounds; the server may do better`);
    if (figures.loopDelayP99Ms === null && hasLoop(figures.target)) {
      remarks.push(`${where}: its loop never came round in time to tell its delay, which is therefore more than the window`);
    }
    remarks.push(...remarkOnStrangers(where, figures.strangerCpuShare));
    if (figures.faults > 0)
      remarks.push(`${where}: ${figures.faults} faults in the streams (lost, doubled, out of order, damaged, closed or short)`);
    if (figures.undelivered > 0)
      remarks.push(
        `${where}: ${figures.undelivered} accepted deliveries of checked lines were still under way ${SETTLE_DEADLINE_MS} ms after the end`,
      );
  }
  return { parameters, rounds, summary, remarks, table: describeSummary(summary) };
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
    warmUpSeconds: options.quick ? QUICK.warmUpSeconds : WARM_UP_SECONDS,
    tailSeconds: TAIL_SECONDS,
    rates: (rates ?? FULL_RATES).map((rate) => ({
      ratePerSecond: rate.ratePerSecond,
      rounds: options.rounds ?? (options.quick ? QUICK.rounds : rate.rounds),
      windowSeconds: options.windowSeconds ?? (options.quick ? QUICK.windowSeconds : rate.windowSeconds),
      clientNapMs: rate.clientNapMs,
    })),
    targets: wanted.filter((target) => absent[target] === undefined),
    absent,
  };
}

async function measureRound(
  here: Visit,
  parameters: FanOutParameters,
  rate: RateParameters,
  round: number,
): Promise<FanOutRound> {
  const { server } = here;
  const { ratePerSecond, windowSeconds } = rate;
  const { warmUpSeconds, tailSeconds } = parameters;
  const client = here.startClient();
  const publisher = here.startPublisher();
  const loadSeconds = warmUpSeconds + windowSeconds + tailSeconds;
  const opened = await here.open(client, parameters.lines, { sequenceLimit: Math.ceil(loadSeconds * ratePerSecond) + 1 });
  await client.ask('nap', rate.clientNapMs, 1000);
  await publisher.ask('prepare', { port: server.port, path: PATH, ratePerSecond }, PREPARE_DEADLINE_MS);

  const startUs = nowUs() + LEAD_MS * 1000;
  const windowStartUs = startUs + warmUpSeconds * 1e6;
  const windowEndUs = windowStartUs + windowSeconds * 1e6;
  const endUs = windowEndUs + tailSeconds * 1e6;
  const loadMs = loadSeconds * 1000 + LEAD_MS;
  const publishing = publisher.ask<Published>(
    'publish',
    { startUs, endUs, windowStartUs, windowEndUs, graceMs: ANSWER_GRACE_MS },
    loadMs + ANSWER_GRACE_MS + 10_000,
  );
  const watching = client.ask<WindowSeen>('window', { startUs: windowStartUs, endUs: windowEndUs }, loadMs + 10_000);
  // Should either fail first, the other's failure is no unhandled one.
  publishing.catch(() => {});
  watching.catch(() => {});

  await sleepUntilUs(windowStartUs);
  // A server in a backlog answers late or never; its figures from /proc do not depend on it.
  let usageBefore: Usage | null = null;
  server
    .watchLoop()
    .then(() => server.usage())
    .then(
      (usage) => (usageBefore = usage),
      () => {},
    );
  const cpuBefore = server.cpuSeconds();
  const busyBefore = machineBusySeconds();
  const ownBefore = process.cpuUsage();
  const cpuFromUs = nowUs();
  await sleepUntilUs(windowEndUs);
  const cpuSeconds = (nowUs() - cpuFromUs) / 1e6;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / cpuSeconds;
  const busyShare = (machineBusySeconds() - busyBefore) / cpuSeconds;
  const own = process.cpuUsage(ownBefore);
  const runnerCpuShare = (own.user + own.system) / 1e6 / cpuSeconds;
  const usageAfter = await server.usage();

  const window = await watching;
  const { book, ...published } = await publishing;
  if (published.accepted === 0) {
    throw new Error(
      `${server.name} accepted none of ${published.sent} events in ${loadSeconds} s (503: ${published.refused503}, unanswered: ${published.unanswered})`,
    );
  }
  const settled = await client.ask<Settled>(
    'settle',
    { accepted: book, windowStartUs, windowEndUs, deadlineMs: SETTLE_DEADLINE_MS },
    SETTLE_DEADLINE_MS + 20_000,
  );
  // What began late has missed what delayed it.
  const watched = watchedUsage(usageBefore, usageAfter, windowStartUs);
  const deliveriesPerSecond = window.deliveries / window.seconds;
  const clientCpuShare = window.cpuSeconds / window.seconds;
  const publisherCpuShare = published.cpuSeconds / windowSeconds;
  return {
    target: server.name,
    ratePerSecond,
    round,
    opened,
    window,
    deliveriesPerSecond,
    wireBytesPerSecond: window.wireBytes / window.seconds,
    writesPerSecond: watched === undefined ? null : writesPerSecond(watched.before, watched.after),
    offeredPerSecond: published.offered / windowSeconds,
    acceptedPerSecond: published.acceptedInWindow / windowSeconds,
    refused503PerSecond: published.refused503InWindow / windowSeconds,
    published,
    latencyMs: settled.latencyMs,
    acceptToDeliverMs: settled.acceptToDeliverMs,
    settledMs: settled.settledMs,
    check: settled.check,
    serverCpuShare,
    serverCpuUsPerDelivery: deliveriesPerSecond === 0 ? Number.NaN : (serverCpuShare * 1e6) / deliveriesPerSecond,
    loopDelayMs: watched?.after.loopDelayMs ?? null,
    clientCpuShare,
    clientCpuUsPerRead: (window.cpuSeconds * 1e6) / window.reads,
    publisherCpuShare,
    strangerCpuShare: Math.max(0, busyShare - serverCpuShare - clientCpuShare - publisherCpuShare - runnerCpuShare),
    // Without pinning the client has a core of its own only if the scheduler gives it one: the client alone counts then.
    clientBound: (pinning ? clientCpuShare + publisherCpuShare : clientCpuShare) > CLIENT_BOUND_SHARE,
    serverCounters: await server.counters(),
    serverRssBytes: server.rssBytes(),
  };
}

/** Undefined when the server was asked too late, or did not answer. */
function watchedUsage(
  before: Usage | null,
  after: Usage | null,
  windowStartUs: number,
): { before: Usage; after: Usage } | undefined {
  if (before === null || after === null || before.atUs > windowStartUs + WATCH_WITHIN_US) return undefined;
  return { before, after };
}

function writesPerSecond(before: Usage, after: Usage): number | null {
  const from = before.counters[WRITES];
  const to = after.counters[WRITES];
  return from === undefined || to === undefined ? null : (to - from) / ((after.atUs - before.atUs) / 1e6);
}

/** What must be zero on a server that keeps its promises; deliveries under way at the deadline are told of apart. */
function faultsOf(check: Check): number {
  return (
    check.lost + check.doubled + check.outOfOrder + check.idMismatches + check.damaged + check.closedLines + check.shortLines
  );
}

function summarise(rounds: FanOutRound[]): FanOutSummary {
  const figures: FanOutFigures[] = [];
  const ratios: FanOutRatio[] = [];
  for (const ratePerSecond of new Set(rounds.map((round) => round.ratePerSecond))) {
    const ofRate = rounds.filter((round) => round.ratePerSecond === ratePerSecond);
    for (const target of new Set(ofRate.map((round) => round.target))) {
      figures.push(figuresOf(ofRate.filter((round) => round.target === target)));
    }
    for (const [of, against] of PAIRS) {
      const ratio = ratioOf(
        ofRate.filter((round) => round.target === of),
        ofRate.filter((round) => round.target === against),
      );
      if (ratio !== undefined) ratios.push(ratio);
    }
  }
  return { figures, ratios };
}

/** Undefined when no round has both. */
function ratioOf(ours: FanOutRound[], theirs: FanOutRound[]): FanOutRatio | undefined {
  const pairs = ours.flatMap((our) => {
    const their = theirs.find(({ round }) => round === our.round);
    return their === undefined ? [] : [{ our, their }];
  });
  const [first] = pairs;
  if (first === undefined) return undefined;
  const ratios = (pick: (round: FanOutRound) => number): number[] => pairs.map(({ our, their }) => pick(our) / pick(their));
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
  const middle = (pick: (round: FanOutRound) => number): number => median(rounds.map(pick));
  const sum = (pick: (round: FanOutRound) => number): number => rounds.reduce((total, round) => total + pick(round), 0);
  const loops = rounds.flatMap((round) => (round.loopDelayMs === null ? [] : [round.loopDelayMs.p99]));
  const writes = rounds.flatMap((round) => (round.writesPerSecond === null ? [] : [round.writesPerSecond]));
  return {
    target: first.target,
    ratePerSecond: first.ratePerSecond,
    rounds: rounds.length,
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
    clientCoreShare: middle((round) => round.clientCpuShare + round.publisherCpuShare),
    strangerCpuShare: Math.max(...rounds.map((round) => round.strangerCpuShare)),
    clientBoundRounds: rounds.filter((round) => round.clientBound).length,
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
    `${round.ratePerSecond}/s round ${round.round}/${rounds} ${round.target}: ` +
    `p50 ${ms(round.latencyMs.p50)} p99 ${ms(round.latencyMs.p99)}, ${short(round.deliveriesPerSecond)} deliveries/s, ` +
    `accepted ${round.acceptedPerSecond.toFixed(0)}/s, accept→deliver p99 ${ms(round.acceptToDeliverMs.p99)}, ` +
    `server ${percent(round.serverCpuShare)}, client ${percent(round.clientCpuShare)} + publisher ${percent(round.publisherCpuShare)}` +
    `${round.clientBound ? ' CLIENT BOUND' : ''}, others ${percent(round.strangerCpuShare)}, lost ${check.lost}, doubled ${check.doubled}, gaps ${check.gapEvents}` +
    `${check.undelivered > 0 ? `, undelivered ${check.undelivered}` : ''}${faultsOf(check) > 0 ? ` FAULTS ${JSON.stringify(check)}` : ''}`
  );
}

const HEAD = [
  'ev/s',
  'server',
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
      ({ against, ratePerSecond }) => against === figures.target && ratePerSecond === figures.ratePerSecond,
    );
    return [
      figures.ratePerSecond,
      TARGET_TITLES[figures.target] + (figures.clientBoundRounds > 0 ? ' (client bound)' : ''),
      ms(figures.p50Ms),
      ms(figures.p99Ms),
      ratio === undefined ? '' : ratio.p50Median.toFixed(2),
      ratio === undefined ? '' : ratio.p99Median.toFixed(2),
      short(figures.deliveriesPerSecond),
      figures.writesPerSecond === null ? '–' : short(figures.writesPerSecond),
      (figures.wireBytesPerSecond / 1e6).toFixed(0),
      figures.acceptedPerSecond.toFixed(0),
      figures.refused503PerSecond.toFixed(0),
      ms(figures.acceptToDeliverP99Ms),
      figures.serverCpuUsPerDelivery.toFixed(2),
      figures.loopDelayP99Ms === null ? '–' : ms(figures.loopDelayP99Ms),
      figures.lost,
      figures.doubled,
      figures.gapEvents,
    ];
  });
  const pairs = PAIRS.map(([of, against]) => `${TARGET_TITLES[of]} ÷ ${TARGET_TITLES[against]}`);
  return `${drawTable(HEAD, rows)}\n÷ in the row of the divisor, median of the rounds' pairs: ${pairs.join(' · ')}`;
}
