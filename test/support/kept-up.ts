/** A server on one port that is started again whenever it has been killed. */
import { onTestFinished } from 'vitest';
import { freePort } from '../../bench/ports.js';
import { TestServer, type Flags } from './server.js';

export class KeptUp {
  readonly port: number;
  readonly #flags: Flags;
  #server: TestServer | undefined;
  #starting: Promise<void> | undefined;
  #isOver = false;
  /** Starts that failed. */
  readonly failures: string[] = [];

  private constructor(port: number, flags: Flags) {
    this.port = port;
    this.#flags = flags;
  }

  static async start(flags: Flags): Promise<KeptUp> {
    const kept = new KeptUp(await freePort(), flags);
    onTestFinished(async () => {
      kept.#isOver = true;
      await kept.#starting;
      kept.#server?.signal('SIGCONT');
      kept.#server?.kill();
      await kept.#server?.exited();
    });
    await kept.up();
    return kept;
  }

  /** Undefined while it is started again. */
  get server(): TestServer | undefined {
    return this.#starting === undefined ? this.#server : undefined;
  }

  /** Resolves when it serves. */
  up(): Promise<void> {
    if (this.#server?.exitCode === undefined && this.#server !== undefined)
      return this.#starting ?? Promise.resolve();
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined));
    return this.#starting;
  }

  async #start(): Promise<void> {
    while (!this.#isOver) {
      try {
        this.#server = await TestServer.start({ ...this.#flags, port: this.port });
        return;
      } catch (error) {
        // NATS may be away for longer than a start waits.
        this.failures.push((error as Error).message.slice(0, 300));
        if (this.failures.length > 20) throw error;
      }
    }
  }

  /** Ends it, and starts the next one when it has ended. */
  async again(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const server = this.server;
    if (server === undefined) return;
    server.signal(signal);
    await server.exited(20_000);
    await this.up();
  }
}
