/**
 * A real nats-server with JetStream, in a folder of its own on a port of its own: killed, started
 * again on the same files, stopped for a while; and a TCP proxy in front of it that cuts.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { onTestFinished } from 'vitest';
import { CuttingProxy } from '../../bench/cutting-proxy.js';
import { freePort } from '../../bench/ports.js';

const DEADLINE_MS = 20_000;

export class NatsServer {
  readonly port: number;
  /** In its cluster. */
  readonly name: string;
  readonly #folder: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string, args: readonly string[]) {
    this.port = port;
    this.name = args[args.indexOf('--name') + 1] as string;
    this.#folder = folder;
    this.#args = args;
  }

  /** With more arguments than the usual. Gone with its files when the test is. */
  static start(...args: string[]): Promise<NatsServer> {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-nats-'));
    return NatsServer.#startIn(folder, ['-js', '-sd', folder, ...args]);
  }

  /** With a configuration, beside JetStream's, that `configure` may change later. */
  static startWith(configuration: string): Promise<NatsServer> {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-nats-'));
    writeConfiguration(folder, configuration);
    return NatsServer.#startIn(folder, ['-c', configurationIn(folder)]);
  }

  static async #startIn(folder: string, args: readonly string[]): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), folder, args);
    onTestFinished(async () => {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
    await server.startAgain();
    return server;
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts it on the files that it had, and waits until it takes connections. */
  async startAgain(): Promise<void> {
    const child = spawn(
      'nats-server',
      ['-p', String(this.port), '-a', '127.0.0.1', ...this.#args],
      { stdio: 'ignore' },
    );
    let problem: Error | undefined;
    child.once('error', (error) => {
      problem = error;
    });
    this.#child = child;
    const untilMs = Date.now() + DEADLINE_MS;
    while (!(await canConnect(this.port))) {
      if (problem !== undefined) throw problem;
      if (Date.now() > untilMs) throw new Error('nats-server does not take connections');
      await pause(10);
    }
  }

  /** kill -9: what it has told is in the kernel's cache, and so on its files. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.kill('SIGKILL');
    });
  }

  /** It gets another configuration while it runs. */
  configure(configuration: string): void {
    writeConfiguration(this.#folder, configuration);
    this.#child?.kill('SIGHUP');
  }

  /** It answers nothing, and its connections stay. */
  async freeze(): Promise<void> {
    this.#child?.kill('SIGSTOP');
    // A signal takes a moment; the state is the first word behind the name.
    const isStopped = (): boolean =>
      /\) T /.test(readFileSync(`/proc/${this.#child?.pid}/stat`, 'latin1'));
    for (const untilMs = Date.now() + DEADLINE_MS; !isStopped(); await pause(1))
      if (Date.now() > untilMs) throw new Error('nats-server does not stop');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** A connection of the test's own. */
  async client(): Promise<NatsConnection> {
    const nats = await connect({ servers: this.url, maxReconnectAttempts: -1 });
    onTestFinished(() => nats.close());
    return nats;
  }

  /** A way to it that can be cut. */
  behindProxy(): Promise<CuttingProxy> {
    return proxyTo(this.port);
  }
}

function configurationIn(folder: string): string {
  return join(folder, 'nats.conf');
}

/** JetStream is in it, too: what an argument turned on, a reload turns off. */
function writeConfiguration(folder: string, configuration: string): void {
  const jetStream = `jetstream { store_dir: "${folder}" }`;
  writeFileSync(configurationIn(folder), `${jetStream}\n${configuration}\n`);
}

/** A JetStream cluster of so many servers. */
export async function natsCluster(count: number): Promise<readonly NatsServer[]> {
  const ports = await freePorts(count);
  return Promise.all(ports.map((port, i) => memberOf(i, port, ports)));
}

function freePorts(count: number): Promise<readonly number[]> {
  return Promise.all(Array.from({ length: count }, () => freePort()));
}

function memberOf(
  index: number,
  port: number,
  routes: readonly number[],
  ...more: readonly string[]
): Promise<NatsServer> {
  return NatsServer.start(
    '--name',
    `n${index}`,
    '--cluster_name',
    'test',
    '--cluster',
    `nats://127.0.0.1:${port}`,
    '--routes',
    routes.map((route) => `nats://127.0.0.1:${route}`).join(','),
    ...more,
  );
}

/** A JetStream cluster of three, of which one can be parted from the others. */
export class DivisibleCluster {
  readonly servers: readonly NatsServer[];
  /** From each server to each other one. */
  readonly #ways: readonly (readonly CuttingProxy[])[];

  private constructor(servers: readonly NatsServer[], ways: readonly (readonly CuttingProxy[])[]) {
    this.servers = servers;
    this.#ways = ways;
  }

  static async start(): Promise<DivisibleCluster> {
    const ports = await freePorts(3);
    const ways = await Promise.all(ports.map(() => Promise.all(ports.map(proxyTo))));
    // Nobody is at the address that they tell each other: all ways are through a proxy.
    const [nowhere] = (await freePorts(1)) as [number];
    const servers = await Promise.all(
      ports.map((port, i) => {
        const others = ways[i]!.filter((_way, to) => to !== i).map((way) => way.port);
        return memberOf(i, port, others, '--cluster_advertise', `127.0.0.1:${nowhere}`);
      }),
    );
    return new DivisibleCluster(servers, ways);
  }

  /** Nothing passes between it and the others any more, and nobody is told. */
  part(server: NatsServer): void {
    for (const way of this.#waysOf(server)) way.silence();
  }

  /** What was under way is lost, and new ways are found. */
  heal(): void {
    for (const way of this.#ways.flat()) {
      way.cut();
      way.heal();
    }
  }

  #waysOf(server: NatsServer): readonly CuttingProxy[] {
    const at = this.servers.indexOf(server);
    return this.#ways.flatMap((row, from) =>
      row.filter((_way, to) => from !== to && (from === at || to === at)),
    );
  }
}

/** Ends with the test. */
async function proxyTo(port: number): Promise<CuttingProxy> {
  const proxy = await CuttingProxy.start(port);
  onTestFinished(() => proxy.end());
  return proxy;
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1');
    // It says INFO first, when it is ready.
    socket.once('data', () => resolve(true)).once('error', () => resolve(false));
    socket.once('data', () => socket.destroy());
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
