/** Ports for servers that do not report which one they took. */
import { connect, createServer } from 'node:net';
import { sleepMs } from './clock.js';

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
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
