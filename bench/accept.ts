/**
 * Accept: how long 15,000 lines take that come back at once, each with the replay of what it
 * missed, from the first connect to the last byte.
 */
import { SignJWT } from 'jose';
import { Published } from '../dist/tools/load/books/published.js';
import { CONNECTS_AT_ONCE } from '../dist/tools/load/processes/counting-process.js';
import type { Fleet } from '../dist/tools/load/processes/fleet.js';
import type { Replay } from '../dist/tools/load/processes/messages.js';
import { sleepMs } from './clock.js';
import { frameBytes } from './event.js';
import type { Measured, RunOptions } from './results.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms } from './table.js';
import { TARGET_TITLES, type TargetName, absence } from './targets.js';
import {
  type Verdict,
  counts,
  remarkOnDiscarded,
  roundsLeft,
  verdictOn,
  watchCores,
} from './verdict.js';
import { type Opened, type Visit, visit } from './visit.js';

interface Variant {
  name: string;
  target: TargetName;
  replayEvents: number;
  /** Each line shows a token that has to be verified. */
  hasToken?: boolean;
}

export interface AcceptParameters {
  lines: number;
  rounds: number;
  connectsAtOnce: number;
  eventBytes: number;
  variants: Variant[];
}

export interface AcceptRound {
  variant: string;
  target: TargetName;
  round: number;
  opened: Opened;
  elapsedMs: number;
  serverCpuSeconds: number;
  clientCpuShare: number;
  verdict: Verdict;
  /** Checked by the bytes of every line, and by the ids of one in a hundred. */
  linesWithWholeReplay: number;
}

export interface AcceptFigures {
  variant: string;
  target: TargetName;
  elapsedMs: number;
  elapsedMsOfRounds: number[];
  /**
   * Of all rounds, also those with the client at its limit: the server takes no longer than that.
   */
  elapsedMsAtMost: number;
  linesPerSecond: number;
  serverCpuUsPerLine: number;
  rounds: number;
  discardedRounds: number;
}

const LINES = 15_000;
const REPLAY_EVENTS = 50;
const EVENT_BYTES = 256;
/** Slow enough that publishing takes no part in what is measured. */
const PUBLISH_RATE_PER_SECOND = 100;
/** More than the replay, so that it begins in the middle of what the server keeps. */
const PUBLISHED_EVENTS = 80;
const WARM_UP_LINES = 2_000;
/** Anything that a server sends after the replay has come by then. */
const SETTLE_MS = 500;

/** The floors cannot replay: they show what accepting costs without it. */
const VARIANTS: Variant[] = [
  { name: `with a replay of ${REPLAY_EVENTS}`, target: 'holdline', replayEvents: REPLAY_EVENTS },
  { name: 'without replay', target: 'holdline', replayEvents: 0 },
  { name: 'with a token (HS256)', target: 'holdline', replayEvents: 0, hasToken: true },
  { name: 'without replay', target: 'raw-uws', replayEvents: 0 },
  { name: 'without replay', target: 'send-loop', replayEvents: 0 },
];

const TOKEN_SECRET = 'a-secret-of-the-bench-which-is-no-secret-at-all';

/** What every line shows: an hour's right to subscribe to everything. */
function token(): Promise<string> {
  return new SignJWT({ holdline: { subscribe: ['**'] } })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bench')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(TOKEN_SECRET));
}

export async function measureAccept(
  options: RunOptions,
): Promise<Measured<AcceptParameters, AcceptRound, AcceptFigures[]>> {
  const parameters: AcceptParameters = {
    lines: options.lines ?? (options.quick ? 2_000 : LINES),
    rounds: options.rounds ?? (options.quick ? 1 : 5),
    connectsAtOnce: CONNECTS_AT_ONCE,
    eventBytes: EVENT_BYTES,
    variants: VARIANTS.filter(
      ({ target }) => absence(target) === undefined && (options.targets?.includes(target) ?? true),
    ),
  };
  const rounds: AcceptRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const variant of parameters.variants) {
      const measured = await visit(
        variant.target,
        variant.hasToken === true ? { jwtSecret: TOKEN_SECRET, maxLinesPerUser: 0 } : {},
        (here) => measureRound(here, variant, round, parameters.lines),
        variant.hasToken === true ? await token() : undefined,
      );
      rounds.push(measured);
      options.say(
        `round ${round}/${parameters.rounds} ${variant.target} ${variant.name}: ${ms(measured.elapsedMs)} for ${parameters.lines} lines, ` +
          `server ${measured.serverCpuSeconds.toFixed(2)} s CPU${counts(measured) ? '' : `, DISCARDED: ${measured.verdict}`}`,
      );
    }
  }
  const summary = summarise(rounds, parameters.lines);
  const remarks = summary.flatMap(({ target, variant }) =>
    remarkOnDiscarded(
      `${target} ${variant}`,
      rounds.filter((round) => round.target === target && round.variant === variant),
    ),
  );
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

