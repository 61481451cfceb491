/**
 * The supervisor: the parent of the workers, which serve one port together. It owns the log, hands
 * every worker what is committed, lends what they share, and starts another one in the place of one
 * that dies or hangs.
 */
import type { ChildProcess } from 'node:child_process';
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import type { LoggedEntry } from '../core/event.js';
import type {
  EventLog,
  History,
  HistoryPage,
  KeptReceipt,
  LogRow,
  LogRows,
} from '../core/event-log.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import {
  RECORDS_FRAME_BYTES,
  WORKER_CREDIT_BYTES,
  WORKER_END_MS_MAX,
  WORKER_PING_MS,
  WORKER_PINGS_MISSED_MAX,
  WORKER_START_MS_MAX,
  WORKERS_ASKED_MS_MAX,
} from '../limits.js';
import { Appends } from './appends.js';
import { costOf } from './credit.js';
import { GoneFigures, ownFigures } from './gone-figures.js';
import { appendedFrame, linesFrame, pageFrame, recordsFrame, type readAppend } from './frames.js';
import { FrameAnswer, type Link } from './link.js';
import { Restarts } from './restarts.js';
import { MemoryRows } from './rows.js';
import type { Pool } from './shares.js';
import type { Welcome, WorkerAnswer, WorkersReport } from './talk.js';
import type { LogFacts, LogNews } from './worker-log.js';
import { WorkerProcess, type WorkerFacts, type WorkerOwner } from './worker-process.js';

export interface SupervisorParts {
  /** Is open. */
  readonly log: EventLog;
  readonly history: History;
  /** What the log counts. */
  readonly counters: Counters;
  /** Takes what is committed before the workers do; where the log itself keeps nothing. */
  readonly keep?: (entries: readonly LoggedEntry[]) => void;
  /** Workers at once. */
  readonly count: number;
  /** Starts the process of a worker, with the pipe on file descriptor 3. */
  readonly start: () => ChildProcess;
  /** What every worker is told beside the log. */
  readonly welcome: Omit<Welcome, 'count' | 'log' | 'place' | 'shares' | 'spawn'>;
  /** What workers share, by name. */
  readonly pools: Readonly<Record<string, Pool<WorkerProcess>>>;
  /** What an operator is told. */
  readonly say: (level: 'info' | 'warn' | 'error', words: string, facts: object) => void;
  readonly clock?: Clock;
}

