/**
 * The thread of a log, seen from outside: started, spoken to, and started again when it ends though
 * nobody asked it to.
 */
import process from 'node:process';
import { Worker } from 'node:worker_threads';
import { backOffMs } from '../../back-off.js';
import type { Clock } from '../../clock.js';
import type { KeepRules } from '../../core/event-log.js';
import { asError } from '../../errors.js';
import { LOG_EXIT_MS_MAX, LOG_RESTART_MS, LOG_RESTART_MS_MAX } from '../../limits.js';
import { EndGate } from './end-gate.js';
import type { FromThread, ThreadData, ToThread } from './messages.js';

/** What the thread does, as its log hears of it. */
export interface ThreadEvents {
  told(message: FromThread): void;
  /** It ended. It is started again, and tells that it is open, or why not. */
  ended(words: string): void;
}

export class ThreadHandle {
  #data: Omit<ThreadData, 'gateWord'>;
  readonly #clock: Clock;
  readonly #events: ThreadEvents;
  #worker: Worker | undefined;
  /** Of the thread that was started last. */
  #gate = new EndGate();
  /** Ends in a row, without a log that was open between them. */
  #ends = 0;
  #isStopped = false;
  #cancelRestart: (() => void) | undefined;

  constructor(data: Omit<ThreadData, 'gateWord'>, clock: Clock, events: ThreadEvents) {
    this.#data = data;
    this.#clock = clock;
    this.#events = events;
    process.on('exit', this.#onExit);
    this.#start();
  }

  /** False when there is no thread now. */
  tell(message: ToThread, buffers: ArrayBuffer[] = []): boolean {
    if (this.#worker === undefined) return false;
    this.#worker.postMessage(message, buffers);
    return true;
  }

  /** Of this thread, and of those that are started in its place. */
  keepTo(rules: KeepRules): void {
    this.#data = { ...this.#data, rules };
    this.tell({ kind: 'rules', rules });
  }

  /** It is not started again; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRestart?.();
    await this.#worker?.terminate();
    process.off('exit', this.#onExit);
  }

  /** What follows ends the thread, and waits for that. */
  readonly #onExit = (): void => {
    if (!this.#gate.shut(LOG_EXIT_MS_MAX)) process.kill(process.pid, 'SIGKILL');
  };

  #start(): void {
    try {
      this.#startThread();
    } catch (error) {
      // The system has no thread for it.
      this.#ended(asError(error).message);
    }
  }

  #startThread(): void {
    this.#gate = new EndGate();
    const data: ThreadData = { ...this.#data, gateWord: this.#gate.word };
    const worker = new Worker(new URL('./thread.js', import.meta.url), {
      workerData: data,
      execArgv: [],
    });
    this.#worker = worker;
    let words = 'it ended';
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'open') this.#ends = 0;
      this.#events.told(message);
    });
    worker.on('error', (error) => {
      words = error.message;
    });
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      if (!this.#isStopped) this.#ended(words);
    });
  }

  #ended(words: string): void {
    const pauseMs = backOffMs(this.#ends++, LOG_RESTART_MS, LOG_RESTART_MS_MAX);
    this.#cancelRestart = this.#clock.later(pauseMs, () => this.#start());
    this.#events.ended(words);
  }
}
