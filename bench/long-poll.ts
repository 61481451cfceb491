/**
 * Long-poll: how long it takes until 15,000 waiting requests have their answers; once with one
 * event and nobody polling again, once with everybody polling again at once while events keep
 * coming.
 */
import type { Fleet } from '../dist/tools/load/processes/fleet.js';
import { readBusySeconds } from '../src/linux/processes.js';
import { nowUs, sleepMs, sleepUntilUs } from './clock.js';
import { type Latency, latencyIn } from './latency.js';
import { remarkOnOtherProcesses } from './machine.js';
import { type Published, publishedIn } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, ms, percent } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import { type Visit, untilHeld, visit } from './visit.js';

export interface LongPollParameters {
  polls: number;
  rounds: number;
  shots: number;
  /** Of the part in which everybody polls again. */
  ratePerSecond: number;
  warmUpSeconds: number;
  windowSeconds: number;
  eventBytes: number;
  clientNapMs: number;
  targets: TargetName[];
}

/** One event and the answers of all polls to it. */
export interface Shot {
  answers: number;
  latencyMs: Latency;
  /**
   * Share of a core that the client used between the first answer and the last: near 1 it was the
   * limit.
   */
  clientBusyShare: number;
}

export interface PollWindow {
  seconds: number;
  /** Answers with an event. */
  answers: number;
  cpuSeconds: number;
}

/**
 * All but the empty answers and the reconnects must be zero on a server that keeps its promises.
 */
export interface PollCheck {
  lost: number;
  doubled: number;
  gaps: number;
  damaged: number;
  /** Events that polls had not been given when the deadline came. */
  behind: number;
  /** 204. */
  empty: number;
  /** Connections that the server closed, and that were made anew. */
  reconnects: number;
}

export interface LongPollRound {
  target: TargetName;
  round: number;
  /** One event each; nobody polls again before all have their answers. */
  shots: Shot[];
  again: {
    published: Published;
    window: PollWindow;
    latencyMs: Latency;
    settledMs: number;
    serverCpuShare: number;
    serverCpuUsPerPoll: number;
    clientCpuShare: number;
    /** What all other processes used, as a share of a core. */
    strangerCpuShare: number;
    check: PollCheck;
  };
}

export interface LongPollFigures {
  target: TargetName;
  /** Medians over all shots of all rounds. */
  shotP50Ms: number;
  shotP99Ms: number;
  shotMaxMs: number;
  shotMaxWorstMs: number;
  shotClientBusyShare: number;
  /** Medians over the rounds. */
  againP50Ms: number;
  againP99Ms: number;
  againMaxMs: number;
  pollsPerSecond: number;
  serverCpuShare: number;
  serverCpuUsPerPoll: number;
  clientCpuShare: number;
  /** The most of its rounds. */
  strangerCpuShare: number;
  lost: number;
  doubled: number;
  gaps: number;
  damaged: number;
  behind: number;
  reconnects: number;
}

const POLLS = 15_000;
const EVENT_BYTES = 256;
const CLIENT_NAP_MS = 0.1;
const TARGETS_HERE: TargetName[] = ['holdline-poll', 'raw-uws-poll'];

/** Between the last poll and the event, so that the cost of polling is not measured. */
const CALM_MS = 500;
const LEAD_MS = 200;
/** One event; publishing ends when a second one would be due. */
const SHOT_RATE_PER_SECOND = 10;
const HELD_DEADLINE_MS = 20_000;
const SETTLE_DEADLINE_MS = 10_000;

export async function measureLongPoll(
  options: RunOptions,
): Promise<Measured<LongPollParameters, LongPollRound, LongPollFigures[]>> {
  const parameters: LongPollParameters = {
    polls: options.lines ?? (options.quick ? 1_000 : POLLS),
    rounds: options.rounds ?? (options.quick ? 1 : 3),
    shots: options.quick ? 2 : 10,
    ratePerSecond: options.ratesPerSecond?.[0] ?? 1,
    warmUpSeconds: options.quick ? 1 : 3,
    windowSeconds: options.windowSeconds ?? (options.quick ? 3 : 20),
    eventBytes: EVENT_BYTES,
    clientNapMs: CLIENT_NAP_MS,
    targets: TARGETS_HERE.filter(
      (target) => absence(target) === undefined && (options.targets?.includes(target) ?? true),
    ),
  };
  const rounds: LongPollRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const target of parameters.targets) {
      const measured = await visit(target, {}, (here) => measureRound(here, round, parameters));
      rounds.push(measured);
      options.say(describeRound(measured, parameters.rounds));
    }
  }
  const summary = parameters.targets.map((target) =>
    figuresOf(rounds.filter((round) => round.target === target)),
  );
  const remarks = summary.flatMap((figures) => {
    const faults = figures.lost + figures.doubled + figures.gaps + figures.damaged + figures.behind;
    return [
      ...remarkOnOtherProcesses(figures.target, figures.strangerCpuShare),
      ...(faults > 0
        ? [`${figures.target}: ${faults} faults (lost, doubled, gaps, damaged, behind)`]
        : []),
      ...(figures.reconnects > 0
        ? [`${figures.target}: the server closed ${figures.reconnects} connections`]
        : []),
    ];
  });
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

