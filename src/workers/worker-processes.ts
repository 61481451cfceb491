/**
 * The processes of the workers: one for each place, started, pinged, and started again where one
 * dies or hangs; ended all together.
 */
import type { ChildProcess } from 'node:child_process';
import type { Clock } from '../clock.js';
import { asError, HoldlineError } from '../errors.js';
import {
  WORKER_CREDIT_BYTES,
  WORKER_END_MS_MAX,
  WORKER_PING_MS,
  WORKER_PINGS_MISSED_MAX,
  WORKER_START_MS_MAX,
} from '../limits.js';
import { Credit } from './credit.js';
import type { Link } from './link.js';
import { Restarts } from './restarts.js';
import { WorkerProcess, type WorkerFacts, type WorkerOwner } from './worker-process.js';

export interface ProcessesParts {
  /** Workers at once. */
  readonly count: number;
  /** Starts the process of a worker, with the pipe on file descriptor 3. */
  readonly start: () => ChildProcess;
  /** Tells an operator by an entry of the log, which has a `pid` already: the supervisor's. */
  readonly say: (
    level: 'info' | 'warn' | 'error',
    words: string,
    facts: { readonly pid?: never; readonly [fact: string]: unknown },
  ) => void;
  readonly clock: Clock;
  /** The credit of each; the default is that of limits.ts. */
  readonly credit?: { readonly channelBytes: number; readonly bytes: number };
  readonly owner: ProcessesOwner;
}

/** What is asked and told by the workers, and of them. */
export interface ProcessesOwner extends Omit<WorkerOwner, 'ended'> {
  /** The worker has ended, and is none of them any more. */
  gone(worker: WorkerProcess): void;
  /** All are pinged now. */
  pinging(): void;
  /** One does not answer: nobody waits for it from now on. */
  silent(): void;
}

export class WorkerProcesses {
  readonly #parts: ProcessesParts;
  readonly #restarts = new Restarts();
  /** By place, from 1. */
  readonly #workers = new Map<number, WorkerProcess>();
  #spawned = 0;
  #isEnding = false;
  #cancelPing: (() => void) | undefined;
  #failed!: (error: HoldlineError) => void;
  /** Rejects when the server cannot go on; never resolves. */
  readonly failed: Promise<never>;
  /** Called when a worker begins to listen or has ended. */
  #onChange: (() => void)[] = [];

  constructor(parts: ProcessesParts) {
    this.#parts = parts;
    this.failed = new Promise((_resolve, reject) => (this.#failed = reject));
    this.failed.catch(() => {});
  }

  /** Those that have not ended. */
  [Symbol.iterator](): IterableIterator<WorkerProcess> {
    return this.#workers.values();
  }

  /** The worker of a place, from 1. */
  at(place: number): WorkerProcess | undefined {
    return this.#workers.get(place);
  }

  get servingCount(): number {
    let serving = 0;
    for (const { isServing } of this) if (isServing) serving++;
    return serving;
  }

  /** Workers that were started in the place of one that died. */
  get restartsTotal(): number {
    return this.#restarts.total;
  }

  /** Memory of this process and of all workers, bytes, as they told it last. */
  get memoryBytes(): number {
    let bytes = process.memoryUsage.rss();
    for (const worker of this) bytes += worker.memoryBytes;
    return bytes;
  }

  /** Tells all that have said hello, but one. */
  tellOthers(except: WorkerProcess | undefined, tell: (link: Link) => void): void {
    for (const worker of this) if (worker !== except && worker.isReceiving) tell(worker.link);
  }

  /**
   * Starts one worker, and when it listens the others. Resolves with what the first one says when
   * all listen. Rejects with {@link WorkerFailed} when a worker ends before it listens, which has
   * said why, and with HOLDLINE_LISTEN when the system does not start one.
   */
  async start(): Promise<WorkerFacts> {
    this.#pingLater();
    const first = this.#spawn(1);
    const facts = await this.#listening(first);
    const others = Array.from({ length: this.#parts.count - 1 }, (_none, i) => this.#spawn(i + 2));
    await Promise.all(others.map((worker) => this.#listening(worker)));
    return facts;
  }

  /** Ends all workers within `drainMs`, each as a server of one process ends. */
  async drain(drainMs: number): Promise<void> {
    this.#isEnding = true;
    for (const worker of this) {
      worker.isEnding = true;
      if (worker.isServing) worker.link.tell('drain', drainMs);
      else worker.kill();
    }
    const { clock } = this.#parts;
    const untilMs = clock.nowMs() + drainMs + WORKER_END_MS_MAX;
    while (this.#workers.size > 0) {
      const leftMs = untilMs - clock.nowMs();
      if (leftMs <= 0) this.kill();
      await this.#changed(Math.max(100, leftMs));
    }
  }

  /** Ends all workers at once. */
  kill(): void {
    this.#isEnding = true;
    for (const worker of this) worker.kill();
  }

  /** Pings them no more. */
  stop(): void {
    this.#cancelPing?.();
  }

  /** A worker says that it listens. */
  listens(worker: WorkerProcess, facts: WorkerFacts): void {
    worker.listens(facts);
    this.#tellChange();
  }

  /** Throws HOLDLINE_LISTEN when the system has no memory or no descriptors for the process. */
  #spawn(place: number): WorkerProcess {
    const { owner, start, clock, credit } = this.#parts;
    const child = startChild(start);
    this.#spawned++;
    const toOwner: WorkerOwner = {
      append: (from, append) => owner.append(from, append),
      lines: (from, frame) => owner.lines(from, frame),
      entered: (channels) => owner.entered(channels),
      asked: (from, name, value) => owner.asked(from, name, value),
      ended: (from, how) => this.#ended(from, how),
    };
    const which = { place, spawn: this.#spawned };
    const worker = new WorkerProcess(
      child,
      which,
      toOwner,
      clock,
      new Credit(credit?.channelBytes, credit?.bytes),
    );
    this.#workers.set(place, worker);
    return worker;
  }

  async #listening(worker: WorkerProcess): Promise<WorkerFacts> {
    while (worker.facts === undefined) {
      if (worker.hasEnded) throw new WorkerFailed(worker.exitCode);
      await this.#changed(WORKER_START_MS_MAX);
    }
    return worker.facts;
  }

  /** Resolves when a worker begins to listen or ends, at the latest after a time. */
  #changed(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.later(withinMs, resolve);
      this.#onChange.push(() => {
        cancel();
        resolve();
      });
    });
  }

