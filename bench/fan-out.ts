/**
 * Fan-out: events at three rates to 15,000 lines, event streams and WebSockets, Holdline beside raw
 * uWebSockets.js, the bare C loop and its rivals, turn by turn.
 */
import { CONNECTS_AT_ONCE } from '../dist/tools/load/processes/counting-process.js';
import { freeOtherThreads } from './child.js';
import { hasCompiler } from './compile.js';
import { LOOP_PINNED_WORDS, remarkOnOtherProcesses } from './machine.js';
import {
  type FanOutFailure,
  type FanOutRound,
  type FanOutSummary,
  describeSummary,
  summarise,
} from './fan-out-figures.js';
import { CLIENT_NAP_MS, faultsOf, measureOpenLoop } from './open-loop.js';
import type { Measured, RunOptions } from './results.js';
import { ms, percent, short } from './table.js';
import { RIVALS, type TargetName, absence, hasLoop } from './targets.js';
import { counts, remarkOnDiscarded } from './verdict.js';
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
  clientNapMs: number;
  /**
   * Whether a server's threads but its first one, a log's among them, have all cores, as nobody
   * keeps them on the core of the loop: all share its core without.
   */
  freesThreads: boolean;
  /** Whether the server publishes from within; the runner over HTTP without. */
  publishesInside: boolean;
  rates: RateParameters[];
  targets: TargetName[];
  absent: Record<string, string>;
}

export interface RateParameters {
  ratePerSecond: number;
  rounds: number;
  windowSeconds: number;
  targets: TargetName[];
}

const FAN_OUT_TARGETS: TargetName[] = [
  'holdline',
  'holdline-ws',
  'raw-uws',
  'raw-uws-ws',
  'slice-loop',
  'send-loop',
  'nchan',
  'pushpin',
  'node-http',
  'better-sse',
  'durable-streams',
];
/** Measured only where --targets names them; `fan-out-logs` does. */
const LOG_TARGETS: TargetName[] = ['holdline-lmdb', 'holdline-nats'];
const RIVAL_WINDOW_SECONDS = 10;
/**
 * Above it others are measured only where --targets names them: rivals have shown their limit, and
 * of the floors that batch nothing most rounds would measure the client.
 */
const OTHERS_RATE_MAX = 10;
/** Ours, and the loop whose deliveries ours are a share of. */
const EVERY_RATE: ReadonlySet<TargetName> = new Set(['holdline', 'holdline-ws', 'slice-loop']);
const LINES = 15_000;
const FEWER_LINES = 4_000;
const EVENT_BYTES = 256;
const WARM_UP_SECONDS = 3;
const TAIL_SECONDS = 0.5;
const FULL_RATES: Omit<RateParameters, 'targets'>[] = [
  { ratePerSecond: 10, rounds: 5, windowSeconds: 20 },
  { ratePerSecond: 100, rounds: 3, windowSeconds: 15 },
  { ratePerSecond: 1000, rounds: 3, windowSeconds: 15 },
];
const QUICK = { lines: 2_000, fewerLines: 500, rounds: 1, windowSeconds: 3, warmUpSeconds: 1 };

const SETTLE_DEADLINE_MS = 10_000;

/** What differs where the fan-out is another subject. */
type Variant = Partial<Pick<FanOutParameters, 'freesThreads' | 'publishesInside'>>;

export async function measureFanOut(
  options: RunOptions,
  variant: Variant = {},
): Promise<Measured<FanOutParameters, FanOutRound, FanOutSummary>> {
  const parameters = chooseParameters(options, variant);
  const remarks: string[] = [];
  for (const [target, why] of Object.entries(parameters.absent))
    remarks.push(`${target} was not measured: ${why}`);
  const rounds: FanOutRound[] = [];
  const failures: FanOutFailure[] = [];
  for (const rate of parameters.rates) {
    for (let round = 1; round <= rate.rounds; round++) {
      for (const target of rate.targets) {
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
    remarks.push(...remarkOnOtherProcesses(where, figures.strangerCpuShare));
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
  return {
    parameters,
    rounds,
    summary,
    remarks,
    ...(parameters.freesThreads && { pinned: LOOP_PINNED_WORDS }),
    table: describeSummary(summary),
  };
}

/** The fan-out with other defaults. */
export function fanOutWith(
  {
    lines,
    ...defaults
  }: {
    readonly lines?: number;
    readonly targets: string[];
    readonly ratesPerSecond: number[];
    readonly rounds: number;
  },
  variant: Variant,
): (options: RunOptions) => ReturnType<typeof measureFanOut> {
  return (options) =>
    measureFanOut(
      {
        ...options,
        targets: options.targets ?? defaults.targets,
        ratesPerSecond: options.ratesPerSecond ?? defaults.ratesPerSecond,
        lines: options.lines ?? (options.quick ? undefined : lines),
        rounds: options.rounds ?? (options.quick ? undefined : defaults.rounds),
      },
      variant,
    );
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
    if (parameters.freesThreads) freeOtherThreads(here.server.pid);
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
  const { target, rate, parameters } = turn;
  const { ratePerSecond } = rate;
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
      // After a failure fewer lines are tried at every rate, otherwise only at the lowest.
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

function chooseParameters(
  options: RunOptions,
  { freesThreads = false, publishesInside = false }: Variant,
): FanOutParameters {
  const wanted = [
    ...FAN_OUT_TARGETS.filter((target) => options.targets?.includes(target) ?? true),
    ...LOG_TARGETS.filter((target) => options.targets?.includes(target)),
  ];
  const absent: Record<string, string> = {};
  for (const target of wanted) {
    const why = absence(target);
    if (why !== undefined) absent[target] = why;
  }
  const targets = wanted.filter((target) => absent[target] === undefined);
  const rates = options.ratesPerSecond?.map(
    (ratePerSecond) =>
      FULL_RATES.find((rate) => rate.ratePerSecond === ratePerSecond) ?? {
        ratePerSecond,
        rounds: 3,
        windowSeconds: 15,
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
    clientNapMs: CLIENT_NAP_MS,
    freesThreads,
    publishesInside,
    warmUpSeconds: options.quick ? QUICK.warmUpSeconds : WARM_UP_SECONDS,
    tailSeconds: TAIL_SECONDS,
    rates: (rates ?? FULL_RATES).map((rate) => ({
      ratePerSecond: rate.ratePerSecond,
      rounds: options.rounds ?? (options.quick ? QUICK.rounds : rate.rounds),
      windowSeconds:
        options.windowSeconds ?? (options.quick ? QUICK.windowSeconds : rate.windowSeconds),
      targets: targets.filter(
        (target) =>
          rate.ratePerSecond <= OTHERS_RATE_MAX ||
          EVERY_RATE.has(target) ||
          options.targets?.includes(target) === true,
      ),
    })),
    targets,
    absent,
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
