/**
 * One open-loop measurement: events at a rate to held lines, how late they came, and their cost.
 */
import type { Fleet } from '../dist/tools/load/processes/fleet.js';
import type { FleetTotals } from '../dist/tools/load/processes/totals.js';
import type { RoundOptions, RoundOutcome } from '../dist/tools/load/run/round.js';
import { readBusySeconds } from '../src/linux/processes.js';
import { nowUs, sleepUntilUs } from './clock.js';
import { InsidePublisher } from './inside-publisher.js';
import { type Latency, latencyIn, latencyOf } from './latency.js';
import type { Collections, LoopDelay, Usage } from './servers/agent.js';
import { type Verdict, verdictOn, watchCores } from './verdict.js';
import type { Opened, Visit } from './visit.js';

/** What came to the clients in the window. */
export interface WindowSeen {
  seconds: number;
  /**
   * Events delivered on all lines: bytes of all lines ÷ bytes per event of the checked ones. Of
   * gzip all of them are read.
   */
  deliveries: number;
  wireBytes: number;
  wireBytesPerEvent: number;
  reads: number;
  cpuSeconds: number;
  /** Where lines are gzip: their bytes without HTTP's framing, and what they decode to; else 0. */
  gzipBytes: number;
  plainBytes: number;
}

/** What was published. */
export interface Published {
  /** Events that were due inside the window. */
  offered: number;
  /** Answers of 2xx inside the window, whenever their events were due. */
  acceptedInWindow: number;
  refused503InWindow: number;
  /** Over the whole run. */
  sent: number;
  accepted: number;
  refused503: number;
  otherStatus: Record<string, number>;
  /** Due, but every connection was still waiting for an answer. */
  unsent: number;
  /** Sent, and neither answered in time nor over a connection that lasted. */
  unanswered: number;
  /** How late the events of the window left: the publisher's own share of every latency. */
  latenessMs: Latency;
  answerMs: Latency;
  connections: number;
  cpuSeconds: number;
}

/** What the checked lines got, and what all lines got by their bytes. */
export interface Check {
  checkedLines: number;
  expected: number;
  delivered: number;
  /** Accepted and not delivered, while a later event was: a hole. */
  lost: number;
  /** Accepted and still on its way when the deadline came. */
  undelivered: number;
  doubled: number;
  outOfOrder: number;
  /** Delivered under another id than the publisher was given. */
  idMismatches: number;
  gapEvents: number;
  endEvents: number;
  damaged: number;
  closedLines: number;
  /**
   * Lines that are not checked and have an event less than every checked line, or whose gzip could
   * not be read.
   */
  shortLines: number;
}

/**
 * What a client with thousands of lines sleeps between reads (tools/load/processes/nap.ts). With
 * 0.1 ms it was itself the limit of 10 events/s to 15,000 lines: 97 % of its core, against 77 %.
 */
export const CLIENT_NAP_MS = 1;

export interface OpenLoopOrder {
  lines: number;
  /** Other events than those of all subjects (event.ts). */
  events?: Pick<RoundOptions, 'sizeBytes' | 'body'>;
  ratePerSecond: number;
  warmUpSeconds: number;
  windowSeconds: number;
  /**
   * The load goes on after the window, so that its last events have the conditions of the first.
   */
  tailSeconds: number;
  /** Time the client sleeps between reads: CLIENT_NAP_MS where its core must not be the limit. */
  clientNapMs: number;
  /** The server publishes from within, and not the runner over HTTP. */
  publishesInside?: boolean;
  /** Events that are still under way after this count as undelivered, not as lost. */
  settleDeadlineMs: number;
}

