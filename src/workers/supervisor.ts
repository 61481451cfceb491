/**
 * The supervisor: the parent of the workers, which serve one port together. It owns the log, hands
 * every worker what is committed, and answers what they ask.
 */
import { SYSTEM_CLOCK, type Clock } from '../clock.js';
import { queuedBytesOf } from '../core/entrance.js';
import type { LoggedEntry } from '../core/event.js';
import type { EventLog, History, HistoryPage, KeptReceipt, LogRow } from '../core/event-log.js';
import type { Counters } from '../counters.js';
import { asError, HoldlineError } from '../errors.js';
import { RECORDS_FRAME_BYTES, WORKERS_ASKED_MS_MAX } from '../limits.js';
import type { RunningSettings } from '../options/reload.js';
import { Appends } from './appends.js';
import type { Credit, Room } from './credit.js';
import { GoneFigures, ownFigures } from './gone-figures.js';
import { appendedFrame, linesFrame, pageFrame, recordsFrame, type readAppend } from './frames.js';
import { Lending, type Pools } from './lending.js';
import { FrameAnswer } from './link.js';
import { MemoryRows } from './rows.js';
import type { Question, Welcome, WorkerAnswer, WorkersReport } from './talk.js';
import type { LogFacts, LogNews } from './worker-log.js';
import type { WorkerFacts, WorkerProcess } from './worker-process.js';
import { WorkerProcesses, type ProcessesOwner, type ProcessesParts } from './worker-processes.js';

export interface SupervisorParts extends Pick<
  ProcessesParts,
  'count' | 'credit' | 'say' | 'start'
> {
  /** Is open. */
  readonly log: EventLog;
  readonly history: History;
  /** What the log counts. */
  readonly counters: Counters;
  /** Takes what is committed before the workers do; where the log itself keeps nothing. */
  readonly keep?: (entries: readonly LoggedEntry[]) => void;
  /** What every worker is told beside the log. */
  readonly welcome: Omit<
    Welcome,
    'count' | 'elsewhereBytes' | 'log' | 'place' | 'shares' | 'spawn'
  >;
  /** What workers share. */
  readonly pools: Pools;
  readonly clock?: Clock;
}

