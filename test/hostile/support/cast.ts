/**
 * A process beside the test's own, in which attacks run: what the test measures is not its own
 * loop.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import type { Figures } from './actor.js';
import type { ActorName, Answer, ParametersOf, Question } from './actors.js';

const PROGRAM = fileURLToPath(new URL('actor-process.ts', import.meta.url));

/** An actor that was begun. */
export interface Role {
  look(): Promise<Figures>;
  stop(): Promise<Figures>;
}

type WithoutAsk<Q> = Q extends Question ? Omit<Q, 'ask'> : never;

export class Cast {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #asked = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message) => {
      const { ask, value, error } = message as Answer;
      const waiting = this.#waiting.get(ask);
      this.#waiting.delete(ask);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`the actors' process is gone: ${code ?? signal}`));
      this.#waiting.clear();
    });
  }

  /**
   * Starts a process. One that attacks goes behind the others where all want a core, so that the
   * control line's figures are the server's and not those of two programs on one core.
   */
  static start({ isAttacker }: { isAttacker: boolean }): Cast {
    const child = fork(PROGRAM, [], {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    if (isAttacker && child.pid !== undefined)
      setPriority(child.pid, constants.priority.PRIORITY_LOW);
    return new Cast(child);
  }

  async begin<Name extends ActorName>(
    name: Name,
    port: number,
    parameters: ParametersOf<Name>,
  ): Promise<Role> {
    const handle = (await this.#ask({ begin: name, port, parameters })) as number;
    return {
      look: async () => (await this.#ask({ look: handle })) as Figures,
      stop: async () => (await this.#ask({ stop: handle })) as Figures,
    };
  }

  end(): void {
    this.#child.disconnect();
  }

  #ask(question: WithoutAsk<Question>): Promise<unknown> {
    const ask = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ask, { resolve, reject });
      this.#child.send({ ...question, ask }, (error) => {
        if (error === null) return;
        this.#waiting.delete(ask);
        reject(error);
      });
    });
  }
}

/** One process for the control line and one for the attacks of a file; they end with it. */
export function sharedCasts(): () => { witnesses: Cast; attackers: Cast } {
  let casts: { witnesses: Cast; attackers: Cast } | undefined;
  afterAll(() => {
    casts?.witnesses.end();
    casts?.attackers.end();
  });
  return () =>
    (casts ??= {
      witnesses: Cast.start({ isAttacker: false }),
      attackers: Cast.start({ isAttacker: true }),
    });
}
