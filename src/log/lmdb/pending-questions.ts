/** What the thread of a log is asked, and who waits for its answer: the history, and rows. */
import type { History, HistoryPage, LogRow, LogRows } from '../../core/event-log.js';
import type { HoldlineError } from '../../errors.js';
import { errorOf, type Answer, type Question, type ToThread } from './messages.js';
import { unpackEvents } from './packing.js';

interface PendingQuestion {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: HoldlineError) => void;
}

/** The log whose thread is asked. */
export interface AskedLog {
  /** False when there is no thread that would answer. */
  tell(message: ToThread): boolean;
  unavailable(): HoldlineError;
  floor(): number;
}

export class PendingQuestions {
  readonly history: History = {
    read: (request) => this.#askPage({ kind: 'read', request }, request.channels),
    newest: (channel, bounds) => this.#askPage({ kind: 'newest', channel, ...bounds }, [channel]),
    idBefore: async (wallMs) => {
      const answer = await this.#ask({ kind: 'id before', wallMs });
      return answer.kind === 'id' ? answer.id : this.#log.floor();
    },
  };
  readonly rows: LogRows = {
    load: async (kind) => {
      const answer = await this.#ask({ kind: 'rows', rowKind: kind });
      return answer.kind === 'rows' ? answer.rows : [];
    },
    put: async (kind, key, value, untilMs) => {
      const row: LogRow = { kind, key, value, untilMs };
      await this.#ask({ kind: 'put row', row });
    },
    // Nobody else writes this log.
    onChange: undefined,
  };
  readonly #log: AskedLog;
  readonly #pending = new Map<number, PendingQuestion>();
  #lastNumber = 0;

  constructor(log: AskedLog) {
    this.#log = log;
  }

  /** True when nothing was asked that is not answered. */
  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  answered(number: number, answer: Answer): void {
    const asked = this.#pending.get(number);
    this.#pending.delete(number);
    if (answer.kind === 'failed') asked?.reject(errorOf(answer.failure));
    else asked?.resolve(answer);
  }

  /** The thread has ended, or does not answer. */
  rejectAll(): void {
    for (const { reject } of this.#pending.values()) reject(this.#log.unavailable());
    this.#pending.clear();
  }

  async #askPage(question: Question, channels: readonly string[]): Promise<HistoryPage> {
    const answer = await this.#ask(question);
    if (answer.kind !== 'page') throw this.#log.unavailable();
    const { packed, kind: _kind, ...page } = answer;
    const buffer = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
    return { events: unpackEvents(buffer, channels), ...page };
  }

  #ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const number = ++this.#lastNumber;
      if (this.#log.tell({ kind: 'ask', number, question }))
        this.#pending.set(number, { resolve, reject });
      else reject(this.#log.unavailable());
    });
  }
}
