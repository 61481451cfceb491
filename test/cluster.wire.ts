/**
 * The example of scripts/deploy/cluster/, started as its README says, on ports of the test's own:
 * an EventSource through haproxy misses nothing while every node is restarted and a NATS server is
 * killed, and has nothing twice.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EventSource } from 'eventsource';
import { expect, onTestFinished, test } from 'vitest';
import { Watched } from './support/wire.js';

const SCRIPT = fileURLToPath(new URL('../scripts/deploy/cluster/cluster.sh', import.meta.url));

/** The example, running; ended when the test is. */
class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdline-cluster-'));
  readonly basePort: number;

  constructor(basePort: number) {
    this.basePort = basePort;
    onTestFinished(async () => {
      await this.do('stop');
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.basePort}`;
  }

  get key(): string {
    return readFileSync(join(this.folder, 'publish-key'), 'utf8');
  }

  /** As `roll` does. */
  async tellHaproxy(command: string): Promise<void> {
    const socket = connect(this.basePort + 9, '127.0.0.1');
    socket.end(`${command}\n`).resume();
    await once(socket, 'close');
  }

  pidOf(name: string): number {
    return Number(readFileSync(join(this.folder, `${name}.pid`), 'utf8'));
  }

  /** Runs a command of the script to its end; what it said. */
  do(command: string): Promise<string> {
    const env = { BASE_PORT: String(this.basePort), RUN_DIR: this.folder, DRAIN: '1s' };
    return new Promise((resolve, reject) => {
      execFile(SCRIPT, [command], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
      });
    });
  }
}

/** Publishes one event after another, and what it was told of each. */
class Publishing {
  readonly acknowledged: string[] = [];
  readonly refused: string[] = [];
  #isOver = false;
  readonly #running: Promise<void>;

  constructor(cluster: Cluster) {
    this.#running = this.#run(cluster.url, cluster.key);
  }

  async #run(url: string, key: string): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const text = `event ${i}`;
      // The same key for as long as it is not known: so it is there once in the end.
      for (let isDone = false; !isDone;) {
        const answer = await fetch(`${url}/news`, {
          method: 'POST',
          headers: { Authorization: `Bearer ${key}`, 'Idempotency-Key': text },
          body: text,
        }).catch((error: unknown) => String(error));
        isDone = typeof answer !== 'string' && answer.status === 200;
        if (isDone) this.acknowledged.push(text);
        else this.refused.push(typeof answer === 'string' ? answer : await answer.text());
        await new Promise((resolve) => setTimeout(resolve, isDone ? 5 : 50));
      }
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}

/** A client as browsers have it, which comes back by itself. */
class Listening extends Watched {
  readonly texts: string[] = [];
  readonly gaps: string[] = [];
  connections = 0;

  constructor(url: string) {
    super();
    const source = new EventSource(`${url}/news`);
    onTestFinished(() => source.close());
    source.addEventListener('open', () => {
      this.connections++;
      this.changed();
    });
    source.addEventListener('message', ({ data }) => {
      this.texts.push(String(data));
      this.changed();
    });
    source.addEventListener('gap', ({ data }) => this.gaps.push(String(data)));
  }

  describe(): string {
    return `${this.texts.length} events, ${this.connections} connections, gaps ${this.gaps.join()}`;
  }
}

/** A port below those that the kernel gives out, with as many free ones behind as are needed. */
async function freeBase(): Promise<number> {
  for (;;) {
    const base = 20_000 + 30 * Math.floor(Math.random() * 300);
    const wanted = [0, 1, 2, 3, 9, 11, 12, 13, 21, 22, 23].map((offset) => base + offset);
    const free = await Promise.all(wanted.map(isFree));
    if (free.every(Boolean)) return base;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

test('nothing is missed while nodes are restarted one by one and a NATS server is killed', async () => {
  const cluster = new Cluster(await freeBase());
  await cluster.do('start');
  const clients = Array.from({ length: 3 }, () => new Listening(cluster.url));
  const publishing = new Publishing(cluster);
  // Not the stream by which haproxy answers an EventSource while no node is there yet.
  for (const client of clients) await client.waitFor('an event', () => client.texts.length > 0);
  const missed = publishing.acknowledged.length;
  const before = clients.map(({ connections }) => connections);
  expect(await cluster.do('roll')).toMatch(/node 1 .*\n.*node 2 .*\n.*node 3 .*\n/);
  for (const [i, client] of clients.entries())
    await client.waitFor('another stream', () => client.connections > before[i]!);
  process.kill(cluster.pidOf('nats1'), 'SIGKILL');
  const count = publishing.acknowledged.length;
  for (const client of clients)
    await client.waitFor('events after the kill', () => client.texts.length > count + 50, 30_000);
  // A roll that was broken off leaves a node out; `start` takes it in again.
  await cluster.tellHaproxy('set server holdline/node2 state drain');
  await cluster.do('start');
  await publishing.end();
  const { acknowledged } = publishing;
  for (const client of clients) {
    await client.waitFor('the last event', () => client.texts.includes(acknowledged.at(-1)!));
    const first = acknowledged.indexOf(client.texts[0]!);
    expect(first).toBeLessThanOrEqual(missed);
    expect(client.texts).toEqual(acknowledged.slice(first));
    expect(client.gaps).toEqual([]);
  }
}, 90_000);

test('a start on ports that are taken, and a roll of what does not run, say why and end', async () => {
  const cluster = new Cluster(await freeBase());
  // It takes connections and answers nothing.
  const stranger = createServer();
  onTestFinished(() => void stranger.close());
  await new Promise<void>((resolve) => {
    stranger.listen(cluster.basePort + 2, '127.0.0.1', resolve);
  });
  await expect(cluster.do('roll')).rejects.toThrow(
    'cluster: node1 does not run: ./cluster.sh start',
  );
  await expect(cluster.do('start')).rejects.toThrow(
    /the port is taken by another program[^]*cluster: node2 has ended, see above/,
  );
}, 30_000);
