/** The kernel's tables of sockets, which come in pieces: no row is lost between two of them. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { descriptorOf, listenerInodes, readPortTotals } from '../src/linux/sockets.js';

const SOCKETS = 1_500;

/**
 * On a port that no client's socket has by chance, at whatever address: they are counted by their
 * port.
 */
async function listenBelowEphemeral(server: Server): Promise<void> {
  for (let tries = 1; ; tries++) {
    server.listen(10_000 + Math.floor(Math.random() * 10_000), '127.0.0.1');
    try {
      await once(server, 'listening');
      return;
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

test('every socket of a port is counted, and what waits in its queues', async () => {
  const accepted: Socket[] = [];
  const connected: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => void accepted.push(socket));
  onTestFinished(() => {
    for (const socket of [...accepted, ...connected]) socket.destroy();
    server.close();
  });
  await listenBelowEphemeral(server);
  const { port } = server.address() as AddressInfo;
  const inodes = listenerInodes(port);
  expect(inodes).toHaveLength(1);
  expect(descriptorOf(inodes)).toBeGreaterThan(0);
  expect(readPortTotals(port)).toEqual({ sockets: 0, sendQueueBytes: 0, receiveQueueBytes: 0 });
  while (connected.length < SOCKETS) {
    const some = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
    await Promise.all(some.map((socket) => once(socket, 'connect')));
    connected.push(...some);
  }
  const bytesOf = (index: number): number => (index % 10 === 0 ? 100 : 0);
  for (const [index, socket] of connected.entries())
    if (bytesOf(index) > 0) socket.write(Buffer.alloc(bytesOf(index)));
  const wanted = { sockets: SOCKETS, sendQueueBytes: 0, receiveQueueBytes: (SOCKETS / 10) * 100 };
  // A reading is not of one moment: while other sockets come and go a row may stand in it twice.
  const deadlineMs = performance.now() + 5_000;
  let totals = readPortTotals(port);
  while (JSON.stringify(totals) !== JSON.stringify(wanted) && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    totals = readPortTotals(port);
  }
  expect(totals).toEqual(wanted);
});
