/**
 * Servers that share one process for all tests of a file: each is a server of its own, with a log,
 * counters and channels of its own, and costs a few milliseconds where a process costs half a
 * second of processor. For tests that neither send it signals nor look at its process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { environment, TEST_FLAGS, toArguments, type Flags } from './server.js';
import { ServerUnderTest } from './server-under-test.js';

const HOST = fileURLToPath(new URL('server-host.mjs', import.meta.url));

/** Time for a start on a machine that does other things beside, ms. */
const START_DEADLINE_MS = 15_000;

/** What the host says of a server. */
interface Said {
  readonly number: number;
  readonly line?: string;
  /** Null when it has ended. */
  readonly started?: { readonly port: number; readonly opsKey: string } | null;
  readonly problem?: string;
}

let host: ChildProcess | undefined;
let hostErrors = '';
let servers = new Map<number, HostedServer>();
let count = 0;

/** The process of this file; another one when it has ended. */
function theHost(): ChildProcess {
  if (host !== undefined) return host;
  const child = spawn(process.execPath, [HOST], {
    env: environment({}),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const own = (servers = new Map<number, HostedServer>());
  hostErrors = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (hostErrors += text));
  child.on('message', (said: Said) => own.get(said.number)?.hear(said));
  // What cannot be sent any more: `exit` tells of it.
  child.on('error', () => {});
  child.once('exit', (code, signal) => {
    process.off('exit', kill);
    if (host === child) host = undefined;
    for (const server of own.values()) server.hostEnded(`${code ?? signal}: ${hostErrors}`);
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  host = child;
  return child;
}

/** A server in the process that those of this file share. */
export class HostedServer extends ServerUnderTest {
  readonly #number = ++count;
  readonly #host: ChildProcess;
  #started: { readonly port: number; readonly opsKey: string } | undefined;
  #hasEnded = false;

  private constructor(child: ChildProcess) {
    super();
    this.#host = child;
    servers.set(this.#number, this);
  }

  /** Starts it and waits until it listens. Whoever calls this ends it. */
  static async start(
    flags: Flags = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<HostedServer> {
    const all = { ...TEST_FLAGS, ...flags };
    const server = new HostedServer(theHost());
    const args = toArguments(all);
    server.#host.send({ number: server.#number, args, env: environment(env) });
    const started = await server.waitFor('"listening"', () => server.#started, START_DEADLINE_MS);
    server.port = started.port;
    server.opsKey = started.opsKey;
    server.publishKey = typeof all['publish-key'] === 'string' ? all['publish-key'] : undefined;
    return server;
  }

  hear({ line, started, problem }: Said): void {
    if (line !== undefined) {
      for (const one of line.trimEnd().split('\n')) this.logged(one);
      return;
    }
    if (problem !== undefined) this.broken = new Error(problem);
    if (started === null) this.#hasEnded = true;
    else this.#started = started;
    this.changed();
  }

  hostEnded(how: string): void {
    this.#hasEnded = true;
    this.broken ??= new Error(`the process of the servers ended with ${how}`);
    this.changed();
  }

  /** Of all servers of the file. */
  get errorOutput(): string {
    return hostErrors;
  }

  describe(): string {
    return `${this.#hasEnded ? 'ended' : 'running'}, ${JSON.stringify(this.logs.slice(-3))}, stderr ${JSON.stringify(hostErrors.slice(-500))}`;
  }

  /** Ends the process of all servers of the file, as a fault would. */
  killHost(): void {
    this.#host.kill('SIGKILL');
  }

  /** Begins the orderly end, as a signal does; resolves when it has come. */
  drain(deadlineMs?: number): Promise<unknown> {
    this.#host.send({ number: this.#number, drains: true });
    return this.waitFor('the end of the drain', () => this.#hasEnded, deadlineMs);
  }

  /** Closes whatever is open, also in the middle of a drain; resolves when the port is free. */
  async end(): Promise<void> {
    if (!this.#hasEnded) {
      this.#host.send({ number: this.#number, drains: false });
      await this.waitFor('the end of the server', () => this.#hasEnded);
    }
    servers.delete(this.#number);
  }
}

/** A server that ends when the running test is over. */
export async function hostedForTest(
  flags: Flags = {},
  env: Readonly<Record<string, string>> = {},
): Promise<HostedServer> {
  const server = await HostedServer.start(flags, env);
  onTestFinished(() => server.end());
  return server;
}

/** Such a server with `events` events, ids from 1, data `n<id>`, on one channel. */
export async function hostedWithEvents(
  channel: string,
  events: number,
  flags: Flags = {},
): Promise<HostedServer> {
  const server = await hostedForTest(flags);
  const batch = Array.from({ length: events }, (_, i) => ({ data: `n${i + 1}` }));
  if (events > 0) await server.publishBatch(channel, batch);
  return server;
}

/**
 * One server for the tests of a file or of a describe block, for those that look at differences
 * only.
 */
export function sharedHosted(flags: Flags = {}): () => HostedServer {
  let server: HostedServer;
  beforeAll(async () => {
    server = await HostedServer.start(flags);
  });
  afterAll(() => server.end());
  return () => server;
}
