/** What a simulation did last, and the first fault that it found. */
import type { Clock } from '../../src/clock.js';

/** Actions that are shown with a failure. */
const SHOWN = 30;

export class Diary {
  readonly #clock: Pick<Clock, 'nowMs'>;
  #notes: string[] = [];
  #fault: Error | undefined;

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  /** The last actions, newest last. */
  get trace(): string {
    return this.#notes.slice(-SHOWN).join('\n');
  }

  note(what: string): void {
    this.#notes.push(`${this.#clock.nowMs().toFixed(1)} ms  ${what}`);
    if (this.#notes.length > 10 * SHOWN) this.#notes = this.#notes.slice(-SHOWN);
  }

  failed(error: Error): void {
    this.#fault ??= error;
  }

  /** Runs what would otherwise throw through the hub. */
  attempt(whose: string, check: () => void): void {
    try {
      check();
    } catch (error) {
      this.failed(new Error(`${whose}: ${(error as Error).message}`, { cause: error }));
    }
  }

  throwFault(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }
}