export class Supervisor implements WorkerOwner {
  readonly #parts: SupervisorParts;
  readonly #clock: Clock;
  readonly #rows: LogRows;
  readonly #appends: Appends;
  readonly #restarts = new Restarts();
  /** By place, from 1. */
  readonly #workers = new Map<number, WorkerProcess>();
  readonly #gone = new GoneFigures<WorkerProcess>();
  #spawned = 0;
  /** Entries that were committed in this turn and are not sent yet. */
  #records: LoggedEntry[] = [];
  #isEnding = false;
  #pinging: NodeJS.Timeout | undefined;
  #told = '';
  readonly #stopTail: () => void;
  #failed!: (error: HoldlineError) => void;
  /** Rejects when the server cannot go on; never resolves. */
  readonly failed: Promise<never>;
  /** Called when a worker begins to listen or has ended. */
  #onChange: (() => void)[] = [];

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? SYSTEM_CLOCK;
    const { log } = parts;
    this.#rows = log.rows ?? new MemoryRows();
    this.#rows.onChange = (row) => this.#tellRow(row, undefined);
    this.#appends = new Appends(log, this.#clock, (channel, bytes, reserved) =>
      this.#hasRoom(channel, bytes, reserved),
    );
    this.failed = new Promise((_resolve, reject) => (this.#failed = reject));
    this.failed.catch(() => {});
    this.#stopTail = log.tail((entries) => this.#take(entries));
  }

  /**
   * Starts one worker, and when it listens the others. Resolves with what the first one says when
   * all listen. Rejects with HOLDLINE_LISTEN when a worker ends before it listens, which has said
   * why.
   */
  async start(): Promise<WorkerFacts> {
    this.#pinging = setInterval(() => this.#ping(), WORKER_PING_MS);
    const first = this.#spawn(1);
    const facts = await this.#listening(first);
    const others = Array.from({ length: this.#parts.count - 1 }, (_none, i) => this.#spawn(i + 2));
    await Promise.all(others.map((worker) => this.#listening(worker)));
    return facts;
  }

  /** Ends all workers within `drainMs`, each as a server of one process ends. */
  async drain(drainMs: number): Promise<void> {
    this.#isEnding = true;
    for (const worker of this.#workers.values()) {
      worker.isEnding = true;
      if (worker.isServing) worker.link.tell('drain', drainMs);
      else worker.kill();
    }
    const untilMs = this.#clock.nowMs() + drainMs + WORKER_END_MS_MAX;
    while (this.#workers.size > 0) {
      const leftMs = untilMs - this.#clock.nowMs();
      if (leftMs <= 0) this.kill();
      await this.#changed(Math.max(100, leftMs));
    }
  }

  /** Ends all workers at once. */
  kill(): void {
    this.#isEnding = true;
    for (const worker of this.#workers.values()) worker.kill();
  }

  /** All workers read their configuration again. */
  reload(): void {
    for (const worker of this.#workers.values()) worker.link.tell('reload');
  }

  /** Takes no more from the log. */
  stop(): void {
    clearInterval(this.#pinging);
    this.#stopTail();
  }

  get report(): WorkersReport {
    return {
      workers: this.#parts.count,
      serving: [...this.#workers.values()].filter((one) => one.isServing).length,
      restarts: this.#restarts.total,
      supervisorPid: process.pid,
      supervisorRssBytes: process.memoryUsage.rss(),
      own: ownFigures(this.#parts.counters, this.#parts.log.times),
      gone: this.#gone.report,
    };
  }

  // ── processes ──────────────────────────────────────────────────────────────────────────────────

  #spawn(place: number): WorkerProcess {
    this.#spawned++;
    const worker = new WorkerProcess(this.#parts.start(), place, this.#spawned, this);
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
      const timer = setTimeout(resolve, withinMs);
      this.#onChange.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #tellChange(): void {
    const told = this.#onChange;
    this.#onChange = [];
    for (const tell of told) tell();
  }

  ended(worker: WorkerProcess, how: string): void {
    const { place, servedMs, pid } = worker;
    if (this.#workers.get(place) === worker) this.#workers.delete(place);
    this.#appends.drop(worker);
    this.#gone.ended(worker);
    this.#tellOthers(worker, (link) => link.tell('gone', worker.spawn));
    for (const [name, pool] of Object.entries(this.#parts.pools)) {
      const next = pool.gone(worker);
      if (next !== undefined) this.#lend(name, next, Math.ceil(pool.free / 2));
    }
    this.#appends.proceed();
    this.#tellChange();
    if (this.#isEnding) return;
    // One that never served at the start: whoever waits for it ends the server.
    if (servedMs === 0 && this.#restarts.total === 0 && worker.spawn <= this.#parts.count) return;
    const pauseMs = worker.isEnding
      ? 0
      : this.#restarts.died(place, servedMs, this.report.serving > 0);
    const level = worker.isEnding ? 'info' : 'error';
    this.#parts.say(level, `a worker ${how}`, { worker: place, pid, pauseMs });
    if (pauseMs === undefined) {
      this.#failed(
        new HoldlineError(
          'HOLDLINE_LISTEN',
          'workers end again and again soon after their start; what they said is in the log',
        ),
      );
      return;
    }
    setTimeout(() => {
      if (!this.#isEnding) this.#spawn(place);
    }, pauseMs);
  }

  #ping(): void {
    const news: LogNews = { state: this.#parts.log.state, figures: this.#parts.log.figures };
    const text = JSON.stringify(news);
    const isNew = text !== this.#told;
    this.#told = text;
    let rssBytes = process.memoryUsage.rss();
    for (const worker of this.#workers.values()) rssBytes += worker.rssBytes;
    for (const worker of this.#workers.values()) {
      const { place, pid } = worker;
      if (isNew && worker.isReceiving) worker.link.tell('log', news);
      if (!worker.isServing) {
        if (worker.ageMs > WORKER_START_MS_MAX) worker.kill();
        continue;
      }
      // One at a time: after a pause of this process, too, each has its time to answer.
      const isTooMuch = worker.isSilent && worker.link.waitingBytes > WORKER_CREDIT_BYTES;
      if (worker.pingsMissed >= WORKER_PINGS_MISSED_MAX || isTooMuch) {
        const facts = { worker: place, pid, pingsMissed: worker.pingsMissed };
        this.#parts.say('error', 'a worker hangs and is ended', facts);
        worker.kill();
        continue;
      }
      worker.pingsMissed++;
      worker.link.tell('ping', rssBytes - worker.rssBytes);
      // Publishers that wait for it need not any more.
      if (worker.isSilent) this.#appends.proceed();
    }
  }

  // ── the log ────────────────────────────────────────────────────────────────────────────────────

  append(worker: WorkerProcess, { number, entries, request }: ReturnType<typeof readAppend>): void {
    this.#appends.append(worker, entries, request).then(
      (ids) => {
        this.#sendRecords();
        worker.link.send(appendedFrame(number, ids));
      },
      (error: unknown) => worker.link.refuse(number, error),
    );
  }

  lines(worker: WorkerProcess, frame: Buffer): void {
    this.#tellOthers(worker, (link) => link.send(frame));
  }

  entered(channel: string): void {
    if (this.#appends.waitingCount > 0) this.#appends.proceed(channel);
  }

  #hasRoom(channel: string, bytes: number, reserved: number): boolean {
    for (const worker of this.#workers.values()) {
      if (
        worker.isReceiving &&
        !worker.isSilent &&
        !worker.credit.hasRoom(channel, bytes, reserved)
      )
        return false;
    }
    return true;
  }

  #take(entries: readonly LoggedEntry[]): void {
    this.#parts.keep?.(entries);
    for (const worker of this.#workers.values())
      if (worker.isReceiving) for (const entry of entries) worker.credit.sent(entry);
    if (this.#records.length === 0) this.#clock.soon(() => this.#sendRecords());
    for (const entry of entries) this.#records.push(entry);
  }

  /** What was committed goes to every worker in one frame, before its publishers are answered. */
  #sendRecords(): void {
    const records = this.#records;
    if (records.length === 0) return;
    this.#records = [];
    for (const part of portions(records)) {
      const frame = recordsFrame(part);
      this.#tellOthers(undefined, (link) => link.send(frame));
    }
  }

  // ── what workers ask ───────────────────────────────────────────────────────────────────────────

  asked(worker: WorkerProcess, name: string, value: unknown): unknown {
    const { log, history } = this.#parts;
    switch (name) {
      case 'hello':
        return this.#welcome(worker);
      case 'listening':
        worker.listens(value as WorkerFacts);
        return this.#tellChange();
      case 'leaving':
        worker.isEnding = true;
        return undefined;
      case 'pong':
        worker.rssBytes = value as number;
        return undefined;
      case 'kept':
        return this.#kept(value as string);
      case 'lastId':
        return log.lastId();
      case 'read':
        return pageOf(history.read(value as Parameters<History['read']>[0]));
      case 'newest': {
        const { channel, ...bounds } = value as Parameters<History['newest']>[1] & {
          readonly channel: string;
        };
        return pageOf(history.newest(channel, bounds));
      }
      case 'idBefore':
        return history.idBefore(value as number);
      case 'rows':
        return this.#rows.load(value as string);
      case 'row':
        return this.#putRow(worker, value as LogRow);
      case 'borrow':
      case 'return':
        return this.#share(
          worker,
          name,
          value as { readonly pool: string; readonly count: number },
        );
      case 'everyone':
        return this.#askEveryone(value);
      default:
        throw new HoldlineError('HOLDLINE_INTERNAL', `a worker asked for ${name}`);
    }
  }

  #welcome(worker: WorkerProcess): Welcome {
    const { log, welcome, pools, count } = this.#parts;
    // What came before is what it reads from the history, if at all.
    this.#sendRecords();
    worker.isReceiving = true;
    for (const other of this.#workers.values())
      if (other !== worker) worker.link.send(linesFrame(other.spawn, other.lines));
    const facts: LogFacts = {
      floor: log.floor(),
      lastId: log.lastId(),
      state: log.state,
      figures: log.figures,
    };
    const shares = Object.fromEntries(
      Object.entries(pools).map(([name, pool]) => [
        name,
        pool.lend(worker, Math.ceil(pool.total / count)),
      ]),
    );
    return { ...welcome, count, place: worker.place, spawn: worker.spawn, log: facts, shares };
  }

  async #putRow(worker: WorkerProcess, row: LogRow): Promise<void> {
    await this.#rows.put(row.kind, row.key, row.value, row.untilMs);
    this.#tellRow(row, worker);
  }

  #tellRow(row: LogRow, except: WorkerProcess | undefined): void {
    this.#tellOthers(except, (link) => link.tell('row', row));
  }

  #tellOthers(except: WorkerProcess | undefined, tell: (link: Link) => void): void {
    for (const worker of this.#workers.values())
      if (worker !== except && worker.isReceiving) tell(worker.link);
  }

  async #kept(key: string): Promise<KeptReceipt | undefined> {
    const kept = await this.#parts.log.kept(key);
    return kept && { digest: kept.digest, receipt: kept.receipt };
  }

  #share(
    worker: WorkerProcess,
    name: 'borrow' | 'return',
    { pool: poolName, count }: { readonly pool: string; readonly count: number },
  ): void {
    const pool = this.#parts.pools[poolName];
    if (pool === undefined) return;
    if (name === 'borrow') {
      this.#lend(poolName, worker, count);
      return;
    }
    const next = pool.giveBack(worker, count);
    if (next !== undefined) this.#lend(poolName, next, Math.ceil(pool.free / 2));
  }

  #lend(poolName: string, worker: WorkerProcess, count: number): void {
    const pool = this.#parts.pools[poolName]!;
    const lent = pool.lend(worker, count);
    worker.link.tell('lent', { pool: poolName, count: lent });
    if (lent > 0) return;
    for (const other of this.#workers.values())
      if (other !== worker) other.link.tell('recall', poolName);
  }

  /** Every worker is asked the same; who does not answer in time is named. */
  async #askEveryone(question: unknown): Promise<{
    readonly answers: readonly WorkerAnswer[];
    readonly report: WorkersReport;
  }> {
    const answers = await Promise.all(
      Array.from({ length: this.#parts.count }, async (_none, index): Promise<WorkerAnswer> => {
        const worker = this.#workers.get(index + 1);
        const facts = { place: index + 1, spawn: worker?.spawn ?? 0, pid: worker?.pid ?? null };
        if (worker?.isServing !== true || worker.isSilent) return { ...facts, isSilent: true };
        try {
          const answer = await worker.link.ask('question', question, WORKERS_ASKED_MS_MAX);
          this.#gone.shown(worker, question, answer);
          return { ...facts, isSilent: false, answer };
        } catch (error) {
          const { message } = asError(error);
          return { ...facts, isSilent: true, problem: message };
        }
      }),
    );
    return { answers, report: this.report };
  }
}

/** The entries in portions that fit a frame. */
function* portions(entries: readonly LoggedEntry[]): IterableIterator<readonly LoggedEntry[]> {
  let begin = 0;
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    const cost = costOf(entries[i] as LoggedEntry);
    if (bytes + cost > RECORDS_FRAME_BYTES && i > begin) {
      yield entries.slice(begin, i);
      begin = i;
      bytes = 0;
    }
    bytes += cost;
  }
  yield begin === 0 ? entries : entries.slice(begin);
}

async function pageOf(reading: Promise<HistoryPage>): Promise<FrameAnswer> {
  const page = await reading;
  return new FrameAnswer((number) => pageFrame(number, page));
}

/** A worker ended before it listened. It has said why. */
export class WorkerFailed extends Error {
  readonly exitCode: number | null;

  constructor(exitCode: number | null) {
    super('a worker ended before it listened');
    this.exitCode = exitCode;
  }
}
