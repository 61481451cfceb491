/**
 * The simulator of several workers: a real supervisor on a log that is late and fails, and the code
 * of real workers, in processes that are simulated. Workers are killed at any byte, hang, leave and
 * are replaced; the supervisor is killed with them and starts anew on what its log keeps. Clients
 * hop between workers. A seed decides everything, so it replays a run.
 */
import type { HubOptions } from '../../src/core/hub.js';
import { makeCounters } from '../../src/counters.js';
import { asError } from '../../src/errors.js';
import { PUBLISH_WAIT_MS_MAX, WORKER_PING_MS } from '../../src/limits.js';
import { RingHistory } from '../../src/workers/ring-history.js';
import { Pool } from '../../src/workers/shares.js';
import { Supervisor } from '../../src/workers/supervisor.js';
import type { WorkerProcess } from '../../src/workers/worker-process.js';
import { Diary } from './diary.js';
import { FakeClock, settlePromises } from './fake-clock.js';
import type { Lost } from './follower.js';
import { KeepingLines } from './keeping-lines.js';
import { KeepingLog, KeepingStore } from './keeping-log.js';
import { KeepingPolls } from './keeping-polls.js';
import type { ClientParts } from './keeping-server.js';
import { Model } from './model.js';
import { Publications } from './publications.js';
import { Random } from './random.js';
import { play } from './replay.js';
import { ShownCounts } from './shown-counts.js';
import { SimulatedProcess } from './simulated-process.js';
import { SimulatedWorker } from './simulated-worker.js';
import { welcomeOfAll } from './welcome.js';

const NAMES = ['a', 'b', 'c', 'd'];
/** A channel without lines: whatever happens to others, its publishes go on. */
const QUIET = 'quiet';
const MIB = 1024 * 1024;
/** Turns in which everything comes to rest. */
const REST_TURNS = 30_000;
/** Turns that a publish takes through the processes and back, beside the time on its way. */
const PROBE_TURNS = 40;
/** A worker that hangs so long has missed two pings, and nobody waits for it any more. */
const SILENT_MS = 2.2 * WORKER_PING_MS;
/** A turn of a loop that was held, at the most. */
const LONG_TURN_MS = 500;
/** Turns in which all lines are visited that a given-up queue has left behind. */
const GIVEN_UP_TURNS = 5;

interface WorkersSetting {
  readonly hub: HubOptions;
  readonly workers: number;
  readonly channels: readonly string[];
  readonly lines: number;
  readonly polls: number;
  /** Lines that all workers may hold together, and one. */
  readonly linesMax: number;
  readonly linesMaxEach: number;
  readonly credit: { readonly channelBytes: number; readonly bytes: number };
  readonly latencyMs: number;
  readonly startMs: number;
  readonly setupMs: number;
  readonly exitMs: number;
  /** Longest delays of appends, of their answers, and of reads of the log, ms. */
  readonly appendMs: number;
  readonly answerMs: number;
  readonly readMs: number;
  /** Share of appends and reads that fail, also while the log is up. */
  failing: number;
  readonly deleting: number;
  /** History is read from rings beside the log, as with a log in memory. */
  readonly rings: boolean;
  /** How often a step lets workers die, hang or leave; and the supervisor die. */
  readonly deaths: number;
  readonly parentDeaths: number;
}

function settingOf(random: Random): WorkersSetting {
  const lines = random.pick([3, 12, 25]);
  return {
    hub: {
      replay: {
        events: random.pick([0, 1, 10, 100, 1000]),
        bytes: random.pick([200, 5000, MIB, MIB]),
      },
      replayTotalBytes: random.pick([5000, 100_000, 256 * MIB, 256 * MIB]),
      heartbeatMs: random.pick([100, 1000]),
      flushIntervalMs: random.pick([0, 0, 0, 5]),
      slow: random.pick(['gap', 'gap', 'gap', 'close']),
      sweepWorkBytes: random.pick([1, 1_000_000, 256 * MIB]),
    },
    workers: random.pick([1, 2, 2, 3, 4]),
    channels: NAMES.slice(0, random.between(1, NAMES.length)),
    lines,
    polls: random.pick([0, 3, 8]),
    linesMax: random.pick([lines, lines, lines + 3, 1000]),
    linesMaxEach: random.pick([lines, 1000]),
    credit: random.pick([
      { channelBytes: 2_000, bytes: 6_000 },
      { channelBytes: 5_000, bytes: 100_000 },
      { channelBytes: 50_000, bytes: 60_000 },
      { channelBytes: MIB, bytes: 64 * MIB },
    ]),
    latencyMs: random.pick([0, 1, 5, 20]),
    startMs: random.pick([0, 100]),
    setupMs: random.pick([0, 100, 3000]),
    exitMs: random.pick([0, 2, 20]),
    appendMs: random.pick([0, 0, 3, 40]),
    answerMs: random.pick([0, 3, 40]),
    readMs: random.pick([0, 2, 50]),
    failing: random.pick([0, 0.01, 0.1]),
    deleting: random.pick([0, 0.002, 0.01]),
    rings: random.chance(0.3),
    deaths: random.pick([0.001, 0.01, 0.03]),
    parentDeaths: random.pick([0, 0.001]),
  };
}