/** The outcome of a measurement. */
export interface OpenLoopRound {
  ratePerSecond: number;
  lines: number;
  sendBuffer: string;
  opened: Opened;
  window: WindowSeen;
  deliveriesPerSecond: number;
  /** As the client reads them, including framing. */
  wireBytesPerSecond: number;
  /**
   * As the server counts them. Null where it does not, or was too busy to answer at the start or
   * the end of the window.
   */
  writesPerSecond: number | null;
  offeredPerSecond: number;
  acceptedPerSecond: number;
  refused503PerSecond: number;
  published: Published;
  /** From the moment the event was due, whatever happened to the publisher or the server. */
  latencyMs: Latency;
  acceptToDeliverMs: Latency;
  settledMs: number;
  check: Check;
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  loopDelayMs: LoopDelay | null;
  /** Garbage collections in the window; null in the same cases as the writes. */
  collections: Collections | null;
  clientCpuShare: number;
  clientCpuUsPerRead: number;
  publisherCpuShare: number;
  /**
   * What all other processes used, as a share of a core: a run is worth quoting when this is small.
   */
  strangerCpuShare: number;
  /**
   * How busy the two cores were, whatever ran there; the processes' own shares where nothing is
   * pinned.
   */
  serverCoreShare: number;
  clientCoreShare: number;
  verdict: Verdict;
  serverCounters: Record<string, number> | null;
  serverRssBytes: number;
}

const LEAD_MS = 500;
const WATCH_WITHIN_US = 500_000;
/** The counter of corked writes in src/counters.ts. */
const WRITES = 'writes_total';

/** Measures on new lines; the processes of the fleet may have been used before. */
export async function measureOpenLoop(
  here: Visit,
  fleet: Fleet,
  order: OpenLoopOrder,
): Promise<OpenLoopRound> {
  const { server } = here;
  const { lines, ratePerSecond, warmUpSeconds, windowSeconds, tailSeconds } = order;
  const loadSeconds = warmUpSeconds + windowSeconds + tailSeconds;
  const opened = await here.open(fleet, lines);
  await fleet.nap(order.clientNapMs);
  const round = here.round(fleet, {
    ratePerSecond,
    events: Math.floor(loadSeconds * ratePerSecond),
    window: { fromMs: warmUpSeconds * 1000, untilMs: (warmUpSeconds + windowSeconds) * 1000 },
    settleMs: order.settleDeadlineMs,
    ...(order.publishesInside && {
      makePublisher: (wanted) => new InsidePublisher(wanted, (series) => server.publish(series)),
    }),
    ...order.events,
  });
  const startUs = nowUs() + LEAD_MS * 1000;
  const windowStartUs = startUs + warmUpSeconds * 1e6;
  const windowEndUs = windowStartUs + windowSeconds * 1e6;
  const playing = round.play(startUs);
  // Should anything else fail first, this is no unhandled failure.
  playing.catch(() => {});

  await Promise.race([sleepUntilUs(windowStartUs), playing]);
  // A server with a backlog answers late or never; figures from /proc do not depend on answers.
  let usageBefore: Usage | null = null;
  server
    .watchLoop()
    .then(() => server.usage())
    .then(
      (usage) => (usageBefore = usage),
      () => {},
    );
  const reading = fleet.readTotals();
  const cpuBefore = server.cpuSeconds();
  const busyBefore = readBusySeconds();
  const coresSince = watchCores();
  const ownBefore = process.cpuUsage();
  const cpuFromUs = nowUs();
  const totalsBefore = await reading;
  await sleepUntilUs(windowEndUs);
  const readingAfter = fleet.readTotals();
  const cpuSeconds = (nowUs() - cpuFromUs) / 1e6;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / cpuSeconds;
  const busyShare = (readBusySeconds() - busyBefore) / cpuSeconds;
  const cores = coresSince(cpuSeconds);
  const own = process.cpuUsage(ownBefore);
  const publisherCpuShare = (own.user + own.system) / 1e6 / cpuSeconds;
  const window = windowSeen(totalsBefore, await readingAfter);
  const usageAfter = await server.usage();

  const outcome = await playing;
  const published = publishedIn(
    outcome,
    windowStartUs,
    windowEndUs,
    publisherCpuShare * windowSeconds,
  );
  // What was asked too late does not cover the window.
  const watched = watchedUsage(usageBefore, usageAfter, windowStartUs);
  const deliveriesPerSecond = window.deliveries / window.seconds;
  const clientCpuShare = window.cpuSeconds / window.seconds;
  const serverCoreShare = cores?.server ?? serverCpuShare;
  const clientCoreShare = cores?.client ?? clientCpuShare + publisherCpuShare;
  return {
    ratePerSecond,
    lines,
    sendBuffer: server.sendBuffer,
    opened,
    window,
    deliveriesPerSecond,
    wireBytesPerSecond: window.wireBytes / window.seconds,
    writesPerSecond: watched === undefined ? null : writesPerSecond(watched.before, watched.after),
    offeredPerSecond: published.offered / windowSeconds,
    acceptedPerSecond: published.acceptedInWindow / windowSeconds,
    refused503PerSecond: published.refused503InWindow / windowSeconds,
    published,
    latencyMs: latencyIn(outcome.books.latencyUs),
    acceptToDeliverMs: latencyIn(outcome.books.acceptToDeliverUs),
    settledMs: (outcome.endUs - outcome.publishEndedUs) / 1000,
    check: checkOf(outcome),
    serverCpuShare,
    serverCpuUsPerDelivery:
      deliveriesPerSecond === 0 ? Number.NaN : (serverCpuShare * 1e6) / deliveriesPerSecond,
    loopDelayMs: watched?.after.loopDelayMs ?? null,
    collections: watched?.after.collections ?? null,
    clientCpuShare,
    clientCpuUsPerRead: (window.cpuSeconds * 1e6) / window.reads,
    publisherCpuShare,
    strangerCpuShare: Math.max(0, busyShare - serverCpuShare - clientCpuShare - publisherCpuShare),
    serverCoreShare,
    clientCoreShare,
    verdict: verdictOn({
      serverShare: serverCoreShare,
      clientShare: clientCoreShare,
      doneShare: deliveriesPerSecond / ((published.offered / windowSeconds) * lines),
    }),
    serverCounters: await server.counters(),
    serverRssBytes: server.rssBytes(),
  };
}

