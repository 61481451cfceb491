/** Ports for the servers of tests that must be told one before they listen. */
import { createServer } from 'node:net';
import process from 'node:process';

/** Below what the kernel gives to outgoing connections, and to servers that ask for any port. */
const FIRST_PORT = 20_000;
const PORTS_PER_WORKER = 1_000;
/** Of test files that run at a time; Vitest counts their processes from 1. */
const WORKERS_MAX = 12;

const worker = Number(process.env.VITEST_POOL_ID ?? 0) % WORKERS_MAX;
let next = Math.floor(Math.random() * PORTS_PER_WORKER);

/**
 * A port of 127.0.0.1 on which nobody listens, and that is given to nobody else before the test
 * uses it, nor while a server that held it is down: not by the kernel, and not to a test beside.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + worker * PORTS_PER_WORKER + (next++ % PORTS_PER_WORKER);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
