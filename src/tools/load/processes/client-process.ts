/** A client process as the coordinator sees it: orders go out, answers and updates come back. */

import { fork, type ChildProcess } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { RunFailure } from '../clients/connection.js';
import type { Ask, Counts, OrderName, Orders, Reply, Update } from './messages.js';
import type { Slice } from '../books/slicer.js';

const ENTRY = fileURLToPath(new URL('worker.js', import.meta.url));

interface Waiting {
  resolve(this: void, answer: never): void;
  reject(this: void, error: Error): void;
}

/** One process. It ends when this one does, however that ends. */
export class ClientProcess {
  /** The newest that it has sent. */
  counts: Counts | undefined;
  /** Rejects with a {@link RunFailure} when it has ended. */
  readonly gone: Promise<never>;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onSlice: (slice: Slice) => void;
  #asks = 0;
  #end: string | undefined;

  /** Starts it, on one core where that is given: Linux with `taskset`. */
  constructor(core: number | undefined, onSlice: (slice: Slice) => void = () => {}) {
    this.#onSlice = onSlice;
    // taskset becomes the command, so that the pid is the client's own.
    const start =
      core === undefined
        ? {}
        : { execPath: 'taskset', execArgv: ['-c', String(core), process.execPath] };
    this.#child = fork(ENTRY, [], {
      ...start,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message) => this.#take(message as Reply | Update));
    this.gone = new Promise((_resolve, reject) => {
      const over = (how: string): void => {
        this.#over(how);
        reject(this.#gone());
      };
      this.#child.on('error', (error) => over(error.message));
      this.#child.on('exit', (code, signal) => over(signal ?? `exit code ${code}`));
    });
    // It also ends when all is done, and then nobody waits for this.
    this.gone.catch(() => {});
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /**
   * Gives an order. Rejects with a {@link RunFailure} when the process is gone or could not follow
   * it.
   */
  ask<Name extends OrderName>(
    order: Name,
    body: Orders[Name]['body'],
  ): Promise<Orders[Name]['answer']> {
    if (this.#end !== undefined) return Promise.reject(this.#gone());
    const ask = ++this.#asks;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ask, { resolve, reject });
      // When this fails, 'exit' follows.
      this.#child.send({ ask, order, body } satisfies Ask, () => {});
    });
  }

  /** Ends it; what it has not sent is lost. */
  async close(): Promise<void> {
    if (this.#end !== undefined) return;
    await new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.kill('SIGKILL');
    });
  }

  #take(message: Reply | Update): void {
    if (!('ask' in message)) {
      this.counts = message.counts;
      if (message.slice !== undefined) this.#onSlice(message.slice);
      return;
    }
    const waiting = this.#waiting.get(message.ask);
    this.#waiting.delete(message.ask);
    if ('error' in message)
      waiting?.reject(new RunFailure(`a client process failed: ${message.error}`));
    else waiting?.resolve(message.answer as never);
  }

  #over(how: string): void {
    this.#end ??= how;
    for (const { reject } of this.#waiting.values()) reject(this.#gone());
    this.#waiting.clear();
  }

  #gone(): RunFailure {
    return new RunFailure(`a client process is gone: ${this.#end}`);
  }
}