/** Rates are added, not counts: the processes do not answer at the same time. */
function windowSeen(before: FleetTotals, after: FleetTotals): WindowSeen {
  const [first] = after.processes;
  const seconds = (first!.atUs - before.processes[0]!.atUs) / 1e6;
  const grown = (of: (counts: FleetTotals['processes'][number]) => number): number =>
    after.processes.reduce((sum, counts, nth) => {
      const from = before.processes[nth]!;
      return sum + (of(counts) - of(from)) / ((counts.atUs - from.atUs) / 1e6);
    }, 0) * seconds;
  const wireBytes = grown(({ tally }) => tally.bytes);
  const events = grown(({ tally }) => tally.checkedEvents);
  const wireBytesPerEvent =
    events === 0 ? 0 : grown(({ tally }) => tally.checkedWireBytes) / events;
  const gzipBytes = grown(({ tally }) => tally.gzipBytes);
  const derived = wireBytesPerEvent === 0 ? 0 : wireBytes / wireBytesPerEvent;
  return {
    seconds,
    deliveries: gzipBytes === 0 ? derived : events + grown(({ tally }) => tally.countedEvents),
    wireBytes,
    wireBytesPerEvent,
    reads: grown(({ tally }) => tally.reads),
    cpuSeconds: grown((counts) => counts.cpuSeconds),
    gzipBytes,
    plainBytes: grown(({ tally }) => tally.plainBytes),
  };
}

