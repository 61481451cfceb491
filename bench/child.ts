/**
 * The child processes of the runner: starts them on a core, asks them with a deadline, ends all of
 * them on any exit.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

interface Question {
  ask: number;
  name: string;
  body: unknown;
}

interface Answer {
  answer: number;
  body?: unknown;
  error?: string;
}

interface Notice {
  notice: string;
  body: unknown;
}

interface Waiting {
  resolve: (body: never) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export const SERVER_CORE = 0;
export const CLIENT_CORE = 1;

/** False on a single core, or without taskset; the result then says that nothing was pinned. */
export const pinning: boolean =
  availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;

/** The cores that this process was started with, as the kernel lists them. */
const OWN_CORES = /^Cpus_allowed_list:\s+(\S+)$/m.exec(
  readFileSync('/proc/self/status', 'utf8'),
)![1]!;

/** Moves this process, all threads of it, to the cores; undefined: back to those it had. */
export function moveRunner(cores: readonly number[] | undefined): void {
  if (!pinning) return;
  spawnSync('taskset', ['-acp', cores?.join(',') ?? OWN_CORES, String(process.pid)]);
}

/** Lets all threads of a process but its first one have the cores that this process began with. */
export function freeOtherThreads(pid: number): void {
  if (!pinning) return;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    if (thread !== String(pid)) spawnSync('taskset', ['-cp', OWN_CORES, thread]);
}

const STDERR_KEPT_CHARS = 4000;

const living = new Set<ChildProcess>();

function killLiving(): void {
  for (const child of living) killTree(child);
}

/** Its own children first: an nginx worker, or the server under 0x, would outlive its parent. */
function killTree(child: ChildProcess): void {
  for (const pid of child.pid === undefined ? [] : childPids(child.pid)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended by itself.
    }
  }
  child.kill('SIGKILL');
}

/** Empty when the process has none, or is gone. */
export function childPids(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

process.on('exit', killLiving);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(130));
}

export interface ChildOptions {
  name: string;
  command: string;
  args: string[];
  core: number | undefined;
  env?: Record<string, string>;
  /** Without it the child is another program, with `write` and `textLines`. */
  ipc: boolean;
}