async function measureRound(
  here: Visit,
  variant: Variant,
  round: number,
  lines: number,
): Promise<AcceptRound> {
  const { server } = here;
  const fleet = await here.startFleet({ countsInC: true });
  const history =
    variant.replayEvents === 0
      ? undefined
      : await publishHistory(here, fleet, variant.replayEvents);
  // The first lines of fresh processes pay for compilation; a server with so many clients has been
  // up for a while.
  await here.open(fleet, WARM_UP_LINES);
  await fleet.leave();
  await sleepMs(SETTLE_MS);
  const cpuBefore = server.cpuSeconds();
  const clientBefore = await cpuSecondsOf(fleet);
  const coresSince = watchCores();
  const opened = await here.open(fleet, lines, { replay: history?.replay, atOnce: true });
  const cores = coresSince(opened.elapsedMs / 1000);
  const clientAfter = await cpuSecondsOf(fleet);
  const serverCpuSeconds = server.cpuSeconds() - cpuBefore;
  await sleepMs(SETTLE_MS);
  if (history !== undefined) await checkReplay(fleet, history);
  const clientCpuShare = (clientAfter - clientBefore) / (opened.elapsedMs / 1000);
  return {
    variant: variant.name,
    target: server.name,
    round,
    opened,
    elapsedMs: opened.elapsedMs,
    serverCpuSeconds,
    clientCpuShare,
    verdict: verdictOn({
      serverShare: cores?.server ?? serverCpuSeconds / (opened.elapsedMs / 1000),
      clientShare: cores?.client ?? clientCpuShare,
    }),
    linesWithWholeReplay: history === undefined ? 0 : lines,
  };
}

async function cpuSecondsOf(fleet: Fleet): Promise<number> {
  const { processes } = await fleet.readTotals();
  return processes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
}

interface History {
  replay: Replay;
  /** The events of the replay. */
  replayed: Published;
}

async function publishHistory(here: Visit, fleet: Fleet, replayEvents: number): Promise<History> {
  const { books, publisher } = await here
    .round(fleet, { ratePerSecond: PUBLISH_RATE_PER_SECOND, events: PUBLISHED_EVENTS })
    .play();
  if (books.published !== PUBLISHED_EVENTS)
    throw new Error(`${books.published} of ${PUBLISHED_EVENTS} events were accepted`);
  const sequences = [...publisher.published.ids.entries()].sort(([, a], [, b]) => a - b);
  const replayed = new Published(PUBLISHED_EVENTS);
  for (const [sequence, id] of sequences.slice(-replayEvents)) replayed.add(sequence, id);
  const ids = sequences.map(([, id]) => id);
  return {
    replay: {
      afterId: ids.at(-replayEvents - 1)!,
      events: replayEvents,
      bytes: ids.slice(-replayEvents).reduce((sum, id) => sum + frameBytes(id), 0),
      published: PUBLISHED_EVENTS,
    },
    replayed,
  };
}

/** Throws when a line was given less or more than its replay. */
async function checkReplay(fleet: Fleet, { replay, replayed }: History): Promise<void> {
  const before = await fleet.readTotals();
  const { books } = await fleet.settle({ published: replayed, pending: 0, answered: 0 });
  const { ends, damaged } = before.tally;
  const faults = books.doubled + books.outOfOrder + books.gaps + books.cutOff.size + ends + damaged;
  const wanted = books.checkedClients * replay.events;
  if (books.checkedDelivered !== wanted || replayed.count !== replay.events || faults > 0) {
    throw new Error(
      `the checked lines were replayed ${books.checkedDelivered} of ${wanted} events, with ${faults} faults`,
    );
  }
  // The first block and the framing together are less than one more frame.
  const oneMoreFrame = replay.bytes + replay.bytes / replay.events;
  const { min, max } = fleet.lineBytes ?? { min: replay.bytes, max: replay.bytes };
  if (min < replay.bytes || max >= oneMoreFrame)
    throw new Error(`a replay is ${replay.bytes} bytes, lines got from ${min} to ${max}`);
}

function summarise(rounds: AcceptRound[], lines: number): AcceptFigures[] {
  const keys = new Set(rounds.map((round) => `${round.target} ${round.variant}`));
  return [...keys].map((key) => {
    const own = rounds.filter((round) => `${round.target} ${round.variant}` === key);
    const kept = own.filter(counts);
    const elapsedMs = median(kept.map((round) => round.elapsedMs));
    return {
      variant: own[0]!.variant,
      target: own[0]!.target,
      elapsedMs,
      elapsedMsOfRounds: kept.map((round) => round.elapsedMs),
      elapsedMsAtMost: median(own.map((round) => round.elapsedMs)),
      linesPerSecond: (lines * 1000) / elapsedMs,
      serverCpuUsPerLine: (median(kept.map((round) => round.serverCpuSeconds)) * 1e6) / lines,
      rounds: own.length,
      discardedRounds: own.length - kept.length,
    };
  });
}

function describe(summary: AcceptFigures[]): string {
  return drawTable(
    ['server', '', 'first connect → last line', 'rounds', 'lines/s', 'server CPU µs/line'],
    summary.map((figures) => [
      TARGET_TITLES[figures.target],
      figures.variant,
      figures.discardedRounds === figures.rounds
        ? `at most ${ms(figures.elapsedMsAtMost)}`
        : ms(figures.elapsedMs),
      figures.elapsedMsOfRounds.map((elapsed) => elapsed.toFixed(0)).join(' ') ||
        roundsLeft(figures),
      fixed(figures.linesPerSecond, 0),
      fixed(figures.serverCpuUsPerLine, 1),
    ]),
  );
}