/** What a round published; `cpuSeconds` is what that took in the window. */
export function publishedIn(
  { publisher }: RoundOutcome,
  windowStartUs: number,
  windowEndUs: number,
  cpuSeconds: number,
): Published {
  const { sentUs, answeredUs, statuses } = publisher.published;
  const events = [...sentUs.keys()];
  const inWindow = (atUs: number): boolean => atUs >= windowStartUs && atUs < windowEndUs;
  const isDueInWindow = (sequence: number): boolean => inWindow(publisher.dueUs(sequence));
  const isSent = (sequence: number): boolean => sentUs[sequence]! > 0;
  const isAccepted = (sequence: number): boolean => Math.floor(statuses[sequence]! / 100) === 2;
  const isRefused = (sequence: number): boolean => statuses[sequence] === 503;
  const isAnsweredInWindow = (sequence: number): boolean => inWindow(answeredUs[sequence]!);
  const count = (...tests: ((sequence: number) => boolean)[]): number =>
    events.filter((sequence) => tests.every((test) => test(sequence))).length;
  const latencies = (us: (sequence: number) => number, ...tests: ((n: number) => boolean)[]) =>
    latencyOf(events.filter((sequence) => tests.every((test) => test(sequence))).map(us));
  const otherStatus: Record<string, number> = {};
  for (const sequence of events) {
    const status = statuses[sequence]!;
    if (status !== 0 && !isAccepted(sequence) && !isRefused(sequence))
      otherStatus[status] = (otherStatus[status] ?? 0) + 1;
  }
  return {
    offered: count(isDueInWindow),
    acceptedInWindow: count(isAccepted, isAnsweredInWindow),
    refused503InWindow: count(isRefused, isAnsweredInWindow),
    sent: count(isSent),
    accepted: count(isAccepted),
    refused503: count(isRefused),
    otherStatus,
    unsent: count((sequence) => !isSent(sequence)),
    unanswered: count(isSent, (sequence) => statuses[sequence] === 0),
    latenessMs: latencies(
      (sequence) => sentUs[sequence]! - publisher.dueUs(sequence),
      isDueInWindow,
      isSent,
    ),
    answerMs: latencies(
      (sequence) => answeredUs[sequence]! - sentUs[sequence]!,
      isDueInWindow,
      (sequence) => statuses[sequence] !== 0,
    ),
    connections: publisher.connections,
    cpuSeconds,
  };
}

/** What came to the lines of a round, beside what was published. */
export function checkOf({ books, tally }: RoundOutcome): Check {
  const expected = books.published * books.checkedClients;
  return {
    checkedLines: books.checkedClients,
    expected,
    delivered: books.checkedDelivered,
    lost: expected - books.checkedDelivered - books.underWay,
    undelivered: books.underWay,
    doubled: books.doubled,
    outOfOrder: books.outOfOrder,
    idMismatches: books.idMismatches,
    gapEvents: books.gaps,
    endEvents: tally.ends,
    damaged: tally.damaged,
    closedLines: [...books.cutOff.values()].reduce((sum, times) => sum + times, 0),
    shortLines: books.countedLosers + books.unreadClients,
  };
}

/** Undefined when the server answered too late or not at all. */
function watchedUsage(
  before: Usage | null,
  after: Usage | null,
  windowStartUs: number,
): { before: Usage; after: Usage } | undefined {
  if (before === null || after === null || before.atUs > windowStartUs + WATCH_WITHIN_US)
    return undefined;
  return { before, after };
}

function writesPerSecond(before: Usage, after: Usage): number | null {
  const from = before.counters[WRITES];
  const to = after.counters[WRITES];
  return from === undefined || to === undefined
    ? null
    : (to - from) / ((after.atUs - before.atUs) / 1e6);
}

/** Zero on a server that keeps its promises. Undelivered events are reported separately. */
export function faultsOf(check: Check): number {
  return (
    check.lost +
    check.doubled +
    check.outOfOrder +
    check.idMismatches +
    check.damaged +
    check.closedLines +
    check.shortLines
  );
}
