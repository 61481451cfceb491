/** A nats-server with JetStream for one round: on a port and in a folder of its own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CLIENT_CORE, Child } from './child.js';
import { temporaryDirectory } from './compile.js';
import { freePort, listening } from './ports.js';

const START_DEADLINE_MS = 10_000;

/** Why there is none; undefined when there is one. */
export function natsAbsence(): string | undefined {
  return spawnSync('nats-server', ['--version']).status === 0
    ? undefined
    : 'there is no nats-server (apt-get install -y nats-server)';
}

export class NatsServer {
  readonly port: number;
  readonly #child: Child;
  readonly #folder: string;

  private constructor(port: number, child: Child, folder: string) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
  }

  /**
   * On the client's core: in production it is another machine, and takes nothing from Holdline. Its
   * events are in files that it flushes every two minutes, which is its default.
   */
  static async start(): Promise<NatsServer> {
    const folder = mkdtempSync(join(temporaryDirectory(), 'nats-'));
    const port = await freePort();
    const child = new Child({
      name: 'nats-server',
      command: 'nats-server',
      args: ['-js', '-sd', folder, '-p', String(port), '-a', '127.0.0.1'],
      core: CLIENT_CORE,
      ipc: false,
    });
    const server = new NatsServer(port, child, folder);
    try {
      await listening(port, START_DEADLINE_MS);
      return server;
    } catch (error) {
      await server.remove();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Ends it, and removes what it kept. */
  async remove(): Promise<void> {
    await this.#child.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
