// How many pipelined requests of one socket are handled in one turn of the loop, by the receive
// buffer of its socket. The client is a process of its own.
import { loadLibc, ownListeners } from '../../src/native/libc.js';
import { NotHere, listen, main, runScript, uWS } from './support.js';
import type { ProbeResult, Row } from './support.js';

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
/** Answered to a client; it is cut off then. A machine may be too slow for them. */
const REQUESTS = 60_000;
const CLIENT_MS_MAX = 15_000;

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** Sends requests, as many as the socket takes, and reads the answers. */
const client = (port: number): string => `
  import { connect } from 'node:net';
  const requests = Buffer.from(${JSON.stringify(REQUEST)}.repeat(40_000));
  const socket = connect({ port: ${String(port)}, host: '127.0.0.1', onread: { buffer: Buffer.alloc(1 << 20), callback: () => true } });
  socket.on('error', () => {});
  const send = () => { while (socket.write(requests)); };
  socket.on('drain', send);
  socket.on('connect', send);
  socket.on('close', () => process.exit(0));
  setTimeout(() => process.exit(0), ${String(CLIENT_MS_MAX)});
`;

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const libc = await loadLibc().catch(() => {
    throw new NotHere('koffi, to call setsockopt()');
  });
  const rows: Row[] = [];
  const most: number[] = [];
  for (const bytes of [0, 64 * 1024]) {
    let total = 0;
    let inTurn = 0;
    let mostInTurn = 0;
    let longestMs = 0;
    let began = 0;
    const { port, app } = await listen(
      uWS.App().get('/', (response) => {
        if (inTurn === 0) {
          began = performance.now();
          setImmediate(() => {
            mostInTurn = Math.max(mostInTurn, inTurn);
            longestMs = Math.max(longestMs, performance.now() - began);
            inTurn = 0;
          });
        }
        inTurn++;
        total++;
        if (total === REQUESTS) response.close();
        else response.end('x');
      }),
    );
    const [own] = ownListeners(port, libc);
    if (own === undefined) throw new Error('the listening socket was not found');
    if (bytes > 0) libc.set(own.descriptor, SOL_SOCKET, SO_RCVBUF, bytes);
    await runScript(client(port));
    app.close();
    most.push(mostInTurn);
    rows.push({
      'SO_RCVBUF, KiB': bytes === 0 ? 'the kernel’s' : bytes / 1024,
      'requests of one socket': total,
      'most in one turn': mostInTurn,
      'their bytes, KiB': Math.round((mostInTurn * REQUEST.length) / 1024),
      'longest turn, ms': longestMs.toFixed(0),
    });
  }
  const [without = 0, bounded = 0] = most;
  return {
    claim:
      'A socket is read 512 KiB at a time, and again in the same turn if that was filled; with a receive buffer of 64 KiB one turn reads at most twice that, as the kernel counts it.',
    holds: without * REQUEST.length > 512 * 1024 && bounded * REQUEST.length <= 128 * 1024,
    rows,
  };
}

await main(import.meta.url, probe);
