/** A worker as its supervisor sees it: a process, the link to it, and what is on the way there. */
import type { ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.js';
import { asError } from '../errors.js';
import { WORKER_END_MS_MAX } from '../limits.js';
import type { Credit } from './credit.js';
import { FRAME, linesFrame, readAppend, readCounts, type Frame } from './frames.js';
import { Link, PIPE_CLOSED } from './link.js';

/** Where a server listens, and what it runs on, as a worker tells it. */
export interface WorkerFacts {
  readonly address: {
    readonly host: string;
    readonly port: number;
    readonly opsPort: number | undefined;
  };
  readonly build: string | null;
  readonly problems: readonly string[];
}

/** What a worker asks of the supervisor. */
export interface WorkerOwner {
  append(worker: WorkerProcess, append: ReturnType<typeof readAppend>): void;
  /** Its lines have changed; the frame is for the others. */
  lines(worker: WorkerProcess, frame: Buffer): void;
  /** Bytes of the channels have entered there. */
  entered(channels: readonly string[]): void;
  asked(worker: WorkerProcess, name: string, value: unknown): unknown;
  /** The process has ended, or could not be started. Called once. */
  ended(worker: WorkerProcess, how: string): void;
}

export class WorkerProcess {
  /** 1 … N. */
  readonly place: number;
  /** Counts over all workers that were ever started; lines are told apart by it. */
  readonly spawn: number;
  readonly credit: Credit;
  /** Its lines by channel. */
  readonly lines = new Map<string, number>();
  readonly link: Link;
  /** Known once it listens. */
  facts: WorkerFacts | undefined;
  /** True from its first question on: it is told what changes. */
  isReceiving = false;
  /** True once it has opened its log: it is handed what the log commits. */
  isTailing = false;
  /** True when its end is wanted: none is started in its place. */
  isEnding = false;
  pingsMissed = 0;
  /** Memory that counts against the budget of all, as it told it last. */
  memoryBytes = 0;

  readonly #child: ChildProcess;
  readonly #owner: WorkerOwner;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #servesSinceMs: number | undefined;
  #hasEnded = false;
  /** Why the link to it ended. */
  #lost: string | undefined;

  constructor(
    child: ChildProcess,
    { place, spawn }: { readonly place: number; readonly spawn: number },
    owner: WorkerOwner,
    clock: Clock,
    credit: Credit,
  ) {
    this.#child = child;
    this.place = place;
    this.spawn = spawn;
    this.#owner = owner;
    this.#clock = clock;
    this.credit = credit;
    this.#startedMs = clock.nowMs();
    this.link = new Link(
      child.stdio[3] as Duplex,
      {
        frame: (frame) => this.#frame(frame),
        asked: (name, value) => {
          this.pingsMissed = 0;
          return owner.asked(this, name, value);
        },
        ended: (reason) => this.#linkEnded(reason),
      },
      clock,
    );
    child.on('error', (error) => this.#end(`could not be started: ${asError(error).message}`));
    child.on('exit', (code, signal) => {
      // It may have said so in bytes that are not read yet.
      if (code === 0 && this.isServing) this.isEnding = true;
      this.#end(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Null when a signal ended it, and when it was never there. */
  get exitCode(): number | null {
    return this.pid === undefined ? null : this.#child.exitCode;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** True while it takes lines. */
  get isServing(): boolean {
    return this.facts !== undefined && !this.#hasEnded;
  }

  /** True when it did not answer the last ping: nobody waits for it. */
  get isSilent(): boolean {
    return this.pingsMissed > 1;
  }

  /** True while publishers wait until it has taken what is before theirs. */
  get isWaitedFor(): boolean {
    return this.isTailing && !this.isSilent;
  }

  get ageMs(): number {
    return this.#clock.nowMs() - this.#startedMs;
  }

  /** How long it has served; 0 if it has not. */
  get servedMs(): number {
    return this.#servesSinceMs === undefined ? 0 : this.#clock.nowMs() - this.#servesSinceMs;
  }

  listens(facts: WorkerFacts): void {
    this.facts = facts;
    this.#servesSinceMs = this.#clock.nowMs();
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  #frame(frame: Frame): void {
    this.pingsMissed = 0;
    if (frame.kind === FRAME.append) this.#owner.append(this, readAppend(frame));
    else if (frame.kind === FRAME.entered) {
      const channels: string[] = [];
      readCounts(frame, (channel, bytes) => {
        this.credit.entered(channel, bytes);
        channels.push(channel);
      });
      this.#owner.entered(channels);
    } else if (frame.kind === FRAME.lines) {
      const changed = new Map<string, number>();
      readCounts(frame, (channel, count) => {
        changed.set(channel, count);
        if (count === 0) this.lines.delete(channel);
        else this.lines.set(channel, count);
      });
      this.#owner.lines(this, linesFrame(this.spawn, changed));
    }
  }

  /** Its process ends by itself. One that does not is of no use without its log. */
  #linkEnded(reason: string): void {
    if (this.#hasEnded) return;
    this.#lost = reason;
    this.#clock.later(WORKER_END_MS_MAX, () => {
      if (!this.#hasEnded) this.kill();
    });
  }

  #end(how: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const isByItself = this.#lost === undefined || this.#lost === PIPE_CLOSED;
    // An end may be heard of before the last bytes are read: they would lend and count to nobody.
    this.link.abandon();
    this.#owner.ended(this, isByItself ? how : `${how} (${this.#lost})`);
  }
}
