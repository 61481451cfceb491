// Buffer, views and SharedArrayBuffer views are read during the call only: overwriting the slab right after changes nothing, stalled or not.
import { SendLog, takenBytes } from './send-log.js';
import { RawClient, chunkWireBytes, decodeChunked, listen, main, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const length = 8000;

const slabs: [string, () => Uint8Array][] = [
  ['Buffer', () => Buffer.alloc(length)],
  ['Buffer, a view into a slab', () => Buffer.alloc(100 + length + 100).subarray(100, 100 + length)],
  ['Uint8Array, a view into a slab', () => new Uint8Array(100 + length + 100).subarray(100, 100 + length)],
  ['Uint8Array over a SharedArrayBuffer', () => new Uint8Array(new SharedArrayBuffer(length + 200), 100, length)],
  ['Buffer over a SharedArrayBuffer', () => Buffer.from(new SharedArrayBuffer(length + 200), 100, length)],
];

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  log.setBuffers(8192, 8192);
  const rows: Row[] = [];
  let holds = true;
  for (const [name, make] of slabs) {
    let response: HttpResponse | undefined;
    const { port } = await listen(
      uWS.App().get('/*', (res) => {
        response = res;
        res.onAborted(() => {});
        res.write('x');
      }),
    );
    const start = log.count;
    const client = new RawClient(port, { paused: true }).get('/');
    await until(() => log.count > start, 'the prelude');
    const res = response as unknown as HttpResponse;
    const slab = make();
    let offered = takenBytes(log.since(start));
    const expected: number[] = [];
    let falses = 0;
    while (falses < 3) {
      slab.fill(97 + (expected.length % 26));
      res.cork(() => {
        if (!res.write(slab)) falses++;
        // Inside the cork already: the bytes are copied when write() returns.
        slab.fill(35);
      });
      expected.push(97 + (expected.length % 26));
      offered += chunkWireBytes(length);
      slab.fill(33);
    }
    const backlog = offered - takenBytes(log.since(start));
    client.resume();
    await until(() => client.receivedBytes === offered, 'every byte');
    const { body, corruptAt } = decodeChunked(client.bytes());
    let wrong = corruptAt >= 0 ? -1 : 0;
    for (const [at, byte] of expected.entries()) {
      const part = body.subarray(1 + at * length, 1 + (at + 1) * length);
      if (part.length !== length || part.some((found) => found !== byte)) wrong++;
    }
    holds &&= wrong === 0 && backlog > length;
    rows.push({
      argument: name,
      'writes of 8,000 bytes': expected.length,
      'backlog when the slab was overwritten': backlog,
      'writes that arrived changed': wrong,
    });
    client.destroy();
  }
  return {
    claim:
      'write() reads its bytes during the call and keeps no reference: the slab may be overwritten as soon as it returns, also while the socket is stalled.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
