/**
 * A server under attack: the control line beside it, the server's own figures before and after, its
 * memory and descriptors.
 */
import { readdirSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import type { AtEnd } from '../../support/begun.js';
import type { ServerUnderTest } from '../../support/server-under-test.js';
import { TestServer, type Flags, type Stats } from '../../support/server.js';
import { medianOf, pause, type Figures } from './actor.js';
import type { Cast, Role } from './cast.js';
import { ATTACK_MS, isLong, QUIET_MS, ROUNDS, scaled } from './scale.js';
import { Trial, type Case } from './trial.js';

const SAMPLE_MS = 20;
const RATE_PER_SECOND = 20;
/**
 * Descriptors that may come and go by themselves: those of a look at /proc and of a request for the
 * figures.
 */
const SPARE_DESCRIPTORS = 4;
const MIB = 2 ** 20;

export interface StageOptions {
  readonly flags?: Flags;
  /** `--max-old-space-size` of the server, MiB. */
  readonly heapMiB?: number;
  /** The control line's channel. */
  readonly channel?: string;
}

/** Looks at the process from outside. */
export class Probe {
  readonly #server: TestServer;
  readonly #timer: NodeJS.Timeout;
  /** Most resident memory since the last reset, bytes. */
  peakBytes = 0;

  constructor(server: TestServer) {
    this.#server = server;
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS);
    this.sample();
  }

  sample(): number {
    if (this.#server.exitCode !== undefined) return Number.NaN;
    const bytes = this.#server.rssBytes();
    this.peakBytes = Math.max(this.peakBytes, bytes);
    return bytes;
  }

  reset(): number {
    this.peakBytes = 0;
    return this.sample();
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.#server.child.pid}/fd`).length;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

export class Stage {
  readonly server: TestServer;
  readonly probe: Probe;
  readonly attackers: Cast;
  readonly control: Role;

  private constructor(server: TestServer, probe: Probe, attackers: Cast, control: Role) {
    this.server = server;
    this.probe = probe;
    this.attackers = attackers;
    this.control = control;
  }

  static async open(
    casts: { witnesses: Cast; attackers: Cast },
    options: StageOptions = {},
    atEnd: AtEnd = onTestFinished,
  ): Promise<Stage> {
    const { flags = {}, heapMiB, channel = 'control' } = options;
    const env: Record<string, string> =
      heapMiB === undefined ? {} : { NODE_OPTIONS: `--max-old-space-size=${heapMiB}` };
    const server = await TestServer.start(flags, env);
    const probe = new Probe(server);
    atEnd(() => {
      probe.stop();
      server.kill();
    });
    const headers: Record<string, string> =
      server.publishKey === undefined ? {} : { Authorization: `Bearer ${server.publishKey}` };
    const control = await casts.witnesses.begin('controlLine', server.port, {
      channel,
      ratePerSecond: RATE_PER_SECOND,
      headers,
    });
    return new Stage(server, probe, casts.attackers, control);
  }

  begin: Cast['begin'] = (name, _port, parameters) =>
    this.attackers.begin(name, this.server.port, parameters);

  /** What the control line sees in a time in which nothing else happens. */
  async quiet(ms = QUIET_MS): Promise<Figures> {
    await this.control.look();
    await pause(ms);
    return this.control.look();
  }

  /** Ends the control line, and says what is wrong with the server; nothing of this may ever be. */
  async close(): Promise<{ control: Figures; stats: Stats }> {
    const control = await this.control.stop();
    this.probe.stop();
    const stats = await this.server.stats();
    this.server.kill();
    return { control, stats };
  }
}

/** One round: a quiet phase, and one under the attack. */
export interface Round {
  readonly quiet: Figures;
  readonly under: Figures;
  readonly attack: Figures;
  /** What the attack's own preparation may add to. */
  readonly extra: Figures;
  readonly before: Stats;
  readonly after: Stats;
  /** Resident memory before the attack, and the most under it, bytes. */
  readonly rssBytes: number;
  readonly peakBytes: number;
  /** Descriptors more than before when everybody had gone. */
  readonly leftDescriptors: number;
  /** Words on standard error, and faults in the log. */
  readonly faults: readonly string[];
}

export interface RoundOptions extends StageOptions {
  /**
   * What is there before the attack; it is not measured. What it begins is stopped after the
   * attack.
   */
  readonly prepare?: (stage: Stage) => Promise<Role | void>;
  /** Begins the attack. */
  readonly attack: (stage: Stage) => Promise<Role>;
  readonly quietMs?: number;
  readonly attackMs?: number;
  /** Looks at the server while the attack is on, at the end of it. */
  readonly during?: (stage: Stage) => Promise<Figures>;
}

/** Faults that a server told of in its log or on standard error. */
export function faultsOf(server: ServerUnderTest): string[] {
  const isFault = (log: Record<string, unknown>): boolean =>
    Number(log['level'] ?? 0) >= 50 || 'err' in log;
  const said = server.logs.filter(isFault).map((log) => JSON.stringify(log).slice(0, 300));
  return server.errorOutput === '' ? said : [...said, server.errorOutput.slice(0, 300)];
}

export async function runRound(
  casts: { witnesses: Cast; attackers: Cast },
  options: RoundOptions,
): Promise<Round> {
  const stage = await Stage.open(casts, options);
  try {
    return await roundOn(stage, options);
  } catch (error) {
    throw new Error(`${String(error)}; the server: ${stage.server.describe()}`, { cause: error });
  }
}

async function roundOn(stage: Stage, options: RoundOptions): Promise<Round> {
  const { prepare, attack, quietMs = QUIET_MS, attackMs = ATTACK_MS, during } = options;
  const { server, probe, control } = stage;
  const descriptors = probe.descriptors();
  const prepared = await prepare?.(stage);
  const quiet = await stage.quiet(quietMs);
  const before = await server.stats();
  const rssBytes = probe.reset();
  const role = await attack(stage);
  await pause(attackMs);
  const under = await control.look();
  const extra = (await during?.(stage)) ?? {};
  const { peakBytes } = probe;
  const figures = await role.stop();
  await prepared?.stop();
  let leftDescriptors = 0;
  const deadlineMs = performance.now() + 5_000;
  do {
    leftDescriptors = probe.descriptors() - descriptors;
    if (leftDescriptors > SPARE_DESCRIPTORS) await pause(SAMPLE_MS);
  } while (leftDescriptors > SPARE_DESCRIPTORS && performance.now() < deadlineMs);
  const { stats } = await stage.close();
  return {
    quiet,
    under,
    attack: figures,
    extra,
    before,
    after: stats,
    rssBytes,
    peakBytes,
    leftDescriptors,
    faults: faultsOf(server),
  };
}

/**
 * Runs rounds, each with a server of its own, and holds them to their bounds. At length there are
 * always five, of which the medians count. In CI one round that keeps every bound is enough: what
 * the server does wrong comes again in each of five, a neighbour's noise does not. What must be
 * exact has to hold in every round, and a round that does not come to its end, since the server
 * does not answer any more, fails the trial at once.
 */
export async function judge(
  casts: { witnesses: Cast; attackers: Cast },
  [kind, attack, promise]: Case,
  options: RoundOptions,
  hold: (trial: Trial, rounds: readonly Round[]) => void,
): Promise<void> {
  const trialOf = (seen: readonly Round[]): Trial => {
    const trial = new Trial(kind, attack, promise);
    hold(trial, seen);
    return trial;
  };
  const rounds: Round[] = [];
  while (rounds.length < ROUNDS) {
    let round: Round;
    try {
      round = await runRound(casts, options);
    } catch (error) {
      const trial = new Trial(kind, attack, promise);
      trial.exactly('under the attack', String(error).slice(0, 600), 'all went on');
      trial.settle();
      throw error;
    }
    rounds.push(round);
    const alone = trialOf([round]);
    if (alone.isBroken || (!isLong && alone.isKept)) {
      alone.settle();
      return;
    }
  }
  trialOf(rounds).settle();
}

export function medianBy(rounds: readonly Round[], figure: (round: Round) => number): number {
  return medianOf(rounds.map(figure));
}

function worst(rounds: readonly Round[], figure: (round: Round) => number): number {
  return Math.max(...rounds.map(figure));
}

/**
 * What is asked of every attack: the control line has missed nothing, and the server is as it was.
 */
export function holdsControl(trial: Trial, rounds: readonly Round[]): void {
  const most = (figure: string): number =>
    worst(rounds, ({ quiet, under }) => Math.max(quiet[figure]!, under[figure]!));
  trial.exactly('control line: lost', most('undelivered'), 0, 'events');
  trial.exactly('control line: gaps', most('gaps'), 0);
  trial.exactly('control line: doubled, out of order or closed', most('faults'), 0);
  trial.exactly('control line: publishes refused', most('refused'), 0);
  trial.exactly('control line: publishes unanswered', most('unanswered'), 0);
  trial.exactly(
    'internal errors',
    worst(rounds, ({ after }) => after.counters.refused['HOLDLINE_INTERNAL'] ?? 0),
    0,
  );
  trial.exactly('faults in the log', rounds.flatMap(({ faults }) => faults).join('; '), '');
  trial.atMost(
    'descriptors left',
    worst(rounds, ({ leftDescriptors }) => leftDescriptors),
    SPARE_DESCRIPTORS,
  );
}

/**
 * Fair turns: the loop is never held for long, and the control line's events are hardly later than
 * in the quiet: by a moment, or by two of the longest turns, since a publish that comes in one is
 * read in the next.
 */
export function holdsTurns(trial: Trial, rounds: readonly Round[], loopMs: number): void {
  const longestMs = medianBy(rounds, ({ after }) => after.loopDelay.maxMs);
  trial.atMost('loop delay, longest (median of rounds)', longestMs, loopMs, 'ms');
  const quietMs = medianBy(rounds, ({ quiet }) => quiet['throughP99Ms']!);
  trial.note('control line p99, quiet', quietMs, 'ms');
  trial.atMost(
    'control line p99, due → delivered, under attack',
    medianBy(rounds, ({ under }) => under['throughP99Ms']!),
    quietMs + Math.max(scaled(100, 50), 2 * longestMs),
    'ms',
  );
  trial.note(
    'longest publish of the control line',
    medianBy(rounds, ({ under }) => under['publishMaxMs']!),
    'ms',
  );
}

/**
 * No later than twice the quiet value, or 10 ms after it; in CI 25 ms, where a p99 is the worst of
 * thirty.
 */
function hardlyMore(quietMs: number): number {
  return Math.max(2 * quietMs, quietMs + scaled(25, 10));
}

/**
 * Isolation: on another channel accept → deliver is within twice its quiet value, or 10 ms of it,
 * and so is how long a publisher mostly waits for its answer; from the moment an event was due it
 * is delivered within 50 ms of the quiet value.
 */
export function holdsIsolation(trial: Trial, rounds: readonly Round[]): void {
  const quiet = (figure: string): number => medianBy(rounds, (round) => round.quiet[figure]!);
  const under = (figure: string): number => medianBy(rounds, (round) => round.under[figure]!);
  const deliverMs = quiet('deliverP99Ms');
  trial.note('accept → deliver p99 on B, quiet', deliverMs, 'ms');
  trial.atMost(
    'accept → deliver p99 on B, under attack',
    under('deliverP99Ms'),
    hardlyMore(deliverMs),
    'ms',
  );
  const publishMs = quiet('publishP50Ms');
  trial.note('publish p50 on B, quiet', publishMs, 'ms');
  trial.atMost(
    'publish p50 on B, under attack',
    under('publishP50Ms'),
    hardlyMore(publishMs),
    'ms',
  );
  const throughMs = quiet('throughP99Ms');
  trial.note('due → delivered p99 on B, quiet', throughMs, 'ms');
  trial.atMost(
    'due → delivered p99 on B, under attack',
    under('throughP99Ms'),
    throughMs + 50,
    'ms',
  );
}

/** Memory: the process grew by no more than that. */
export function holdsMemory(
  trial: Trial,
  rounds: readonly Round[],
  figure: string,
  growthMiB: number,
): void {
  trial.atMost(
    figure,
    medianBy(rounds, ({ peakBytes, rssBytes }) => (peakBytes - rssBytes) / MIB),
    growthMiB,
    'MiB',
  );
  trial.note(
    'resident, most',
    medianBy(rounds, ({ peakBytes }) => peakBytes / MIB),
    'MiB',
  );
}
