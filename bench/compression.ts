/**
 * Compression: what compressed lines give and cost beside plain ones of the same server, turn by
 * turn: bytes, processor, latency and the most that is delivered. Their memory is in memory.ts.
 */
import {
  type CompressionRound,
  type CompressionSummary,
  ENCODINGS,
  type EncodingTarget,
  aimsOf,
  describeCompression,
  summariseCompression,
} from './compression-figures.js';
import { type EventKind, bodiesOf, eventBytesOf } from './compression-events.js';
import { hasCompiler } from './compile.js';
import { remarkOnOtherProcesses } from './machine.js';
import { CLIENT_NAP_MS, faultsOf, measureOpenLoop } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { fixed, ms, percent, short } from './table.js';
import { absence } from './targets.js';
import { counts, remarkOnDiscarded } from './verdict.js';
import { visit } from './visit.js';

interface Row {
  events: EventKind;
  ratePerSecond: number;
  lines: number;
}

export interface CompressionParameters {
  rounds: number;
  lines: number;
  rows: Row[];
  targets: EncodingTarget[];
  eventBytes: Record<string, number>;
  checkedShare: number;
  /** Whether a C process holds the lines that are not checked. */
  reader: boolean;
  warmUpSeconds: number;
  windowSeconds: number;
  tailSeconds: number;
  clientNapMs: number;
}

const LINES = 15_000;
/** Of which a sweep is so short that each event is a block of its own. */
const FEW_LINES = 200;
const ROWS: Omit<Row, 'lines'>[] = [
  { events: 'ticks', ratePerSecond: 5 },
  { events: 'ticks', ratePerSecond: 100 },
  { events: 'random ticks', ratePerSecond: 100 },
  { events: 'ticks', ratePerSecond: 1000 },
  { events: 'ticks', ratePerSecond: 1500 },
];
const ALONE: Row = { events: 'ticks', ratePerSecond: 100, lines: FEW_LINES };
const FULL = { rounds: 3, warmUpSeconds: 3, windowSeconds: 15 };
const QUICK = { rounds: 1, warmUpSeconds: 1, windowSeconds: 3 };
const QUICK_LINES = 2_000;
/**
 * Each checked line inflates all it is given; the others are read in full, too, by a process in C
 * that decodes a block once for all of them.
 */
const CHECKED_SHARE = 0.002;
const TAIL_SECONDS = 0.5;
const SETTLE_DEADLINE_MS = 10_000;

/** Both encodings are of servers that offer compression. */
const SETTINGS = { compress: 'shared' };

export async function measureCompression(
  options: RunOptions,
): Promise<Measured<CompressionParameters, CompressionRound, CompressionSummary>> {
  const why = absence('holdline');
  if (why !== undefined) throw new Error(why);
  const parameters = chooseParameters(options);
  const rounds: CompressionRound[] = [];
  for (const row of parameters.rows)
    for (let round = 1; round <= parameters.rounds; round++)
      for (const target of parameters.targets) {
        const measured = await measureTurn(target, row, round, parameters);
        rounds.push(measured);
        options.say(describeRound(measured, parameters.rounds));
      }
  const summary = summariseCompression(rounds);
  const aims = aimsOf(summary, parameters.lines);
  return {
    parameters,
    rounds,
    summary,
    remarks: remarksOn(rounds, summary),
    table: describeCompression(summary, parameters.lines),
    passed: options.quick || aims.every(({ isKept }) => isKept),
  };
}

/** `--targets` are holdline (plain) and holdline-gzip. */
function chooseParameters(options: RunOptions): CompressionParameters {
  const size = options.quick ? QUICK : FULL;
  const lines = options.lines ?? (options.quick ? QUICK_LINES : LINES);
  const { ratesPerSecond } = options;
  const isWanted = ({ ratePerSecond }: { ratePerSecond: number }): boolean =>
    ratesPerSecond?.includes(ratePerSecond) ?? true;
  return {
    rounds: options.rounds ?? size.rounds,
    lines,
    rows: [...ROWS.map((row) => ({ ...row, lines })), ALONE].filter(isWanted),
    targets: ENCODINGS.filter((target) => options.targets?.includes(target) ?? true),
    eventBytes: Object.fromEntries(
      ROWS.map(({ events }) => [events, eventBytesOf(events)] as const),
    ),
    checkedShare: CHECKED_SHARE,
    reader: hasCompiler,
    warmUpSeconds: size.warmUpSeconds,
    windowSeconds: options.windowSeconds ?? size.windowSeconds,
    tailSeconds: TAIL_SECONDS,
    clientNapMs: CLIENT_NAP_MS,
  };
}

function measureTurn(
  target: EncodingTarget,
  { events, ratePerSecond, lines }: Row,
  round: number,
  parameters: CompressionParameters,
): Promise<CompressionRound> {
  return visit(target, SETTINGS, async (here) => {
    const fleet = await here.startFleet({ countsInC: true, checkedShare: CHECKED_SHARE });
    const measured = await measureOpenLoop(here, fleet, {
      ...parameters,
      lines,
      ratePerSecond,
      events: { sizeBytes: eventBytesOf(events), body: bodiesOf(events) },
      settleDeadlineMs: SETTLE_DEADLINE_MS,
    });
    return { events, target, round, ...measured };
  });
}

function remarksOn(rounds: readonly CompressionRound[], summary: CompressionSummary): string[] {
  return summary.figures.flatMap((figures) => {
    const { target, events, ratePerSecond, lines, faults, undelivered } = figures;
    const where = `${target}, ${events} at ${ratePerSecond}/s to ${lines} lines`;
    const own = rounds.filter(
      (round) =>
        round.target === target &&
        round.events === events &&
        round.ratePerSecond === ratePerSecond &&
        round.lines === lines,
    );
    return [
      ...remarkOnDiscarded(where, own),
      ...remarkOnOtherProcesses(where, figures.strangerCpuShare),
      ...(faults > 0 ? [`${where}: ${faults} faults in the streams`] : []),
      ...(undelivered > 0
        ? [
            `${where}: ${undelivered} accepted deliveries of checked lines were still under way ${SETTLE_DEADLINE_MS} ms after the end`,
          ]
        : []),
    ];
  });
}

function describeRound(round: CompressionRound, rounds: number): string {
  const { check } = round;
  return (
    `${round.events} ${round.ratePerSecond}/s round ${round.round}/${rounds} ${round.target}, ${round.lines} lines: ` +
    `${fixed(round.window.wireBytesPerEvent, 1)} B a delivery, p50 ${ms(round.latencyMs.p50)} p99 ${ms(round.latencyMs.p99)}, ` +
    `${short(round.deliveriesPerSecond)} deliveries/s, ${short(round.writesPerSecond)} writes/s, accepted ${fixed(round.acceptedPerSecond, 0)}/s, ` +
    `accept→deliver p99 ${ms(round.acceptToDeliverMs.p99)}, server ${percent(round.serverCpuShare)} (core ${percent(round.serverCoreShare)}), ` +
    `client ${percent(round.clientCpuShare)} + publisher ${percent(round.publisherCpuShare)} (core ${percent(round.clientCoreShare)}), ` +
    `${counts(round) ? round.verdict : `DISCARDED: ${round.verdict}`}, others ${percent(round.strangerCpuShare)}` +
    `${check.undelivered > 0 ? `, undelivered ${check.undelivered}` : ''}${faultsOf(check) > 0 ? ` FAULTS ${JSON.stringify(check)}` : ''}`
  );
}
