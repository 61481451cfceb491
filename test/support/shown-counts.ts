/** Counters over all workers, as they are shown: their sum never falls, also when workers die. */
import type { WorkersReport, WorkerAnswer } from '../../src/workers/talk.js';
import type { Diary } from './diary.js';
import type { SimulatedWorker } from './simulated-worker.js';

interface Counters {
  readonly events_entered_total?: number;
}

export class ShownCounts {
  readonly #diary: Diary;
  #shown = 0;
  #asked: SimulatedWorker | undefined;

  constructor(diary: Diary) {
    this.#diary = diary;
  }

  /** The supervisor is another one, which counts anew. */
  clear(): void {
    this.#shown = 0;
    this.#asked = undefined;
  }

  died(worker: SimulatedWorker): void {
    if (this.#asked === worker) this.#asked = undefined;
  }

  /** Asks one of `count` workers for the counters of all. */
  ask(worker: SimulatedWorker, count: number): void {
    if (this.#asked !== undefined) return;
    this.#asked = worker;
    const question = { page: 'stats', query: '', rest: '', draining: false };
    worker.parent.askEveryone(question).then(
      ({ answers, report }) => {
        if (this.#asked !== worker) return;
        this.#asked = undefined;
        this.#diary.attempt('counters', () => this.#take(answers, report, count));
      },
      () => {
        if (this.#asked === worker) this.#asked = undefined;
      },
    );
  }

  #take(answers: readonly WorkerAnswer[], report: WorkersReport, count: number): void {
    const gone = (report.gone.counters ?? {}) as Counters;
    let sum = gone.events_entered_total ?? 0;
    let answered = 0;
    for (const { isSilent, answer } of answers) {
      if (isSilent) continue;
      answered++;
      const { counters } = JSON.parse(answer as string) as { readonly counters: Counters };
      sum += counters.events_entered_total ?? 0;
    }
    // One that does not answer is named, and missing from the sum.
    if (answered < count) return;
    if (sum < this.#shown) throw new Error(`the sum of all falls from ${this.#shown} to ${sum}`);
    this.#shown = sum;
  }
}
