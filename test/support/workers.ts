/** For tests of `serve --workers`: figures of all workers, lines on each, clients that return. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { NdjsonLine, SseLine } from './line.js';
import type { TestServer } from './server.js';
import { jsonOf } from './wire.js';

export interface Workers {
  readonly wanted: number;
  readonly serving: number;
  readonly restarts: number;
  readonly silent: readonly number[];
  readonly pids: readonly number[];
}

/** What a page shows of all workers, with its own figures. */
export async function page(
  server: TestServer,
  path: string,
): Promise<Record<string, never> & { workers: Workers }> {
  const answer = await server.request('GET', `/-/${path}`, { headers: server.opsHeaders });
  expect(answer.status).toBe(200);
  return jsonOf(answer) as never;
}

export interface Connections {
  readonly connections: readonly { readonly id: number; readonly channels: string[] }[];
}

/** Which of all workers that were ever started holds a line. */
export function workerOf({ id }: { readonly id: number }): number {
  return id % 65_536;
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Lines on a channel until every worker has some. */
export async function linesOnAll(
  server: TestServer,
  channel: string,
  count = 12,
): Promise<SseLine[]> {
  const lines: SseLine[] = [];
  onTestFinished(() => lines.forEach((line) => line.close()));
  for (let tries = 0; tries < 10; tries++) {
    for (let i = 0; i < count; i++) lines.push(await SseLine.open(server.port, `/${channel}`));
    const { connections } = (await page(
      server,
      'connections?limit=1000',
    )) as unknown as Connections;
    const own = connections.filter(({ channels }) => channels.includes(channel));
    if (new Set(own.map(workerOf)).size > 1) return lines;
  }
  throw new Error('every line came to the same worker');
}

/** A client that comes back with its last id whenever its line breaks, as an EventSource does. */
export class Follower {
  readonly ids: number[] = [];
  gaps = 0;
  returns = -1;
  #line: NdjsonLine | undefined;
  #isOver = false;

  constructor(server: TestServer, channel: string, since: number) {
    void this.#run(server, channel, since);
    onTestFinished(() => {
      this.#isOver = true;
      this.#line?.close();
    });
  }

  async #run(server: TestServer, channel: string, since: number): Promise<void> {
    let position = since;
    while (!this.#isOver) {
      try {
        const line = await NdjsonLine.open(server.port, `/${channel}?since=${position}`);
        this.#line = line;
        this.returns++;
        await line
          .waitFor('its end', () => line.closed || line.complete, 60_000)
          .catch(() => undefined);
        position = Math.max(position, line.lastId);
        this.ids.push(...line.ids);
        this.gaps += line.gaps.length;
        this.#line = undefined;
      } catch {
        await sleep(20);
      }
    }
  }

  /** All ids so far, those of the open line among them. */
  get all(): readonly number[] {
    return [...this.ids, ...(this.#line?.ids ?? [])];
  }

  get allGaps(): number {
    return this.gaps + (this.#line?.gaps.length ?? 0);
  }
}
