/** Ports for servers that must be told one, because they do not report which one they took. */
import { connect, createServer } from 'node:net';
import process from 'node:process';
import { sleepMs } from './clock.js';

/** Below what the kernel gives to outgoing connections, and to servers that ask for any port. */
const FIRST_PORT = 20_000;
const PORTS_PER_WORKER = 1_000;
/** Of test files that run at a time; Vitest counts their processes from 1. */
const WORKERS_MAX = 12;

const worker = Number(process.env['VITEST_POOL_ID'] ?? 0) % WORKERS_MAX;
let next = Math.floor(Math.random() * PORTS_PER_WORKER);

/**
 * A port of 127.0.0.1 on which nobody listens, and that is given to nobody else before it is used,
 * nor while a server that held it is down: not by the kernel, and not to a test beside.
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

export async function listening(port: number, deadlineMs: number): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  while (!(await answers(port))) {
    if (performance.now() > untilMs)
      throw new Error(`nothing listened on port ${port} after ${deadlineMs} ms`);
    await sleepMs(100);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
