/**
 * A session: a server of its own, a client of some make in front of it, and the program that the
 * client tells.
 */
import { onTestFinished } from 'vitest';
import { hostedForTest, type HostedServer } from '../../support/hosted.js';
import { FaultProxy } from '../../support/proxy.js';
import type { Flags } from '../../support/server.js';
import type { Make } from './makes.js';
import { Program } from './program.js';

/** What servers here tell clients to wait, ms. */
export const RETRY_MS = 400;
/**
 * Clients have least delays of their own, up to a second, and double them; an interpreter takes
 * seconds to start where both cores are busy.
 */
export const BACK_MS = 30_000;

export function serverWith(flags: Flags): Promise<HostedServer> {
  return hostedForTest({ retry: `${RETRY_MS}ms`, ...flags });
}

/** A server that a program listens to by a client of that make, on `/c`. */
export class Session {
  readonly server: HostedServer;
  readonly proxy: FaultProxy;
  readonly program = new Program();
  #close: () => unknown = () => {};

  private constructor(server: HostedServer, proxy: FaultProxy) {
    this.server = server;
    this.proxy = proxy;
  }

  /** Opens the client, through a proxy, without waiting for its line. */
  static async attach(server: HostedServer, make: Make): Promise<Session> {
    const session = new Session(server, await FaultProxy.start(server.port));
    session.#close = await make.open(`${session.proxy.url}/c`, session.program);
    onTestFinished(() => session.end());
    return session;
  }

  /** Starts a server, opens the client, and waits for its line. */
  static async open(make: Make, flags: Flags = {}): Promise<Session> {
    const session = await Session.attach(await serverWith(flags), make);
    await session.lines(1);
    return session;
  }

  /** Closes the client and ends the server, so that the next make has the machine. */
  async end(): Promise<void> {
    await this.#close();
    this.#close = () => {};
    await this.server.end();
  }

  /** Waits for the nth line, from 1. */
  async lines(count: number): Promise<void> {
    await this.server.statsUntil(
      `line ${count}`,
      ({ counters }) => counters.lines_opened_total >= count,
      BACK_MS,
    );
  }

  async publish(first: number, last: number, server = this.server): Promise<void> {
    for (let n = first; n <= last; n++) await server.publish('c', JSON.stringify({ n }));
  }

  /** Waits for the last of these events, or for a handler that threw; gives what came, in words. */
  async came(first: number, last: number): Promise<string> {
    const { program } = this;
    await program
      .waitFor(`event ${last}`, () => program.numbers.includes(last) || program.thrown > 0, BACK_MS)
      .catch(() => {});
    const numbers = program.numbers.filter((n) => n >= first);
    const once = new Set(numbers).size;
    const words = [`${once} of ${last - first + 1}`];
    if (once < numbers.length) words.push(`${numbers.length - once} twice`);
    if (numbers.some((n, i) => i > 0 && n < numbers[i - 1]!)) words.push('out of order');
    if (program.thrown > 0) words.push(`${program.thrown} without data`);
    return words.join(', ');
  }

  /** Cuts the connections, and lets none through until `restore`. */
  cut(): void {
    this.proxy.refusing = true;
    for (const connection of this.proxy.connections) connection.cut();
  }

  restore(): void {
    this.proxy.refusing = false;
  }
}
