// res.close() and app.close() run onAborted inside the call; a FIN from the client is an abort;
// after abort or end every use of res throws.
import { RawClient, listen, main, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const uses: [string, (response: HttpResponse) => unknown][] = [
  ['write', (response) => response.write('x')],
  ['end', (response) => response.end('x')],
  ['cork', (response) => response.cork(() => {})],
  ['close', (response) => response.close()],
  ['onAborted', (response) => response.onAborted(() => {})],
  ['onWritable', (response) => response.onWritable(() => true)],
  ['getWriteOffset', (response) => response.getWriteOffset()],
  ['getRemoteAddress', (response) => response.getRemoteAddress()],
];

function throwing(response: HttpResponse): string[] {
  return uses.flatMap(([name, use]) => {
    try {
      use(response);
      return [];
    } catch {
      return [name];
    }
  });
}

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  type Ending =
    | 'res.close()'
    | 'app.close()'
    | 'client FIN'
    | 'client reset'
    | 'res.end()'
    | 'res.close() in its own cork';
  for (const ending of [
    'res.close()',
    'res.close() in its own cork',
    'app.close()',
    'client FIN',
    'client reset',
    'res.end()',
  ] as Ending[]) {
    let response: HttpResponse | undefined;
    let aborted = 0;
    let throwsInside: string[] = [];
    const { app, port } = await listen(
      uWS.App().get('/*', (res) => {
        response = res;
        res.onAborted(() => {
          aborted++;
          throwsInside = throwing(res);
        });
        res.write('x');
      }),
    );
    const client = new RawClient(port).get('/');
    await until(() => client.receivedBytes > 0, 'the prelude');
    const res = response as unknown as HttpResponse;
    if (ending === 'res.close()') res.close();
    if (ending === 'res.close() in its own cork') {
      res.cork(() => {
        res.write('last');
        res.close();
      });
    }
    if (ending === 'app.close()') app.close();
    if (ending === 'res.end()') res.cork(() => res.end());
    const inside = aborted;
    if (ending === 'client FIN') client.socket.end();
    if (ending === 'client reset') client.socket.resetAndDestroy();
    if (ending !== 'res.end()') await until(() => aborted === 1, 'onAborted');
    const throwsAfter = throwing(res);
    rows.push({
      ending,
      'onAborted inside the call': inside,
      'onAborted in all': aborted,
      'uses that throw inside onAborted': throwsInside.length,
      'uses that throw after': `${String(throwsAfter.length)} of ${String(uses.length)}`,
    });
    holds &&=
      throwsAfter.length === uses.length &&
      (ending === 'res.end()'
        ? aborted === 0
        : aborted === 1 && throwsInside.length === uses.length);
    if (ending === 'res.close()' || ending === 'app.close()') holds &&= inside === 1;
    client.destroy();
  }
  return {
    claim:
      'res.close() and app.close() run onAborted synchronously, a client’s FIN aborts, end() runs nothing; from then on every use of res throws, also inside onAborted.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
