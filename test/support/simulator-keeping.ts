/**
 * The simulator of servers that keep their events: hubs one after another on one store, whose log
 * delays, fails, answers late and forgets, between publishers and clients that act at random. Each
 * client must be given every event once and in order, or be told of a gap where something is lost
 * for good. A seed decides everything, so it replays a run.
 */
import type { NewEntry, NewEvent } from '../../src/core/event.js';
import { Hub, type HubOptions } from '../../src/core/hub.js';
import { makeCounters } from '../../src/counters.js';
import { asError, type HoldlineError } from '../../src/errors.js';
import { HISTORY_READS_MAX } from '../../src/limits.js';
import { FakeClock, settlePromises } from './fake-clock.js';
import { Diary } from './diary.js';
import type { Held } from './fake-hub.js';
import { fakeModes } from './fake-port.js';
import type { Lost } from './follower.js';
import { KeepingLines } from './keeping-lines.js';
import { KeepingLog, KeepingStore } from './keeping-log.js';
import { KeepingPolls } from './keeping-polls.js';
import type { ClientParts, KeepingServer } from './keeping-server.js';
import { Model } from './model.js';
import { Random } from './random.js';
import { play } from './replay.js';

const NAMES = ['a', 'b', 'c', 'd'];
const MIB = 1024 * 1024;
/** Turns in which a server comes to rest. */
const REST_TURNS = 60_000;
/** Refusals of a publish of which nothing is committed. */
const KNOWN_CODES: ReadonlySet<string> = new Set([
  'HOLDLINE_PUBLISH_BUSY',
  'HOLDLINE_LOG_UNAVAILABLE',
  // More than half of all memory of publishes.
  'HOLDLINE_TOO_LARGE',
  'HOLDLINE_CHANNELS_FULL',
]);
/** Turns in which all lines are visited that a given-up queue, or what was skipped, left behind. */
const GIVEN_UP_TURNS = 5;

interface KeepingSetting {
  readonly hub: HubOptions;
  readonly firstId: number;
  readonly keepEvents: number;
  readonly channels: readonly string[];
  readonly lines: number;
  readonly polls: number;
  /** Longest delays of appends, of their answers, and of reads, ms. */
  readonly appendMs: number;
  readonly answerMs: number;
  readonly readMs: number;
  /** Share of appends and of reads that fail, also while the log is up. */
  readonly failing: number;
  readonly deleting: number;
  /** Share of publishes that come by the log from another node. */
  readonly floods: number;
  readonly drops: boolean;
  readonly restarts: boolean;
  /** A server that is killed loses what it acknowledged last, and leaves a hole. */
  readonly losesLast: boolean;
  /** Share of pages that end before they have to. */
  readonly shortPages: number;
  /** Share of steps in which the log forgets an event before it hands it over. */
  readonly skipping: number;
}

function settingOf(random: Random): KeepingSetting {
  // The log keeps at least what the rings do: else nobody knows what was below them.
  const replayEvents = random.pick([0, 1, 10, 100, 1000]);
  return {
    hub: {
      replay: { events: replayEvents, bytes: random.pick([200, 5000, MIB, MIB]) },
      replayTotalBytes: random.pick([5000, 100_000, 256 * MIB, 256 * MIB]),
      heartbeatMs: random.pick([100, 1000]),
      flushIntervalMs: random.pick([0, 0, 0, 5]),
      slow: random.pick(['gap', 'gap', 'gap', 'close']),
      sweepWorkBytes: random.pick([1, 1_000_000, 256 * MIB]),
      publishBytes: random.pick([150_000, MIB, 64 * MIB]),
      ...random.pick([{}, { channelsMax: 1 }, { channelsMax: 2, lostChannelsMax: 1 }]),
    },
    firstId: random.pick([1, 1000]),
    keepEvents: random.pick([Infinity, Infinity, 3000, Math.max(50, 2 * replayEvents)]),
    channels: NAMES.slice(0, random.between(1, NAMES.length)),
    lines: random.pick([3, 12, 25]),
    polls: random.pick([0, 3, 8]),
    appendMs: random.pick([0, 0, 3, 40]),
    answerMs: random.pick([0, 3, 40]),
    readMs: random.pick([0, 2, 2, 50]),
    failing: random.pick([0, 0.01, 0.1]),
    deleting: random.pick([0, 0.002, 0.01]),
    floods: random.pick([0.1, 0.1, 0.8]),
    drops: random.chance(0.4),
    restarts: random.chance(0.8),
    losesLast: random.chance(0.4),
    shortPages: random.pick([0, 0, 0.2]),
    skipping: random.pick([0, 0, 0.004]),
  };
}