async function measureRound(
  here: Visit,
  round: number,
  parameters: LongPollParameters,
): Promise<LongPollRound> {
  const { server } = here;
  const { polls } = parameters;
  const fleet = await here.startFleet();
  await here.open(fleet, polls);
  await fleet.nap(parameters.clientNapMs);
  await fleet.repoll(false);
  const shots: Shot[] = [];
  for (let shot = 0; shot < parameters.shots; shot++) {
    await untilHeld(server, polls, HELD_DEADLINE_MS);
    await sleepMs(CALM_MS);
    shots.push(await shoot(here, fleet));
    // Everybody waits again.
    await fleet.repoll(true);
    await fleet.repoll(false);
  }
  await untilHeld(server, polls, HELD_DEADLINE_MS);
  return { target: server.name, round, shots, again: await measureAgain(here, fleet, parameters) };
}

/** Publishes one event, and waits until every poll has been answered. */
async function shoot(here: Visit, fleet: Fleet): Promise<Shot> {
  const { books } = await here
    .round(fleet, { ratePerSecond: SHOT_RATE_PER_SECOND, events: 1 })
    .play();
  if (books.deliveringShare === undefined)
    throw new Error(`${books.expected - books.delivered} of ${books.expected} polls had no answer`);
  return {
    answers: books.delivered,
    latencyMs: latencyIn(books.latencyUs),
    clientBusyShare: books.deliveringShare,
  };
}

async function measureAgain(
  here: Visit,
  fleet: Fleet,
  parameters: LongPollParameters,
): Promise<LongPollRound['again']> {
  const { server } = here;
  const { ratePerSecond, warmUpSeconds, windowSeconds } = parameters;
  const loadSeconds = warmUpSeconds + windowSeconds;
  await fleet.repoll(true);
  const round = here.round(fleet, {
    ratePerSecond,
    events: loadSeconds * ratePerSecond,
    window: { fromMs: warmUpSeconds * 1000, untilMs: loadSeconds * 1000 },
    settleMs: SETTLE_DEADLINE_MS,
  });
  const startUs = nowUs() + LEAD_MS * 1000;
  const windowStartUs = startUs + warmUpSeconds * 1e6;
  const windowEndUs = windowStartUs + windowSeconds * 1e6;
  const playing = round.play(startUs);
  // Should anything else fail first, this is no unhandled failure.
  playing.catch(() => {});
  await Promise.race([sleepUntilUs(windowStartUs), playing]);
  const before = fleet.readTotals();
  const cpuBefore = server.cpuSeconds();
  const busyBefore = readBusySeconds();
  const ownBefore = process.cpuUsage();
  const fromUs = nowUs();
  await sleepUntilUs(windowEndUs);
  const seconds = (nowUs() - fromUs) / 1e6;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / seconds;
  const busyShare = (readBusySeconds() - busyBefore) / seconds;
  const own = process.cpuUsage(ownBefore);
  const publisherCpuShare = (own.user + own.system) / 1e6 / seconds;
  const [from] = (await before).processes;
  const [to] = (await fleet.readTotals()).processes;
  const answered = ({ answers, emptyAnswers }: { answers: number; emptyAnswers: number }): number =>
    answers - emptyAnswers;
  const window: PollWindow = {
    seconds: (to!.atUs - from!.atUs) / 1e6,
    answers: answered(to!.tally) - answered(from!.tally),
    cpuSeconds: to!.cpuSeconds - from!.cpuSeconds,
  };
  const outcome = await playing;
  const { books, tally } = outcome;
  const published = publishedIn(outcome, windowStartUs, windowEndUs, publisherCpuShare * seconds);
  if (published.accepted !== published.sent)
    throw new Error(`${server.name} accepted ${published.accepted} of ${published.sent} events`);
  const clientCpuShare = window.cpuSeconds / window.seconds;
  return {
    published,
    window,
    latencyMs: latencyIn(books.latencyUs),
    settledMs: (outcome.endUs - outcome.publishEndedUs) / 1000,
    serverCpuShare,
    serverCpuUsPerPoll: (serverCpuShare * 1e6) / (window.answers / window.seconds),
    clientCpuShare,
    strangerCpuShare: Math.max(0, busyShare - serverCpuShare - clientCpuShare - publisherCpuShare),
    check: {
      lost: books.expected - books.delivered - books.underWay,
      doubled: books.doubled,
      gaps: books.gaps,
      damaged: tally.damaged,
      behind: books.underWay,
      empty: tally.emptyAnswers,
      reconnects: tally.lostPolls,
    },
  };
}