/** A publish on the quiet channel, until it is answered. */
interface Probe {
  readonly worker: SimulatedWorker;
  /**
   * The time that pipes and the log may take yet; a long turn counts as a short one, since nothing
   * happens in it.
   */
  leftMs: number;
  /** Turns that it may take beside: a pipe brings its bytes in pieces, some in later turns. */
  leftTurns: number;
}

export class WorkersSimulation {
  readonly setting: WorkersSetting;
  steps = 0;

  readonly #random: Random;
  /** Time outside of all processes. */
  readonly #clock = new FakeClock();
  readonly #diary: Diary;
  readonly #store: KeepingStore;
  readonly #model: Model;
  readonly #publications: Publications;
  readonly #lines: KeepingLines;
  readonly #polls: KeepingPolls;
  readonly #lost: Lost;
  /** Those that were started and are not dead. */
  readonly #workers = new Set<SimulatedWorker>();
  #supervisorProcess!: SimulatedProcess;
  #supervisor!: Supervisor;
  #pool!: Pool<WorkerProcess>;
  #log!: KeepingLog;
  #rings: RingHistory | undefined;
  /** Rows that were kept, by key. */
  #rows = new Map<string, string>();
  #rowsMade = 0;
  #hasBegun = false;
  #spawned = 0;
  #turns = 0;
  #isAway = false;
  #probe: Probe | undefined;
  /** Workers that were silent once: meanwhile nobody asked for their credit. */
  readonly #wereSilent = new WeakSet<WorkerProcess>();
  readonly #givenUp = new WeakMap<SimulatedWorker, { total: number; turns: number }>();
  readonly #counts: ShownCounts;

