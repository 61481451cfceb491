// An answer that is written behind a header's value and left open: whole on the wire, and nothing
// behind it becomes a request.
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult } from './support.js';

const GET = 'GET / HTTP/1.1\r\nHost: probe\r\n\r\n';

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let handled = 0;
  let padding = 0;
  let way: (response: HttpResponse) => void = () => {};
  const raw = (response: HttpResponse): void => {
    let gone = false;
    response.onAborted(() => (gone = true));
    const body = `body${' '.repeat(padding)}`;
    response.writeHeader('Connection', 'close');
    response.writeHeader('Content-Length', `${String(body.length + 2)}\r\n\r\n${body}`);
    setImmediate(() => {
      if (!gone) response.close();
    });
  };
  const bodiless = (response: HttpResponse): void => {
    response.onAborted(() => {});
    response.writeStatus('204 No Content');
    response.writeHeader('Connection', 'close\r\n');
    setImmediate(() => void response.close());
  };
  const { port } = await listen(
    uWS.App().any('/*', (response) => {
      handled++;
      way(response);
    }),
  );
  const ask = async (bytes: string): Promise<RawClient> => {
    handled = 0;
    const client = new RawClient(port).send(bytes);
    await until(() => client.closed, 'the close');
    await turn(5);
    return client;
  };

  way = raw;
  let client = await ask(GET);
  findings.add(
    'a body: what the client reads',
    JSON.stringify(/\r\n\r\n(.*)$/s.exec(client.text())?.[1]),
    '"body\\r\\n"',
  );
  findings.add(
    'a body: Content-Length',
    /Content-Length: (\d+)/.exec(client.text())?.[1] ?? '',
    '6',
  );
  way = bodiless;
  client = await ask(GET);
  findings.add(
    '204: what the client reads',
    JSON.stringify(client.text()),
    '"HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n"',
  );
  way = raw;
  client = await ask(GET.repeat(2));
  findings.add('a request in the same segment: requests handled', handled, 1);
  findings.add(
    'a request in the same segment: the answer',
    client.text() === '' ? 'lost in the cork' : 'read',
    'lost in the cork',
  );
  padding = 16 * 1024;
  client = await ask(GET.repeat(2));
  findings.add('with 16 KiB of blanks: requests handled', handled, 1);
  findings.add(
    'with 16 KiB of blanks: the answer',
    client.text().includes('body') ? 'read' : 'lost in the cork',
    'read',
  );
  way = (response): void => {
    let gone = false;
    response.onAborted(() => (gone = true));
    response.pause();
    setImmediate(() => {
      if (!gone) response.cork(() => void response.tryEnd('body', 4));
    });
  };
  handled = 0;
  client = new RawClient(port).send(GET);
  await until(() => client.text().endsWith('body'), 'the answer');
  client.send(GET);
  await turn(200);
  findings.add('paused, answered a turn later: a request behind it', handled - 1, 0);
  client = await ask(GET.repeat(2));
  findings.add('paused: two requests in one segment, handled', handled, 1);
  return {
    claim:
      'A whole answer may follow a header’s value and stay open natively: a request behind it closes the connection and is never handled. In the same segment it drops what is still corked, so an answer over 16 KiB arrives and a short one does not.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
