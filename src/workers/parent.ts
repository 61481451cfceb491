/** The supervisor as a worker sees it: its log, what it lends, and what all workers are asked. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import { FRAME, linesFrame, readAppended, readCounts, readPage, type Frame } from './frames.js';
import { Link } from './link.js';
import { isOwnerKey } from './owner-counts.js';
import { Share } from './shares.js';
import type { Question, Welcome, WorkerAnswer, WorkersReport } from './talk.js';
import { WorkerLog, type LogNews } from './worker-log.js';
import type { WorkerFacts } from './worker-process.js';
import { Elsewhere } from '../core/elsewhere.js';
import type { LogRow } from '../core/event-log.js';
import { HoldlineError } from '../errors.js';
import { SHARE_LOOK_MS } from '../limits.js';
import type { RunningSettings } from '../options/reload.js';

/** The pipe to the supervisor. */
const PIPE_FILE = 3;

export class Parent {
  readonly welcome: Welcome;
  /** Lines that this process can hold at the most; its share of all is in {@link share}. */
  readonly linesMax: number;
  readonly log: WorkerLog;
  /** Ends this process's server within a time, ms. Set by the server. */
  onDrain: (drainMs: number) => void = () => {};
  /** Lets it run with the {@link settings}, which have changed. */
  onReload: () => void = () => {};
  /** Answers what every worker is asked. */
  onQuestion: (question: Question) => unknown = () => undefined;

  /** Lines that other workers have, by channel; and by user and address (owner-counts.ts). */
  readonly elsewhere = new Elsewhere();
  readonly owners = new Elsewhere();
  /** So many events have counted elsewhere against the rate of a source. Set by the server. */
  onTaken: (source: string, events: number) => void = () => {};
  /** Memory of the other processes, bytes, as it was told last. */
  elsewhereBytes: number;
  /** Memory of this process as the others count it, bytes. Set by the server. */
  ownBytes: () => number = () => process.memoryUsage.rss();

  #settings: RunningSettings;
  readonly #link: Link;
  readonly #clock: Clock;
  /** Lines by channel that have changed here in this turn. */
  #changed = new Map<string, number>();
  /** Events by source that have counted against its rate here in this turn. */
  #taken = new Map<string, number>();
  readonly #shares = new Map<string, Share>();
  /** What was lent after the welcome, while the server was not there to use it. */
  readonly #lentEarly = new Map<string, number>();

  private constructor(link: Link, welcome: Welcome, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
    this.welcome = welcome;
    this.#settings = welcome.settings;
    this.linesMax = welcome.linesMax;
    this.elsewhereBytes = welcome.elsewhereBytes;
    this.log = new WorkerLog(link, welcome.log, clock);
  }

  /** Says hello over the pipe. `onGone` is called when the supervisor has ended. */
  static async connect(
    onGone: (reason: string) => void,
    pipe: Duplex = new Socket({ fd: PIPE_FILE }),
    clock: Clock = SYSTEM_CLOCK,
  ): Promise<Parent> {
    // What comes right behind the welcome, before this function goes on, or even before it.
    const early: ((parent: Parent) => void)[] = [];
    let act = (what: (parent: Parent) => void): void => void early.push(what);
    const link: Link = new Link(
      pipe,
      {
        frame: (frame) => act((made) => made.#frame(frame)),
        asked(name, value) {
          let answer: unknown;
          act((made) => (answer = made.#asked(name, value)));
          return answer;
        },
        ended: onGone,
      },
      clock,
    );
    const welcome = await link.ask<Welcome>('hello', undefined);
    const parent = new Parent(link, welcome, clock);
    act = (what) => what(parent);
    for (const what of early) what(parent);
    return parent;
  }

  /** What all workers run with, as the supervisor said last. */
  get settings(): RunningSettings {
    return this.#settings;
  }

  /** Workers that start when this one listens; undefined when it is not the first of all. */
  get startingCount(): number | undefined {
    const { spawn, count } = this.welcome;
    return spawn === 1 ? count - 1 : undefined;
  }

  /** This process serves. */
  listens(facts: WorkerFacts): void {
    this.#tellBytes();
    this.#link.tell('listening', facts);
  }

  /** This process ends by itself, and another may take its place. */
  leaves(): void {
    this.#link.tell('leaving');
  }

  /** This worker has so many lines on the channel, or of the owner, now. */
  linesChanged(name: string, count: number): void {
    if (this.#changed.size === 0) {
      this.#clock.soon(() => {
        const changed = this.#changed;
        this.#changed = new Map();
        this.#link.send(linesFrame(this.welcome.spawn, changed));
      });
    }
    this.#changed.set(name, count);
  }

  /** So many events have counted here against the rate of a source; the others are told. */
  taken(source: string, events: number): void {
    if (this.#taken.size === 0) {
      this.#clock.soon(() => {
        const taken = [...this.#taken];
        this.#taken = new Map();
        this.#link.tell('taken', taken);
      });
    }
    this.#taken.set(source, (this.#taken.get(source) ?? 0) + events);
  }

