/**
 * What the thread of a log does: commits everything that waits in one transaction, and between two
 * commits reads one slice of the history, so that neither starves. Nothing is asynchronous here
 * but the order of turns, and no read transaction outlives its turn.
 */
import { backOffMs } from '../../back-off.js';
import { asError, HoldlineError } from '../../errors.js';
import {
  LOG_COMMIT_BYTES_MAX,
  LOG_FLUSH_MS,
  LOG_PROBE_BYTES,
  LOG_RETRY_MS,
  LOG_RETRY_MS_MAX,
  LOG_SWEEP_MS,
} from '../../limits.js';
import { Ballast } from './ballast.js';
import { AppendQueue, countOf, unpackAppends, type WaitingAppend } from './append-queue.js';
import { MappedPages } from './mapped-pages.js';
import { failureOf, type FromThread, type ThreadData, type ToThread } from './messages.js';
import { findReceipts } from './receipts.js';
import { Questions } from './questions.js';
import { Store, type Commitment } from './store.js';

/** Steps of forgetting before it is tried whether the log can be written again. */
const SWEEPS_BEFORE_RETRY = 20;

/** Tells the log something; the buffers are handed over. */
export type Tell = (message: FromThread, buffers?: ArrayBuffer[]) => void;

export class LogThread {
  #data: ThreadData;
  readonly #isAsync: boolean;
  readonly #tell: Tell;
  readonly #ballast: Ballast;
  readonly #appends = new AppendQueue();
  readonly #questions: Questions;
  #store: Store | undefined;
  #pages: MappedPages | undefined;
  /** The id that was given last: with `async`, ahead of what is committed. */
  #givenId = 0;
  #isTurnDue = false;
  #flush: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #sweeping: NodeJS.Timeout | undefined;
  #isSweepDue = true;
  /** While the tables are opened again, nothing is done. */
  #isBusy = false;
  #problem = '';
  /** Retries since the log was up. */
  #retries = 0;
  #isClosing = false;
  /** With `async`: what was answered could not be written until the end. */
  #isLeaseLost = false;