export class Supervisor implements ProcessesOwner {
  readonly #parts: SupervisorParts;
  #welcomeOfAll: SupervisorParts['welcome'];
  readonly #clock: Clock;
  /** Rows that the log could not keep; without rows in it all of them. */
  readonly #ownRows: MemoryRows;
  readonly #appends: Appends;
  readonly #workers: WorkerProcesses;
  readonly #lending: Lending;
  readonly #gone = new GoneFigures<WorkerProcess>();
  /** Entries that were committed in this turn and are not sent yet. */
  #records: LoggedEntry[] = [];
  #told = '';
  readonly #stopTail: () => void;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
    this.#welcomeOfAll = parts.welcome;
    this.#clock = parts.clock ?? SYSTEM_CLOCK;
    const { log, count, credit, start, say } = parts;
    this.#workers = new WorkerProcesses({
      count,
      start,
      say,
      clock: this.#clock,
      ...(credit !== undefined && { credit }),
      owner: this,
    });
    this.#lending = new Lending(parts.pools, this.#workers);
    this.#ownRows = new MemoryRows(this.#clock);
    if (log.rows !== undefined) log.rows.onChange = (row) => this.#tellRow(row, undefined);
    this.#appends = new Appends(log, this.#clock, (...asked) => this.#roomFor(...asked));
    this.#stopTail = log.tail((entries) => this.#take(entries));
  }

  /** Rejects when the server cannot go on; never resolves. */
  get failed(): Promise<never> {
    return this.#workers.failed;
  }

  /** See {@link WorkerProcesses.start}. */
  start(): Promise<WorkerFacts> {
    return this.#workers.start();
  }

  /** Ends all workers within `drainMs`, each as a server of one process ends. */
  drain(drainMs: number): Promise<void> {
    return this.#workers.drain(drainMs);
  }

  /** Ends all workers at once. */
  kill(): void {
    this.#workers.kill();
  }

  /** All workers run with these settings from now on. Resolves when those that answer do. */
  async reload(settings: RunningSettings): Promise<void> {
    this.#welcomeOfAll = { ...this.#welcomeOfAll, settings };
    const answers: Promise<unknown>[] = [];
    this.#workers.tellOthers(undefined, (link) =>
      answers.push(link.ask('reload', settings, WORKERS_ASKED_MS_MAX)),
    );
    await Promise.allSettled(answers);
  }

  /** Takes no more from the log. */
  stop(): void {
    this.#workers.stop();
    this.#stopTail();
  }

  /** The workers that have not ended. */
  get processes(): Iterable<WorkerProcess> {
    return this.#workers;
  }

  /** What is under way here; all 0 at rest. */
  get held(): Readonly<Record<'keys' | 'onTheWay' | 'records' | 'reserved' | 'waiting', number>> {
    let onTheWay = 0;
    for (const { credit } of this.#workers) onTheWay += credit.bytes;
    return {
      waiting: this.#appends.waitingCount,
      reserved: this.#appends.reservedBytes,
      keys: this.#appends.keyCount,
      records: this.#records.length,
      onTheWay,
    };
  }

  /** `silent`: those that have not told their own figures. */
  report(silent: readonly WorkerProcess[]): WorkersReport {
    const { user, system } = process.cpuUsage();
    return {
      workers: this.#parts.count,
      serving: this.#workers.servingCount,
      restarts: this.#workers.restartsTotal,
      supervisorPid: process.pid,
      supervisorRssBytes: process.memoryUsage.rss(),
      supervisorCpuSeconds: (user + system) / 1e6,
      own: ownFigures(this.#parts.counters, this.#parts.log.times),
      gone: this.#gone.report(silent),
    };
  }

  gone(worker: WorkerProcess): void {
    this.#appends.drop(worker);
    this.#gone.ended(worker);
    this.#workers.tellOthers(worker, (link) => link.tell('gone', worker.spawn));
    this.#lending.gone(worker);
    this.#appends.proceed();
  }

  /** The log may have changed since they were pinged last. */
  pinging(): void {
    const news: LogNews = { state: this.#parts.log.state, figures: this.#parts.log.figures };
    const text = JSON.stringify(news);
    if (text === this.#told) return;
    this.#told = text;
    this.#workers.tellOthers(undefined, (link) => link.tell('log', news));
  }

  silent(): void {
    this.#appends.proceed();
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
    this.#workers.tellOthers(worker, (link) => link.send(frame));
  }

  entered(channels: readonly string[]): void {
    this.#appends.proceed(channels);
  }

  #roomFor(...asked: Parameters<Credit['roomFor']>): Room {
    for (const worker of this.#workers) {
      if (!worker.isWaitedFor) continue;
      const room = worker.credit.roomFor(...asked);
      if (room !== 'room') return room;
    }
    return 'room';
  }

  #take(entries: readonly LoggedEntry[]): void {
    this.#parts.keep?.(entries);
    for (const worker of this.#workers)
      if (worker.isTailing) for (const entry of entries) worker.credit.sent(entry);
    if (this.#records.length === 0) this.#clock.soon(() => this.#sendRecords());
    for (const entry of entries) this.#records.push(entry);
  }

  /**
   * What was committed goes to every worker that has opened its log, in one frame, before its
   * publishers are answered.
   */
  #sendRecords(): void {
    const records = this.#records;
    if (records.length === 0) return;
    this.#records = [];
    for (const part of portions(records)) {
      const frame = recordsFrame(part);
      for (const worker of this.#workers) if (worker.isTailing) worker.link.send(frame);
    }
  }

  // ── what workers ask ───────────────────────────────────────────────────────────────────────────

  asked(worker: WorkerProcess, name: string, value: unknown): unknown {
    const { log, history } = this.#parts;
    switch (name) {
      case 'hello':
        return this.#welcome(worker);
      case 'open':
        return this.#open(worker);
      case 'listening':
        return this.#workers.listens(worker, value as WorkerFacts);
      case 'leaving':
        worker.isEnding = true;
        return undefined;
      case 'pong':
        worker.memoryBytes = value as number;
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
        return this.#loadRows(value as string);
      case 'row':
        return this.#putRow(worker, value as LogRow);
      case 'borrow': {
        const { pool, count } = value as { readonly pool: string; readonly count: number };
        return this.#lending.lend(pool, worker, count);
      }
      case 'return': {
        const { pool, count } = value as { readonly pool: string; readonly count: number };
        return this.#lending.giveBack(pool, worker, count);
      }
      case 'taken':
        return this.#workers.tellOthers(worker, (link) => link.tell('taken', value));
      case 'everyone':
        return this.#askEveryone(value);
      default:
        throw new HoldlineError('HOLDLINE_INTERNAL', `a worker asked for ${name}`);
    }
  }

  #welcome(worker: WorkerProcess): Welcome {
    const { count } = this.#parts;
    worker.isReceiving = true;
    for (const other of this.#workers)
      if (other !== worker) worker.link.send(linesFrame(other.spawn, other.lines));
    const shares = this.#lending.begin(worker, count);
    const { place, spawn } = worker;
    const elsewhereBytes = this.#workers.memoryBytes - worker.memoryBytes;
    return {
      ...this.#welcomeOfAll,
      count,
      place,
      spawn,
      elsewhereBytes,
      log: this.#logFacts(),
      shares,
    };
  }

  /** Its server begins: what is committed from now on is handed to it. */
  #open(worker: WorkerProcess): LogFacts {
    // What came before is what it reads from the history, if at all.
    this.#sendRecords();
    worker.isTailing = true;
    return this.#logFacts();
  }

  #logFacts(): LogFacts {
    const { log } = this.#parts;
    // It may be told something else than the others were: the next ping tells all.
    this.#told = '';
    return { floor: log.floor(), lastId: log.lastId(), state: log.state, figures: log.figures };
  }

  async #loadRows(kind: string): Promise<readonly LogRow[]> {
    const kept = await this.#parts.log.rows?.load(kind);
    return [...(kept ?? []), ...(await this.#ownRows.load(kind))];
  }

  /** Rejects as the log does; also a row that it could not keep counts here, and is told. */
  async #putRow(worker: WorkerProcess, row: LogRow): Promise<void> {
    const { kind, key, value, untilMs } = row;
    try {
      await (this.#parts.log.rows ?? this.#ownRows).put(kind, key, value, untilMs);
    } catch (error) {
      await this.#ownRows.put(kind, key, value, untilMs);
      throw error;
    } finally {
      this.#tellRow(row, worker);
    }
  }

  #tellRow(row: LogRow, except: WorkerProcess | undefined): void {
    this.#workers.tellOthers(except, (link) => link.tell('row', row));
  }

  async #kept(key: string): Promise<KeptReceipt | undefined> {
    const kept = await this.#parts.log.kept(key);
    return kept && { digest: kept.digest, receipt: kept.receipt };
  }

  /** Every worker is asked the same; who does not answer in time is named. */
  async #askEveryone(question: unknown): Promise<{
    readonly answers: readonly WorkerAnswer[];
    readonly report: WorkersReport;
  }> {
    const answers = await Promise.all(
      Array.from({ length: this.#parts.count }, async (_none, index): Promise<WorkerAnswer> => {
        const worker = this.#workers.at(index + 1);
        const facts = { place: index + 1, spawn: worker?.spawn ?? 0, pid: worker?.pid ?? null };
        if (worker?.isServing !== true || worker.isSilent) {
          // It waits in its pipe until it turns its loop again.
          if (worker?.isReceiving === true && isToBeDone(question))
            worker.link.tell('question', question);
          return { ...facts, isSilent: true };
        }
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
    // What one has counted that has ended meanwhile is in the report: it would be told twice.
    const silent: WorkerProcess[] = [];
    const told = answers.map(({ answer, ...facts }) => {
      const worker = this.#workers.at(facts.place);
      const isSame = worker?.spawn === facts.spawn;
      if (worker !== undefined && !(isSame && answer !== undefined)) silent.push(worker);
      return isSame ? { ...facts, answer } : { ...facts, isSilent: true };
    });
    return { answers: told, report: this.report(silent) };
  }
}

/** True for what is asked not to be told something, but for what it does. */
function isToBeDone(question: unknown): boolean {
  return 'disconnect' in (question as Question);
}

/** The entries in portions that fit a frame. */
function* portions(entries: readonly LoggedEntry[]): IterableIterator<readonly LoggedEntry[]> {
  let begin = 0;
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    const cost = queuedBytesOf(entries[i] as LoggedEntry);
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
