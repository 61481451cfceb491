/**
 * Alternatives: mechanisms that lost to Holdline's, each in the same small server, and Holdline
 * itself; at a rate that is just too high for a write for each event and line, and at one far
 * beyond.
 */
import { MECHANISMS, type MechanismName } from './alternatives/mechanisms.js';
import { DATA_BYTES } from './event.js';
import { hasCompiler } from './compile.js';
import { remarkOnOtherProcesses } from './machine.js';
import { CLIENT_NAP_MS, type OpenLoopRound, measureOpenLoop } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import type { AlternativeSettings } from './servers/alternative.js';
import type { Usage } from './servers/agent.js';
import { median } from './statistics.js';
import { drawTable, fixed, ms, percent, short } from './table.js';
import { counts, remarkOnDiscarded, roundsLeft } from './verdict.js';
import { type Visit, visit } from './visit.js';

/** With Holdline itself: what the winner costs with replay, gaps and heartbeats. */
export type AlternativeName = MechanismName | 'holdline';

export interface AlternativesParameters {
  lines: number;
  eventBytes: number;
  ratesPerSecond: number[];
  rounds: number;
  warmUpSeconds: number;
  windowSeconds: number;
  reader: boolean;
  names: AlternativeName[];
}

export interface AlternativesRound extends OpenLoopRound {
  name: AlternativeName;
  round: number;
  /** V8 heap for each line before anything is published. */
  heapBytesPerLine: number;
}

/** Medians of the rounds that count; NaN, which JSON writes as null, where none does. */
export interface AlternativesFigures {
  name: AlternativeName;
  ratePerSecond: number;
  rounds: number;
  discardedRounds: number;
  deliveriesPerSecond: number;
  writesPerSecond: number | null;
  p50Ms: number;
  p99Ms: number;
  serverCoreShare: number;
  serverCpuUsPerDelivery: number;
  /** Share of the window; null where the server was too busy to answer. */
  collectingShare: number | null;
  collectionsPerSecond: number | null;
  heapBytesPerLine: number;
  /** At the end of the window. */
  serverRssBytes: number;
  lost: number;
}

const NAMES = [...(Object.keys(MECHANISMS) as MechanismName[]), 'holdline' as const];
const LINES = 5_000;
const RATES_PER_SECOND = [100, 1_000];
const ROUNDS = 3;
const WARM_UP_SECONDS = 1;
const WINDOW_SECONDS = 4;
const TAIL_SECONDS = 0.25;
/** A mechanism that falls behind drops old events; the rest is not waited for. */
const SETTLE_DEADLINE_MS = 2_000;

export async function measureAlternatives(
  options: RunOptions,
): Promise<Measured<AlternativesParameters, AlternativesRound, AlternativesFigures[]>> {
  const parameters: AlternativesParameters = {
    lines: options.lines ?? (options.quick ? 1_000 : LINES),
    eventBytes: DATA_BYTES,
    ratesPerSecond: options.ratesPerSecond ?? RATES_PER_SECOND,
    rounds: options.rounds ?? (options.quick ? 1 : ROUNDS),
    warmUpSeconds: WARM_UP_SECONDS,
    windowSeconds: options.windowSeconds ?? (options.quick ? 2 : WINDOW_SECONDS),
    reader: hasCompiler,
    names: NAMES.filter((name) => options.targets?.includes(name) ?? true),
  };
  const rounds: AlternativesRound[] = [];
  for (let round = 1; round <= parameters.rounds; round++) {
    for (const name of parameters.names) {
      const measured = await measureVisit(name, round, parameters);
      rounds.push(...measured);
      for (const one of measured) options.say(describeRound(one, parameters.rounds));
    }
  }
  const summary = summarise(rounds, parameters);
  const remarks = summary.flatMap((figures) => {
    const where = `${figures.name} at ${figures.ratePerSecond}/s`;
    const own = ofFigures(rounds, figures);
    return [
      ...remarkOnDiscarded(where, own),
      ...remarkOnOtherProcesses(
        where,
        Math.max(...own.map(({ strangerCpuShare }) => strangerCpuShare)),
      ),
    ];
  });
  return { parameters, rounds, summary, remarks, table: describe(summary) };
}

function measureVisit(
  name: AlternativeName,
  round: number,
  parameters: AlternativesParameters,
): Promise<AlternativesRound[]> {
  const settings = name === 'holdline' ? {} : ({ mechanism: name } satisfies AlternativeSettings);
  return visit(name === 'holdline' ? 'holdline' : 'alternative', settings, async (here) => {
    const fleet = await here.startFleet({ countsInC: true });
    const before = await heapBytes(here);
    await here.open(fleet, parameters.lines);
    const heapBytesPerLine = ((await heapBytes(here)) - before) / parameters.lines;
    const rounds: AlternativesRound[] = [];
    for (const ratePerSecond of parameters.ratesPerSecond) {
      await fleet.leave();
      const order = {
        ...parameters,
        ratePerSecond,
        tailSeconds: TAIL_SECONDS,
        clientNapMs: CLIENT_NAP_MS,
        settleDeadlineMs: SETTLE_DEADLINE_MS,
      };
      rounds.push({
        name,
        round,
        heapBytesPerLine,
        ...(await measureOpenLoop(here, fleet, order)),
      });
    }
    return rounds;
  });
}

