/**
 * A Holdline of its own for a test: the built command line in a child process, on a free port, gone
 * when the test is.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { ServerUnderTest } from './server-under-test.js';
import { DEADLINE_MS } from './wire.js';

export type { BatchAnswer, BatchEvent, Stats } from './server-under-test.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** Flags by name: `true` stands alone, an array repeats the flag. */
export type Flags = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/**
 * What tests want unless they say otherwise: small ids, quick reconnects, publishing without a key.
 */
export const TEST_FLAGS: Flags = { port: 0, 'first-id': 1, retry: '100ms', 'open-publish': true };

export function toArguments(flags: Flags): string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    if (value === false) return [];
    if (value === true) return [`--${name}`];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [`--${name}`, String(one)]);
  });
}

/** The environment of a child: this one's, without settings that would change what is tested. */
export function environment(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('HOLDLINE_') && name !== 'NODE_OPTIONS',
  );
  return { ...Object.fromEntries(inherited), ...extra };
}

/** Runs the command line to its end, for what answers without serving. */
export function runHoldline(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], {
    env: environment(env),
    encoding: 'utf8',
    timeout: 10_000,
  });
}

/** Time for a start on a machine that does other things beside. */
const START_DEADLINE_MS = 15_000;

/** A server that is a process of its own. */
export class TestServer extends ServerUnderTest {
  readonly child: ChildProcess;
  errorOutput = '';
  exitCode: number | null | undefined;

  private constructor(child: ChildProcess) {
    super();
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => this.logged(line));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.errorOutput += text));
    child.on('exit', (code) => {
      this.exitCode = code;
      this.changed();
    });
  }

  /**
   * Starts it and waits until it listens. Whoever calls this stops it; most tests want {@link
   * serverForTest}.
   */
  static async start(
    flags: Flags = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<TestServer> {
    const all = { ...TEST_FLAGS, ...flags };
    const child = spawn(process.execPath, [MAIN, 'serve', ...toArguments(all)], {
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const server = new TestServer(child);
    const killAtExit = (): void => void child.kill('SIGKILL');
    process.once('exit', killAtExit);
    child.once('exit', () => process.off('exit', killAtExit));
    const said = (msg: string): Record<string, unknown> | undefined =>
      server.logs.find((log) => log['msg'] === msg);
    const alive = (): void => {
      if (server.exitCode !== undefined)
        throw new Error(
          `exit ${server.exitCode} at start: ${server.errorOutput}${JSON.stringify(server.logs)}`,
        );
    };
    const listening = await server
      .waitFor(
        '"listening"',
        () => {
          alive();
          return said('listening');
        },
        START_DEADLINE_MS,
      )
      .catch((error: unknown) => {
        killAtExit();
        throw error;
      });
    server.port = Number(listening['port']);
    const key = all['ops-key'];
    const keyFile = all['ops-key-file'];
    if (typeof key === 'string') server.opsKey = key;
    else if (typeof keyFile === 'string') server.opsKey = readFileSync(keyFile, 'utf8').trim();
    else {
      const words = 'ops key made for this run';
      server.opsKey = String((await server.waitFor(words, () => said(words)))['opsKey']);
    }
    server.publishKey = typeof all['publish-key'] === 'string' ? all['publish-key'] : undefined;
    return server;
  }

  describe(): string {
    return `exit ${this.exitCode}, ${JSON.stringify(this.logs.slice(-3))}, stderr ${JSON.stringify(this.errorOutput.slice(-500))}`;
  }

  /** Resident memory of the process, as the kernel counts it. */
  rssBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** Sends the signal. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits for the end of the process and gives its exit code; null when a signal ended it. */
  async exited(deadlineMs = DEADLINE_MS): Promise<number | null> {
    await this.waitFor('the end of the process', () => this.exitCode !== undefined, deadlineMs);
    return this.exitCode ?? null;
  }

  /** Sends the signal and waits for the exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM', deadlineMs?: number): Promise<number | null> {
    this.signal(signal);
    return this.exited(deadlineMs);
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}

/**
 * The kernel's own buffers, which take some MB for a socket: no line stalls, whatever the test's
 * process is busy with. For tests of what lines are given that keep up; what a small buffer does is
 * in test/grace.test.ts and test/socket-options.wire.ts.
 */
export const KERNEL_BUFFERS = { 'socket-send-buffer': 0 };

/** A server that is killed when the running test is over. */
export async function serverForTest(
  flags: Flags = {},
  env: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  const server = await TestServer.start(flags, env);
  onTestFinished(() => server.kill());
  return server;
}

/**
 * One server for the tests of a file or of a describe block, for those that look at differences
 * only.
 */
export function sharedServer(flags: Flags = {}): () => TestServer {
  let server: TestServer;
  beforeAll(async () => {
    server = await TestServer.start(flags);
  });
  afterAll(() => server.kill());
  return () => server;
}