export class KeepingSimulation {
  readonly setting: KeepingSetting;
  steps = 0;

  readonly #random: Random;
  readonly #clock = new FakeClock();
  readonly #counters = makeCounters();
  readonly #store: KeepingStore;
  readonly #model: Model;
  readonly #modes: ReturnType<typeof fakeModes>;
  readonly #diary: Diary;
  readonly #lines: KeepingLines;
  readonly #polls: KeepingPolls;
  readonly #lost: Lost;
  #hub!: Hub<Held>;
  #log!: KeepingLog;
  /** True while the log takes and reads nothing. */
  #isAway = false;
  /** The server of now; what an earlier one still answers counts for nothing. */
  #server!: KeepingServer & { isAlive: boolean };
  #readsUnderWay = 0;
  #givenUp = 0;
  #givenUpTurns = 0;
  /** When lines that were left behind are visited: a flush interval may be under way. */
  #flushedWallMs = 0;
  /** What was committed, by the entries that the log was given. */
  readonly #committed = new WeakMap<readonly NewEntry[], readonly number[]>();

  constructor(seed: number) {
    const random = new Random(seed);
    this.#random = random;
    this.setting = settingOf(random);
    const { setting } = this;
    this.#store = new KeepingStore(setting.firstId, setting.keepEvents);
    this.#model = new Model(setting.firstId);
    const commit = this.#store.commit.bind(this.#store);
    this.#store.commit = (entries, wallMs) => {
      this.#committed.set(entries, this.#model.accept(entries));
      return commit(entries, wallMs);
    };
    this.#lost = {
      of: (channel) => this.#store.lostOf(channel),
      floor: this.#store.floor,
      holes: () => this.#store.holes,
      mayHaveLost: (after, before) => this.#store.mayHaveLost(after, before),
      isUncertain: (channels) =>
        channels.some(
          (name) => this.#store.lostOf(name) > this.#hub.channels.member(name).lostThrough,
        ),
      ofRing: (channel) => this.#hub.channels.member(channel).lostThrough,
    };
    this.#modes = fakeModes(this.#clock, random.pick([0, 0.01]));
    this.#diary = new Diary(this.#clock);
    const parts: ClientParts = {
      random,
      model: this.#model,
      diary: this.#diary,
      channels: setting.channels,
      serverNow: () => this.#server,
    };
    this.#lines = new KeepingLines(parts, setting.lines);
    this.#polls = new KeepingPolls(parts, setting.polls);
  }

  /** The last actions, newest last. */
  get trace(): string {
    return this.#diary.trace;
  }

  async run(count: number): Promise<void> {
    try {
      await play(this.#random, count, {
        start: () => this.#start(),
        step: async () => {
          this.steps++;
          await this.#step();
          this.#diary.throwFault();
        },
        rest: () => this.#rest(),
      });
    } finally {
      this.#hub.stop();
    }
  }

  // ── the server ─────────────────────────────────────────────────────────────────────────────────

  async #start(): Promise<void> {
    const { setting } = this;
    const random = this.#random;
    const fails = (): boolean => this.#isAway || random.chance(setting.failing);
    this.#readsUnderWay = 0;
    this.#log = new KeepingLog(
      this.#store,
      {
        appendMs: () => random.below(setting.appendMs + 1),
        appendAnswerMs: () => random.below(setting.answerMs + 1),
        appendFault: () =>
          fails() ? random.pick(['unavailable', 'unknown', 'unknown-kept'] as const) : undefined,
        readMs: () => random.below(setting.readMs + 1),
        readAnswerMs: () => random.below(setting.readMs + 1),
        readFails: fails,
        pageEnd: (after, through) =>
          random.chance(setting.shortPages) && through > after + 1
            ? random.between(after + 1, through)
            : through,
      },
      this.#clock,
    );
    const { history } = this.#log;
    for (const name of ['read', 'newest'] as const) {
      const read = history[name] as (...asked: never[]) => Promise<never>;
      Object.assign(history, {
        [name]: async (...asked: never[]) => {
          const server = this.#server;
          if (++this.#readsUnderWay > HISTORY_READS_MAX)
            this.#diary.failed(new Error('too many reads'));
          try {
            return await read(...asked);
          } finally {
            if (server.isAlive) this.#readsUnderWay--;
          }
        },
      });
    }
    this.#hub = new Hub(this.#log, this.#clock, this.#counters, setting.hub);
    this.#server = {
      hub: this.#hub,
      modes: this.#modes,
      lost: this.#lost,
      isAlive: true,
      run: (task) => task(),
      hasPlace: () => true,
    };
    await this.#log.open();
    this.#hub.begin();
  }

  /** The process is killed, and another one opens what it has kept. */
  async #restart(): Promise<void> {
    this.#diary.note('the server is killed');
    this.#lines.died(this.#server);
    this.#polls.died(this.#server);
    this.#server.isAlive = false;
    this.#log.crash();
    this.#hub.stop();
    if (this.setting.losesLast) {
      this.#store.loseLast(this.#random.below(50), this.#random.between(1, 1000));
      this.#model.lastId = this.#store.lastId;
    }
    await this.#start();
  }

  async #turn(ms: number): Promise<void> {
    this.#clock.pass(ms);
    this.#clock.runTimers();
    await settlePromises();
    this.#lines.readSome();
    this.#clock.runSoon();
    await settlePromises();
    this.#check();
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const { setting } = this;
    const dice = random.next();
    if (dice < 0.3) this.#publishSome();
    else if (dice < 0.4) this.#lines.join();
    else if (dice < 0.43) {
      this.#lines.leave();
      this.#polls.leave();
    } else if (dice < 0.48) this.#polls.ask();
    else if (dice < 0.53) this.#lines.changeSpeed();
    else if (dice < 0.531 && setting.restarts) await this.#restart();
    else if (dice < 0.533) this.#isAway = !this.#isAway && random.chance(0.5);
    else if (random.chance(2 * setting.skipping)) this.#skip();
    else if (random.chance(2 * setting.deleting)) this.#delete();
    else if (dice < 0.534) this.#hub.endSome(random.below(3), 'draining');
    else if (dice < 0.54 && setting.drops) this.#hub.dropChannel(random.pick(setting.channels));
    else await this.#turn(random.chance(0.02) ? random.below(500) : random.next() * 3);
  }

  // ── publishers ─────────────────────────────────────────────────────────────────────────────────

  #publishSome(): void {
    const random = this.#random;
    const { setting } = this;
    const channel = random.pick(setting.channels);
    const count = random.chance(0.8) ? 1 : random.chance(0.95) ? random.between(2, 40) : 1000;
    const events = Array.from({ length: count }, () => this.#newEvent(channel, count));
    this.#diary.note(`publish ${count} on ${channel}`);
    const kind = random.next();
    if (kind < setting.floods) {
      // Another node of the same log.
      void this.#log.append(events).catch(() => {});
    } else if (kind < setting.floods + 0.1) {
      const named = events.map((event) => ({
        ...event,
        channel: random.pick(this.setting.channels),
      }));
      const { batches } = this.#hub;
      this.#await(named, () => batches.submit(named, batches.reserve('')));
    } else {
      this.#await(events, () => this.#hub.publish(channel, events));
    }
  }

  #delete(): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#diary.note(`delete ${channel}`);
    this.#await([], () => this.#hub.deleteChannel(channel));
  }

  /** Another node of the same log publishes, and this one is never handed it. */
  #skip(): void {
    const channel = this.#random.pick(this.setting.channels);
    const of = this.#random.pick(['all', 'channel'] as const);
    this.#diary.note(`an event on ${channel} is skipped, which ${of} may have lost`);
    this.#log.skip([this.#newEvent(channel, 1)], of);
    this.#leftBehind();
  }

  #newEvent(channel: string, count: number): NewEvent {
    const random = this.#random;
    const size =
      count > 100
        ? random.below(60)
        : random.chance(0.99)
          ? random.below(400)
          : random.below(40_000);
    const data = Buffer.from(`"${'x'.repeat(size)}"`);
    return { channel, type: undefined, data, json: random.chance(0.2) };
  }

  #await(
    entries: readonly NewEntry[],
    publish: () => Promise<{ readonly ids: readonly number[] }>,
  ): void {
    const server = this.#server;
    publish().then(
      ({ ids }) => {
        const committed = this.#committed.get(entries);
        if (entries.length > 0 && committed?.join() !== ids.join())
          this.#diary.failed(
            new Error(`a publish was told ${ids.join()}, not ${committed?.join()}`),
          );
      },
      (error: unknown) => {
        const { code } = asError(error) as HoldlineError;
        const isKnown = KNOWN_CODES.has(code);
        if (!server.isAlive || code === 'HOLDLINE_OUTCOME_UNKNOWN') return;
        if (!isKnown) this.#diary.failed(asError(error));
        else if (this.#committed.has(entries))
          this.#diary.failed(new Error(`a publish was refused with ${code}, and committed`));
      },
    );
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  #leftBehind(): void {
    this.#givenUpTurns = GIVEN_UP_TURNS;
    this.#flushedWallMs = this.#clock.wallMs() + this.setting.hub.flushIntervalMs;
  }

  /** After each turn: the hub's tables against what the clients know. */
  #check(): void {
    this.#diary.throwFault();
    const { gauges } = this.#hub.figures;
    // Where a queue was given up, lines are lapped until they are visited.
    const { queues_given_up_total: givenUp } = this.#counters;
    if (givenUp !== this.#givenUp) this.#leftBehind();
    this.#givenUp = givenUp;
    const isGivenUp = this.#givenUpTurns > 0;
    if (this.#clock.wallMs() > this.#flushedWallMs) this.#givenUpTurns--;
    const { open, reading } = this.#lines.check(this.#server, isGivenUp);
    const waiting = this.#polls.waitingOn(this.#server);
    if (gauges.linesOpen !== open + waiting || gauges.linesReading !== reading)
      throw new Error(
        `${open} lines, ${reading} reading, ${waiting} polls; not so: ${JSON.stringify(gauges)}`,
      );
  }

  /**
   * The log answers, everybody reads, nobody publishes: the hub must come to rest, and every client
   * have what it was owed.
   */
  async #rest(): Promise<void> {
    this.#diary.note('everybody reads');
    this.#isAway = false;
    const { failing } = this.setting;
    Object.assign(this.setting, { failing: 0 });
    this.#lines.comeBack();
    for (let turns = 0, quiet = 0; quiet < 3; turns++) {
      this.#lines.hurry();
      await this.#turn(1);
      const { isSettled } = this.#hub;
      const { gauges } = this.#hub.figures;
      const { isRead } = this.#lines;
      const { isAsking } = this.#polls;
      const isQuiet = isRead && isSettled && !isAsking && gauges.linesReading === 0;
      quiet = isQuiet && this.#clock.isIdle ? quiet + 1 : 0;
      if (turns > REST_TURNS)
        throw new Error(
          `the hub does not come to rest: ${JSON.stringify({ isRead, isSettled, isAsking, ...gauges })}`,
        );
    }
    this.#lines.checkRest();
    await this.#polls.checkRest(
      () => this.#turn(1),
      REST_TURNS,
      (channel) => this.#store.eventsOf(channel).at(-1)?.id ?? 0,
    );
    this.#diary.throwFault();
    this.#lines.changeSpeeds();
    Object.assign(this.setting, { failing });
  }
}
