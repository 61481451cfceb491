/** `serve --workers`: real processes on one port, that are killed, stopped and flooded. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NdjsonLine, SseLine } from './support/line.js';
import { runHoldline, serverForTest, sharedServer, type TestServer } from './support/server.js';
import { jsonOf } from './support/wire.js';

interface Workers {
  readonly wanted: number;
  readonly serving: number;
  readonly restarts: number;
  readonly silent: readonly number[];
  readonly pids: readonly number[];
}

/** What a page shows of all workers, with its own figures. */
async function page(
  server: TestServer,
  path: string,
): Promise<Record<string, never> & { workers: Workers }> {
  const answer = await server.request('GET', `/-/${path}`, { headers: server.opsHeaders });
  expect(answer.status).toBe(200);
  return jsonOf(answer) as never;
}

interface Connections {
  readonly connections: readonly { readonly id: number; readonly channels: string[] }[];
}

/** Which of all workers that were ever started holds a line. */
function workerOf({ id }: { readonly id: number }): number {
  return id % 65_536;
}

async function until<Value>(
  what: string,
  look: () => Promise<Value | undefined | false>,
  deadlineMs = 10_000,
): Promise<Value> {
  const untilMs = performance.now() + deadlineMs;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined && found !== false) return found;
    if (performance.now() > untilMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await sleep(25);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Lines on a channel until every worker has some. */
async function linesOnAll(server: TestServer, channel: string, count = 12): Promise<SseLine[]> {
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
class Follower {
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
        position = Math.max(position, line.position);
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

describe('two workers', () => {
  const server = sharedServer({ workers: 2, 'ops-key': 'ops' });

  test('what is published through either reaches the lines of both, once and in order', async () => {
    const lines = await linesOnAll(server(), 'both');
    const ids: number[] = [];
    for (let i = 0; i < 30; i++) ids.push(await server().publish('both', `event ${i}`));
    for (const line of lines) {
      await line.waitForId(ids.at(-1)!);
      expect(line.ids).toEqual(ids);
    }
  });

  test('a line that comes later finds in either what was published before', async () => {
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await server().publish('before', 'x'));
    for (let i = 0; i < 8; i++) {
      const line = await SseLine.open(server().port, `/before?since=${ids[0]! - 1}`);
      onTestFinished(() => line.close());
      await line.waitForEvents(5);
      expect(line.ids).toEqual(ids);
    }
  });

  test('a batch of several channels and a deletion go through, and a repeat has one receipt', async () => {
    const batch = [1, 2, 3]
      .map((n) => JSON.stringify({ channel: `named-${n}`, data: n }))
      .join('\n');
    const answers = [];
    for (let i = 0; i < 6; i++) {
      const answer = await server().request('POST', '/-/publish', {
        headers: { 'Content-Type': 'application/x-ndjson', 'Idempotency-Key': 'one' },
        body: batch,
      });
      expect(answer.status).toBe(200);
      answers.push((jsonOf(answer) as { first: number }).first);
    }
    expect(new Set(answers).size).toBe(1);
    const lines = await linesOnAll(server(), 'deleted');
    await server().deleteChannel('deleted');
    await Promise.all(lines.map((line) => line.waitForEnd()));
  });

  test('figures are those of all workers, whichever is asked', async () => {
    const lines = await linesOnAll(server(), 'counted');
    await server().publish('counted', 'x');
    for (let i = 0; i < 4; i++) {
      const { workers, lines: sum } = (await page(server(), 'stats')) as never as {
        workers: Workers;
        lines: { open: number };
      };
      expect(workers).toMatchObject({ wanted: 2, serving: 2, silent: [] });
      expect(sum.open).toBeGreaterThanOrEqual(lines.length);
      const counted = (await page(server(), 'channels/counted')) as never as { lines: number };
      expect(counted.lines).toBe(lines.length);
      const { channels } = (await page(server(), 'channels?limit=1000')) as never as {
        channels: { name: string; lines: number; heldEvents: number }[];
      };
      expect(channels.find(({ name }) => name === 'counted')).toMatchObject({
        lines: lines.length,
        heldEvents: 1,
      });
      const memory = (await page(server(), 'memory')) as never as { lines: number };
      expect(memory.lines).toBeGreaterThanOrEqual(lines.length);
    }
    const metrics = await server().request('GET', '/-/metrics', { headers: server().opsHeaders });
    expect(metrics.text).toContain(`holdline_channel_lines{channel="counted"} ${lines.length}\n`);
    expect(metrics.text).toContain('holdline_workers_serving 2\n');
  });

  test('pages of channels follow each other over all workers', async () => {
    for (let i = 0; i < 7; i++) await server().publish(`paged-${i}`, 'x');
    const names: string[] = [];
    let after = '';
    for (;;) {
      const { channels, next } = (await page(
        server(),
        `channels?limit=3${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`,
      )) as never as { channels: { name: string }[]; next: string | null };
      names.push(...channels.map(({ name }) => name));
      if (next === null) break;
      after = next;
    }
    expect(names.filter((name) => name.startsWith('paged-'))).toHaveLength(7);
    expect(new Set(names).size).toBe(names.length);
  });

  test('lines are ended wherever they are: one by its id, all by their channel', async () => {
    const lines = await linesOnAll(server(), 'ended');
    const { connections } = (await page(
      server(),
      'connections?limit=1000',
    )) as never as Connections;
    const own = connections.filter(({ channels }) => channels.includes('ended'));
    expect(own).toHaveLength(lines.length);
    const end = async (query: string): Promise<number> => {
      const answer = await server().request('DELETE', `/-/connections?${query}`, {
        headers: server().opsHeaders,
      });
      return (jsonOf(answer) as { ended: number }).ended;
    };
    expect(await end(`id=${own[0]!.id}`)).toBe(1);
    await until(
      'one line has ended',
      async () => lines.filter((line) => line.complete).length === 1,
    );
    expect(await end('channel=ended')).toBe(lines.length - 1);
    await Promise.all(lines.map((line) => line.waitForEnd()));
  });

  test('a query that one worker refuses is refused, and an unknown channel is 404', async () => {
    const ask = (path: string) =>
      server().request('GET', `/-/${path}`, { headers: server().opsHeaders });
    expect((await ask('channels?sort=x')).status).toBe(400);
    expect((await ask('channels/never-heard-of')).status).toBe(404);
  });
});

describe('when a process dies', () => {
  test('a worker is killed: its readers go on at another one, and nothing is missed', async () => {
    const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
    const first = await server.publish('c', 'first');
    const followers = Array.from({ length: 8 }, () => new Follower(server, 'c', first));
    await server.statsUntil('all follow', ({ lines }) => lines.open === followers.length);
    const { workers } = await page(server, 'stats');
    const ids: number[] = [];
    let isOver = false;
    const publishing = (async () => {
      while (!isOver) {
        const id = await server.publish('c', 'x').catch(() => undefined);
        if (id !== undefined) ids.push(id);
      }
    })();
    for (const pid of workers.pids) {
      await sleep(100);
      process.kill(pid, 'SIGKILL');
      await until('another one serves', async () => {
        const now = (await page(server, 'stats')).workers;
        return now.serving === 2 && !now.pids.includes(pid);
      });
    }
    isOver = true;
    await publishing;
    const last = await server.publish('c', 'last');
    for (const follower of followers) {
      await until('the last event', async () => follower.all.includes(last));
      const got = follower.all;
      expect(got.filter((id, index) => index > 0 && id <= got[index - 1]!)).toEqual([]);
      expect(ids.filter((id) => !got.includes(id))).toEqual([]);
      expect(follower.allGaps).toBe(0);
      expect(follower.returns).toBeGreaterThan(0);
    }
    expect((await page(server, 'stats')).workers.restarts).toBe(2);
  });

  test('the supervisor is killed: the workers end', async () => {
    const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
    const { pids } = (await page(server, 'stats')).workers;
    expect(pids.every(isRunning)).toBe(true);
    server.kill();
    await until('no worker runs', async () => !pids.some(isRunning));
  });

  test('a worker that hangs is replaced, and publishers do not wait for it', async () => {
    const server = await serverForTest({ workers: 2, 'ops-key': 'ops' });
    const { pids } = (await page(server, 'stats')).workers;
    const stopped = pids[0]!;
    process.kill(stopped, 'SIGSTOP');
    onTestFinished(() => {
      if (isRunning(stopped)) process.kill(stopped, 'SIGKILL');
    });
    await until('it is gone', async () => !isRunning(stopped), 12_000);
    await until('another one serves', async () => {
      const { workers } = await page(server, 'stats');
      return workers.serving === 2 && workers.restarts === 1;
    });
    expect(server.logs.some(({ msg }) => msg === 'a worker hangs and is ended')).toBe(true);
  }, 30_000);

  test('the lines of a dead worker can be held by the others: limits are lent, not divided', async () => {
    const server = await serverForTest({ workers: 2, 'ops-key': 'ops', 'max-connections': 8 });
    const open = async (): Promise<SseLine[]> => {
      const lines: SseLine[] = [];
      onTestFinished(() => lines.forEach((line) => line.close()));
      await until('all 8 lines are held', async () => {
        const line = await NdjsonLine.open(server.port, '/c').catch(() => undefined);
        if (line?.head.status === 200) lines.push(line as never);
        else line?.close();
        return (await server.stats()).lines.open === 8;
      });
      return lines;
    };
    await open();
    const refused = await server.request('GET', '/c?poll=1&wait=5', {});
    expect(refused.status).toBe(503);
    const [pid] = (await page(server, 'stats')).workers.pids;
    process.kill(pid!, 'SIGKILL');
    await until('its lines are gone', async () => (await server.stats()).lines.open < 8);
    await open();
  });
});

test('SIGTERM drains all workers, and a second server cannot take the port', async () => {
  const server = await serverForTest({ workers: 2, 'ops-key': 'ops', drain: '200ms' });
  const other = runHoldline(['serve', '--workers', '2', '--port', String(server.port)]);
  expect(other.status).toBe(1);
  expect(other.stderr).toContain('the port is taken');
  const { pids } = (await page(server, 'stats')).workers;
  const lines = await linesOnAll(server, 'c');
  const last = await server.publish('c', 'x');
  const exited = server.stop('SIGTERM');
  for (const line of lines) {
    await line.waitForEnd();
    expect(line.ids).toEqual([last]);
  }
  expect(await exited).toBe(0);
  expect(pids.some(isRunning)).toBe(false);
});

test('a worker that cannot start says why once, and ends the server', () => {
  const { status, stderr } = runHoldline([
    'serve',
    '--workers',
    '3',
    '--port',
    '0',
    '--tls-cert',
    '/nowhere/cert.pem',
    '--tls-key',
    '/nowhere/key.pem',
  ]);
  expect(status).not.toBe(0);
  expect(stderr.match(/\/nowhere\/cert\.pem/g)).toHaveLength(1);
});

test('--unix-socket cannot be shared', () => {
  const { status, stderr } = runHoldline([
    'serve',
    '--workers',
    '2',
    '--unix-socket',
    '/tmp/x.sock',
  ]);
  expect(status).toBe(2);
  expect(stderr).toContain('--unix-socket exclude each other');
});
