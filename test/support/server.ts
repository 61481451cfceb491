/**
 * A Holdline of its own for a test: the built command line in a child process, on a free port, gone
 * when the test is.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import type { Stats } from '../../src/ops/stats.js';
import { DEADLINE_MS, jsonOf, request, Watched, type Answer, type RequestParts } from './wire.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export type { Stats };

/** The answer to a batch. */
export interface BatchAnswer {
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly subscribers: number;
}

/** An event to publish in a batch. */
export interface BatchEvent {
  readonly event?: string;
  readonly data: unknown;
}

/** Flags by name: `true` stands alone, an array repeats the flag. */
export type Flags = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/**
 * What tests want unless they say otherwise: small ids, quick reconnects, publishing without a key.
 */
const TEST_FLAGS: Flags = { port: 0, 'first-id': 1, retry: '100ms', 'open-publish': true };

function toArguments(flags: Flags): string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    if (value === false) return [];
    if (value === true) return [`--${name}`];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [`--${name}`, String(one)]);
  });
}

/** The environment of a child: this one's, without settings that would change what is tested. */
function environment(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
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

/** A running server and what a test wants from it. */
export class TestServer extends Watched {
  readonly child: ChildProcess;
  readonly logs: Record<string, unknown>[] = [];
  /** Ids the server gave to this test's publishes, by channel, in order. */
  readonly published = new Map<string, number[]>();
  port = 0;
  opsKey = '';
  publishKey: string | undefined;
  errorOutput = '';
  exitCode: number | null | undefined;

  private constructor(child: ChildProcess) {
    super();
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.logs.push(
        line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : { text: line },
      );
      this.changed();
    });
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
    server.opsKey =
      typeof all['ops-key'] === 'string'
        ? all['ops-key']
        : String(
            (
              await server.waitFor('the ops key made for this run', () =>
                said('ops key made for this run'),
              )
            )['opsKey'],
          );
    server.publishKey = typeof all['publish-key'] === 'string' ? all['publish-key'] : undefined;
    return server;
  }

  describe(): string {
    return `exit ${this.exitCode}, ${JSON.stringify(this.logs.slice(-3))}, stderr ${JSON.stringify(this.errorOutput.slice(-500))}`;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get opsHeaders(): Record<string, string> {
    return { Authorization: `Bearer ${this.opsKey}` };
  }

  /** One request on a connection of its own. */
  request(method: string, path: string, parts: RequestParts = {}): Promise<Answer> {
    return request(this.port, method, path, parts);
  }

  /**
   * Publishes whatever body this is and gives the answer, which may be a refusal; ids that were
   * given are noted.
   */
  async post(
    channel: string,
    body: string | Uint8Array,
    { query = '', headers = {} }: { query?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const key: Record<string, string> =
      this.publishKey === undefined ? {} : { Authorization: `Bearer ${this.publishKey}` };
    const answer = await this.request('POST', `/${channel}${query}`, {
      headers: { ...key, ...headers },
      body,
    });
    if (answer.status === 200) this.#note(channel, jsonOf(answer) as { id: number } | BatchAnswer);
    return answer;
  }

  #note(channel: string, answer: { id: number } | BatchAnswer): void {
    const [first, last] = 'id' in answer ? [answer.id, answer.id] : [answer.first, answer.last];
    const ids = this.published.get(channel) ?? [];
    for (let id = first; id <= last; id++) ids.push(id);
    this.published.set(channel, ids);
  }

  /** Publishes one text event and gives its id. */
  async publish(channel: string, data: string | Uint8Array, event?: string): Promise<number> {
    const answer = await this.post(channel, data, {
      query: event === undefined ? '' : `?event=${encodeURIComponent(event)}`,
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    });
    if (answer.status !== 200) throw new Error(`publish: ${answer.status} ${answer.text}`);
    return (jsonOf(answer) as { id: number }).id;
  }

  /** Publishes a batch, all or nothing. */
  async publishBatch(channel: string, events: readonly BatchEvent[]): Promise<BatchAnswer> {
    const answer = await this.post(
      channel,
      events.map((event) => JSON.stringify(event)).join('\n'),
      {
        headers: { 'Content-Type': 'application/x-ndjson' },
      },
    );
    if (answer.status !== 200) throw new Error(`publishBatch: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as BatchAnswer;
  }

  /**
   * Deletes a channel with the ops key and gives the id of the deletion, and how many lines were on
   * the channel.
   */
  async deleteChannel(
    channel: string,
  ): Promise<{ readonly id: number; readonly subscribers: number }> {
    const answer = await this.request('DELETE', `/${channel}`, { headers: this.opsHeaders });
    if (answer.status !== 200) throw new Error(`deleteChannel: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as { id: number; subscribers: number };
  }

  async stats(): Promise<Stats> {
    const answer = await this.request('GET', '/-/stats', { headers: this.opsHeaders });
    if (answer.status !== 200) throw new Error(`stats: ${answer.status} ${answer.text}`);
    return jsonOf(answer) as Stats;
  }

  /** Asks for the stats until the condition holds. */
  async statsUntil(
    what: string,
    condition: (stats: Stats) => boolean,
    deadlineMs = DEADLINE_MS,
  ): Promise<Stats> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      const stats = await this.stats();
      if (condition(stats)) return stats;
      if (performance.now() > deadline)
        throw new Error(`not within ${deadlineMs} ms: ${what}; stats ${JSON.stringify(stats)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
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
