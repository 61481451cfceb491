/** A clock whose owner says when time passes and when the loop turns. */
import type { Clock } from '../../src/clock.js';

interface Timer {
  readonly dueMs: number;
  readonly task: () => void;
}

/** Noon of a day, so that ids made from it look as they do in service. */
const STARTED_MS = 1_790_000_000_000;

export class FakeClock implements Clock {
  /** True while the clock runs a task: the only time at which the core may write to sockets. */
  isRunning = false;
  #nowMs = 0;
  #soon: (() => void)[] = [];
  #soonest: (() => void)[] = [];
  readonly #timers: Timer[] = [];

  wallMs(): number {
    return STARTED_MS + Math.floor(this.#nowMs);
  }

  /** Looking takes a microsecond, so that a loop which only ends when time is up does end. */
  nowMs(): number {
    this.#nowMs += 0.001;
    return this.#nowMs;
  }

  soon(task: () => void): void {
    this.#soon.push(task);
  }

  soonest(task: () => void): void {
    this.#soonest.push(task);
  }

  later(delayMs: number, task: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + delayMs, task };
    let at = this.#timers.length;
    while (at > 0 && (this.#timers[at - 1] as Timer).dueMs > timer.dueMs) at--;
    this.#timers.splice(at, 0, timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  /** Nothing is to be run in the next turn. Timers may be waiting. */
  get isIdle(): boolean {
    return this.#soon.length === 0 && this.#soonest.length === 0;
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  /** Time passes, and nothing runs. */
  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** The first phase of a turn: the timers that are due. */
  runTimers(): void {
    const nowMs = this.#nowMs;
    for (
      let first = this.#timers[0];
      first !== undefined && first.dueMs <= nowMs;
      first = this.#timers[0]
    ) {
      this.#timers.shift();
      this.#run(first.task);
    }
  }

  /** The last phase of a turn: what was asked for by `soon` before it began. */
  runSoon(): void {
    const tasks = [...this.#soonest, ...this.#soon];
    this.#soonest = [];
    this.#soon = [];
    for (const task of tasks) this.#run(task);
  }

  /** A whole turn: time passes, timers and `soon` run, and whatever waits for their promises. */
  async turn(ms = 1): Promise<void> {
    this.pass(ms);
    this.runTimers();
    await settlePromises();
    this.runSoon();
    await settlePromises();
  }

  /** Turns of a millisecond each until `ms` have passed. */
  async run(ms: number): Promise<void> {
    for (const untilMs = this.#nowMs + ms; this.#nowMs < untilMs;) await this.turn();
  }

  #run(task: () => void): void {
    this.isRunning = true;
    try {
      task();
    } finally {
      this.isRunning = false;
    }
  }
}

/**
 * What a promise sets off may set off another: a few rounds, as the loop does between callbacks.
 */
export async function settlePromises(): Promise<void> {
  for (let round = 0; round < 16; round++) await Promise.resolve();
}
