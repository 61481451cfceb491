// What a stream costs the server whose request head came in two segments instead of one: RSS of a
// child by the number of streams.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { main, NotHere, RawClient, turn, until, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

/**
 * From the second on: what a process takes for its first thousands of streams tells nothing of the
 * next one.
 */
const points = [2000, 5000];
const batch = 250;

const server = `
  const uWS = require('${uwsPackage}');
  const held = [];
  uWS.App().get('/*', (response) => { response.onAborted(() => {}); response.write('x'); held.push(response); })
    .listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
  setInterval(gc, 50);
`;

function headOf(bytes: number): string {
  const fixed = 'GET / HTTP/1.1\r\nHost: probe\r\nCookie: \r\n\r\n';
  return fixed.replace('Cookie: ', `Cookie: ${'a'.repeat(bytes - fixed.length)}`);
}

const rssOf = (child: ChildProcess): number =>
  Number(readFileSync(`/proc/${String(child.pid)}/statm`, 'utf8').split(' ')[1]) * 4096;

/** RSS bytes a stream, whose heads come in two segments, the first of `firstBytes`, or in one. */
async function measure(headBytes: number, firstBytes: number): Promise<number> {
  const head = headOf(headBytes);
  const child = spawn(process.execPath, ['--expose-gc', '--max-semi-space-size=1', '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await new Promise<number>((resolve) => {
    child.stdout.once('data', (data: Buffer) => resolve(Number(data.toString())));
  });
  const clients: RawClient[] = [];
  const sizes: number[] = [];
  for (const point of points) {
    while (clients.length < point) {
      const added = Array.from({ length: batch }, () =>
        new RawClient(port, { keep: false, readBytes: 256 }).send(head.slice(0, firstBytes)),
      );
      if (firstBytes < head.length) {
        await until(
          () => added.every(({ socket }) => !socket.connecting && socket.writableLength === 0),
          'the first parts to leave',
        );
        // Time for the server to read them; a part that it has not read by then only makes the
        // difference smaller.
        await turn(10);
        for (const client of added) client.send(head.slice(firstBytes));
      }
      await until(() => added.every((client) => client.receivedBytes > 0), 'the streams to open');
      clients.push(...added);
    }
    await turn(150);
    sizes.push(rssOf(child));
  }
  child.kill();
  for (const client of clients) client.socket.resetAndDestroy();
  const [first = 0, last = 0] = sizes;
  return Math.round((last - first) / ((points[1] ?? 0) - (points[0] ?? 0)));
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const rows: Row[] = [];
  let holds = true;
  for (const headBytes of [1000, 2000]) {
    const [whole, half, late] = await Promise.all(
      [headBytes, headBytes >> 1, headBytes - 1].map(async (at) => measure(headBytes, at)),
    );
    const added = [half, late].map((bytes) => (bytes ?? 0) - (whole ?? 0));
    rows.push({
      'head, bytes': headBytes,
      'in one segment, RSS B a stream': whole ?? 0,
      'cut in the middle': `+${String(added[0])}`,
      'cut before its last byte': `+${String(added[1])}`,
    });
    holds &&= added.every((bytes) => bytes > 0.3 * headBytes);
  }
  return {
    claim:
      'A stream whose request head came in two segments keeps one to two times the head’s bytes for its life; in one segment it keeps nothing of it.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
