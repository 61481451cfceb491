// What an argument of write() costs: one view for all lines, a view made for each, a string. Many
// writes a cork, so that the kernel has little part in it.
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

const writesPerCork = 50;
const corksPerRound = 40;
const rounds = 20;

/**
 * Writes 256 bytes again and again; prints heap bytes and ns a write for each kind of argument.
 * Nothing is collected in a round.
 */
const script = `
  import { connect } from 'node:net';
  import * as uWS from '${uwsPackage}';
  const slab = Buffer.allocUnsafeSlow(1 << 16).fill(97);
  const view = slab.subarray(0, 256);
  const ascii = view.toString('latin1');
  const umlauts = 'é'.repeat(128);
  const writes = ${String(writesPerCork)};
  const corked = {
    'one view for all': (response) => { for (let at = 0; at < writes; at++) response.write(view); },
    'a view each, slab.subarray()': (response) => { for (let at = 0; at < writes; at++) response.write(slab.subarray(at, at + 256)); },
    'an ASCII string': (response) => { for (let at = 0; at < writes; at++) response.write(ascii); },
    'a string with umlauts': (response) => { for (let at = 0; at < writes; at++) response.write(umlauts); },
  };
  let received = 0;
  const drained = async () => { for (let seen = -1; seen !== received;) { seen = received; await new Promise((resolve) => setTimeout(resolve, 5)); } };
  async function measure(response) {
    const found = {};
    for (const [name, writeAll] of Object.entries(corked)) {
      const times = [];
      const heaps = [];
      const write = () => writeAll(response);
      for (let round = 0; round < ${String(rounds)}; round++) {
        gc();
        const before = process.memoryUsage().heapUsed;
        const start = performance.now();
        for (let at = 0; at < ${String(corksPerRound)}; at++) response.cork(write);
        times.push((performance.now() - start) * 1e6 / writes / ${String(corksPerRound)});
        heaps.push((process.memoryUsage().heapUsed - before) / writes / ${String(corksPerRound)});
        await drained();
      }
      const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
      found[name] = { heapBytes: median(heaps), ns: Math.min(...times) };
    }
    console.log(JSON.stringify(found));
    process.exit();
  }
  const app = uWS.App().get('/*', (response) => { response.onAborted(() => {}); response.write('x'); setImmediate(measure, response); });
  app.listen(0, (socket) => {
    const client = connect(uWS.us_socket_local_port(socket), '127.0.0.1', () => client.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
    client.on('data', (bytes) => { received += bytes.length; });
  });
`;

type Found = Record<string, { heapBytes: number; ns: number }>;

export async function probe(): Promise<ProbeResult> {
  const { stdout, stderr } = await runScript(script, {}, [
    '--expose-gc',
    '--min-semi-space-size=64',
    '--max-semi-space-size=64',
  ]);
  if (stdout === '') throw new Error(stderr);
  const found = JSON.parse(stdout) as Found;
  const one = found['one view for all'];
  const slowest = found['a string with umlauts'];
  const each = found['a view each, slab.subarray()'];
  const rows: Row[] = Object.entries(found).map(([argument, { heapBytes, ns }]) => {
    return {
      argument,
      'heap B a write': Math.round(heapBytes),
      'ns a write, at best': Math.round(ns),
    };
  });
  const holds =
    Object.values(found).every((kind) =>
      kind === each ? kind.heapBytes > 60 : kind.heapBytes < 8,
    ) && (slowest?.ns ?? 0) > 1.1 * (one?.ns ?? Infinity);
  return {
    claim:
      'A view that is made for each write() is about 96 B of garbage; one that is reused is none. A string is none either, but is transcoded in each call.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