  constructor(seed: number) {
    const random = new Random(seed);
    this.#random = random;
    this.setting = settingOf(random);
    const { setting } = this;
    this.#diary = new Diary(this.#clock);
    this.#store = new KeepingStore(random.pick([1, 1000]));
    this.#model = new Model(this.#store.floor + 1);
    this.#publications = new Publications(
      random,
      this.#diary,
      setting.channels,
      (channels, message) => this.#checkBusy(channels, message),
    );
    const commit = this.#store.commit.bind(this.#store);
    this.#store.commit = (entries, wallMs) => {
      const ids = this.#model.accept(entries);
      this.#diary.attempt('the log', () => this.#publications.committed(entries, ids));
      return commit(entries, wallMs);
    };
    const ringsOf = (name: string): number[] =>
      this.#serving.map(({ hub }) => hub.channels.member(name).lostThrough);
    this.#lost = {
      of: (channel) => this.#store.lostOf(channel),
      floor: this.#store.floor,
      holes: () => [],
      mayHaveLost: (after, before) => this.#store.mayHaveLost(after, before),
      isUncertain: (channels) =>
        channels.some((name) => this.#store.lostOf(name) > Math.min(...ringsOf(name))),
      ofRing: (channel) => Math.max(...ringsOf(channel)),
    };
    const parts: ClientParts = {
      random,
      model: this.#model,
      diary: this.#diary,
      channels: setting.channels,
      serverNow: () => this.#pickWorker(),
    };
    this.#lines = new KeepingLines(parts, setting.lines);
    this.#polls = new KeepingPolls(parts, setting.polls);
    this.#counts = new ShownCounts(this.#diary);
  }

  /** The last actions, newest last. */
  get trace(): string {
    return this.#diary.trace;
  }

  /** What has happened, so that a test can tell that something did. */
  get happened(): { readonly spawned: number; readonly answered: number } {
    return { spawned: this.#spawned, answered: this.#publications.answeredCount };
  }

  async run(count: number): Promise<void> {
    const { memoryUsage } = process;
    // It travels, and the length of what travels must not differ from run to run.
    process.memoryUsage = Object.assign(() => memoryUsage(), { rss: () => 1e8 });
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
      process.memoryUsage = memoryUsage;
      for (const worker of this.#serving) worker.hub.stop();
    }
  }

  // ── processes ──────────────────────────────────────────────────────────────────────────────────

  get #serving(): SimulatedWorker[] {
    return [...this.#workers].filter(({ isServing }) => isServing);
  }

  #pickWorker(): SimulatedWorker | undefined {
    const workers = [...this.#workers].filter(({ isResponsive }) => isResponsive);
    return workers.length === 0 ? undefined : this.#random.pick(workers);
  }

  async #start(): Promise<void> {
    const { setting } = this;
    const random = this.#random;
    const supervisor = new SimulatedProcess('supervisor');
    const { clock } = supervisor;
    this.#supervisorProcess = supervisor;
    const fails = (): boolean => this.#isAway || random.chance(setting.failing);
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
      },
      clock,
    );
    await this.#log.open();
    // As the log does they outlive a supervisor, so that a client may come back.
    this.#rings ??= new RingHistory(
      { replay: { events: 1e6, bytes: 1e9 }, replayTotalBytes: 1e10 },
      this.#log.floor(),
      this.#clock,
    );
    const rings = this.#rings;
    this.#rows = new Map();
    this.#counts.clear();
    this.#pool = new Pool<WorkerProcess>(setting.linesMax, setting.linesMaxEach);
    this.#hasBegun = false;
    const made = new Supervisor({
      log: this.#log,
      history: setting.rings ? rings : this.#log.history,
      ...(setting.rings && { keep: (entries) => rings.take(entries) }),
      counters: makeCounters(),
      count: setting.workers,
      start: () => this.#spawn().child,
      welcome: welcomeOfAll(setting.linesMaxEach),
      pools: { lines: this.#pool },
      credit: setting.credit,
      say: (_level, words, facts) => this.#diary.note(`${words} ${JSON.stringify(facts)}`),
      clock,
    });
    this.#supervisor = made;
    const over = (error: unknown): void => {
      this.#diary.note(`the supervisor gives up: ${asError(error).message}`);
      if (supervisor === this.#supervisorProcess) this.#supervisorDies();
    };
    made.start().then(() => (this.#hasBegun = true), over);
    made.failed.catch(over);
  }

  #spawn(): SimulatedWorker {
    const { setting } = this;
    const worker = new SimulatedWorker(++this.#spawned, {
      supervisor: this.#supervisorProcess,
      pipe: {
        random: this.#random,
        nowMs: () => this.#clock.nowMs(),
        latencyMs: setting.latencyMs,
      },
      hub: setting.hub,
      lost: this.#lost,
      startMs: setting.startMs,
      setupMs: setting.setupMs,
      exitMs: setting.exitMs,
      died: (dead) => this.#died(dead),
      afterTurn: (task) => this.#clock.soon(task),
      note: (what) => this.#diary.note(what),
    });
    this.#workers.add(worker);
    return worker;
  }

  #died(worker: SimulatedWorker): void {
    this.#workers.delete(worker);
    this.#lines.died(worker);
    this.#polls.died(worker);
    this.#publications.died(worker);
    if (this.#probe?.worker === worker) this.#probe = undefined;
    this.#counts.died(worker);
  }

  /** Its workers end when they see the end of their pipes. */
  #supervisorDies(): void {
    this.#diary.note('the supervisor ends');
    this.#supervisorProcess.die();
    this.#supervisor.stop();
    this.#log.crash();
    this.#probe = undefined;
    for (const { pipeEnds } of this.#workers) pipeEnds[0].processEnded(false);
  }

  // ── steps ──────────────────────────────────────────────────────────────────────────────────────

  async #turn(ms: number): Promise<void> {
    this.#turns++;
    const processes = (): SimulatedProcess[] => [
      this.#supervisorProcess,
      ...Array.from(this.#workers, (worker) => worker.process),
    ];
    this.#clock.pass(ms);
    for (const { clock } of processes()) clock.pass(ms);
    this.#clock.runTimers();
    for (const one of processes()) if (one.isRunning) one.clock.runTimers();
    await settlePromises();
    for (const { pipeEnds } of this.#workers) for (const end of pipeEnds) end.deliver();
    await settlePromises();
    this.#lines.readSome();
    for (const one of processes()) if (one.isRunning) one.clock.runSoon();
    await settlePromises();
    this.#clock.runSoon();
    if (this.#supervisorProcess.isDead && this.#workers.size === 0) await this.#start();
    this.#check(ms);
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const { setting } = this;
    const dice = random.next();
    const worker = this.#pickWorker();
    if (random.chance(setting.deaths)) this.#disturb();
    else if (random.chance(setting.parentDeaths) && this.#hasBegun) this.#supervisorDies();
    else if (worker === undefined) await this.#turn(random.next() * 20);
    else if (dice < 0.27) this.#publications.publishSome(worker);
    else if (dice < 0.32) this.#publications.tryAgain(worker);
    else if (dice < 0.42) this.#lines.join();
    else if (dice < 0.44) this.#lines.leave();
    else if (dice < 0.45) this.#polls.leave();
    else if (dice < 0.5) this.#polls.ask();
    else if (dice < 0.53) this.#lines.changeSpeed();
    else if (dice < 0.54) this.#counts.ask(worker, setting.workers);
    else if (dice < 0.55) this.#sendProbe(worker);
    else if (dice < 0.553) this.#isAway = !this.#isAway && random.chance(0.5);
    else if (dice < 0.556) this.#putRow(worker);
    else if (random.chance(2 * setting.deleting)) this.#delete(worker);
    else await this.#turn(random.chance(0.02) ? random.below(LONG_TURN_MS) : random.next() * 3);
  }

  /** Something happens to a worker; some that start are among them. */
  #disturb(): void {
    const random = this.#random;
    const workers = [...this.#workers].filter((one) => this.#hasBegun || one.isServing);
    if (workers.length === 0 || !this.#hasBegun) return;
    const worker = random.pick(workers);
    const kind = random.next();
    if (kind < 0.5) {
      worker.end('SIGKILL');
    } else if (kind < 0.85) {
      if (!worker.process.isRunning) return;
      this.#diary.note(`worker ${worker.pid} hangs`);
      worker.hang();
      this.#clock.later(random.pick([100, 1500, 3000, 8000]) * random.next(), () => {
        if (worker.isAlive) worker.goOn();
      });
    } else {
      this.#diary.note(`worker ${worker.pid} leaves`);
      worker.leave();
    }
  }

  #delete(worker: SimulatedWorker): void {
    const channel = this.#random.pick(this.setting.channels);
    this.#diary.note(`delete ${channel}`);
    worker.hub.deleteChannel(channel).catch(() => {});
  }

  #putRow(worker: SimulatedWorker): void {
    const key = `row ${this.#rowsMade++}`;
    const rows = this.#rows;
    worker.putRow(key, key).then(
      () => rows.set(key, key),
      () => {},
    );
  }

  #sendProbe(worker: SimulatedWorker): void {
    if (this.#probe !== undefined || this.#supervisorProcess.isDead) return;
    const probe: Probe = { worker, leftMs: 0, leftTurns: 0 };
    this.#beginProbe(probe);
    this.#probe = probe;
    this.#diary.note(`a probe at ${worker.pid}`);
    const answered = (): void => {
      if (this.#probe === probe) this.#probe = undefined;
    };
    const data = Buffer.from(JSON.stringify({ p: -1 - this.#turns }));
    worker.hub
      .publish(QUIET, [{ channel: QUIET, type: undefined, data, json: true }])
      .then(answered, answered);
  }

  /** From now on nothing holds it up. */
  #beginProbe(probe: Probe): void {
    const { latencyMs, appendMs, answerMs } = this.setting;
    probe.leftMs = 2 * latencyMs + appendMs + answerMs;
    probe.leftTurns = PROBE_TURNS;
  }

  // ── what must hold ─────────────────────────────────────────────────────────────────────────────

  /**
   * A publish was refused since it had no room for too long: some worker that may be waited for
   * has not taken what is before it.
   */
  #checkBusy(channels: readonly string[], message: string): void {
    // One that its own worker refused was never here.
    if (!message.includes('another process')) return;
    const nowMs = this.#clock.nowMs();
    const isWaitedFor = [...this.#supervisor.processes].some((one) => {
      const worker = [...this.#workers].find(({ pid }) => pid === one.pid);
      const hangsMs = worker?.hangsSinceMs === undefined ? 0 : nowMs - worker.hangsSinceMs;
      const { credit } = one;
      return (
        // What it was given it may have entered just now. A deadline is late by a turn, waits on as
        // long as it was late, and is late again.
        hangsMs < SILENT_MS + PUBLISH_WAIT_MS_MAX + 3 * LONG_TURN_MS &&
        (channels.some((name) => credit.bytesOf(name) > 0) || credit.bytes > 0)
      );
    });
    if (!isWaitedFor && this.#supervisor.held.waiting === 0 && this.#supervisor.held.reserved === 0)
      this.#diary.failed(
        new Error(`a publish on ${channels.join()} waited for nobody: ${this.#state}`),
      );
  }

  /** What is on its way, for a failure. */
  get #state(): string {
    const workers = Array.from(
      this.#supervisor.processes,
      ({ pid, credit, isServing, isSilent }) => ({
        pid,
        bytes: credit.bytes,
        channels: credit.channels,
        isServing,
        isSilent,
      }),
    );
    return JSON.stringify({ ...this.#supervisor.held, workers });
  }

  #check(ms: number): void {
    this.#diary.throwFault();
    this.#checkCredit();
    this.#checkPlaces();
    for (const worker of this.#serving) if (worker.process.isRunning) this.#checkLines(worker);
    this.#checkProbe(ms);
  }

  #checkProbe(ms: number): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    if (probe.leftMs > 0) probe.leftMs -= Math.min(ms, 3);
    else probe.leftTurns--;
    // The credit in all is used up: that holds up everyone.
    const { bytes } = this.setting.credit;
    const { reserved } = this.#supervisor.held;
    for (const { credit } of this.#supervisor.processes)
      if (credit.bytes + reserved >= bytes) this.#beginProbe(probe);
    if (!probe.worker.isResponsive) this.#probe = undefined;
    else if (probe.leftTurns < 0)
      throw new Error(
        `a publish on a channel that nobody reads waits at ${probe.worker.pid}: ${this.#state}`,
      );
  }

  /** What is on its way to a worker is bounded, by channel and in all. */
  #checkCredit(): void {
    const { channelBytes, bytes } = this.setting.credit;
    const { largestCost } = this.#publications;
    for (const worker of this.#supervisor.processes) {
      if (worker.isSilent) this.#wereSilent.add(worker);
      if (this.#wereSilent.has(worker)) continue;
      const { credit } = worker;
      for (const name of this.setting.channels)
        if (credit.bytesOf(name) > Math.max(channelBytes, largestCost))
          throw new Error(`${credit.bytesOf(name)} bytes of ${name} are on their way to a worker`);
      if (credit.bytes > bytes + largestCost)
        throw new Error(`${credit.bytes} bytes are on their way to a worker`);
    }
  }

  /** Places for lines add up to what there is, and nobody uses more than was lent. */
  #checkPlaces(): void {
    const { linesMax } = this.setting;
    if (this.#supervisorProcess.isDead) return;
    let lent = 0;
    for (const worker of this.#supervisor.processes) lent += this.#pool.lentTo(worker);
    if (lent + this.#pool.free !== linesMax)
      throw new Error(`${lent} places are lent and ${this.#pool.free} free, of ${linesMax}`);
    let open = 0;
    for (const worker of this.#serving) {
      const own = worker.hub.lines.open;
      open += own;
      const process = this.#processOf(worker);
      if (process !== undefined && worker.share.count > this.#pool.lentTo(process))
        throw new Error(`worker ${worker.pid} uses more places than it was lent`);
    }
    if (open > linesMax + this.#pollsWaiting())
      throw new Error(`${open} lines are open, of ${linesMax}`);
  }

  #pollsWaiting(): number {
    return this.#serving.reduce((sum, worker) => sum + this.#polls.waitingOn(worker), 0);
  }

  #processOf({ pid }: SimulatedWorker): WorkerProcess | undefined {
    return [...this.#supervisor.processes].find((one) => one.pid === pid);
  }

  #checkLines(worker: SimulatedWorker): void {
    const givenUp = this.#givenUp.get(worker) ?? { total: 0, turns: 0 };
    this.#givenUp.set(worker, givenUp);
    const total = worker.counters.queues_given_up_total;
    if (total !== givenUp.total) Object.assign(givenUp, { total, turns: GIVEN_UP_TURNS });
    const { open, reading } = this.#lines.check(worker, givenUp.turns-- > 0);
    const { gauges } = worker.hub.figures;
    const waiting = this.#polls.waitingOn(worker);
    if (gauges.linesOpen !== open + waiting || gauges.linesReading !== reading)
      throw new Error(
        `worker ${worker.pid}: ${open} lines, ${reading} reading, ${waiting} polls; not so: ${JSON.stringify(gauges)}`,
      );
  }

  // ── rest ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * The log answers, nobody hangs or dies, everybody reads, and what is open is tried again until
   * it is known: everything must come to rest, with nothing left on its way.
   */
  async #rest(): Promise<void> {
    const { setting } = this;
    const { failing } = setting;
    this.#diary.note('everybody reads');
    this.#isAway = false;
    setting.failing = 0;
    for (const worker of this.#workers) worker.goOn();
    for (let turns = 0, quiet = 0; ; turns++) {
      this.#lines.hurry();
      this.#lines.comeBack();
      const worker = this.#pickWorker();
      if (worker !== undefined) this.#publications.tryAgain(worker);
      const moving = this.#moving;
      quiet = moving === undefined ? quiet + 1 : 0;
      if (quiet === 3) break;
      await this.#turn(moving === 'workers' || moving === 'places' ? 20 : 1);
      if (turns > REST_TURNS)
        throw new Error(
          `it does not come to rest: ${moving} ${JSON.stringify({ ...this.#supervisor.held, open: this.#publications.openCount, away: this.#lines.awayCount })}`,
        );
    }
    this.#checkRest();
    await this.#polls.checkRest(
      () => this.#turn(1),
      REST_TURNS,
      (channel) => this.#store.eventsOf(channel).at(-1)?.id ?? 0,
    );
    this.#diary.throwFault();
    this.#lines.changeSpeeds();
    setting.failing = failing;
  }

  /** What is not at rest; undefined when all is. */
  get #moving(): string | undefined {
    const workers = [...this.#workers];
    const { setting } = this;
    const isStarted = workers.length === setting.workers && this.#hasBegun;
    if (!isStarted || !workers.every(({ isResponsive }) => isResponsive)) return 'workers';
    if (workers.some(({ pipeEnds }) => pipeEnds.some(({ waitingBytes }) => waitingBytes > 0)))
      return 'pipes';
    if (!this.#publications.areDone) return 'publications';
    if (!workers.every(({ hub }) => hub.isSettled && hub.figures.gauges.linesReading === 0))
      return 'hubs';
    if (!this.#lines.isRead || this.#polls.isAsking) return 'clients';
    const clocks = [this.#supervisorProcess, ...workers.map(({ process }) => process)];
    if (!clocks.every(({ clock }) => clock.isIdle)) return 'clocks';
    const held = Object.values(this.#supervisor.held);
    if (held.some((count) => count > 0)) return 'the supervisor';
    if (this.#lines.awayCount > 0) return 'places';
    return undefined;
  }

  #checkRest(): void {
    const workers = [...this.#workers];
    this.#lines.checkRest();
    this.#publications.checkRest();
    for (const worker of workers) {
      const process = this.#processOf(worker) as WorkerProcess;
      const others = workers.filter((one) => one !== worker);
      const rules: Record<string, boolean> = {
        'it has been handed all of the log': worker.parent.log.lastId() === this.#model.lastId,
        'nothing is on its way to it': process.credit.bytes === 0 && process.credit.channels === 0,
        'what it may use is what it was lent': worker.share.count === this.#pool.lentTo(process),
        'it knows all rows': [...this.#rows.keys()].every((key) => worker.rows.has(key)),
        'it knows the lines of others': this.setting.channels.every(
          (name) =>
            worker.parent.elsewhere.of(name) ===
            others.reduce((sum, other) => sum + linesOn(other, name), 0),
        ),
      };
      const broken = Object.keys(rules).filter((rule) => rules[rule] === false);
      if (broken.length > 0) throw new Error(`worker ${worker.pid}; not so: ${broken.join('; ')}`);
    }
  }
}

/** Lines of a worker on a channel, as publishers are told of them. */
function linesOn({ hub }: SimulatedWorker, name: string): number {
  return hub.figures.channelDetails(name)?.lines ?? 0;
}