  constructor(data: ThreadData, tell: Tell) {
    this.#data = data;
    this.#isAsync = data.durability === 'async';
    this.#tell = tell;
    this.#questions = new Questions((message, buffers) => {
      this.#pages?.read(buffers[0]?.byteLength ?? 0);
      tell(message, buffers);
    });
    this.#ballast = new Ballast(data.directory, data.ballastBytes);
  }

  /** Opens the log; false when it cannot be used, which has been told. */
  async open(): Promise<boolean> {
    try {
      const store = await Store.open(this.#data);
      this.#pages = await MappedPages.of(this.#data.directory);
      this.#store = store;
      this.#givenId = store.newestId;
      this.#tell({
        kind: 'open',
        floor: store.floor,
        committedId: store.committedId,
        newestId: store.newestId,
        receipts: findReceipts(store.tables, Date.now()),
        figures: store.figures,
      });
    } catch (error) {
      this.#tell({ kind: 'not open', failure: failureOf(error, 'HOLDLINE_BAD_LOG') });
      return false;
    }
    this.#sweeping = setInterval(() => {
      this.#isSweepDue = true;
      this.#soon();
    }, LOG_SWEEP_MS);
    setImmediate(() => this.#takeBallast());
    this.#soon();
    return true;
  }

  take(message: ToThread): void {
    switch (message.kind) {
      case 'append':
        this.#takeAppends(unpackAppends(message.appends, message.packed));
        return;
      case 'ask':
        this.#questions.ask(message);
        this.#soon();
        return;
      case 'rules':
        // Tables that are opened again use them, too.
        this.#data = { ...this.#data, rules: message.rules };
        this.#store?.keepTo(message.rules);
        this.#isSweepDue = true;
        this.#soon();
        return;
      case 'close':
        this.#isClosing = true;
        this.#soon();
    }
  }

  #takeAppends(taken: readonly WaitingAppend[]): void {
    if (this.#isAsync && this.#mayAnswer(countOf(taken))) {
      this.#answer(taken);
      return;
    }
    this.#appends.add(taken);
    this.#soon();
  }

  /**
   * With `async`: true when so many entries have ids that were leased. Nothing is answered before
   * it is committed while the log is down, or behind what waits for its commit since it was.
   */
  #mayAnswer(count: number): boolean {
    if (this.#isBusy || this.#problem !== '' || this.#hasUnanswered) return false;
    const store = this.#opened();
    if (this.#givenId + count <= store.leaseEnd) return true;
    this.#commitAll();
    if (this.#isBusy) return false;
    try {
      store.lease(count);
      return true;
    } catch (error) {
      void this.#fail(error);
      return false;
    }
  }

  /** With `async`: ids of the lease are given at once, and the commit follows. */
  #answer(taken: readonly WaitingAppend[]): void {
    const appends = taken.map(({ request }) => {
      const firstId = this.#givenId + 1;
      this.#givenId += request.count;
      return { sequence: request.sequence, firstId };
    });
    this.#tell({ kind: 'committed', appends, figures: this.#opened().figures });
    this.#appends.addAnswered(taken);
    if (this.#appends.bytes >= LOG_COMMIT_BYTES_MAX) this.#commitAll();
    else this.#flush ??= setTimeout(() => this.#commitAll(), LOG_FLUSH_MS);
  }

  #soon(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(() => {
      this.#isTurnDue = false;
      if (!this.#isBusy) this.#takeTurn();
    });
  }

  /** One commit, one slice of reading and one step of forgetting. */
  #takeTurn(): void {
    if (!this.#isBusy) this.#pages?.unmapMany();
    if (this.#hasUnanswered) this.#commitSome();
    else if (this.#isClosing) this.#commitAll();
    if (!this.#isBusy && !this.#questions.isEmpty) this.#answerSome();
    if (!this.#isBusy && this.#maySweep) this.#sweep();
    if (this.#hasUnanswered || !this.#questions.isEmpty || this.#maySweep) this.#soon();
    else if (this.#isClosing && !this.#isBusy) void this.#close();
  }

  get #hasUnanswered(): boolean {
    return this.#appends.length > this.#appends.answered;
  }

  /** What is to be forgotten goes on with the next start: the end does not wait for it. */
  get #maySweep(): boolean {
    return this.#isSweepDue && this.#problem === '' && !this.#isClosing;
  }

  /** Commits what waits, up to the bounds of one commit. */
  #commitSome(): void {
    if (this.#problem !== '') this.#refuseEvents();
    const appends = this.#appends.next();
    if (appends.length === 0) return;
    const store = this.#opened();
    const before = store.newestId;
    try {
      store.commit(appends.map(commitmentOf), Date.now(), this.#problem !== '');
    } catch (error) {
      void this.#fail(error, appends.length);
      return;
    }
    this.#takeCommitted(before);
  }

  /**
   * Takes out what was committed since the newest id was `before`, and answers what was not;
   * returns how many appends.
   */
  #takeCommitted(before: number): number {
    const store = this.#opened();
    const { answered } = this.#appends;
    const committed = this.#appends.takeEntries(store.newestId - before);
    let firstId = before + 1;
    const told = committed.map(({ request: { sequence, count } }) => {
      const one = { sequence, firstId };
      firstId += count;
      return one;
    });
    if (told.length > answered)
      this.#tell({ kind: 'committed', appends: told.slice(answered), figures: store.figures });
    this.#givenId = Math.max(this.#givenId, store.newestId);
    this.#pages?.wrote(committed.reduce((sum, { request }) => sum + request.bytes, 0));
    if (committed.some(({ entries }) => entries.some(({ record }) => record === undefined)))
      this.#isSweepDue = true;
    return committed.length;
  }

  /** With `async`: commits all that was answered. */
  #commitAll(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    while (this.#appends.length > 0 && !this.#isBusy) {
      const waiting = this.#appends.length;
      this.#commitSome();
      if (this.#appends.length === waiting) return;
    }
    if (this.#isSweepDue) this.#soon();
  }

  /** While the log is down, only deletions are tried, and what stands before them. */
  #refuseEvents(): void {
    const refused = this.#appends.takeUnansweredEvents();
    if (refused.length > 0) this.#refuse(refused);
  }

  #refuse(appends: readonly WaitingAppend[]): void {
    this.#tell({
      kind: 'refused',
      sequences: appends.map(({ request }) => request.sequence),
      failure: { code: 'HOLDLINE_LOG_UNAVAILABLE', words: this.#problem },
    });
  }

  #answerSome(): void {
    const store = this.#opened();
    const fault = this.#questions.step(store, () => {
      // What was answered ahead must be found.
      if (this.#appends.answered > 0) this.#commitAll();
      if (this.#isBusy || this.#appends.answered > 0)
        throw new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', this.#problem);
    });
    if (fault !== undefined && !this.#isBusy) void this.#fail(fault);
  }

  #sweep(): void {
    try {
      const store = this.#opened();
      const { events } = store.figures;
      this.#isSweepDue = store.sweep(Date.now());
      if (store.figures.events !== events) this.#tell({ kind: 'figures', figures: store.figures });
    } catch (error) {
      this.#isSweepDue = false;
      void this.#fail(error);
    }
  }

  /**
   * After a failed write: says that the log is down, gives the ballast back, and opens the tables
   * again, since LMDB may refuse all that follows. Only then it is known what became of the first
   * `tried` appends, which were to be committed.
   */
  async #fail(error: unknown, tried = 0): Promise<void> {
    this.#isBusy = true;
    const wasDown = this.#problem !== '';
    this.#setProblem(`the log cannot be written: ${reasonOf(error)}; it is tried again`);
    this.#ballast.giveBack();
    const before = this.#opened().newestId;
    await this.#reopen();
    const committed = this.#takeCommitted(before);
    // Those that were answered stay, and nothing can be committed before them.
    const most = this.#appends.answered > 0 ? Infinity : tried - committed;
    const refused = this.#appends.takeUnanswered(most);
    if (refused.length > 0) this.#refuse(refused);
    if (this.#isClosing && wasDown && tried > 0) this.#giveUpAnswered(error);
    this.#isBusy = false;
    this.#retryLater();
    this.#soon();
  }

  /** At the end: what was answered, and found no room that is kept for it either. */
  #giveUpAnswered(error: unknown): void {
    const lost = countOf(this.#appends.takeAnswered());
    if (lost === 0) return;
    this.#isLeaseLost = true;
    this.#tell({
      kind: 'lost',
      entries: lost,
      words: `${lost} entries that were acknowledged (--durability async) are lost: the log could not be written until its end: ${reasonOf(error)}`,
    });
  }

  /** Rejects when it cannot: then the thread ends, and is started again. */
  async #reopen(): Promise<void> {
    const before = this.#opened();
    await before.abandon();
    const store = await Store.open(this.#data, before);
    // Those that came meanwhile went to the one before.
    store.keepTo(this.#data.rules);
    this.#store = store;
  }

  #retryLater(): void {
    if (this.#retry !== undefined || this.#isClosing) return;
    const pauseMs = backOffMs(this.#retries++, LOG_RETRY_MS, LOG_RETRY_MS_MAX);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (!this.#isBusy) this.#recover();
    }, pauseMs);
  }

  /**
   * What deletions left behind goes first, and what was answered is written; then there must be
   * room for the ballast and more.
   */
  #recover(): void {
    const store = this.#opened();
    try {
      for (let steps = 0; steps < SWEEPS_BEFORE_RETRY; steps++)
        if (!store.sweep(Date.now()) && !store.isAmidChannels) break;
      while (this.#appends.answered > 0) {
        const before = store.newestId;
        store.commit(this.#appends.next().map(commitmentOf), Date.now(), true);
        this.#takeCommitted(before);
      }
      store.settle();
      this.#ballast.take();
      store.checkRoom(LOG_PROBE_BYTES);
      this.#retries = 0;
      this.#tell({ kind: 'figures', figures: store.figures });
      this.#setProblem('');
    } catch (error) {
      void this.#fail(error);
    }
  }

  #setProblem(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#tell({ kind: 'state', state: { isUp: problem === '', problem } });
  }

  #takeBallast(): void {
    try {
      this.#ballast.take();
    } catch (error) {
      this.#tell({
        kind: 'fault',
        words: `the ballast of the log (--log-ballast) cannot be made: ${reasonOf(error)}`,
      });
    }
  }

  async #close(): Promise<void> {
    this.#isBusy = true;
    clearInterval(this.#sweeping);
    clearTimeout(this.#flush);
    clearTimeout(this.#retry);
    try {
      await this.#opened().close({ isLeaseLost: this.#isLeaseLost });
    } catch (error) {
      this.#tell({ kind: 'fault', words: `the log was not closed: ${asError(error).message}` });
    }
    this.#tell({ kind: 'closed' });
  }

  #opened(): Store {
    if (this.#store === undefined) throw new Error('the log is not open');
    return this.#store;
  }
}

function commitmentOf({ entries, request }: WaitingAppend): Commitment {
  return { entries, receipt: request.receipt };
}

/** Without a path: everyone may see it (LogState.problem). */
function reasonOf(error: unknown): string {
  const { code, message } = asError(error) as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') return `no room on the disk (${code})`;
  // LMDB has numbers for codes, and says behind a colon what is of use to its authors only.
  return typeof code === 'string' ? code : (message.split(':')[0] ?? message);
}
