/**
 * The server that is measured: `holdline serve` in its own process, on its own core if possible.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CounterName } from '../../counters.js';
import { readRssBytes, readThreadsCpuSeconds } from '../../linux/processes.js';
import type { Stats } from '../../ops/stats.js';
import { findTarget, RunFailure, type Target } from '../load/clients/connection.js';

/** The same path from src/ and from dist/. */
const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));

/** A module that Node loads first: it ends the server when its parent is gone. */
const END_WITH_PARENT =
  'data:text/javascript,process.once("disconnect",()=>process.exit());if(!process.connected)process.exit()';

/** How long a server may take to listen. */
const START_MS = 10_000;

const KEPT_STDERR_CHARACTERS = 2_000;

/** How it is started. */
export interface MeasuredServerOptions {
  readonly core: number | undefined;
  readonly heartbeatMs: number;
  readonly socketSendBufferBytes: number;
  readonly compress?: 'off' | 'shared' | undefined;
}

/** One server. It ends with this process, however that ends. */
export class MeasuredServer {
  readonly pid: number;
  readonly target: Target;
  readonly publishKey: string;
  readonly #child: ChildProcess;
  readonly #opsKey: string;

  private constructor(
    child: ChildProcess,
    target: Target,
    keys: { readonly publishKey: string; readonly opsKey: string },
  ) {
    this.#child = child;
    this.pid = child.pid!;
    this.target = target;
    this.publishKey = keys.publishKey;
    this.#opsKey = keys.opsKey;
  }

  /** Starts it and waits until it listens. Throws {@link RunFailure}. */
  static async start({
    core,
    heartbeatMs,
    socketSendBufferBytes,
    compress = 'off',
  }: MeasuredServerOptions): Promise<MeasuredServer> {
    const keys = { publishKey: newKey(), opsKey: newKey() };
    const settings = [
      '--port',
      '0',
      '--heartbeat',
      `${heartbeatMs}ms`,
      '--socket-send-buffer',
      String(socketSendBufferBytes),
      '--compress',
      compress,
    ];
    const program = [process.execPath, '--import', END_WITH_PARENT, MAIN, 'serve', ...settings];
    // This server must not inherit settings of another one. Keys are variables, since everyone who
    // can list processes sees flags.
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDLINE_'));
    const env = {
      ...Object.fromEntries(inherited),
      HOLDLINE_PUBLISH_KEY: keys.publishKey,
      HOLDLINE_OPS_KEY: keys.opsKey,
    };
    // taskset replaces itself with the command, so the pid is the server's own.
    const [command, ...args] =
      core === undefined ? program : ['taskset', '-c', String(core), ...program];
    const child = spawn(command!, args, { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.off('exit', kill));
    try {
      const port = await listening(child);
      const target = await findTarget(new URL(`http://127.0.0.1:${port}/capacity`));
      return new MeasuredServer(child, target, keys);
    } catch (error) {
      kill();
      throw error;
    }
  }

  /** Throws {@link RunFailure} when it has ended; so do all that follow. */
  get cpuSeconds(): number {
    return this.#read(readThreadsCpuSeconds);
  }

  get rssBytes(): number {
    return this.#read(readRssBytes);
  }

  /** Its statistics. */
  async stats(): Promise<Stats> {
    const answer = await fetch(`http://${this.target.authority}/-/stats`, {
      headers: { Authorization: `Bearer ${this.#opsKey}` },
    }).catch((cause: unknown) => {
      throw this.#gone(cause);
    });
    if (!answer.ok)
      throw new RunFailure(`the measured server answered ${answer.status} to /-/stats`);
    return (await answer.json()) as Stats;
  }

  /** Its counters. */
  async counters(): Promise<Readonly<Record<CounterName, number>>> {
    return (await this.stats()).counters;
  }

  /** Reads what /proc has of it, and no longer has once it was killed for its memory, say. */
  #read(figureOf: (pid: number) => number): number {
    try {
      return figureOf(this.pid);
    } catch (cause) {
      throw this.#gone(cause);
    }
  }

  #gone(cause: unknown): RunFailure {
    const { exitCode, signalCode } = this.#child;
    const how = exitCode === null ? (cause as Error).message : `exit code ${exitCode}`;
    return new RunFailure(`the measured server is gone: ${signalCode ?? how}`, { cause });
  }

  /** Ends it. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => void this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** The port in the first line of its log. */
function listening(child: ChildProcess): Promise<number> {
  let said = '';
  child
    .stderr!.setEncoding('utf8')
    .on('data', (text: string) => (said = (said + text).slice(-KEPT_STDERR_CHARACTERS)));
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(
        new RunFailure(
          `the measured server ${why}: ${said.trim() || 'it wrote nothing to stderr'}`,
        ),
      );
    const timer = setTimeout(() => fail(`did not listen in ${START_MS / 1000} s`), START_MS);
    child.once('error', (error) => fail(`could not be started (${error.message})`));
    child.once('exit', (code, signal) => fail(`ended at once (${signal ?? `exit code ${code}`})`));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!line.includes('"listening"')) return;
      clearTimeout(timer);
      resolve((JSON.parse(line) as { port: number }).port);
    });
  });
}

function newKey(): string {
  return randomBytes(24).toString('base64url');
}
