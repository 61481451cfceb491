// Bytes given to write() are read during the call only; bytes that onData gives are gone when its
// callback returns.
import { SendLog, takenBytes } from './send-log.js';
import {
  RawClient,
  chunkWireBytes,
  decodeChunked,
  heldStream,
  listen,
  main,
  uWS,
  until,
} from './support.js';
import type { ProbeResult, Row } from './support.js';

const length = 8000;

const slabs: [string, () => Uint8Array][] = [
  ['Buffer', () => Buffer.alloc(length)],
  [
    'Buffer, a view into a slab',
    () => Buffer.alloc(100 + length + 100).subarray(100, 100 + length),
  ],
  [
    'Uint8Array, a view into a slab',
    () => new Uint8Array(100 + length + 100).subarray(100, 100 + length),
  ],
  [
    'Uint8Array over a SharedArrayBuffer',
    () => new Uint8Array(new SharedArrayBuffer(length + 200), 100, length),
  ],
  [
    'Buffer over a SharedArrayBuffer',
    () => Buffer.from(new SharedArrayBuffer(length + 200), 100, length),
  ],
];

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  log.setBuffers(8192, 8192);
  const rows: Row[] = [];
  let holds = true;
  for (const [name, make] of slabs) {
    const start = log.count;
    const { client, res } = await heldStream({ paused: true });
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
  // The other way: what onData hands over, and a view made of it inside.
  const kept: { chunk: ArrayBuffer; view: Uint8Array; inside: number }[] = [];
  const { port } = await listen(
    uWS.App().post('/*', (res) => {
      res.onAborted(() => {});
      res.onData((chunk, isLast) => {
        kept.push({ chunk, view: new Uint8Array(chunk), inside: chunk.byteLength });
        if (isLast) res.end('ok');
      });
    }),
  );
  const client = new RawClient(port).send(
    'POST / HTTP/1.1\r\nHost: probe\r\nContent-Length: 5\r\n\r\nhello',
  );
  await until(() => client.text().endsWith('ok'), 'the answer to the POST');
  const chunk = kept[0];
  const gone =
    chunk !== undefined &&
    chunk.inside === 5 &&
    chunk.chunk.byteLength === 0 &&
    chunk.view.length === 0;
  holds &&= gone;
  rows.push({
    argument: 'onData’s chunk of 5 bytes, after its callback',
    'writes that arrived changed': `${String(chunk?.chunk.byteLength)} bytes left: detached`,
  });
  client.destroy();
  return {
    claim:
      'write() reads its bytes during the call and keeps no reference: the slab may be overwritten as soon as it returns, stalled or not; onData’s chunk is detached after its callback.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