  #tellChange(): void {
    const told = this.#onChange;
    this.#onChange = [];
    for (const tell of told) tell();
  }

  #ended(worker: WorkerProcess, how: string): void {
    const { place, servedMs, pid } = worker;
    const { owner, count, say } = this.#parts;
    if (this.#workers.get(place) === worker) this.#workers.delete(place);
    owner.gone(worker);
    this.#tellChange();
    if (this.#isEnding) return;
    // One that never served at the start: whoever waits for it ends the server.
    if (servedMs === 0 && this.#restarts.total === 0 && worker.spawn <= count) {
      // One that ends by itself, with a code, says why.
      if (worker.exitCode === null)
        say('error', `a worker ${how}`, { worker: place, workerPid: pid });
      return;
    }
    if (worker.isEnding) {
      say('info', `a worker ${how}`, { worker: place, workerPid: pid, pauseMs: 0 });
      this.#spawnLater(place, 0);
    } else {
      this.#died(place, servedMs, `a worker ${how}`, pid);
    }
  }

  /** Another one is started in its place, if that may help. */
  #died(place: number, servedMs: number, words: string, pid?: number): void {
    const pauseMs = this.#restarts.died(place, servedMs, this.servingCount > 0);
    this.#parts.say('error', words, { worker: place, workerPid: pid, pauseMs });
    if (pauseMs !== undefined) {
      this.#spawnLater(place, pauseMs);
    } else {
      this.#failed(
        new HoldlineError(
          'HOLDLINE_LISTEN',
          'workers end again and again soon after their start; what they said is in the log',
        ),
      );
    }
  }

  #spawnLater(place: number, pauseMs: number): void {
    this.#parts.clock.later(pauseMs, () => {
      if (this.#isEnding) return;
      try {
        this.#spawn(place);
      } catch (error) {
        this.#died(place, 0, asError(error).message);
      }
    });
  }

  #pingLater(): void {
    this.#cancelPing = this.#parts.clock.later(WORKER_PING_MS, () => {
      this.#pingLater();
      this.#ping();
    });
  }

  #ping(): void {
    const { owner } = this.#parts;
    owner.pinging();
    const { memoryBytes } = this;
    for (const worker of this) {
      const { place, pid } = worker;
      if (!worker.isServing) {
        if (worker.ageMs > WORKER_START_MS_MAX) {
          const words = `a worker does not listen after ${WORKER_START_MS_MAX / 1000} s and is ended`;
          this.#parts.say('error', words, { worker: place, workerPid: pid });
          worker.kill();
          continue;
        }
        // One that hangs before it listens holds up no publisher either.
        if (!worker.isTailing) continue;
      }
      // One at a time: after a pause of this process, too, each has its time to answer.
      const isTooMuch = worker.isSilent && worker.link.waitingBytes > WORKER_CREDIT_BYTES;
      const isHanging = worker.isServing && worker.pingsMissed >= WORKER_PINGS_MISSED_MAX;
      if (isHanging || isTooMuch) {
        const facts = { worker: place, workerPid: pid, pingsMissed: worker.pingsMissed };
        this.#parts.say('error', 'a worker hangs and is ended', facts);
        worker.kill();
        continue;
      }
      worker.pingsMissed++;
      worker.link.tell('ping', memoryBytes - worker.memoryBytes);
      if (worker.isSilent) owner.silent();
    }
  }
}

/** Starts the process. Throws HOLDLINE_LISTEN when it is not there, or has no pipe. */
function startChild(start: () => ChildProcess): ChildProcess {
  let problem = 'no file descriptors are left';
  try {
    const child = start();
    if ((child.stdio as unknown) !== undefined) return child;
    // What it is to say is said here.
    child.on('error', () => {});
  } catch (error) {
    problem = asError(error).message;
  }
  throw new HoldlineError('HOLDLINE_LISTEN', `a worker could not be started: ${problem}`);
}

/** A worker ended before it listened. It has said why. */
export class WorkerFailed extends Error {
  readonly exitCode: number | null;

  constructor(exitCode: number | null) {
    super('a worker ended before it listened');
    this.exitCode = exitCode;
  }
}
