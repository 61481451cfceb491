/** What was asked of a log and is not answered yet: one slice of work at a time, in turns. */
import { HoldlineError } from '../../errors.js';
import { failureOf, type Answer, type FromThread, type Question } from './messages.js';
import { packEvents } from './packing.js';
import { idBefore, NewestSearch, readPage, type FoundPage } from './pages.js';
import { findRows } from './rows.js';
import type { Store } from './store.js';

interface WaitingQuestion {
  readonly number: number;
  readonly question: Question;
  search?: NewestSearch;
}

export class Questions {
  readonly #tell: (message: FromThread, buffers: ArrayBuffer[]) => void;
  readonly #waiting: WaitingQuestion[] = [];

  constructor(tell: (message: FromThread, buffers: ArrayBuffer[]) => void) {
    this.#tell = tell;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  ask(question: { readonly number: number; readonly question: Question }): void {
    this.#waiting.push(question);
  }

  /**
   * Does a slice of the first one, and answers it when it is done. `prepare` throws a HoldlineError
   * when the store is not what it should be. Returns what was thrown by a write.
   */
  step(store: Store, prepare: () => void): unknown {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return undefined;
    let answer: Answer | undefined;
    let fault: unknown;
    try {
      prepare();
      try {
        answer = answerOf(store, waiting);
      } finally {
        // Not later: an old snapshot keeps pages from being used again.
        store.tables.root.resetReadTxn();
      }
    } catch (error) {
      if (waiting.question.kind === 'put row' && !(error instanceof HoldlineError)) fault = error;
      answer = { kind: 'failed', failure: failureOf(error, 'HOLDLINE_LOG_UNAVAILABLE') };
    }
    if (answer === undefined) this.#waiting.push(waiting);
    else
      this.#tell(
        { kind: 'answer', number: waiting.number, answer },
        answer.kind === 'page' ? [answer.packed.buffer as ArrayBuffer] : [],
      );
    return fault;
  }
}

/** Undefined when another slice is to be read. */
function answerOf(store: Store, waiting: WaitingQuestion): Answer | undefined {
  const { question } = waiting;
  if (question.kind === 'read') return pageAnswer(readPage(store, question.request));
  if (question.kind === 'newest') {
    waiting.search ??= new NewestSearch(question.channel, question);
    const page = waiting.search.step(store);
    return page === undefined ? undefined : pageAnswer(page);
  }
  if (question.kind === 'id before')
    return { kind: 'id', id: idBefore(store, question.wallMs, Date.now()) };
  if (question.kind === 'rows')
    return { kind: 'rows', rows: findRows(store.tables, Date.now(), question.rowKind) };
  store.putRow(question.row);
  return { kind: 'kept' };
}

function pageAnswer({ events, ...page }: FoundPage): Answer {
  return { kind: 'page', packed: packEvents(events), ...page };
}