  /** What this worker may use of a number that all share; `inUse` says how many it does. */
  share(pool: string, inUse: () => number): Share {
    const share = new Share(
      (this.welcome.shares[pool] ?? 0) + this.#lentOf(pool),
      inUse,
      (count) => this.#link.tell('borrow', { pool, count }),
      (count) => this.#link.tell('return', { pool, count }),
    );
    this.#shares.set(pool, share);
    // To look is to ask: places that others have given back are there before a client needs one.
    const look = (): void => {
      void share.hasRoom;
      this.#clock.later(SHARE_LOOK_MS, look);
    };
    this.#clock.later(SHARE_LOOK_MS, look);
    return share;
  }

  /**
   * Asks every worker, this one among them. Those that do not answer in time are in the answers as
   * silent. Rejects with HOLDLINE_LOG_UNAVAILABLE when the supervisor itself does not answer.
   */
  askEveryone(
    question: Question,
  ): Promise<{ readonly answers: readonly WorkerAnswer[]; readonly report: WorkersReport }> {
    return this.#link.ask('everyone', question);
  }

  #tellBytes(): void {
    this.#link.tell('pong', this.ownBytes());
  }

  #lentOf(pool: string): number {
    return this.#lentEarly.get(pool) ?? 0;
  }

  #asked(name: string, value: unknown): unknown {
    switch (name) {
      case 'ping':
        this.elsewhereBytes = value as number;
        this.log.heard();
        this.#tellBytes();
        return undefined;
      case 'log':
        this.log.changed(value as LogNews);
        return undefined;
      case 'row':
        this.log.rows.onChange?.(value as LogRow);
        return undefined;
      case 'lent': {
        const { pool, count } = value as { readonly pool: string; readonly count: number };
        const share = this.#shares.get(pool);
        if (share === undefined) this.#lentEarly.set(pool, this.#lentOf(pool) + count);
        else share.lent(count);
        return undefined;
      }
      case 'recall':
        this.#shares.get(value as string)?.recall();
        return undefined;
      case 'gone':
        this.elsewhere.gone(value as number);
        this.owners.gone(value as number);
        return undefined;
      case 'taken':
        for (const one of value as readonly [string, number][]) this.onTaken(...one);
        return undefined;
      case 'question':
        return this.onQuestion(value as Question);
      case 'drain':
        this.onDrain(value as number);
        return undefined;
      case 'reload':
        this.#settings = value as RunningSettings;
        this.onReload();
        return undefined;
      default:
        throw new HoldlineError('HOLDLINE_INTERNAL', `the supervisor asked for ${name}`);
    }
  }

  #frame(frame: Frame): void {
    if (frame.kind === FRAME.appended) {
      const { number, ids } = readAppended(frame);
      this.#link.resolve(number, ids);
    } else if (frame.kind === FRAME.page) {
      const { number, page } = readPage(frame);
      this.#link.resolve(number, page);
    } else if (frame.kind === FRAME.lines) {
      const lines: [string, number][] = [];
      const spawn = readCounts(frame, (...one) => lines.push(one));
      for (const [name, count] of lines)
        (isOwnerKey(name) ? this.owners : this.elsewhere).set(spawn, name, count);
    } else {
      this.log.records(frame);
    }
  }
}
