// When the head of a response is complete: with the first write() that has a byte, or with the end;
// and what else is in that send().
import { SendLog } from './send-log.js';
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult } from './support.js';

/** What a client has of its answer. */
function tell(client: RawClient): string {
  if (client.receivedBytes === 0) return 'not a byte';
  const [head = '', body] = client.text().split('\r\n\r\n', 2);
  if (body === undefined)
    return `${JSON.stringify(head.replace(/Date: .*?\r\nuWebSockets: \d+/, '…')).slice(1, -1)}, no end of the head`;
  return `the head${body === '' ? '' : ` and ${JSON.stringify(body).slice(1, -1)}`}`;
}

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const findings = new Findings();
  const ways: Record<string, (response: HttpResponse) => void> = {
    headers: (response) => void response.writeHeader('X-A', 'a'),
    empty: (response) => void response.writeHeader('X-A', 'a').write(''),
    byte: (response) => void response.writeHeader('X-A', 'a').write('\n'),
    corked: (response) => response.cork(() => void response.writeHeader('X-A', 'a').write('\n')),
    late: (response) =>
      void setImmediate(() =>
        response.cork(() => void response.writeHeader('X-A', 'a').write('\n')),
      ),
    lateUncorked: (response) =>
      void setImmediate(() => void response.writeHeader('X-A', 'a').write('\n')),
    end: (response) => void response.writeHeader('X-A', 'a').end('\n'),
  };
  let response: HttpResponse | undefined;
  const { port } = await listen(
    uWS.App().get('/:way', (res, request) => {
      response = res;
      res.onAborted(() => {});
      ways[request.getParameter(0) ?? '']?.(res);
    }),
  );
  const open = 'HTTP/1.1 200 OK\\r\\nX-A: a\\r\\n, no end of the head';
  const chunk = '1\\r\\n\\n';

  /**
   * Asks for `/way`; what the client has after many turns: what stands behind the head, or that
   * nothing came.
   */
  const seen = async (
    way: string,
    receives: boolean,
  ): Promise<{ text: string; sends: number; client: RawClient }> => {
    const mark = log.count;
    response = undefined;
    const client = new RawClient(port).get(`/${way}`);
    await until(() => response !== undefined && (!receives || client.receivedBytes > 0), way);
    for (let at = 0; at < 30; at++) await turn();
    return { text: tell(client), sends: log.since(mark).length, client };
  };

  const headers = await seen('headers', false);
  findings.add('writeHeader() alone, in the handler: client has', headers.text, open);
  let mark = log.count;
  response?.cork(() => void response?.write(''));
  for (let at = 0; at < 10; at++) await turn();
  findings.add("… then write('') in a cork: send() calls", log.since(mark).length, 0);
  response?.cork(() => void response?.write('\n'));
  await until(() => headers.client.receivedBytes > 0, 'the head');
  findings.add("… then write('\\n'): send() calls", log.since(mark).length, 1);
  headers.client.destroy();
  const empty = await seen('empty', false);
  findings.add("write('') in the handler: client has", empty.text, open);
  empty.client.destroy();
  const byte = await seen('byte', true);
  findings.add("write('\\n') in the handler: client has", byte.text, `the head and ${chunk}`);
  findings.add('… send() calls', byte.sends, 1);
  mark = log.count;
  response?.cork(() => void response?.write('abc'));
  await until(() => byte.client.text().endsWith('abc'), 'the second chunk');
  findings.add("… then write('abc'): bytes of the send()", String(log.since(mark)[0]?.asked), '8');
  findings.add('… client has', tell(byte.client), `the head and ${chunk}\\r\\n3\\r\\nabc`);
  byte.client.destroy();
  for (const [way, name, sends] of [
    ['corked', 'the same in response.cork() in the handler', 1],
    ['late', 'the same in response.cork() in setImmediate', 1],
    ['lateUncorked', 'the same in setImmediate, not corked', 23],
  ] as const) {
    const found = await seen(way, true);
    findings.add(`${name}: client has`, found.text, `the head and ${chunk}`);
    findings.add('… send() calls', found.sends, sends);
    found.client.destroy();
  }
  const end = await seen('end', true);
  findings.add("end('\\n') in the handler: send() calls", end.sends, 1);
  end.client.destroy();
  return {
    claim:
      "A head ends only with the first write() of at least one byte, and leaves with it in one send(); write('') does nothing, and the CRLF that ends a chunk waits for the next one.",
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
