/**
 * Long-poll: 15,000 requests that wait for one event, and how long it takes until each has its
 * answer; once with nobody asking again, once with everybody asking again at once while events go
 * on coming.
 */
import type { Child } from './child.js';
import { nowUs, sleepMs } from './clock.js';
import { PATH } from './event.js';
import { machineBusySeconds, remarkOnStrangers } from './machine.js';
import type { PollCheck, PollSettled, PollWindow, Shot } from './poll-client.js';
import type { Published } from './publisher.js';
import type { Measured, RunOptions } from './results.js';
import { type Latency, median } from './statistics.js';
import { drawTable, ms, percent } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import { type Visit, untilHeld, visit } from './visit.js';

export interface LongPollParameters {
  polls: number;
  rounds: number;
  shots: number;
  /** Of the part in which everybody asks again. */
  ratePerSecond: number;
  warmUpSeconds: number;
  windowSeconds: number;
  eventBytes: number;
  clientNapMs: number;
  targets: TargetName[];
}

export interface LongPollRound {
  target: TargetName;
  round: number;
  /** One event each, nobody asks again before all have their answers. */
  shots: Shot[];
  again: {
    published: Omit<Published, 'book'>;
    window: PollWindow;
    latencyMs: Latency;
    settledMs: number;
    serverCpuShare: number;
    serverCpuUsPerPoll: number;
    clientCpuShare: number;
    /** Of one core, what everything else on the machine used. */
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

/** Between the last poll that waits and the event: what asking took is over. */
const CALM_MS = 500;
const LEAD_MS = 200;
/** One event: the second would be due one interval on. */
const SHOT_RATE_PER_SECOND = 10;
const SHOT_MS = 150;
const HELD_DEADLINE_MS = 20_000;
const SHOT_DEADLINE_MS = 20_000;
const SETTLE_DEADLINE_MS = 10_000;
const ANSWER_GRACE_MS = 3_000;

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
      ...remarkOnStrangers(figures.target, figures.strangerCpuShare),
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
  const client = here.startPollClient();
  const publisher = here.startPublisher();
  await client.ask('open', here.pollOrder(polls), here.pollOrder(polls).deadlineMs + 1000);
  await untilHeld(server, polls, HELD_DEADLINE_MS);
  await client.ask('nap', parameters.clientNapMs, 1000);

  await publisher.ask(
    'prepare',
    { port: server.port, path: PATH, ratePerSecond: SHOT_RATE_PER_SECOND },
    10_000,
  );
  const shots: Shot[] = [];
  for (let shot = 0; shot < parameters.shots; shot++) {
    if (shot > 0) await client.ask('again', null, 5_000);
    await untilHeld(server, polls, HELD_DEADLINE_MS);
    await sleepMs(CALM_MS);
    const answered = client.ask<Shot>(
      'shoot',
      { deadlineMs: SHOT_DEADLINE_MS },
      SHOT_DEADLINE_MS + 1000,
    );
    answered.catch(() => {});
    await publish(publisher, 1, SHOT_MS / 1000);
    shots.push(await answered);
  }
  // Everybody waits again, so that the first event of the next part finds them.
  await client.ask('again', null, 5_000);
  await untilHeld(server, polls, HELD_DEADLINE_MS);
  return { target: server.name, round, shots, again: await measureAgain(here, client, parameters) };
}

async function measureAgain(
  here: Visit,
  client: Child,
  parameters: LongPollParameters,
): Promise<LongPollRound['again']> {
  const { server } = here;
  const { ratePerSecond, warmUpSeconds, windowSeconds, shots } = parameters;
  // A publisher of its own: the one of the shots has connections that the server is about to close.
  const publisher = here.startPublisher();
  await publisher.ask('prepare', { port: server.port, path: PATH, ratePerSecond }, 10_000);
  const startUs = nowUs() + LEAD_MS * 1000;
  const windowStartUs = startUs + warmUpSeconds * 1e6;
  const windowEndUs = windowStartUs + windowSeconds * 1e6;
  const loadMs = (warmUpSeconds + windowSeconds) * 1000 + LEAD_MS;
  const publishing = publisher.ask<Published>(
    'publish',
    { startUs, endUs: windowEndUs, windowStartUs, windowEndUs, graceMs: ANSWER_GRACE_MS },
    loadMs + ANSWER_GRACE_MS + 10_000,
  );
  const watching = client.ask<PollWindow>(
    'window',
    { startUs: windowStartUs, endUs: windowEndUs },
    loadMs + 10_000,
  );
  publishing.catch(() => {});
  watching.catch(() => {});
  await sleepMs((windowStartUs - nowUs()) / 1000);
  const cpuBefore = server.cpuSeconds();
  const busyBefore = machineBusySeconds();
  const fromUs = nowUs();
  await sleepMs((windowEndUs - nowUs()) / 1000);
  const seconds = (nowUs() - fromUs) / 1e6;
  const serverCpuShare = (server.cpuSeconds() - cpuBefore) / seconds;
  const busyShare = (machineBusySeconds() - busyBefore) / seconds;
  const window = await watching;
  const { book, ...published } = await publishing;
  if (published.accepted !== published.sent)
    throw new Error(`${server.name} accepted ${published.accepted} of ${published.sent} events`);
  const settled = await client.ask<PollSettled>(
    'settle',
    { lastId: shots + book.ids.length, deadlineMs: SETTLE_DEADLINE_MS },
    SETTLE_DEADLINE_MS + 5_000,
  );
  const clientCpuShare = window.cpuSeconds / window.seconds;
  return {
    published,
    window,
    latencyMs: settled.latencyMs,
    settledMs: settled.settledMs,
    serverCpuShare,
    serverCpuUsPerPoll: (serverCpuShare * 1e6) / (window.answers / window.seconds),
    clientCpuShare,
    strangerCpuShare: Math.max(
      0,
      busyShare - serverCpuShare - clientCpuShare - published.cpuSeconds / windowSeconds,
    ),
    check: settled.check,
  };
}

async function publish(publisher: Child, events: number, seconds: number): Promise<void> {
  const startUs = nowUs() + LEAD_MS * 1000;
  const endUs = startUs + seconds * 1e6;
  const order = {
    startUs,
    endUs,
    windowStartUs: startUs,
    windowEndUs: endUs,
    graceMs: ANSWER_GRACE_MS,
  };
  const published = await publisher.ask<Published>('publish', order, 20_000);
  if (published.accepted !== events)
    throw new Error(`${published.accepted} of ${events} events were accepted`);
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