function figuresOf(rounds: LongPollRound[]): LongPollFigures {
  const shots = rounds.flatMap((round) => round.shots);
  const ofShots = (pick: (shot: Shot) => number): number => median(shots.map(pick));
  const ofRounds = (pick: (again: LongPollRound['again']) => number): number =>
    median(rounds.map(({ again }) => pick(again)));
  const sum = (pick: (check: PollCheck) => number): number =>
    rounds.reduce((total, { again }) => total + pick(again.check), 0);
  return {
    target: rounds[0]!.target,
    shotP50Ms: ofShots(({ latencyMs }) => latencyMs.p50),
    shotP99Ms: ofShots(({ latencyMs }) => latencyMs.p99),
    shotMaxMs: ofShots(({ latencyMs }) => latencyMs.max),
    shotMaxWorstMs: Math.max(...shots.map(({ latencyMs }) => latencyMs.max)),
    shotClientBusyShare: ofShots(({ clientBusyShare }) => clientBusyShare),
    againP50Ms: ofRounds(({ latencyMs }) => latencyMs.p50),
    againP99Ms: ofRounds(({ latencyMs }) => latencyMs.p99),
    againMaxMs: ofRounds(({ latencyMs }) => latencyMs.max),
    pollsPerSecond: ofRounds(({ window }) => window.answers / window.seconds),
    serverCpuShare: ofRounds(({ serverCpuShare }) => serverCpuShare),
    serverCpuUsPerPoll: ofRounds(({ serverCpuUsPerPoll }) => serverCpuUsPerPoll),
    clientCpuShare: ofRounds(({ clientCpuShare }) => clientCpuShare),
    strangerCpuShare: Math.max(...rounds.map(({ again }) => again.strangerCpuShare)),
    lost: sum(({ lost }) => lost),
    doubled: sum(({ doubled }) => doubled),
    gaps: sum(({ gaps }) => gaps),
    damaged: sum(({ damaged }) => damaged),
    behind: sum(({ behind }) => behind),
    reconnects: sum(({ reconnects }) => reconnects),
  };
}

function describeRound({ target, round, shots, again }: LongPollRound, rounds: number): string {
  const list = (pick: (shot: Shot) => number): string =>
    shots.map((shot) => pick(shot).toFixed(0)).join(' ');
  return (
    `round ${round}/${rounds} ${target}: p99 of each event ${list(({ latencyMs }) => latencyMs.p99)} ms ` +
    `(client busy ${percent(median(shots.map(({ clientBusyShare }) => clientBusyShare)))}); asking again p50 ${ms(again.latencyMs.p50)} ` +
    `p99 ${ms(again.latencyMs.p99)}, server ${percent(again.serverCpuShare)}, client ${percent(again.clientCpuShare)}, ` +
    `${again.serverCpuUsPerPoll.toFixed(1)} µs a poll, ${JSON.stringify(again.check)}`
  );
}

function describe(summary: LongPollFigures[]): string {
  return drawTable(
    [
      'server',
      'p50',
      'p99',
      'last',
      'client busy',
      'again p50',
      'again p99',
      'last',
      'polls/s',
      'server',
      'µs/poll',
      'client',
    ],
    summary.map((figures) => [
      TARGET_TITLES[figures.target],
      ms(figures.shotP50Ms),
      ms(figures.shotP99Ms),
      ms(figures.shotMaxMs),
      percent(figures.shotClientBusyShare),
      ms(figures.againP50Ms),
      ms(figures.againP99Ms),
      ms(figures.againMaxMs),
      figures.pollsPerSecond.toFixed(0),
      percent(figures.serverCpuShare),
      figures.serverCpuUsPerPoll.toFixed(1),
      percent(figures.clientCpuShare),
    ]),
  );
}
