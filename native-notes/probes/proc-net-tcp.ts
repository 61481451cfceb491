// What it costs to read /proc/net/tcp and to take it apart, by the number of connections in it.
// Both ends are here, so a connection is two rows.
import { readFileSync } from 'node:fs';
import { readPortTotals } from '../../src/linux/sockets.js';
import { NotHere, RawClient, listen, main, uWS, until } from './support.js';
import type { ProbeResult, Row } from './support.js';

const points = [0, 1500, 3000];
const readings = 7;

/**
 * The least that a reading took, CPU ms of this process: what else the machine did would only add
 * to it.
 */
function leastMs(read: () => void): number {
  let least = Infinity;
  for (let at = 0; at < readings; at++) {
    const before = process.cpuUsage();
    read();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  let open = 0;
  const { port } = await listen(
    uWS.App().get('/*', (response) => {
      open++;
      response.onAborted(() => {});
      response.write('x');
    }),
  );
  const clients: RawClient[] = [];
  const rows: Row[] = [];
  let usPerRow = 0;
  for (const point of points) {
    while (clients.length < point) {
      const localAddress = `127.0.0.${String(2 + Math.floor(clients.length / 1000))}`;
      clients.push(new RawClient(port, { keep: false, readBytes: 64, localAddress }).get('/'));
      if (clients.length % 100 === 0)
        await until(() => open === clients.length, 'the streams to open');
    }
    const found = readPortTotals(port);
    const inRows =
      readFileSync('/proc/net/tcp', 'utf8').split('\n').length +
      readFileSync('/proc/net/tcp6', 'utf8').split('\n').length -
      4;
    const readMs = leastMs(
      () => void (readFileSync('/proc/net/tcp'), readFileSync('/proc/net/tcp6')),
    );
    const addedMs = leastMs(() => void readPortTotals(port));
    usPerRow = (addedMs / inRows) * 1000;
    rows.push({
      connections: point,
      'rows in tcp and tcp6': inRows,
      'sockets on the port': found?.sockets ?? -1,
      'CPU ms, reading': readMs.toFixed(1),
      'CPU ms, reading and adding up': addedMs.toFixed(1),
      'µs a row': usPerRow.toFixed(1),
    });
  }
  // Reset, so that no row is left behind for a minute.
  for (const client of clients) client.socket.resetAndDestroy();
  return {
    claim:
      'Reading /proc/net/tcp blocks the loop for 3 ms and 1.3 µs a row, and adding up the rows takes less than that again: about 25 ms at 15,000 rows; a connection with both ends on this machine has two.',
    holds:
      points.every((point, at) => isAbout(rows[at]?.['sockets on the port'], point)) &&
      usPerRow > 0.3 &&
      usPerRow < 30,
    rows,
  };
}

/** A row is read twice, or not at all, when other processes open and close sockets meanwhile. */
function isAbout(found: unknown, expected: number): boolean {
  return Math.abs(Number(found) - expected) <= expected / 50;
}

await main(import.meta.url, probe);