/** V8 heap after garbage collection, including typed arrays. */
async function heapBytes({ server }: Visit): Promise<number> {
  // The second run collects what finalizers released in the first.
  await server.gc();
  await server.gc();
  const usage: Usage | null = await server.usage();
  if (usage === null) throw new Error(`${server.name} did not report its memory`);
  return usage.heapUsedBytes + usage.externalBytes;
}

function ofFigures(
  rounds: AlternativesRound[],
  figures: Pick<AlternativesFigures, 'name' | 'ratePerSecond'>,
): AlternativesRound[] {
  return rounds.filter(
    ({ name, ratePerSecond }) => name === figures.name && ratePerSecond === figures.ratePerSecond,
  );
}

function summarise(
  rounds: AlternativesRound[],
  { names, ratesPerSecond }: AlternativesParameters,
): AlternativesFigures[] {
  return ratesPerSecond.flatMap((ratePerSecond) =>
    names.map((name) => figuresOf(name, ratePerSecond, ofFigures(rounds, { name, ratePerSecond }))),
  );
}

function figuresOf(
  name: AlternativeName,
  ratePerSecond: number,
  rounds: AlternativesRound[],
): AlternativesFigures {
  const kept = rounds.filter(counts);
  const middle = (pick: (round: AlternativesRound) => number): number => median(kept.map(pick));
  const known = (pick: (round: AlternativesRound) => number | null): number | null => {
    const values = kept.map(pick).filter((value) => value !== null);
    return values.length === 0 ? null : median(values);
  };
  return {
    name,
    ratePerSecond,
    rounds: rounds.length,
    discardedRounds: rounds.length - kept.length,
    deliveriesPerSecond: middle((round) => round.deliveriesPerSecond),
    writesPerSecond: known((round) => round.writesPerSecond),
    p50Ms: middle((round) => round.latencyMs.p50),
    p99Ms: middle((round) => round.latencyMs.p99),
    serverCoreShare: middle((round) => round.serverCoreShare),
    serverCpuUsPerDelivery: middle((round) => round.serverCpuUsPerDelivery),
    collectingShare: known((round) => collecting(round)?.share ?? null),
    collectionsPerSecond: known((round) => collecting(round)?.perSecond ?? null),
    heapBytesPerLine: median(rounds.map((round) => round.heapBytesPerLine)),
    serverRssBytes: middle((round) => round.serverRssBytes),
    lost: rounds.reduce((sum, { check }) => sum + check.lost, 0),
  };
}

/** Garbage collection over the window of a round. */
function collecting({
  collections,
  window,
}: AlternativesRound): { share: number; perSecond: number } | undefined {
  if (collections === null) return undefined;
  return {
    share: collections.ms / 1000 / window.seconds,
    perSecond: collections.count / window.seconds,
  };
}

function describeRound(round: AlternativesRound, rounds: number): string {
  const garbage = collecting(round);
  return (
    `round ${round.round}/${rounds} ${round.name} at ${round.ratePerSecond}/s: ${short(round.deliveriesPerSecond)} deliveries/s, ` +
    `p99 ${ms(round.latencyMs.p99)}, ${round.serverCpuUsPerDelivery.toFixed(2)} µs each, server ${percent(round.serverCoreShare)}, ` +
    `client ${percent(round.clientCoreShare)}, ${counts(round) ? round.verdict : `DISCARDED: ${round.verdict}`}, ` +
    `garbage ${garbage === undefined ? '–' : percent(garbage.share)}, ${round.heapBytesPerLine.toFixed(0)} B of heap a line, lost ${round.check.lost}`
  );
}

export function alternativeTitle(name: AlternativeName): string {
  return name === 'holdline' ? 'Holdline itself' : MECHANISMS[name].title;
}

function describe(summary: AlternativesFigures[]): string {
  return drawTable(
    [
      'ev/s',
      '',
      'rounds',
      'deliv./s',
      'writes/s',
      'p50',
      'p99',
      'server',
      'CPU µs/del.',
      'garbage',
      'heap a line',
      'RSS',
      'lost',
    ],
    summary.map((figures) => [
      figures.ratePerSecond,
      alternativeTitle(figures.name),
      roundsLeft(figures),
      short(figures.deliveriesPerSecond),
      figures.writesPerSecond === null ? '–' : short(figures.writesPerSecond),
      ms(figures.p50Ms),
      ms(figures.p99Ms),
      percent(figures.serverCoreShare),
      fixed(figures.serverCpuUsPerDelivery, 2),
      figures.collectingShare === null ? '–' : percent(figures.collectingShare),
      `${figures.heapBytesPerLine.toFixed(0)} B`,
      `${fixed(figures.serverRssBytes / 2 ** 20, 0)} MiB`,
      figures.lost,
    ]),
  );
}
