/**
 * The log on disk: an LMDB environment in a directory, which a thread of its own writes and reads.
 * Here are its ids, its receipts, and who waits for what.
 */
import type { Clock } from '../../clock.js';
import { isDeletion, type LoggedEntry, type NewEntry } from '../../core/event.js';
import {
  LOG_NOT_OPEN,
  LOG_UP,
  type EventLog,
  type History,
  type KeepRules,
  type KeptReceipt,
  type LogFigures,
  type LogRows,
  type LogState,
  type RequestKey,
} from '../../core/event-log.js';
import type { Counters } from '../../counters.js';
import { HoldlineError } from '../../errors.js';
import { ID_MAX, IDEMPOTENCY_MS, LOG_OUTCOME_MS_MAX, LOG_SILENT_MS_MAX } from '../../limits.js';
import { firstIdAt } from '../first-id.js';
import { KeptReceipts } from '../kept-receipts.js';
import { LogLoss } from '../log-loss.js';
import { badDirectory } from './bad-log.js';
import { lockDirectory } from './lock.js';
import { makeDirectory } from './make-directory.js';
import {
  errorOf,
  type Durability,
  type Failure,
  type FromThread,
  type ToThread,
} from './messages.js';
import { PendingAppends } from './pending-appends.js';
import { PendingQuestions } from './pending-questions.js';
import { Silence } from '../silence.js';
import { ThreadHandle } from './thread-handle.js';

export interface LmdbLogOptions {
  readonly directory: string;
  /**
   * `sync`: an append resolves when it is on disk. `async`: it resolves before, and a crash loses
   * what came in the last LOG_FLUSH_MS; its ids are not given again.
   */
  readonly durability: Durability;
  /** Of a log that is made now; undefined: the clock, ms × 1000. */
  readonly firstId: number | undefined;
  readonly rules: KeepRules;
  /** Room that is kept for deletions on a full disk, bytes; 0: none. */
  readonly ballastBytes: number;
  readonly clock: Clock;
  readonly counters: Counters;
  /** Gets faults that nobody waits for. */
  readonly report: (error: unknown) => void;
}

const CLOSED: LogState = { isUp: false, problem: 'the log is closed' };
const SILENT: LogState = { isUp: false, problem: 'the log does not answer; its disk may hang' };

