/**
 * One open-loop measurement: events at a rate to lines that are held, how late they came, and what
 * both sides used for them.
 */
import type { Check, Opened, WindowSeen } from './client.js';
import { nowUs, sleepUntilUs } from './clock.js';
import { PATH } from './event.js';
import type { LineClient } from './line-client.js';
import { machineBusySeconds } from './machine.js';
import type { Published } from './publisher.js';
import type { Collections, LoopDelay, Usage } from './servers/agent.js';
import type { Latency } from './statistics.js';
import { type Verdict, verdictOn, watchCores } from './verdict.js';
import type { Visit } from './visit.js';

export interface OpenLoopOrder {
  lines: number;
  ratePerSecond: number;
  warmUpSeconds: number;
  windowSeconds: number;
  /** The load goes on past the window, so that its last events meet what the first ones met. */
  tailSeconds: number;
  /**
   * How long the client sleeps between two looks at its sockets, whoever is measured; see nap.ts.
   */
  clientNapMs: number;
  /** What is still on its way then counts as undelivered, not as lost. */
  settleDeadlineMs: number;
}

/** What came of it. */
export interface OpenLoopRound {
  ratePerSecond: number;
  lines: number;
  sendBuffer: string;
  opened: Opened;
  window: WindowSeen;
  deliveriesPerSecond: number;
  /** As the client reads them, framing included. */
  wireBytesPerSecond: number;
  /**
   * As the server counts them; null where it does not, or was too busy to answer at the window's
   * start or end.
   */
  writesPerSecond: number | null;
  offeredPerSecond: number;
  acceptedPerSecond: number;
  refused503PerSecond: number;
  published: Omit<Published, 'book'>;
  /**
   * From the moment the event was due, whatever happened to the publisher or the server meanwhile.
   */
  latencyMs: Latency;
  acceptToDeliverMs: Latency;
  settledMs: number;
  check: Check;
  serverCpuShare: number;
  serverCpuUsPerDelivery: number;
  loopDelayMs: LoopDelay | null;
  /** Garbage collections in the window; null as the writes are. */
  collections: Collections | null;
  clientCpuShare: number;
  clientCpuUsPerRead: number;
  publisherCpuShare: number;
  /**
   * Of one core, what everything else on the machine used: a run is worth quoting when this is next
   * to nothing.
   */
  strangerCpuShare: number;
  /**
   * Of the two cores, with whatever ran there; the processes' own shares where nothing is pinned.
   */
  serverCoreShare: number;
  clientCoreShare: number;
  verdict: Verdict;
  serverCounters: Record<string, number> | null;
  serverRssBytes: number;
}

const LEAD_MS = 500;
const PREPARE_DEADLINE_MS = 10_000;
const ANSWER_GRACE_MS = 3_000;
const WATCH_WITHIN_US = 500_000;
/** The counter of corked writes, src/counters.ts. */
const WRITES = 'writes_total';

/** The client may have been used before: its lines are new ones. */
export async function measureOpenLoop(
  here: Visit,
  client: LineClient,
  order: OpenLoopOrder,
): Promise<OpenLoopRound> {
  const { server } = here;
  const { lines, ratePerSecond, warmUpSeconds, windowSeconds, tailSeconds } = order;
  const publisher = here.startPublisher();
  const loadSeconds = warmUpSeconds + windowSeconds + tailSeconds;
  const opened = await client.open(
    here.openOrder(lines, { sequenceLimit: Math.ceil(loadSeconds * ratePerSecond) + 1 }),
  );
  await client.nap(order.clientNapMs);
  await publisher.ask(
    'prepare',
    { port: server.port, path: PATH, ratePerSecond },
    PREPARE_DEADLINE_MS,
  );

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
  const watching = client.window({ startUs: windowStartUs, endUs: windowEndUs });
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
  const coresSince = watchCores();
  const ownBefore = process.cpuUsage();
  const cpuFromUs = nowUs();
  await sleepUntilUs(windowEndUs);
  const cpuSeconds = (nowUs() - cpuFromUs) / 1e6;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / cpuSeconds;
  const busyShare = (machineBusySeconds() - busyBefore) / cpuSeconds;
  const cores = coresSince(cpuSeconds);
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
  const settled = await client.settle({
    accepted: book,
    windowStartUs,
    windowEndUs,
    deadlineMs: order.settleDeadlineMs,
  });
  await publisher.kill();
  // What began late has missed what delayed it.
  const watched = watchedUsage(usageBefore, usageAfter, windowStartUs);
  const deliveriesPerSecond = window.deliveries / window.seconds;
  const clientCpuShare = window.cpuSeconds / window.seconds;
  const publisherCpuShare = published.cpuSeconds / windowSeconds;
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
    latencyMs: settled.latencyMs,
    acceptToDeliverMs: settled.acceptToDeliverMs,
    settledMs: settled.settledMs,
    check: settled.check,
    serverCpuShare,
    serverCpuUsPerDelivery:
      deliveriesPerSecond === 0 ? Number.NaN : (serverCpuShare * 1e6) / deliveriesPerSecond,
    loopDelayMs: watched?.after.loopDelayMs ?? null,
    collections: watched?.after.collections ?? null,
    clientCpuShare,
    clientCpuUsPerRead: (window.cpuSeconds * 1e6) / window.reads,
    publisherCpuShare,
    strangerCpuShare: Math.max(
      0,
      busyShare - serverCpuShare - clientCpuShare - publisherCpuShare - runnerCpuShare,
    ),
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

/** Undefined when the server was asked too late, or did not answer. */
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

/**
 * What must be zero on a server that keeps its promises; deliveries under way at the deadline are
 * told of apart.
 */
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