export interface TextRows {
  next(deadlineMs: number): Promise<string>;
}

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #noticeHandlers = new Map<string, (body: never) => void>();
  readonly exited: Promise<void>;
  #nextAsk = 1;
  #stderr = '';
  #ended = false;

  constructor(options: ChildOptions) {
    this.name = options.name;
    const pinned = pinning && options.core !== undefined;
    // taskset becomes the command, so the pid and the IPC descriptor are the child's own.
    this.#process = spawn(
      pinned ? 'taskset' : options.command,
      pinned ? ['-c', String(options.core), options.command, ...options.args] : options.args,
      {
        stdio: ['pipe', 'pipe', 'pipe', ...(options.ipc ? (['ipc'] as const) : [])],
        serialization: 'advanced',
        env: { ...process.env, ...options.env },
      },
    );
    living.add(this.#process);
    this.#process.stdin?.on('error', () => {});
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT_CHARS);
    });
    if (options.ipc) this.#process.stdout?.resume();
    this.#process.on('message', (message) => this.#onMessage(message as Answer | Notice));
    this.exited = new Promise((resolve) => {
      this.#process.on('error', (error) => this.#onEnd(error.message, resolve));
      this.#process.on('exit', (code, signal) =>
        this.#onEnd(signal ?? `exit code ${code}`, resolve),
      );
    });
  }

  get pid(): number {
    if (this.#process.pid === undefined)
      throw new Error(`${this.name} did not start: ${this.#stderr}`);
    return this.#process.pid;
  }

  ask<T>(name: string, body: unknown, deadlineMs: number): Promise<T> {
    if (this.#ended) return Promise.reject(this.#gone(`was asked "${name}" after its end`));
    const ask = this.#nextAsk++;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(ask);
        reject(
          new Error(
            `${this.name} did not answer "${name}" in ${deadlineMs} ms${this.#stderrTail()}`,
          ),
        );
      }, deadlineMs);
      this.#waiting.set(ask, { resolve, reject, timer });
      this.#process.send({ ask, name, body } satisfies Question, (error) => {
        if (error) this.#fail(ask, this.#gone(error.message));
      });
    });
  }

  /** The next notice of that name. Rejects when it does not come in time. */
  notice<T>(name: string, deadlineMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#noticeHandlers.delete(name);
        reject(
          new Error(`${this.name} was not "${name}" within ${deadlineMs} ms${this.#stderrTail()}`),
        );
      }, deadlineMs);
      this.#noticeHandlers.set(name, (body) => {
        clearTimeout(timer);
        this.#noticeHandlers.delete(name);
        resolve(body);
      });
      void this.exited.then(() => {
        clearTimeout(timer);
        reject(this.#gone(`ended before it was "${name}"`));
      });
    });
  }

  /** What a child without IPC writes to its stdout, a row at a time. */
  textLines(): TextRows {
    const rows = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
    return {
      next: async (deadlineMs) => {
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<never>((_resolve, reject) => {
          timer = setTimeout(
            () =>
              reject(
                new Error(`${this.name} wrote nothing for ${deadlineMs} ms${this.#stderrTail()}`),
              ),
            deadlineMs,
          );
        });
        try {
          const row = await Promise.race([rows.next(), late]);
          if (row.done) throw this.#gone('its output ended');
          return row.value;
        } finally {
          clearTimeout(timer);
        }
      },
    };
  }

  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends it at once: everything has been measured. */
  async kill(): Promise<void> {
    killTree(this.#process);
    await this.exited;
  }

  #onMessage(message: Answer | Notice): void {
    if ('notice' in message) {
      this.#noticeHandlers.get(message.notice)?.(message.body as never);
      return;
    }
    if (message.error !== undefined) {
      this.#fail(message.answer, new Error(`${this.name}: ${message.error}`));
      return;
    }
    const waiting = this.#waiting.get(message.answer);
    if (waiting === undefined) return;
    this.#waiting.delete(message.answer);
    clearTimeout(waiting.timer);
    waiting.resolve(message.body as never);
  }

  #onEnd(how: string, resolve: () => void): void {
    this.#ended = true;
    living.delete(this.#process);
    for (const ask of this.#waiting.keys()) this.#fail(ask, this.#gone(how));
    resolve();
  }

  #fail(ask: number, error: Error): void {
    const waiting = this.#waiting.get(ask);
    if (waiting === undefined) return;
    this.#waiting.delete(ask);
    clearTimeout(waiting.timer);
    waiting.reject(error);
  }

  #gone(how: string): Error {
    return new Error(`${this.name} is gone (${how})${this.#stderrTail()}`);
  }

  #stderrTail(): string {
    return this.#stderr === '' ? '' : `; the end of its stderr:\n${this.#stderr}`;
  }
}

/** Starts a TypeScript file of the bench as a child. */
export function startNode(
  name: string,
  file: URL,
  core: number | undefined,
  nodeFlags: string[] = [],
  env: Record<string, string> = {},
): Child {
  const args = [...nodeFlags, '--import', 'tsx', fileURLToPath(file)];
  return new Child({ name, command: process.execPath, args, core, env, ipc: true });
}

/** In the child: answers each question with its handler, and ends when the runner does. */
export function answerRunner(handlers: Record<string, (body: never) => unknown>): void {
  const send = (message: Answer): void => {
    process.send?.(message);
  };
  process.on('message', (message) => {
    const question = message as Question;
    const handler = handlers[question.name];
    const answer = async (): Promise<unknown> => {
      if (handler === undefined) throw new Error(`cannot answer "${question.name}"`);
      return handler(question.body as never);
    };
    answer().then(
      (body) => send({ answer: question.ask, body }),
      (error: unknown) =>
        send({
          answer: question.ask,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}

export function notifyRunner(notice: string, body: unknown): void {
  process.send?.({ notice, body } satisfies Notice);
}
