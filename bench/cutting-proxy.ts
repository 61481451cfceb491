/** A way to a server on this machine that can be cut or go silent, and be made whole again. */
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';

export class CuttingProxy {
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #how: 'open' | 'refusing' | 'silent' = 'open';

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#pass(client));
  }

  static async start(targetPort: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Resets all connections, and new ones at once. */
  cut(): void {
    this.#how = 'refusing';
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Passes nothing on any more: neither side hears of it. */
  silence(): void {
    this.#how = 'silent';
    for (const socket of this.#sockets) socket.pause();
  }

  /** Passes on again; what was silent goes on where it was. */
  heal(): void {
    this.#how = 'open';
    for (const socket of this.#sockets) socket.resume();
  }

  end(): void {
    this.cut();
    this.#server.close();
  }

  #pass(client: Socket): void {
    if (this.#how === 'refusing') {
      client.resetAndDestroy();
      return;
    }
    const server = connect(this.#targetPort, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => {
        if (this.#how !== 'silent') from.resume();
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      if (this.#how === 'silent') from.pause();
    }
  }
}