export class LmdbLog implements EventLog {
  readonly #options: LmdbLogOptions;
  readonly #receipts: KeptReceipts;
  readonly #appends: PendingAppends;
  readonly #questions = new PendingQuestions({
    tell: (message) => this.#isAnswering && this.#tell(message),
    unavailable: () => this.#unavailable(),
    floor: () => this.#floor,
  });
  readonly #silence: Silence;
  #rules: KeepRules;
  #thread: ThreadHandle | undefined;
  /** False from the end of a thread until the next one is open: it would not know what it got. */
  #isThreadOpen = false;
  /** From a silence of the thread until it is known what became of the appends that it had. */
  #isSilent = false;
  #unlock: (() => void) | undefined;
  #state = LOG_NOT_OPEN;
  #figures: LogFigures | undefined;
  #floor = 0;
  #take: ((entries: readonly LoggedEntry[]) => void) | undefined;
  #hear: ((failure: Failure | undefined) => void) | undefined;
  #hearClosed: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: LmdbLogOptions) {
    this.#options = options;
    this.#rules = options.rules;
    const { clock, counters } = options;
    this.#receipts = new KeptReceipts(clock, counters);
    this.#appends = new PendingAppends(clock, this.#receipts, (logged) => this.#take?.(logged));
    this.#silence = new Silence(clock, {
      isWaiting: () => this.#appends.areSent || !this.#questions.isEmpty,
      mostMs: () => (this.#isThreadOpen ? LOG_SILENT_MS_MAX : LOG_OUTCOME_MS_MAX),
      silent: () => this.#giveUp(),
    });
  }

  async open(): Promise<void> {
    const { directory, firstId, clock } = this.#options;
    const { durability, ballastBytes } = this.#options;
    try {
      makeDirectory(directory);
    } catch (error) {
      throw badDirectory(directory, error, 'made');
    }
    this.#unlock = await lockDirectory(directory);
    const opened = new Promise<Failure | undefined>((resolve) => {
      this.#hear = resolve;
    });
    const data = {
      directory,
      durability,
      firstId: firstId ?? firstIdAt(clock.wallMs()),
      rules: this.#rules,
      ballastBytes,
    };
    this.#thread = new ThreadHandle(data, clock, {
      told: (message) => {
        this.#told(message);
        if (message.kind !== 'not open') this.#heard();
      },
      ended: (words) => this.#ended(words),
    });
    const failure = await opened;
    if (failure === undefined) return;
    await this.#thread.stop();
    this.#thread = undefined;
    this.#unlock();
    throw errorOf(failure);
  }

  get history(): History {
    return this.#questions.history;
  }

  get rows(): LogRows {
    return this.#questions.rows;
  }

  get isOpen(): boolean {
    return this.#hear === undefined && this.#thread !== undefined;
  }

  get state(): LogState {
    return this.#isSilent && this.#state.isUp ? SILENT : this.#state;
  }

  get figures(): LogFigures | undefined {
    return this.#figures;
  }

  append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<readonly number[]> {
    if (entries.length === 0) return Promise.resolve([]);
    const mayTry = this.#isAnswering && (this.#state.isUp || entries.every(isDeletion));
    if (!mayTry || !this.isOpen) return Promise.reject(this.#unavailable());
    if (this.lastId() + this.#appends.entries + entries.length > ID_MAX)
      return Promise.reject(
        new HoldlineError('HOLDLINE_INTERNAL', `the log has given its last id, ${ID_MAX}`),
      );
    if (!this.#appends.isTurnBegun) this.#options.clock.soonest(() => this.#send());
    return this.#appends.add(entries, request);
  }

  kept(key: string): Promise<KeptReceipt | undefined> {
    return Promise.resolve(this.#receipts.get(key));
  }

  tail(take: (entries: readonly LoggedEntry[]) => void): () => void {
    this.#take = take;
    return () => {
      if (this.#take === take) this.#take = undefined;
    };
  }

  /** What is kept beyond them goes in small steps, as always. */
  keepTo(rules: KeepRules): void {
    this.#rules = rules;
    this.#thread?.keepTo(rules);
  }

  lastId(): number {
    return this.#appends.lastId;
  }

  floor(): number {
    return this.#floor;
  }

  close(): Promise<void> {
    if (this.#thread !== undefined) this.#closing ??= this.#close(this.#thread);
    return this.#closing ?? Promise.resolve();
  }

  async #close(thread: ThreadHandle): Promise<void> {
    this.#send();
    this.#state = CLOSED;
    const closed = new Promise<void>((resolve) => {
      this.#hearClosed = resolve;
    });
    if (thread.tell({ kind: 'close' })) await closed;
    this.#thread = undefined;
    this.#take = undefined;
    this.#silence.stop();
    await thread.stop();
    this.#appends.rejectSent(new HoldlineError('HOLDLINE_OUTCOME_UNKNOWN', CLOSED.problem));
    this.#questions.rejectAll();
    this.#unlock?.();
  }

  /** There is a thread, and it is not known to hang. */
  get #isAnswering(): boolean {
    return this.#isThreadOpen && !this.#isSilent;
  }

  #send(): void {
    if (!this.#isAnswering) {
      this.#appends.rejectTurn(this.#unavailable());
      return;
    }
    const message = this.#appends.takeTurn();
    // A thread that has just ended loses it, which is found out when the next one is open.
    if (message !== undefined) this.#tell(message, [message.packed.buffer]);
  }

  /** Tells the thread what it has to answer; false when there is none. */
  #tell(message: ToThread, buffers?: ArrayBuffer[]): boolean {
    this.#silence.watch();
    return this.#thread?.tell(message, buffers) === true;
  }

  #told(message: FromThread): void {
    switch (message.kind) {
      case 'open':
        this.#opened(message);
        return;
      case 'not open':
        if (this.#hear === undefined) {
          this.#state = {
            isUp: false,
            problem: 'the log cannot be opened again; it is tried again',
          };
          this.#fault(`the log cannot be opened again: ${message.failure.words}`);
        } else this.#hear(message.failure);
        return;
      case 'committed':
        this.#figures = message.figures;
        if (this.#appends.settle(message.appends)) return;
        this.#fault('the thread of the log answered out of order');
        // Nobody knows the ids of the rest: it is never settled, which keeps the log down as long
        // as there is this thread.
        this.#giveUp();
        return;
      case 'refused':
        this.#appends.refuse(message.sequences, errorOf(message.failure));
        return;
      case 'answer':
        this.#questions.answered(message.number, message.answer);
        return;
      case 'state':
        if (this.#state !== CLOSED) this.#state = message.state;
        if (!message.state.isUp) this.#fault(message.state.problem);
        return;
      case 'figures':
        this.#figures = message.figures;
        return;
      case 'fault':
        this.#fault(message.words);
        return;
      case 'lost':
        this.#options.counters.log_entries_lost_total += message.entries;
        this.#options.report(new LogLoss(message.words));
        return;
      case 'closed':
        this.#hearClosed?.();
    }
  }

  #opened({
    floor,
    committedId,
    newestId,
    receipts,
    figures,
  }: Extract<FromThread, { kind: 'open' }>): void {
    this.#floor = floor;
    this.#figures = figures;
    if (this.#hear !== undefined) {
      this.#appends.lastId = newestId;
      const wallMs = this.#options.clock.wallMs();
      for (const { key, untilMs, digest, receipt } of receipts)
        this.#receipts.keep(key, { digest, receipt }, Math.min(untilMs - wallMs, IDEMPOTENCY_MS));
      const hear = this.#hear;
      this.#hear = undefined;
      this.#state = LOG_UP;
      this.#isThreadOpen = true;
      hear(undefined);
      return;
    }
    this.#appends.settleAfterRestart(committedId, newestId, this.#unavailable());
    this.#isThreadOpen = true;
    if (this.#state !== CLOSED) this.#state = LOG_UP;
  }

  #ended(words: string): void {
    this.#isThreadOpen = false;
    if (this.#hear !== undefined) {
      this.#hear({ code: 'HOLDLINE_BAD_LOG', words: `the thread of the log failed: ${words}` });
      return;
    }
    if (this.#state !== CLOSED) {
      this.#state = { isUp: false, problem: 'the thread of the log ended; it is started again' };
      this.#fault(`the thread of the log ended, and is started again: ${words}`);
    }
    this.#hearClosed?.();
    this.#questions.rejectAll();
  }

  #heard(): void {
    this.#silence.heard();
    if (!this.#appends.areUnknown) this.#isSilent = false;
  }

  /** The thread is silent: whoever waits is answered. What it commits yet is handed over. */
  #giveUp(): void {
    if (this.#state.isUp) this.#fault(SILENT.problem);
    this.#isSilent = true;
    this.#appends.rejectSent(
      new HoldlineError(
        'HOLDLINE_OUTCOME_UNKNOWN',
        'the log did not say in time whether it has the events',
      ),
    );
    this.#questions.rejectAll();
  }

  #unavailable(): HoldlineError {
    const { problem } = this.state;
    return new HoldlineError(
      'HOLDLINE_LOG_UNAVAILABLE',
      problem === '' ? 'the log was interrupted' : problem,
    );
  }

  #fault(words: string): void {
    this.#options.report(new HoldlineError('HOLDLINE_LOG_UNAVAILABLE', words));
  }
}
