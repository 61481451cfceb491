// res.end() on a stalled stream: the backlog is still delivered if the reader reads on and the app
// stays; end(x, true) corrupts; close drops it.
import { SendLog, takenBytes } from './send-log.js';
import {
  RawClient,
  chunkWireBytes,
  decodeChunked,
  listen,
  main,
  turn,
  uWS,
  until,
} from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

type Ending =
  | 'end(last)'
  | 'end(last, true)'
  | 'end(last), then app.close()'
  | 'app.close()'
  | 'res.close()';
type Case = { ending: Ending; requestHeader: string };

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  log.setBuffers(4096, 4096);
  const rows: Row[] = [];
  let holds = true;
  const cases: Case[] = [
    { ending: 'end(last)', requestHeader: '' },
    { ending: 'end(last)', requestHeader: 'Connection: close\r\n' },
    { ending: 'end(last, true)', requestHeader: '' },
    { ending: 'end(last), then app.close()', requestHeader: '' },
    { ending: 'app.close()', requestHeader: '' },
    { ending: 'res.close()', requestHeader: '' },
  ];
  for (const { ending, requestHeader } of cases) {
    let aborted = 0;
    let writable = 0;
    let response: HttpResponse | undefined;
    const { app, port } = await listen(
      uWS.App().get('/*', (res) => {
        response = res;
        res
          .onAborted(() => aborted++)
          .onWritable(() => {
            writable++;
            return true;
          });
        res.write('x');
      }),
    );
    const start = log.count;
    const client = new RawClient(port, { paused: true }).get('/', requestHeader);
    await until(() => log.count > start, 'the prelude');
    let offered = takenBytes(log.since(start));
    const res = response as unknown as HttpResponse;
    const piece = Buffer.alloc(8000, 97);
    while (offered - takenBytes(log.since(start)) < 30_000) {
      res.cork(() => res.write(piece));
      offered += chunkWireBytes(piece.length);
    }
    const backlog = offered - takenBytes(log.since(start));
    let abortedInside = 0;
    const before = aborted;
    if (ending.startsWith('end')) {
      res.cork(() => res.end('last words', ending === 'end(last, true)'));
    }
    if (ending.endsWith('app.close()')) app.close();
    if (ending === 'res.close()') res.close();
    abortedInside = aborted - before;
    client.resume();
    const whole = (): boolean => client.text().endsWith('0\r\n\r\n');
    await until(() => whole() || client.closed, 'the end of the stream');
    if (ending === 'end(last)' && requestHeader === '')
      for (let at = 0; at < 50; at++) await turn();
    else await until(() => client.closed, 'the close');
    const { body, corruptAt, finished } = decodeChunked(client.bytes());
    const full = body.toString().endsWith('last words') && finished && corruptAt < 0;
    rows.push({
      ending,
      'request header': requestHeader.trim(),
      backlog,
      'bytes lost': corruptAt < 0 && !finished ? offered - client.receivedBytes : 0,
      'framing broken': corruptAt >= 0,
      'last words and 0-chunk came': full,
      'closed within 50 turns': client.closed,
      'client saw': client.error === '' ? (client.ended ? 'FIN' : 'nothing') : client.error,
      'onAborted inside the call': abortedInside,
      'onAborted later': aborted - before - abortedInside,
      onWritable: writable,
    });
    if (ending === 'end(last)')
      holds &&= full && aborted === 0 && writable === 0 && client.closed === (requestHeader !== '');
    if (ending === 'end(last, true)') holds &&= corruptAt >= 0;
    if (ending === 'end(last), then app.close()')
      holds &&= !finished && offered > client.receivedBytes && aborted === 0;
    if (ending === 'app.close()' || ending === 'res.close()')
      holds &&= !finished && offered - client.receivedBytes === backlog && abortedInside === 1;
    client.destroy();
  }
  return {
    claim:
      'end() delivers the backlog by itself if the reader reads on and the app is not closed; afterwards neither onAborted nor onWritable runs; app.close() and res.close() drop it.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
