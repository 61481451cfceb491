/**
 * A network namespace on a cable of its own, for peers that vanish: pull the cable, and its sockets
 * stay while no packet comes through.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import process from 'node:process';

/** Opens a connection for each request, sends it as it stands and reads on. */
const CLIENT = `
  const { connect } = require('node:net');
  const [host, port, ...requests] = process.argv.slice(1);
  for (const request of requests) {
    const socket = connect(Number(port), host);
    socket.on('error', () => {});
    socket.resume();
    socket.write(request);
  }
`;

let made = 0;

export class Namespace {
  /** This end of the cable, where the namespace finds a server that listens on it or on 0.0.0.0. */
  readonly hostAddress: string;
  readonly #name: string;
  readonly #cable: string;
  readonly #clients: ChildProcess[] = [];

  private constructor(name: string, cable: string, hostAddress: string) {
    this.#name = name;
    this.#cable = cable;
    this.hostAddress = hostAddress;
  }

  /** Why there can be none here; undefined when there can. */
  static absence(): string | undefined {
    if (process.getuid?.() !== 0) return 'a network namespace takes root';
    try {
      Namespace.create().remove();
      return undefined;
    } catch (error) {
      const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
      return code === 'ENOENT'
        ? 'there is no ip (on Debian iproute2)'
        : `no network namespace: ${stderr?.trim() || message}`;
    }
  }

  /** Whoever calls this removes it. */
  static create(): Namespace {
    const number = process.pid * 64 + (made++ % 64);
    // 198.18.0.0/15 is set aside for measuring (RFC 2544), so that nothing else is there; four
    // addresses are one cable.
    const subnet = (number % 32_768) * 4;
    const prefix = `198.${18 + (subnet >> 16)}.${(subnet >> 8) & 255}`;
    const hostAddress = `${prefix}.${(subnet & 255) + 1}`;
    const name = `holdline-${number}`;
    const cable = `hl${number}`;
    ip('netns', 'add', name);
    const namespace = new Namespace(name, cable, hostAddress);
    try {
      ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'cable', 'netns', name);
      ip('addr', 'add', `${hostAddress}/30`, 'dev', cable);
      ip('link', 'set', cable, 'up');
      ip('-n', name, 'addr', 'add', `${prefix}.${(subnet & 255) + 2}/30`, 'dev', 'cable');
      ip('-n', name, 'link', 'set', 'cable', 'up');
    } catch (error) {
      namespace.remove();
      throw error;
    }
    return namespace;
  }

  /**
   * Sends requests from within to a server here, each on a connection of its own that is then held
   * and read.
   */
  hold(port: number, requests: readonly string[]): void {
    const args = [
      'netns',
      'exec',
      this.#name,
      process.execPath,
      '-e',
      CLIENT,
      this.hostAddress,
      String(port),
      ...requests,
    ];
    this.#clients.push(spawn('ip', args, { stdio: 'ignore' }));
  }

  /** From now on nothing goes in or out, and nobody is told. */
  pullCable(): void {
    ip('-n', this.#name, 'link', 'set', 'cable', 'down');
  }

  /**
   * Ends what runs in it and takes the cable away: without a name it lives on for as long as its
   * sockets say goodbye to nobody.
   */
  remove(): void {
    for (const client of this.#clients) client.kill('SIGKILL');
    try {
      ip('link', 'del', this.#cable);
    } catch {
      // It was not made.
    }
    ip('netns', 'del', this.#name);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
